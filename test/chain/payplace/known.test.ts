// A block's index made from the one before it equals the one made from nothing, whatever changed.

import fc from 'fast-check'
import t from 'tap'
import { type Entry, NO_ENTRIES, packEntries } from '../../../chain/payplace/entries.ts'
import { assemble, floorOf, indexBlock, lockedEntries } from '../../../chain/payplace/known.ts'
import type { Address } from '../../../ethereum/address.ts'
import { facts, locksOf, OPERATOR, pack, SEED } from './support.ts'

/** `count` consumers from the one numbered `first`, each with this amount. */
function run(first: number, count: number, amount: number): Buffer {
  const list = Array.from({ length: count }, (_, i): Entry => {
    const consumer = `0x${(first + i).toString(16).padStart(40, '0')}` as Address
    return { consumer, amount: BigInt(amount) }
  })
  return packEntries(list)
}

/** Mostly small leaves, now and then of several shards. */
const sets = fc
  .tuple(
    fc.nat(20),
    fc.oneof(
      { weight: 9, arbitrary: fc.nat(6) },
      { weight: 1, arbitrary: fc.constantFrom(400, 401, 850) },
    ),
    fc.integer({ min: 1, max: 9 }),
  )
  .map(([first, count, amount]) => run(first, count, amount))

t.test('changed, unchanged, new and gone merchants, one block after another', async (t) => {
  const steps = fc.array(
    fc.array(fc.tuple(fc.integer({ min: 1, max: 60 }), fc.option(sets)), { maxLength: 8 }),
    { minLength: 1, maxLength: 4 },
  )
  const property = fc.property(fc.integer({ min: 1, max: 60 }), steps, (count, changes) => {
    let table = new Map(Array.from({ length: count }, (_, i) => [i + 1, run(i, 2, 3)]))
    const list = (from: ReadonlyMap<number, Buffer>) =>
      [...from].sort(([a], [b]) => a - b).map(([id, entries]) => ({ id, entries }))
    let index = indexBlock(OPERATOR, list(table), SEED)
    for (const step of changes) {
      const next = new Map(table)
      for (const [id, entries] of step) {
        if (entries !== null) next.set(id, entries)
        else if (next.size > 1) next.delete(id)
      }
      const assembly = assemble(OPERATOR, index, SEED)
      for (const [id, entries] of table) if (!next.has(id)) assembly.drop(entries)
      for (const merchant of list(next)) {
        const before = table.get(merchant.id)
        if (before === merchant.entries) assembly.keep(merchant.id)
        else assembly.change(merchant, before ?? NO_ENTRIES)
      }
      const made = assembly.finish()
      const afresh = indexBlock(OPERATOR, list(next), SEED)
      const sums = [...afresh.totals.each()]
      const same =
        made.tree.nodes.equals(afresh.tree.nodes) &&
        made.root.equals(afresh.root) &&
        JSON.stringify([...made.places]) === JSON.stringify([...afresh.places]) &&
        sums.every(({ consumer, total }) => made.totals.of(consumer) === total) &&
        [...made.totals.each()].every((one) => one.total === afresh.totals.of(one.consumer))
      if (!same) return false
      table = next
      index = made
    }
    return true
  })
  t.doesNotThrow(() => fc.assert(property, { seed: 11, numRuns: 150 }))
})

t.test('one merchant with several leaves among many: only its leaves are replaced', async (t) => {
  const list = Array.from({ length: 40 }, (_, i) => {
    return { id: i + 1, entries: run(1, i === 20 ? 850 : 3, 5) }
  })
  const first = indexBlock(OPERATOR, list, SEED)
  const changed = list.map((one) => (one.id === 21 ? { id: 21, entries: run(1, 850, 6) } : one))
  const assembly = assemble(OPERATOR, first, SEED)
  for (const [i, merchant] of changed.entries()) {
    const before = list[i]?.entries ?? NO_ENTRIES
    if (merchant.entries === before) assembly.keep(merchant.id)
    else assembly.change(merchant, before)
  }
  const afresh = indexBlock(OPERATOR, changed, SEED)
  t.ok(assembly.finish().tree.nodes.equals(afresh.tree.nodes))
})

t.test('the block before stays as it was; who was not in it can not be kept', async (t) => {
  const first = indexBlock(OPERATOR, [{ id: 1, entries: run(1, 2, 3) }], SEED)
  const root = first.root.toString('hex')
  const assembly = assemble(OPERATOR, first, SEED)
  t.throws(() => assembly.keep(2), RangeError)
  assembly.change({ id: 1, entries: run(1, 3, 4) }, run(1, 2, 3))
  assembly.finish()
  t.equal(first.root.toString('hex'), root)
  t.equal([...first.totals.each()].length, 2)
})

t.test('the floor: block k less what was paid, and never less than a lock', async (t) => {
  const cases: readonly (readonly [
    name: string,
    previous: Record<number, bigint>,
    withdrawn: Record<number, bigint>,
    locked: Record<number, bigint>,
    floor: Record<number, bigint>,
  ])[] = [
    ['nothing happened', { 0: 5n }, {}, {}, { 0: 5n }],
    ['withdrawn', { 0: 5n, 1: 2n }, { 0: 5n, 1: 2n }, {}, {}],
    ['an old lock withdrawn', { 0: 5n, 1: 2n }, { 0: 3n }, {}, { 0: 2n, 1: 2n }],
    ['a lock below the leaf', { 0: 5n }, {}, { 0: 4n }, { 0: 5n }],
    ['a stale lock above the leaf', { 0: 5n }, {}, { 0: 6n, 2: 1n }, { 0: 6n, 2: 1n }],
    ['one shard withdrawn, one locked', { 0: 5n, 3: 7n }, { 0: 5n }, { 3: 7n }, { 3: 7n }],
  ]
  for (const [name, previous, withdrawn, locked, floor] of cases) {
    t.ok(floorOf(pack(previous), pack(withdrawn), pack(locked)).equals(pack(floor)), name)
  }
})

t.test('locks: all shards together, each as the chain has it', async (t) => {
  const entries = run(1, 900, 7)
  const locks = locksOf(3, entries)
  t.equal(locks.length, 3)
  t.ok(lockedEntries(OPERATOR, facts(3, { locks }))?.equals(entries))
  t.ok(lockedEntries(OPERATOR, facts(3))?.equals(NO_ENTRIES))
  for (const wrong of [0, 1, 2]) {
    const lockHash = Buffer.alloc(32)
    const mixed = locks.map((lock, i) => (i === wrong ? { ...lock, lockHash } : lock))
    t.equal(lockedEntries(OPERATOR, facts(3, { locks: mixed })), undefined, `shard ${wrong}`)
  }
  t.equal(lockedEntries(OPERATOR, facts(4, { locks })), undefined, 'another merchant’s')
  t.equal(lockedEntries(OPERATOR + 1, facts(3, { locks })), undefined, 'another operator’s')
})
