// The gas of published activities, with evidence by an attestor and by a device's P-256 key.
// Called by gas-scenario.ts.

import { p256 } from '@noble/curves/nist.js'
import { AbiCoder, Contract, TypedDataEncoder, type TypedDataField } from 'ethers'
import activitiesArtifact from '../chain/contracts/artifacts/Activities.json' with { type: 'json' }
import attestorArtifact from '../chain/contracts/artifacts/AttestorVerifier.json' with {
  type: 'json',
}
import deviceArtifact from '../chain/contracts/artifacts/DeviceVerifier.json' with { type: 'json' }
import { signDigest } from '../ethereum/signature.ts'
import { uintWord } from '../ethereum/typed-data.ts'
import { hex, type Market, type Party } from './gas-market.ts'

const OPERATOR = 1
const uint64 = (name: string): TypedDataField => ({ name, type: 'uint64' })
const ACTIVITY: TypedDataField[] = [
  { name: 'consumer', type: 'address' },
  { name: 'operator', type: 'uint32' },
  ...['start', 'end', 'bytesUp', 'bytesDown'].map(uint64),
  { name: 'sessions', type: 'uint32' },
  { name: 'paid', type: 'uint96' },
  { name: 'verifier', type: 'uint8' },
  { name: 'evidenceHash', type: 'bytes32' },
  { name: 'nonce', type: 'uint256' },
]
const ENROLMENT: TypedDataField[] = [
  { name: 'operator', type: 'uint32' },
  { name: 'consumer', type: 'address' },
  { name: 'qx', type: 'bytes32' },
  { name: 'qy', type: 'bytes32' },
  uint64('validUntil'),
]

/** Appends its rows with `row`. */
export async function measureActivities(
  market: Market,
  operator: Party,
  consumer: Party,
  row: (what: string, gas: number) => void,
): Promise<void> {
  const { datanet, provider, chainId } = market.ledger
  const at = (address: string, { abi }: { abi: unknown[] }): Contract =>
    new Contract(address, JSON.stringify(abi), provider)
  const activities = at(await datanet.getFunction('activities')(), activitiesArtifact)
  const verifierAddress = (number: number): Promise<string> =>
    activities.getFunction('activityVerifier')(number)
  const attestors = at(await verifierAddress(1), attestorArtifact)
  const devices = at(await verifierAddress(2), deviceArtifact)
  const domain = async (name: string, contract: Contract) => {
    return { name, version: '1', chainId, verifyingContract: await contract.getAddress() }
  }
  const attestor = await market.party(90)
  const names = [attestor.address]
  row(
    '`setAttestors`, one',
    await market.send(operator, attestors, 'setAttestors', OPERATOR, names, 1),
  )

  const payPlace = await domain('PayPlace', activities)
  const publish = async (
    verifier: number,
    evidence: (digest: Buffer) => string,
  ): Promise<number> => {
    const now = market.now()
    const activity = {
      ...{ consumer: consumer.address, operator: OPERATOR, start: now - 1, end: now },
      ...{ bytesUp: 1_000_000, bytesDown: 50_000_000, sessions: 3, paid: 10_000 },
      ...{ verifier, evidenceHash: `0x${'e1'.repeat(32)}`, nonce: verifier - 1 },
    }
    const types = { Activity: ACTIVITY }
    const signature = await consumer.wallet.signTypedData(payPlace, types, activity)
    const digest = TypedDataEncoder.hash(payPlace, types, activity)
    const proof = evidence(Buffer.from(digest.slice(2), 'hex'))
    return market.send(operator, activities, 'publishActivity', activity, signature, proof)
  }
  const keyBytes = (party: Party): Buffer => Buffer.from(party.wallet.privateKey.slice(2), 'hex')
  const attest = (digest: Buffer): string => {
    const signatures = [signDigest(digest, keyBytes(attestor))]
    return AbiCoder.defaultAbiCoder().encode(['bytes[]'], [signatures])
  }
  row('`publishActivity`, one attestor', await publish(1, attest))

  const device = uintWord(9_000)
  const point = p256.getPublicKey(device, false)
  const [qx, qy] = [point.subarray(1, 33), point.subarray(33)].map(hex)
  const enrolment = {
    ...{ operator: OPERATOR, consumer: consumer.address, qx, qy },
    validUntil: market.now() + 1_000,
  }
  const devicesDomain = await domain('DatanetDevices', devices)
  const types = { DeviceEnrolment: ENROLMENT }
  const signatures = [await attestor.wallet.signTypedData(devicesDomain, types, enrolment)]
  const args = [OPERATOR, consumer.address, qx, qy, enrolment.validUntil, signatures]
  row('`enrol` of a device', await market.send(operator, devices, 'enrol', ...args))
  // SHA-256 of the digest, the lower s, and no randomness (RFC 6979).
  const byDevice = (digest: Buffer): string =>
    `${qx}${qy?.slice(2)}${hex(p256.sign(digest, device, { lowS: true })).slice(2)}`
  row("`publishActivity`, a device's P-256 key", await publish(2, byDevice))
  const revoked = [OPERATOR, consumer.address, qx, qy]
  row('`revoke` of a device', await market.send(consumer, devices, 'revoke', ...revoked))
}
