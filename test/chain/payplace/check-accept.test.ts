// What a merchant must not refuse; whole proposals against changes, and new knowledge against old.

import t from 'tap'
import type { SigningView } from '../../../chain/payplace/check.ts'
import { packEntries } from '../../../chain/payplace/entries.ts'
import type { MerchantEntries } from '../../../chain/payplace/leaf.ts'
import {
  BEFORE,
  before,
  honest,
  list,
  type ProposalChange,
  type ViewChange,
  verdict,
} from './checking.ts'
import {
  address,
  BEGINS,
  consumer,
  facts,
  HASH,
  locksOf,
  NOW,
  pack,
  proposal,
  source,
} from './support.ts'

const SNAPSHOT = { number: 50, hash: HASH }
/** 16,000 consumers, the one whom merchant 3 had among them. */
const MOST = packEntries([
  { consumer: consumer(0), amount: 30n },
  ...Array.from({ length: 15_999 }, (_, i) => {
    return { consumer: address(`0x${(i + 1).toString(16).padStart(40, '0')}`), amount: 1n }
  }),
])

const [one, two] = honest
if (one === undefined || two === undefined) throw new Error('no merchants')

t.test('what must be accepted', async (t) => {
  const accepted: readonly [
    name: string,
    view: ViewChange,
    list: readonly MerchantEntries[],
    more: ProposalChange,
  ][] = [
    ['the last second', { now: BEGINS + 12, headTime: BEGINS + 12 }, honest, {}],
    ['a head half of delta old', { headTime: NOW - 2 }, honest, {}],
    [
      'a snapshot as the freeze begins',
      { snapshot: { ...SNAPSHOT, time: BEGINS - 4 } },
      honest,
      {},
    ],
    ['tau is now', {}, honest, { header: { ...proposal(before, honest).header, tau: NOW } }],
    [
      'a voucher of the whole deposit',
      {},
      honest,
      { sources: [source(0, 1_000n), source(1, 100n), source(2, 100n)] },
    ],
    [
      'income after her own withdrawal',
      {
        merchants: [facts(1), facts(2, { withdrawn: pack(BEFORE[2]) }), facts(3)],
        ...{ ownEntries: pack({}), income: pack({ 0: 5n }), requireIncome: true },
      },
      list({ 2: { 0: 5n } }),
      {},
    ],
    [
      'an exited merchant’s amounts are free again',
      { merchants: [facts(1), facts(2)] },
      list({ 2: { 0: 97n, 1: 10n, 2: 7n }, 3: undefined }),
      {},
    ],
    [
      'as many entries as all leaves hold',
      {},
      [...honest.slice(0, 2), { id: 3, entries: MOST }],
      {},
    ],
    ['D8: consumers shared by all merchants up to mu', {}, list({ 3: { 0: 72n } }), {}],
    ['D11: consumers of others without a source', {}, list({ 3: { 0: 30n, 5: 999n } }), {}],
    [
      'after her own withdrawal she begins anew',
      {
        merchants: [facts(1), facts(2, { withdrawn: pack(BEFORE[2]) }), facts(3)],
        ownEntries: pack({}),
      },
      list({ 2: { 0: 5n } }),
      {},
    ],
    [
      'another withdrew',
      { merchants: [facts(1), facts(2), facts(3, { withdrawn: pack(BEFORE[3]) })] },
      list({ 3: {} }),
      {},
    ],
    ['an exited merchant is gone', { merchants: [facts(1), facts(2)] }, list({ 3: undefined }), {}],
    [
      'a new merchant',
      { merchants: [facts(1), facts(2), facts(3), facts(4)] },
      list({ 4: { 0: 1n } }),
      {},
    ],
    [
      'a lock that the leaf contains',
      { merchants: [facts(1), facts(2), facts(3, { locks: locksOf(3, pack({ 0: 30n })) })] },
      honest,
      {},
    ],
    [
      'a pending shift that leaves enough',
      { channel: () => ({ deposit: 1_000n, withdrawn: 0n, pendingShift: 900n }) },
      honest,
      {},
    ],
    [
      'vouchers of strangers beside hers',
      {},
      honest,
      { sources: [0, 1, 2, 3].map((n) => source(n, 100n)) },
    ],
    ['other income only warns', { income: pack({ 0: 4n }) }, honest, {}],
    [
      'income as her receipts say',
      { income: pack({ 0: 5n, 2: 7n }), requireIncome: true },
      honest,
      {},
    ],
  ]
  for (const [name, view, list, more] of accepted) {
    const result = verdict(view, more, list)
    t.notOk('refused' in result ? result.refused : '', name)
  }
  const warned = verdict({ income: pack({ 0: 4n }) }, {})
  t.same('refused' in warned ? [] : warned.incomeDiffers, [consumer(0), consumer(2)])
})

t.test('changes alone lead to the same index as the whole block', async (t) => {
  const whole = verdict({}, {})
  const changes = verdict({}, { form: 'changes', merchants: [one, two] })
  if ('refused' in whole || 'refused' in changes) throw new Error('refused')
  t.ok(whole.index.tree.nodes.equals(changes.index.tree.nodes))
  t.same([...whole.index.totals.each()], [...changes.index.totals.each()])
  t.same([...whole.index.places], [...changes.index.places])
  const outcome = (more: ProposalChange, view: ViewChange = {}) => {
    const result = verdict(view, more)
    return 'refused' in result ? result.refused : 'signed'
  }
  t.equal(outcome({ merchants: [one, two] }), 'merchant-missing', 'a whole block leaves nobody out')
  const four = [facts(1), facts(2), facts(3), facts(4)]
  const newcomer = outcome({ form: 'changes', merchants: [one, two] }, { merchants: four })
  t.equal(newcomer, 'merchant-missing', 'who was in no block has nothing to keep')
  const locked = [facts(1), facts(2), facts(3, { locks: locksOf(3, pack({ 0: 31n })) })]
  const stale = outcome({ form: 'changes', merchants: [one, two] }, { merchants: locked })
  t.equal(stale, 'below-lock', 'an unchanged leaf is still held against a lock')
})

t.test('of merchants who did not change nothing is read or hashed', async (t) => {
  const read: number[] = []
  const entriesOf = (id: number) => {
    read.push(id)
    return before.entriesOf(id)
  }
  const given = { form: 'changes' as const, merchants: [one, two] }
  t.notOk('refused' in verdict({ previous: { ...before, entriesOf } }, given))
  t.same([...new Set(read)], [1, 2])
})

t.test('vouchers that were verified before are not verified again', async (t) => {
  const forged = [
    source(0, 100n),
    { ...source(1, 100n), signature: Buffer.alloc(65) },
    source(2, 100n),
  ]
  const asked: string[] = []
  const isVerified: SigningView['isVerified'] = (s) => {
    asked.push(s.consumer)
    return true
  }
  t.notOk('refused' in verdict({ isVerified }, { sources: forged }))
  t.same(asked, [0, 1, 2].map(consumer))
})
