// BLS12-381 on the TypeScript side of the contract (min-pk, POP ciphersuite): keys, signatures,
// sums of both, proofs of possession, and their EIP-2537 coding. Pure. Secrets are derived, so that
// an account key alone restores them. The mathematics stands behind BlsEngine: noble's is here.

import { hkdfSync } from 'node:crypto'
import { bls12_381 } from '@noble/curves/bls12-381.js'
import type { Address } from '../ethereum/address.ts'
import { addressWord, uintWord } from '../ethereum/typed-data.ts'

const { G1, G2, longSignatures } = bls12_381
const ORDER = G1.Point.Fn.ORDER
type G1Point = InstanceType<typeof G1.Point>
type G2Point = InstanceType<typeof G2.Point>

/** Domain separation tag of signatures (draft-irtf-cfrg-bls-signature-05 §4.2.3). */
const SIGNATURE_TAG = 'BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_'

/** Domain separation tag of proofs of possession (draft-irtf-cfrg-bls-signature-05 §4.2.3). */
const POSSESSION_TAG = 'BLS_POP_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_'

/** What a proof of possession is for; the contract takes the same from the transaction. */
export interface PossessionClaim {
  /** The account that will send the registration. */
  readonly account: Address
  readonly contract: Address
  readonly chainId: bigint
  /** The operator's id; for a new operator operatorCount() + 1. */
  readonly operatorId: number
}

/**
 * The operator's BLS secret key, 32 bytes in 1..r-1: HKDF-SHA256 over the 32-byte account key,
 * no salt, 48 bytes reduced as FIPS 186-5 A.2.1 does it, so that the bias is below 2^-128.
 */
export function deriveOperatorBlsKey(source: BlsKeySource): Buffer {
  const info = `datanet operator bls v1|${source.chainId}|${source.contract}`
  return deriveBlsKey(source.accountKey, info)
}

/** A merchant's secret key, another one for each operator; otherwise as deriveOperatorBlsKey. */
export function deriveMerchantBlsKey(source: BlsKeySource & { readonly operator: number }): Buffer {
  const info = `datanet merchant bls v1|${source.chainId}|${source.contract}|${source.operator}`
  return deriveBlsKey(source.accountKey, info)
}

/** From what a BLS key is derived; `accountKey` is 32 bytes. */
export interface BlsKeySource {
  readonly accountKey: Uint8Array
  readonly chainId: bigint
  readonly contract: Address
}

function deriveBlsKey(accountKey: Uint8Array, info: string): Buffer {
  if (accountKey.length !== 32) throw new RangeError('an account key is 32 bytes')
  const material = Buffer.from(hkdfSync('sha256', accountKey, '', info, 48))
  const scalar = BigInt(`0x${material.toString('hex')}`) % (ORDER - 1n)
  return uintWord(scalar + 1n)
}

/** The public key of a secret key: 128 bytes, G1 in EIP-2537 coding. Throws on a key of zero. */
export function blsPublicKey(secretKey: Uint8Array): Buffer {
  const { x, y } = longSignatures.getPublicKey(secretKey).toAffine()
  return Buffer.concat([fieldElement(x), fieldElement(y)])
}

/** compressed key (48) ‖ account (20) ‖ contract (20) ‖ chain id (32) ‖ operator id (4). */
export function possessionMessage(secretKey: Uint8Array, claim: PossessionClaim): Buffer {
  return claimMessage(longSignatures.getPublicKey(secretKey), claim)
}

function claimMessage(publicKey: G1Point, claim: PossessionClaim): Buffer {
  const operatorId = Buffer.alloc(4)
  operatorId.writeUInt32BE(claim.operatorId)
  return Buffer.concat([
    publicKey.toBytes(true),
    addressWord(claim.account).subarray(12),
    addressWord(claim.contract).subarray(12),
    uintWord(claim.chainId),
    operatorId,
  ])
}

/** The proof that the account holds the secret key: 256 bytes, G2 in EIP-2537 coding. */
export function provePossession(secretKey: Uint8Array, claim: PossessionClaim): Buffer {
  const hashed = longSignatures.hash(possessionMessage(secretKey, claim), POSSESSION_TAG)
  return encodeG2(longSignatures.sign(hashed, secretKey))
}

/**
 * Whether the holder of `publicKey` (128 bytes) made the proof (256 bytes) for this claim; false as
 * well where either is no point of the subgroup, or the key is infinity (D2).
 */
