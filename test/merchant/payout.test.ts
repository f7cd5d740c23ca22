// From which leaves a merchant is paid, in which transactions: the table of block, locks, absence
// and what was settled already; and how the calls are encoded.

import t from 'tap'
import { datanetInterface } from '../../chain/bindings.ts'
import { packEntries } from '../../chain/payplace/entries.ts'
import type { ChannelFacts } from '../../chain/payplace-facts.ts'
import type { LockRecord } from '../../chain/payplace-state.ts'
import { payoutCall } from '../../merchant/contract.ts'
import { type PayoutFacts, planExit, planPayout } from '../../merchant/payout.ts'
import { address, consumer, locksOf, OPERATOR, pack, source } from '../chain/payplace/support.ts'
import { record } from './support.ts'

const K = 5
const OWED = pack({ 0: 20n, 1: 10n })
const channel = (more: Partial<ChannelFacts> = {}): ChannelFacts => {
  const nothing = { reserved: 0n, withdrawn: 0n, highestVoucher: 0n, shift: undefined }
  return { deposit: 1_000n, ...nothing, pendingShift: 0n, ...more }
}
const lockAt = (k: number, entries = OWED): LockRecord[] =>
  locksOf(2, entries).map((lock) => ({ ...lock, k }))
const base: PayoutFacts = {
  ...{ record: record(), k: K, own: { entries: OWED, proofs: [[Buffer.alloc(32, 1)]] } },
  channel: () => channel(),
  voucher: (c) => (c === consumer(0) ? source(0, 100n) : source(1, 50n)),
}

/** "withdraw+exit" for each transaction. */
const shapeOf = (plan: ReturnType<typeof planPayout>): string[] =>
  plan.transactions.map((steps) => steps.map(({ step }) => step).join('+'))

t.test('what is due and how it is fetched', async (t) => {
  const none = record({ joinedAt: K + 1 })
  const settled = { k: K, shards: [0] }
  const cases: readonly [
    name: string,
    facts: Partial<PayoutFacts>,
    due: bigint,
    withdraw: string[],
    exit: string[],
  ][] = [
    ['from the last block', {}, 30n, ['withdraw'], ['withdraw+exit']],
    ['joined after it: nothing yet', { record: none, own: undefined }, 0n, [], ['exit']],
    ['withdrawn from it already', { record: record({ settled }) }, 0n, [], ['exit']],
    [
      'withdrawn from an older one',
      { record: record({ settled: { k: K - 1, shards: [0] } }) },
      30n,
      ['withdraw'],
      ['withdraw+exit'],
    ],
    [
      'missing: the lock, exactly',
      { record: record({ missingSince: K, locks: lockAt(K - 1, pack({ 0: 3n })) }) },
      3n,
      ['withdraw'],
      ['withdraw+exit'],
    ],
    ['missing and paid: nothing', { record: record({ missingSince: K }) }, 0n, [], ['exit']],
    [
      'locked in this block',
      { record: record({ settled, locks: lockAt(K) }) },
      30n,
      ['withdraw'],
      ['withdraw+exit'],
    ],
    [
      'D42: a stale lock is dropped first',
      { record: record({ locks: lockAt(K - 2, pack({ 0: 3n })) }) },
      30n,
      ['unlock+withdraw'],
      ['unlock+withdraw+exit'],
    ],
    [
      'nothing owed: the empty leaf binds the exit to this block',
      { own: { entries: pack({}), proofs: [[]] } },
      0n,
      [],
      ['withdraw+exit'],
    ],
    [
      'nothing owed, with a stale lock',
      { own: { entries: pack({}), proofs: [[]] }, record: record({ locks: lockAt(K - 2) }) },
      0n,
      [],
      ['unlock+withdraw+exit'],
    ],
    [
      'nothing owed, and locked in this block: that lock is withdrawn, not dropped',
      {
        own: { entries: pack({}), proofs: [[]] },
        record: record({ settled, locks: lockAt(K, pack({})) }),
      },
      0n,
      [],
      ['withdraw+exit'],
    ],
    [
      'an empty lock keeps nobody',
      { record: record({ missingSince: K, locks: lockAt(K - 1, pack({})) }) },
      0n,
      [],
      ['withdraw+exit'],
    ],
    ['who has left', { record: record({ status: 'exited' }) }, 0n, [], []],
  ]
  for (const [name, facts, due, withdraw, exit] of cases) {
    const given = { ...base, ...facts }
    const plan = planPayout(given)
    t.equal(plan.due, due, name)
    t.same(shapeOf(plan), withdraw, `${name}: withdraw`)
    t.same(shapeOf(planExit(given)), exit, `${name}: exit`)
    t.equal(plan.isMissingProof, false, name)
  }
  t.equal(planPayout({ ...base, own: undefined }).isMissingProof, true, 'its part is lost')
})

