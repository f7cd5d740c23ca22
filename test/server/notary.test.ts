// The notary's loop against a chain and a clock that the test plays: a period from the payment to
// the notarized block, what goes wrong in it, and a process that begins in the middle of one.

import { readdirSync } from 'node:fs'
import t from 'tap'
import { amountOf, NO_ENTRIES, packEntries } from '../../chain/payplace/entries.ts'
import { createNotary } from '../../server/notary.ts'
import type { NotaryDeps } from '../../server/notary-live.ts'
import {
  alice,
  answer,
  credit,
  operatorAccount,
  processIn,
  said,
  timing,
  world,
} from './notary-world.ts'

t.test('a period: offered, answered, notarized as soon as everybody has signed', async (t) => {
  const here = world()
  const { notary, pass } = processIn(here)
  t.equal(notary.status(), undefined)
  await pass(1_000)
  t.match(notary.status(), { k: 0, phase: 'open', merchants: 2, waiting: 0n, answered: undefined })
  credit(here, 100n)
  await pass(5_500)
  t.equal(notary.proposal(2, undefined), undefined, 'nothing before g + 1')
  await pass(600)
  t.match(notary.status(), { answered: [1], phase: 'commit' })
  const offered = notary.proposal(2, undefined)
  t.equal(amountOf(offered?.block.entriesOf(2) ?? NO_ENTRIES, alice), 100n)
  t.match(offered?.proposal, { form: 'whole', header: { k: 1, period: 1, tau: 1_013 } })
  t.equal(await answer(notary, 2), 'taken')
  t.equal(notary.proposal(2, undefined), undefined, 'it has answered')
  await pass(200)
  t.same(here.at.sent, ['notarize'])
  t.match(notary.status(), { k: 1, lastPeriod: 1, waiting: 0n, answered: undefined, missing: [] })
  t.match(await notary.past(1, 2), { proposal: { form: 'whole', sources: [{ amount: 900n }] } })
  t.equal(await notary.past(2, 2), undefined)
  await pass(24_000)
  t.equal(here.at.block.k, 1, 'nothing new, no block')
  notary.request()
  await pass(12_000)
  t.equal(here.at.block.k, 2, 'unless it is asked for')
  await notary.stop()
})

t.test('who does not answer, or with something else, is locked and named', async (t) => {
  const here = world()
  const { notary, pass } = processIn(here)
  credit(here, 100n)
  await pass(7_200)
  t.equal(await answer(notary, 2), 'taken')
  await pass(200)
  credit(here, 1n)
  await pass(12_000)
  t.equal(await answer(notary, 2, 0xee), 'taken')
  await pass(200)
  t.same(here.at.sent, ['notarize', 'lock', 'notarize'], 'all have answered: no need to wait')
  t.match(said(here, 'signatures not valid'), [{ culprits: [2] }])
  t.match(said(here, 'block notarized')[1], { newlyMissing: [2], locked: 1, signers: 1 })
  await notary.stop()
})

t.test(
  'a missing merchant that asks: one block, and none after it where it is silent',
  async (t) => {
    const here = world()
    const { notary, pass } = processIn(here)
    // It joined and has answered no block; without it there is nothing to do.
    await pass(24_000)
    t.same([here.at.block.k, here.at.merchants[1]?.missingSince], [1, 1])
    notary.proposal(2, undefined)
    await pass(12_000)
    t.equal(here.at.block.k, 2, 'it might sign')
    for (let n = 0; n < timing.eta; n++) {
      notary.proposal(2, undefined)
      await pass(12_000)
    }
    t.equal(here.at.block.k, 2)
    notary.proposal(2, undefined)
    await pass(8_000)
    t.equal(await answer(notary, 2), 'taken', 'once in eta periods it is tried again')
    await pass(200)
    t.equal(here.at.block.k, 3)
    t.equal(here.at.sent.filter((what) => what === 'notarize').length, 3)
    await notary.stop()
  },
)

