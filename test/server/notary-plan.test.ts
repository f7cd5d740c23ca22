// What the notary does when, and who is locked, named or let go: the tables of the plan.

import t from 'tap'
import { NO_ENTRIES } from '../../chain/payplace/entries.ts'
import type { MerchantRecord } from '../../chain/payplace-state.ts'
import {
  type NotaryFacts,
  type NotaryStep,
  nextStep,
  oldLocks,
  overdue,
  planSigners,
  windowOf,
} from '../../server/notary-plan.ts'
import { addressOf } from '../accounting/store-fixtures.ts'

/** The timing of CI: g at 1012 for period 1. */
const timing = { g0: 1_000, beta: 12, gamma: 4, delta: 1, challenge: 20, eta: 3 }
const draft = (period: number, isComplete = false) => ({ period, isComplete })

t.test('instants of a window: γ′ is a quarter before γ, at least a second', async (t) => {
  t.same(windowOf(timing, 1), {
    headUntilMs: 1_012_500,
    ...{ buildsAtMs: 1_013_000, buildsUntilMs: 1_014_000, answersUntilMs: 1_015_000 },
    ...{ finishUntilMs: 1_015_500, closesAtMs: 1_016_000 },
  })
  const day = windowOf({ ...timing, beta: 86_400, gamma: 3_600, delta: 900 }, 0)
  t.equal(day.answersUntilMs, (1_000 + 2_700) * 1_000)
  t.equal(day.closesAtMs - day.finishUntilMs, 12_000)
})

const build: NotaryStep = { step: 'build', period: 1 }
const collect: NotaryStep = { step: 'collect', untilMs: 1_015_000 }
const finish: NotaryStep = { step: 'finish', period: 1, untilMs: 1_016_000 }
const giveUp: NotaryStep = { step: 'give-up', period: 1 }
const wait = (untilMs: number): NotaryStep => ({ step: 'wait', untilMs })

/** When (seconds), what is there, what comes next. */
const MOMENTS: readonly [at: number, over: Partial<NotaryFacts>, wanted: NotaryStep][] = [
  [900, {}, wait(1_001_000)],
  [1_012, {}, wait(1_013_000)],
  [1_012.4, {}, wait(1_013_000)],
  [1_013, {}, build],
  [1_013.9, {}, build],
  // Too late to ask anybody: the next period.
  [1_014, {}, wait(1_018_000)],
  // Begun by a process before this one: taken up as long as it can be finished.
  [1_015.2, { isBegun: true }, build],
  [1_015.5, { isBegun: true }, wait(1_018_000)],
  [1_013.2, { isBegun: true, lastPeriod: 1 }, wait(1_018_000)],
  [1_018, { isBegun: true }, wait(1_025_000)],
  // A block of another period is no draft of this one.
  [1_013, { draft: draft(0) }, build],
  [1_013.2, { draft: draft(1) }, collect],
  [1_014.9, { draft: draft(1) }, collect],
  [1_013.2, { draft: draft(1, true) }, finish],
  [1_015, { draft: draft(1) }, finish],
  [1_015.4, { draft: draft(1) }, finish],
  [1_015.5, { draft: draft(1) }, giveUp],
  [1_015.5, { draft: draft(1, true) }, giveUp],
  // After the window a draft that was never finished is given up, once.
  [1_018, { draft: draft(1) }, giveUp],
  [1_018, { draft: draft(1), givenUp: 1 }, wait(1_025_000)],
  [1_013.2, { draft: draft(1), givenUp: 1 }, wait(1_018_000)],
  // Notarized: nothing more in this window, whatever was built.
  [1_013.2, { lastPeriod: 1 }, wait(1_018_000)],
  [1_013.2, { draft: draft(1), lastPeriod: 1 }, wait(1_018_000)],
  // Old locks go once, when no block is under way.
  [1_017, { tidied: 0 }, { step: 'tidy', period: 1 }],
  [1_020, { tidied: 0, lastPeriod: 1 }, { step: 'tidy', period: 1 }],
  [1_020, {}, wait(1_025_000)],
  [1_013, { tidied: 0 }, build],
  // The operator's own earnings, where it wants them: in the open window alone.
  [1_018, { payout: true }, { step: 'withdraw', untilMs: 1_023_000 }],
  [1_022.9, { payout: true }, { step: 'withdraw', untilMs: 1_023_000 }],
  [1_023, { payout: true }, wait(1_025_000)],
  [1_017, { payout: true }, wait(1_018_000)],
  // A block of the chain made now would still say 1 017, when the contract is in its freeze.
  [1_017.5, { payout: true }, wait(1_018_000)],
  [1_013, { payout: true }, build],
  // D37: in the open window alone, once in each; the operator's own earnings go first.
  [1_018, { isOverdue: true }, { step: 'expel', period: 1, untilMs: 1_023_000 }],
  [1_022.9, { isOverdue: true }, { step: 'expel', period: 1, untilMs: 1_023_000 }],
  [1_018, { isOverdue: true, expelled: 1 }, wait(1_025_000)],
  [1_018, { isOverdue: true, payout: true }, { step: 'withdraw', untilMs: 1_023_000 }],
  [1_017, { isOverdue: true }, wait(1_018_000)],
  // A block made now says 1017, when the contract is still in its freeze.
  [1_017.9, { isOverdue: true, payout: true }, wait(1_018_000)],
  [1_023, { isOverdue: true }, wait(1_025_000)],
  [1_013, { isOverdue: true }, build],
  [1_013.2, { isOverdue: true, draft: draft(1) }, collect],
  // The contract never takes a block of period 0 (Blocks.sol, PeriodUsed).
  [1_001.5, { tidied: 0 }, wait(1_006_000)],
]

