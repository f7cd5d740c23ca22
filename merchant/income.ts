// A merchant's own books against a block: what the operator's journal credited her since the last
// one must be in the next. A business check: it warns, and keeps from signing only where she asks
// for that. Called by agent.ts once a period.

import { type Entry, firstBelow, packEntries, subtractEntries } from '../chain/payplace/entries.ts'
import type { Address } from '../ethereum/address.ts'
import type { OperatorApi } from './api.ts'

/** Pages of receipts that are read for one period; beyond them the check covers the newest. */
const PAGES_MAX = 50

/** Packed sums of what was credited in seconds `after` < at < `before`, by consumer. */
export async function creditedBetween(
  api: Pick<OperatorApi, 'receipts'>,
  id: number,
  after: number,
  before: number,
): Promise<Buffer> {
  const sums = new Map<Address, bigint>()
  let next: number | undefined
  for (let page = 0; page < PAGES_MAX; page++) {
    const { rows, next: older } = await api.receipts(id, next)
    for (const { at, account, net } of rows) {
      if (at > after && at < before) sums.set(account, (sums.get(account) ?? 0n) + net)
    }
    next = older
    if (older === undefined || rows.some(({ at }) => at <= after)) break
  }
  const entries: Entry[] = [...sums].map(([consumer, amount]) => ({ consumer, amount }))
  return packEntries(entries.filter(({ amount }) => amount > 0n))
}

/** Whether the increase from `before` to `entries` has all that was credited. */
export function isIncomeIncluded(credited: Buffer, before: Buffer, entries: Buffer): boolean {
  return firstBelow(credited, subtractEntries(entries, before)) === undefined
}
