// What the notary does when, and who must be locked or named for a block to pass: decisions only,
// as tables. Knows no clock, chain or file; times and facts are arguments. Pure. Called by
// notary.ts.

import {
  type BlockTiming,
  type Phase,
  periodAt,
  phaseAt,
  startOf,
} from '../chain/payplace/timing.ts'
import type { LockRecord, MerchantRecord } from '../chain/payplace-state.ts'

/** The block that is under way in this period. */
export interface Draft {
  readonly period: number
  /** Every merchant that is expected has answered. */
  readonly isComplete: boolean
}

/** All that decides what comes next. */
export interface NotaryFacts {
  readonly nowMs: number
  readonly timing: BlockTiming
  /** The period of the last notarized block; 0 before the first, as the contract has it. */
  readonly lastPeriod: number
  readonly draft: Draft | undefined
  /** A block of this period lies on disk, made by a process before this one. */
  readonly isBegun: boolean
  /** The last period that was given up; −1 for none. */
  readonly givenUp: number
  /** The operator's own earnings are to be paid out. */
  readonly payout: boolean
  /** The last period before whose window old locks were looked for; −1 for none. */
  readonly tidied: number
  /** Some merchant has missed so many blocks that it may be put out. */
  readonly isOverdue: boolean
  /** The last period in which that was tried; −1 for none. */
  readonly expelled: number
}

/** One of them, until `untilMs` where it is waiting. */
export type NotaryStep =
  | { readonly step: 'wait'; readonly untilMs: number }
  /** Answers may still come: wait for the last one or until then. */
  | { readonly step: 'collect'; readonly untilMs: number }
  /** Old locks of merchants that are back are dropped before the next block is built. */
  | { readonly step: 'tidy'; readonly period: number }
  | { readonly step: 'build'; readonly period: number }
  /** Answers are over: lock whoever is missing, then notarize before `untilMs`. */
  | { readonly step: 'finish'; readonly period: number; readonly untilMs: number }
  /** The operator's own leaf is paid, in the open window that ends at `untilMs`. */
  | { readonly step: 'withdraw'; readonly untilMs: number }
  /** D37: who was absent too long is put out, in the open window that ends at `untilMs`. */
  | { readonly step: 'expel'; readonly period: number; readonly untilMs: number }
  | { readonly step: 'give-up'; readonly period: number }

/** Instants of one period, Unix ms. */
export interface Window {
  /** From here a block is built: its tau lies behind g. */
  readonly buildsAtMs: number
  /** A block of the chain is waited for until here, then caused. */
  readonly headUntilMs: number
  /** No block is begun any more: merchants would have no time to answer. */
  readonly buildsUntilMs: number
  /** γ′: answers are awaited until here. */
  readonly answersUntilMs: number
  /** The last moment to begin notarizing. */
  readonly finishUntilMs: number
  /** g + γ: what was not notarized is void. */
  readonly closesAtMs: number
}

/** Locks and notarize need this much of the window at least, seconds. */
const LAST_S_MAX = 12
/** Two blocks of Ethereum; a chain that is slower has to be helped. */
const HEAD_S_MAX = 24

/** The instants of a period: γ′ leaves a quarter of the window to the transactions. */
export function windowOf(timing: BlockTiming, period: number): Window {
  const g = startOf(timing, period)
  const { gamma } = timing
  const answers = gamma - Math.max(1, gamma / 4)
  const last = Math.min(gamma / 8, LAST_S_MAX)
  return {
    buildsAtMs: (g + 1) * 1_000,
    headUntilMs: (g + Math.min(gamma / 8, HEAD_S_MAX)) * 1_000,
    buildsUntilMs: (g + 1 + (answers - 1) / 2) * 1_000,
    answersUntilMs: (g + answers) * 1_000,
    finishUntilMs: (g + gamma - last) * 1_000,
    closesAtMs: (g + gamma) * 1_000,
  }
}

interface Moment extends NotaryFacts {
  readonly period: number
  readonly window: Window
  readonly inCommit: boolean
  /** For the contract too: its blocks carry whole seconds, one made now the second that runs. */
  readonly phase: Phase
  /** Nothing more is to be done for this period's block. */
  readonly isOver: boolean
  /** The draft, where it is of this period. */
  readonly current: Draft | undefined
}

/** When this window and its freeze are over, or the next window begins. */
function nextWindowMs({ window, timing, period, nowMs }: Moment): number {
  const opensAtMs = window.closesAtMs + (timing.delta + 1) * 1_000
  return nowMs < opensAtMs ? opensAtMs : windowOf(timing, period + 1).buildsAtMs
}

/** The end of the open window of this period. */
function openUntilMs({ timing, period }: Moment): number {
  return (startOf(timing, period) + timing.beta - timing.delta) * 1_000
}

