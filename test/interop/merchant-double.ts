// An operator as merchants see one, on a real chain with the real contract and in real time:
// builds, offers, collects, locks and notarizes by the project's own pure code. It can be told to
// offer something else first, or to be gone. Keeps everything in memory; paid between windows
// only.

import { createServer } from 'node:http'
import { nobleBls } from '../../chain/bls.ts'
import { blockDigest } from '../../chain/payplace/block.ts'
import { addCredits, buildBlock } from '../../chain/payplace/build.ts'
import { NO_ENTRIES, packEntries } from '../../chain/payplace/entries.ts'
import type { KnownBlock } from '../../chain/payplace/known.ts'
import { leavesOf } from '../../chain/payplace/leaf.ts'
import { collectSignatures, type SignerAnswer } from '../../chain/payplace/signers.ts'
import { periodAt, phaseAt, startOf } from '../../chain/payplace/timing.ts'
import { proofOf } from '../../chain/payplace/tree.ts'
import type { PayplaceFacts } from '../../chain/payplace-facts.ts'
import { createPayplaceView, type PayplaceView } from '../../chain/payplace-view.ts'
import {
  contractLeaf,
  contractVoucher,
  hex,
  type Market,
  OPERATOR,
} from '../chain-live/payplace-market.ts'
import { listening } from '../device/operator-double.ts'
import { type MerchantDouble, type Offer, SEED, type State, serve } from './merchant-double-http.ts'

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)))

export async function startMerchantDouble(
  t: { teardown(f: () => Promise<void>): void },
  market: Market,
): Promise<MerchantDouble> {
  const view = createPayplaceView({
    ...{ rpc: market.rpc, contract: market.contract, operatorId: OPERATOR, fromBlock: 0 },
  })
  const state: State = {
    ...{ facts: undefined, previous: undefined, waiting: new Map(), offer: undefined },
    ...{ best: new Map(), rows: [], blocks: new Map(), collected: new Map() },
  }
  const server = createServer((request, response) => {
    serve(market, double, state, request, response).catch((error) => {
      if (!response.headersSent) response.writeHead(500)
      response.end(String(error))
    })
  })
  const url = await listening(t, server)
  let isStopped = false
  const waiters: (() => void)[] = []
  const double: MerchantDouble = {
    url,
    ...{ accounts: new Set(), twists: [], isDown: false, isTwoFaced: false },
    ...{ offered: [], answers: [], history: [] },
    pay(voucher, id, amount) {
      const known = state.best.get(voucher.consumer)
      if (known === undefined || known.amount < voucher.amount) {
        state.best.set(voucher.consumer, voucher)
      }
      const entries = packEntries([{ consumer: voucher.consumer, amount }])
      state.waiting = addCredits(state.waiting, new Map([[id, entries]]))
      const at = Math.floor(Date.now() / 1_000)
      state.rows.push({ at, id, account: voucher.consumer, net: amount })
    },
    nextBlock: () => new Promise((resolve) => waiters.push(resolve)),
    async stop() {
      isStopped = true
      server.closeAllConnections()
      await running
    },
  }
  const running = run()
  t.teardown(() => double.stop())
  return double

  async function run(): Promise<void> {
    const { timing } = market
    let done = periodAt(timing, Date.now() / 1_000)
    while (!isStopped) {
      const now = Date.now() / 1_000
      const period = periodAt(timing, now)
      if (
        period === done ||
        phaseAt(timing, now) !== 'commit' ||
        now < startOf(timing, period) + 1
      ) {
        await sleep(50)
        continue
      }
      done = period
      const outcome = await runPeriod(market, double, state, view, period).catch((error) => ({
        signers: [],
        outcome: String(error),
      }))
      state.offer = undefined
      double.history.push({ period, ...outcome })
      if (outcome.outcome === 'notarized') for (const waiter of waiters.splice(0)) waiter()
    }
  }
}

interface Outcome {
  readonly signers: readonly number[]
  readonly outcome: string
}

async function runPeriod(
  market: Market,
  double: MerchantDouble,
  state: State,
  view: PayplaceView,
  period: number,
): Promise<Outcome> {
  const { timing, rpc } = market
  await rpc.request('evm_mine', [])
  const { head } = await view.sync()
  const facts = view.at()
  if (facts === undefined) throw new Error('nothing read')
  await unlockStale(market, facts)
  const snapshot = { number: head.number, hash: Buffer.from(head.hash.slice(2), 'hex') }
  const { offer, credits } = buildOffer(state, facts, period, snapshot)
  state.collected = new Map()
  state.offer = { offer, seen: new Map() }
  const ends = (startOf(timing, period) + timing.gamma - 1) * 1_000
  while (Date.now() < ends && state.collected.size < offer.list.length - 1) await sleep(30)
  if (double.isTwoFaced) return { signers: [], outcome: 'two-faced' }
  const outcome = await finish(market, state, facts, offer)
  if (outcome.outcome !== 'notarized') return outcome
  state.previous = offer.block
  state.blocks.set(offer.proposal.header.k, offer)
  state.waiting = credits
  return outcome
}

