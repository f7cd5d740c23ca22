// Whose session an accounting record is about, and what the books make of it. Owns the order of the
// questions (Class, place, reconnect, nobody) and what may never happen: a record reopens nothing,
// names no payer, and costs only where our own Accept, or a key the NAS kept from it, stands behind
// it. Time and ids come in. Called by server/accounting.ts.

import type { Address } from '../ethereum/address.ts'
import type { Ledger } from './ledger.ts'
import {
  type AccountingReport,
  endInSessionMs,
  eventAtMs,
  identityOf,
  isAfterEnd,
  isClockSet,
  isFromBefore,
  orderInSessionMs,
  restartedAtMs,
  Status,
  sentAtMs,
} from './report.ts'
import type { AccountingRecord, CutReason, NasPlace, Session } from './session.ts'
import { type Tariff, withoutAllowance } from './tariff.ts'

/** What a reconnect without an Access-Request gets: a reserve and an end, or one reason. */
export type ReconnectVerdict =
  | { readonly reserve: bigint; readonly endsAtMs: number }
  | { readonly refused: string }

/** What is known beside the record and the books. */
export interface AttributionContext {
  readonly nowMs: number
  /** Who earns at this client entry. */
  readonly merchant: Address
  /** Today's tariff of this client entry: what a session without a payer is filed under. */
  readonly tariff: Tariff
  readonly sessionMaxMs: number
  readonly octetsPerSecondMax: bigint
  /** False: no more sessions that nobody pays for may be opened at this client entry now. */
  readonly unpaidRoom: boolean
  /** True: this client entry has had its part of the rows that are about no session of a payer. */
  readonly evidenceFull?: boolean
  readonly admitReconnect: (account: Address, place: NasPlace, tariff: Tariff) => ReconnectVerdict
  /** 16 random bytes as 32 lowercase hex. */
  readonly newId: () => string
}

/** An access point without power may find its clock set back by that much. */
const CLOCK_LOST_MS = 60_000

/** A session that should be put off by its NAS. */
export interface Wish {
  readonly session: Session
  readonly reason: CutReason
  /** For the log: why a reconnect was refused. */
  readonly detail: string
}

/** What became of a record. */
export interface Attributed {
  readonly attribution: AccountingRecord['attribution'] | 'duplicate'
  /** The session it was counted for or belongs to; undefined where there is none. */
  readonly session: Session | undefined
  /** It opened a session without a payer. */
  readonly openedUnpaid: boolean
  /** Sessions that Accounting-On or -Off ended. */
  readonly ended: readonly Session[]
  readonly wish: Wish | undefined
  /** Nothing was changed and nothing is kept, since `evidenceFull`: it must not be acknowledged. */
  readonly refused: boolean
}

type Target =
  | { readonly to: 'session' | 'late' | 'reconnect'; readonly session: Session }
  | { readonly to: 'foreign' | 'unattributed' }

interface Door {
  readonly report: AccountingReport
  readonly ledger: Ledger
  readonly context: AttributionContext
}

/** A PMKSA lives that long at most (hostapd's and everybody's default). */
const PMKSA_MAX_MS = 12 * 3_600_000
/** After an end by another cause than Stop a record this much later tells: it is served still. */
const STILL_SERVED_AFTER_MS = 5_000
/** A session that nobody pays for may say it began before we heard of it, but no longer ago. */
const DERIVED_START_MAX_MS = 7 * 24 * 3_600_000

const NOTHING = {
  ...{ session: undefined, openedUnpaid: false, ended: [], wish: undefined, refused: false },
}

/** Takes one record into the books. The caller makes them durable before it answers. */
export function applyReport(
  report: AccountingReport,
  ledger: Ledger,
  context: AttributionContext,
): Attributed {
  const door = { report, ledger, context }
  switch (report.status) {
    case Status.start:
    case Status.stop:
    case Status.interimUpdate:
      return ofSession(door)
    case Status.accountingOn:
    case Status.accountingOff:
      return ofNas(door, endSessionsOf)
    default:
      // Failed (15), tunnels (9 to 14) and what is not assigned: kept as evidence, nothing more.
      return ofNas(door, () => [])
  }
}

