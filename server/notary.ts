// The operator's notary: once a period it makes a block of what consumers paid, has it signed by
// the merchants, and brings it to the contract in time; between the windows it drops old locks and
// challenges shifts. Owns the clock of it. A restart goes on wherever the last process was: all
// that counts is in the block files and on the chain. Made by notary-side.ts.

import { NO_ENTRIES } from '../chain/payplace/entries.ts'
import type { BlockProposal } from '../chain/payplace/proposal.ts'
import { type BlockTiming, periodAt, startOf } from '../chain/payplace/timing.ts'
import type { MerchantRecord } from '../chain/payplace-state.ts'
import type { SentBlock } from './block-files.ts'
import type { AnswerVerdict } from './notary-answers.ts'
import { payOut, putOut, tidy, watch } from './notary-between.ts'
import type { DraftBlock } from './notary-blocks.ts'
import { makeBlock, workWaits } from './notary-build.ts'
import type { Reading } from './notary-chain.ts'
import { consumersIn } from './notary-credits.ts'
import {
  atRest,
  type Live,
  type NotaryDeps,
  READ_EVERY_MS_MAX,
  read,
  readEveryMs,
} from './notary-live.ts'
import { type NotaryStep, nextStep, overdue, tauIn, windowOf } from './notary-plan.ts'
import { type NotaryStatus, statusOf } from './notary-status.ts'
import { finishBlock, ownLeaves } from './notary-transactions.ts'

/** After a failure; short beside the smallest window. */
const RETRY_MS = 250
/** A merchant that asked this lately may answer a block, although it missed the last ones. */
const ASKED_BETAS = 2

/** What a merchant is sent, and the file it is read from. */
export interface Offered {
  readonly proposal: BlockProposal
  readonly block: SentBlock
}

export interface Notary {
  /** Undefined until the chain was read for the first time. */
  status(): NotaryStatus | undefined
  timing(): BlockTiming | undefined
  /** Journal entries since then are in no notarized block; Unix ms. */
  journalSinceMs(): number
  /** Builds at the next window even where nothing is new. */
  request(): void
  /** Pays the operator's own earnings to its account, in the next open window. */
  payout(): void
  /** An Active merchant; undefined where there is none. */
  merchant(id: number): MerchantRecord | undefined
  /** What an Active merchant is to sign now; undefined where nothing is, or it has answered. */
  proposal(id: number, have: number | undefined): Offered | undefined
  /**
   * Undefined: no block is under way that these bytes (codec) answer. The caller has made sure that
   * the merchant's account sent them.
   */
  answer(bytes: Buffer): AnswerVerdict | undefined
  /**
   * A notarized block that is still kept, whole, with the vouchers of this merchant's consumers:
   * all that a withdrawal needs. The caller closes the block. Throws StorageError.
   */
  past(k: number, id: number): Promise<Offered | undefined>
  start(): void
  stop(): Promise<void>
}

/** At rest until `start`. */
export function createNotary(deps: NotaryDeps): Notary {
  const live = atRest()
  const { blocks, now } = deps
  const wake = (): void => {
    live.again = true
    if (!live.stopped && live.running === undefined) begin(deps, live)
  }
  return {
    status: () =>
      statusOf({
        ...{ reading: live.reading, waiting: deps.journal.waiting(), problem: live.problem },
        answered: offered(deps, live)
          ?.answers.list()
          .map(({ id }) => id),
        nowMs: now(),
        own: live.reading === undefined ? [] : ownLeaves(deps, live.reading.facts),
      }),
    journalSinceMs: () => blocks.previous()?.journalAtMs ?? journalBegins(deps),
    timing: () => live.reading?.facts.operator()?.timing,
    request() {
      live.requested = true
      live.idle = -1
      wake()
    },
    payout() {
      live.payout = true
      wake()
    },
    merchant: (id) => activeMerchant(live, id),
    proposal(id, have) {
      const draft = offered(deps, live)
      live.asked.set(id, now())
      const isAsked = draft?.merchants.some((merchant) => merchant.id === id) === true
      if (draft === undefined || !isAsked || draft.answers.has(id)) return undefined
      return { proposal: blocks.proposalOf(draft.block, id, have), block: draft.block }
    },
    answer(bytes) {
      if (offered(deps, live) === undefined) return undefined
      const verdict = blocks.answer(bytes)
      if (blocks.draft()?.answers.isComplete() === true) wake()
      return verdict
    },
    async past(k, id) {
      const block = blocks.past(k)
      if (block === undefined) return undefined
      try {
        await deps.vouchers.load(consumersIn([block.entriesOf(id) ?? NO_ENTRIES]))
        return { proposal: blocks.proposalOf(block, id), block }
      } catch (error) {
        block.close()
        throw error
      }
    },
    start: wake,
    async stop() {
      live.stopped = true
      clearTimeout(live.timer)
      await live.running
      blocks.close()
    },
  }
}

