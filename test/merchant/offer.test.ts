// One offer, from its bytes to the store: what the agent asks for, where it reads, what makes it
// wait and what makes it accuse. Node, operator and chain are doubles; the checks and the store
// are real.

import t, { type Test } from 'tap'
import { encodeProposal } from '../../chain/payplace/codec.ts'
import type { MerchantEntries } from '../../chain/payplace/leaf.ts'
import type { BlockProposal } from '../../chain/payplace/proposal.ts'
import type { PayplaceFacts } from '../../chain/payplace-facts.ts'
import { DeviceError } from '../../device/error.ts'
import type { OperatorApi, ReceiptRow } from '../../merchant/api.ts'
import { considerOffer } from '../../merchant/offer.ts'
import type { Agent } from '../../merchant/reading.ts'
import { BEFORE, before, honest, list } from '../chain/payplace/checking.ts'
import {
  BEGINS,
  consumer,
  DOMAIN,
  merchants,
  NOW,
  OPERATOR,
  pack,
  proposal,
  TIMING,
} from '../chain/payplace/support.ts'
import { newStore, record } from './support.ts'

const SEED = 3
const ACCOUNT = consumer(5)
const K = 3
const LAST_TAU = BEGINS - 55

/** What is different from an honest day. */
interface Day {
  readonly offers?: readonly (BlockProposal | Buffer | undefined)[]
  /** The block before is in the store. */
  readonly holds?: boolean
  /** What the operator says block 3 was. */
  readonly past?: readonly MerchantEntries[]
  readonly nodeHash?: string
  readonly lagS?: number
  /** A shift that is pending at the snapshot, and one at the newest block. */
  readonly shift?: bigint
  readonly shiftSince?: bigint
  readonly rows?: readonly ReceiptRow[] | 'none'
  readonly requireIncome?: boolean
}

const bytesOf = (offer: BlockProposal): Buffer => {
  const all = [...offer.merchants]
  return Buffer.concat([...encodeProposal({ ...offer, merchants: all }, all.length)])
}

function factsOf(pendingShift: bigint): PayplaceFacts {
  const all = [1, 2, 3].map((id) => record(id === 2 ? {} : { id, account: consumer(id) }))
  const channel = { deposit: 1_000n, reserved: 0n, highestVoucher: 0n, withdrawn: 0n }
  return {
    number: 50,
    operator: () => ({ account: consumer(0), active: true, timing: TIMING }),
    block: () => ({ k: K, root: before.root, lastPeriod: 2, tau: LAST_TAU }),
    merchants: () => all,
    merchant: (id) => all.find((one) => one.id === id),
    merchantOf: (account) => all.find((one) => one.account === account),
    channel: () => ({ ...channel, shift: undefined, pendingShift }),
    shifts: () => [],
  }
}

function setUp(t: Pick<Test, 'teardown'>, day: Day) {
  const store = newStore(t)
  if (day.holds !== false) {
    const block = { operator: OPERATOR, k: K, root: before.root, seed: SEED }
    store.adopt({ ...block, merchants: merchants(BEFORE) })
  }
  const lines: string[] = []
  const asked: unknown[] = []
  const offers = [...(day.offers ?? [proposal(before, honest)])]
  const api: OperatorApi = {
    approval: async () => 'not-a-merchant',
    answer: async () => ({ outcome: 'taken' }),
    async proposal(_, have) {
      asked.push(have)
      const offer = offers.length > 1 ? offers.shift() : offers[0]
      return offer === undefined || Buffer.isBuffer(offer) ? offer : bytesOf(offer)
    },
    async block() {
      const past = day.past === undefined ? undefined : proposal(before, day.past)
      return past === undefined ? undefined : bytesOf(past)
    },
    async receipts() {
      if (day.rows === 'none') throw new DeviceError('unavailable', 'not now')
      return { rows: [...(day.rows ?? [])], next: undefined }
    },
  }
  const head = { number: 50, hash: `0x${'aa'.repeat(32)}`, time: BEGINS + 1 }
  let reads = 0
  const rpc = {
    async request() {
      reads += 1
      const { number, hash } = { ...head, hash: day.nodeHash ?? head.hash }
      return { number: `0x${number.toString(16)}`, hash, timestamp: `0x${head.time.toString(16)}` }
    },
  }
  const facts = factsOf(day.shift ?? 0n)
  const agent: Agent = {
    ...{ account: ACCOUNT, accountKey: Buffer.alloc(32, 1), operatorId: OPERATOR, store, api, rpc },
    ...{ operatorUrl: '', contract: consumer(4), chainId: 31_337n, domain: DOMAIN },
    view: {
      sync: async () => ({ head, latest: head, events: [], reread: false }),
      at: (number) => (number === undefined ? factsOf(day.shiftSince ?? 0n) : facts),
    },
    sender: { account: ACCOUNT, send: () => Promise.reject(new Error('nothing to send')) },
    log: (level, event, text) => void lines.push(`${level} ${event}: ${text}`),
    ...{ nowMs: () => NOW * 1_000, now: () => NOW, rejoin: false },
    requireIncome: day.requireIncome === true,
    ...{
      secret: Buffer.alloc(32, 2),
      facts,
      syncedAt: NOW,
      told: new Map(),
      challenged: new Map(),
    },
    sight: { head, lagS: day.lagS ?? 0 },
  }
  return { agent, store, lines, asked, reads: () => reads }
}

