// The eight properties that the thesis claims for PayPlace (its Table 6.1), each against the real
// contract on a real chain, with blocks built by the operator's code and, where it is about what a
// merchant holds, her program's store. Time is the chain's own.

import t from 'tap'
import { datanetInterface } from '../../chain/bindings.ts'
import { addCredits, buildBlock, type Credits } from '../../chain/payplace/build.ts'
import { type Entry, eachEntry, packEntries, totalOf } from '../../chain/payplace/entries.ts'
import type { MerchantFacts } from '../../chain/payplace/known.ts'
import { periodAt } from '../../chain/payplace/timing.ts'
import { proofOf } from '../../chain/payplace/tree.ts'
import type { Address } from '../../ethereum/address.ts'
import {
  agentOver,
  answered,
  considered,
  copyStore,
  notarizeOffer,
  offerOf,
  payOutFrom,
  temporaryFolder,
} from './payplace-agent.ts'
import { contractLeaf, contractVoucher, hex, type Party } from './payplace-market.ts'
import {
  COMMIT,
  gasOf,
  OPEN,
  openScene,
  openSecondOperator,
  type Scene,
  TIMING,
} from './payplace-scene.ts'

t.setTimeout(175_000)

/** What merchants have, as the builder is told: nobody is locked or was paid. */
const factsOf = (ids: readonly number[]): MerchantFacts[] =>
  ids.map((id) => ({ id, locks: [], withdrawn: Buffer.alloc(0) }))

/** The operator's next block out of these credits: entries by merchant. */
function build(
  { market, consumers }: Scene,
  ids: readonly number[],
  credits: Credits,
  best: bigint,
): { owed: Map<number, Entry[]>; root: Buffer } {
  const owed = new Map(
    ids.map((id) => [id, [...eachEntry(market.block?.entriesOf(id) ?? Buffer.alloc(0))]]),
  )
  const known = new Set(consumers.map(({ account }) => account))
  const k = market.block?.header.k ?? 0
  const result = buildBlock(
    {
      ...{ operator: 1, k, period: k + 1, tau: 1, merchants: factsOf(ids), credits, seed: 1 },
      previous: market.block,
      channel(account: Address) {
        if (!known.has(account)) throw new Error('nobody knows this consumer')
        return { deposit: best, withdrawn: 0n, pendingShift: 0n, best }
      },
    },
    ({ id, entries }) => owed.set(id, [...eachEntry(entries)]),
  )
  if ('fault' in result) throw new Error(result.fault)
  if (result.heldBack.credits.size > 0) throw new Error('credits were held back')
  return { owed, root: result.built.header.root }
}

t.test('Liveness: after gamma + 2 delta at most, one transaction of her own', async (t) => {
  const timing = { beta: 120, gamma: 30, delta: 5, challenge: 200, eta: 2 }
  const scene = await openScene(t, { merchants: 1, consumers: 1, timing })
  const { market, owes, merchant, leaf } = scene
  await market.at(1, COMMIT)
  const signers = [market.operator, merchant(2)]
  const owed = new Map([
    [1, []],
    [2, [owes(0, 40n)]],
  ])
  await market.notarize({ owed, signers })
  const voucher = market.voucher(scene.consumer(0), 40n)
  const { account } = merchant(2)
  const args = [contractLeaf(leaf(2)), proofIn(scene, 2), [contractVoucher(voucher)], account]
  const data = datanetInterface.encodeFunctionData('withdraw', args)
  const call = { from: account, to: market.contract, data }
  /** Whether the contract would pay in this second. */
  const pays = async (second: number): Promise<boolean> => {
    const time = `0x${(market.timing.g0 + timing.beta + second).toString(16)}`
    const asked = market.rpc.request('eth_call', [call, 'latest', {}, { time }])
    return asked.then(
      () => true,
      () => false,
    )
  }
  // From the end of one open window on, every second of a period.
  const from = timing.beta - timing.delta
  const refused: number[] = []
  for (let second = from; second < from + timing.beta; second++) {
    if (!(await pays(second))) refused.push(second)
  }
  const [first = -1, last = -1] = [refused[0], refused.at(-1)]
  t.equal(first, from, 'the longest wait begins with the freeze before g')
  t.equal(last - first, timing.gamma + 2 * timing.delta, 'and lasts gamma + 2 delta')
  t.equal(refused.length, last - first + 1, 'without a break, and there is no other')

  // The operator is silent for twenty periods; she needs nobody.
  await market.at(21, timing.gamma + timing.delta + 1)
  const nonce = (): Promise<unknown> =>
    market.rpc.request('eth_getTransactionCount', [account, 'latest'])
  const before = Number(await nonce())
  t.equal(await scene.withdraw(2, [voucher]), 40n)
  t.equal(Number(await nonce()) - before, 1, 'one transaction')
})