function ofNas(door: Door, end: (door: Door) => readonly Session[]): Attributed {
  if (door.context.evidenceFull === true) return { ...NOTHING, attribution: 'nas', refused: true }
  const ended = end(door)
  note(door, 'nas', undefined, eventAtMs(door.report, door.context.nowMs))
  return { ...NOTHING, attribution: 'nas', ended }
}

function ofSession(door: Door): Attributed {
  const { report, ledger } = door
  const { classId } = report
  const named = classId === undefined ? undefined : ledger.session(classId)
  const target = named === undefined ? byPlace(door) : byClass(door, named)
  if (door.context.evidenceFull === true && isEvidence(target)) {
    const attribution = target.to === 'foreign' || target.to === 'unattributed' ? target.to : 'late'
    return { ...NOTHING, attribution, refused: true }
  }
  switch (target.to) {
    case 'session':
      return count(door, target.session)
    case 'late':
      return late(door, target.session)
    case 'reconnect':
      return reconnect(door, target.session)
    default:
      return unpaid(door, target.to)
  }
}

/** It changes what no payer has: only its row in the store is left to be had of it. */
function isEvidence(target: Target): boolean {
  if (target.to === 'reconnect') return false
  if (target.to !== 'session') return true
  return target.session.account === undefined || target.session.state === 'closed'
}

function byClass(door: Door, named: Session): Target {
  const { report, ledger } = door
  const { place } = report
  // A session belongs to the client entry that got its Accept: whoever else copies its Class has
  // its record kept, and earns nothing by it.
  if (named.place.nas !== place.nas) {
    const known = ledger.find(place)
    return known?.kind === 'foreign' ? continued(door, known) : { to: 'foreign' }
  }
  // Sent again, while the same Acct-Session-Id is in use for the next session already.
  if (isRepetition(report, named)) return { to: 'session', session: named }
  const latest = ledger.continuation(named.id, place.acctSessionId, place.acctMultiSessionId)
  return continued(door, latest ?? named)
}

const isRepetition = (report: AccountingReport, session: Session): boolean =>
  session.state === 'closed' && session.lastRecord === identityOf(report)

function byPlace(door: Door): Target {
  const { report, ledger, context } = door
  const { place } = report
  const found = ledger.find(place)
  if (found !== undefined) return continued(door, found)
  const last =
    place.callingStationId === '' ? undefined : ledger.lastAt(place.nas, place.callingStationId)
  if (last?.account === undefined) return { to: 'unattributed' }
  // Its NAS drops Class, and counts under another Acct-Session-Id than it asked with.
  if (isUnheard(last)) return { to: 'session', session: last }
  const endedAtMs = last.endedAtMs ?? context.nowMs
  const mayBeCached = context.nowMs - endedAtMs <= PMKSA_MAX_MS
  // A session that was never heard of while it ran has only the NAS's word: nobody pays for it.
  const isOver = report.status === Status.stop
  if (isOver || !mayBeCached || !namesNoOther(report.userName, last.account)) {
    return { to: 'unattributed' }
  }
  return { to: 'reconnect', session: last }
}

const namesNoOther = (userName: string, account: Address): boolean =>
  userName === '' || userName.toLowerCase() === account

const isUnheard = ({ state, lastRecord }: Session): boolean =>
  state !== 'closed' && lastRecord === ''

const equalOrUnknown = (a: string, b: string): boolean => a === b || a === '' || b === ''

/** hostapd uses an Acct-Session-Id again when a station comes straight back: the other changes. */
const isSameAccounting = (a: NasPlace, b: NasPlace): boolean =>
  equalOrUnknown(a.acctSessionId, b.acctSessionId) &&
  equalOrUnknown(a.acctMultiSessionId, b.acctMultiSessionId)

/** The record is about this session, or about one that came after it. */
function continued({ report, ledger, context }: Door, session: Session): Target {
  const isSame = isSameAccounting(session.place, report.place)
  const isStart = report.status === Status.start
  if (isSame || isUnheard(session)) {
    const isNext =
      isStart && session.state === 'closed' && isAfterEnd(report, session, context.nowMs)
    if (!isNext) return { to: 'session', session }
  } else if (report.status === Status.stop) {
    return { to: 'late', session }
  }
  if (session.account !== undefined)
    return refusedBefore(ledger, report.place) ?? { to: 'reconnect', session }
  return { to: session.kind === 'foreign' ? 'foreign' : 'unattributed' }
}

