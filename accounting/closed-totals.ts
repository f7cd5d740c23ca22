// What one account's closed sessions add up to, however many there are: the figures of activity
// summaries. Owns which sessions count; reads in steps that are small beside a commit. Called by
// store-read.ts, for both databases.

import { createHash } from 'node:crypto'
import type { Address } from '../ethereum/address.ts'
import type { ClosedTotals } from './storage.ts'
import type { Query } from './store-read.ts'

/** Rows in one step: some milliseconds of the event loop where the database is in the process. */
const STEP_ROWS = 1_000

const pause = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/**
 * Text, since sums of 64-bit octets and 96-bit amounts fit no number of a driver. A reconnect that
 * nobody has paid for is its access point's word alone: it may be made up, as often as one likes.
 */
const PAGE = `SELECT number, id, started_at, CAST(credit AS TEXT) AS credit,
    CAST(input_octets AS TEXT) AS input, CAST(output_octets AS TEXT) AS output
  FROM sessions
  WHERE account = ? AND closed_at < ? AND (ended_by IS NULL OR ended_by <> 'abandoned')
    AND (kind <> 'pmksa' OR credit <> '0')
    AND (started_at, number) > (?, ?)
  ORDER BY started_at, number LIMIT ?`

/** Storage.closedTotals. */
export async function closedTotals(
  query: Query,
  account: Address,
  endedBeforeMs: number,
): Promise<ClosedTotals> {
  const ids = createHash('sha256')
  const totals = { sessions: 0, input: 0n, output: 0n, paid: 0n }
  let firstStartedAtMs: number | undefined
  for (let at = -1, number = 0; ; await pause()) {
    const rows = await query(PAGE, [account, endedBeforeMs, at, number, STEP_ROWS])
    for (const row of rows) {
      ids.update(Buffer.from(String(row['id']), 'hex'))
      totals.sessions += 1
      totals.input += BigInt(String(row['input'] ?? 0))
      totals.output += BigInt(String(row['output'] ?? 0))
      totals.paid += BigInt(String(row['credit']))
      firstStartedAtMs ??= Number(row['started_at'])
    }
    const last = rows.at(-1)
    if (last === undefined || rows.length < STEP_ROWS) {
      return { ...totals, firstStartedAtMs, idsHash: ids.digest() }
    }
    at = Number(last['started_at'])
    number = Number(last['number'])
  }
}
