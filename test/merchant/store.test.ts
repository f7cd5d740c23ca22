// The store: what is in it after a signature and nothing after a refusal, one signature a period,
// the block before kept exactly, and a file of somebody else refused.

import t from 'tap'
import { answerOf, storeProposal } from '../../merchant/sign.ts'
import { openStore } from '../../merchant/store.ts'
import { before, honest, list } from '../chain/payplace/checking.ts'
import {
  BEGINS,
  consumer,
  known,
  merchants,
  OPERATOR,
  pack,
  proposal,
  signingView,
  source,
} from '../chain/payplace/support.ts'
import { IDENTITY, newStore, storePath } from './support.ts'

const SEED = 3
const BEFORE = merchants({ 1: { 0: 2n }, 2: { 0: 20n, 1: 10n }, 3: { 0: 30n } })

/** A store that holds block 3. */
function holding(t: Parameters<typeof newStore>[0]) {
  const store = newStore(t)
  const adopted = store.adopt({
    ...{ operator: OPERATOR, k: 3, root: before.root, merchants: BEFORE, seed: SEED },
  })
  if (!adopted) throw new Error('not adopted')
  return store
}

t.test('a block that may be signed is stored whole; a refused one leaves no trace', async (t) => {
  const store = holding(t)
  const refused = storeProposal(
    store,
    signingView(before),
    proposal(before, list({ 3: { 0: 29n } })),
  )
  t.match(refused, { refused: 'amount-decreased' })
  t.equal(store.signed(), undefined)
  const offer = proposal(before, honest)
  const strangers = [...offer.sources, source(3, 77n)]
  const stored = storeProposal(store, signingView(before), { ...offer, sources: strangers })
  if ('refused' in stored) throw new Error(stored.refused)
  const { root } = offer.header
  t.match(store.signed(), { period: 3, k: 4, isSent: false })
  t.ok(store.signed()?.root.equals(root))
  t.ok(store.own(root)?.entries.equals(pack({ 0: 25n, 1: 10n, 2: 7n })))
  t.equal(store.own(root)?.proofs.length, 1)
  t.equal(store.voucher(consumer(0))?.amount, 100n)
  t.equal(store.voucher(consumer(3)), undefined, 'D11: a stranger is not looked at, nor kept')
  t.ok(store.known(OPERATOR, before.root, SEED) !== undefined, 'block 3 stays until 4 is notarized')
  t.equal(store.known(OPERATOR, root, SEED), undefined)
  store.settle(4, root)
  const next = store.known(OPERATOR, root, SEED)
  t.ok(next?.root.equals(root))
  t.ok(next?.entriesOf(2)?.equals(pack({ 0: 25n, 1: 10n, 2: 7n })))
  t.ok(next?.entriesOf(3)?.equals(pack({ 0: 30n })), 'also what did not change')
  store.markSent(3, false)
  t.match(store.signed(), { isSent: true, isTaken: false })
  store.markSent(3, true)
  t.match(store.signed(), { isSent: true, isTaken: true })
})

t.test('D13: no second signature in a period, whatever is asked', async (t) => {
  const store = holding(t)
  const other = proposal(before, list({ 2: { 0: 26n, 1: 10n, 2: 7n } }))
  storeProposal(store, signingView(before), proposal(before, honest))
  const view = signingView(before, { signedPeriod: store.signed()?.period ?? -1 })
  t.match(storeProposal(store, view, other), { refused: 'period-already-signed' })
  // Not even where the caller forgets what was signed.
  t.throws(() => storeProposal(store, signingView(before), other), /UNIQUE/)
  const signed = store.signed()
  if (signed === undefined) throw new Error('not signed')
  t.ok(signed.root.equals(proposal(before, honest).header.root), 'the first one stays')
  const signatory = { operatorId: OPERATOR, id: 2, secret: Buffer.alloc(32, 1) }
  const [one, two] = [answerOf(signatory, signed), answerOf(signatory, signed)]
  t.ok(one.signature.equals(two.signature), 'made again it is the same')
})

