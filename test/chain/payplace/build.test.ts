// The operator's next block (Alg. 5 fixed): what goes in, what waits, what is refused.

import fc from 'fast-check'
import t from 'tap'
import { addCredits, type BuildChannel, buildBlock } from '../../../chain/payplace/build.ts'
import {
  addEntries,
  eachEntry,
  NO_ENTRIES,
  packEntries,
  subtractEntries,
} from '../../../chain/payplace/entries.ts'
import { indexBlock } from '../../../chain/payplace/known.ts'
import {
  type Amounts,
  address,
  build,
  buildView,
  consumer,
  facts,
  known,
  locksOf,
  merchants,
  OPERATOR,
  pack,
  SEED,
} from './support.ts'

const credits = (table: Readonly<Record<number, Amounts>>) =>
  new Map(merchants(table).map(({ id, entries }) => [id, entries]))
const amounts = (entries: Buffer | undefined) =>
  Object.fromEntries([...eachEntry(entries ?? Buffer.alloc(0))].map((e) => [e.consumer, e.amount]))
const shown = (table: Amounts) => amounts(pack(table))
const CHANNEL: BuildChannel = { deposit: 1_000n, withdrawn: 0n, pendingShift: 0n, best: 100n }

t.test('Alg. 5: each merchant has what she had and what was credited since', async (t) => {
  const before = known(merchants({ 1: { 0: 1n }, 2: { 0: 5n, 1: 6n }, 3: {} }))
  const cases: readonly [
    name: string,
    given: Parameters<typeof buildView>[0],
    then: Readonly<Record<number, Amounts>>,
  ][] = [
    [
      'the first block: everybody has a leaf',
      { k: 0, previous: undefined, credits: credits({ 2: { 0: 5n } }) },
      { 1: {}, 2: { 0: 5n }, 3: {} },
    ],
    [
      'nothing credited: as before',
      { previous: before, credits: new Map() },
      { 1: { 0: 1n }, 2: { 0: 5n, 1: 6n }, 3: {} },
    ],
    [
      'increases and new consumers',
      { previous: before, credits: credits({ 1: { 2: 1n }, 2: { 1: 4n }, 3: { 0: 2n } }) },
      { 1: { 0: 1n, 2: 1n }, 2: { 0: 5n, 1: 10n }, 3: { 0: 2n } },
    ],
    [
      'withdrawn at k: she begins anew',
      {
        previous: before,
        merchants: [facts(1), facts(2, { withdrawn: pack({ 0: 5n, 1: 6n }) }), facts(3)],
        credits: credits({ 2: { 0: 3n } }),
      },
      { 1: { 0: 1n }, 2: { 0: 3n }, 3: {} },
    ],
    [
      'a missing merchant withdrew her older lock: later credits stay hers',
      {
        previous: before,
        merchants: [facts(1), facts(2, { withdrawn: pack({ 0: 2n }) }), facts(3)],
        credits: new Map(),
      },
      { 1: { 0: 1n }, 2: { 0: 3n, 1: 6n }, 3: {} },
    ],
    [
      'a lock is the least she has',
      {
        previous: before,
        merchants: [facts(1), facts(2), facts(3, { locks: locksOf(3, pack({ 0: 9n })) })],
        credits: credits({ 3: { 0: 1n } }),
      },
      { 1: { 0: 1n }, 2: { 0: 5n, 1: 6n }, 3: { 0: 10n } },
    ],
    [
      'exited merchants leave, new ones come',
      {
        previous: before,
        merchants: [facts(1), facts(3), facts(4)],
        credits: credits({ 4: { 0: 7n } }),
      },
      { 1: { 0: 1n }, 3: {}, 4: { 0: 7n } },
    ],
  ]
  for (const [name, given, then] of cases) {
    const { built, list } = build(buildView(given))
    const table = Object.fromEntries(list.map(({ id, entries }) => [id, amounts(entries)]))
    const expected = Object.entries(then).map(([id, table]) => [id, shown(table)])
    t.same(table, Object.fromEntries(expected), name)
    t.ok(built.index.root.equals(indexBlock(OPERATOR, list, SEED).root), `${name}: root`)
    t.same([...built.index.places.keys()], Object.keys(then).map(Number), `${name}: places`)
  }
})

