// Entries, leaves, totals and the tree, against definitions written as plainly as possible.

import { readFileSync } from 'node:fs'
import { AbiCoder, keccak256 as ethersKeccak } from 'ethers'
import fc from 'fast-check'
import t from 'tap'
import {
  addEntries,
  amountOf,
  combineEntries,
  eachEntry,
  entriesFault,
  firstBelow,
  maxEntries,
  packEntries,
  subtractEntries,
  totalOf,
} from '../../../chain/payplace/entries.ts'
import {
  leafHash,
  leafHashes,
  leavesOf,
  MAX_ENTRIES,
  SHARDS_MAX,
} from '../../../chain/payplace/leaf.ts'
import { createTotals } from '../../../chain/payplace/totals.ts'
import {
  createTreeBuilder,
  hashOfLeaf,
  isProven,
  proofOf,
  replaceLeaves,
  rootOf,
  treeOf,
} from '../../../chain/payplace/tree.ts'
import type { Address } from '../../../ethereum/address.ts'
import { keccak256 } from '../../../ethereum/keccak.ts'
import { SEED } from './support.ts'

const seeded = { seed: 20_261_123, numRuns: 200 }
const AMOUNT_MAX = 2n ** 96n - 1n
const hex = (bytes: Uint8Array) => `0x${Buffer.from(bytes).toString('hex')}`

/** Few distinct addresses, so that sets meet; some share all but their last byte. */
const consumers = fc
  .tuple(fc.constantFrom('00', '7f', 'ff'), fc.integer({ min: 0, max: 9 }))
  .map(([first, last]) => `0x${first.repeat(19)}0${last}` as Address)
/** Often equal in two sets, else of any size whose sum of two still fits. */
const smallAmounts = fc.oneof(
  fc.bigInt({ min: 1n, max: 3n }),
  fc.bigInt({ min: 1n, max: AMOUNT_MAX / 4n }),
)
const tables = fc
  .array(fc.tuple(consumers, smallAmounts), { maxLength: 20 })
  .map((list) => new Map(list))
const packed = (table: ReadonlyMap<Address, bigint>) =>
  packEntries([...table].map(([consumer, amount]) => ({ consumer, amount })))

t.test('entries: set arithmetic is that of maps', async (t) => {
  const merged = (
    a: ReadonlyMap<Address, bigint>,
    b: ReadonlyMap<Address, bigint>,
    f: (x: bigint, y: bigint) => bigint,
  ) => {
    const result = new Map<Address, bigint>()
    for (const key of [...a.keys(), ...b.keys()]) {
      const amount = f(a.get(key) ?? 0n, b.get(key) ?? 0n)
      if (amount > 0n) result.set(key, amount)
    }
    return packed(result)
  }
  const property = fc.property(tables, tables, (a, b) => {
    const [x, y] = [packed(a), packed(b)]
    const below = firstBelow(x, y)
    const anyBelow = [...a].some(([key, amount]) => (b.get(key) ?? 0n) < amount)
    return (
      entriesFault(x) === undefined &&
      [...eachEntry(x)].every((entry) => a.get(entry.consumer) === entry.amount) &&
      addEntries(x, y).equals(merged(a, b, (p, q) => p + q)) &&
      maxEntries(x, y).equals(merged(a, b, (p: bigint, q: bigint) => (p > q ? p : q))) &&
      combineEntries(x, y, (p, q) => (p * 3n + q) % 4n).equals(
        merged(a, b, (p, q) => (p * 3n + q) % 4n),
      ) &&
      subtractEntries(x, y).equals(merged(a, b, (p, q) => (p > q ? p - q : 0n))) &&
      (below !== undefined) === anyBelow &&
      totalOf(x) === [...a.values()].reduce((sum, amount) => sum + amount, 0n) &&
      [...a].every(([key, amount]) => amountOf(x, key) === amount) &&
      [...b.keys()].every((key) => amountOf(x, key) === (a.get(key) ?? 0n))
    )
  })
  t.doesNotThrow(() => fc.assert(property, seeded))
})