t.test('a block that never was notarized gives way to the next offer', async (t) => {
  const store = holding(t)
  storeProposal(store, signingView(before), proposal(before, honest))
  store.settle(3, before.root)
  const time = { now: BEGINS + 65, headTime: BEGINS + 65, signedPeriod: 3 }
  const snapshot = { number: 60, hash: Buffer.alloc(32, 0xaa), time: BEGINS + 60 }
  const offer = proposal(before, list({ 2: { 0: 27n, 1: 10n } }))
  const header = { ...offer.header, period: 4, tau: BEGINS + 61 }
  const later = { ...offer, header, snapshot }
  const stored = storeProposal(store, signingView(before, { ...time, snapshot }), later)
  if ('refused' in stored) throw new Error(stored.refused)
  store.settle(4, header.root)
  const next = store.known(OPERATOR, header.root, SEED)
  t.ok(next?.entriesOf(2)?.equals(pack({ 0: 27n, 1: 10n })))
})

t.test('merchants who left are gone from the next block', async (t) => {
  const store = holding(t)
  const view = signingView(before)
  const stay = view.merchants.filter(({ id }) => id !== 3)
  const offer = proposal(before, list({ 3: undefined }))
  const stored = storeProposal(store, { ...view, merchants: stay }, offer)
  if ('refused' in stored) throw new Error(stored.refused)
  store.settle(4, offer.header.root)
  t.equal(store.known(OPERATOR, offer.header.root, SEED)?.entriesOf(3), undefined)
})

t.test('another block than the contract has is not adopted, and the old one stays', async (t) => {
  const store = holding(t)
  const lie = merchants({ 1: { 0: 2n }, 2: { 0: 1n } })
  const root = known(honest).root
  const adopted = store.adopt({ operator: OPERATOR, k: 4, root, merchants: lie, seed: SEED })
  t.equal(adopted, false)
  t.ok(
    store
      .known(OPERATOR, before.root, SEED)
      ?.entriesOf(3)
      ?.equals(pack({ 0: 30n })),
  )
})

t.test('her part of a block that may be the last one is not pushed out', async (t) => {
  const store = holding(t)
  const part = { entries: pack({ 0: 20n }), proofs: [] }
  const rootOf = (n: number): Buffer => Buffer.alloc(32, n)
  const sign = (period: number, k: number): void => {
    const about = { period, k, root: rootOf(period), digest: rootOf(period), own: part }
    const nothing = { sources: [], channel: () => ({ deposit: 0n }), dropped: [], index: before }
    store.sign(() => ({ verdict: undefined, record: { ...about, ...nothing } }))
  }
  store.keepOwn(3, before.root, part)
  for (let period = 4; period < 24; period++) sign(period, 4)
  t.ok(store.own(before.root), 'block 3 is the last one as long as no block 4 is notarized')
  t.notOk(store.own(rootOf(15)), 'periods 4 to 15 are over')
  for (let n = 100; n < 120; n++) store.keepOwn(1_000_000 + n, rootOf(n), part)
  for (let period = 16; period < 24; period++) {
    t.ok(store.own(rootOf(period)), `${period} was signed; a lying node's blocks were not`)
  }
  t.notOk(store.own(rootOf(111)), 'of those a few stay')
  t.ok(store.own(rootOf(112)))
})

t.test("a voucher that the deposit does not cover is in nobody's way", async (t) => {
  const store = newStore(t)
  const rich = () => ({ deposit: 1_000n })
  store.keepVouchers([source(0, 1_001n), source(1, 900n), source(2, 900n)], rich)
  t.equal(store.voucher(consumer(0)), undefined)
  const poor = () => ({ deposit: 500n })
  store.keepVouchers([source(1, 100n), source(2, 501n)], poor)
  t.equal(store.voucher(consumer(1))?.amount, 100n, 'the lower one pays')
  t.equal(store.voucher(consumer(2))?.amount, 900n, 'this one pays no more than that')
  store.adopt({ operator: OPERATOR, k: 3, root: before.root, merchants: BEFORE, seed: SEED })
  store.keepVouchers([source(0, 2_000n)], () => ({ deposit: 2_000n }))
  storeProposal(store, signingView(before), proposal(before, honest))
  t.equal(store.voucher(consumer(0))?.amount, 100n, 'what a block was checked with is kept')
})

