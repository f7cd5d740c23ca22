// The tables behind the ledger: sessions by id, account, place, station and record, and the sums
// that every admission asks for, kept right as sessions change. Owns no rule of money. `put` is the
// only way a session changes. Called by the ledger's other files.

import type { Address } from '../ethereum/address.ts'
import { isForDebt } from './lifecycle.ts'
import { bookedDebt, debtOf, nextEvent } from './rating.ts'
import type { Account, Changes, MeteringKey, NasPlace, Session, TariffVersion } from './session.ts'

/** One session's place in the tables; the value is replaced as it changes, the row stays. */
export interface Row {
  session: Session
  /** When the clock next changes something about it, Unix ms. */
  nextAtMs: number
  /** It is among the rows the next drain takes. */
  changed: boolean
  /** What of it is in the sums of its account. */
  booked: bigint
  /** The last records that came when a later one was counted or it was over, to know them again. */
  overtaken: string[] | undefined
}

/** One account and what every admission asks of its sessions, which may be thousands. */
export interface AccountBook {
  account: Account
  changed: boolean
  readonly open: Set<Row>
  /** Closed and still owing. */
  readonly debts: Set<Row>
  /** Open ones by `placeOf`; hardly more than two at one: the one that serves and its successor. */
  readonly places: Map<string, readonly Row[]>
  /** The sum over the places of the larger reserve of each. */
  reserved: bigint
  /** The sum of `bookedDebt` of the open ones. */
  openDebt: bigint
  /** When the last reconnect by a cached key began, by client entry. */
  readonly reconnects: Map<string, number>
  /** In no order; see metering-keys.ts. */
  meteringKeys: readonly MeteringKey[]
}

/** Arrays of one Changes, while they grow. */
type Growing = { -readonly [Name in keyof Changes]: Changes[Name][number][] }

export interface Tables {
  readonly rows: Map<string, Row>
  readonly open: Map<string, Row>
  /** Closed ones, in the order they ended. */
  readonly closed: Map<string, Row>
  readonly accounts: Map<Address, AccountBook>
  /** Open sessions by client entry. */
  readonly openAt: Map<string, Set<Row>>
  /** Without those that nobody paid for and that are over: there may be any number of them. */
  readonly byStation: Map<string, Row[]>
  readonly byRecord: Map<string, Row[]>
  /** PMKSA sessions by the id of the first. */
  readonly chains: Map<string, Row[]>
  /** Open sessions of newcomers by client entry. */
  readonly newcomers: Map<string, number>
  /** Sessions cut for debt and not paid since, by station. */
  readonly cutAt: Map<string, Set<Row>>
  readonly tariffs: Map<string, TariffVersion>
  readonly changedRows: Row[]
  readonly changedAccounts: AccountBook[]
  /** What the last drain gave: stored when the next one comes. */
  unstored: Set<Row | AccountBook>
  logs: Pick<
    Growing,
    'journal' | 'records' | 'disputes' | 'authorizations' | 'tariffs' | 'meteringKeys'
  >
  /** Decided since the last advance(). */
  readonly cut: Set<Row>
  readonly overdue: Set<Row>
  readonly recovered: Set<Row>
  readonly silent: Set<Row>
  excusedUntilMs: number
}

export const noLogs = (): Tables['logs'] => ({
  ...{ journal: [], records: [], disputes: [], authorizations: [], tariffs: [] },
  meteringKeys: [],
})

export const createTables = (): Tables => ({
  ...{ rows: new Map(), open: new Map(), closed: new Map(), accounts: new Map() },
  ...{ openAt: new Map(), byStation: new Map(), byRecord: new Map() },
  ...{ chains: new Map(), newcomers: new Map(), unstored: new Set() },
  ...{ cutAt: new Map(), tariffs: new Map(), changedRows: [], changedAccounts: [] },
  ...{ cut: new Set(), overdue: new Set(), recovered: new Set(), silent: new Set() },
  logs: noLogs(),
  excusedUntilMs: Number.NEGATIVE_INFINITY,
})

/** Escrow shows ability to pay, not willingness: that takes this many paid intervals. */
const NEWCOMER_BELOW = 10
export const isNewcomer = ({ paidIntervals }: Account): boolean => paidIntervals < NEWCOMER_BELOW

/**
 * Where a device is. A session and the one about to replace it have the same place, and of their
 * reserves only the larger counts: they are one device. Without a station each is on its own.
 */
