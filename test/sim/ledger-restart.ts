// What a store gives back, compared with the books that were written to it: sessions, accounts, how
// they stand, and the sums of the journal. Called by ledger-oracle.ts.

import { isDeepStrictEqual } from 'node:util'
import type { Ledger } from '../../accounting/ledger.ts'
import type { JournalEntry } from '../../accounting/session.ts'
import type { Address } from '../../ethereum/address.ts'
import { type Mine, must } from './ledger-model.ts'

/** What the journal comes to, by account and by session. */
export function sumsOf(entries: readonly JournalEntry[]): Map<string, bigint> {
  const sums = new Map<string, bigint>()
  for (const { session, account, amount } of entries) {
    for (const key of session === undefined ? [account] : [account, session]) {
      sums.set(key, (sums.get(key) ?? 0n) + amount)
    }
  }
  return sums
}

interface Known {
  readonly mine: ReadonlyMap<string, Mine>
  readonly accounts: readonly Address[]
}

/** Throws where `other`, read from the store, differs from what is known, or from `live`. */
export function compareBooks(known: Known, other: Ledger, live: Ledger | undefined, nowMs: number) {
  for (const { id, session: own } of known.mine.values()) {
    const session = other.session(id)
    const isSame = isDeepStrictEqual(session, own)
    must(isSame, 'restart', `${id} after a restart: ${session?.state} ${session?.credit}`)
  }
  if (live === undefined) return
  for (const account of known.accounts) {
    const before = live.account(account)
    if (before?.voucher === undefined || !other.knows(account)) continue
    must(isDeepStrictEqual(other.account(account), before), 'restart', `account ${account}`)
    const own = [...known.mine.values()].findLast((session) => session.account === account)
    // What is only reserved is not stored.
    if (own === undefined || live.openOf(account).some((s) => s.state === 'reserved')) continue
    const { place } = own.session
    const standings = [other, live].map((books) => ({
      ...books.standing(account, place, account, nowMs),
      // Of all accounts: some may have reserved ones.
      newcomersHere: 0,
    }))
    must(isDeepStrictEqual(standings[0], standings[1]), 'restart', `the standing of ${account}`)
  }
}