t.test('D10: bytes that are not canonical entries', async (t) => {
  const word = (address: string, amount: string) => address.repeat(20) + amount.padStart(24, '0')
  const cases: readonly [name: string, text: string, fault: string | undefined][] = [
    ['nothing', '', undefined],
    ['two in order', word('01', '1') + word('02', '1'), undefined],
    ['a byte short', word('01', '1').slice(2), 'length'],
    ['a byte more', `${word('01', '1')}00`, 'length'],
    ['the same consumer twice', word('01', '1') + word('01', '2'), 'order'],
    ['descending', word('02', '1') + word('01', '1'), 'order'],
    ['the sign bit is no sign', word('7f', '1') + word('80', '1'), undefined],
    ['nothing due', word('01', '0'), 'zero-amount'],
    ['only the high bits', word('01', `1${'0'.repeat(23)}`), undefined],
  ]
  for (const [name, text, fault] of cases)
    t.equal(entriesFault(Buffer.from(text, 'hex')), fault, name)
  const [consumer] = ['0x0000000000000000000000000000000000000001' as Address]
  for (const amount of [0n, -1n, AMOUNT_MAX + 1n]) {
    t.throws(() => packEntries([{ consumer, amount }]), RangeError)
  }
  const twice = { consumer, amount: 1n }
  t.throws(() => packEntries([twice, twice]), RangeError)
  const most = packEntries([{ consumer, amount: AMOUNT_MAX }])
  t.throws(() => addEntries(most, packEntries([twice])), RangeError, 'a sum above uint96')
  const next = packEntries([{ consumer, amount: AMOUNT_MAX - 1n }])
  t.ok(addEntries(next, packEntries([twice])).equals(most), 'the largest sum')
})

t.test('leaf: the hash that ethers computes from the types of the contract', async (t) => {
  const type =
    'Leaf(uint32 operator,uint32 merchant,uint16 shard,uint16 shardCount,bytes32 entriesHash)'
  const types = ['bytes32', 'uint32', 'uint32', 'uint16', 'uint16', 'bytes32']
  const entries = packEntries([{ consumer: `0x${'12'.repeat(20)}` as Address, amount: 5n }])
  for (const [operator, id, set] of [
    [1, 1, entries],
    [0xffff_ffff, 0xffff_fffe, Buffer.alloc(0)],
  ] as const) {
    const [leaf] = leavesOf({ id, entries: set })
    if (leaf === undefined) throw new Error('no leaf')
    const values = [ethersKeccak(Buffer.from(type)), operator, id, 0, 1, ethersKeccak(set)]
    const expected = ethersKeccak(ethersKeccak(AbiCoder.defaultAbiCoder().encode(types, values)))
    t.equal(hex(leafHash(operator, leaf)), expected)
  }
})

t.test('leaf: one content has one set of shards', async (t) => {
  const entriesOf = (count: number) =>
    packEntries(
      Array.from({ length: count }, (_, i) => ({
        consumer: `0x${(i + 1).toString(16).padStart(40, '0')}` as Address,
        amount: 1n,
      })),
    )
  const cases: readonly [entries: number, lengths: number[]][] = [
    [0, [0]],
    [1, [1]],
    [MAX_ENTRIES, [400]],
    [MAX_ENTRIES + 1, [400, 1]],
    [1_000, [400, 400, 200]],
  ]
  for (const [count, lengths] of cases) {
    const entries = entriesOf(count)
    const leaves = leavesOf({ id: 2, entries })
    t.same(
      leaves.map((leaf) => leaf.entries.length / 32),
      lengths,
    )
    t.ok(leaves.every((leaf, i) => leaf.shard === i && leaf.shardCount === lengths.length))
    t.ok(Buffer.concat(leaves.map((leaf) => leaf.entries)).equals(entries))
    t.ok(leafHashes(1, { id: 2, entries }).equals(Buffer.concat(leaves.map((l) => leafHash(1, l)))))
  }
  t.throws(() => leavesOf({ id: 2, entries: Buffer.alloc(32 * 16_001) }), RangeError)
})

/** The layout of @openzeppelin/merkle-tree, node by node from the definition. */
function plainTree(leaves: readonly Buffer[]): Buffer[] {
  const nodes: Buffer[] = []
  const count = 2 * leaves.length - 1
  for (const [i, leaf] of leaves.entries()) nodes[count - 1 - i] = leaf
  for (let i = leaves.length - 2; i >= 0; i--) {
    const children = [nodes[2 * i + 1], nodes[2 * i + 2]].map((n) => n ?? Buffer.alloc(0))
    nodes[i] = keccak256(Buffer.concat(children.sort(Buffer.compare)))
  }
  return nodes
}

