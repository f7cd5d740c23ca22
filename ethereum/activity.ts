// Typed data of published activities: what a consumer signs to publish a summary of what it used
// and paid, and what attestors sign to enrol a device's P-256 key; a summary as HTTP carries it.
// Pure; owns the words and their order, nothing of what the figures mean. Called by chain/, device/
// and server/.

import { type Address, checksumAddress } from './address.ts'
import { keccak256 } from './keccak.ts'
import { addressWord, type Domain, typedDataDigest, uintWord } from './typed-data.ts'

/** Chosen in an Activity: attestors of the operator sign, or a device's enrolled P-256 key. */
export const BY_ATTESTORS = 1
export const BY_DEVICE = 2

/** What a consumer used and paid with one operator; chain/contracts/Types.sol. */
export interface Activity {
  readonly consumer: Address
  /** uint32. */
  readonly operator: number
  /** Unix seconds; the end is not part of it. */
  readonly start: number
  readonly end: number
  /** Octets from the device (Acct-Input-Octets), uint64. */
  readonly bytesUp: bigint
  /** Octets to the device (Acct-Output-Octets), uint64. */
  readonly bytesDown: bigint
  /** uint32. */
  readonly sessions: number
  /** Token base units, uint96. */
  readonly paid: bigint
  /** uint8. */
  readonly verifier: number
  /** 32 bytes: what the evidence was made from. */
  readonly evidenceHash: Uint8Array
  /** How many activities the consumer has published before. */
  readonly nonce: bigint
}

/** A device's P-256 key, to be enrolled for a consumer's activities with an operator. */
export interface DeviceEnrolment {
  readonly operator: number
  readonly consumer: Address
  /** 32 bytes each. */
  readonly qx: Uint8Array
  readonly qy: Uint8Array
  /** Unix seconds. */
  readonly validUntil: number
}

const ascii = (text: string): Buffer => keccak256(Buffer.from(text, 'ascii'))

const ACTIVITY_TYPE = ascii(
  'Activity(address consumer,uint32 operator,uint64 start,uint64 end,' +
    'uint64 bytesUp,uint64 bytesDown,uint32 sessions,uint96 paid,' +
    'uint8 verifier,bytes32 evidenceHash,uint256 nonce)',
)
const ENROLMENT_TYPE = ascii(
  'DeviceEnrolment(uint32 operator,address consumer,bytes32 qx,bytes32 qy,uint64 validUntil)',
)
const DOMAIN_TYPE = ascii(
  'EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)',
)
const DEVICES_NAME = ascii('DatanetDevices')
const DEVICES_VERSION = ascii('1')

function bounded(value: bigint | number, bits: number): Buffer {
  if (BigInt(value) >> BigInt(bits) !== 0n) throw new RangeError(`${value} is not a uint${bits}`)
  return uintWord(value)
}

function word(bytes: Uint8Array): Uint8Array {
  if (bytes.length !== 32) throw new RangeError('32 bytes are expected')
  return bytes
}

/**
 * The 32-byte digest of an Activity in the domain of the Activities contract, which is another
 * address than that of the escrow. Throws RangeError on a number that does not fit its type.
 */
export function activityDigest(domain: Domain, value: Activity): Buffer {
  return typedDataDigest(domain, [
    ACTIVITY_TYPE,
    addressWord(value.consumer),
    bounded(value.operator, 32),
    bounded(value.start, 64),
    bounded(value.end, 64),
    bounded(value.bytesUp, 64),
    bounded(value.bytesDown, 64),
    bounded(value.sessions, 32),
    bounded(value.paid, 96),
    bounded(value.verifier, 8),
    word(value.evidenceHash),
    uintWord(value.nonce),
  ])
}

/** An activity as HTTP shows it and takes it: amounts as decimal text, octets in hex. */
export function activityJson(activity: Activity): object {
  const { consumer, bytesUp, bytesDown, paid, evidenceHash, nonce, ...rest } = activity
  return {
    consumer: checksumAddress(consumer),
    ...rest,
    ...{ bytesUp: `${bytesUp}`, bytesDown: `${bytesDown}`, paid: `${paid}`, nonce: `${nonce}` },
    evidenceHash: `0x${Buffer.from(evidenceHash).toString('hex')}`,
  }
}

/** The domain of one DeviceVerifier (chain/contracts/DeviceVerifier.sol). */
export function devicesDomain(chainId: bigint | number, verifier: Address): Domain {
  const words = [DOMAIN_TYPE, DEVICES_NAME, DEVICES_VERSION]
  const place = [uintWord(chainId), addressWord(verifier)]
  return keccak256(Buffer.concat([...words, ...place])) as Domain
}

/** The 32-byte digest of a DeviceEnrolment in `devicesDomain`. */
export function deviceEnrolmentDigest(domain: Domain, value: DeviceEnrolment): Buffer {
  return typedDataDigest(domain, [
    ENROLMENT_TYPE,
    bounded(value.operator, 32),
    addressWord(value.consumer),
    word(value.qx),
    word(value.qy),
    bounded(value.validUntil, 64),
  ])
}
