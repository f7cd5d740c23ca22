// Every check of "Sign (Alg. 4 fixed)", each with the one change to an honest proposal that it must
// catch.

import t from 'tap'
import { blockDigest } from '../../../chain/payplace/block.ts'
import type { RefusalReason } from '../../../chain/payplace/check.ts'
import { leafHashes, type MerchantEntries } from '../../../chain/payplace/leaf.ts'
import { type BlockProposal, ProposalError } from '../../../chain/payplace/proposal.ts'
import { isProven, rootOf } from '../../../chain/payplace/tree.ts'
import {
  AFTER,
  before,
  honest,
  list,
  type ProposalChange,
  type ViewChange,
  verdict,
} from './checking.ts'
import {
  BEGINS,
  consumer,
  DOMAIN,
  facts,
  known,
  locksOf,
  NOW,
  OPERATOR,
  pack,
  proposal,
  source,
} from './support.ts'

/** A header as the honest one but for these fields. */
function header(more: Partial<BlockProposal['header']>): ProposalChange {
  return { header: { ...proposal(before, honest).header, ...more } }
}

t.test('an honest proposal is signed, with all that a withdrawal needs', async (t) => {
  const kept: number[] = []
  const result = verdict({}, {}, honest, kept)
  if ('refused' in result) throw new Error(result.refused)
  const { header: signed } = proposal(before, honest)
  t.ok(result.digest.equals(blockDigest(DOMAIN, signed)))
  t.ok(rootOf(result.index.tree).equals(signed.root))
  const own = pack(AFTER[2])
  t.ok(result.own.entries.equals(own))
  const [proof] = result.own.proofs
  t.ok(isProven(signed.root, leafHashes(OPERATOR, { id: 2, entries: own }), proof ?? []))
  t.same(
    result.own.sources.map((s) => s.consumer),
    [0, 1, 2].map(consumer),
  )
  t.same(kept, [1, 2], 'merchant 3 is as before')
  t.same(result.incomeDiffers, [])
})

const raw = (id: number, entries: Buffer): MerchantEntries => ({ id, entries })
const [one, two, three] = honest
if (one === undefined || two === undefined || three === undefined) throw new Error('no merchants')
const twice = Buffer.concat([pack({ 0: 25n }), pack({ 0: 1n })])

interface Case {
  readonly reason: RefusalReason
  readonly name: string
  readonly view?: ViewChange
  readonly proposed?: ProposalChange
  readonly list?: readonly MerchantEntries[]
  readonly merchant?: number
  readonly consumer?: number
}