/** The file opened by two programs, as `merchant status` beside `merchant run`. */
function twoOf(t: Parameters<typeof newStore>[0]) {
  const path = storePath(t)
  const [agent, verb] = [openStore(path, IDENTITY), openStore(path, IDENTITY)]
  t.teardown(() => {
    agent.close()
    verb.close()
  })
  return { path, agent, verb }
}

t.test('a block adopted beside the agent does not mix with the one it signed', async (t) => {
  const { agent, verb } = twoOf(t)
  const known3 = { operator: OPERATOR, k: 3, root: before.root, merchants: BEFORE, seed: SEED }
  agent.adopt(known3)
  const offer = proposal(before, honest)
  storeProposal(agent, signingView(before), offer)
  verb.adopt(known3)
  const { root } = offer.header
  agent.settle(4, root)
  t.equal(agent.known(OPERATOR, root, SEED), undefined, 'its entries are lost: it is fetched')
  t.ok(
    agent
      .known(OPERATOR, before.root, SEED)
      ?.entriesOf(2)
      ?.equals(pack({ 0: 20n, 1: 10n })),
  )
  t.ok(agent.own(root)?.entries.equals(pack({ 0: 25n, 1: 10n, 2: 7n })), 'her part stays')
})

t.test('a reading of the chain that another program overtook writes nothing', async (t) => {
  const { path, agent, verb } = twoOf(t)
  const entry = (name: string, text: string) => [name, Buffer.from(text)] as const
  agent.view.write([entry('tail', 'block 1'), entry('channel', 'withdrawn 0')], false)
  t.equal([...verb.view.load()].length, 2)
  agent.view.write([entry('tail', 'block 3'), entry('channel', 'withdrawn 60')], false)
  verb.view.write([entry('tail', 'block 2')], false)
  verb.view.write([entry('tail', 'block 2')], true)
  agent.view.write([entry('operator', 'retired')], false)
  const again = openStore(path, IDENTITY)
  t.teardown(() => again.close())
  const held = [...again.view.load()].map(([name, value]) => `${name}: ${value}`)
  t.same(held.sort(), ['channel: withdrawn 60', 'operator: retired', 'tail: block 3'])
  again.view.write([entry('tail', 'block 4')], false)
  t.ok([...verb.view.load()].some(([, value]) => `${value}` === 'block 4'))
  verb.view.write([entry('tail', 'block 5')], false)
  t.ok(
    [...again.view.load()].some(([, value]) => `${value}` === 'block 5'),
    'who loads may write',
  )
})

t.test('everything is there after a restart; another merchant cannot take the file', async (t) => {
  const path = storePath(t)
  const first = openStore(path, IDENTITY)
  const channel = () => ({ deposit: 9n })
  first.keepVouchers([source(0, 5n), source(0, 9n), source(0, 7n)], channel)
  first.view.write(
    [
      ['block', Buffer.from('x')],
      ['gone', Buffer.from('y')],
    ],
    false,
  )
  first.view.write([['gone', undefined]], false)
  first.close()
  const again = openStore(path, { ...IDENTITY, now: 9_999 })
  t.equal(again.createdAt, IDENTITY.now, 'the age of the file, not of the process')
  t.equal(again.voucher(consumer(0))?.amount, 9n, 'the highest')
  t.ok(again.voucher(consumer(0))?.signature.equals(source(0, 9n).signature))
  t.same(
    [...again.view.load()].map(([name]) => name),
    ['block'],
  )
  again.view.write([], true)
  t.same([...again.view.load()], [])
  again.close()
  t.throws(() => openStore(path, { identity: 'another', now: 1 }), { code: 'damaged' })
})
