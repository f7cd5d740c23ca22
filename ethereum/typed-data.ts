// EIP-712 digests of the PayPlace domain, written for the hot path: type hashes and the domain
// separator are computed once, each digest is two keccaks over fixed words. Pure; imports no room.

import type { Address } from './address.ts'
import { keccak256 as keccak } from './keccak.ts'

declare const domainBrand: unique symbol

/** The 32-byte domain separator of (name "PayPlace", version "1", chainId, verifyingContract). */
export type Domain = Buffer & { readonly [domainBrand]: true }

const typeHash = (type: string): Buffer => keccak(Buffer.from(type, 'ascii'))

const DOMAIN_TYPE = typeHash(
  'EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)',
)
const DOMAIN_NAME = keccak(Buffer.from('PayPlace'))
const DOMAIN_VERSION = keccak(Buffer.from('1'))
const DEVICE_CERTIFICATE_TYPE = typeHash(
  'DeviceCertificate(address consumer,bytes32 spkiHash,uint64 notBefore,uint64 notAfter)',
)
const VOUCHER_TYPE = typeHash('Voucher(address consumer,uint32 operator,uint96 amount)')
const RECEIPT_TYPE = typeHash(
  'Receipt(address consumer,uint32 operator,bytes16 session,address merchant,uint96 amount,uint96 credited,uint64 time)',
)
const SESSION_QUERY_TYPE = typeHash('SessionQuery(address consumer,uint32 operator,uint64 time)')
const METERING_KEY_TYPE = typeHash(
  'MeteringKey(address consumer,uint32 operator,bytes32 keyHash,bytes32 nonce)',
)
const DIGEST_PREFIX = Buffer.from([0x19, 0x01])

/** An unsigned integer as one 32-byte ABI word. */
export function uintWord(value: bigint | number): Buffer {
  const hex = BigInt(value).toString(16)
  if (hex.startsWith('-') || hex.length > 64) throw new RangeError(`${value} is not a uint256`)
  return Buffer.from(hex.padStart(64, '0'), 'hex')
}

/** An address as one 32-byte ABI word. */
export function addressWord(address: Address): Buffer {
  return Buffer.from(address.slice(2).padStart(64, '0'), 'hex')
}

/** The domain of one contract on one chain (chain/contracts/SignedRequests.sol). */
export function payPlaceDomain(chainId: bigint | number, contract: Address): Domain {
  const words = [DOMAIN_TYPE, DOMAIN_NAME, DOMAIN_VERSION, uintWord(chainId), addressWord(contract)]
  return keccak(Buffer.concat(words)) as Domain
}

/** EIP-712 §"encode": keccak(0x19 0x01 ‖ domain ‖ keccak(words)); `words[0]` is the type hash. */
export function typedDataDigest(domain: Domain, words: readonly Uint8Array[]): Buffer {
  return keccak(Buffer.concat([DIGEST_PREFIX, domain, keccak(Buffer.concat(words))]))
}

/**
 * What an account signs to bind a TLS key to itself; times are Unix seconds of the certificate's
 * validity.
 */
export interface DeviceCertificate {
  readonly consumer: Address
  /** SHA-256 of the SubjectPublicKeyInfo in DER, 32 bytes. */
  readonly spkiHash: Uint8Array
  readonly notBefore: number
  readonly notAfter: number
}

/** The 32-byte digest of a DeviceCertificate binding. */
export function deviceCertificateDigest(domain: Domain, value: DeviceCertificate): Buffer {
  if (value.spkiHash.length !== 32) throw new RangeError('spkiHash is 32 bytes')
  return typedDataDigest(domain, [
    DEVICE_CERTIFICATE_TYPE,
    addressWord(value.consumer),
    value.spkiHash,
    uintWord(value.notBefore),
    uintWord(value.notAfter),
  ])
}

/** What a consumer signs to pay: everything it ever promised this operator, in one number. */
export interface Voucher {
  readonly consumer: Address
  /** uint32. */
  readonly operator: number
  /** Cumulative, token base units, uint96. */
  readonly amount: bigint
}

