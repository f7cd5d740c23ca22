// The metering keys of an account: a few, of which a new one takes the place of the oldest. Owns
// which are kept, that no counter of theirs goes back, and that one that has signed too little is
// shown anew; that a key is what it says was decided before. Called by the ledger.

import type { Address } from '../ethereum/address.ts'
import { type AccountBook, bookOf, putAccount, type Tables } from './ledger-tables.ts'
import type { MeteringKey } from './session.ts'

/** As many devices as most people have; a report is tried with each of its account's keys. */
export const METERING_KEYS_MAX = 4

function put(tables: Tables, book: AccountBook, key: MeteringKey): void {
  book.meteringKeys = [...book.meteringKeys.filter(({ slot }) => slot !== key.slot), key]
  tables.logs.meteringKeys.push(key)
  // An account that is not stored would not be found again, and its keys with it.
  putAccount(tables, book, {})
}

/** Takes a key in, or the same one anew. Its account is in memory. */
export function enrol(tables: Tables, key: Omit<MeteringKey, 'slot' | 'counter'>): MeteringKey {
  const book = bookOf(tables, key.account)
  const known = book.meteringKeys
  const same = known.find(({ publicKey }) => publicKey === key.publicKey)
  const slot = same?.slot ?? slotFor(known)
  // The same key goes on counting: assertions of before must not count again.
  const enrolled = { ...key, slot, counter: same?.counter ?? 0 }
  put(tables, book, enrolled)
  return enrolled
}

function slotFor(known: readonly MeteringKey[]): number {
  const [oldest] = known.toSorted((a, b) => a.enrolledAtMs - b.enrolledAtMs)
  if (known.length >= METERING_KEYS_MAX && oldest !== undefined) return oldest.slot
  let slot = 0
  while (known.some((key) => key.slot === slot)) slot += 1
  return slot
}

/** An assertion by this key was taken. Nothing for a key that is not known, or a lower counter. */
export function raiseCounter(
  tables: Tables,
  account: Address,
  publicKey: string,
  counter: number,
): void {
  const book = tables.accounts.get(account)
  const key = book?.meteringKeys.find((one) => one.publicKey === publicKey)
  if (book !== undefined && key !== undefined && counter > key.counter) {
    put(tables, book, { ...key, counter })
  }
}

/** The key of an account in that slot counts for nothing until it is shown anew. */
export function expireKey(tables: Tables, account: Address, slot: number): void {
  const book = tables.accounts.get(account)
  const key = book?.meteringKeys.find((one) => one.slot === slot)
  if (book === undefined || key === undefined || key.expiresAtMs === 0) return
  put(tables, book, { ...key, expiresAtMs: 0 })
}
