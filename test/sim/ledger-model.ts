// The plain model of sessions and purses that the simulation of the books is judged by: what each
// was told and saw, and what that comes to in money. Pure; its prices are those of
// ledger-terms.ts. Called by ledger-oracle.ts.

import type { AttestedUsage, Session, Trust } from '../../accounting/session.ts'
import type { Address } from '../../ethereum/address.ts'
import {
  costOfOctets,
  costOfTime,
  priceOfInterval,
  timeOfIntervals,
  volumeLimit,
} from './ledger-terms.ts'

/** What an access point's counters stood at, as it knows them itself. */
export interface Reading {
  readonly line: number
  /** Counts its resets. */
  readonly epoch: number
  readonly input: bigint
  readonly output: bigint
}

/** A record's word on them; `sinceMs`: when the NAS began to count. */
export interface Told extends Reading {
  readonly absent: boolean
  readonly sinceMs: number
}

/** A device's word on its octets, both ways; `counted`: what its NAS had told by then. */
export interface Said {
  readonly octets: bigint
  readonly counted: bigint
  readonly trust: Trust
  readonly atMs: number
}

/** One session as this model knows it. */
export interface Mine {
  readonly id: string
  readonly account: Address | undefined
  /** As it was when it was last looked at. */
  readonly session: Session
  readonly heardAtMs: number
  readonly octets: { readonly input: bigint; readonly output: bigint }
  readonly reading: Reading | undefined
  /** The last report of usage that its device has signed. */
  readonly said: Said | undefined
  /** Its NAS's counters were lost or wrapped unseen: only bounds are known. */
  readonly fuzzy: boolean
  /** Moved in truth since it began, as of the latest record. */
  readonly moved: bigint
  /** What was owed at the ends of its intervals, from the first. */
  readonly targets: readonly bigint[]
  readonly judged: number
  readonly missed: number
  readonly paid: number
  /** Payments could not be taken in its time: it may run up more. */
  readonly excused: boolean
}

/** One account's money. */
export interface Purse {
  readonly deposit: bigint
  readonly best: bigint
  /** Settled on chain beyond what these books had seen: credited elsewhere. */
  readonly elsewhere: bigint
}

/** Throws where a rule of the world is broken. */
export const must = (holds: boolean, rule: string, what: string): void => {
  if (!holds) throw new Error(`${rule}: ${what}`)
}
/** No less than nothing. */
export const floor0 = (amount: bigint): bigint => (amount > 0n ? amount : 0n)
/** Put off or ended: its clock stops, what it owes is a debt. */
export const isOver = ({ state }: Session): boolean =>
  state === 'closed' || state === 'disconnecting'
/** Whether anybody pays for it. */
export const isRated = ({ account }: Mine): boolean => account !== undefined

/** When the clock of a session stops. */
export function untilMs({ endsAtMs, endedAtMs, cutAtMs, tariff }: Session): number {
  const cut = cutAtMs === undefined ? endsAtMs : cutAtMs + tariff.intervalMs - tariff.graceMs
  return Math.min(endsAtMs, endedAtMs ?? endsAtMs, cut)
}

/** Which octets are paid for, by the session's terms. */
function billed({ octets, said, heardAtMs }: Mine, { tariff, state }: Session): bigint {
  const told = octets.input + octets.output
  const { usage: policy, intervalMs, graceMs } = tariff
  if (policy === undefined || said === undefined) return told
  if (policy.trust === 'hardware' && said.trust !== 'hardware') return told
  // Two intervals of silence, or over: what its access point has told beyond comes on top.
  const isSilent = state === 'closed' || heardAtMs > said.atMs + 2 * intervalMs + graceMs
  const beyond = floor0(told - said.counted - floor0(said.octets - said.counted))
  const own = isSilent ? said.octets + beyond : said.octets
  const [less, more] = own < told ? [own, told] : [told, own]
  return { attested: own, lower: less, higher: more }[policy.by]
}

/** Owed at a time, from the octets this model counted. */
export function owedAt(mine: Mine, session: Session, atMs: number): bigint {
  if (!isRated(mine)) return 0n
  const ms = Math.max(0, Math.min(atMs, untilMs(session)) - session.startedAtMs)
  return costOfTime(session.tariff, ms) + costOfOctets(session.tariff, billed(mine, session))
}

/** What an ended session owes, or one being put off will owe. */
export const debtIn = (mine: Mine, session: Session): bigint =>
  floor0(owedAt(mine, session, untilMs(session)) - session.credit)

/** How much of a payment a session named in it takes. */
export function roomIn(mine: Mine, session: Session, credit: bigint, nowMs: number): bigint {
  if (!isRated(mine)) return 0n
  if (isOver(session)) return debtIn(mine, { ...session, credit })
  return floor0(owedAt(mine, session, nowMs) + priceOfInterval(session.tariff) - credit)
}

/** How much of its account's unassigned credit a session may have taken at a time. */
export function drawIn(known: Mine, session: Session, spare: bigint, atMs: number): bigint {
  if (!isRated(known) || session.disputed || session.kind === 'pmksa') return 0n
  const { startedAtMs, tariff, credit } = session
  const begun = Math.floor((atMs - startedAtMs) / tariff.intervalMs) + 1
  const endMs = Math.min(startedAtMs + begun * tariff.intervalMs, untilMs(session))
  const time = costOfTime(tariff, Math.max(0, endMs - startedAtMs))
  const room = floor0(time + BigInt(begun) * volumeLimit(tariff) - credit)
  return spare < room ? spare : room
}