/** What the operator signs for a voucher it stored. */
export interface Receipt extends Voucher {
  /** The session that was named, 32 hex digits; all zeros without one. */
  readonly session: string
  /** Who earns in that session; the zero address without one. */
  readonly merchant: Address
  /** What of this voucher's increase went to that session, uint96. */
  readonly credited: bigint
  /** Unix seconds. */
  readonly time: number
}

/** What a consumer signs to be told of its sessions. */
export interface SessionQuery {
  readonly consumer: Address
  readonly operator: number
  /** Unix seconds. */
  readonly time: number
}

/** What a consumer signs to have its reports of usage signed by another key. */
export interface MeteringKeyGrant {
  readonly consumer: Address
  readonly operator: number
  /** SHA-256 of the metering key: 65 octets, uncompressed. */
  readonly keyHash: Uint8Array
  /** The operator's nonce for this enrolment, 32 octets. */
  readonly nonce: Uint8Array
}

/** The 32-byte digest of a MeteringKey grant. */
export function meteringKeyDigest(domain: Domain, value: MeteringKeyGrant): Buffer {
  const { consumer, operator, keyHash, nonce } = value
  if (keyHash.length !== 32 || nonce.length !== 32) throw new RangeError('32 octets are expected')
  const words = [addressWord(consumer), uintWord(operator), keyHash, nonce]
  return typedDataDigest(domain, [METERING_KEY_TYPE, ...words])
}

// Vouchers and receipts come by the thousand a second: their words are written into two buffers
// that stay, where typedDataDigest makes a dozen. Nothing is awaited between writing and hashing.
const WORD = 32
const structs = Buffer.alloc(8 * WORD)
const envelope = Buffer.alloc(2 * WORD + 2)
DIGEST_PREFIX.copy(envelope)

function writeUint(word: number, value: bigint, bits: 32 | 64 | 96): void {
  if (value < 0n || value >> BigInt(bits) !== 0n) {
    throw new RangeError(`${value} is not a uint${bits}`)
  }
  const end = (word + 1) * WORD
  structs.fill(0, word * WORD, end)
  structs.writeBigUInt64BE(value & 0xffff_ffff_ffff_ffffn, end - 8)
  structs.writeBigUInt64BE(value >> 64n, end - 16)
}

function writeAddress(word: number, address: Address): void {
  structs.fill(0, word * WORD, word * WORD + 12)
  structs.write(address.slice(2), word * WORD + 12, 20, 'hex')
}

function structDigest(domain: Domain, type: Buffer, words: number): Buffer {
  type.copy(structs)
  domain.copy(envelope, DIGEST_PREFIX.length)
  keccak(structs.subarray(0, words * WORD)).copy(envelope, DIGEST_PREFIX.length + WORD)
  return keccak(envelope)
}

/** The 32-byte digest of a Voucher; throws RangeError on a number that does not fit its type. */
export function voucherDigest(domain: Domain, value: Voucher): Buffer {
  writeAddress(1, value.consumer)
  writeUint(2, BigInt(value.operator), 32)
  writeUint(3, value.amount, 96)
  return structDigest(domain, VOUCHER_TYPE, 4)
}

/** The 32-byte digest of a Receipt; throws RangeError on a value that does not fit its type. */
export function receiptDigest(domain: Domain, value: Receipt): Buffer {
  if (!/^[0-9a-f]{32}$/.test(value.session)) throw new RangeError('a session is 32 hex digits')
  writeAddress(1, value.consumer)
  writeUint(2, BigInt(value.operator), 32)
  // bytesN stands at the left of its word (EIP-712, "Definition of encodeData").
  structs.fill(0, 3 * WORD, 4 * WORD)
  structs.write(value.session, 3 * WORD, 16, 'hex')
  writeAddress(4, value.merchant)
  writeUint(5, value.amount, 96)
  writeUint(6, value.credited, 96)
  writeUint(7, BigInt(value.time), 64)
  return structDigest(domain, RECEIPT_TYPE, 8)
}

/** The 32-byte digest of a SessionQuery; throws RangeError as voucherDigest. */
export function sessionQueryDigest(domain: Domain, value: SessionQuery): Buffer {
  writeAddress(1, value.consumer)
  writeUint(2, BigInt(value.operator), 32)
  writeUint(3, BigInt(value.time), 64)
  return structDigest(domain, SESSION_QUERY_TYPE, 4)
}
