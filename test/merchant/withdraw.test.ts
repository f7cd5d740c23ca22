// Being paid when something comes in between: a block while the open window is waited for, a lock
// that somebody else drops; and nothing is sent twice in vain.

import t from 'tap'
import { datanetInterface } from '../../chain/bindings.ts'
import { ChainError } from '../../chain/error.ts'
import type { BlockTiming } from '../../chain/payplace/timing.ts'
import type { MerchantRecord } from '../../chain/payplace-state.ts'
import type { PayplaceView } from '../../chain/payplace-view.ts'
import type { Call } from '../../chain/transactions.ts'
import type { MerchantFile } from '../../merchant/folder.ts'
import type { MerchantStore } from '../../merchant/store.ts'
import { type PayoutDeps, payOut, readPosition, type Waiting } from '../../merchant/withdraw.ts'
import { address, consumer, locksOf, OPERATOR, pack, source } from '../chain/payplace/support.ts'
import { record } from './support.ts'

const CONTRACT = address(`0x${'c0'.repeat(20)}`)
/** Period 3 begins at 1,180 and is open from 1,200 to 1,236; period 4 opens at 1,260. */
const timing: BlockTiming = { g0: 1_000, beta: 60, gamma: 15, delta: 4, challenge: 130, eta: 30 }

interface World {
  now: number
  k: number
  entries: Buffer
  record: MerchantRecord
  readonly sent: string[]
  /** So often the block of the last transaction does not count yet. */
  lag: number
  /** What a transaction does; throws where the contract refuses it. */
  mined: (what: string) => void
}

/** What a payout works with, over facts that the test changes while it runs. */
function depsOf(world: World): PayoutDeps & { readonly sender: { account: never; send: never } } {
  const rootOf = (k: number): Buffer => Buffer.alloc(32, k)
  const events: object[] = []
  const facts = () => ({
    operator: () => ({ account: consumer(4), active: true, timing }),
    block: () => ({ k: world.k, root: rootOf(world.k), lastPeriod: 0, tau: 0 }),
    merchantOf: () => world.record,
    channel: () => ({
      ...{ deposit: 1_000n, withdrawn: 0n, reserved: 0n, highestVoucher: 900n },
      ...{ shift: undefined, pendingShift: 0n },
    }),
  })
  const view = {
    async sync() {
      const isBehind = world.sent.length > 0 && world.lag-- > 0
      const number = world.sent.length - (isBehind ? 1 : 0)
      return { head: { number }, events: isBehind ? [] : events.splice(0), reread: false }
    },
    at: facts,
  } as unknown as PayplaceView
  const store = {
    own: (root: Buffer) =>
      root.equals(rootOf(world.k))
        ? { entries: world.entries, proofs: [[Buffer.alloc(32, world.k)]] }
        : undefined,
    voucher: () => source(0, 900n),
  } as unknown as MerchantStore
  const credit = datanetInterface.encodeFunctionResult('creditOf', [0n])
  const merchant = { account: consumer(4), contract: CONTRACT, operatorId: OPERATOR, chainId: 1 }
  const send = async (call: Call) => {
    world.sent.push(call.what)
    world.mined(call.what)
    events.push({ type: 'withdrawn', id: world.record.id, total: 30n })
    world.record = { ...world.record, locks: [], settled: { k: world.k, shards: [0] } }
    return { transactionHash: `0x${world.sent.length}`, blockNumber: world.sent.length }
  }
  return {
    ...{ view, store, api: undefined, seed: 1, rpc: { request: async () => credit } },
    merchant: merchant as unknown as MerchantFile,
    sender: { account: consumer(4), send } as never,
  }
}

function worldAt(now: number, more: Partial<World> = {}): World {
  return {
    now,
    k: 5,
    entries: pack({ 0: 30n }),
    record: record(),
    sent: [],
    lag: 0,
    mined() {},
    ...more,
  }
}

/** The clock runs a quarter of a second a look; `seen` may change the world each time. */
async function paidOut(
  world: World,
  seen: (now: number) => void = () => {},
  more: Partial<Waiting> = {},
) {
  const deps = depsOf(world)
  const now = (): number => {
    world.now += 0.25
    seen(world.now)
    return world.now
  }
  const accepted: bigint[] = []
  const accept = ({ due }: { readonly due: bigint }): void => void accepted.push(due)
  const waiting = { now, progress() {}, marginS: 2, ...more }
  const wish = { to: consumer(4), leave: false, waiting, accept }
  return { ...(await payOut(deps, await readPosition(deps), wish)), accepted }
}

t.test('in the open window: at once', async (t) => {
  const world = worldAt(1_200)
  t.match(await paidOut(world), { paid: 30n, transactions: ['0x1'], accepted: [30n] })
  t.same(world.sent, ['withdraw'])
})

t.test(
  'a block comes while the window is waited for: its leaf is the one that is paid',
  async (t) => {
    const world = worldAt(1_259.25)
    const isRefused = (): void => {
      const text = 'withdraw was refused by the contract (Datanet_LeafNotInBlock())'
      if (world.k !== 6) throw new ChainError('transaction-failed', text)
    }
    world.mined = isRefused
    const paid = await paidOut(world, (now) => {
      if (now < 1_259.75) return
      world.k = 6
      world.entries = pack({ 0: 35n })
    })
    t.match(paid, { paid: 30n, accepted: [35n] }, 'and the owner accepts what is sent')
    t.same(world.sent, ['withdraw'])
  },
)

t.test('too late in a window for a transaction to be mined: not in this one', async (t) => {
  // 37 s long: of 15 s that are asked for, a quarter of that.
  const progress = (line: string): never => {
    throw new Error(line)
  }
  const waiting = { marginS: 15, progress }
  t.match(await paidOut(worldAt(1_226), () => {}, waiting), { paid: 30n })
  const late = worldAt(1_227)
  await t.rejects(
    paidOut(late, () => {}, waiting),
    { message: /begins in 33 s/ },
  )
  t.same(late.sent, [])
})

t.test('what is mined and not confirmed yet is waited for, not sent again', async (t) => {
  const world = worldAt(1_200, { lag: 1 })
  t.match(await paidOut(world), { paid: 30n, transactions: ['0x1'] })
  t.same(world.sent, ['withdraw'])
})

t.test('an old lock that somebody else dropped just now', async (t) => {
  const locks = locksOf(2, pack({ 0: 3n })).map((lock) => ({ ...lock, k: 4 }))
  const world = worldAt(1_200, { record: record({ locks }) })
  world.mined = (what) => {
    if (!what.includes('unlock')) return
    world.record = { ...world.record, locks: [] }
    const text = 'unlock, withdraw was refused by the contract (Datanet_LockMismatch())'
    throw new ChainError('transaction-failed', text)
  }
  t.match(await paidOut(world), { paid: 30n, transactions: ['0x2'] })
  t.same(world.sent, ['unlock, withdraw', 'withdraw'])
})

t.test('what was refused and would be sent again is told instead', async (t) => {
  const world = worldAt(1_200)
  world.mined = () => {
    throw new ChainError('transaction-failed', 'withdraw was refused by the contract')
  }
  await t.rejects(paidOut(world), { code: 'transaction-failed', message: /was refused/ })
  t.same(world.sent, ['withdraw'])
})
