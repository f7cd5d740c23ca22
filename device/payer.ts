// Decides what a device pays, when: one function from everything it knows to the one thing to do
// next. Owns the rules that protect the user: never more than the agreed terms and the own meter
// allow, never for a session it does not know, never above the deposit. Pure; run.ts acts on it.

import {
  charge,
  intervalOctets,
  intervalPrice,
  sameTerms,
  stretched,
  type Terms,
  timePart,
  volumePart,
} from './charge.ts'
import type { Policy } from './policy.ts'
import type { BadService } from './quality.ts'
import type { SessionView } from './session-view.ts'
import type { VoucherBook } from './voucher-book.ts'

/** What the device itself saw of a session. */
export interface OwnSession {
  /** The terms it first saw: what it agreed to. */
  readonly terms: Terms
  /** When it connected, by the operator's clock; undefined where it came later. */
  readonly connectedAtMs: number | undefined
  /** When it was last connected, by the operator's clock. */
  readonly seenAtMs: number
  /** Both ways; undefined without a meter. */
  readonly octets: bigint | undefined
}

/** Everything a decision rests on; times in Unix ms by the operator's clock. */
export interface Knowledge {
  readonly nowMs: number
  /** When `sessions` was asked for; undefined: not yet, or something happened since. */
  readonly viewAtMs: number | undefined
  readonly sessions: readonly SessionView[]
  /** The session of this connection. */
  readonly current: string | undefined
  readonly own: ReadonlyMap<string, OwnSession>
  readonly octetsPerSecond: number
  readonly book: VoucherBook
  /** What a voucher may reach; undefined: the chain was not read. */
  readonly deposit: bigint | undefined
  readonly service: BadService | undefined
  /** No top-up before this: the last one failed. */
  readonly topUpNotBeforeMs: number
  readonly policy: Policy
}

export type LeaveReason = 'asks-too-much' | 'terms-changed' | 'too-dear'
export type StopReason = BadService | 'escrow-empty'

/** The one thing to do next. */
export type Decision =
  | { readonly do: 'ask' }
  | { readonly do: 'resend'; readonly session: string; readonly amount: bigint }
  | {
      readonly do: 'pay'
      readonly session: string
      /** Cumulative: what the voucher says. */
      readonly amount: bigint
      readonly increase: bigint
      readonly why: 'arrears' | 'interval' | 'volume' | 'behind'
    }
  | { readonly do: 'wait'; readonly untilMs: number }
  | { readonly do: 'top-up'; readonly amount: bigint }
  | { readonly do: 'stop'; readonly why: StopReason; readonly untilMs: number }
  | { readonly do: 'leave'; readonly why: LeaveReason }

/** Without a session there is nothing to be late for: the operator is asked this often. */
const IDLE_ASK_MS = 10_000
/** While service is bad or the escrow is empty, the question is put again this often. */
const STOPPED_MS = 2_000
/** Times are told in whole seconds, and clocks are brought together by a header in seconds. */
const CLOCK_SLACK_MS = 2_000
/** A session may have begun this long before the supplicant said it is connected. */
const CONNECT_SLACK_MS = 90_000
/** A session that was opened for this connection began no further from it than this. */
const NEW_SESSION_MS = 15_000
/** The second look at an interval, for volume that came after the first. */
const LATE_LOOK = 0.9

/**
 * Which session is that of this connection: the one it was, unless one began with it; else the one
 * that began when we connected, else (for a program that came later) the newest.
 */
export function pickSession(
  sessions: readonly SessionView[],
  o: {
    readonly before: string | undefined
    readonly connectedAtMs: number | undefined
    readonly left: ReadonlySet<string>
  },
): string | undefined {
  const open = sessions
    .filter(({ id, state }) => state !== 'closed' && !o.left.has(id))
    .toSorted((a, b) => b.startedAtMs - a.startedAtMs)
  // NaN is further from nothing than anything: every session is near a time nobody knows.
  const { connectedAtMs = Number.NaN } = o
  const newestWithin = (ms: number): SessionView | undefined =>
    open.find(({ startedAtMs }) => !(Math.abs(startedAtMs - connectedAtMs) > ms))
  const same = open.find(({ id, state }) => id === o.before && state !== 'disconnecting')
  if (same === undefined) return newestWithin(CONNECT_SLACK_MS)?.id
  // A short break leaves the session as it was; another access point opens one of its own.
  if (!(connectedAtMs - same.startedAtMs > CONNECT_SLACK_MS)) return same.id
  return (newestWithin(NEW_SESSION_MS) ?? same).id
}