export function placeOf({ id, place }: Pick<Session, 'id' | 'place'>): string {
  return placeKey(place) ?? id
}

/** The key of a place that has a station. */
export function placeKey({ nas, callingStationId, calledStationId }: NasPlace): string | undefined {
  return callingStationId === '' ? undefined : `${nas}\n${callingStationId}\n${calledStationId}`
}

export const stationKey = (nas: string, callingStationId: string): string =>
  `${nas}\n${callingStationId}`

export const recordKey = ({ nas, acctSessionId, callingStationId }: NasPlace): string =>
  `${nas}\n${acctSessionId}\n${callingStationId}`

/** An account that nothing is known of. */
export const emptyBook = (account: Address): AccountBook => ({
  account: {
    ...{ account, voucher: undefined, credit: 0n, paidIntervals: 0, missedIntervals: 0, cuts: 0 },
    disagreements: 0,
    ...{ lastCutAtMs: undefined, lastArrearsAtMs: undefined, lastAllowanceAtMs: undefined },
  },
  changed: false,
  ...{ open: new Set(), debts: new Set(), places: new Map(), reserved: 0n, openDebt: 0n },
  reconnects: new Map(),
  meteringKeys: [],
})

/** The account, new where it is not known. */
export function bookOf(tables: Tables, account: Address): AccountBook {
  const known = tables.accounts.get(account)
  if (known !== undefined) return known
  const book = emptyBook(account)
  tables.accounts.set(account, book)
  return book
}

/** Changes what is known of an account, for the store too. */
export function putAccount(tables: Tables, book: AccountBook, change: Partial<Account>): void {
  const wasNewcomer = isNewcomer(book.account)
  book.account = { ...book.account, ...change }
  if (!book.changed) {
    book.changed = true
    tables.changedAccounts.push(book)
  }
  if (wasNewcomer === isNewcomer(book.account)) return
  for (const { session } of book.open)
    countNewcomer(tables, session.place.nas, wasNewcomer ? -1 : 1)
}

function countNewcomer(tables: Tables, nas: string, by: 1 | -1): void {
  const count = (tables.newcomers.get(nas) ?? 0) + by
  if (count === 0) tables.newcomers.delete(nas)
  else tables.newcomers.set(nas, count)
}

function addTo(index: Map<string, Row[]>, key: string, row: Row): void {
  const rows = index.get(key)
  if (rows === undefined) index.set(key, [row])
  else rows.push(row)
}

function takeFrom(index: Map<string, Row[]>, key: string, row: Row): void {
  const rows = index.get(key)
  const at = rows?.indexOf(row) ?? -1
  if (rows === undefined || at === -1) return
  if (rows.length === 1) index.delete(key)
  else rows.splice(at, 1)
}

function largestReserve(rows: readonly Row[]): bigint {
  let largest = 0n
  for (const { session } of rows) if (session.reserve > largest) largest = session.reserve
  return largest
}

/** Puts other sessions at a place of the account, and its sum right. */
function setPlace(book: AccountBook, place: string, rows: readonly Row[]): void {
  book.reserved += largestReserve(rows) - largestReserve(book.places.get(place) ?? [])
  if (rows.length === 0) book.places.delete(place)
  else book.places.set(place, rows)
}

/** Takes a session in, new or from the store. */
export function addRow(tables: Tables, session: Session): Row {
  const row: Row = { session, nextAtMs: 0, changed: false, booked: 0n, overtaken: undefined }
  tables.rows.set(session.id, row)
  const { nas, callingStationId } = session.place
  addTo(tables.byStation, stationKey(nas, callingStationId), row)
  addTo(tables.byRecord, recordKey(session.place), row)
  if (session.continues !== undefined) addTo(tables.chains, session.continues, row)
  if (session.state === 'closed') enterClosed(tables, row)
  else enterOpen(tables, row)
  refresh(tables, row)
  return row
}

/**
 * Of those that nobody paid for, one access point can make thousands at one station: none is looked
 * through for the next record, and of those under one Acct-Session-Id only the last is found.
 */
function enterClosed(tables: Tables, row: Row): void {
  const { id, account, place } = row.session
  tables.closed.set(id, row)
  if (account !== undefined) return
  takeFrom(tables.byStation, stationKey(place.nas, place.callingStationId), row)
  const isOlder = ({ session }: Row) => session.state === 'closed' && session.account === undefined
  const key = recordKey(place)
  const rows = tables.byRecord.get(key) ?? []
  const kept = rows.filter((other) => other === row || !isOlder(other))
  if (kept.length < rows.length) tables.byRecord.set(key, kept)
}