const cases: readonly Case[] = [
  // 1
  { reason: 'not-commit-phase', name: 'at g itself', view: { now: BEGINS } },
  { reason: 'not-commit-phase', name: 'at g + gamma', view: { now: BEGINS + 15 } },
  { reason: 'window-closing', name: 'margin reaches the end', view: { now: BEGINS + 13 } },
  { reason: 'head-not-current', name: 'head 3 s old, delta 4', view: { headTime: NOW - 3 } },
  { reason: 'head-not-current', name: 'head from the future', view: { headTime: NOW + 3 } },
  {
    ...{ reason: 'snapshot-unknown', name: 'another number' },
    proposed: { snapshot: { number: 51, hash: Buffer.alloc(32, 0xaa) } },
  },
  {
    ...{ reason: 'snapshot-unknown', name: 'another branch' },
    proposed: { snapshot: { number: 50, hash: Buffer.alloc(32, 0xab) } },
  },
  {
    ...{ reason: 'snapshot-too-old', name: 'before the freeze' },
    view: { snapshot: { number: 50, hash: Buffer.alloc(32, 0xaa), time: BEGINS - 5 } },
  },
  { reason: 'period-already-signed', name: 'D13: this one', view: { signedPeriod: 3 } },
  { reason: 'period-already-signed', name: 'D13: a later one', view: { signedPeriod: 4 } },
  // 2
  { reason: 'wrong-operator', name: 'D6', proposed: header({ operator: 8 }) },
  { reason: 'wrong-number', name: 'k again', proposed: header({ k: 3 }) },
  { reason: 'wrong-number', name: 'k skipped', proposed: header({ k: 5 }) },
  { reason: 'wrong-previous-root', name: 'own', proposed: header({ prevRoot: Buffer.alloc(32) }) },
  { reason: 'wrong-period', name: 'next', proposed: header({ period: 4 }) },
  { reason: 'tau-outside-window', name: 'at g', proposed: header({ tau: BEGINS }) },
  { reason: 'tau-outside-window', name: 'in the future', proposed: header({ tau: NOW + 1 }) },
  // 3
  { reason: 'merchant-missing', name: 'descending', list: [two, one, three], merchant: 1 },
  { reason: 'merchant-order', name: 'twice', list: [one, two, two, three], merchant: 2 },
  {
    reason: 'merchant-unknown',
    name: 'in between',
    list: [raw(0, pack({})), one, two, three],
    merchant: 0,
  },
  {
    reason: 'merchant-unknown',
    name: 'at the end',
    list: [...honest, raw(9, pack({}))],
    merchant: 9,
  },
  { reason: 'merchant-missing', name: 'another', list: list({ 3: undefined }), merchant: 3 },
  { reason: 'merchant-missing', name: 'her own', list: list({ 2: undefined }), merchant: 2 },
  {
    reason: 'entries-not-canonical',
    name: 'D10: a consumer twice',
    list: [one, raw(2, twice), three],
    merchant: 2,
  },
  {
    reason: 'entries-not-canonical',
    name: 'half a word',
    list: [one, raw(2, Buffer.alloc(48)), three],
    merchant: 2,
  },
  {
    reason: 'entries-not-canonical',
    name: 'amount 0',
    list: [one, raw(2, Buffer.alloc(32, 0)), three],
    merchant: 2,
  },
  {
    ...{ reason: 'too-many-entries', name: 'more than all shards hold', merchant: 2 },
    list: [one, raw(2, Buffer.alloc(32 * 16_001)), three],
    proposed: header({}),
  },
  // 4
  { reason: 'root-mismatch', name: 'one bit', proposed: header({ root: Buffer.alloc(32, 1) }) },
  // 5
  { reason: 'previous-unknown', name: 'no block k', view: { previous: undefined } },
  { reason: 'previous-unknown', name: 'another block k', view: { previous: known(honest) } },
  {
    reason: 'amount-decreased',
    name: 'D12',
    list: list({ 3: { 0: 29n } }),
    merchant: 3,
    consumer: 0,
  },
  {
    reason: 'amount-decreased',
    name: 'D7: a consumer gone',
    list: list({ 2: { 0: 25n } }),
    merchant: 2,
    consumer: 1,
  },
  {
    reason: 'amount-decreased',
    name: 'D14: all gone, not missing',
    list: list({ 3: {} }),
    merchant: 3,
    consumer: 0,
  },
  {
    ...{ reason: 'below-lock', name: 'a stale lock above the leaf', merchant: 3, consumer: 0 },
    view: { merchants: [facts(1), facts(2), facts(3, { locks: locksOf(3, pack({ 0: 31n })) })] },
  },
  {
    ...{ reason: 'lock-content', name: 'not what the chain holds', merchant: 3 },
    view: {
      merchants: [
        ...[facts(1), facts(2)],
        facts(3, {
          locks: locksOf(3, pack({ 0: 30n })).map((l) => ({ ...l, lockHash: Buffer.alloc(32) })),
        }),
      ],
    },
  },
  {
    ...{
      reason: 'own-amount-decreased',
      name: 'than what she last signed',
      merchant: 2,
      consumer: 1,
    },
    view: { ownEntries: pack({ 0: 20n, 1: 11n }) },
  },
  // 6
  { reason: 'source-missing', name: 'none', proposed: { sources: [] }, consumer: 0 },
  {
    reason: 'source-missing',
    name: 'one of three',
    proposed: { sources: [source(0, 100n), source(2, 100n)] },
    consumer: 1,
  },
  {
    reason: 'source-order',
    name: 'descending',
    proposed: { sources: [source(1, 100n), source(0, 100n), source(2, 100n)] },
  },
  {
    reason: 'source-order',
    name: 'twice',
    proposed: { sources: [source(0, 90n), source(0, 100n), source(1, 100n), source(2, 100n)] },
  },
  {
    ...{ reason: 'source-signature', name: 'for another operator', consumer: 0 },
    proposed: { sources: [source(0, 100n, 8), source(1, 100n), source(2, 100n)] },
  },
  {
    ...{ reason: 'source-signature', name: 'another amount', consumer: 1 },
    proposed: { sources: [source(0, 100n), { ...source(1, 99n), amount: 100n }, source(2, 100n)] },
  },
  {
    ...{ reason: 'source-exceeds-deposit', name: 'by one', consumer: 0 },
    proposed: { sources: [source(0, 1_001n), source(1, 100n), source(2, 100n)] },
  },
  { reason: 'overspent', name: 'the first of hers', list: list({ 3: { 0: 73n } }), consumer: 0 },
  {
    reason: 'overspent',
    name: 'D9: not only the last is looked at',
    list: list({ 3: { 0: 30n, 1: 91n } }),
    consumer: 1,
  },
  {
    ...{ reason: 'overspent', name: 'what was withdrawn counts', consumer: 0 },
    view: { channel: () => ({ deposit: 1_000n, withdrawn: 43n, pendingShift: 0n }) },
  },
  {
    ...{ reason: 'shift-pending', name: 'D30', consumer: 0 },
    view: { channel: () => ({ deposit: 1_000n, withdrawn: 0n, pendingShift: 901n }) },
  },
  // 7
  {
    ...{ reason: 'income-differs', name: 'more than her receipts', consumer: 0 },
    view: { income: pack({ 0: 4n, 2: 7n }), requireIncome: true },
  },
  {
    ...{ reason: 'income-differs', name: 'a payer left out', consumer: 1 },
    view: { income: pack({ 0: 5n, 1: 1n, 2: 7n }), requireIncome: true },
  },
]

