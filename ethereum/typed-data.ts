// EIP-712 digests of the PayPlace domain, written for the hot path: type hashes and the domain
// separator are computed once, each digest is two keccaks over fixed words. Pure; imports no room.

import { keccak_256 } from '@noble/hashes/sha3.js'
import type { Address } from './address.ts'

declare const domainBrand: unique symbol

/** The 32-byte domain separator of (name "PayPlace", version "1", chainId, verifyingContract). */
export type Domain = Buffer & { readonly [domainBrand]: true }

const keccak = (bytes: Uint8Array): Buffer => Buffer.from(keccak_256(bytes))
const typeHash = (type: string): Buffer => keccak(Buffer.from(type, 'ascii'))

const DOMAIN_TYPE = typeHash(
  'EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)',
)
const DOMAIN_NAME = keccak(Buffer.from('PayPlace'))
const DOMAIN_VERSION = keccak(Buffer.from('1'))
const DEVICE_CERTIFICATE_TYPE = typeHash(
  'DeviceCertificate(address consumer,bytes32 spkiHash,uint64 notBefore,uint64 notAfter)',
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