/** Before the first block all credits are still to come; where there are none, nothing is kept. */
function journalBegins({ journal }: NotaryDeps): number {
  return journal.readAtMs > 0 && journal.number === 0 ? Number.POSITIVE_INFINITY : 0
}

function activeMerchant({ reading }: Live, id: number): MerchantRecord | undefined {
  const found = reading?.facts.merchant(id)
  return found?.status === 'active' ? found : undefined
}

/** The draft, while answers to it still count. */
function offered({ blocks, now }: NotaryDeps, { reading }: Live): DraftBlock | undefined {
  const draft = blocks.draft()
  const timing = reading?.facts.operator()?.timing
  if (draft === undefined || timing === undefined) return undefined
  return now() < windowOf(timing, draft.name.period).answersUntilMs ? draft : undefined
}

/** Never twice at once. */
function begin(deps: NotaryDeps, live: Live): void {
  clearTimeout(live.timer)
  live.again = false
  live.running = run(deps, live).then((untilMs) => {
    live.running = undefined
    if (live.stopped) return
    if (live.again) return begin(deps, live)
    const pauseMs = Math.max(0, untilMs - deps.now())
    live.timer = setTimeout(() => begin(deps, live), Math.min(pauseMs, readEveryMs(live)))
  })
}

async function run(deps: NotaryDeps, live: Live): Promise<number> {
  try {
    for (;;) {
      if (live.stopped) return Number.POSITIVE_INFINITY
      const untilMs = await turn(deps, live)
      live.failures = 0
      if (untilMs !== undefined) return untilMs
    }
  } catch (error) {
    deps.log.warn({ err: error }, 'notary: not done; it is tried again')
    // With a block under way every moment counts; else a node that is away is asked less and less.
    const waitMs = deps.blocks.draft() === undefined ? RETRY_MS * 2 ** live.failures : RETRY_MS
    live.failures += 1
    return deps.now() + Math.min(waitMs, READ_EVERY_MS_MAX)
  }
}

/** One step; until when nothing is to do, undefined where more may be. */
async function turn(deps: NotaryDeps, live: Live): Promise<number | undefined> {
  const { now, blocks } = deps
  if (now() - live.readAtMs >= readEveryMs(live)) await read(deps, live)
  const { reading } = live
  const timing = reading?.facts.operator()?.timing
  if (reading === undefined || timing === undefined) return now() + RETRY_MS
  const draft = blocks.draft()
  const { k, lastPeriod } = reading.facts.block()
  const step = nextStep({
    ...{ nowMs: now(), timing, tidied: live.tidied, payout: live.payout },
    lastPeriod: Math.max(lastPeriod, live.notarized),
    expelled: live.expelled,
    isOverdue: overdue(reading.facts.merchants(), k, timing.eta).length > 0,
    givenUp: Math.max(live.givenUp, live.idle),
    isBegun:
      draft === undefined && blocks.find(k + 1, periodAt(timing, now() / 1_000)) !== undefined,
    draft: draft && { period: draft.name.period, isComplete: draft.answers.isComplete() },
  })
  return act(deps, live, reading, step)
}

async function act(
  deps: NotaryDeps,
  live: Live,
  reading: Reading,
  step: NotaryStep,
): Promise<number | undefined> {
  switch (step.step) {
    case 'collect':
      return step.untilMs
    case 'wait':
      await watch(deps, live, reading.facts, step.untilMs)
      // So that what is shown as waiting is of now, and little is left to read at g.
      await deps.journal.catchUp()
      return step.untilMs
    case 'tidy':
      live.tidied = step.period
      await tidy(deps, live, reading)
      return undefined
    case 'build':
      return build(deps, live, step.period)
    case 'finish':
      await finish(deps, live, step)
      return undefined
    case 'withdraw':
      await payOut(deps, live, step.untilMs)
      return undefined
    case 'expel':
      await putOut(deps, live, step)
      return undefined
    case 'give-up': {
      const { period } = step
      live.givenUp = period
      deps.metrics.blocks.inc({ result: 'given-up' })
      deps.log.error({ period }, 'notary: no block in this period; its credits go into the next')
      return undefined
    }
  }
}

