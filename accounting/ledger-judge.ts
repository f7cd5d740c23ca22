// What the clock does to sessions: intervals end and are judged, unpaid volume falls due, silence
// and Session-Timeouts end them; and the two ways a session is stopped, by a cut and by closing.
// Every other change first brings its session up to the time with `settle`. Called by the ledger.

import type { Address } from '../ethereum/address.ts'
import {
  type AccountBook,
  bookOf,
  byAge,
  dropRow,
  put,
  putAccount,
  type Row,
  type Tables,
} from './ledger-tables.ts'
import { isForDebt, stateAfter } from './lifecycle.ts'
import {
  billedUntilMs,
  debtOf,
  drawable,
  endMs,
  isVolumeBeyond,
  nextEvent,
  owed,
  type TimedEvent,
  timedOutAtMs,
} from './rating.ts'
import type { CutReason, Session, SessionEnd } from './session.ts'

/** Lets everything happen to a session that was to happen by its clock until `nowMs`. */
export function settle(tables: Tables, row: Row, nowMs: number): void {
  while (row.nextAtMs <= nowMs) {
    const { what, atMs } = nextEvent(row.session, tables.excusedUntilMs)
    // Later than was thought when it was noted: it has been excused.
    if (atMs > nowMs) row.nextAtMs = atMs
    else if (what === 'end') passEnds(tables, row, nowMs)
    else happen(tables, row, what, atMs, nowMs)
  }
}

/** Notes what was owed at every end until then; of hours away they are many, and written once. */
function passEnds(tables: Tables, row: Row, nowMs: number): void {
  const endsOwed = [...row.session.endsOwed]
  const session: Session = { ...row.session, endsOwed }
  for (let next = nextEvent(session, tables.excusedUntilMs); ; ) {
    endsOwed.push(owed(session, next.atMs))
    next = nextEvent(session, tables.excusedUntilMs)
    if (next.what !== 'end' || next.atMs > nowMs) break
  }
  put(tables, row, session)
}

function happen(
  tables: Tables,
  row: Row,
  what: Exclude<TimedEvent, 'end'>,
  atMs: number,
  nowMs: number,
): void {
  const { session } = row
  switch (what) {
    case 'judge':
      judge(tables, row, atMs)
      return
    case 'volume':
      judgeVolume(tables, row, atMs)
      return
    case 'arrears':
      endArrears(tables, row, atMs)
      return
    case 'silence':
      closeRow(tables, row, 'interims-missed', session.heardAtMs, nowMs)
      // Nobody has asked its NAS yet to put it off.
      if (session.state !== 'disconnecting') tables.silent.add(row)
      return
    case 'timeout':
      closeRow(tables, row, 'session-timeout', timedOutAtMs(session), nowMs)
      return
    case 'gone':
      closeRow(tables, row, 'disconnected', billedUntilMs(session), nowMs)
      return
    case 'abandon':
      closeRow(tables, row, 'abandoned', atMs)
      return
    default:
      row.nextAtMs = Number.POSITIVE_INFINITY
  }
}

/** Moves unassigned credit of its account to a session, as far as there is any and it may. */
export function draw(tables: Tables, row: Row, need: bigint, atMs: number): void {
  const { session } = row
  if (session.account === undefined || need <= 0n) return
  const most = drawable(session, bookOf(tables, session.account).account.credit, atMs)
  const amount = need < most ? need : most
  if (amount > 0n) move(tables, row, session.account, amount, atMs)
}

/** Between its account's unassigned credit and a session; negative: back to the account. */
function move(tables: Tables, row: Row, account: Address, amount: bigint, atMs: number): void {
  const { session } = row
  const book = bookOf(tables, account)
  const { credit, voucher } = book.account
  const { id, merchant } = session
  const common = { atMs, account, voucher: voucher?.amount ?? 0n }
  tables.logs.journal.push(
    { ...common, session: undefined, merchant: undefined, amount: -amount },
    { ...common, session: id, merchant, amount },
  )
  putAccount(tables, book, { credit: credit - amount })
  put(tables, row, { ...session, credit: session.credit + amount })
}

/** Nothing is missed and no volume is late. */
const isSquare = (session: Session): boolean =>
  session.missed === 0 && session.volumeDue === undefined