function enterOpen(tables: Tables, row: Row): void {
  const { session } = row
  tables.open.set(session.id, row)
  const { nas } = session.place
  const openAt = tables.openAt.get(nas)
  if (openAt === undefined) tables.openAt.set(nas, new Set([row]))
  else openAt.add(row)
  if (session.account === undefined) return
  const book = bookOf(tables, session.account)
  book.open.add(row)
  const place = placeOf(session)
  setPlace(book, place, [...(book.places.get(place) ?? []), row])
  if (isNewcomer(book.account)) countNewcomer(tables, session.place.nas, 1)
}

function leaveOpen(tables: Tables, row: Row, before: Session): void {
  tables.open.delete(before.id)
  const openAt = tables.openAt.get(before.place.nas)
  openAt?.delete(row)
  if (openAt?.size === 0) tables.openAt.delete(before.place.nas)
  if (before.account === undefined) return
  const book = bookOf(tables, before.account)
  book.open.delete(row)
  const place = placeOf(before)
  setPlace(book, place, book.places.get(place)?.filter((other) => other !== row) ?? [])
  if (isNewcomer(book.account)) countNewcomer(tables, before.place.nas, -1)
}

/** What follows from a session's value: sums of its account, the next event, who waits for it. */
function refresh(tables: Tables, row: Row): void {
  const { session } = row
  row.nextAtMs = nextEvent(session, tables.excusedUntilMs).atMs
  if (session.account === undefined) return
  const book = bookOf(tables, session.account)
  const isClosed = session.state === 'closed'
  const booked = isClosed ? 0n : bookedDebt(session)
  book.openDebt += booked - row.booked
  row.booked = booked
  if (isClosed && debtOf(session) > 0n) book.debts.add(row)
  else book.debts.delete(row)
  if (!isForDebt(session.cutReason)) return
  const { nas, callingStationId } = session.place
  const key = stationKey(nas, callingStationId)
  const rows = tables.cutAt.get(key) ?? new Set()
  if (debtOf(session) > 0n) rows.add(row)
  else rows.delete(row)
  if (rows.size > 0) tables.cutAt.set(key, rows)
  else tables.cutAt.delete(key)
}

/** Replaces the value of a session. Its id and account never change, its station neither. */
export function put(tables: Tables, row: Row, next: Session): void {
  const before = row.session
  row.session = next
  if (before.place !== next.place) {
    takeFrom(tables.byRecord, recordKey(before.place), row)
    addTo(tables.byRecord, recordKey(next.place), row)
  }
  if (before.state !== 'closed' && next.state === 'closed') {
    leaveOpen(tables, row, before)
    enterClosed(tables, row)
  }
  refresh(tables, row)
  // What only our own memory knows of needs no row: the Accept it waits for is not sent.
  if (next.state === 'reserved' || row.changed) return
  row.changed = true
  tables.changedRows.push(row)
}

/** Takes a session out of memory: a reserved one for good, a closed one that the store has. */
export function dropRow(tables: Tables, row: Row): void {
  const { session } = row
  // Whoever is settling it must see that nothing comes any more.
  row.nextAtMs = Number.POSITIVE_INFINITY
  if (session.state !== 'closed') leaveOpen(tables, row, session)
  tables.rows.delete(session.id)
  tables.closed.delete(session.id)
  const { nas, callingStationId } = session.place
  takeFrom(tables.byStation, stationKey(nas, callingStationId), row)
  takeFrom(tables.byRecord, recordKey(session.place), row)
  if (session.continues !== undefined) takeFrom(tables.chains, session.continues, row)
  const cutHere = tables.cutAt.get(stationKey(nas, callingStationId))
  cutHere?.delete(row)
  if (cutHere?.size === 0) tables.cutAt.delete(stationKey(nas, callingStationId))
  if (session.account === undefined) return
  const book = tables.accounts.get(session.account)
  book?.debts.delete(row)
  if (book !== undefined) book.openDebt -= row.booked
}

/** Oldest first; the same order in a ledger that was restored. */
export function byAge(rows: Iterable<Row>): Row[] {
  return [...rows].sort(
    ({ session: a }, { session: b }) =>
      a.startedAtMs - b.startedAtMs || (a.id < b.id ? -1 : Number(a.id > b.id)),
  )
}
