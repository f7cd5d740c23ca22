// What prune() of every store takes away and what it leaves; part of store-conformance.ts.

import type { Test } from 'tap'
import type { JournalEntry } from '../../accounting/session.ts'
import { type Bed, commit, equal, type StoreBed } from './store-bed.ts'
import * as f from './store-fixtures.ts'

/** What goes, and what must stay. */
export async function pruning(t: Test, bed: Bed): Promise<void> {
  const { open, sql } = await bed(t)
  const store = await open()
  // Session 1 is settled, 2 open, 3 owes, 4 is not in the books.
  const settled = f.closedNumber(1, 1, { credit: 60_000n })
  const owing = f.closedNumber(3, 1, { credit: 59_999n })
  const records = Array.from({ length: 1_003 }, (_, n) => f.recordNumber(n))
  const others = [2, 3, 4].map((n) => f.recordNumber(0, { session: f.sessionId(n) }))
  const boot = f.recordNumber(1, { session: undefined, attribution: 'nas', status: 7 })
  const journal = [f.entryNumber(1, { amount: f.UINT96_MAX })]
  await commit(store, {
    ...{ records: [...records, ...others, boot], journal },
    sessions: [settled, f.sessionNumber(2), owing],
  })
  const removed = await store.prune(f.NOON + 1_001)
  t.same(removed, { records: 1_001 + 2, entries: 0 }, 'more than one step takes')
  const rest = records.slice(1_001).toReversed()
  equal(t, await store.records({ limit: 9 }), [...rest, others[1], others[0]], 'the rest')
  equal(t, await store.journal({ limit: 9 }), journal, 'a single entry stays as it is')
  t.same(await store.prune(f.NOON + 1_001), { records: 0, entries: 0 })
  await commit(store, { sessions: [{ ...owing, credit: 60_000n }] })
  t.same(await store.prune(f.NOON + 1_001), { records: 1, entries: 0 }, 'once it is paid')
  t.same((await sql('SELECT id FROM sessions')).length, 3, 'sessions stay')
  await store.close()
}

/** What the journal gives each account and session. */
async function sums(sql: StoreBed['sql']): Promise<Map<string, bigint>> {
  const totals = new Map<string, bigint>()
  for (const { account, session, amount } of await sql(
    'SELECT account, session, amount FROM journal',
  )) {
    const name = `${account} ${session}`
    totals.set(name, (totals.get(name) ?? 0n) + BigInt(String(amount)))
  }
  return totals
}

/** What becomes one entry, and that no sum changes. */
export async function merging(t: Test, bed: Bed): Promise<void> {
  const { open, sql } = await bed(t)
  const store = await open()
  const old = f.NOON + 100_000
  const settled = f.closedNumber(1, 1, { credit: 10n ** 20n })
  const owing = f.closedNumber(3, 1, { credit: 59_999n })
  const late = f.closedNumber(4, 1, { credit: 60_000n, endedAtMs: old })
  const of = (n: number, times: number, over: Partial<JournalEntry>) =>
    Array.from({ length: times }, (_, k) =>
      f.entryNumber(k, { session: f.sessionId(n), voucher: BigInt(k), ...over }),
    )
  const other = f.addressOf(7)
  const credit = { session: undefined, merchant: undefined }
  const journal = [
    ...of(1, 1_002, { amount: f.UINT96_MAX }),
    ...of(2, 2, { amount: 1n }),
    ...of(3, 2, { amount: 1n }),
    ...of(4, 2, { amount: 1n }),
    f.entryNumber(7, { ...credit, amount: 9n }),
    f.entryNumber(8, { ...credit, amount: -9n, voucher: 77n }),
    f.entryNumber(9, { ...credit, amount: 4n, account: other }),
    f.entryNumber(100_000, { session: f.sessionId(1), amount: 5n }),
  ]
  await commit(store, { journal, sessions: [settled, f.sessionNumber(2), owing, late] })
  const before = await sums(sql)
  const first = await store.prune(old)
  t.same(first, { records: 0, entries: 1_000 + 1 }, 'each step leaves one of a session')
  t.same(await store.prune(old), { records: 0, entries: 1 }, 'and the next joins them')
  t.same(await store.prune(old), { records: 0, entries: 0 })
  const after = await store.journal({ limit: 100 })
  const ones = after.filter(({ session }) => session === f.sessionId(1))
  equal(
    t,
    ones,
    [
      f.entryNumber(100_000, { session: f.sessionId(1), amount: 5n }),
      f.entryNumber(1_001, {
        ...{ session: f.sessionId(1), voucher: 1_001n, amount: 1_002n * f.UINT96_MAX },
      }),
    ],
    'its sum, its highest voucher, its last moment; what is newer stays apart',
  )
  equal(
    t,
    after.filter(({ session }) => session === undefined),
    [journal.at(-2), f.entryNumber(8, { ...credit, amount: 0n, voucher: 77n })],
    'credit of an account, each on its own',
  )
  t.equal(after.length, 2 + 2 + 3 * 2, 'open, owing and lately closed ones as they were')
  t.same(await sums(sql), before, 'no sum has changed')
  await store.close()
}