/** How many ends are judged at this moment: one, or all that were excused until now. */
function endsDue({ startedAtMs, judged, endsOwed, tariff }: Session, atMs: number): number {
  const passed = Math.floor((atMs - tariff.graceMs - startedAtMs) / tariff.intervalMs) - judged
  return Math.min(Math.max(1, passed), endsOwed.length)
}

function judge(tables: Tables, row: Row, atMs: number): void {
  const due = row.session.endsOwed.slice(0, endsDue(row.session, atMs))
  draw(tables, row, (due.at(-1) ?? 0n) - row.session.credit, atMs)
  const { session } = row
  const book = session.account === undefined ? undefined : bookOf(tables, session.account)
  // What is owed only grows: those that are paid come first, and are judged together.
  const firstUnpaid = due.findIndex((target) => session.credit < target)
  const ends = firstUnpaid === -1 ? due.length : Math.max(1, firstUnpaid)
  const judged = { judged: session.judged + ends, endsOwed: session.endsOwed.slice(ends) }
  if (firstUnpaid !== 0) {
    // An interval that cost nothing shows nobody's willingness to pay.
    const counts = due.slice(0, ends).filter((target) => target > 0n).length
    const paid = { ...session, ...judged, missed: 0, paidIntervals: session.paidIntervals + counts }
    put(tables, row, isSquare(paid) ? { ...paid, state: stateAfter(paid.state, 'settled') } : paid)
    if (session.missed > 0) noteRecovery(tables, row)
    if (counts > 0 && book !== undefined) {
      putAccount(tables, book, { paidIntervals: book.account.paidIntervals + counts })
    }
    return
  }
  const missed = session.missed + 1
  put(tables, row, { ...session, ...judged, missed, state: stateAfter(session.state, 'behind') })
  if (book !== undefined && session.kind !== 'pmksa') {
    putAccount(tables, book, { missedIntervals: book.account.missedIntervals + 1 })
  }
  if (missed >= session.tariff.missedMax) {
    cutRow(tables, row, 'intervals-missed', atMs)
    tables.cut.add(row)
  } else if (missed === 1) {
    tables.recovered.delete(row)
    tables.overdue.add(row)
  }
}

function noteRecovery(tables: Tables, row: Row): void {
  if (!tables.overdue.delete(row)) tables.recovered.add(row)
}

function judgeVolume(tables: Tables, row: Row, atMs: number): void {
  draw(tables, row, (row.session.volumeDue?.amount ?? 0n) - row.session.credit, atMs)
  clearVolume(tables, row, atMs)
  if (row.session.volumeDue === undefined || row.session.volumeDue.atMs > atMs) return
  cutRow(tables, row, 'volume-unpaid', atMs)
  tables.cut.add(row)
}

/** Takes the mark off where that volume is paid, and looks whether more has come since. */
export function clearVolume(tables: Tables, row: Row, nowMs: number): void {
  const { session } = row
  if (session.volumeDue === undefined || session.credit < session.volumeDue.amount) return
  const cleared = { ...session, volumeDue: undefined }
  const state = isSquare(cleared) ? stateAfter(cleared.state, 'settled') : cleared.state
  put(tables, row, { ...cleared, state })
  markVolume(tables, row, nowMs)
}

/** Volume beyond what an interval may leave unpaid is due at once, with one interval to pay. */
export function markVolume(tables: Tables, row: Row, nowMs: number): void {
  if (!isVolumeBeyond(row.session, nowMs)) return
  draw(tables, row, owed(row.session, nowMs) - row.session.credit, nowMs)
  const { session } = row
  if (!isVolumeBeyond(session, nowMs)) return
  put(tables, row, {
    ...session,
    volumeDue: { amount: owed(session, nowMs), atMs: nowMs + session.tariff.intervalMs },
    state: stateAfter(session.state, 'behind'),
  })
}

/**
 * After a report less is owed than was thought: what an interval's end asks for, and what is due at
 * once, is never more than the session owes by now.
 */
