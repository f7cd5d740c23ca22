// What a session owes, when, and when something about it must be looked at next. Owns the reading
// of tariff, time and counters as money; changes nothing. Pure; called by the ledger and by whoever
// shows a session.

import type { Session } from './session.ts'
import {
  intervalPrice,
  intervalsAtRisk,
  intervalVolumePrice,
  timeCharge,
  volumeCharge,
} from './tariff.ts'

/**
 * Session-Timeout is counted by the NAS from its own association; its re-authentication may come
 * this much later.
 */
export const REAUTHENTICATION_SLACK_MS = 60_000
/** A conversation that has not come to its Accept by then never will. */
export const RESERVED_MAX_MS = 120_000
/** Three lost records in a row, and never less than the three of the shortest interval allowed. */
const INTERIMS_LOST = 3
const SILENCE_MIN_MS = 180_000

/** Whether anybody pays for it. */
export const isRated = ({ kind }: Session): boolean => kind !== 'foreign' && kind !== 'unattributed'

/** The place of the end of interval n, from 1. */
export const endMs = ({ startedAtMs, tariff }: Session, n: number): number =>
  startedAtMs + n * tariff.intervalMs

/**
 * When the clock stops for its time: at its end, at its Session-Timeout, or one interval after it
 * was to be put off (less the grace the device had, so that its debt of time stays within
 * missed_max + 1 intervals). Infinity never: endsAtMs always bounds it.
 */
export function billedUntilMs(session: Session): number {
  const { endsAtMs, endedAtMs, cutAtMs, tariff } = session
  let until = endsAtMs
  if (endedAtMs !== undefined && endedAtMs < until) until = endedAtMs
  if (cutAtMs !== undefined) {
    const stop = cutAtMs + Math.max(0, tariff.intervalMs - tariff.graceMs)
    if (stop < until) until = stop
  }
  return until
}

/** Octets both ways. */
export const octetsOf = ({ input, output }: Session): bigint => input.total + output.total

/** So many intervals may pass from one report to the next before the access point is believed. */
const REPORT_INTERVALS = 2

/**
 * What the device's signed reports say of the volume so far, both ways; undefined where there is
 * none of enough trust. Where it has said nothing for long, or nothing since its session is over,
 * what the NAS has counted beyond is added: or a device could report once and be free from then on,
 * or until it begins anew.
 */
function attestedOctets(session: Session): bigint | undefined {
  const { attested, tariff, heardAtMs, state } = session
  if (attested === undefined || tariff.usage === undefined) return undefined
  const isEnough = attested.trust === 'hardware' || attested.trust === tariff.usage.trust
  if (!isEnough) return undefined
  const said = attested.inputOctets + attested.outputOctets
  const quietMs = REPORT_INTERVALS * tariff.intervalMs + tariff.graceMs
  if (heardAtMs - attested.atMs <= quietMs && state !== 'closed') return said
  const counted = octetsOf(session)
  if (counted <= said) return said
  // What it signed before its NAS told of it is not on the bill again when that comes.
  return said > attested.countedOctets ? counted : said + counted - attested.countedOctets
}

/** The octets that the tariff's policy has paid for. */
export function ratedOctets(session: Session): bigint {
  const counted = octetsOf(session)
  const attested = attestedOctets(session)
  if (attested === undefined) return counted
  const by = session.tariff.usage?.by
  const isDevices = by === 'attested' || (by === 'lower') === attested < counted
  return isDevices ? attested : counted
}

/** The time part of what is owed at a time, Unix ms. */
function timeOwed(session: Session, atMs: number): bigint {
  const until = Math.min(atMs, billedUntilMs(session))
  return timeCharge(session.tariff, Math.max(0, until - session.startedAtMs))
}

/** What is owed in all from the Accept to a time (Unix ms), with the volume as it is known. */
export function owed(session: Session, atMs: number): bigint {
  if (!isRated(session) || session.state === 'reserved') return 0n
  return timeOwed(session, atMs) + volumeCharge(session.tariff, ratedOctets(session))
}

/** What a closed session owes, or one being put off will owe at most, beyond its credit. */
export function debtOf(session: Session): bigint {
  const debt = owed(session, billedUntilMs(session)) - session.credit
  return debt > 0n ? debt : 0n
}

/** Unpaid at a time. */
export function unpaidAt(session: Session, atMs: number): bigint {
  const unpaid = owed(session, atMs) - session.credit
  return unpaid > 0n ? unpaid : 0n
}

