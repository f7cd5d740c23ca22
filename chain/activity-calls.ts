// Published activities as programs call them: where the contracts of an escrow contract are, who
// attests for an operator, which device keys are enrolled, and the transaction that publishes one.
// Encodes, reads and sends; decides nothing. Called by server/, device/ and the cli.

import { AbiCoder } from 'ethers'
import {
  type Activity,
  activityDigest,
  BY_DEVICE,
  type DeviceEnrolment,
} from '../ethereum/activity.ts'
import { type Address, checksumAddress } from '../ethereum/address.ts'
import { recoverAddress } from '../ethereum/signature.ts'
import { payPlaceDomain } from '../ethereum/typed-data.ts'
import {
  activitiesInterface,
  addressOf,
  attestorsInterface,
  datanetInterface,
  devicesInterface,
} from './bindings.ts'
import { read } from './calls.ts'
import { openSender, type Receipt, type RpcRequest } from './transactions.ts'

/** The contracts that stand beside an escrow contract; made with it, never changed. */
export interface ActivityContracts {
  readonly activities: Address
  /** Verifier 1: k of n accounts that an operator names. */
  readonly attestors: Address
  /** Verifier 2: a device's enrolled P-256 key. */
  readonly devices: Address
}

/** What the contract holds of a consumer's activities. */
export interface ActivityPosition {
  readonly nonce: bigint
  /** When the last one ended, Unix seconds; 0 before the first. */
  readonly end: number
}

/** Who signs and sends. */
export interface ActivitySender {
  readonly rpc: RpcRequest
  readonly chainId: bigint
  readonly privateKey: Uint8Array
}

/** 32 bytes each. */
export interface P256Point {
  readonly qx: Uint8Array
  readonly qy: Uint8Array
}

/**
 * Not estimated: a node estimates at the time of its newest block, before which the activity has
 * not ended. With room above what was measured (docs/GAS.md); a chain without EIP-7951 checks a
 * device's signature in Solidity.
 */
const GAS_ATTESTED = 250_000n
const GAS_BY_DEVICE = 700_000n

const hex = (bytes: Uint8Array): string => `0x${Buffer.from(bytes).toString('hex')}`
const coder = AbiCoder.defaultAbiCoder()

/** Finds the contracts beside the escrow contract. Throws ChainError. */
export async function findActivityContracts(
  rpc: RpcRequest,
  contract: Address,
): Promise<ActivityContracts> {
  const [found] = await read(rpc, contract, datanetInterface, 'activities', [])
  const activities = addressOf(found)
  const verifier = async (number: number): Promise<Address> => {
    const args = [number]
    return addressOf(
      (await read(rpc, activities, activitiesInterface, 'activityVerifier', args))[0],
    )
  }
  return { activities, attestors: await verifier(1), devices: await verifier(2) }
}

/** What comes next for a consumer. Throws ChainError. */
export async function readActivityPosition(
  rpc: RpcRequest,
  { activities }: Pick<ActivityContracts, 'activities'>,
  consumer: Address,
): Promise<ActivityPosition> {
  const [nonce] = await read(rpc, activities, activitiesInterface, 'nonces', [consumer])
  const [end] = await read(rpc, activities, activitiesInterface, 'activityEnd', [consumer])
  return { nonce: BigInt(String(nonce)), end: Number(end) }
}

/** How many attestors of the operator must sign; 0 where it has named none. */
export async function readThreshold(
  rpc: RpcRequest,
  { attestors }: Pick<ActivityContracts, 'attestors'>,
  operator: number,
): Promise<number> {
  return Number((await read(rpc, attestors, attestorsInterface, 'threshold', [operator]))[0])
}

/** Whether the operator names this account as an attestor. */
export async function isAttestor(
  rpc: RpcRequest,
  { attestors }: Pick<ActivityContracts, 'attestors'>,
  operator: number,
  account: Address,
): Promise<boolean> {
  const args = [operator, account]
  return (await read(rpc, attestors, attestorsInterface, 'isAttestor', args))[0] === true
}

/** The operator's account names who attests for it, in place of all it named before. */
export function setAttestors(
  sender: ActivitySender,
  { attestors }: Pick<ActivityContracts, 'attestors'>,
  operator: number,
  accounts: readonly Address[],
  needed: number,
): Promise<Receipt> {
  const args = [operator, [...accounts].sort().map(checksumAddress), needed]
  const data = attestorsInterface.encodeFunctionData('setAttestors', args)
  return openSender(sender).send({ to: attestors, data, what: 'setAttestors' })
}

/** Whether the P-256 key speaks for the consumer's activities with the operator. */
export async function isDeviceEnrolled(
  rpc: RpcRequest,
  { devices }: Pick<ActivityContracts, 'devices'>,
  operator: number,
  consumer: Address,
  { qx, qy }: P256Point,
): Promise<boolean> {
  const args = [operator, consumer, hex(qx), hex(qy)]
  return (await read(rpc, devices, devicesInterface, 'isEnrolled', args))[0] === true
}

/** Enrols a device's key; anyone may send what enough attestors signed (65 bytes each). */
export function enrolDevice(
  sender: ActivitySender,
  { devices }: Pick<ActivityContracts, 'devices'>,
  enrolment: DeviceEnrolment,
  signatures: readonly Uint8Array[],
): Promise<Receipt> {
  const { operator, consumer, qx, qy, validUntil } = enrolment
  const args = [operator, consumer, hex(qx), hex(qy), validUntil, signatures.map(hex)]
  const data = devicesInterface.encodeFunctionData('enrol', args)
  return openSender(sender).send({ to: devices, data, what: 'enrol' })
}

/** Evidence for verifier 1; the contract wants the signers' addresses to rise. */
export function attestorEvidence(digest: Buffer, signatures: readonly Uint8Array[]): string {
  const signer = (signature: Uint8Array): string => recoverAddress(digest, signature) ?? ''
  const sorted = [...signatures].sort((a, b) => (signer(a) < signer(b) ? -1 : 1))
  return coder.encode(['bytes[]'], [sorted.map(hex)])
}

/** Evidence for verifier 2; `signature` is r ‖ s (64 bytes, low s) over SHA-256 of the digest. */
export function deviceEvidence({ qx, qy }: P256Point, signature: Uint8Array): string {
  return hex(Buffer.concat([qx, qy, signature]))
}

/** The digest that consumer, attestors and device sign. */
export function digestOf(chainId: bigint, activities: Address, activity: Activity): Buffer {
  return activityDigest(payPlaceDomain(chainId, activities), activity)
}

/**
 * Publishes an activity with the consumer's signature; anyone may send it. Resolves when mined;
 * throws ChainError, with the contract's reason where it refuses.
 */
export function publishActivity(
  sender: ActivitySender,
  { activities }: Pick<ActivityContracts, 'activities'>,
  activity: Activity,
  signature: Uint8Array,
  evidence: string,
): Promise<Receipt> {
  const named = { ...activity, evidenceHash: hex(activity.evidenceHash) }
  const args = [named, hex(signature), evidence]
  const data = activitiesInterface.encodeFunctionData('publishActivity', args)
  const gas = activity.verifier === BY_DEVICE ? GAS_BY_DEVICE : GAS_ATTESTED
  return openSender(sender).send({ to: activities, data, what: 'publishActivity', gas })
}
