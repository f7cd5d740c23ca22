// Leaves and vouchers as the contract takes them, and the calls that operators and merchants both
// make with them. Encodes only. Called by server/notary-calls.ts and merchant/contract.ts.

import { type Address, checksumAddress } from '../ethereum/address.ts'
import { datanetInterface } from './bindings.ts'
import { WORD } from './payplace/entries.ts'
import type { Leaf } from './payplace/leaf.ts'
import type { Source } from './payplace/proposal.ts'

/** What one call pays a leaf with. */
export interface LeafPayment {
  readonly leaf: Leaf
  /** Of 32 bytes each; none for a lock. */
  readonly proof: readonly Buffer[]
  readonly vouchers: readonly Source[]
}

/** Two storage words, an event and a signature each, as was measured, with room above it. */
const LEAF_GAS = 200_000n
const ENTRY_GAS = 70_000n

/** 0x-hex. */
export const hex = (bytes: Uint8Array): string => `0x${Buffer.from(bytes).toString('hex')}`

export function leafArgument(operator: number, { id, shard, shardCount, entries }: Leaf) {
  const words = Array.from({ length: entries.length / WORD }, (_, i) =>
    hex(entries.subarray(i * WORD, (i + 1) * WORD)),
  )
  return { operator, merchant: id, shard, shardCount, entries: words }
}

/** A voucher in the contract's form: r, and s with the parity of v in its top bit (ERC-2098). */
export function voucherArgument({ consumer, amount, signature }: Source) {
  const s = Buffer.from(signature.subarray(32, 64))
  if (signature[64] === 28) s.writeUInt8(s.readUInt8(0) | 0x80, 0)
  const r = hex(signature.subarray(0, 32))
  return { consumer: checksumAddress(consumer), amount, r, vs: hex(s) }
}

/**
 * The gas that paying or dropping a leaf takes at most. It is not estimated: the head's time may
 * lie before the open window.
 */
export function leafGas({ entries }: Leaf): bigint {
  return LEAF_GAS + ENTRY_GAS * BigInt(entries.length / WORD)
}

/** `operator` and `merchant` are the leaf's; all of it is paid to `to`. */
export function withdrawData(operator: number, payment: LeafPayment, to: Address): string {
  const { leaf, proof, vouchers } = payment
  const shown = vouchers.map(voucherArgument)
  const args = [leafArgument(operator, leaf), proof.map(hex), shown, checksumAddress(to)]
  return datanetInterface.encodeFunctionData('withdraw', args)
}

/** What drops an old lock. */
export function unlockData(operator: number, leaf: Leaf): string {
  return datanetInterface.encodeFunctionData('unlock', [leafArgument(operator, leaf)])
}

/** What cuts a shift away from `operator` down to what the voucher leaves unspent. */
export function challengeData(operator: number, voucher: Source): string {
  return datanetInterface.encodeFunctionData('challengeShift', [operator, voucherArgument(voucher)])
}
