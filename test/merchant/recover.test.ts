// A block the store lacks: believed only with the contract's root, with her own part, its proof,
// and the vouchers that are signed.

import t from 'tap'
import { encodeProposal } from '../../chain/payplace/codec.ts'
import { leafHash, leavesOf, type MerchantEntries } from '../../chain/payplace/leaf.ts'
import type { BlockProposal } from '../../chain/payplace/proposal.ts'
import { isProven } from '../../chain/payplace/tree.ts'
import { recoverBlock } from '../../merchant/recover.ts'
import { openStore } from '../../merchant/store.ts'
import { before, honest, list } from '../chain/payplace/checking.ts'
import {
  consumer,
  DOMAIN,
  known,
  OPERATOR,
  pack,
  proposal,
  source,
} from '../chain/payplace/support.ts'
import { IDENTITY, newStore, storePath } from './support.ts'

const SEED = 3
const { root } = known(honest)
const channel = () => ({ deposit: 1_000n })
const WANTED = { domain: DOMAIN, operatorId: OPERATOR, id: 2, k: 4, root, seed: SEED, channel }

const giving = (all: readonly MerchantEntries[], more: Partial<BlockProposal> = {}) => {
  const whole = { ...proposal(before, all), ...more }
  return { block: async () => Buffer.concat([...encodeProposal(whole, all.length)]) }
}

t.test(
  'the block with this root becomes the known one, with all that a withdrawal needs',
  async (t) => {
    const path = storePath(t)
    const store = openStore(path, IDENTITY)
    const forged = { ...source(2, 100n), signature: Buffer.alloc(65, 1) }
    const sources = [source(0, 1_000n), source(1, 1_001n), forged, source(3, 100n)]
    const block = await recoverBlock(store, giving(honest, { sources }), WANTED)
    t.ok(block?.root.equals(root))
    const own = store.own(root)
    const [leaf] = leavesOf({ id: 2, entries: own?.entries ?? Buffer.alloc(0) })
    if (leaf === undefined || own === undefined) throw new Error('no leaf')
    t.ok(isProven(root, leafHash(OPERATOR, leaf), own.proofs[0] ?? []), 'its proof holds')
    t.equal(store.voucher(consumer(0))?.amount, 1_000n)
    t.equal(store.voucher(consumer(1)), undefined, 'not what the contract refuses')
    t.equal(store.voucher(consumer(2)), undefined, 'not what nobody signed')
    t.equal(store.voucher(consumer(3)), undefined, 'nor what is not about her')
    store.close()
    const again = openStore(path, IDENTITY)
    t.teardown(() => again.close())
    t.ok(again.known(OPERATOR, root, SEED)?.root.equals(root), 'also after a restart')
  },
)

t.test('anything else leaves the store as it was', async (t) => {
  const whole = Buffer.concat([...encodeProposal(proposal(before, honest), honest.length)])
  const cases: readonly [name: string, bytes: Buffer | undefined][] = [
    ['another block', await giving(list({ 2: { 0: 1n } })).block()],
    ['its changes only', await giving(honest, { form: 'changes' }).block()],
    ['nothing', undefined],
    ['half of it', whole.subarray(0, whole.length - 7)],
    ['more than it', Buffer.concat([whole, Buffer.from('x')])],
    ['no block', Buffer.from('not a block at all')],
    ['merchants twice', await giving([...honest.slice(0, 2), ...honest.slice(1)]).block()],
  ]
  for (const [name, bytes] of cases) {
    const store = newStore(t)
    const old = { operator: OPERATOR, k: 3, root: before.root, seed: SEED }
    store.adopt({ ...old, merchants: [1, 2, 3].map((id) => entriesOf(id)) })
    const found = await recoverBlock(store, { block: async () => bytes }, WANTED)
    t.equal(found, undefined, name)
    t.equal(store.own(root), undefined, name)
    t.ok(store.known(OPERATOR, before.root, SEED) !== undefined, `${name}: the old one stays`)
  }
})

t.test('D10: a block with a leaf that no contract pays is not taken', async (t) => {
  const twice = Buffer.concat([pack({ 0: 10n }), pack({ 0: 10n })])
  for (const id of [2, 3]) {
    const bad = honest.map((merchant) => (merchant.id === id ? { id, entries: twice } : merchant))
    const store = newStore(t)
    const wanted = { ...WANTED, root: known(bad).root }
    t.equal(await recoverBlock(store, giving(bad), wanted), undefined, `merchant ${id}`)
    t.equal(store.own(wanted.root), undefined)
    t.equal(store.known(OPERATOR, wanted.root, SEED), undefined)
  }
})

const entriesOf = (id: number): MerchantEntries => {
  return { id, entries: before.entriesOf(id) ?? Buffer.alloc(0) }
}