t.test('what one transaction cannot hold is spread over several, the exit last', async (t) => {
  const many = packEntries(
    Array.from({ length: 500 }, (_, i) => {
      const digits = (i + 1).toString(16).padStart(40, '0')
      return { consumer: address(`0x${digits}`), amount: 2n }
    }),
  )
  const own = { entries: many, proofs: [[], []] }
  const stale = record({ locks: lockAt(K - 2, pack({ 0: 3n })) })
  const given = { ...base, record: stale, own }
  t.same(shapeOf(planPayout(given)), ['unlock', 'withdraw', 'withdraw'])
  t.same(shapeOf(planExit(given)), ['unlock', 'withdraw', 'withdraw+exit'])
  t.equal(planPayout(given).due, 1_000n)
  const full = { ...base, own: { entries: many.subarray(0, 400 * 32), proofs: [[]] } }
  t.same(shapeOf(planExit(full)), ['withdraw+exit'], 'never the exit without a withdrawal')
})

t.test(
  'D29: every voucher above what was seen is handed in, whatever others are paid before',
  async (t) => {
    const vouchersFor = (facts: Partial<PayoutFacts>): unknown[] => {
      const [steps] = planPayout({ ...base, ...facts }).transactions
      const [first] = steps ?? []
      return first?.step === 'withdraw' ? first.vouchers.map(({ amount }) => amount) : []
    }
    const seen = (highestVoucher: bigint) => ({
      channel: () => channel({ highestVoucher, reserved: 5n, withdrawn: 5n }),
    })
    t.same(vouchersFor({}), [100n, 50n])
    t.same(vouchersFor(seen(30n)), [100n, 50n], 'also where 30 − 5 − 5 ≥ 20 covers her by now')
    t.same(vouchersFor(seen(50n)), [100n], 'the same as what was seen')
    t.same(vouchersFor(seen(100n)), [], 'not higher than what was seen')
    t.same(vouchersFor({ channel: () => channel({ deposit: 60n }) }), [50n], 'above the deposit')
    t.same(vouchersFor({ voucher: () => undefined }), [], 'none at hand')
  },
)

t.test('D29: what the contract would not pay in full is named beforehand', async (t) => {
  const uncovered = (facts: Partial<PayoutFacts>) => planPayout({ ...base, ...facts }).uncovered
  t.same(uncovered({}), [])
  t.same(uncovered({ voucher: () => undefined }), [0, 1].map(consumer), 'no vouchers at all')
  const seen = { voucher: () => undefined, channel: () => channel({ highestVoucher: 15n }) }
  t.same(uncovered(seen), [consumer(0)], 'what was seen covers one')
  const above = { channel: () => channel({ deposit: 60n }) }
  t.same(uncovered(above), [consumer(0)], 'a voucher above the deposit is none')
  const reserved = { channel: () => channel({ reserved: 45n }) }
  t.same(uncovered(reserved), [consumer(1)], 'others have reserved 45 of 50')
  const stale = record({ locks: lockAt(K - 2) })
  const own = { record: stale, channel: () => channel({ reserved: 20n }) }
  t.same(uncovered(own), [], 'her own stale lock is dropped first')
  const locked = record({ missingSince: K, locks: lockAt(K - 1) })
  t.same(uncovered({ record: locked, voucher: () => undefined }), [], 'a lock needs no voucher')
})

t.test('the calls: one function, or a multicall in which all or none take place', async (t) => {
  const access = { contract: consumer(4), operatorId: OPERATOR, to: consumer(3) }
  const [alone] = planPayout(base).transactions
  const one = payoutCall(access, alone ?? [])
  const called = datanetInterface.parseTransaction({ data: one.data })
  t.equal(called?.name, 'withdraw')
  t.same([...(called?.args[0] ?? [])].slice(0, 4), [BigInt(OPERATOR), 2n, 0n, 1n])
  t.equal(String(called?.args[3]).toLowerCase(), consumer(3))
  const [both] = planExit(base).transactions
  const two = payoutCall(access, both ?? [])
  const multi = datanetInterface.parseTransaction({ data: two.data })
  t.equal(multi?.name, 'multicall')
  const names = [...(multi?.args[0] ?? [])].map(
    (data: string) => datanetInterface.parseTransaction({ data })?.name,
  )
  t.same(names, ['withdraw', 'exit'])
  t.ok((two.gas ?? 0n) > (one.gas ?? 0n))
  const voucher = called?.args[2][0]
  const { signature } = source(0, 100n)
  t.equal(voucher[2], `0x${signature.toString('hex', 0, 32)}`)
  const parity = BigInt(voucher[3]) >> 255n
  t.equal(parity, signature[64] === 28 ? 1n : 0n, 'ERC-2098')
})