/** A reconnect that was not admitted has its session already: its next records are about that. */
function refusedBefore(ledger: Ledger, place: NasPlace): Target | undefined {
  const known = ledger.find(place)
  const isOpen = known?.account === undefined && known?.state !== 'closed'
  return known !== undefined && isOpen ? { to: 'session', session: known } : undefined
}

/** Adds the record to its session; the books know whether it is over. */
function count(door: Door, session: Session): Attributed {
  const { report, ledger, context } = door
  const isStop = report.status === Status.stop
  const { inputOctets, outputOctets, wide, sessionTimeSeconds, terminateCause, place } = report
  const usage = {
    ...{ inputOctets, outputOctets, wide, sessionTimeSeconds, terminateCause },
    eventAtMs: orderInSessionMs(report, session, context.nowMs),
    sentAtMs: sentAtMs(report, context.nowMs),
    ...(isStop && { overAtMs: endInSessionMs(report, session, context.nowMs) }),
    octetsPerSecondMax: context.octetsPerSecondMax,
    record: identityOf(report),
  }
  const fold = isStop ? ledger.stop : ledger.report
  const outcome = fold(session.id, usage, place, context.nowMs)
  if (outcome === 'duplicate') return { ...NOTHING, attribution: 'duplicate', session }
  if (outcome === 'late') return late(door, session)
  const attribution =
    session.kind === 'foreign' || session.kind === 'unattributed' ? session.kind : 'session'
  note(door, attribution, session.id, eventAtMs(report, context.nowMs))
  return { ...NOTHING, attribution, session: ledger.session(session.id) ?? session }
}

function late(door: Door, session: Session): Attributed {
  const { report, context } = door
  const eventMs = eventAtMs(report, context.nowMs)
  note(door, 'late', session.id, eventMs)
  return { ...NOTHING, attribution: 'late', session, wish: stillServed(door, session, eventMs) }
}

/**
 * An Interim-Update of a session that we ended (silence, a Disconnect that was acknowledged, an
 * Accounting-On): its NAS serves it still. It stays closed, so it must be put off.
 */
function stillServed(
  { report, ledger }: Door,
  session: Session,
  eventMs: number,
): Wish | undefined {
  const { endedBy, endedAtMs, account, place } = session
  if (report.status !== Status.interimUpdate || account === undefined) return undefined
  if (endedBy === undefined || endedBy === 'stopped' || endedBy === 'replaced') return undefined
  if (eventMs <= (endedAtMs ?? eventMs) + STILL_SERVED_AFTER_MS) return undefined
  // A Disconnect finds the station by its place: whoever is there now must not be hit.
  const now = ledger.find(report.place)
  const last = ledger.lastAt(place.nas, place.callingStationId)
  const isTaken = [now, last].some((other) => other !== undefined && other.state !== 'closed')
  return isTaken ? undefined : { session, reason: 'not-admitted', detail: `ended: ${endedBy}` }
}

/** A station that came back without an Access-Request goes on under the terms it agreed to. */
function reconnect(door: Door, of: Session): Attributed {
  const { report, ledger, context } = door
  const { account } = of
  // The allowance was its first session's.
  const tariff = withoutAllowance(of.tariff)
  if (account === undefined) return unpaid(door, 'unattributed')
  const isOld = isFromBefore(report, of, isSameAccounting(of.place, report.place))
  if (isOld && isClockSet(report, context.nowMs)) return late(door, of)
  // One station is one device: what it had here is over, and its reserve is free.
  if (of.state !== 'closed') ledger.close(of.id, 'replaced', context.nowMs)
  const verdict = isOld
    ? { refused: 'its record may be an old one' }
    : admitted(door, account, tariff)
  if ('refused' in verdict) {
    const filed = unpaid(door, 'unattributed')
    if (filed.session === undefined) return filed
    const session = ledger.cut(filed.session.id, 'not-admitted', context.nowMs) ?? filed.session
    return { ...filed, session, wish: { session, reason: 'not-admitted', detail: verdict.refused } }
  }
  const { merchant, newId, nowMs } = context
  const opened = ledger.beginByStart(
    { id: newId(), kind: 'pmksa', account, merchant, place: report.place, tariff, ...verdict },
    of.id,
    // Billing runs by our own clock: whatever the NAS says, nobody pays for time before this.
    nowMs,
  )
  return count(door, opened)
}

