// What a merchant is paid and when it may leave, with the contract on a real chain: others withdraw
// from the same consumers first, a block comes in between.

import t, { type Test } from 'tap'
import type { Entry } from '../../chain/payplace/entries.ts'
import { leavesOf } from '../../chain/payplace/leaf.ts'
import type { Source } from '../../chain/payplace/proposal.ts'
import { proofOf } from '../../chain/payplace/tree.ts'
import { createPayplaceView } from '../../chain/payplace-view.ts'
import { payoutCall } from '../../merchant/contract.ts'
import type { MerchantFile } from '../../merchant/folder.ts'
import { payOut, readPosition } from '../../merchant/withdraw.ts'
import { newStore } from '../merchant/support.ts'
import { type MarketBlock, OPERATOR, openMarket } from './payplace-market.ts'

const TIMING = { beta: 1_000, gamma: 300, delta: 50, challenge: 2_000, eta: 2 }

/** Mia and quin registered, ann with 1,000; `pay` is mia's withdrawal or exit. */
async function setUp(t: Test) {
  const market = await openMarket(TIMING)
  t.teardown(() => market.stop())
  const { contract, rpc, operator } = market
  const [ann, mia, quin] = [
    await market.party('ann'),
    await market.party('mia'),
    await market.party('quin'),
  ]
  await market.deposit(ann, 1_000n)
  await market.at(0, 400)
  const [id, other] = [await market.register(mia), await market.register(quin)]
  const owes = (amount: bigint): Entry[] =>
    amount === 0n ? [] : [{ consumer: ann.account, amount }]
  const vouchers = new Map<string, Source>()
  const store = { ...newStore(t), voucher: (consumer: string) => vouchers.get(consumer) }
  const hold = (amount: bigint): void => void vouchers.set(ann.account, market.voucher(ann, amount))
  /** The next block, in mia's store as her agent would have it. */
  const notarize = async (period: number, mias: bigint, quins: bigint): Promise<MarketBlock> => {
    await market.at(period, 10)
    const owed = new Map([
      [1, []],
      [id, owes(mias)],
      [other, owes(quins)],
    ])
    const block = await market.notarize({ owed, signers: [operator, mia, quin] })
    const entries = block.entriesOf(id)
    const place = block.places.get(id)
    if (entries === undefined || place === undefined) throw new Error('a block without her')
    store.keepOwn(block.header.k, block.root, {
      entries,
      proofs: [proofOf(block.tree, place.first)],
    })
    return block
  }
  const access = { account: mia.account, contract, operatorId: OPERATOR, chainId: 31_337 }
  const deps = {
    ...{ merchant: access as unknown as MerchantFile, rpc, store, api: undefined, seed: 3 },
    view: createPayplaceView({ rpc, contract, operatorId: OPERATOR, fromBlock: 0 }),
    sender: mia.sender,
  }
  const position = () => readPosition(deps)
  const pay = async (first: Awaited<ReturnType<typeof position>>, period: number, leave: boolean) =>
    payOut(deps, first, {
      ...{ to: mia.account, leave, accept() {} },
      waiting: {
        now: () => market.timing.g0 + period * TIMING.beta + 400,
        progress() {},
        marginS: 2,
      },
    })
  return { market, ann, mia, quin, other, hold, notarize, position, pay, view: deps.view }
}

t.test('D29: who is paid second in a window is paid in full as well', async (t) => {
  const { market, ann, mia, quin, other, hold, notarize, position, view } = await setUp(t)
  const withdraw = (block: MarketBlock, vouchers: readonly Source[]) => {
    const [leaf] = leavesOf({ id: other, entries: block.entriesOf(other) ?? Buffer.alloc(0) })
    if (leaf === undefined) throw new Error('no leaf')
    return market.withdraw(quin, leaf, vouchers)
  }
  const one = await notarize(1, 40n, 60n)
  await market.at(1, 400)
  await withdraw(one, [market.voucher(ann, 100n)])
  // 40 more for quin; what the contract has seen covers either of them alone.
  const two = await notarize(2, 40n, 40n)
  hold(140n)
  const [steps = []] = (await position()).payout.transactions
  await market.at(2, 400)
  await withdraw(two, [])
  await market.at(2, 410)
  const { contract } = market
  await mia.sender.send(payoutCall({ contract, operatorId: OPERATOR, to: mia.account }, steps))
  const { events } = await view.sync()
  t.match(
    events
      .filter(({ type }) => type === 'withdrawn')
      .map((event) => ('total' in event ? event.total : 0n)),
    [40n, 40n],
    "quin's and hers",
  )
})

t.test('exit takes along what the block of the window that it waits for owes', async (t) => {
  const { market, hold, notarize, position, pay } = await setUp(t)
  await notarize(1, 0n, 0n)
  const first = await position()
  await notarize(2, 60n, 0n)
  hold(60n)
  await market.at(2, 400)
  t.match(await pay(first, 2, true), { paid: 60n, hasLeft: true })
})

t.test('an exit that is mined only after the next block is refused', async (t) => {
  const { market, mia, notarize, position, pay } = await setUp(t)
  await notarize(1, 0n, 0n)
  const [steps = []] = (await position()).leaving.transactions
  await notarize(2, 60n, 0n)
  await market.at(2, 400)
  const { contract } = market
  const late = payoutCall({ contract, operatorId: OPERATOR, to: mia.account }, steps)
  await t.rejects(mia.sender.send(late), { message: /Datanet_LeafNotInBlock/ })
  const first = await position()
  t.equal(first.record?.status, 'active')
  await notarize(3, 0n, 0n)
  await market.at(3, 400)
  t.match(await pay(first, 3, true), { paid: 0n, hasLeft: true }, 'with nothing owed it leaves')
})
