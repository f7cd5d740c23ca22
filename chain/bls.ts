// BLS12-381 on the TypeScript side of the contract: the operator's key, its EIP-2537 coding and its
// proof of possession (min-pk, POP ciphersuite). Pure; called when an operator registers, never on
// the hot path. The secret is derived, so that the operator's account key alone restores it.

import { hkdfSync } from 'node:crypto'
import { bls12_381 } from '@noble/curves/bls12-381.js'
import type { Address } from '../ethereum/address.ts'
import { addressWord, uintWord } from '../ethereum/typed-data.ts'

const { G1, G2, longSignatures } = bls12_381
const ORDER = G1.Point.Fn.ORDER

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
export function deriveOperatorBlsKey(source: {
  readonly accountKey: Uint8Array
  readonly chainId: bigint
  readonly contract: Address
}): Buffer {
  if (source.accountKey.length !== 32) throw new RangeError('an account key is 32 bytes')
  const info = `datanet operator bls v1|${source.chainId}|${source.contract}`
  const material = Buffer.from(hkdfSync('sha256', source.accountKey, '', info, 48))
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
  const operatorId = Buffer.alloc(4)
  operatorId.writeUInt32BE(claim.operatorId)
  return Buffer.concat([
    longSignatures.getPublicKey(secretKey).toBytes(true),
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

function encodeG2(point: InstanceType<typeof G2.Point>): Buffer {
  const { x, y } = point.toAffine()
  return Buffer.concat([x.c0, x.c1, y.c0, y.c1].map(fieldElement))
}

/** EIP-2537: 64 bytes big-endian, the first 16 of them zero. */
function fieldElement(value: bigint): Buffer {
  return Buffer.from(value.toString(16).padStart(128, '0'), 'hex')
}