/** When a Session-Timeout ends a session: of one that nobody heard of for long, before. */
function timeoutMs(
  known: Mine,
  { endsAtMs, startedAtMs, judged, missed, tariff }: Session,
): number {
  const { intervalMs, missedMax } = tariff
  const paidMs = startedAtMs + (judged - missed) * intervalMs
  return Math.min(endsAtMs, Math.max(known.heardAtMs, paidMs) + (missedMax + 1) * intervalMs)
}

/** What one that is put off may still owe is bounded: its reserve is held no longer than that. */
export function checkHeld(known: Mine, session: Session, nowMs: number): void {
  const isHeld = isRated(known) && session.state === 'disconnecting'
  must(!isHeld || nowMs < untilMs(session) + 60_000, 'end', `${known.id} is held on`)
}

/** How a session may end, or be put off, and how much it may owe then for its time. */
export function checkEnd(known: Mine, session: Session, nowMs: number): void {
  const { endedAtMs = Number.NaN, endedBy, startedAtMs, tariff, credit } = session
  if (session.state === 'closed') {
    must(endedAtMs >= startedAtMs && endedAtMs <= nowMs, 'end', `${known.id} ${endedBy}`)
    must(session.closedAtMs === nowMs, 'end', `${known.id} was closed at ${session.closedAtMs}`)
    if (endedBy === 'interims-missed' || endedBy === 'nas-restarted') {
      must(endedAtMs === known.heardAtMs, 'end', `${known.id}: ${endedBy}, heard later`)
    }
    if (endedBy === 'session-timeout') {
      must(endedAtMs === timeoutMs(known, session), 'end', `${known.id} timeout`)
    }
  } else if (!isOver(session)) return
  if (known.excused || !isRated(known)) return
  const ms = Math.max(0, untilMs(session) - startedAtMs)
  const debt = costOfTime(tariff, ms) - credit
  const most = timeOfIntervals(tariff, tariff.missedMax + 1) + 1n
  must(debt <= most, 'debt', `${known.id} owes ${debt} for time, at most ${most}`)
}

/** A closed session stays as it is, but for what is paid of its debt. */
export function checkClosed(known: Mine, session: Session): void {
  const { session: before } = known
  const isSame =
    session.state === 'closed' &&
    session.endedAtMs === before.endedAtMs &&
    session.closedAtMs === before.closedAtMs
  must(isSame, 'reopened', `${known.id} is ${session.state}`)
  must(session.credit >= before.credit, 'reopened', `${known.id} lost credit`)
  const isPaid = session.credit === before.credit || session.credit <= owedAt(known, session, 1e15)
  must(isPaid, 'split', `${known.id} was paid more than it owed`)
}

/** The octets of a session after a record that was counted for it. */
export function foldTold(
  known: Mine,
  session: Session,
  told: Told,
  wide: boolean,
): Pick<Mine, 'octets' | 'reading' | 'fuzzy'> {
  // What a reconnect's first record counts is from before.
  const first = session.continues === undefined ? { input: 0n, output: 0n } : {}
  const last = known.reading ?? { ...told, ...first }
  const leap = wide ? 1n << 64n : 1n << 31n
  const isLeap = told.input - last.input >= leap || told.output - last.output >= leap
  // More at once than can have passed since it began: only where it was served before.
  const isClamped = session.disputed && !known.session.disputed
  const isExplained = session.attested?.disagrees || told.sinceMs < session.startedAtMs
  must(!isClamped || isExplained, 'counters', `${known.id} was clamped`)
  const isSame = last.line === told.line && last.epoch === told.epoch
  const isBroken = !isSame || isLeap || isClamped
  const more = (a: bigint, b: bigint): bigint => (b > a ? b : a)
  const input = more(last.input, told.input)
  const output = more(last.output, told.output)
  const octets = {
    input: known.octets.input + input - last.input,
    output: known.octets.output + output - last.output,
  }
  const seen = { input: session.input.total, output: session.output.total }
  const fuzzy = known.fuzzy || isBroken
  const isMonotone = seen.input >= known.octets.input && seen.output >= known.octets.output
  must(isMonotone, 'counters', `${known.id} went down`)
  const reading = isBroken ? told : { ...told, input, output }
  return { octets: fuzzy ? seen : octets, reading, fuzzy }
}

/** A session after a report that its device has signed; `session`: as the books have it now. */
export function signedIn(
  known: Mine,
  session: Session,
  report: AttestedUsage,
  nowMs: number,
): Mine {
  const octets = report.inputOctets + report.outputOctets
  const counted = known.octets.input + known.octets.output
  // While it is open: what was told by the report before.
  const before = session.state === 'closed' ? counted : (known.said?.counted ?? 0n)
  const isLess = before > octets && (before - octets) * 20n > octets + 20_000_000n
  must(!isLess || session.disputed, 'dispute', `${known.id}: ${octets} signed, ${before} told`)
  // What its access point told is only checked within bounds from here on.
  const fuzzy = known.fuzzy || session.disputed
  const next = { ...known, fuzzy, said: { octets, counted, trust: report.trust, atMs: nowMs } }
  const { startedAtMs, tariff, judged } = session
  const targets = known.targets.map((target, n) => {
    const now = owedAt(next, session, startedAtMs + (n + 1) * tariff.intervalMs)
    return n < judged || now > target ? target : now
  })
  return { ...next, targets }
}
