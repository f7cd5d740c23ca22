// Blocks of any size for the benchmark, made merchant by merchant when they are asked for: nothing
// of them stays in memory. Owns who owes what; measures nothing. Called by blocks.ts.

import { createHash } from 'node:crypto'
import { consumerAt, WORD } from '../chain/payplace/entries.ts'
import type { MerchantEntries } from '../chain/payplace/leaf.ts'
import type { Source } from '../chain/payplace/proposal.ts'
import { accountOf, signDigest } from '../ethereum/signature.ts'
import { type Domain, voucherDigest } from '../ethereum/typed-data.ts'

/** A block of `merchants` with `consumers` entries each, at two times. */
export interface BlockWorld {
  readonly merchants: number
  readonly consumers: number
  /** Consumers of all merchants together. */
  readonly pool: number
  entriesOf(id: number, version: number): Buffer
  /** All merchants at a version; `changedShare` of them as in it, the others as in version 0. */
  all(version: number, changedShare: number): Generator<MerchantEntries>
  isChanged(id: number, changedShare: number): boolean
  sourcesOf(id: number): Source[]
}

const POOL_MAX = 100_000
const HUNDRED = 100

/** Whom a merchant serves is spread evenly over the pool, ten merchants sharing each consumer. */
export function createBlockWorld(
  merchants: number,
  consumers: number,
  operator: number,
  domain: Domain,
): BlockWorld {
  const pool = Math.max(consumers, Math.min(POOL_MAX, Math.ceil((merchants * consumers) / 10)))
  // Merchant 2 is the one that checks: her consumers are accounts that can sign.
  const keys = Array.from({ length: consumers }, (_, i) => keyOf(`consumer ${i}`))
  const stride = Math.floor(pool / consumers)
  const addresses = Array.from({ length: pool }, (_, i) => {
    const key = i % stride === 2 % stride ? keys[Math.floor(i / stride)] : undefined
    return key === undefined
      ? createHash('sha256').update(`${i}`).digest().subarray(0, 20)
      : Buffer.from(accountOf(key).slice(2), 'hex')
  })
  const signers = new Map(keys.map((key) => [accountOf(key) as string, key]))
  const sorted = Buffer.concat(addresses.sort(Buffer.compare))
  const own = new Set(signers.keys())
  const ownAt = Array.from({ length: pool }, (_, i) => i).filter((i) =>
    own.has(consumerAt(sorted, i * 20)),
  )
  const indexOf = (id: number, n: number): number =>
    id === 2 ? (ownAt[n] ?? 0) : n * stride + (id % stride)
  const entriesOf = (id: number, version: number): Buffer => {
    const entries = Buffer.alloc(consumers * WORD)
    for (let n = 0; n < consumers; n++) {
      const from = indexOf(id, n) * 20
      sorted.copy(entries, n * WORD, from, from + 20)
      entries.writeUInt32BE(1_000 + id + version, n * WORD + 28)
    }
    return entries
  }
  const isChanged = (id: number, share: number) => id === 2 || id % HUNDRED < share * HUNDRED
  return {
    ...{ merchants, consumers, pool, entriesOf, isChanged },
    *all(version, changedShare) {
      for (let id = 1; id <= merchants; id++) {
        yield { id, entries: entriesOf(id, isChanged(id, changedShare) ? version : 0) }
      }
    },
    sourcesOf(id) {
      const entries = entriesOf(id, 0)
      return Array.from({ length: consumers }, (_, n): Source => {
        const consumer = consumerAt(entries, n * WORD)
        const amount = 2n ** 60n
        const key = signers.get(consumer)
        if (key === undefined) throw new Error('only the checking merchant has sources')
        const digest = voucherDigest(domain, { consumer, operator, amount })
        return { consumer, amount, signature: signDigest(digest, key) }
      })
    },
  }
}

const keyOf = (seed: string): Buffer => createHash('sha256').update(seed).digest()