/** The first row that fits decides. */
const CASES: readonly (readonly [
  name: string,
  fits: (m: Moment) => boolean,
  step: (m: Moment) => NotaryStep,
])[] = [
  [
    'not begun',
    (m) => m.period < 0,
    (m) => ({ step: 'wait', untilMs: windowOf(m.timing, 0).buildsAtMs }),
  ],
  [
    'a block that can still be finished, its answers in or their time over',
    (m) =>
      m.current !== undefined &&
      !m.isOver &&
      m.nowMs < m.window.finishUntilMs &&
      (m.current.isComplete || m.nowMs >= m.window.answersUntilMs),
    (m) => ({ step: 'finish', period: m.period, untilMs: m.window.closesAtMs }),
  ],
  [
    'a block that waits for answers',
    (m) => m.current !== undefined && !m.isOver && m.nowMs < m.window.answersUntilMs,
    (m) => ({ step: 'collect', untilMs: m.window.answersUntilMs }),
  ],
  [
    'a block whose time is over',
    (m) => m.current !== undefined && !m.isOver,
    (m) => ({ step: 'give-up', period: m.period }),
  ],
  [
    'the window opens',
    // At g itself too, when the contract still is in its freeze.
    (m) => !m.isOver && m.nowMs < m.window.buildsAtMs,
    (m) => ({ step: 'wait', untilMs: m.window.buildsAtMs }),
  ],
  [
    'a block that was begun before a restart: the same is taken up again',
    (m) => m.inCommit && !m.isOver && m.isBegun && m.nowMs < m.window.finishUntilMs,
    (m) => ({ step: 'build', period: m.period }),
  ],
  [
    'the window is open and nothing built',
    (m) => m.inCommit && !m.isOver && m.nowMs < m.window.buildsUntilMs,
    (m) => ({ step: 'build', period: m.period }),
  ],
  [
    'old locks, once between two windows',
    (m) => !m.inCommit && m.tidied < m.period,
    (m) => ({ step: 'tidy', period: m.period }),
  ],
  [
    'the operator’s own earnings, while merchants may be paid',
    (m) => m.payout && m.phase === 'open',
    (m) => ({ step: 'withdraw', untilMs: openUntilMs(m) }),
  ],
  [
    'merchants that were absent too long, once in an open window',
    (m) => m.isOverdue && m.expelled < m.period && m.phase === 'open',
    (m) => ({ step: 'expel', period: m.period, untilMs: openUntilMs(m) }),
  ],
  [
    'nothing before the next window',
    () => true,
    (m) => ({ step: 'wait', untilMs: Math.max(nextWindowMs(m), m.nowMs + 1) }),
  ],
]

/** What to do now. */
export function nextStep(facts: NotaryFacts): NotaryStep {
  const { timing, nowMs, draft } = facts
  const seconds = nowMs / 1_000
  const period = periodAt(timing, seconds)
  const window = windowOf(timing, period)
  const current = draft?.period === period ? draft : undefined
  // Blocks carry whole seconds: one made now may still say the second that is running.
  const phase = phaseAt(timing, Math.floor(seconds))
  const moment: Moment = {
    ...{ ...facts, period, window, current },
    ...{ phase, inCommit: phase === 'commit' },
    isOver: facts.lastPeriod >= period || facts.givenUp >= period,
  }
  for (const [, fits, step] of CASES) if (fits(moment)) return step(moment)
  throw new Error('the last case fits always')
}

/** A block's tau: strictly behind g, and no later than the contract's or a merchant's clock. */
export function tauIn(
  timing: BlockTiming,
  period: number,
  nowMs: number,
  headTime: number,
): number {
  const earliest = startOf(timing, period) + 1
  return Math.max(earliest, Math.min(Math.floor(nowMs / 1_000), headTime))
}

/** Whose signature makes a block, and what the chain must be told of the others. */
export interface SignerPlan {
  readonly newlyMissing: readonly MerchantRecord[]
  readonly returning: readonly MerchantRecord[]
  /** Of the newly missing: old locks in the way of a new one. */
  readonly unlocks: readonly LockRecord[]
  /** Leaves of the last block that must be locked first: merchant and shard. */
  readonly locks: readonly { readonly merchant: MerchantRecord; readonly shard: number }[]
}

/** `shardCount` tells how many leaves a merchant has in block k. */
export function planSigners(
  merchants: readonly MerchantRecord[],
  signers: ReadonlySet<number>,
  k: number,
  shardCount: (id: number) => number,
): SignerPlan {
  const absent = merchants.filter(({ id }) => !signers.has(id))
  const newlyMissing = absent.filter(({ missingSince }) => missingSince === undefined)
  const returning = merchants.filter(
    ({ id, missingSince }) => missingSince !== undefined && signers.has(id),
  )
  const lockable = newlyMissing.filter(({ joinedAt }) => joinedAt <= k)
  const locks = lockable.flatMap((merchant) =>
    Array.from({ length: shardCount(merchant.id) }, (_, shard) => ({ merchant, shard })).filter(
      ({ shard }) => merchant.settled.k !== k || !merchant.settled.shards.includes(shard),
    ),
  )
  // D42: the contract takes no new lock beside one of an older block.
  const unlocks = lockable.flatMap((merchant) => oldLocks(merchant, k))
  return { newlyMissing, returning, unlocks, locks }
}

/** Locks of an older block of a merchant that has signed since: anyone may drop them. */
export function oldLocks(merchant: MerchantRecord, k: number): LockRecord[] {
  return merchant.missingSince === undefined ? merchant.locks.filter((lock) => lock.k < k) : []
}

/**
 * D37: merchants that have missed `eta` blocks in a row or more when k is the last one. The
 * operator (1) is never missing.
 */
export function overdue(
  merchants: readonly MerchantRecord[],
  k: number,
  eta: number,
): MerchantRecord[] {
  return merchants.filter(
    ({ missingSince }) => missingSince !== undefined && k + 1 - missingSince >= eta,
  )
}