t.test('D43: a block is built where blocks count later, from one of the freeze', async (t) => {
  const here = world()
  const { notary, pass } = processIn(here)
  here.at.lagS = 2
  credit(here, 100n)
  await pass(7_600)
  const offered = notary.proposal(2, undefined)
  t.match(offered?.proposal.header, { k: 1, period: 1, tau: 1_013 })
  t.equal(here.at.caused, 0, 'for nothing: it would not count in time')
  await answer(notary, 2)
  await pass(300)
  t.equal(here.at.block.k, 1)
  here.at.lagS = 9
  credit(here, 100n)
  await pass(12_000)
  t.equal(notary.proposal(2, undefined), undefined, 'nobody signs what is older')
  t.ok(here.at.caused > 0)
  await notary.stop()
})

t.test('D37: who misses eta blocks is put out between two windows', async (t) => {
  const here = world()
  const { notary, pass } = processIn(here)
  const counted = async (name: string) =>
    (await here.at.metrics.registry.getMetricsAsJSON()).find((one) => one.name === name)?.values
  credit(here, 100n)
  await pass(7_200)
  await answer(notary, 2)
  // Blocks 2, 3 and 4 without merchant 2; eta is 3.
  for (let n = 0; n < 3; n++) {
    await pass(9_000)
    credit(here, 1n, operatorAccount)
    t.same(said(here, 'merchant put out, its locks are credit of its account'), [])
    await pass(3_000)
  }
  await pass(2_500)
  t.match(notary.status(), { k: 4, merchants: 2, missing: [2] })
  here.at.refuse = (what) => (what === 'forceExit' ? 'not now' : undefined)
  await pass(6_000)
  t.equal(said(here, 'a merchant could not be put out').length, 1, 'once in a window')
  here.at.refuse = () => undefined
  await pass(12_000)
  t.same(
    here.at.sent.filter((what) => what === 'forceExit'),
    ['forceExit'],
  )
  t.match(notary.status(), { merchants: 1, missing: [] })
  t.match(await counted('datanet_merchants_put_out_total'), [{ value: 1 }])
  t.match(await counted('datanet_blocks_total'), [{ value: here.at.block.k }])
  await notary.stop()
})

t.test('answers are awaited until γ′ and no longer', async (t) => {
  const here = world()
  const { notary, pass } = processIn(here)
  credit(here, 100n)
  await pass(8_900)
  t.same(here.at.sent, [])
  const late = notary.proposal(2, undefined)
  t.ok(late)
  await pass(200)
  t.same(here.at.sent, ['notarize'], 'merchant 2 joined after block 0: nothing to lock')
  t.equal(await answer(notary, 2), undefined)
  await notary.stop()
})

t.test('a window that is missed: the credits are in the next block, once', async (t) => {
  const here = world()
  const { notary, pass } = processIn(here)
  credit(here, 100n)
  here.at.refuse = (what) => (what === 'notarize' ? 'the node is broken' : undefined)
  await pass(7_200)
  t.equal(await answer(notary, 2), 'taken')
  await pass(5_000)
  t.equal(here.at.block.k, 0)
  t.equal(said(here, 'no block in this period; its credits go into the next').length, 1)
  t.ok(said(here, 'not done; it is tried again').length > 1)
  here.at.refuse = () => undefined
  credit(here, 11n)
  await pass(7_300)
  const offered = notary.proposal(2, undefined)
  t.equal(amountOf(offered?.block.entriesOf(2) ?? NO_ENTRIES, alice), 111n)
  t.equal(await answer(notary, 2), 'taken')
  await pass(200)
  t.equal(here.at.block.k, 1)
  await notary.stop()
})

t.test('a process that begins in the window offers the very same block', async (t) => {
  const here = world()
  const first = processIn(here)
  credit(here, 100n)
  await first.pass(7_200)
  const root = first.notary.proposal(2, undefined)?.block.header.root
  here.at.isAway = true
  t.equal(await answer(first.notary, 2), 'taken')
  // It ends here, before anything was sent; more was paid meanwhile.
  await first.notary.stop()
  t.same(here.at.sent, [])
  here.at.isAway = false
  credit(here, 50n)
  here.at.nowMs = 1_015_200
  const second = processIn(here)
  await second.pass(200)
  t.same(here.at.sent, ['notarize'], 'with the answer that the first one was given')
  t.same(here.at.block.root, root)
  await second.notary.stop()
  // And one that begins after the window goes on from there.
  const third = processIn(here)
  await third.pass(9_900)
  t.equal(amountOf(third.notary.proposal(2, 1)?.block.entriesOf(2) ?? NO_ENTRIES, alice), 150n)
  t.equal(third.notary.proposal(2, 1)?.proposal.form, 'changes')
  await third.notary.stop()
})

