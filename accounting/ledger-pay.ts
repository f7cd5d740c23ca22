// Where a voucher's increase goes: the session it names, other debts, and the account. Owns the
// order of product terms: paying, and the journal's side of it; verifies nothing, the door did.
// Called by the ledger.

import type { CheckedVoucher, Credited } from './ledger.ts'
import { clearVolume, forgive, settle, settleAccount } from './ledger-judge.ts'
import {
  type AccountBook,
  bookOf,
  byAge,
  put,
  putAccount,
  type Row,
  type Tables,
} from './ledger-tables.ts'
import { stateAfter } from './lifecycle.ts'
import { creditRoom, debtOf, unpaidAt } from './rating.ts'

/** Credits what is left of an increase to a session, up to `room`; returns what it took. */
function give(
  tables: Tables,
  row: Row,
  rest: bigint,
  room: bigint,
  book: AccountBook,
  atMs: number,
) {
  const amount = rest < room ? rest : room
  if (amount <= 0n) return 0n
  const { session } = row
  const { account, voucher } = book.account
  const { id, merchant } = session
  tables.logs.journal.push({
    ...{ atMs, account, session: id, merchant, amount, voucher: voucher?.amount ?? 0n },
  })
  const state = stateAfter(session.state, 'paid')
  put(tables, row, { ...session, state, credit: session.credit + amount })
  clearVolume(tables, row, atMs)
  return amount
}

/** Takes a strictly higher voucher; undefined where it is not higher than what is known. */
export function pay(
  tables: Tables,
  { account, amount, signature, settled }: CheckedVoucher,
  session: string | undefined,
  nowMs: number,
): Credited | undefined {
  const book = bookOf(tables, account)
  const best = book.account.voucher?.amount ?? 0n
  // What the contract has settled was credited when it was paid, if by another copy of the books.
  const increase = amount - (best > settled ? best : settled)
  if (increase <= 0n) return undefined
  const found = session === undefined ? undefined : tables.rows.get(session)
  const named = found?.session.account === account ? found : undefined
  // An end that falls on this very moment is judged before the payment.
  if (named !== undefined) settle(tables, named, nowMs)
  putAccount(tables, book, { voucher: { amount, signature, atMs: nowMs } })
  let rest = increase
  let toNamed = 0n
  if (named !== undefined) {
    toNamed = give(tables, named, rest, creditRoom(named.session, nowMs), book, nowMs)
    rest -= toNamed
    // The device itself speaks of it now: no longer only the access point's word.
    if (named.session.kind === 'pmksa') put(tables, named, { ...named.session, kind: 'normal' })
    if (named.session.state !== 'closed') {
      put(tables, named, { ...named.session, heardAtMs: nowMs })
    }
  }
  const others = rest === 0n ? 0n : spread(tables, book, named, rest, nowMs)
  rest -= others
  if (rest > 0n) {
    const voucher = amount
    tables.logs.journal.push({
      ...{ atMs: nowMs, account, session: undefined, merchant: undefined, amount: rest, voucher },
    })
    putAccount(tables, book, { credit: book.account.credit + rest })
  }
  forgive(tables, book)
  return { named: toNamed, merchant: named?.session.merchant, others, unassigned: rest }
}

/**
 * What is left pays ended sessions first, then what open ones owe now, the oldest first of each.
 */
function spread(
  tables: Tables,
  book: AccountBook,
  named: Row | undefined,
  increase: bigint,
  nowMs: number,
): bigint {
  let rest = increase
  const open = settleAccount(tables, book, nowMs)
  for (const row of byAge(book.debts)) {
    rest -= give(tables, row, rest, debtOf(row.session), book, nowMs)
  }
  for (const row of open) {
    if (rest === 0n) break
    if (row === named) continue
    rest -= give(tables, row, rest, unpaidAt(row.session, nowMs), book, nowMs)
  }
  return increase - rest
}