t.test('the header names the period, the block before and the next number', async (t) => {
  const before = known(merchants({ 1: {}, 2: {}, 3: {} }))
  const { built } = build(buildView({ previous: before, credits: new Map() }))
  const { root, ...header } = built.header
  t.same(header, { operator: OPERATOR, k: 4, period: 3, prevRoot: before.root, tau: 1_181 })
  t.ok(root.equals(before.root), 'nothing changed but the header')
  t.same(built.changed, [])
  const first = build(buildView({ k: 0, credits: new Map() })).built
  t.ok(first.header.prevRoot.equals(Buffer.alloc(32)), 'zeros before the first block')
})

t.test('D15: block k and the credits stay as they were', async (t) => {
  const list = merchants({ 1: {}, 2: { 0: 5n }, 3: {} })
  const before = known(list)
  const given = credits({ 2: { 0: 1n } })
  const copies = [...list.map(({ entries }) => entries), ...given.values()].map((b) =>
    b.toString('hex'),
  )
  build(buildView({ previous: before, credits: given }))
  const now = [...list.map(({ entries }) => entries), ...given.values()].map((b) =>
    b.toString('hex'),
  )
  t.same(now, copies)
  t.equal(before.totals.of(consumer(0)), 5n)
})

t.test('credits that cannot go in wait, with the reason', async (t) => {
  const before = known(merchants({ 1: {}, 2: { 0: 60n }, 3: { 0: 20n } }))
  const cases: readonly [
    name: string,
    channel: BuildChannel,
    credits: Readonly<Record<number, Amounts>>,
    waiting: Readonly<Record<number, Amounts>>,
  ][] = [
    ['up to mu', CHANNEL, { 2: { 0: 15n }, 3: { 0: 5n } }, {}],
    [
      'one unit above mu',
      CHANNEL,
      { 2: { 0: 15n, 1: 3n }, 3: { 0: 6n } },
      { 2: { 0: 15n }, 3: { 0: 6n } },
    ],
    ['above mu - w', { ...CHANNEL, withdrawn: 20n }, { 2: { 0: 1n } }, { 2: { 0: 1n } }],
    ['a shift under way', { ...CHANNEL, pendingShift: 901n }, { 2: { 0: 1n } }, { 2: { 0: 1n } }],
    ['a shift that leaves enough', { ...CHANNEL, pendingShift: 900n }, { 2: { 0: 1n } }, {}],
    ['a voucher of the whole deposit', { ...CHANNEL, deposit: 100n }, { 2: { 0: 1n } }, {}],
    ['of nobody who is here', CHANNEL, { 2: { 0: 1n }, 9: { 0: 1n } }, { 9: { 0: 1n } }],
  ]
  for (const [name, channel, given, waiting] of cases) {
    const view = buildView({
      previous: before,
      credits: credits(given),
      channel: (c) => (c === consumer(0) ? channel : CHANNEL),
    })
    const { built, heldBack } = build(view)
    const left = Object.fromEntries([...heldBack.credits].map(([id, e]) => [id, amounts(e)]))
    const expected = Object.entries(waiting).map(([id, table]) => [id, shown(table)])
    t.same(left, Object.fromEntries(expected), name)
    const { withdrawn, best } = channel
    t.ok(built.index.totals.of(consumer(0)) <= best - withdrawn, `${name}: sum <= mu - w`)
    t.same(heldBack.consumers, expected.length === 0 ? [] : [consumer(0)], name)
  }
})

t.test('amounts of an exited merchant are free for others', async (t) => {
  const before = known(merchants({ 1: {}, 2: { 0: 20n }, 3: { 0: 60n } }))
  const given = { previous: before, merchants: [facts(1), facts(2)] }
  const { list, heldBack } = build(buildView({ ...given, credits: credits({ 2: { 0: 80n } }) }))
  t.same(amounts(list[1]?.entries), shown({ 0: 100n }))
  t.equal(heldBack.credits.size, 0)
})

