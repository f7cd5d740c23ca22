// secp256k1 signatures of accounts over 32-byte digests. The native library does the mathematics
// where its prebuilt binary loads (0.1 ms a recovery); noble is the fallback (3-4 ms) and the
// cross-check, loaded only when it is asked: its 4 MB are a fifth of what a payer adds to Node.

import { createRequire } from 'node:module'
import { type Address, addressOfPublicKey } from './address.ts'

/**
 * One implementation of the curve; both below satisfy it and a test holds them against each other.
 */
export interface Secp256k1 {
  readonly name: 'native' | 'noble'
  /** 64 bytes (r, s) with low s, and the recovery bit. */
  sign(digest: Uint8Array, privateKey: Uint8Array): { signature: Uint8Array; recovery: number }
  /** The 65-byte uncompressed public key; throws where no key fits. */
  recover(digest: Uint8Array, signature: Uint8Array, recovery: number): Uint8Array
  publicKey(privateKey: Uint8Array): Uint8Array
}

interface Bindings {
  ecdsaSign(digest: Uint8Array, key: Uint8Array): { signature: Uint8Array; recid: number }
  ecdsaRecover(rs: Uint8Array, recid: number, digest: Uint8Array, compressed: boolean): Uint8Array
  publicKeyCreate(key: Uint8Array, compressed: boolean): Uint8Array
}

const load = createRequire(import.meta.url)
type Noble = typeof import('@noble/curves/secp256k1.js').secp256k1
const noble = (): Noble => load('@noble/curves/secp256k1.js').secp256k1

export const nobleCurve: Secp256k1 = {
  name: 'noble',
  sign(digest, privateKey) {
    const bytes = noble().sign(digest, privateKey, { prehash: false, format: 'recovered' })
    return { signature: bytes.subarray(1), recovery: bytes[0] ?? 0 }
  },
  recover(digest, signature, recovery) {
    const recovered = Buffer.concat([Buffer.from([recovery]), signature])
    const point = noble().Signature.fromBytes(recovered, 'recovered').recoverPublicKey(digest)
    return point.toBytes(false)
  },
  publicKey: (privateKey) => noble().getPublicKey(privateKey, false),
}

/** The native curve, or undefined where its binary is absent or does not load on this machine. */
export function loadNativeCurve(): Secp256k1 | undefined {
  try {
    // bindings.js, never index.js: the latter silently falls back to the `elliptic` package.
    const bindings = load('secp256k1/bindings.js') as Bindings
    return {
      name: 'native',
      sign(digest, privateKey) {
        const { signature, recid } = bindings.ecdsaSign(digest, privateKey)
        return { signature, recovery: recid }
      },
      recover: (digest, signature, recovery) =>
        bindings.ecdsaRecover(signature, recovery, digest, false),
      publicKey: (privateKey) => bindings.publicKeyCreate(privateKey, false),
    }
  } catch {
    return undefined
  }
}

const curve = loadNativeCurve() ?? nobleCurve

/** Which implementation is in use, for the start-up log. */
export const curveName = curve.name

/** SEC 2 §2.4.1: half of the group's order n. */
const HALF_ORDER = Buffer.from(
  '7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0',
  'hex',
)

/**
 * Signs a 32-byte digest: 65 bytes r ‖ s ‖ v, v 27 or 28, low s (EIP-2). Throws on a key outside
 * 1..n-1.
 */
export function signDigest(digest: Uint8Array, privateKey: Uint8Array): Buffer {
  const { signature, recovery } = curve.sign(digest, privateKey)
  return Buffer.concat([signature, Buffer.from([27 + recovery])])
}

/**
 * The account that signed, or undefined: not 65 bytes, v outside 27/28, high s, or r and s of no
 * key. One digest has exactly one accepted signature form, so a signature can't be altered and stay
 * valid.
 */
export function recoverAddress(
  digest: Uint8Array,
  signature: Uint8Array,
  by: Secp256k1 = curve,
): Address | undefined {
  const v = signature[64]
  if (signature.length !== 65 || (v !== 27 && v !== 28)) return undefined
  const s = signature.subarray(32, 64)
  if (Buffer.compare(s, HALF_ORDER) > 0 || s.every((byte) => byte === 0)) return undefined
  try {
    return addressOfPublicKey(by.recover(digest, signature.subarray(0, 64), v - 27))
  } catch {
    return undefined
  }
}

/** The uncompressed 65-byte public key of a 32-byte private key; throws on a key outside 1..n-1. */
export function publicKeyOf(privateKey: Uint8Array): Buffer {
  return Buffer.from(curve.publicKey(privateKey))
}

/** The account a private key controls. */
export function accountOf(privateKey: Uint8Array): Address {
  return addressOfPublicKey(publicKeyOf(privateKey))
}