function proofIn({ market }: Scene, id: number): string[] {
  const place = market.block?.places.get(id)
  if (market.block === undefined || place === undefined) throw new Error('no block')
  return proofOf(market.block.tree, place.first).map(hex)
}

t.test('Consumer Safety: she loses no more than her voucher says', async (t) => {
  const scene = await openScene(t, { merchants: 2, consumers: 1 })
  const { market, owes, merchant } = scene
  const ann = scene.consumer(0)
  await openSecondOperator(market)
  // Operator and merchants collude: each claims the whole deposit, and signs for it.
  const claimed = [owes(0, 100n)]
  const owed = new Map([
    [1, claimed],
    [2, claimed],
    [3, claimed],
  ])
  await market.at(1, COMMIT)
  await market.notarize({ owed, signers: [market.operator, merchant(2), merchant(3)] })
  const signed = market.voucher(ann, 30n)
  const forged = { ...market.voucher(merchant(2), 100n), consumer: ann.account }
  await t.rejects(market.lock(2, [forged]), /SignerMismatch/, 'a voucher that she never signed')
  await t.rejects(market.lock(2, [signed]), /NotCovered/, 'a reserve above her voucher')
  await market.at(1, OPEN)
  const paid: bigint[] = []
  for (const id of [1, 2, 3]) paid.push(await scene.withdraw(id, [signed]))
  t.same(paid, [30n, 0n, 0n], 'all of them together get what she signed')

  await market.requestShift(ann, 2, 70n)
  await market.at(2, COMMIT)
  const none = new Map([1, 2, 3].map((id) => [id, []]))
  await market.notarize({ owed: none, signers: [market.operator, merchant(2), merchant(3)] })
  await market.at(4, OPEN)
  await market.send(ann, 'finalizeShift', 1, ann.account)
  t.equal((await scene.channel(ann)).deposit, 30n)
  t.equal((await scene.channel(ann, 2)).deposit, 70n, 'the rest is hers, with another operator')
})

t.test('Merchant Safety: what she signed once is paid in full, whatever follows', async (t) => {
  const scene = await openScene(t, { merchants: 3, consumers: 2 })
  const { market, owes, merchant } = scene
  const { operator } = market
  await openSecondOperator(market)
  const [ann, bob] = [scene.consumer(0), scene.consumer(1)]
  const sources = [market.voucher(ann, 60n), market.voucher(bob, 100n)]
  const honest = new Map([
    [1, []],
    [2, [owes(0, 40n), owes(1, 5n)]],
    [3, [owes(0, 20n)]],
    [4, []],
  ])
  await market.at(1, COMMIT)
  await market.notarize({ owed: honest, signers: [operator, ...scene.merchants] })
  // From here on everybody but merchant 2 is against her, the consumers among them.
  await market.requestShift(ann, 2, 100n)
  const robbed = new Map([
    [1, [owes(0, 100n)]],
    [2, []],
    [3, [owes(0, 100n), owes(1, 100n)]],
    [4, [owes(1, 100n)]],
  ])
  await market.at(2, COMMIT)
  const others = [operator, merchant(3), merchant(4)]
  const newlyMissing = new Map([[2, merchant(2)]])
  const without = { owed: robbed, signers: others, newlyMissing }
  await t.rejects(market.notarize({ owed: robbed, signers: others }), /BlockSignatureInvalid/)
  await t.rejects(market.notarize(without), /NotLocked/, 'nor is she missing without a lock')
  const hers = scene.leaf(2)
  await market.lock(2, sources)
  await market.notarize(without)
  await market.at(2, OPEN)
  for (const id of [1, 3, 4]) await scene.withdraw(id, sources)
  await market.at(3, COMMIT)
  await market.notarize({ owed: robbed, signers: others })
  await market.at(4, OPEN)
  await market.send(ann, 'finalizeShift', 1, ann.account)
  t.equal((await scene.channel(ann)).deposit, 60n, 'the shift took only what was not spent')
  t.equal(await scene.withdraw(2, [], hers), 45n, 'to the unit')
})