t.test('Alg. 4: each single fault is refused with its own reason', async (t) => {
  for (const { reason, name, view = {}, proposed = {}, list, merchant, consumer: n } of cases) {
    const result = verdict(view, proposed, list)
    const told = 'refused' in result ? result : { refused: 'signed' }
    const { challenges, ...rest } = told as { refused: string; challenges?: unknown[] }
    const where = {
      ...(merchant === undefined ? {} : { merchant }),
      ...(n === undefined ? {} : { consumer: consumer(n) }),
    }
    t.same(rest, { refused: reason, ...where }, `${reason}: ${name}`)
  }
})

t.test('D10: her own leaf must be canonical also where it is that of block k', async (t) => {
  const doubled = Buffer.concat([pack({ 0: 10n }), pack({ 0: 10n })])
  for (const own of [doubled, Buffer.alloc(32)]) {
    const bad = known([one, raw(2, own), three])
    const changed = raw(1, pack({ 0: 4n }))
    const view = { previous: bad, root: bad.root, ownEntries: pack({ 0: 10n }) }
    const next = [changed, raw(2, own), three]
    const { header: proposed } = proposal(bad, next)
    for (const form of ['whole', 'changes'] as const) {
      const more = { header: proposed, form, sources: [source(0, 100n)] }
      const result = verdict(view, more, form === 'whole' ? next : [changed])
      t.same(result, { refused: 'entries-not-canonical', merchant: 2 }, `${form}, ${own.length}`)
    }
  }
})

t.test('a shift under way: every voucher to challenge it with is named', async (t) => {
  const channel = (c: string) => {
    const pendingShift = c === consumer(1) ? 0n : 901n
    return { deposit: 1_000n, withdrawn: 0n, pendingShift }
  }
  const result = verdict({ channel }, {})
  if (!('refused' in result)) throw new Error('signed')
  t.same(
    result.challenges?.map((s) => s.consumer),
    [consumer(0), consumer(2)],
  )
})

t.test('proposals that break while they are read', async (t) => {
  function* breaking() {
    yield one as MerchantEntries
    throw new ProposalError('truncated')
  }
  t.same(verdict({}, { merchants: breaking() }), { refused: 'malformed' })
  function* failing(): Generator<MerchantEntries> {
    yield one as MerchantEntries
    throw new Error('disk')
  }
  t.throws(() => verdict({}, { merchants: failing() }), /disk/, 'other faults are not the proposal')
})