/** Decides. Pays old debts first: they bar the next connection. */
export function decide(k: Knowledge): Decision {
  const { pending } = k.book
  if (pending !== undefined) return { do: 'resend', ...pending }
  if (k.viewAtMs === undefined) return { do: 'ask' }
  const debt = k.sessions.find(
    (session) => isDebt(session) && debtRefusal(k, session) === undefined,
  )
  if (debt !== undefined) return guarded(k, debt, debt.due, 'arrears')
  const session = k.sessions.find(({ id }) => id === k.current)
  if (session === undefined || session.state === 'closed' || session.state === 'disconnecting') {
    return later(k, k.viewAtMs + (session === undefined ? IDLE_ASK_MS : STOPPED_MS))
  }
  const refusal = leaveReason(k, session)
  if (refusal !== undefined) return { do: 'leave', why: refusal }
  if (k.service !== undefined) {
    return { do: 'stop', why: k.service, untilMs: k.nowMs + STOPPED_MS }
  }
  return dueNow(k, session)
}

/** A session that is over and owes. */
export const isDebt = (session: SessionView): boolean =>
  session.state === 'closed' && session.due > 0n

/**
 * Why a debt is not paid: more than its terms can add up to before a session is cut, more than the
 * own meter saw, or more than the person allows. Undefined: it is paid.
 */
export function debtRefusal(
  { own, policy }: Pick<Knowledge, 'own' | 'policy'>,
  { id, due, paid, terms, startedAtMs }: SessionView,
): 'above-policy' | 'above-terms' | 'above-meter' | undefined {
  if (policy.debtMax !== undefined && due > policy.debtMax) return 'above-policy'
  const slack = volumePart({ ...terms, freeOctets: 0n }, 1_000_000n)
  const most = (BigInt(terms.missedMax + 1) * intervalPrice(terms) * 105n) / 100n + slack
  if (due > most) return 'above-terms'
  const seen = own.get(id)
  if (seen === undefined || seen.octets === undefined) return undefined
  // Where this program ended first, the session went on until it was cut and one interval more.
  const unseen = seen.terms.missedMax + 2
  const ms = seen.seenAtMs - startedAtMs + unseen * seen.terms.intervalMs + CLOCK_SLACK_MS
  const octets = stretched(seen.octets) + BigInt(unseen) * intervalOctets(seen.terms)
  const allowed = charge(seen.terms, ms, octets)
  return paid + due > allowed ? 'above-meter' : undefined
}

function leaveReason(k: Knowledge, session: SessionView): LeaveReason | undefined {
  const { perMinuteMax, perMegabyteMax } = k.policy
  const { terms } = session
  const agreed = k.own.get(session.id)?.terms ?? terms
  if (!sameTerms(agreed, terms)) return 'terms-changed'
  if (perMinuteMax !== undefined && terms.perMinute > perMinuteMax) return 'too-dear'
  if (perMegabyteMax !== undefined && terms.perMegabyte > perMegabyteMax) return 'too-dear'
  return session.owed > allowed(k, session, elapsedOf(k, session)) ? 'asks-too-much' : undefined
}

/** How long the session has lasted, as far as the device itself can vouch for it. */
function elapsedOf(k: Knowledge, session: SessionView): number {
  const told = k.nowMs - session.startedAtMs
  const connectedAtMs = k.own.get(session.id)?.connectedAtMs
  if (connectedAtMs === undefined) return told
  return Math.min(told, k.nowMs - connectedAtMs + CONNECT_SLACK_MS)
}

/** The most that may be owed after `ms`: the agreed terms, and the own meter stretched. */
function allowed(k: Knowledge, session: SessionView, ms: number): bigint {
  return charge(session.terms, ms + CLOCK_SLACK_MS, octetsAllowed(k, session))
}

function octetsAllowed(k: Knowledge, session: SessionView): bigint {
  const octets = k.own.get(session.id)?.octets
  if (octets !== undefined) return stretched(octets)
  // Without a meter: what the access point says, held to the volume each begun interval stands for.
  const { terms } = session
  const begun = Math.floor(Math.max(0, elapsedOf(k, session)) / terms.intervalMs) + 1
  const most = BigInt(begun) * intervalOctets(terms)
  const told = stretched(session.octets)
  return least(told, most)
}

/**
 * What the access point has counted or will count of the own meter's octets. One that has counted
 * nothing yet may never do so, as on a cable: volume in advance would be a gift. Its first count
 * may come in an interval's last moment, which a session that may miss none cannot afford.
 */
function countedOctets(k: Knowledge, { id, octets, terms }: SessionView): bigint {
  if (octets === 0n && terms.missedMax > 1) return 0n
  return k.own.get(id)?.octets ?? octets
}