t.test('what is signed, what waits and what is held against the operator', async (t) => {
  const good = proposal(before, honest)
  const short = proposal(before, list({ 2: { 0: 19n, 1: 10n } }))
  const row = (at: number, n: number, net: bigint): ReceiptRow => {
    return { at, account: consumer(n), net }
  }
  const cases: readonly [name: string, day: Day, told: RegExp | undefined][] = [
    ['an honest block', {}, undefined],
    ['by its changes alone', { offers: [{ ...good, form: 'changes' }] }, undefined],
    ['nothing is offered', { offers: [undefined] }, /^$/],
    ['bytes that are no block', { offers: [Buffer.from('DNP1')] }, /error refused: .*malformed/],
    ['less than before', { offers: [short] }, /error refused: .*own-amount|amount-decreased/],
    [
      'a snapshot of another chain',
      { nodeHash: `0x${'bb'.repeat(32)}` },
      /info waiting: .*snapshot/,
    ],
    ["a clock that is not the chain's", { lagS: 9 }, /info waiting: .*head-not-current/],
    ['the block before from the operator', { holds: false, past: merchants(BEFORE) }, undefined],
    [
      'another one from the operator',
      { holds: false, past: honest },
      /waiting: .*previous-unknown/,
    ],
    ['none from the operator', { holds: false }, /waiting: .*previous-unknown/],
    ['D30: a shift at the snapshot', { shift: 950n }, /waiting: .*shift-pending/],
    ['D43: a shift since the snapshot waits for a later block', { shiftSince: 950n }, undefined],
    ['receipts that are in it', { rows: [row(LAST_TAU + 1, 0, 5n)] }, undefined],
    ['receipts of later', { rows: [row(BEGINS, 0, 500n)], requireIncome: true }, undefined],
    ['receipts of before', { rows: [row(LAST_TAU, 0, 500n)], requireIncome: true }, undefined],
    [
      'receipts that are not in it',
      { rows: [row(LAST_TAU + 1, 0, 6n)], requireIncome: true },
      /error refused: .*income-differs/,
    ],
    [
      'no receipts, and they are asked for',
      { rows: 'none', requireIncome: true },
      /income-differs/,
    ],
  ]
  for (const [name, day, told] of cases) {
    const { agent, store, lines } = setUp(t, day)
    const isStored = await considerOffer(agent, 2)
    t.equal(isStored, told === undefined, `${name}: ${lines.join('; ')}`)
    t.equal(store.signed() !== undefined, told === undefined, name)
    if (told !== undefined) t.match(lines.at(-1) ?? '', told, name)
  }
})

t.test('missing income only warns where nobody asked for more', async (t) => {
  for (const rows of [[{ at: LAST_TAU + 1, account: consumer(0), net: 6n }], 'none'] as const) {
    const { agent, lines } = setUp(t, { rows })
    t.equal(await considerOffer(agent, 2), true)
    t.match(lines.join(), /warn income-(differs|unknown)/)
  }
})

t.test('it asks for the changes only where it holds the block before', async (t) => {
  const holding = setUp(t, {})
  await considerOffer(holding.agent, 2)
  t.same(holding.asked, [K])
  const lacking = setUp(t, { holds: false, past: merchants(BEFORE) })
  await considerOffer(lacking.agent, 2)
  t.same(lacking.asked, [undefined])
  t.ok(lacking.store.own(before.root)?.entries.equals(pack(BEFORE[2])), 'its old part came with it')
})

t.test('a bad offer is looked at once; a better one after it is signed', async (t) => {
  const short = proposal(before, list({ 3: { 0: 29n } }))
  const { agent, lines, reads, store } = setUp(t, {
    offers: [short, short, short, proposal(before, honest)],
  })
  t.equal(await considerOffer(agent, 2), false)
  const once = reads()
  t.equal(await considerOffer(agent, 2), false)
  t.equal(await considerOffer(agent, 2), false)
  t.equal(reads(), once, 'not read again')
  t.equal(lines.length, 1, 'not told again')
  t.match(lines[0] ?? '', /amount-decreased \(merchant 3, consumer 0x/)
  t.equal(await considerOffer(agent, 2), true)
  t.equal(store.signed()?.k, K + 1)
})

t.test('another offer with the root of a refused one is looked at', async (t) => {
  const good = proposal(before, honest)
  const above = good.sources.map((source) => ({ ...source, amount: 1_001n }))
  const { agent, lines, store } = setUp(t, { offers: [{ ...good, sources: above }, good] })
  t.equal(await considerOffer(agent, 2), false)
  t.match(lines, [/source-exceeds-deposit/])
  t.equal(await considerOffer(agent, 2), true)
  t.ok(store.signed()?.root.equals(good.header.root))
})

t.test('vouchers that a shift endangers are kept for the challenge', async (t) => {
  const { agent, store } = setUp(t, { shift: 950n })
  t.equal(await considerOffer(agent, 2), false)
  for (const n of [0, 1, 2]) t.equal(store.voucher(consumer(n))?.amount, 100n)
})