t.test('a merchant with more consumers than the contract serves gets what fits', async (t) => {
  const many = (count: number) =>
    packEntries(
      Array.from({ length: count }, (_, i) => {
        return { consumer: address(`0x${(i + 1).toString(16).padStart(40, '0')}`), amount: 1n }
      }),
    )
  const [room, full] = [many(15_999), many(16_000)]
  const dust = subtractEntries(many(32_000), full)
  const cases: readonly [name: string, had: Buffer, credit: Buffer, waits: Buffer][] = [
    ['the last place', room, pack({ 0: 1n }), NO_ENTRIES],
    ['one more than there is: the larger one', room, pack({ 0: 1n, 1: 2n }), pack({ 0: 1n })],
    ['those who are there already', room, room, NO_ENTRIES],
    ['they and two more', room, addEntries(room, pack({ 0: 2n, 1: 1n })), pack({ 1: 1n })],
    [
      'they, where nobody else has a place',
      full,
      addEntries(full, pack({ 0: 9n })),
      pack({ 0: 9n }),
    ],
    ['half of the places a second time', many(8_001), many(8_001), NO_ENTRIES],
    ['dust of strangers beside a payment', many(1), addEntries(dust, pack({ 0: 2n })), last(dust)],
  ]
  for (const [name, had, credit, waits] of cases) {
    const before = known([...merchants({ 1: {}, 2: {} }), { id: 3, entries: had }])
    const view = buildView({ previous: before, credits: new Map([[3, credit]]) })
    const { list, heldBack } = build(view)
    const left = heldBack.credits.get(3) ?? NO_ENTRIES
    t.equal(left.length, waits.length, `${name}: as many wait`)
    t.ok(left.equals(waits), `${name}: those`)
    const together = addEntries(list[2]?.entries ?? NO_ENTRIES, left)
    t.ok(together.equals(addEntries(had, credit)), `${name}: nothing is lost`)
  }
  function last(entries: Buffer): Buffer {
    return entries.subarray(15_998 * 32)
  }
})

t.test('what block k already has beyond mu - w is a fault, and nothing is emitted', async (t) => {
  const before = known(merchants({ 1: {}, 2: { 0: 60n }, 3: { 0: 60n } }))
  const emitted: number[] = []
  const view = buildView({ previous: before, credits: credits({ 2: { 1: 1n } }) })
  t.same(
    buildBlock(view, ({ id }) => emitted.push(id)),
    { fault: 'uncovered', consumers: [consumer(0)] },
  )
  const [lock] = locksOf(3, pack({ 0: 9n }))
  if (lock === undefined) throw new Error('no lock')
  const foreign = { ...lock, lockHash: Buffer.alloc(32) }
  const wrongLock = buildView({
    ...{ previous: known(merchants({ 1: {}, 2: {}, 3: {} })), credits: new Map() },
    merchants: [facts(1), facts(2), facts(3, { locks: [foreign] })],
  })
  t.same(
    buildBlock(wrongLock, ({ id }) => emitted.push(id)),
    { fault: 'lock-content', merchant: 3 },
  )
  t.same(emitted, [])
})

t.test('no credit is lost: blocks that fail carry over, in any order of failures', async (t) => {
  const parts = fc.array(
    fc.tuple(
      fc.integer({ min: 2, max: 3 }),
      fc.integer({ min: 0, max: 5 }),
      fc.integer({ min: 1, max: 9 }),
    ),
    { maxLength: 6 },
  )
  const property = fc.property(
    fc.array(fc.tuple(parts, fc.boolean()), { maxLength: 12 }),
    (periods) => {
      let previous: ReturnType<typeof known> | undefined
      let waiting = credits({})
      const ever = new Map<string, bigint>()
      for (const [since, isNotarized] of periods) {
        for (const [id, n, amount] of since) {
          const key = `${id} ${consumer(n)}`
          ever.set(key, (ever.get(key) ?? 0n) + BigInt(amount))
          waiting = new Map(addCredits(waiting, credits({ [id]: { [n]: BigInt(amount) } })))
        }
        const channel = () => ({ ...CHANNEL, best: 1_000n })
        const k = previous === undefined ? 0 : 3
        const result = build(buildView({ k, previous, credits: waiting, channel }))
        if (!isNotarized) continue
        previous = known(result.list)
        waiting = new Map(result.heldBack.credits)
      }
      const { list } = build(
        buildView({ previous, credits: waiting, channel: () => ({ ...CHANNEL, best: 1_000n }) }),
      )
      const have = list.flatMap(({ id, entries }) =>
        [...eachEntry(entries)].map((e): [string, bigint] => [`${id} ${e.consumer}`, e.amount]),
      )
      return have.length === ever.size && have.every(([key, amount]) => ever.get(key) === amount)
    },
  )
  t.doesNotThrow(() => fc.assert(property, { seed: 5, numRuns: 100 }))
})