function dueNow(k: Knowledge, session: SessionView): Decision {
  const { terms, paid } = session
  const { intervalMs } = terms
  const elapsed = Math.max(0, elapsedOf(k, session))
  const begun = Math.floor(elapsed / intervalMs)
  const endsInMs = (begun + 1) * intervalMs - elapsed
  const within = elapsed - begun * intervalMs
  const octets = countedOctets(k, session)
  const most = octetsAllowed(k, session)
  // Twice the rate of now: what comes after the last payment of an interval makes it a missed one.
  const more = octets === 0n ? 0 : (2 * k.octetsPerSecond * endsInMs) / 1000
  const expected = octets + BigInt(Math.ceil(more))
  const atEnd = charge(terms, (begun + 1) * intervalMs, least(expected, most))
  const asked = paid + session.due
  const cap = allowed(k, session, (begun + 1) * intervalMs)
  // Ahead of the access point's count by one interval at most: it credits no more to a session, and
  // what it never counts would be asked of us again and again.
  const ahead = session.owed + intervalPrice(terms)
  const target = least(greatest(asked, least(atEnd, ahead)), cap)
  const unpaid = volumePart(terms, octets) - greatest(paid - timePart(terms, elapsed), 0n)
  const half = volumePart({ ...terms, freeOctets: 0n }, intervalOctets(terms) / 2n)
  if (target > paid) {
    const isBehind = begun > 0 && paid < timePart(terms, begun * intervalMs)
    const why = isBehind ? 'behind' : half > 0n && unpaid > half ? 'volume' : undefined
    const first = paid < timePart(terms, (begun + 1) * intervalMs)
    const payAt = first ? k.policy.payAt : LATE_LOOK
    if (why !== undefined) return guarded(k, session, target - paid, why)
    if (within >= payAt * intervalMs) return guarded(k, session, target - paid, 'interval')
  }
  // What the access point counts beyond the own meter only the operator knows: ask, each interval.
  const sinceLookMs = within - k.policy.payAt * intervalMs
  if (sinceLookMs >= 0 && k.nowMs - (k.viewAtMs ?? 0) > sinceLookMs) return { do: 'ask' }
  return later(k, nextLook(k, { elapsed, begun, intervalMs }))
}

/** The next moment at which `dueNow` could say something else. */
function nextLook(
  { nowMs, policy, octetsPerSecond }: Knowledge,
  o: { readonly elapsed: number; readonly begun: number; readonly intervalMs: number },
): number {
  const { elapsed, begun, intervalMs } = o
  const looks = [begun + policy.payAt, begun + LATE_LOOK, begun + 1 + policy.payAt]
  const next = looks.map((look) => look * intervalMs - elapsed).find((ms) => ms > 0) ?? intervalMs
  // Volume can come due at any moment: while it flows, look ten times an interval.
  const often = octetsPerSecond > 0 ? Math.max(200, intervalMs / 10) : next
  return nowMs + Math.ceil(Math.min(next, often))
}

/** Nothing to pay: time to top up where that is wanted, else to wait. */
function later(k: Knowledge, untilMs: number): Decision {
  const { topUp, topUpBelow } = k.policy
  const left = k.deposit === undefined ? undefined : k.deposit - k.book.taken
  if (topUp !== undefined && topUpBelow !== undefined && left !== undefined) {
    if (left < topUpBelow && k.nowMs >= k.topUpNotBeforeMs) return { do: 'top-up', amount: topUp }
  }
  return untilMs > k.nowMs ? { do: 'wait', untilMs } : { do: 'ask' }
}

/** A payment that passed the rules about its session: now those about money and freshness. */
function guarded(
  k: Knowledge,
  { id, terms }: SessionView,
  increase: bigint,
  why: 'arrears' | 'interval' | 'volume' | 'behind',
): Decision {
  // What was paid by another device, or closed, since the last answer must not be paid again.
  const freshMs = Math.max(500, terms.intervalMs / 10)
  if (k.nowMs - (k.viewAtMs ?? 0) > freshMs) return { do: 'ask' }
  const amount = k.book.taken + increase
  const missing = k.deposit === undefined ? 0n : amount - k.deposit
  if (missing <= 0n) return { do: 'pay', session: id, amount, increase, why }
  const { topUp } = k.policy
  if (topUp !== undefined && k.nowMs >= k.topUpNotBeforeMs) {
    return { do: 'top-up', amount: greatest(topUp, missing) }
  }
  return { do: 'stop', why: 'escrow-empty', untilMs: k.nowMs + STOPPED_MS }
}

function least(a: bigint, b: bigint): bigint {
  if (a < b) return a
  return b
}

function greatest(a: bigint, b: bigint): bigint {
  if (a > b) return a
  return b
}
