// What a pending shift waits for: the end of its challenge, a block whose signers knew of it, the
// open window. The contract's own rules, told ahead of time so that a person sees when. Pure.
// Called by shift.ts and the cli's device status.

import { type BlockTiming, nextOpen, periodAt, phaseAt, startOf } from '../chain/payplace/timing.ts'
import type { BlockClock, ShiftRead } from '../chain/shift-calls.ts'

/** When an operator makes no blocks for so long, a shift needs none (Shifts.sol). */
const DEAD_AFTER_S = 90 * 86_400

/** What comes next for a pending shift; times in Unix seconds. */
export interface ShiftStep {
  readonly waitsFor: 'challenge' | 'block' | 'window' | 'nothing'
  readonly challengeEndsAt: number
  /** Where no such block was made: the earliest moment at which the next one begins. */
  readonly blockFromAt: number | undefined
  /** The earliest moment at which it could be completed. */
  readonly dueAt: number
}

/** Where a pending shift stands at `now`, Unix seconds. */
export function shiftStep(
  { requestedAt, period }: Pick<ShiftRead, 'requestedAt' | 'period'>,
  { timing, lastPeriod }: BlockClock,
  now: number,
): ShiftStep {
  const challengeEndsAt = requestedAt + timing.challenge
  const hasBlock = lastPeriod > period || now >= requestedAt + DEAD_AFTER_S
  const blockFromAt = hasBlock ? undefined : nextBlockAt(timing, period, now)
  const earliest = Math.max(now, challengeEndsAt, (blockFromAt ?? 0) + (hasBlock ? 0 : 1))
  const dueAt = nextOpen(timing, earliest)
  const waits = { challengeEndsAt, blockFromAt, dueAt }
  if (now < challengeEndsAt) return { waitsFor: 'challenge', ...waits }
  if (!hasBlock) return { waitsFor: 'block', ...waits }
  return { waitsFor: phaseAt(timing, now) === 'open' ? 'nothing' : 'window', ...waits }
}

/** g of the first period that counts and in which a block can still be made. */
function nextBlockAt(timing: BlockTiming, period: number, now: number): number {
  const running = periodAt(timing, now)
  const isOver = now >= startOf(timing, running) + timing.gamma
  return startOf(timing, Math.max(period + 1, isOver ? running + 1 : running))
}
