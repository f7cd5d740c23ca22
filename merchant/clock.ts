// Whether the chain's clock and ours agree, measured where it can be: at the first sight of a new
// block. A chain that makes blocks only when there is work has an old newest one most of the time,
// and that says nothing. Pure. Called by agent.ts.

import type { ChainBlock } from '../chain/payplace-view.ts'

/** What was seen of the chain's time. */
export interface ClockSight {
  readonly head: ChainBlock | undefined
  /** Wall clock less the newest block's time at its first sight, seconds. */
  readonly lagS: number
}

export const NOTHING_SEEN: ClockSight = { head: undefined, lagS: Number.POSITIVE_INFINITY }

/** Blocks carry whole seconds: one made now may say so little less. */
const ROUNDING_S = 1

/** Another look at the chain's head at `now`, Unix seconds. */
export function lookAt(sight: ClockSight, head: ChainBlock, now: number): ClockSight {
  return sight.head?.hash === head.hash ? sight : { head, lagS: now - head.time }
}

/** The time of a block caused now, as far as that is known; for SigningView.headTime. */
export function headTimeAt({ lagS }: ClockSight, now: number): number {
  if (lagS >= 0 && lagS <= ROUNDING_S) return now
  return now - (lagS > 0 ? lagS - ROUNDING_S : lagS)
}