/**
 * Until when the books count it against an account's escrow: to the last interval's end that has
 * passed, with the volume as known; what runs up since is what the reserve is for.
 */
function bookedUntilMs(session: Session): number {
  const { state, judged, endsOwed } = session
  if (state === 'closed' || state === 'disconnecting') return billedUntilMs(session)
  return endMs(session, judged + endsOwed.length)
}

/** Unpaid as the books count it. */
export function bookedDebt(session: Session): bigint {
  return unpaidAt(session, bookedUntilMs(session))
}

/**
 * What of that debt counts at other merchants than its own: nothing of a reconnect that only its
 * NAS speaks of, and of what is disputed the time alone, since only octets can be.
 */
export function bookedElsewhere(session: Session, debt: bigint): bigint {
  if (session.kind === 'pmksa') return 0n
  if (debt === 0n || !session.disputed) return debt
  const time = timeOwed(session, bookedUntilMs(session)) - session.credit
  return time > 0n ? time : 0n
}

/** Whether somebody who owes that much has stopped paying, however the session goes on or ended. */
export function isBehind({ missed, tariff }: Session, debt: bigint): boolean {
  return debt > 0n && (missed > 0 || debt >= intervalPrice(tariff))
}

/**
 * When the debt of a closed session begins to bar: after one interval, but at once after a cut, and
 * where an interval is unpaid already, or who begins anew again and again would never be cut.
 */
export function barsFromMs(session: Session): number {
  const { endedAtMs, cutAtMs, tariff } = session
  if (endedAtMs === undefined) return cutAtMs ?? Number.POSITIVE_INFINITY
  if (cutAtMs !== undefined || isBehind(session, debtOf(session))) return endedAtMs
  return endedAtMs + tariff.intervalMs + tariff.graceMs
}

/** A device asks every interval, may have to show its key anew first, and packets get lost. */
const LAST_REPORT_INTERVALS = 3
const LAST_REPORT_MIN_MS = 60_000

/**
 * Until when the last report of an ended session may come, Unix ms. The device can't know that it
 * is over before the books close it: by silence, minutes after the last that was heard of it.
 */
export function lastReportUntilMs({ endedAtMs, closedAtMs, heardAtMs, tariff }: Session): number {
  const { intervalMs, graceMs } = tariff
  if (endedAtMs === undefined) return Number.POSITIVE_INFINITY
  if (closedAtMs === undefined) return Math.max(endedAtMs, heardAtMs) + intervalMs + graceMs
  return closedAtMs + Math.max(LAST_REPORT_INTERVALS * intervalMs, LAST_REPORT_MIN_MS) + graceMs
}

/**
 * What a session may have of its account's unassigned credit: its time to the end of the running
 * interval, and no more volume than that of the intervals begun. Nobody asked the device: what its
 * NAS says beyond that, and what only its NAS speaks of, waits for a voucher.
 */
export function drawable(session: Session, unassigned: bigint, atMs: number): bigint {
  if (!isRated(session) || session.kind === 'pmksa' || session.disputed) return 0n
  const { startedAtMs, tariff, credit } = session
  const begun = Math.floor(Math.max(0, atMs - startedAtMs) / tariff.intervalMs) + 1
  const volume = BigInt(begun) * intervalVolumePrice(tariff)
  const room = timeOwed(session, endMs(session, begun)) + volume - credit
  if (room <= 0n) return 0n
  return unassigned < room ? unassigned : room
}

/**
 * When a session ended that its Session-Timeout closes. While nobody could be heard it may have
 * ended long before: without a sign of life it owes missed_max + 1 intervals at most, as ever.
 */
export function timedOutAtMs(session: Session): number {
  const { endsAtMs, heardAtMs, judged, missed, tariff } = session
  const livedMs = Math.max(heardAtMs, endMs(session, judged - missed))
  return Math.min(endsAtMs, livedMs + intervalsAtRisk(tariff) * tariff.intervalMs)
}

/**
 * The most that is credited to it now: what it owes and one interval, once it ends what it owes.
 */
export function creditRoom(session: Session, nowMs: number): bigint {
  if (!isRated(session) || session.state === 'reserved') return 0n
  if (session.state === 'closed' || session.state === 'disconnecting') return debtOf(session)
  const room = owed(session, nowMs) + intervalPrice(session.tariff) - session.credit
  return room > 0n ? room : 0n
}

/** Volume owed that no credit covers: credit counts for time first. */
function unpaidVolume(session: Session, nowMs: number): bigint {
  const volume = volumeCharge(session.tariff, ratedOctets(session))
  const spare = session.credit - timeOwed(session, nowMs)
  return spare > 0n ? volume - spare : volume
}