t.test('what comes next', async (t) => {
  for (const [at, over, wanted] of MOMENTS) {
    const facts: NotaryFacts = {
      ...{
        nowMs: at * 1_000,
        timing,
        lastPeriod: 0,
        draft: undefined,
        isBegun: false,
        payout: false,
      },
      ...{ givenUp: -1, tidied: 1, isOverdue: false, expelled: -1, ...over },
    }
    t.same(nextStep(facts), wanted, `at ${at}: ${JSON.stringify(over)}`)
  }
})

t.test('every moment of some periods ends in a wait that is over later', async (t) => {
  for (let nowMs = 990_000; nowMs < 1_040_000; nowMs += 137) {
    const step = nextStep({
      ...{ nowMs, timing, lastPeriod: 2, draft: undefined, givenUp: -1, tidied: 9, isBegun: false },
      ...{ payout: false, isOverdue: false, expelled: -1 },
    })
    if ('untilMs' in step) t.ok(step.untilMs > nowMs, `${step.step} at ${nowMs}`)
  }
})

const leaf = { id: 2, shard: 0, shardCount: 1, entries: NO_ENTRIES }
const merchant = (id: number, over: Partial<MerchantRecord> = {}): MerchantRecord => ({
  ...{ id, account: addressOf(id), blsKey: Buffer.alloc(128), status: 'active', joinedAt: 1 },
  ...{ missingSince: undefined, settled: { k: 0, shards: [] }, locks: [] },
  ...{ withdrawn: NO_ENTRIES, capped: NO_ENTRIES, ...over },
})
const lock = (k: number) => ({ leaf, lockHash: Buffer.alloc(32), k })

/** One merchant that did or did not sign block 8; k is 7, she has two leaves in block 7. */
const SIGNERS: readonly [
  name: string,
  over: Partial<MerchantRecord>,
  signed: boolean,
  wanted: { missing?: true; returning?: true; locks?: number[]; unlocks?: number[] },
][] = [
  ['signed as always', {}, true, {}],
  ['absent for the first time', {}, false, { missing: true, locks: [0, 1] }],
  ['absent, one leaf withdrawn', { settled: { k: 7, shards: [0] } }, false, wantedLocks([1])],
  ['absent, all locked already', { settled: { k: 7, shards: [1, 0] } }, false, wantedLocks([])],
  ['absent, settled long ago', { settled: { k: 6, shards: [0, 1] } }, false, wantedLocks([0, 1])],
  ['absent, joined after block 7', { joinedAt: 8 }, false, { missing: true }],
  ['absent again', { missingSince: 5, locks: [lock(4)] }, false, {}],
  ['back', { missingSince: 5, locks: [lock(4)] }, true, { returning: true }],
  // D42: the old lock would be in the way of the new one.
  [
    'absent again after one block, the old lock still there',
    { locks: [lock(4)] },
    false,
    { missing: true, locks: [0, 1], unlocks: [4] },
  ],
]

function wantedLocks(locks: number[]) {
  return { missing: true as const, locks }
}

t.test('D22, D42: who is named, locked and unlocked', async (t) => {
  for (const [name, over, signed, wanted] of SIGNERS) {
    const plan = planSigners(
      [merchant(1), merchant(2, over)],
      new Set(signed ? [1, 2] : [1]),
      7,
      () => 2,
    )
    t.same(
      {
        missing: plan.newlyMissing.map(({ id }) => id),
        returning: plan.returning.map(({ id }) => id),
        locks: plan.locks.map(({ shard }) => shard),
        unlocks: plan.unlocks.map(({ k }) => k),
      },
      {
        missing: wanted.missing ? [2] : [],
        returning: wanted.returning ? [2] : [],
        locks: wanted.locks ?? [],
        unlocks: wanted.unlocks ?? [],
      },
      name,
    )
  }
})

t.test('old locks: of merchants that signed a later block only', async (t) => {
  t.same(oldLocks(merchant(2, { locks: [lock(6), lock(7)] }), 7), [lock(6)])
  t.same(oldLocks(merchant(2, { locks: [lock(6)], missingSince: 7 }), 7), [])
})

t.test('D37: eta missed blocks in a row, counted as the contract does', async (t) => {
  // Absent since block 5: at k = 7 it has missed 5, 6 and 7.
  const absent = [merchant(2, { missingSince: 5 }), merchant(3, { missingSince: 6 }), merchant(4)]
  const ids = (k: number, eta: number) => overdue(absent, k, eta).map(({ id }) => id)
  t.same(ids(6, 3), [])
  t.same(ids(7, 3), [2])
  t.same(ids(8, 3), [2, 3])
  t.same(ids(7, 4), [])
})
