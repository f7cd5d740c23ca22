// What an account's closed sessions add up to, as every store must tell it. Part of
// store-conformance.ts.

import { createHash } from 'node:crypto'
import type { Test } from 'tap'
import { type Bed, commit } from './store-bed.ts'
import * as f from './store-fixtures.ts'

/** Every closed session of the account once, over several steps; no open or abandoned one. */
export async function closedTotals(t: Test, bed: Bed): Promise<void> {
  const { open } = await bed(t)
  const store = await open()
  const account = f.addressOf(1)
  const none = await store.closedTotals(account, f.NOON * 2)
  t.match(none, { sessions: 0, input: 0n, paid: 0n, firstStartedAtMs: undefined })
  const count = 2_100
  const mine = Array.from({ length: count }, (_, n) =>
    f.closedNumber(n, 1, { account, credit: f.UINT96_MAX - BigInt(n), endedAtMs: f.NOON + n }),
  )
  const other = f.closedNumber(count, 1, { account: f.addressOf(2) })
  const running = f.sessionNumber(count + 1, { account })
  const abandoned = f.closedNumber(count + 2, 1, { account, endedBy: 'abandoned' })
  const reconnect = { account, kind: 'pmksa', credit: 0n, endedAtMs: f.NOON } as const
  const told = f.closedNumber(count + 3, 1, reconnect)
  await commit(store, { sessions: [...mine, other, running, abandoned, told] })
  const early = await store.closedTotals(account, f.NOON + 10)
  const ten = mine.slice(0, 10)
  const ids = createHash('sha256')
  for (const { id } of ten) ids.update(Buffer.from(id, 'hex'))
  t.match(early, { sessions: 10, firstStartedAtMs: ten[0]?.startedAtMs, idsHash: ids.digest() })
  t.equal(
    early.paid,
    ten.reduce((sum, { credit }) => sum + credit, 0n),
  )
  const all = await store.closedTotals(account, f.NOON + count)
  t.equal(all.sessions, count, 'the one that ends at that moment is not part of it')
  t.equal(
    all.input,
    mine.reduce((sum, { input }) => sum + input.total, 0n),
  )
  t.equal(
    all.output,
    mine.reduce((sum, { output }) => sum + output.total, 0n),
  )
  await commit(store, { sessions: [{ ...told, credit: 1n }] })
  const paid = await store.closedTotals(account, f.NOON * 2)
  t.equal(paid.sessions, count + 1, 'a reconnect counts once somebody has paid for it')
  await store.close()
}