/** Makes this period's block, or takes up the one a process before this one has offered. */
async function build(deps: NotaryDeps, live: Live, period: number): Promise<number | undefined> {
  const { blocks, journal, chain, now, log } = deps
  const latest = await read(deps, live)
  const { k } = latest.facts.block()
  if (live.problem !== undefined) {
    live.idle = period
    return undefined
  }
  const begun = blocks.find(k + 1, period)
  if (begun !== undefined) {
    // Merchants sign once a period: another block would never be signed by all.
    await blocks.offer(begun, latest.facts.merchants())
    log.info({ k: k + 1, period }, 'notary: block of this period taken up again')
    return undefined
  }
  await journal.catchUp()
  const timing = latest.facts.operator()?.timing
  if (timing === undefined) return now() + RETRY_MS
  const isAwaited = ({ id }: MerchantRecord): boolean =>
    // Asking costs it nothing, a block costs gas: who let the last one pass has to wait.
    hasAsked(live, timing, id, now()) &&
    period - (live.silent.get(id) ?? Number.NEGATIVE_INFINITY) > timing.eta
  const { requested } = live
  const news = { reading: latest, previous: blocks.previous(), waiting: journal.waiting() }
  if (!requested && !workWaits({ ...news, period, isAwaited })) {
    live.idle = period
    return undefined
  }
  const window = windowOf(timing, period)
  const g = startOf(timing, period)
  // Before g − delta merchants could still come, go and withdraw, and of shifts that were asked for
  // since then none is finished by this block (D43): nobody signs what is older.
  const oldest = g - timing.delta
  // A block of this window shows merchants besides whether their clocks are right; it is awaited,
  // and caused where it can be had at once.
  if (latest.time < g && now() < window.headUntilMs) return now() + RETRY_MS
  if (latest.time < (chain.lags ? oldest : g)) await chain.causeBlock(window.buildsUntilMs)
  const reading = await read(deps, live)
  if (reading.time < oldest) return now() + RETRY_MS
  const made = await makeBlock({
    ...{ operator: deps.operator, period, tau: tauIn(timing, period, now(), reading.time) },
    ...{ reading, previous: blocks.previous(), journal, seed: deps.seed() },
    ...{ vouchers: deps.vouchers, files: deps.files },
  })
  if ('fault' in made) {
    live.givenUp = period
    deps.metrics.blocks.inc({ result: 'given-up' })
    log.error({ period, reason: made.fault }, 'notary: no block can be built')
    return undefined
  }
  const merchants = reading.facts.merchants()
  await blocks.offer(made.name, merchants)
  live.requested = false
  const { changed, heldBack } = made
  const counts = { merchants: merchants.length, changed, heldBack }
  log.info({ k: made.name.k, period, ...counts }, 'notary: block offered')
  return undefined
}

function hasAsked({ asked }: Live, { beta }: BlockTiming, id: number, nowMs: number): boolean {
  return nowMs - (asked.get(id) ?? Number.NEGATIVE_INFINITY) < ASKED_BETAS * beta * 1_000
}

async function finish(
  deps: NotaryDeps,
  live: Live,
  { period, untilMs }: Extract<NotaryStep, { step: 'finish' }>,
): Promise<void> {
  const draft = deps.blocks.draft()
  const begunMs = deps.now()
  const { facts } = await read(deps, live)
  const timing = facts.operator()?.timing
  if (draft === undefined || timing === undefined || facts.block().lastPeriod >= period) return
  const finished = await finishBlock(deps, draft, facts, untilMs)
  live.notarized = period
  deps.metrics.blocks.inc({ result: 'notarized' })
  const { culprits, ...counts } = { ...finished, tookMs: deps.now() - begunMs }
  const answered = draft.answers.list().filter(({ id }) => !culprits.includes(id))
  const signers = new Set(answered.map(({ id }) => id))
  for (const { id } of draft.merchants) {
    if (signers.has(id)) live.silent.delete(id)
    else if (hasAsked(live, timing, id, begunMs)) live.silent.set(id, period)
  }
  deps.log.info({ k: draft.name.k, period, ...counts }, 'notary: block notarized')
  if (culprits.length > 0) deps.log.warn({ period, culprits }, 'notary: signatures not valid')
  await read(deps, live)
}