/** The honest block, and the credits that have to wait. */
function buildOffer(
  state: State,
  facts: PayplaceFacts,
  period: number,
  snapshot: Offer['proposal']['snapshot'],
): { readonly offer: Offer; readonly credits: State['waiting'] } {
  const merchants = facts.merchants()
  const emitted = new Map<number, Buffer>()
  const result = buildBlock(
    {
      ...{ operator: OPERATOR, k: facts.block().k, period, merchants, seed: SEED },
      ...{ tau: Math.floor(Date.now() / 1_000), previous: state.previous },
      credits: state.waiting,
      channel(consumer) {
        const { deposit, withdrawn, pendingShift, highestVoucher } = facts.channel(consumer)
        const best = state.best.get(consumer)?.amount ?? 0n
        const isSeen = highestVoucher > best
        return { deposit, withdrawn, pendingShift, best: isSeen ? highestVoucher : best }
      },
    },
    ({ id, entries }) => emitted.set(id, entries),
  )
  if ('fault' in result) throw new Error(result.fault)
  const list = merchants.map(({ id }) => {
    return { id, entries: emitted.get(id) ?? state.previous?.entriesOf(id) ?? NO_ENTRIES }
  })
  const entries = new Map(list.map((merchant) => [merchant.id, merchant.entries]))
  const { header, index } = result.built
  const block: KnownBlock = { ...index, entriesOf: (id) => entries.get(id) }
  const sources = [...state.best.values()].sort((a, b) => (a.consumer < b.consumer ? -1 : 1))
  const proposal = { header, snapshot, form: 'whole', merchants: list, sources } as const
  return { offer: { proposal, list, block }, credits: result.heldBack.credits }
}

/** Adds the signatures up, locks who is newly missing, and notarizes. */
async function finish(
  market: Market,
  state: State,
  facts: PayplaceFacts,
  { proposal: { header } }: Offer,
): Promise<Outcome> {
  const { domain, operator } = market
  const merchants = facts.merchants()
  const digest = blockDigest(domain, header)
  const answers: SignerAnswer<unknown, unknown>[] = []
  for (const { id, blsKey } of merchants) {
    const bytes = id === 1 ? nobleBls.sign(digest, operator.secret) : state.collected.get(id)
    const signature = bytes === undefined ? undefined : nobleBls.signature(bytes)
    const key = nobleBls.key(blsKey)
    if (signature !== undefined && key !== undefined) answers.push({ id, key, signature })
  }
  const engine = nobleBls as Parameters<typeof collectSignatures<unknown, unknown>>[0]
  const { signers, sum } = collectSignatures(engine, digest, answers)
  if (sum === undefined) return { signers, outcome: 'nobody signed' }
  const isSigner = (id: number): boolean => signers.includes(id)
  const newly = merchants.filter((m) => !isSigner(m.id) && m.missingSince === undefined)
  const back = merchants.filter((m) => isSigner(m.id) && m.missingSince !== undefined)
  for (const { id, joinedAt } of newly) {
    if (joinedAt <= facts.block().k) await lockAll(market, state, id)
  }
  const named = [newly.map(({ id }) => id), back.map(({ id }) => id)]
  const keys = hex(Buffer.concat([...newly, ...back].map(({ blsKey }) => blsKey)))
  const signature = hex(engine.signatureCoding(sum.signature))
  const args = [OPERATOR, hex(header.root), header.tau, ...named, keys, signature]
  await market.send(operator, 'notarize', ...args)
  return { signers, outcome: 'notarized' }
}

async function unlockStale(market: Market, facts: PayplaceFacts): Promise<void> {
  for (const { locks, missingSince } of facts.merchants()) {
    if (missingSince !== undefined) continue
    for (const { leaf, k } of locks) {
      if (k < facts.block().k) await market.send(market.operator, 'unlock', contractLeaf(leaf))
    }
  }
}

async function lockAll(market: Market, state: State, id: number): Promise<void> {
  const { previous } = state
  const place = previous?.places.get(id)
  if (previous === undefined || place === undefined) return
  const vouchers = [...state.best.values()].map(contractVoucher)
  for (const leaf of leavesOf({ id, entries: previous.entriesOf(id) ?? NO_ENTRIES })) {
    const proof = proofOf(previous.tree, place.first + leaf.shard).map(hex)
    await market.send(market.operator, 'lock', contractLeaf(leaf), proof, vouchers)
  }
}