t.test('Income Certainty: a payment is safe beta + gamma later, whoever is away', async (t) => {
  const scene = await openScene(t, { merchants: 4, consumers: 1 })
  const { market, merchant, consumer } = scene
  const { operator } = market
  const ids = [1, 2, 3, 4, 5]
  const { account } = consumer(0)
  const credit = (amount: bigint): Credits =>
    new Map([[2, packEntries([{ consumer: account, amount }])]])
  await market.at(1, COMMIT)
  const first = build(scene, ids, credit(10n), 100n)
  await market.notarize({ owed: first.owed, signers: [operator, ...scene.merchants] })
  // Paid at g + 1, when the block of that period is being made: the worst moment.
  const g1 = market.timing.g0 + TIMING.beta
  const paidAt = g1 + 1
  // She was present for one gamma; everybody else is away for the next.
  const away = [3, 4, 5]
  await market.at(2, TIMING.gamma - 60)
  for (const id of away) await market.lock(id, [])
  const second = build(scene, ids, credit(7n), 100n)
  await market.notarize({
    ...{ owed: second.owed, signers: [operator, merchant(2)] },
    newlyMissing: new Map(away.map((id) => [id, merchant(id)])),
  })
  t.ok(market.block?.root.equals(second.root), 'the block is the builder’s')
  const confirmedAt = market.block?.header.tau ?? Number.POSITIVE_INFINITY
  const theta = confirmedAt - paidAt
  t.ok(theta > 0 && theta <= TIMING.beta + TIMING.gamma, `${theta} s`)
  t.ok(confirmedAt < g1 + TIMING.beta + TIMING.gamma, 'at the end of the window at the latest')
  await market.at(2, OPEN)
  t.equal(await scene.withdraw(2, [market.voucher(consumer(0), 17n)]), 17n)
})

t.test('Data Availability: what she needs is in her store before she signs', async (t) => {
  const scene = await openScene(t, { merchants: 1, consumers: 3 })
  const { market, consumers, owes } = scene
  const party = scene.merchant(2)
  const list = [
    { id: 1, entries: packEntries([owes(2, 5n)]) },
    { id: 2, entries: packEntries([owes(0, 40n), owes(1, 9n)]) },
  ]
  const vouchers = consumers.map((consumer) => market.voucher(consumer, 60n))
  await market.at(1, COMMIT)
  await market.rpc.request('evm_mine', [])
  const offer = await offerOf(market, list, vouchers)
  const [home, before, after] = [temporaryFolder(t), temporaryFolder(t), temporaryFolder(t)]
  const agent = await agentOver(market, party, home, offer)
  copyStore(home, before)
  t.ok(await considered(agent, 2), 'she may sign')
  // Her disk at the last moment before the signature exists; all else is lost from here on.
  copyStore(home, after)
  const answer = answered(agent, 2)
  agent.store.close()
  await notarizeOffer(market, offer, [answer])
  await market.at(1, OPEN)
  const empty = await payOutFrom(market, party, before)
  t.same(empty, { paid: 0n, isMissingProof: true }, 'without it she gets nothing')
  const restored = await payOutFrom(market, party, after)
  t.same(restored, { paid: 49n, isMissingProof: false }, 'with it everything')
  t.equal(await scene.balance(party.account), 49n)
})

t.test('Pooled Liquidity: one deposit pays any merchant, what is left any other', async (t) => {
  const scene = await openScene(t, { merchants: 3, consumers: 1 })
  const { market, owes, merchant } = scene
  const ann = scene.consumer(0)
  const block = async (period: number, amounts: readonly bigint[]): Promise<void> => {
    await market.at(period, COMMIT)
    const ids = [1, ...amounts.map((_, i) => i + 2)]
    const owed = new Map<number, Entry[]>(ids.map((id) => [id, []]))
    for (const [i, amount] of amounts.entries()) if (amount > 0n) owed.set(i + 2, [owes(0, amount)])
    await market.notarize({ owed, signers: ids.map((id) => (id < 5 ? merchant(id) : late)) })
  }
  const late = await market.party('a merchant who joins later')
  await block(1, [50n, 30n, 0n])
  await market.at(1, OPEN)
  t.equal(await scene.withdraw(2, [market.voucher(ann, 80n)]), 50n)
  t.equal(await scene.withdraw(3, []), 30n)
  const id = await market.register(late)
  // f_c, all of it, with merchants that she never paid before.
  await block(2, [0n, 0n, 15n, 5n])
  await market.at(2, OPEN)
  t.equal(await scene.withdraw(4, [market.voucher(ann, 100n)]), 15n)
  await market.withdraw(late, scene.leaf(id), [])
  t.equal(await scene.balance(late.account), 5n)
  const { deposit, withdrawn } = await scene.channel(ann)
  t.same([deposit, withdrawn], [100n, 100n], 'one channel, spent to the last unit')
})

