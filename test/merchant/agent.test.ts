// The loop of the agent: when it reads the chain, how often it joins. The chain is a double, the
// store is real; time runs two seconds with each look at the clock.

import t, { type Test } from 'tap'
import { blsPublicKey, deriveMerchantBlsKey } from '../../chain/bls.ts'
import type { BlockTiming } from '../../chain/payplace/timing.ts'
import type { PayplaceFacts } from '../../chain/payplace-facts.ts'
import type { MerchantRecord } from '../../chain/payplace-state.ts'
import { keccak256 } from '../../ethereum/keccak.ts'
import { merchantApprovalDigest } from '../../ethereum/merchant-messages.ts'
import { accountOf, signDigest } from '../../ethereum/signature.ts'
import { payPlaceDomain } from '../../ethereum/typed-data.ts'
import { startAgent } from '../../merchant/agent.ts'
import type { OperatorApi } from '../../merchant/api.ts'
import { consumer, OPERATOR } from '../chain/payplace/support.ts'
import { newStore, record, TIMING } from './support.ts'

const START_MS = 36_000_000
const HOUR_MS = 3_600_000
const OPERATOR_KEY = Buffer.alloc(32, 7)
const accountKey = Buffer.alloc(32, 1)
const account = accountOf(accountKey)
const place = { contract: consumer(4), chainId: 31_337n }
const domain = payPlaceDomain(place.chainId, place.contract)

interface World {
  readonly timing: BlockTiming
  nowMs: number
  /** What the clock showed at each reading of the chain, one block each. */
  readonly readings: number[]
  /** Called at every look at the clock. */
  readonly look?: () => void
  recordAt(number: number): MerchantRecord | undefined
  readonly rejoin?: boolean
  /** Of the last block. */
  readonly k?: number
  /** What the agent logs. */
  readonly said?: string[]
}

/** Runs an agent for so many readings; the transactions it sent, mined ten blocks later. */
async function run(t: Test, world: World, count: number): Promise<string[]> {
  const { readings, timing } = world
  const enough = Promise.withResolvers<void>()
  const sent: string[] = []
  const view = {
    at() {
      const number = readings.length
      const operator = { account: accountOf(OPERATOR_KEY), active: true, timing }
      return {
        ...{ number, operator: () => operator, shifts: () => [] },
        block: () => ({ k: world.k ?? 0, root: Buffer.alloc(32), lastPeriod: 0, tau: 0 }),
        merchantOf: () => world.recordAt(number),
      } as unknown as PayplaceFacts
    },
    async sync() {
      readings.push(world.nowMs)
      if (readings.length === count) enough.resolve()
      const head = { number: readings.length, hash: '0x1', time: 1 }
      return { head, latest: head, events: [], reread: false }
    },
  }
  const secret = deriveMerchantBlsKey({ ...place, accountKey, operator: OPERATOR })
  const approval = async () => {
    const pkHash = keccak256(blsPublicKey(secret))
    const validUntil = Math.floor(world.nowMs / 1_000) + 100
    const value = { operator: OPERATOR, account, pkHash, validUntil }
    return {
      validUntil,
      signature: signDigest(merchantApprovalDigest(domain, value), OPERATOR_KEY),
    }
  }
  const agent = startAgent({
    ...{ ...place, account, accountKey, operatorId: OPERATOR, operatorUrl: '', view },
    ...{ requireIncome: false, rejoin: world.rejoin === true, store: newStore(t) },
    log: (_level, _event, text) => void world.said?.push(text),
    api: { approval } as unknown as OperatorApi,
    rpc: { request: async () => '0xffffffffffffffffff' },
    sender: {
      account,
      async send({ what }) {
        sent.push(what)
        return { transactionHash: '0x1', blockNumber: readings.length + 10 }
      },
    },
    nowMs() {
      world.nowMs += 2_000
      world.look?.()
      return world.nowMs
    },
  })
  await enough.promise
  await agent.stop()
  return sent
}

t.test('a clock that is set back keeps nobody from reading the chain', async (t) => {
  let looks = 0
  const world: World = {
    ...{ nowMs: START_MS, readings: [], recordAt: () => record({ status: 'exited' }) },
    timing: { ...TIMING, beta: 12, gamma: 4, delta: 1 },
    look() {
      if (world.readings.length === 3 && ++looks === 4) world.nowMs -= HOUR_MS
    },
  }
  await run(t, world, 6)
  const last = world.readings[5] ?? Number.NaN
  t.ok(last < START_MS, `read before the clock has caught up: ${world.readings.join(' ')}`)
})

t.test('a registration that is mined and not confirmed yet is not sent again', async (t) => {
  const timing = { ...TIMING, beta: 60_000 }
  const nowMs = (TIMING.g0 + 100) * 1_000
  const joins = (count: number): Promise<string[]> =>
    run(t, { nowMs, timing, readings: [], recordAt: () => undefined }, count)
  t.same(await joins(10), ['the registration'])
  t.equal((await joins(13)).length, 2, 'the chain has forgotten it')
})

t.test('D4: who has left joins again where the owner asks, after the next block', async (t) => {
  const timing = { ...TIMING, beta: 60_000 }
  const nowMs = (TIMING.g0 + 100) * 1_000
  const left = (id: number) => record({ id, status: 'exited', left: { k: 5, forced: false } })
  const active = record({ id: 2 })
  const joined = ['the registration']
  const cases: readonly [string, Partial<World>, readonly string[], RegExp][] = [
    ['unasked', { k: 6 }, [], /has left .* only watching; merchant run --rejoin joins again/],
    ['asked', { rejoin: true, k: 6 }, joined, /has left .* joining again after/],
    ['before the next block', { rejoin: true, k: 5 }, [], /has left .* joining again after/],
    [
      'a later exit is meant',
      { rejoin: true, k: 6, recordAt: (number) => (number < 3 ? active : left(2)) },
      [],
      /only watching/,
    ],
    [
      'also of one that came back',
      { rejoin: true, k: 6, recordAt: (number) => (number < 3 ? left(1) : left(2)) },
      joined,
      /only watching/,
    ],
  ]
  for (const [name, more, sent, words] of cases) {
    const said: string[] = []
    const world: World = {
      ...{ nowMs, timing, readings: [], recordAt: () => left(2), said, ...more },
      // No pause between two looks at the chain is longer.
      look() {
        world.nowMs += 60_000
      },
    }
    t.same(await run(t, world, 10), sent, name)
    t.match(said.join(' '), words, name)
  }
})
