// How blocks are doing, for the operator's own tools: `datanet notarize`, the console, metrics.
// Pure. Called by notary.ts, and by http.ts when the metrics are asked for.

import { totalOf } from '../chain/payplace/entries.ts'
import type { Leaf } from '../chain/payplace/leaf.ts'
import { type Phase, periodAt, phaseAt } from '../chain/payplace/timing.ts'
import type { Waiting } from './block-files.ts'
import type { Metrics } from './metrics.ts'
import type { Reading } from './notary-chain.ts'
import { waitingTotal } from './notary-credits.ts'
import { windowOf } from './notary-plan.ts'

/** What the operator is shown of it. */
export interface NotaryStatus {
  readonly k: number
  readonly lastPeriod: number
  /** When the last block was built, Unix seconds; 0 before the first. */
  readonly lastAt: number
  readonly period: number
  readonly phase: Phase
  /** When the next block is built at the earliest, Unix seconds. */
  readonly nextAt: number
  readonly merchants: number
  readonly missing: readonly number[]
  /** Of the block under way: who has answered, undefined without one. */
  readonly answered: readonly number[] | undefined
  /** Credits in no notarized block, base units, and how many accounts they are of. */
  readonly waiting: bigint
  readonly waitingAccounts: number
  /** What the last block owes the operator itself and was not paid out, base units. */
  readonly own: bigint
  /** What keeps it from working, in words. */
  readonly problem: string | undefined
}

/** Undefined before the chain was read. `answered`: to the block under way. */
export function statusOf(o: {
  readonly reading: Reading | undefined
  readonly waiting: Waiting
  readonly answered: readonly number[] | undefined
  readonly problem: string | undefined
  readonly nowMs: number
  readonly own: readonly Leaf[]
}): NotaryStatus | undefined {
  const { reading, waiting, nowMs } = o
  const timing = reading?.facts.operator()?.timing
  if (reading === undefined || timing === undefined) return undefined
  const seconds = nowMs / 1_000
  const period = periodAt(timing, seconds)
  const merchants = reading.facts.merchants()
  const { k, lastPeriod, tau } = reading.facts.block()
  const here = windowOf(timing, period).buildsAtMs
  const nextMs = here > nowMs ? here : windowOf(timing, period + 1).buildsAtMs
  return {
    ...{ k, lastPeriod, lastAt: tau, period },
    ...{ phase: phaseAt(timing, seconds), nextAt: Math.ceil(nextMs / 1_000) },
    merchants: merchants.length,
    missing: merchants.filter(({ missingSince }) => missingSince !== undefined).map(({ id }) => id),
    own: o.own.reduce((sum, { entries }) => sum + totalOf(entries), 0n),
    ...{ answered: o.answered, problem: o.problem },
    ...{ waiting: waitingTotal(waiting), waitingAccounts: waiting.size },
  }
}

type StatusMetrics = Pick<
  Metrics,
  'lastBlock' | 'lastBlockTime' | 'merchants' | 'creditsWaiting' | 'creditsWaitingAccounts'
>

/** The same for whoever watches many servers; amounts as far as a float holds them. */
export function showStatus(status: NotaryStatus | undefined, metrics: StatusMetrics): void {
  if (status === undefined) return
  const { merchants, missing } = status
  metrics.lastBlock.set(status.k)
  metrics.lastBlockTime.set(status.lastAt)
  metrics.merchants.set({ standing: 'active' }, merchants - missing.length)
  metrics.merchants.set({ standing: 'missing' }, missing.length)
  metrics.creditsWaiting.set(Number(status.waiting))
  metrics.creditsWaitingAccounts.set(status.waitingAccounts)
}