export function isPossessionProven(
  publicKey: Uint8Array,
  proof: Uint8Array,
  claim: PossessionClaim,
): boolean {
  const key = decodeG1(publicKey)
  const signature = decodeG2(proof)
  if (key === undefined || signature === undefined) return false
  const hashed = longSignatures.hash(claimMessage(key, claim), POSSESSION_TAG)
  return longSignatures.verify(signature, hashed, key)
}

/**
 * The operations on the hot path of a period, over parsed points, so that a search for culprits
 * parses nothing twice. A native library takes noble's place by satisfying this.
 */
export interface BlsEngine<Key, Signature> {
  readonly name: string
  /** From EIP-2537 coding, 128 bytes; undefined off the curve or subgroup, and at infinity. */
  key(coding: Uint8Array): Key | undefined
  /** From compressed form, 96 bytes; undefined off the curve or the subgroup. */
  signature(compressed: Uint8Array): Signature | undefined
  /** RangeError on an empty list; the sum of keys may be infinity, which verifies nothing. */
  sumKeys(keys: readonly Key[]): Key
  sumSignatures(signatures: readonly Signature[]): Signature
  /** Whether all holders of the summed keys signed this digest. */
  verify(digest: Uint8Array, key: Key, signature: Signature): boolean
  /** 96 bytes, compressed. Throws on a key outside 1..r-1. */
  sign(digest: Uint8Array, secretKey: Uint8Array): Buffer
  /** For the contract: 256 bytes, EIP-2537. */
  signatureCoding(signature: Signature): Buffer
}

/** Some 35 ms a signature, 60 ms a verification: merchants, tests, and where nothing else is. */
export const nobleBls: BlsEngine<G1Point, G2Point> = {
  name: 'noble',
  key: decodeG1,
  signature(compressed) {
    if (compressed.length !== 96) return undefined
    try {
      return longSignatures.Signature.fromBytes(compressed)
    } catch {
      return undefined
    }
  },
  sumKeys: (keys) => sum(keys),
  sumSignatures: (signatures) => sum(signatures),
  verify(digest, key, signature) {
    // D26: infinity as key and signature would verify every message.
    if (key.is0()) return false
    return longSignatures.verify(signature, longSignatures.hash(digest, SIGNATURE_TAG), key)
  },
  sign(digest, secretKey) {
    const signature = longSignatures.sign(longSignatures.hash(digest, SIGNATURE_TAG), secretKey)
    return Buffer.from(longSignatures.Signature.toBytes(signature))
  },
  signatureCoding: encodeG2,
}

function sum<Point extends { add(other: Point): Point }>(points: readonly Point[]): Point {
  const [first, ...others] = points
  if (first === undefined) throw new RangeError('nothing to add up')
  return others.reduce((total, point) => total.add(point), first)
}

/** The point of an EIP-2537 coding; undefined where it is not canonical, infinity or foreign. */
function decodeG1(coding: Uint8Array): G1Point | undefined {
  const [x, y] = fieldElements(coding, 2) ?? []
  if (x === undefined || y === undefined) return undefined
  return validPoint(() => G1.Point.fromAffine({ x, y }))
}

function decodeG2(coding: Uint8Array): G2Point | undefined {
  const [a, b, c, d] = fieldElements(coding, 4) ?? []
  if (a === undefined || b === undefined || c === undefined || d === undefined) return undefined
  return validPoint(() => G2.Point.fromAffine({ x: { c0: a, c1: b }, y: { c0: c, c1: d } }))
}

/** draft-irtf-cfrg-bls-signature-05 §2.5: KeyValidate, for keys and signatures alike. */
function validPoint<Point extends { assertValidity(): void; is0(): boolean }>(
  make: () => Point,
): Point | undefined {
  try {
    const point = make()
    point.assertValidity()
    return point.is0() ? undefined : point
  } catch {
    return undefined
  }
}

function fieldElements(coding: Uint8Array, count: number): bigint[] | undefined {
  if (coding.length !== count * 64) return undefined
  const bytes = Buffer.from(coding)
  const elements = Array.from({ length: count }, (_, i) =>
    BigInt(`0x${bytes.toString('hex', i * 64, (i + 1) * 64)}`),
  )
  return elements.every((element) => element < G1.Point.Fp.ORDER) ? elements : undefined
}

function encodeG2(point: G2Point): Buffer {
  const { x, y } = point.toAffine()
  return Buffer.concat([x.c0, x.c1, y.c0, y.c1].map(fieldElement))
}

/** EIP-2537: 64 bytes big-endian, the first 16 of them zero. */
function fieldElement(value: bigint): Buffer {
  return Buffer.from(value.toString(16).padStart(128, '0'), 'hex')
}