t.test('Single-Source Liquidity: the operator puts in nothing', async (t) => {
  const scene = await openScene(t, { merchants: 2, consumers: 3 })
  const { market, owes, merchant, balance } = scene
  const { operator, contract } = market
  const own = (): Promise<bigint> => balance(operator.account)
  t.equal(await own(), 0n, 'it has no tokens at all')
  t.equal(await balance(contract), 300n, 'what there is came from consumers')
  const owed = new Map([
    [1, []],
    [2, [owes(0, 100n), owes(1, 60n)]],
    [3, [owes(1, 40n), owes(2, 100n)]],
  ])
  await market.at(1, COMMIT)
  await market.notarize({ owed, signers: [operator, merchant(2), merchant(3)] })
  await market.at(1, OPEN)
  const vouchers = scene.consumers.map((consumer) => market.voucher(consumer, 100n))
  t.equal(await scene.withdraw(2, vouchers), 160n)
  t.equal(await scene.withdraw(3, vouchers), 140n)
  t.same([await own(), await balance(contract)], [0n, 0n], 'and it is all paid')
})

/** So many payments of one period: consumers take turns, each at the next merchant. */
function payments(many: number, ids: readonly number[], consumers: readonly Party[]): Credits {
  let credits: Credits = new Map()
  for (let i = 0; i < many; i++) {
    const id = ids[i % ids.length] ?? 1
    const { account } = consumers[Math.floor(i / ids.length) % consumers.length] ?? {
      account: '0x',
    }
    const paid = packEntries([{ consumer: account as Address, amount: 1n }])
    credits = addCredits(credits, new Map([[id, paid]]))
  }
  return credits
}

t.test('On-Chain Efficiency: one transaction a period, however many payments', async (t) => {
  const scene = await openScene(t, { merchants: 3, consumers: 50, deposit: 0n })
  const { market, merchant } = scene
  const { operator } = market
  const ids = [1, 2, 3, 4]
  const best = 1_000_000n
  const sent = async (): Promise<number> =>
    Number(await market.rpc.request('eth_getTransactionCount', [operator.account, 'latest']))
  const rest = { signers: [operator, merchant(2), merchant(3)] }
  await market.at(1, COMMIT)
  await market.notarize({
    ...build(scene, ids, new Map(), best),
    signers: [...rest.signers, merchant(4)],
  })
  // Merchant 4 goes missing, and stays so.
  await market.at(2, COMMIT)
  await market.lock(4, [])
  await market.notarize({
    ...{ ...build(scene, ids, new Map(), best), ...rest },
    newlyMissing: new Map([[4, merchant(4)]]),
  })
  const gas: { whole: bigint; execution: bigint }[] = []
  for (const [i, many] of [10, 10_000, 10].entries()) {
    const before = await sent()
    const paying = payments(many, [1, 2, 3], scene.consumers)
    const { owed, root } = build(scene, ids, paying, best)
    const total = (id: number): bigint => totalOf(market.block?.entriesOf(id) ?? Buffer.alloc(0))
    const had = total(1) + total(2) + total(3)
    const period = 3 + i
    await market.at(period, COMMIT)
    const block = await market.notarize({ owed, ...rest })
    t.ok(block.root.equals(root), `period ${period}: the block is the builder’s`)
    t.equal(total(1) + total(2) + total(3) - had, BigInt(many), `${many} payments are in it`)
    t.equal(periodAt(market.timing, block.header.tau), period)
    t.equal((await sent()) - before, 1, `${many} payments, one transaction`)
    gas.push(await gasOf(market, await lastHash(scene)))
  }
  const [few, many, again] = gas
  t.equal(many?.execution, few?.execution, 'the same gas but for zero bytes in hashes')
  t.equal(again?.execution, few?.execution)
  const bytes = Number(many?.whole ?? 0n) - Number(few?.whole ?? 0n)
  t.ok(Math.abs(bytes) <= 12 * 16, `${few?.whole} and ${many?.whole} gas`)
})

async function lastHash({ market }: Scene): Promise<string> {
  const block = (await market.rpc.request('eth_getBlockByNumber', ['latest', false])) as {
    transactions: string[]
  }
  const [hash, ...others] = block.transactions
  if (hash === undefined || others.length > 0) throw new Error('not one transaction')
  return hash
}
