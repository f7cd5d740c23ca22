// The metering keys of an account: a few, of which a new one takes the place of the oldest. Owns
// which are kept; that a key is what it says was decided before. Called by the ledger.

import { bookOf, putAccount, type Tables } from './ledger-tables.ts'
import type { MeteringKey } from './session.ts'

/** As many devices as most people have; a report is tried with each of its account's keys. */
export const METERING_KEYS_MAX = 4

/** Takes a key in, or the same one anew. Its account is in memory. */
export function enrol(tables: Tables, key: Omit<MeteringKey, 'slot'>): MeteringKey {
  const book = bookOf(tables, key.account)
  const known = book.meteringKeys
  const enrolled = { ...key, slot: slotFor(known, key.publicKey) }
  book.meteringKeys = [...known.filter(({ slot }) => slot !== enrolled.slot), enrolled]
  tables.logs.meteringKeys.push(enrolled)
  // An account that is not stored would not be found again, and its keys with it.
  putAccount(tables, book, {})
  return enrolled
}

function slotFor(known: readonly MeteringKey[], publicKey: string): number {
  const same = known.find((key) => key.publicKey === publicKey)
  if (same !== undefined) return same.slot
  const [oldest] = known.toSorted((a, b) => a.enrolledAtMs - b.enrolledAtMs)
  if (known.length >= METERING_KEYS_MAX && oldest !== undefined) return oldest.slot
  let slot = 0
  while (known.some((key) => key.slot === slot)) slot += 1
  return slot
}