/** Whether it may: only where its books are in memory, or it would begin with empty ones. */
function admitted({ report, ledger, context }: Door, account: Address, tariff: Tariff) {
  if (ledger.full) return { refused: 'too many sessions are open' }
  // Dropped beyond the limit of accounts; an Access-Request, which can wait, brings them back.
  if (!ledger.knows(account)) return { refused: 'its account was not here for long' }
  const last = ledger.reconnectedAtMs(account, report.place.nas)
  // Only the access point says that the device is there.
  if (last !== undefined && context.nowMs < last + tariff.intervalMs) {
    return { refused: 'it came back by a cached key less than an interval ago' }
  }
  return context.admitReconnect(account, report.place, tariff)
}

/** A session nobody pays for: foreign or unattributed. Beyond the limit only the record is kept. */
function unpaid(door: Door, kind: 'foreign' | 'unattributed'): Attributed {
  const { report, ledger, context } = door
  const { nowMs, merchant, tariff, newId } = context
  const eventMs = eventAtMs(report, nowMs)
  if (ledger.full || !context.unpaidRoom) {
    note(door, kind, undefined, eventMs)
    return { ...NOTHING, attribution: kind }
  }
  const sinceMs = Math.min((report.sessionTimeSeconds ?? 0) * 1000, DERIVED_START_MAX_MS)
  const opened = ledger.beginByStart(
    {
      ...{ id: newId(), kind, account: undefined, merchant, place: report.place, tariff },
      ...{ reserve: 0n, endsAtMs: nowMs + context.sessionMaxMs },
    },
    undefined,
    // RFC 2866 has no rule for a lost Start: the NAS's own count says when it was.
    eventMs - sinceMs,
  )
  return { ...count(door, opened), openedUnpaid: true }
}

/**
 * RFC 2866 §5.1: the NAS has started, or is about to stop: what it served is over. RFC 2866 §4.1
 * has nothing against a copy of such a record that is sent again later, so what the NAS's own clock
 * says decides: a session it told of after that moment has outlived it.
 */
function endSessionsOf({ report, ledger, context }: Door): Session[] {
  const atMs = restartedAtMs(report, context.nowMs)
  if (atMs === undefined) return []
  const stampMs = (report.eventTimestamp ?? Number.POSITIVE_INFINITY) * 1000
  const over: Session[] = []
  for (const session of ledger.openAt(report.place.nas)) {
    const isOutlived = session.eventAtMs > stampMs + CLOCK_LOST_MS
    const isBefore = session.startedAtMs < atMs && !isOutlived
    if (isBefore && isServedBy(session.place, report.place)) over.push(session)
  }
  return over.flatMap(
    ({ id, heardAtMs }) => ledger.close(id, 'nas-restarted', heardAtMs, context.nowMs) ?? [],
  )
}

/**
 * One client entry may be many access points, and one access point several networks that start one
 * by one. What either side leaves out is not compared, but something has to tell them apart.
 */
function isServedBy(session: NasPlace, nas: NasPlace): boolean {
  if (session.nas !== nas.nas) return false
  const pairs: readonly (readonly [string, string])[] = [
    [session.nasIdentifier, nas.nasIdentifier],
    [session.nasIpAddress, nas.nasIpAddress],
  ]
  const network = [
    session.calledStationId.toLowerCase(),
    nas.calledStationId.toLowerCase(),
  ] as const
  const isAgreed = [...pairs, network].every(([a, b]) => equalOrUnknown(a, b))
  const isNamed = pairs.some(([a, b]) => a !== '' && a === b)
  return isAgreed && (isNamed || session.address === nas.address)
}

function note(
  { report, ledger, context }: Door,
  attribution: AccountingRecord['attribution'],
  session: string | undefined,
  atMs: number,
): void {
  const { status, place, userName, inputOctets, outputOctets } = report
  const { sessionTimeSeconds, terminateCause } = report
  ledger.record({
    ...{ receivedAtMs: context.nowMs, eventAtMs: atMs, status, place, userName, session },
    ...{ attribution, inputOctets, outputOctets, sessionTimeSeconds, terminateCause },
  })
}