t.test('tree: equal to the plain definition, and each leaf is proven', async (t) => {
  const sizes = fc.integer({ min: 1, max: 70 })
  const property = fc.property(sizes, fc.integer(), (size, salt) => {
    const leaves = Array.from({ length: size }, (_, i) => keccak256(Buffer.from(`${salt} ${i}`)))
    const tree = treeOf(Buffer.concat(leaves))
    const builder = createTreeBuilder()
    for (const leaf of leaves) builder.add(leaf)
    return (
      Buffer.concat(plainTree(leaves)).equals(tree.nodes) &&
      builder.finish().nodes.equals(tree.nodes) &&
      leaves.every((leaf, i) => hashOfLeaf(tree, i).equals(leaf)) &&
      leaves.every((leaf, i) => isProven(rootOf(tree), leaf, proofOf(tree, i))) &&
      !isProven(rootOf(tree), keccak256(Buffer.from('other')), proofOf(tree, size - 1))
    )
  })
  t.doesNotThrow(() => fc.assert(property, seeded))
  t.throws(() => treeOf(Buffer.alloc(0)), RangeError)
  const one = treeOf(keccak256(Buffer.alloc(1)))
  t.same(proofOf(one, 0), [])
  for (const leaf of [-1, 1, 0.5]) t.throws(() => proofOf(one, leaf), RangeError, `leaf ${leaf}`)
})

t.test(
  'tree: replacing leaves equals hashing all again, and leaves the old tree alone',
  async (t) => {
    const property = fc.property(
      fc.integer({ min: 1, max: 70 }),
      fc.array(fc.nat(69), { maxLength: 12 }),
      (size, picked) => {
        const leaves = Array.from({ length: size }, (_, i) => keccak256(Buffer.from(`${i}`)))
        const tree = treeOf(Buffer.concat(leaves))
        const root = rootOf(tree)
        const changes = new Map(
          picked.filter((i) => i < size).map((i) => [i, keccak256(Buffer.from(`new ${i}`))]),
        )
        const after = leaves.map((leaf, i) => changes.get(i) ?? leaf)
        const replaced = replaceLeaves(tree, changes)
        return (
          replaced.nodes.equals(treeOf(Buffer.concat(after)).nodes) && rootOf(tree).equals(root)
        )
      },
    )
    t.doesNotThrow(() => fc.assert(property, seeded))
    const tree = treeOf(keccak256(Buffer.alloc(1)))
    for (const leaf of [-1, 1, 0.5]) {
      t.throws(() => replaceLeaves(tree, new Map([[leaf, Buffer.alloc(32)]])), /no leaf/, `${leaf}`)
    }
  },
)

t.test('totals: sums of a map, also above 2^96, and copies are independent', async (t) => {
  const property = fc.property(fc.array(tables, { maxLength: 8 }), fc.integer(), (sets, seed) => {
    const totals = createTotals(seed)
    const sums = new Map<Address, bigint>()
    for (const set of sets) {
      totals.add(packed(set))
      for (const [key, amount] of set) sums.set(key, (sums.get(key) ?? 0n) + amount)
    }
    const same = [...totals.each()].every(({ consumer, total }) => sums.get(consumer) === total)
    const copy = totals.copy()
    const [first] = sets
    if (first !== undefined) copy.subtract(packed(first))
    return (
      same &&
      [...totals.each()].length === sums.size &&
      [...sums].every(([key, sum]) => totals.of(key) === sum) &&
      [...sums].every(([key, sum]) => copy.of(key) === sum - (first?.get(key) ?? 0n))
    )
  })
  t.doesNotThrow(() => fc.assert(property, seeded))
  const totals = createTotals(SEED)
  const most = packEntries([{ consumer: `0x${'ff'.repeat(20)}` as Address, amount: AMOUNT_MAX }])
  for (let i = 0; i < 3_000; i++) totals.add(most)
  t.equal(totals.of(`0x${'ff'.repeat(20)}` as Address), 3_000n * AMOUNT_MAX)
})

t.test('totals: ten thousand consumers through every growth', async (t) => {
  const totals = createTotals(SEED)
  const list = Array.from({ length: 10_000 }, (_, i) => ({
    consumer: hex(keccak256(Buffer.from(`${i}`)).subarray(0, 20)) as Address,
    amount: BigInt(i + 1),
  }))
  totals.add(packEntries(list))
  t.ok(list.every(({ consumer, amount }) => totals.of(consumer) === amount))
  t.equal(totals.of(`0x${'00'.repeat(20)}` as Address), 0n)
})

t.test('leaf: the bounds and the type are those of the contract', async (t) => {
  const solidity = (name: string) =>
    readFileSync(new URL(`../../../chain/contracts/${name}.sol`, import.meta.url), 'utf8')
  const bound = (name: string) =>
    Number(new RegExp(`${name} = (\\d+);`).exec(solidity('Leaves'))?.[1])
  t.equal(bound('ENTRIES_MAX'), MAX_ENTRIES)
  t.equal(bound('SHARDS_MAX'), SHARDS_MAX)
})
