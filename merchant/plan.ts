// What a merchant's agent does at a moment: join, ask for the block, send what it signed, or only
// watch; and when to look again. Pure: a table of standing and phase, time as an argument. Carried
// out by agent.ts.

import { type BlockTiming, nextOpen, periodAt, phaseAt, startOf } from '../chain/payplace/timing.ts'

/** Where the account stands with the operator; missing: registered, but not a signer now. */
export type Standing = 'none' | 'active' | 'missing' | 'exited'

/** Everything a step depends on. Times are Unix seconds. */
export interface Moment {
  readonly now: number
  readonly timing: BlockTiming
  readonly standing: Standing
  /** A retired operator takes no merchants. */
  readonly operatorActive: boolean
  /** The last period a block was signed in; durable. */
  readonly signedPeriod: number
  /** The store holds the answer of that period. */
  readonly hasAnswer: boolean
}

/** `again`: Unix seconds at which to decide anew, at the latest. */
export interface Step {
  readonly step: 'register' | 'ask' | 'send' | 'watch'
  readonly again: number
}

/** Checking, storing and signing take some 50 ms, sending one round trip. */
const MARGIN_MIN_S = 0.3
/** Looking for shifts and for the next phase: often enough for any challenge period. */
const WATCH_MIN_S = 1
const WATCH_MAX_S = 60
/** An offer stays for at least three quarters of the window. */
const ASK_MIN_S = 0.25
const ASK_MAX_S = 5
/** What was refused for a reason that may pass is tried so often again. */
const REGISTER_AGAIN_S = 2

/** Seconds before the end of the window at which a signature comes too late to be of use. */
export function marginOf({ gamma }: BlockTiming): number {
  return Math.max(MARGIN_MIN_S, gamma / 8)
}

const between = (value: number, least: number, most: number): number =>
  Math.min(most, Math.max(least, value))

/** The one step that is due now. */
export function nextStep(moment: Moment): Step {
  const { now, timing, standing, operatorActive } = moment
  // Blocks carry whole seconds: one made now may still say the second that is running.
  const phase = phaseAt(timing, Math.floor(now))
  const period = periodAt(timing, now)
  const begins = startOf(timing, period)
  const watch: Step = { step: 'watch', again: nextLook(timing, now) }
  if (phase === 'before' || standing === 'exited') return watch
  if (standing === 'none') {
    const lasts = begins + timing.beta - timing.delta - now > marginOf(timing)
    if (phase !== 'open' || !operatorActive || !lasts) return watch
    return { step: 'register', again: now + REGISTER_AGAIN_S }
  }
  if (phase !== 'commit') return watch
  const again = now + between(timing.gamma / 16, ASK_MIN_S, ASK_MAX_S)
  // Over and over: an operator that lost it in a power cut has no other way to it.
  if (moment.signedPeriod === period && moment.hasAnswer) return { step: 'send', again }
  const inTime = now + marginOf(timing) < begins + timing.gamma
  // D13: at most one signature in a period, whatever is offered.
  if (moment.signedPeriod < period && inTime) return { step: 'ask', again }
  return watch
}

/** The next beginning of a commitment or open window, or the next watch, whichever is first. */
function nextLook(timing: BlockTiming, now: number): number {
  const watch = now + between(timing.beta / 12, WATCH_MIN_S, WATCH_MAX_S)
  const { g0, beta } = timing
  if (now < g0) return Math.min(watch, g0)
  // tau lies strictly behind g: nothing is offered before the second after it.
  const begins = startOf(timing, periodAt(timing, now))
  const commits = begins + 1 > now ? begins + 1 : begins + beta + 1
  const opens = nextOpen(timing, now)
  return [watch, commits, opens].filter((time) => time > now).reduce((a, b) => Math.min(a, b))
}
