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
  type UsageTerms,
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
  /** The meter has all of it, so that it can be signed. */
  readonly isWhole: boolean
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
  /** When the session of this connection was last paid by this program. */
  readonly paidAtMs: number | undefined
  /** What the key is worth to the operator that signs the own meter; undefined: none does. */
  readonly trust: UsageTerms['trust'] | undefined
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
/** Much volume is paid before its interval is, but no more often than each such part of one. */
const VOLUME_APART = 0.25
/** What a payment and the questions about it move themselves, a handshake of TLS with them. */
const EXCHANGE_OCTETS = 20_000

/**
 * Which session is that of this connection. Where nobody watches the link, the account's newest:
 * who joined anew has a new one, though the access point never told of the end of the one before.
 * Else the one it was, unless one began with the connection; else the one that began when we
 * connected, else (for a program that came later) the newest.
 */
export function pickSession(
  sessions: readonly SessionView[],
  o: {
    readonly before: string | undefined
    readonly connectedAtMs: number | undefined
    readonly left: ReadonlySet<string>
    /** The link is watched, and `connectedAtMs` is when it came up. */
    readonly isWatched: boolean
  },
): string | undefined {
  const open = sessions
    .filter(({ id, state }) => state !== 'closed' && !o.left.has(id))
    .toSorted((a, b) => b.startedAtMs - a.startedAtMs)
  if (!o.isWatched) return newestOf(open, o.before)
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

/**
 * The newest; of two that began in one second the one it was, and one that is being admitted waits
 * for that: so it goes from one to the next, and never back while both are open.
 */
function newestOf(open: readonly SessionView[], before: string | undefined): string | undefined {
  const newest = open.find(({ state }) => state !== 'reserved') ?? open[0]
  const same = open.find(({ id }) => id === before)
  return same !== undefined && same.startedAtMs === newest?.startedAtMs ? same.id : newest?.id
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

/** Whether what this device signs is on the bill, and not the access point's figure alone. */
function isSigning(k: Knowledge, { id, terms }: SessionView): boolean {
  const { usage } = terms
  if (usage === undefined || k.own.get(id)?.isWhole !== true) return false
  return k.trust === 'hardware' || k.trust === usage.trust
}

/**
 * The octets of the own meter that are or will be on the bill. What it signs is, by `attested` and
 * `higher`. Else the access point has to count it: one that has counted nothing yet may never do
 * so, as on a cable, and volume in advance would be a gift. Its first count may come in an
 * interval's last moment, which a session that may miss none cannot afford.
 */
function billedOctets(k: Knowledge, session: SessionView): bigint {
  const { id, octets, terms } = session
  const isOwn = isSigning(k, session) && terms.usage?.by !== 'lower'
  if (octets === 0n && terms.missedMax > 1 && !isOwn) return 0n
  return k.own.get(id)?.octets ?? octets
}

function dueNow(k: Knowledge, session: SessionView): Decision {
  const { terms, paid, due } = session
  const { intervalMs } = terms
  const elapsed = Math.max(0, elapsedOf(k, session))
  const begun = Math.floor(elapsed / intervalMs)
  const within = elapsed - begun * intervalMs
  const octets = billedOctets(k, session)
  const { needed, target } = goals(k, session, { octets, elapsed, begun })
  const increase = target - paid
  const sincePaidMs = k.nowMs - (k.paidAtMs ?? 0)
  if (increase > 0n && begun > 0 && paid < timePart(terms, begun * intervalMs)) {
    return guarded(k, session, increase, 'behind')
  }
  const unpaid = volumePart(terms, octets) - greatest(paid - timePart(terms, elapsed), 0n)
  const half = volumePart({ ...terms, freeOctets: 0n }, intervalOctets(terms) / 2n)
  const isMuch = half > 0n && unpaid > half && increase > half
  if (isMuch && Math.abs(sincePaidMs) >= VOLUME_APART * intervalMs) {
    return guarded(k, session, increase, 'volume')
  }
  // What the access point counts beyond the own meter only the operator knows: ask at each look.
  const viewMs = k.nowMs - (k.viewAtMs ?? 0)
  const isLate = within >= LATE_LOOK * intervalMs
  const sinceLookMs = within - (isLate ? LATE_LOOK : k.policy.payAt) * intervalMs
  if (sinceLookMs >= 0 && viewMs > sinceLookMs) return { do: 'ask' }
  const isFirst = paid < timePart(terms, (begun + 1) * intervalMs)
  if (within >= (isFirst ? k.policy.payAt : LATE_LOOK) * intervalMs) {
    // One payment an interval; another only where something would be left unpaid at its end.
    const isShort = needed > paid
    const isPaid = sincePaidMs >= 0 && sincePaidMs <= within
    const apartMs = oftenMs(intervalMs, isLate)
    const isEnough = sincePaidMs >= apartMs && (target >= needed || increase > half)
    if (increase > 0n && (!isPaid || (isShort && (due > 0n || isEnough)))) {
      return guarded(k, session, increase, 'interval')
    }
    // The operator credits no more by what it said last: it may have counted on.
    if (isShort && viewMs >= apartMs) return { do: 'ask' }
  }
  return later(k, nextLook(k, { elapsed, begun, intervalMs, isLate }))
}

/**
 * What must be paid by the end of the running interval, at the rate of now, and what a payment goes
 * up to: twice that rate, since what comes after the last payment makes the interval a missed one.
 */
function goals(
  k: Knowledge,
  session: SessionView,
  o: { readonly octets: bigint; readonly elapsed: number; readonly begun: number },
): { readonly needed: bigint; readonly target: bigint } {
  const { terms, paid, due, owed } = session
  const { octets, elapsed, begun } = o
  const endMs = (begun + 1) * terms.intervalMs
  // The operator's interval ends up to a second later: it tells its beginning in whole ones.
  const coming = (k.octetsPerSecond * (endMs - elapsed + 1_000)) / 1000
  const most = octetsAllowed(k, session)
  const atEnd = (more: number): bigint => {
    const expected = octets + (octets === 0n ? 0n : BigInt(Math.ceil(more)))
    return charge(terms, endMs, least(expected, most))
  }
  const cap = allowed(k, session, endMs)
  // Ahead of the bill by one interval at most: the operator credits no more to a session, and what
  // is never counted would be asked of us again and again.
  const ahead = least(atEnd(2 * coming + EXCHANGE_OCTETS), owed + intervalPrice(terms))
  const asked = paid + due
  return {
    needed: least(greatest(asked, atEnd(coming)), cap),
    target: least(greatest(asked, ahead), cap),
  }
}

/** The next moment at which `dueNow` could say something else. */
function nextLook(
  { nowMs, policy, octetsPerSecond }: Knowledge,
  o: {
    readonly elapsed: number
    readonly begun: number
    readonly intervalMs: number
    readonly isLate: boolean
  },
): number {
  const { elapsed, begun, intervalMs, isLate } = o
  const looks = [begun + policy.payAt, begun + LATE_LOOK, begun + 1 + policy.payAt]
  const next = looks.map((look) => look * intervalMs - elapsed).find((ms) => ms > 0) ?? intervalMs
  // Volume can come due at any moment while it flows.
  const often = octetsPerSecond > 0 ? oftenMs(intervalMs, isLate) : next
  return nowMs + Math.ceil(Math.min(next, often))
}

/** Ten looks an interval, and five in its last tenth. */
const oftenMs = (intervalMs: number, isLate: boolean): number =>
  Math.max(200, intervalMs / (isLate ? 50 : 10))

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
