// What a running notary holds in memory, and its reading of the chain. Nothing here is missed after
// a restart: all that counts is in the block files and on the chain. Decides nothing. Shared by
// notary.ts and notary-between.ts.

import type { Log } from './log.ts'
import type { Metrics } from './metrics.ts'
import type { NotaryBlocks } from './notary-blocks.ts'
import type { Journal, MakeBlock } from './notary-build.ts'
import type { Reading } from './notary-chain.ts'
import type { Challenges, NotaryTransactions } from './notary-transactions.ts'

/** Parts it is made of. */
export interface NotaryDeps
  extends NotaryTransactions,
    Pick<MakeBlock, 'files' | 'vouchers' | 'journal'> {
  readonly blocks: NotaryBlocks
  readonly journal: Journal
  /** Random 32 bits. */
  readonly seed: () => number
  /** Wall clock, ms. */
  readonly now: () => number
  readonly log: Log
  readonly metrics: Pick<Metrics, 'blocks' | 'shiftsChallenged' | 'merchantsPutOut'>
}

/** A window of days is waited for in parts: clocks are set, and the chain is to be followed. */
export const READ_EVERY_MS_MAX = 15_000
const READ_EVERY_MS_MIN = 500

/** Everything that changes. */
export interface Live {
  reading: Reading | undefined
  readAtMs: number
  givenUp: number
  /** The period for which nothing was to do. */
  idle: number
  tidied: number
  /** The period whose block was notarized, by our own transaction. */
  notarized: number
  /** The period in which absent merchants were put out. */
  expelled: number
  requested: boolean
  payout: boolean
  problem: string | undefined
  /** When each merchant asked last, Unix ms. */
  readonly asked: Map<number, number>
  /** The period of the last block that a merchant was waited for in vain. */
  readonly silent: Map<number, number>
  readonly challenges: Challenges
  /** Turns in a row that threw. */
  failures: number
  timer: NodeJS.Timeout | undefined
  running: Promise<void> | undefined
  again: boolean
  stopped: boolean
}

/** Before anything was read. */
export function atRest(): Live {
  return {
    ...{ reading: undefined, readAtMs: Number.NEGATIVE_INFINITY, givenUp: -1, idle: -1 },
    ...{ tidied: -1, notarized: -1, expelled: -1, requested: false, payout: false },
    ...{ asked: new Map(), silent: new Map(), challenges: new Map(), problem: undefined },
    ...{ timer: undefined, running: undefined, again: false, stopped: false, failures: 0 },
  }
}

/** How old a reading may become while nothing else asks for a newer one. */
export function readEveryMs({ reading }: Live): number {
  const challengeMs = (reading?.facts.operator()?.timing.challenge ?? 0) * 100
  return Math.min(Math.max(challengeMs, READ_EVERY_MS_MIN), READ_EVERY_MS_MAX)
}

/** Reads the chain and takes up its last block. Throws ChainError. */
export async function read({ chain, blocks, log, now }: NotaryDeps, live: Live): Promise<Reading> {
  const reading = await chain.read()
  live.readAtMs = now()
  live.reading = reading
  const { k, lastPeriod: period } = reading.facts.block()
  if (blocks.adopt(reading) !== 'same') log.info({ k, period }, 'notary: last block')
  const reason = blocks.problem()
  if (reason !== undefined && reason !== live.problem) {
    log.error({ reason }, 'notary: nothing can be notarized')
  }
  live.problem = reason
  return reading
}
