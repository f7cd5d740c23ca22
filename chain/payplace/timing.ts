// The clock of an operator's blocks: periods and their phases, with the contract's own borders.
// Times are Unix seconds given as arguments. Pure. Called by operator and merchant alike.

/** As the contract stores it; fixed for the operator's life. Seconds, eta in blocks. */
export interface BlockTiming {
  readonly g0: number
  readonly beta: number
  readonly gamma: number
  readonly delta: number
  readonly challenge: number
  readonly eta: number
}

/** commit: blocks are notarized; open: merchants come, go and withdraw; freeze: neither. */
export type Phase = 'before' | 'commit' | 'freeze' | 'open'

/** Which period a time is in, counted from g0; below 0 before the operator existed. */
export function periodAt({ g0, beta }: BlockTiming, time: number): number {
  return Math.floor((time - g0) / beta)
}

/** g of a period: when its commitment window begins. */
export function startOf({ g0, beta }: BlockTiming, period: number): number {
  return g0 + period * beta
}

/**
 * The phase at a time. Commit is open at both ends, freeze closed: at g itself nothing happens,
 * so that a block's tau can lie strictly behind it (Alg. 4 line 1).
 */
export function phaseAt(timing: BlockTiming, time: number): Phase {
  const { g0, beta, gamma, delta } = timing
  if (time < g0) return 'before'
  const phi = time - startOf(timing, periodAt(timing, time))
  if (phi === 0) return 'freeze'
  if (phi < gamma) return 'commit'
  if (phi <= gamma + delta || phi >= beta - delta) return 'freeze'
  return 'open'
}

/** When the next open phase begins, `time` itself where it is open; the longest wait of 6.3. */
export function nextOpen(timing: BlockTiming, time: number): number {
  if (phaseAt(timing, time) === 'open') return time
  const { beta, gamma, delta } = timing
  const period = Math.max(0, periodAt(timing, time))
  const opens = startOf(timing, period) + gamma + delta + 1
  return opens >= time ? opens : opens + beta
}
