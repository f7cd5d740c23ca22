// EIP-712 digests of what operator and merchants sign for each other over HTTP: a merchant's
// question and answer, and the operator's consent to a registration (Types.sol, MerchantApproval).
// Pure.

import type { Address } from './address.ts'
import { keccak256 } from './keccak.ts'
import { addressWord, type Domain, typedDataDigest, uintWord } from './typed-data.ts'

const MERCHANT_QUERY_TYPE = keccak256(
  Buffer.from('MerchantQuery(uint32 operator,uint32 merchant,uint64 time)', 'ascii'),
)
const MERCHANT_ANSWER_TYPE = keccak256(
  Buffer.from(
    'MerchantAnswer(uint32 operator,uint32 merchant,uint64 k,uint64 period,bytes32 root,bytes signature)',
    'ascii',
  ),
)
const MERCHANT_APPROVAL_TYPE = keccak256(
  Buffer.from(
    'MerchantApproval(uint32 operator,address account,bytes32 pkHash,uint64 validUntil)',
    'ascii',
  ),
)

/** What a merchant's account signs to be told its own; not more than a minute old. */
export interface MerchantQuery {
  readonly operator: number
  /** Its id; 0 while it asks to be registered. */
  readonly merchant: number
  /** Unix seconds. */
  readonly time: number
}

/** What a merchant's account signs beside a block's BLS signature: nobody else answers for it. */
export interface MerchantAnswer {
  readonly operator: number
  /** Who answers. */
  readonly id: number
  readonly k: number
  readonly period: number
  /** The block's, 32 bytes. */
  readonly root: Uint8Array
  /** By BLS. */
  readonly signature: Uint8Array
}

/** The operator's consent: this account may join with this key until then. */
export interface MerchantApproval {
  readonly operator: number
  readonly account: Address
  /** keccak256 of the BLS key in EIP-2537 coding, 32 bytes. */
  readonly pkHash: Uint8Array
  /** Unix seconds. */
  readonly validUntil: number
}

/** The 32-byte digest of a MerchantQuery; RangeError on a number that is no unsigned one. */
export function merchantQueryDigest(domain: Domain, value: MerchantQuery): Buffer {
  const words = [uintWord(value.operator), uintWord(value.merchant), uintWord(value.time)]
  return typedDataDigest(domain, [MERCHANT_QUERY_TYPE, ...words])
}

/** The 32-byte digest of a MerchantAnswer; RangeError where the root is not 32 bytes. */
export function merchantAnswerDigest(domain: Domain, value: MerchantAnswer): Buffer {
  if (value.root.length !== 32) throw new RangeError('a root is 32 bytes')
  const { operator, id, k, period, root, signature } = value
  const numbers = [operator, id, k, period].map(uintWord)
  const words = [MERCHANT_ANSWER_TYPE, ...numbers, root, keccak256(signature)]
  return typedDataDigest(domain, words)
}

/** The 32-byte digest of a MerchantApproval; RangeError where pkHash is not 32 bytes. */
export function merchantApprovalDigest(domain: Domain, value: MerchantApproval): Buffer {
  if (value.pkHash.length !== 32) throw new RangeError('pkHash is 32 bytes')
  return typedDataDigest(domain, [
    MERCHANT_APPROVAL_TYPE,
    uintWord(value.operator),
    addressWord(value.account),
    value.pkHash,
    uintWord(value.validUntil),
  ])
}
