// One accounting record as the NAS sent it, as plain values, and what its times are worth. Owns the
// questions about a single record; knows no sessions. Pure. Made by server/accounting.ts, used by
// attribution.ts.

import type { NasPlace, Session } from './session.ts'

/** Values of Acct-Status-Type (RFC 2866 §5.1, RFC 2869 §2.1) that mean something here. */
export const Status = {
  start: 1,
  stop: 2,
  interimUpdate: 3,
  accountingOn: 7,
  accountingOff: 8,
} as const

/** What one Accounting-Request says; undefined where an attribute is absent or malformed. */
export interface AccountingReport {
  /** Acct-Status-Type; 0 where it is missing. */
  readonly status: number
  readonly place: NasPlace
  /** The session id in a Class of ours: 32 lowercase hex. */
  readonly classId: string | undefined
  /** As sent; never names a payer. */
  readonly userName: string
  /** From the station, with Acct-Input-Gigawords where it is there. */
  readonly inputOctets: bigint | undefined
  readonly outputOctets: bigint | undefined
  /** A Gigawords attribute came with either. */
  readonly wide: boolean
  readonly sessionTimeSeconds: number | undefined
  readonly terminateCause: number | undefined
  /** Acct-Delay-Time, 0 where it is missing. */
  readonly delaySeconds: number
  /** Event-Timestamp, Unix seconds. */
  readonly eventTimestamp: number | undefined
}

const HOUR_MS = 3_600_000
/** A clock this far off has never been set: what it says is not a time. */
const CLOCK_BEHIND_MAX_MS = 24 * HOUR_MS
/** A clock this far ahead is believed no more; what is less far ahead happened at receipt. */
const CLOCK_AHEAD_MAX_MS = 600_000
/** Acct-Delay-Time has 32 bits; no NAS queues a record for longer than a day. */
const DELAY_MAX_MS = 24 * HOUR_MS

/** When the NAS first tried to send it, by our own clock (RFC 2866 §5.2). */
export function sentAtMs(report: AccountingReport, nowMs: number): number {
  return nowMs - Math.min(report.delaySeconds * 1000, DELAY_MAX_MS)
}

/** The NAS's own word on when it happened (RFC 2869 §5.3), where it can be true. */
function stampedAtMs(report: AccountingReport, nowMs: number): number | undefined {
  if (report.eventTimestamp === undefined) return undefined
  const stampMs = report.eventTimestamp * 1000
  const isPlausible =
    stampMs <= nowMs + CLOCK_AHEAD_MAX_MS && stampMs >= nowMs - CLOCK_BEHIND_MAX_MS
  return isPlausible ? stampMs : undefined
}

/**
 * When it happened, never later than it was sent. Event-Timestamp is the time of the event, so the
 * delay is not taken off it once more.
 */
export function eventAtMs(report: AccountingReport, nowMs: number): number {
  const sent = sentAtMs(report, nowMs)
  return Math.min(sent, stampedAtMs(report, nowMs) ?? sent)
}

/**
 * When the NAS of an Accounting-On or -Off restarted; undefined where its stamp can't be true. Such
 * a record may have been kept and sent again by anybody, and it ends other people's sessions: what
 * the NAS no longer serves ends by silence as well. One without a stamp happened when it was sent.
 */
export function restartedAtMs(report: AccountingReport, nowMs: number): number | undefined {
  const isStamped = report.eventTimestamp !== undefined
  if (isStamped && stampedAtMs(report, nowMs) === undefined) return undefined
  return eventAtMs(report, nowMs)
}

/** A record is overtaken by a later one for no longer than a NAS keeps sending it again. */
const OVERTAKEN_MAX_MS = 60_000

/**
 * When a session was over by this Stop. The clock of a NAS may be minutes behind; its count of the
 * session's seconds is not, and says that it can't be earlier. Never later than it was sent.
 */
export function endInSessionMs(report: AccountingReport, session: Session, nowMs: number): number {
  const countedMs = session.startedAtMs + (report.sessionTimeSeconds ?? 0) * 1000
  return Math.min(sentAtMs(report, nowMs), Math.max(eventAtMs(report, nowMs), countedMs))
}

/**
 * Where a record stands among those of its session, by its NAS's clock, so that a counter that is
 * smaller because it is older is not taken for one that wrapped. Only the NAS's own clocks tell:
 * Event-Timestamp, however wrong it is, and within its second, or without it, Acct-Session-Time.
 */
export function orderInSessionMs(
  report: AccountingReport,
  session: Session,
  nowMs: number,
): number {
  const sent = sentAtMs(report, nowMs)
  const stamp = stampedAtMs(report, nowMs)
  // Nothing of a session comes after its Stop.
  if (report.status === Status.stop) return stamp ?? sent
  const seconds = report.sessionTimeSeconds ?? session.sessionTimeSeconds
  const isEarlierBySeconds = seconds < session.sessionTimeSeconds
  const isUndecided =
    stamp === undefined ? sent < session.eventAtMs + OVERTAKEN_MAX_MS : stamp === session.eventAtMs
  return isEarlierBySeconds && isUndecided ? session.eventAtMs - 1 : (stamp ?? sent)
}

/**
 * A Start that comes when its session is over: sent before the Stop and overtaken by it, or the
 * first of a new session under the same Acct-Session-Id, as hostapd uses it again?
 */
export function isAfterEnd(report: AccountingReport, session: Session, nowMs: number): boolean {
  const endedAtMs = session.endedAtMs ?? nowMs
  // A NAS that retries for longer than that tells so in Acct-Delay-Time.
  if (sentAtMs(report, nowMs) > endedAtMs + OVERTAKEN_MAX_MS) return true
  const stampMs = stampedAtMs(report, nowMs)
  return stampMs !== undefined && stampMs > endedAtMs
}

/**
 * A record that would open the session after this one, though its NAS has told of a later moment:
 * sent again by whoever copied it. RFC 2866 §4.1: nothing in an old record shows that it is old but
 * its Event-Timestamp. Within one second a Start may be the next session's.
 */
export function isFromBefore(report: AccountingReport, session: Session, isSame: boolean): boolean {
  if (report.eventTimestamp === undefined || session.eventAtMs === 0) return false
  const laterMs = session.eventAtMs - report.eventTimestamp * 1000
  return laterMs > 0 || (laterMs === 0 && (isSame || report.status !== Status.start))
}

/** Whether its Event-Timestamp, where it has one, can be a time at all. */
export const isClockSet = (report: AccountingReport, nowMs: number): boolean =>
  report.eventTimestamp === undefined || stampedAtMs(report, nowMs) !== undefined

/**
 * Equal for the same record sent again: a new Acct-Delay-Time needs a new Identifier (RFC 2866
 * §5.2), so neither of them, nor the time of receipt, tells two records apart.
 */
export function identityOf(report: AccountingReport): string {
  const { status, eventTimestamp, sessionTimeSeconds, inputOctets, outputOctets } = report
  const { acctSessionId } = report.place
  const numbers = `${status} ${eventTimestamp ?? ''} ${sessionTimeSeconds ?? ''}`
  const octets = `${inputOctets ?? ''} ${outputOctets ?? ''} ${report.terminateCause ?? ''}`
  return `${numbers} ${octets} ${acctSessionId}`
}
