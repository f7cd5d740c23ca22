// What keeps a store from growing for ever: old accounting records go, old journal entries of one
// session become one. Owns which rows, in steps that are small beside a commit; the stores write
// what it decides. Refuses to touch what may still be asked for: records of sessions that are open
// or owe stay, and the sums of the journal never change. Called by store-sqlite.ts and
// store-postgres.ts.

import type { Pruned } from './storage.ts'
import type { Query, Row } from './store-read.ts'

/** Entries of one session and account, one after the other, that become the newest of them. */
export interface Merge {
  /** Number of the row that stays, with its time. */
  readonly keep: number
  readonly amount: bigint
  readonly voucher: bigint
  readonly removed: readonly number[]
}

/** What a store does for it; each write is one transaction. */
export interface PruneSteps {
  readonly query: Query
  removeRecords(numbers: readonly number[]): Promise<void>
  mergeEntries(merges: readonly Merge[]): Promise<void>
}

/** Rows in one step: 2 ms in SQLite, 50 with a checkpoint; what waits meanwhile waits no longer. */
const STEP_ROWS = 1_000
const STEP_ACCOUNTS = 100

/** Nothing more can come of it: closed, and everything paid. */
const IS_SETTLED = `(s.closed_at IS NOT NULL AND s.debt = '0')`

/** SQLite answers at once: others must have their turn between two steps. */
const pause = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Records of before, in the order they came; those without a session (On, Off) go by age alone. */
async function pruneRecords(steps: PruneSteps, beforeMs: number): Promise<number> {
  const page = `SELECT r.number, r.received_at,
      CASE WHEN s.id IS NULL OR ${IS_SETTLED} THEN 1 ELSE 0 END AS settled
    FROM records r LEFT JOIN session_facts s ON s.id = r.session
    WHERE r.received_at < ? AND (r.received_at, r.number) > (?, ?)
    ORDER BY r.received_at, r.number LIMIT ?`
  let removed = 0
  for (let at = -1, number = 0; ; await pause()) {
    const rows = await steps.query(page, [beforeMs, at, number, STEP_ROWS])
    const settled = rows.filter((row) => Number(row['settled']) === 1)
    if (settled.length > 0) await steps.removeRecords(settled.map((row) => Number(row['number'])))
    removed += settled.length
    const last = rows.at(-1)
    if (last === undefined || rows.length < STEP_ROWS) return removed
    at = Number(last['received_at'])
    number = Number(last['number'])
  }
}

function larger(a: bigint, b: bigint): bigint {
  if (a > b) return a
  return b
}

/** One merge for each session that has more than one of these entries, all of one account. */
function mergesOf(rows: readonly Row[]): Merge[] {
  const bySession = new Map<unknown, Row[]>()
  for (const row of rows) {
    const others = bySession.get(row['session'])
    if (others === undefined) bySession.set(row['session'], [row])
    else others.push(row)
  }
  const merges: Merge[] = []
  for (const entries of bySession.values()) {
    if (entries.length === 1) continue
    // The highest stays: whoever has read up to some number must find every later one above it,
    // and a database gives the number of a removed last row again.
    const numbers = entries.map((row) => Number(row['number'])).sort((a, b) => a - b)
    const vouchers = entries.map((row) => BigInt(String(row['voucher'])))
    merges.push({
      keep: numbers.at(-1) ?? 0,
      amount: entries.reduce((sum, row) => sum + BigInt(String(row['amount'])), 0n),
      voucher: vouchers.reduce(larger),
      removed: numbers.slice(0, -1),
    })
  }
  return merges
}

/** One account's entries of before; what a step ends between is merged another day. */
async function mergeAccount(steps: PruneSteps, account: string, beforeMs: number): Promise<number> {
  const page = `SELECT j.number, j.at, j.session, j.amount, j.voucher
    FROM journal j LEFT JOIN session_facts s ON s.id = j.session
    WHERE j.account = ? AND j.at < ? AND (j.at, j.number) > (?, ?)
      AND (j.session IS NULL OR (${IS_SETTLED} AND s.closed_at < ?))
    ORDER BY j.at, j.number LIMIT ?`
  let removed = 0
  for (let at = -1, number = 0; ; ) {
    const rows = await steps.query(page, [account, beforeMs, at, number, beforeMs, STEP_ROWS])
    const merges = mergesOf(rows)
    if (merges.length > 0) await steps.mergeEntries(merges)
    removed += merges.reduce((sum, merge) => sum + merge.removed.length, 0)
    await pause()
    const last = rows.at(-1)
    if (last === undefined || rows.length < STEP_ROWS) return removed
    at = Number(last['at'])
    number = Number(last['number'])
  }
}

async function mergeJournal(steps: PruneSteps, beforeMs: number): Promise<number> {
  const page = `SELECT account FROM journal WHERE account > ? AND at < ?
    GROUP BY account HAVING count(*) > 1 ORDER BY account LIMIT ?`
  let removed = 0
  for (let after = ''; ; await pause()) {
    const rows = await steps.query(page, [after, beforeMs, STEP_ACCOUNTS])
    for (const { account } of rows) {
      removed += await mergeAccount(steps, String(account), beforeMs)
    }
    const last = rows.at(-1)
    if (last === undefined || rows.length < STEP_ACCOUNTS) return removed
    after = String(last['account'])
  }
}

/** Storage.prune, for a store that can do these steps. */
export async function pruneBy(
  steps: PruneSteps,
  beforeMs: number,
  journalBeforeMs = beforeMs,
): Promise<Pruned> {
  const records = await pruneRecords(steps, beforeMs)
  return { records, entries: await mergeJournal(steps, Math.min(beforeMs, journalBeforeMs)) }
}
