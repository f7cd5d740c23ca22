// What a running payer remembers between two steps, and the small questions asked of it. Mutable,
// owned by run.ts alone; nothing here does I/O but the reading of the interface's counters.

import { readFile } from 'node:fs/promises'
import { type Counters, octetsOf, readCounters, startMeter } from './meter.ts'
import { metered, ownSessions, type SeenSession } from './own-sessions.ts'
import type { Knowledge } from './payer.ts'
import type { Policy } from './policy.ts'
import { badService, FRESH_QUALITY, noteTraffic, type Quality } from './quality.ts'
import type { Readings } from './readings.ts'
import type { SessionView } from './session-view.ts'
import type { Till } from './till.ts'
import type { Link } from './wpa-control.ts'

/** The memory of one run; times are by the operator's clock. */
export interface RunState {
  link: Link | undefined
  /** When the link came up while we watched; undefined where it was up before. */
  connectedAtMs: number | undefined
  linkUpSinceMs: number
  current: string | undefined
  /** The session before the link went: a short break does not end it at the access point. */
  previous: string | undefined
  readonly left: Set<string>
  readonly toldDebts: Set<string>
  /** Of sessions that are over: what became of the last report. */
  readonly ends: Map<string, 'said' | 'no-key'>
  seen: Map<string, SeenSession>
  quality: Quality
  octetsPerSecond: number
  /** The octets since the rate was last worked out, and when that was. */
  unrated: bigint
  sampledAtMs: number
  /** When `current` was last paid. */
  paidAtMs: number | undefined
  /** Failures in a row, for the pauses between attempts. */
  failures: number
  stoppedFor: string | undefined
  topUpNotBeforeMs: number
  closedAtMs: number | undefined
  /** The kernel's boot and the interface: counters of others say nothing. */
  readonly boot: string
}

// One a session that was left or whose debt was told: a bound, for a device that runs for years.
const TOLD_MAX = 1_000
const FALL_OFF = 0.9
/** Over less time than this the few kilobytes of a payment would look like a rate. */
const RATE_MS = 1_000
const IDLE_OCTETS_PER_SECOND = 10
const BOOT_FILE = '/proc/sys/kernel/random/boot_id'

export async function freshState(
  seen: Map<string, SeenSession>,
  interfaceName = '',
): Promise<RunState> {
  const boot = await readFile(BOOT_FILE, 'utf8').catch(() => '')
  return {
    ...{ link: undefined, connectedAtMs: undefined, linkUpSinceMs: 0 },
    ...{ current: undefined, previous: undefined, left: new Set(), toldDebts: new Set(), seen },
    ends: new Map(),
    ...{ quality: FRESH_QUALITY, octetsPerSecond: 0, unrated: 0n, sampledAtMs: 0, failures: 0 },
    ...{ stoppedFor: undefined, topUpNotBeforeMs: 0, closedAtMs: undefined, paidAtMs: undefined },
    boot: `${boot.trim()} ${interfaceName}`,
  }
}

/** Adds to a set that must not grow for ever; true where it was not there. */
export function tell(set: Set<string>, id: string): boolean {
  if (set.has(id)) return false
  if (set.size >= TOLD_MAX) set.clear()
  set.add(id)
  return true
}

/** Reads the interface and folds it into quality, rate and the meter of the running session. */
export async function sample(
  state: RunState,
  interfaceName: string | undefined,
  nowMs: number,
): Promise<void> {
  const counters = interfaceName === undefined ? undefined : await readCounters(interfaceName)
  if (counters !== undefined) state.quality = noteTraffic(state.quality, counters, nowMs)
  const octets = count(state, counters, nowMs)
  if (octets !== undefined) Object.assign(state, rateAfter(state, octets, nowMs))
}

type Rate = Pick<RunState, 'octetsPerSecond' | 'unrated' | 'sampledAtMs'>

/** The rate after so many octets more. */
export function rateAfter(
  { octetsPerSecond, unrated, sampledAtMs }: Rate,
  more: bigint,
  nowMs: number,
): Rate {
  const [octets, sinceMs] = [unrated + more, nowMs - sampledAtMs]
  if (Math.abs(sinceMs) < RATE_MS) return { octetsPerSecond, unrated: octets, sampledAtMs }
  const ms = Math.max(RATE_MS, sinceMs)
  const rate = Math.max(0, (Number(octets) * 1000) / ms)
  // Falls off slowly, so that one quiet second does not hide a busy minute; below that it is idle.
  const before = octetsPerSecond * FALL_OFF ** (ms / 1000)
  const slow = before < IDLE_OCTETS_PER_SECOND ? 0 : before
  return { octetsPerSecond: Math.max(rate, slow), unrated: 0n, sampledAtMs: nowMs }
}

/** Counts the last octets of a session that is over, as it seems; no rate is made of them. */
export async function countLast(
  state: RunState,
  interfaceName: string | undefined,
  nowMs: number,
): Promise<void> {
  if (interfaceName !== undefined) count(state, await readCounters(interfaceName), nowMs)
}

/** Folds a reading into the meter of the running session, if there is one; what it adds. */
function count(state: RunState, now: Counters | undefined, nowMs: number): bigint | undefined {
  const { current } = state
  const session = current === undefined ? undefined : state.seen.get(current)
  if (current === undefined || session === undefined) return undefined
  const after = metered(session, now, state.boot, nowMs)
  state.seen.set(current, after)
  return octetsIn(after) - octetsIn(session)
}

const octetsIn = ({ meter }: SeenSession): bigint => (meter === undefined ? 0n : octetsOf(meter))

/** Where a session's octets are counted, and how long ago it began at most. */
export interface Counting {
  readonly interfaceName: string | undefined
  readonly readings: Pick<Readings, 'countedFor'> | undefined
  readonly ageMostMs: number | undefined
}

/** Begins the memory of a session that is seen for the first time, or goes on with it. */
export async function remember(
  state: RunState,
  session: SessionView,
  { interfaceName, readings, ageMostMs }: Counting,
  nowMs: number,
): Promise<void> {
  const known = state.seen.get(session.id)
  if (known !== undefined) {
    const isFromStart = known.isFromStart && known.boot === state.boot
    state.seen.set(session.id, { ...known, isFromStart, isWatched: true })
    return
  }
  const now = interfaceName === undefined ? undefined : await readCounters(interfaceName)
  const counted = ageMostMs === undefined ? undefined : readings?.countedFor(ageMostMs)
  // What went before this program watched is taken from the operator; payer.ts holds it to bounds.
  const meter = interfaceName === undefined ? undefined : startMeter(session.octets, now)
  state.seen.set(session.id, {
    terms: session.terms,
    startedAtMs: session.startedAtMs,
    connectedAtMs: state.connectedAtMs,
    seenAtMs: nowMs,
    meter: counted ?? meter,
    boot: state.boot,
    isFromStart: counted !== undefined,
    isWatched: true,
  })
}

/** What the payer decides on. */
export function knowledgeOf(state: RunState, till: Till, policy: Policy): Knowledge {
  const nowMs = till.now()
  const isUp = state.link?.isUp === true
  return {
    nowMs,
    viewAtMs: till.viewAtMs,
    sessions: till.sessions,
    current: isUp ? state.current : undefined,
    own: ownSessions(state.seen),
    octetsPerSecond: state.octetsPerSecond,
    paidAtMs: state.paidAtMs,
    trust: till.trust,
    book: till.book,
    deposit: till.deposit,
    service: badService(state.quality, policy, nowMs),
    topUpNotBeforeMs: state.topUpNotBeforeMs,
    policy,
  }
}