/** Whether more volume is unpaid than an interval may have: it is due at once. */
export function isVolumeBeyond(session: Session, nowMs: number): boolean {
  const { state } = session
  if (!isRated(session) || state === 'reserved' || state === 'closed') return false
  if (state === 'disconnecting' || session.volumeDue !== undefined) return false
  return unpaidVolume(session, nowMs) > intervalVolumePrice(session.tariff)
}

/** The first interval end that is past and not covered, else the end of the running interval. */
function firstOpenEnd(session: Session, nowMs: number): number {
  const { judged, missed, endsOwed, credit, startedAtMs, tariff } = session
  if (missed > 0) return endMs(session, judged - missed + 1)
  const unpaid = endsOwed.findIndex((amount) => credit < amount)
  if (unpaid !== -1) return endMs(session, judged + unpaid + 1)
  return endMs(session, Math.floor((nowMs - startedAtMs) / tariff.intervalMs) + 1)
}

/**
 * What must be paid next and by when (Unix ms): to the end of the running interval, with the time
 * projected and the volume as known; of an ended session what is left, and when it begins to bar.
 */
export function dueOf(
  session: Session,
  nowMs: number,
): { readonly amount: bigint; readonly atMs: number } {
  const { startedAtMs, tariff, volumeDue } = session
  if (session.state === 'closed' || session.state === 'disconnecting') {
    return { amount: debtOf(session), atMs: barsFromMs(session) }
  }
  const running = Math.max(0, Math.floor((nowMs - startedAtMs) / tariff.intervalMs)) + 1
  const amount = unpaidAt(session, endMs(session, running))
  const end = firstOpenEnd(session, Math.max(nowMs, startedAtMs))
  const dueAt = volumeDue !== undefined && volumeDue.atMs < end ? volumeDue.atMs : end
  return { amount, atMs: dueAt + tariff.graceMs }
}

/** What comes next for a session by the clock alone. */
export type TimedEvent =
  | 'end'
  | 'judge'
  | 'volume'
  | 'arrears'
  | 'silence'
  | 'timeout'
  | 'gone'
  | 'abandon'
  | 'none'

/**
 * The next event by the clock and its time. Of two at one time the one listed first happens first:
 * an interval ends before it is judged, and is judged before the session is over. Nothing is judged
 * before `excusedUntilMs`.
 */
export function nextEvent(
  session: Session,
  excusedUntilMs: number,
): { readonly what: TimedEvent; readonly atMs: number } {
  const { state, judged, endsOwed, tariff, volumeDue, endsAtMs } = session
  if (state === 'closed') return { what: 'none', atMs: Number.POSITIVE_INFINITY }
  if (state === 'reserved') return { what: 'abandon', atMs: session.startedAtMs + RESERVED_MAX_MS }
  let what: TimedEvent = 'timeout'
  let atMs = endsAtMs + REAUTHENTICATION_SLACK_MS
  // What it may still owe is known, whether or not its NAS ever puts it off: its reserve is free.
  if (state === 'disconnecting' && isRated(session)) {
    what = 'gone'
    atMs = billedUntilMs(session) + REAUTHENTICATION_SLACK_MS
  }
  if (session.lastRecord !== '') {
    const quiet = Math.max(INTERIMS_LOST * session.interimMs, SILENCE_MIN_MS)
    // While nothing could be taken nobody could be heard.
    const silentAtMs = Math.max(session.heardAtMs, excusedUntilMs) + quiet
    if (silentAtMs <= atMs) {
      what = 'silence'
      atMs = silentAtMs
    }
  }
  if (state === 'disconnecting' || !isRated(session)) return { what, atMs }
  if (session.kind === 'arrears' && endsAtMs <= atMs) {
    what = 'arrears'
    atMs = endsAtMs
  }
  const isExcused = (dueMs: number): number => Math.max(dueMs, excusedUntilMs)
  if (volumeDue !== undefined && isExcused(volumeDue.atMs + tariff.graceMs) <= atMs) {
    what = 'volume'
    atMs = isExcused(volumeDue.atMs + tariff.graceMs)
  }
  if (endsOwed.length > 0 && isExcused(endMs(session, judged + 1) + tariff.graceMs) <= atMs) {
    what = 'judge'
    atMs = isExcused(endMs(session, judged + 1) + tariff.graceMs)
  }
  const end = endMs(session, judged + endsOwed.length + 1)
  return end <= atMs ? { what: 'end', atMs: end } : { what, atMs }
}