export function rateAnew(tables: Tables, row: Row, nowMs: number): void {
  const { session } = row
  const { judged, endsOwed, state } = session
  const atMost = (amount: bigint, atMs: number): bigint => {
    const now = owed(session, atMs)
    return now < amount ? now : amount
  }
  const isBeyond = isVolumeBeyond({ ...session, volumeDue: undefined }, nowMs)
  const volumeDue =
    session.volumeDue === undefined || !isBeyond
      ? undefined
      : { ...session.volumeDue, amount: atMost(session.volumeDue.amount, nowMs) }
  const lowered = {
    ...{ ...session, volumeDue },
    endsOwed: endsOwed.map((amount, n) => atMost(amount, endMs(session, judged + n + 1))),
  }
  put(tables, row, {
    ...lowered,
    state: isSquare(lowered) ? stateAfter(state, 'settled') : state,
  })
  if (session.account !== undefined) forgive(tables, bookOf(tables, session.account))
}

/** The window to pay old debts in is over: who did not is put off, who did is like anyone. */
function endArrears(tables: Tables, row: Row, atMs: number): void {
  const { session } = row
  const book = session.account === undefined ? undefined : bookOf(tables, session.account)
  if (book === undefined || book.debts.size === 0) {
    put(tables, row, { ...session, kind: 'normal' })
    return
  }
  cutRow(tables, row, 'arrears-unpaid', atMs)
  tables.cut.add(row)
}

/** Decides to put it off; billing stops one interval later at most. */
export function cutRow(tables: Tables, row: Row, reason: CutReason, atMs: number): void {
  const { session } = row
  const state = stateAfter(session.state, 'cut')
  if (state === session.state) return
  tables.overdue.delete(row)
  tables.recovered.delete(row)
  put(tables, row, { ...session, state, cutAtMs: atMs, cutReason: reason })
  // What only its NAS speaks of is held against nobody's account.
  if (!isForDebt(reason) || session.account === undefined || session.kind === 'pmksa') return
  const book = bookOf(tables, session.account)
  putAccount(tables, book, { cuts: book.account.cuts + 1, lastCutAtMs: atMs })
}

/**
 * Ends it; what it owes beyond its credit and its account's stays as a debt. `nowMs`: when that is
 * known, where it is later.
 */
export function closeRow(
  tables: Tables,
  row: Row,
  why: SessionEnd,
  atMs: number,
  nowMs = atMs,
): Session {
  const before = row.session
  // Where the Accept never went out, nothing was served.
  const endedAtMs = why === 'abandoned' ? before.startedAtMs : Math.max(before.startedAtMs, atMs)
  const state = stateAfter(before.state, 'ended')
  const end = { state, endedAtMs, closedAtMs: nowMs, endedBy: why }
  const session = { ...before, ...end, endsOwed: [], volumeDue: undefined }
  tables.overdue.delete(row)
  tables.recovered.delete(row)
  tables.cut.delete(row)
  if (before.state === 'reserved') {
    dropRow(tables, row)
    return session
  }
  put(tables, row, session)
  draw(tables, row, debtOf(session), endedAtMs)
  if (session.account === undefined) return row.session
  // Nobody was served: what it had drawn is its account's again. Other ends leave what is paid with
  // the merchant, whose part of a voucher never shrinks.
  const over = row.session.credit - owed(session, endedAtMs)
  if (why === 'abandoned' && over > 0n) move(tables, row, session.account, -over, endedAtMs)
  forgive(tables, bookOf(tables, session.account))
  return row.session
}

/** Who owes nothing from ended sessions starts over: no cut is held against it. */
export function forgive(tables: Tables, book: AccountBook): void {
  if (book.account.cuts === 0 || book.debts.size > 0) return
  for (const { session } of book.open) if (session.state === 'disconnecting') return
  putAccount(tables, book, { cuts: 0 })
}

/** Settles all that is due, in the order it fell due, whatever order the table has. */
export function settleDue(tables: Tables, nowMs: number): void {
  const due: Row[] = []
  for (const row of tables.open.values()) if (row.nextAtMs <= nowMs) due.push(row)
  due.sort((a, b) => a.nextAtMs - b.nextAtMs || (a.session.id < b.session.id ? -1 : 1))
  for (const row of due) settle(tables, row, nowMs)
}

/** Settles the open sessions of one account and returns them, oldest first. */
export function settleAccount(tables: Tables, book: AccountBook, nowMs: number): Row[] {
  for (const row of byAge(book.open)) settle(tables, row, nowMs)
  return byAge(book.open)
}
