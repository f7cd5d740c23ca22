// What the ledger is asked: how an account stands, and which session a record or a station has.
// Changes nothing. What admission asks is a look at sums that are kept: an account may have
// thousands of sessions. Called by the ledger.

import type { Address } from '../ethereum/address.ts'
import type { Standing } from './ledger.ts'
import {
  type AccountBook,
  emptyBook,
  isNewcomer,
  placeKey,
  type Row,
  recordKey,
  stationKey,
  type Tables,
} from './ledger-tables.ts'
import { barsFromMs, bookedElsewhere, debtOf, drawable, isBehind, unpaidAt } from './rating.ts'
import type { NasPlace, Session } from './session.ts'
import { intervalPrice } from './tariff.ts'

const MINUTE_MS = 60_000
/**
 * 1, 2, 4 … 60 minutes: doubled for each device cut for debt at this station and not paid since.
 */
const BACKOFF_MAX_MS = 60 * MINUTE_MS

const noLess = (amount: bigint): bigint => (amount > 0n ? amount : 0n)

/** How an account stands that asks for a session at a place of a merchant. */
export function standing(
  tables: Tables,
  account: Address,
  place: NasPlace,
  merchant: Address,
  nowMs: number,
): Standing {
  const book = tables.accounts.get(account) ?? emptyBook(account)
  const key = placeKey(place)
  const here = (key === undefined ? undefined : book.places.get(key)) ?? []
  // The one that is being replaced owes what it owes: only its reserve is free for the next.
  let largest = 0n
  for (const { session } of here) if (session.reserve > largest) largest = session.reserve
  const newcomer = isNewcomer(book.account)
  const atNas = tables.newcomers.get(place.nas) ?? 0
  return {
    account: book.account,
    reserved: book.reserved - largest,
    openSessions: book.places.size - (here.length > 0 ? 1 : 0),
    ...debts(book, here, merchant, nowMs),
    newcomer,
    newcomersHere: newcomer ? atNas - here.length : atNas,
    stationBarredUntilMs: stationBarredUntil(tables, account, place, nowMs),
  }
}

/**
 * What is unpaid, as this merchant may count it. Who begins anew leaves one session for the next
 * one: what `here` would be left counts as if it was left, and no more than an interval may be left
 * so in all.
 */
function debts(book: AccountBook, here: readonly Row[], merchant: Address, nowMs: number) {
  let [oldDebt, openDebt, barring, left] = [0n, book.openDebt, 0n, 0n]
  let leftMost: bigint | undefined
  const leave = (session: Session, debt: bigint): void => {
    const price = intervalPrice(session.tariff)
    left += debt
    if (debt > 0n && (leftMost === undefined || price < leftMost)) leftMost = price
  }
  const counted = (session: Session, debt: bigint): bigint =>
    session.merchant === merchant ? debt : bookedElsewhere(session, debt)
  for (const { session } of book.debts) {
    const debt = counted(session, debtOf(session))
    oldDebt += debt
    if (barsFromMs(session) <= nowMs) barring += debt
    else leave(session, debt)
  }
  if (book.openDebt > 0n) {
    for (const { session, booked } of book.open) {
      const debt = counted(session, booked)
      openDebt -= booked - debt
      if (session.state === 'disconnecting') barring += debt
    }
  }
  for (const { session } of here) {
    if (session.state === 'reserved' || session.state === 'disconnecting') continue
    const spare = drawable(session, book.account.credit, nowMs)
    const debt = counted(session, noLess(unpaidAt(session, nowMs) - spare))
    if (isBehind(session, debt)) barring += debt
    else leave(session, debt)
  }
  if (leftMost !== undefined && left >= leftMost) barring += left
  return { oldDebt, openDebt, barring }
}

/** Fresh accounts from a station where others were just cut for debt wait; nobody else does. */
function stationBarredUntil(
  tables: Tables,
  account: Address,
  { nas, callingStationId }: NasPlace,
  nowMs: number,
): number | undefined {
  if (callingStationId === '') return undefined
  let others = 0
  let lastMs = Number.NEGATIVE_INFINITY
  for (const { session } of tables.cutAt.get(stationKey(nas, callingStationId)) ?? []) {
    if (session.account === account) continue
    others += 1
    lastMs = Math.max(lastMs, session.cutAtMs ?? lastMs)
  }
  if (others === 0) return undefined
  const untilMs = lastMs + Math.min(BACKOFF_MAX_MS, MINUTE_MS * 2 ** (others - 1))
  return untilMs > nowMs ? untilMs : undefined
}

/** The newest that fits, an open one before a closed one; never one whose Accept was not sent. */
function newest(rows: readonly Row[] | undefined, fits: (session: Session) => boolean) {
  let over: Session | undefined
  for (let at = (rows?.length ?? 0) - 1; at >= 0; at--) {
    const session = rows?.[at]?.session
    if (session === undefined || session.state === 'reserved' || !fits(session)) continue
    if (session.state !== 'closed') return session
    over ??= session
  }
  return over
}

const equalOrUnknown = (a: string, b: string): boolean => a === b || a === '' || b === ''

/**
 * By NAS, Acct-Session-Id, Acct-Multi-Session-Id and Calling-Station-Id: access points use the
 * first again. Else the open session of the station whose Access-Request told no Acct-Session-Id.
 */
export function find(tables: Tables, place: NasPlace): Session | undefined {
  const { nas, acctSessionId, acctMultiSessionId, callingStationId } = place
  if (acctSessionId === '' && callingStationId === '') return undefined
  const found = newest(tables.byRecord.get(recordKey(place)), (session) =>
    equalOrUnknown(session.place.acctMultiSessionId, acctMultiSessionId),
  )
  if (found !== undefined || callingStationId === '') return found
  return newest(
    tables.byStation.get(stationKey(nas, callingStationId)),
    ({ state, place: known }) => state !== 'closed' && known.acctSessionId === '',
  )
}

/** The last session with a payer of a station. */
export function lastAt(tables: Tables, nas: string, callingStationId: string): Session | undefined {
  if (callingStationId === '') return undefined
  const rows = tables.byStation.get(stationKey(nas, callingStationId))
  return rows?.findLast(
    ({ session: { account, state } }) => account !== undefined && state !== 'reserved',
  )?.session
}

/** The session of a chain with these accounting ids, else its newest. */
export function continuation(
  tables: Tables,
  id: string,
  acctSessionId: string,
  acctMultiSessionId: string,
): Session | undefined {
  const first = tables.rows.get(id)
  const later = tables.chains.get(id)
  // Nearly every session: nothing to choose from.
  if (later === undefined) return first?.session.state === 'reserved' ? undefined : first?.session
  const rows = [...(first === undefined ? [] : [first]), ...later]
  const same = newest(
    rows,
    ({ place }) =>
      place.acctSessionId === acctSessionId &&
      equalOrUnknown(place.acctMultiSessionId, acctMultiSessionId),
  )
  return same ?? rows.findLast(({ session }) => session.state !== 'reserved')?.session
}
