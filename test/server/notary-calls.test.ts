// The contract's functions as the notary encodes them, read back through its interface.

import t from 'tap'
import { datanetInterface } from '../../chain/bindings.ts'
import { NO_ROOT } from '../../chain/payplace/block.ts'
import { type Entry, packEntries } from '../../chain/payplace/entries.ts'
import { indexBlock } from '../../chain/payplace/known.ts'
import { leafHash, leavesOf } from '../../chain/payplace/leaf.ts'
import { isProven } from '../../chain/payplace/tree.ts'
import { challengeData } from '../../chain/payplace-calls.ts'
import type { StoredBlock } from '../../server/block-files.ts'
import {
  batches,
  type EncodedCall,
  expelCalls,
  lockCall,
  notarizeCall,
  unlockCall,
} from '../../server/notary-calls.ts'
import { addressOf } from '../accounting/store-fixtures.ts'

const OPERATOR = 3
const signature = (v: number, s = 0x11): Buffer =>
  Buffer.concat([Buffer.alloc(32, 0xaa), Buffer.alloc(32, s), Buffer.of(v)])
const entriesOf = (count: number): Buffer =>
  packEntries(
    Array.from({ length: count }, (_, n): Entry => ({ consumer: addressOf(n + 1), amount: 5n })),
  )

t.test('a challenge: r, and s with the parity of v on top', async (t) => {
  const consumer = addressOf(1)
  for (const [v, vs] of [
    [27, '11'.repeat(32)],
    [28, `91${'11'.repeat(31)}`],
  ] as const) {
    const data = challengeData(OPERATOR, { consumer, amount: 9n, signature: signature(v) })
    const [from, voucher] = datanetInterface.decodeFunctionData('challengeShift', data)
    t.equal(Number(from), OPERATOR)
    t.match([...voucher], [/^0x0{39}1$/, 9n, `0x${'aa'.repeat(32)}`, `0x${vs}`])
  }
})

const merchants = [
  { id: 1, entries: entriesOf(0) },
  { id: 2, entries: entriesOf(401) },
  { id: 5, entries: entriesOf(3) },
]
const index = indexBlock(OPERATOR, merchants, 7)
const block: StoredBlock = {
  header: { operator: OPERATOR, k: 4, period: 9, prevRoot: NO_ROOT, root: index.root, tau: 77 },
  ...{ snapshot: { number: 1, hash: Buffer.alloc(32) }, journal: 0, journalAtMs: 0 },
  sources: Buffer.alloc(0),
  ...{ waiting: new Map(), changed: [], ...index },
  entriesOf: (id) => merchants.find((one) => one.id === id)?.entries,
  *merchants() {
    yield* merchants
  },
  close: () => undefined,
}

t.test('a lock of each shard proves its leaf; vouchers only where they are higher', async (t) => {
  const places: [id: number, shard: number, entries: number][] = [
    [1, 0, 0],
    [2, 0, 400],
    [2, 1, 1],
    [5, 0, 3],
  ]
  for (const [id, shard, entries] of places) {
    const call = lockCall(block, id, shard, (consumer) =>
      consumer === addressOf(2) ? { consumer, amount: 9n, signature: signature(27) } : undefined,
    )
    const [leaf, proof, vouchers] = datanetInterface.decodeFunctionData('lock', call.data)
    t.same([...leaf].slice(0, 4).map(Number), [OPERATOR, id, shard, id === 2 ? 2 : 1])
    t.equal(leaf[4].length, entries)
    const own = leavesOf({ id, entries: block.entriesOf(id) ?? Buffer.alloc(0) })[shard]
    if (own === undefined) throw new Error('no leaf')
    const path = [...proof].map((hash: string) => Buffer.from(hash.slice(2), 'hex'))
    t.ok(isProven(index.root, leafHash(OPERATOR, own), path), `merchant ${id}, shard ${shard}`)
    const expected = id === 1 || shard === 1 ? 0 : 1
    t.equal(vouchers.length, expected)
    t.equal(call.weight, 5 + entries + expected)
  }
  t.throws(() => lockCall(block, 3, 0, () => undefined), RangeError)
  t.throws(() => lockCall(block, 5, 1, () => undefined), RangeError)
})

t.test('calls in as few transactions as their gas allows, in their order', async (t) => {
  const call = (n: number, weight: number): EncodedCall => {
    const leaf = { id: n, shard: 0, shardCount: 1, entries: Buffer.alloc(0) }
    return { data: unlockCall(OPERATOR, leaf).data, weight }
  }
  const weights = [300, 100, 1, 900, 5, 5]
  const calls = weights.map((weight, n) => call(n, weight))
  const idsIn = (data: string): number[] => {
    const parsed = datanetInterface.parseTransaction({ data })
    const inner = parsed?.name === 'multicall' ? [...parsed.args[0]] : [data]
    return inner.map((one) => Number(datanetInterface.decodeFunctionData('unlock', one)[0][1]))
  }
  t.same(batches(calls).map(idsIn), [[0, 1], [2], [3], [4, 5]])
  t.same(batches([]), [])
})

t.test(
  'a notarization names who is missing and who is back, with their keys in that order',
  async (t) => {
    const named = (id: number) => ({ id, blsKey: Buffer.alloc(128, id) })
    const plan = { newlyMissing: [named(2), named(7)], returning: [named(4)] }
    const { data, gas } = notarizeCall(
      block.header,
      plan as unknown as Parameters<typeof notarizeCall>[1],
      Buffer.alloc(256, 9),
    )
    const args = datanetInterface.decodeFunctionData('notarize', data)
    t.same(args.slice(0, 3), [3n, `0x${index.root.toString('hex')}`, 77n])
    t.same([...args[3]].map(Number), [2, 7])
    t.same([...args[4]].map(Number), [4])
    t.equal(args[5], `0x${[2, 7, 4].map((id) => Buffer.alloc(128, id).toString('hex')).join('')}`)
    t.equal(args[6], `0x${'09'.repeat(256)}`)
    t.ok(gas > 500_000n)
  },
)

t.test('D37: a merchant is put out by one call for each lock, and one without any', async (t) => {
  const account = addressOf(9)
  const shards = leavesOf({ id: 2, entries: entriesOf(401) })
  const locks = shards.map((leaf) => ({ leaf, lockHash: Buffer.alloc(32), k: 4 }))
  const read = (of: Parameters<typeof expelCalls>[1]) =>
    expelCalls(OPERATOR, of).map(({ data, gas }) => {
      const [leaf, to] = datanetInterface.decodeFunctionData('forceExit', data)
      t.equal(String(to).toLowerCase(), account)
      return { leaf: [...leaf].slice(0, 4).map(Number), entries: leaf[4].length, gas }
    })
  t.same(read({ id: 2, account, locks }), [
    // EIP-7825: no transaction may have more.
    { leaf: [OPERATOR, 2, 0, 2], entries: 400, gas: 16_777_216n },
    { leaf: [OPERATOR, 2, 1, 2], entries: 1, gas: 270_000n },
  ])
  t.same(read({ id: 5, account, locks: [] }), [
    { leaf: [OPERATOR, 5, 0, 1], entries: 0, gas: 200_000n },
  ])
})
