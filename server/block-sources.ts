// The vouchers that cover a block, as they stand in its file: merchants are asked to sign a block
// with the very ones that were checked against its snapshot, whatever consumers pay after it. Owns
// that form; which voucher covers what is notary-build.ts. Pure. Called by it and notary-blocks.ts.

import { ADDRESS_BYTES, amountAt, WORD, writeAmount } from '../chain/payplace/entries.ts'
import type { Source } from '../chain/payplace/proposal.ts'
import type { Address } from '../ethereum/address.ts'

/** A packed entry and the signature. */
const SOURCE_BYTES = WORD + 65

/** In any order, each consumer once. */
export function packSources(sources: readonly Source[]): Buffer {
  const sorted = [...sources].sort((a, b) => (a.consumer < b.consumer ? -1 : 1))
  const packed = Buffer.alloc(sorted.length * SOURCE_BYTES)
  for (const [i, { consumer, amount, signature }] of sorted.entries()) {
    packed.write(consumer.slice(2), i * SOURCE_BYTES, 'hex')
    writeAmount(packed, i * SOURCE_BYTES, amount)
    signature.copy(packed, i * SOURCE_BYTES + WORD)
  }
  return packed
}

/** The voucher of a consumer; undefined where there is none among them. */
export function sourceIn(packed: Buffer, consumer: Address): Source | undefined {
  const wanted = Buffer.from(consumer.slice(2), 'hex')
  let low = 0
  let high = packed.length / SOURCE_BYTES
  while (low < high) {
    const middle = (low + high) >> 1
    const at = middle * SOURCE_BYTES
    const order = packed.compare(wanted, 0, ADDRESS_BYTES, at, at + ADDRESS_BYTES)
    if (order === 0) {
      const signature = packed.subarray(at + WORD, at + SOURCE_BYTES)
      return { consumer, amount: amountAt(packed, at), signature }
    }
    if (order < 0) low = middle + 1
    else high = middle
  }
  return undefined
}