t.test('a block that is not among our files: nothing is built, and it is said', async (t) => {
  const here = world()
  here.at.block = { k: 4, root: Buffer.alloc(32, 4), lastPeriod: 0, tau: 0 }
  credit(here, 100n)
  const { notary, pass } = processIn(here)
  await pass(24_000)
  t.match(notary.status()?.problem, /^block 4, root 0x0404.* put it back$/)
  t.equal(said(here, 'nothing can be notarized').length, 1)
  t.same([here.at.sent, readdirSync(here.at.directory)], [[], []])
  await notary.stop()
})

t.test(
  'the operator is paid its own leaf when it wants it, in the open window, once',
  async (t) => {
    const here = world()
    here.at.merchants = here.at.merchants.slice(0, 1)
    const { notary, pass } = processIn(here)
    credit(here, 100n, operatorAccount)
    await pass(7_200)
    t.equal(here.at.block.k, 1)
    t.equal(notary.status()?.own, 100n)
    notary.payout()
    await pass(3_000)
    t.same(here.at.sent, ['notarize'], 'not before the window is open')
    await pass(2_500)
    t.same(here.at.sent, ['notarize', 'withdraw'])
    t.match(said(here, 'own earnings paid out'), [{ amount: '100' }])
    here.at.merchants = here.at.merchants.map((one) => {
      return {
        ...one,
        settled: { k: 1, shards: [0] },
        withdrawn: packEntries([{ consumer: alice, amount: 100n }]),
      }
    })
    await pass(2_500)
    t.equal(notary.status()?.own, 0n)
    notary.payout()
    await pass(1_000)
    t.same(here.at.sent, ['notarize', 'withdraw'], 'nothing is left')
    await notary.stop()
  },
)

t.test('a chain that is away is asked less and less, and then again', async (t) => {
  const here = world()
  here.at.isAway = true
  const { notary, pass } = processIn(here)
  await pass(300)
  t.equal(notary.status(), undefined)
  t.ok(said(here, 'not done; it is tried again').length > 0)
  here.at.isAway = false
  await pass(100)
  t.match(notary.status(), { k: 0 })
  await notary.stop()
})

t.test('books that cannot be read leave no past block open', async (t) => {
  const closed: string[] = []
  const block = { entriesOf: () => undefined, close: () => void closed.push('closed') }
  const away = { load: () => Promise.reject(new Error('away')) }
  const deps = { blocks: { past: () => block }, vouchers: away }
  await t.rejects(createNotary(deps as unknown as NotaryDeps).past(1, 2), /away/)
  t.same(closed, ['closed'])
})

t.test('books put back from an older copy: what is paid then is in the next block', async (t) => {
  const here = world()
  const first = processIn(here)
  for (let n = 0; n < 5; n++) credit(here, 10n)
  await first.pass(8_000)
  await answer(first.notary, 2)
  await first.pass(4_000)
  t.equal(here.at.block.k, 1)
  await first.notary.stop()
  // Two of the five are lost, and their numbers are given again.
  here.at.rows.length = 3
  const second = processIn(here)
  await second.pass(500)
  credit(here, 7n)
  await second.pass(7_500)
  const offered = second.notary.proposal(2, undefined)?.block.entriesOf(2)
  t.equal(amountOf(offered ?? NO_ENTRIES, alice), 57n, 'what was in the block before stays')
  // A process that begins later finds the same.
  await second.notary.stop()
  here.at.nowMs += 12_000
  const third = processIn(here)
  await third.pass(1_000)
  t.equal(third.notary.status()?.waiting, 7n)
  credit(here, 1n)
  await third.pass(3_000)
  t.equal(third.notary.status()?.waiting, 8n)
  await third.notary.stop()
})
