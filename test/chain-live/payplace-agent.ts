// The merchant's own program in a market whose time stands where the test put it: takes one offer,
// stores, signs; and a second one that has nothing but a copy of the store's file. Called by
// properties.test.ts.

import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { nobleBls } from '../../chain/bls.ts'
import { type BlockHeader, blockDigest, NO_ROOT } from '../../chain/payplace/block.ts'
import { encodeProposal } from '../../chain/payplace/codec.ts'
import { indexBlock } from '../../chain/payplace/known.ts'
import type { MerchantEntries } from '../../chain/payplace/leaf.ts'
import type { BlockAnswer, Source } from '../../chain/payplace/proposal.ts'
import { periodAt } from '../../chain/payplace/timing.ts'
import { createPayplaceView, type PayplaceView } from '../../chain/payplace-view.ts'
import type { OperatorApi } from '../../merchant/api.ts'
import { NOTHING_SEEN } from '../../merchant/clock.ts'
import type { MerchantFile } from '../../merchant/folder.ts'
import { considerOffer } from '../../merchant/offer.ts'
import type { Agent } from '../../merchant/reading.ts'
import { answerOf } from '../../merchant/sign.ts'
import { type MerchantStore, openStore } from '../../merchant/store.ts'
import { payOut, readPosition } from '../../merchant/withdraw.ts'
import { hex, type Market, OPERATOR, type Party } from './payplace-market.ts'

const STORE = 'merchant.sqlite'
const IDENTITY = { identity: 'the merchant of the test', now: 0 }

/** A directory that is gone after the test. */
export function temporaryFolder(t: Pick<Test, 'teardown'>): string {
  const directory = mkdtempSync(join(tmpdir(), 'datanet-agent-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** The store's files as they are on disk at this moment, in another directory. */
export function copyStore(from: string, to: string): void {
  for (const suffix of ['', '-wal']) {
    const path = join(from, `${STORE}${suffix}`)
    if (existsSync(path)) copyFileSync(path, join(to, `${STORE}${suffix}`))
  }
}

const gone = (): Promise<never> => Promise.reject(new Error('the operator does not answer'))
const NOBODY: OperatorApi = {
  ...{ approval: gone, proposal: gone, answer: gone, block: gone, receipts: gone },
}

export interface Offer {
  readonly header: BlockHeader
  /** As it goes over the wire. */
  readonly bytes: Buffer
}

/** Block 1 with these entries, offered now: its snapshot is the chain's newest block. */
export async function offerOf(
  market: Market,
  list: readonly MerchantEntries[],
  sources: readonly Source[],
): Promise<Offer> {
  const head = (await market.rpc.request('eth_getBlockByNumber', ['latest', false])) as {
    number: string
    hash: string
    timestamp: string
  }
  const tau = Number(head.timestamp)
  const { root } = indexBlock(OPERATOR, list, 1)
  const period = periodAt(market.timing, tau)
  const header = { operator: OPERATOR, k: 1, period, tau, prevRoot: NO_ROOT, root }
  const snapshot = { number: Number(head.number), hash: Buffer.from(head.hash.slice(2), 'hex') }
  const sorted = [...sources].sort((a, b) => (a.consumer < b.consumer ? -1 : 1))
  const proposal = { header, snapshot, form: 'whole', merchants: list, sources: sorted } as const
  return { header, bytes: Buffer.concat([...encodeProposal(proposal, list.length)]) }
}

/** The merchant's program over a store in `directory`, at the chain's newest second. */
export async function agentOver(
  market: Market,
  party: Party,
  directory: string,
  offer: Offer,
): Promise<Agent> {
  const store = openStore(join(directory, STORE), IDENTITY)
  const { rpc, contract, chainId, domain } = market
  const api: OperatorApi = { ...NOBODY, proposal: async () => offer.bytes }
  return {
    ...{ account: party.account, accountKey: party.key, operatorId: OPERATOR, operatorUrl: '' },
    ...{ contract, chainId, rpc, store, domain, api, secret: party.secret },
    ...{ view: viewOver(market, store), sender: party.sender, requireIncome: false },
    ...{ facts: undefined, sight: NOTHING_SEEN, syncedAt: Number.NEGATIVE_INFINITY },
    ...{ told: new Map(), challenged: new Map(), log: () => {}, rejoin: false },
    nowMs: () => offer.header.tau * 1_000,
    now: () => offer.header.tau,
  }
}

function viewOver({ rpc, contract }: Market, store: MerchantStore): PayplaceView {
  const source = { rpc, contract, operatorId: OPERATOR, fromBlock: 0 }
  return createPayplaceView({ ...source, store: store.view })
}

/** Checks and stores the offer; whether it may be signed. Nothing has been signed then. */
export function considered(agent: Agent, id: number): Promise<boolean> {
  return considerOffer(agent, id)
}

/** Signs what the store holds. */
export function answered({ store, secret }: Agent, id: number): BlockAnswer {
  const signed = store.signed()
  if (signed === undefined) throw new Error('nothing is stored')
  return answerOf({ operatorId: OPERATOR, id, secret }, signed)
}

/** Sends the block with the operator's own and these signatures. */
export async function notarizeOffer(
  market: Market,
  { header }: Offer,
  answers: readonly BlockAnswer[],
): Promise<void> {
  const own = nobleBls.sign(blockDigest(market.domain, header), market.operator.secret)
  const points = [own, ...answers.map(({ signature }) => signature)].map((bytes) => {
    const point = nobleBls.signature(bytes)
    if (point === undefined) throw new Error('no signature')
    return point
  })
  const signature = hex(nobleBls.signatureCoding(nobleBls.sumSignatures(points)))
  const { root, tau } = header
  await market.send(market.operator, 'notarize', 1, hex(root), tau, [], [], '0x', signature)
}

/** What the program pays out with this directory and a node, and no operator. */
export async function payOutFrom(
  market: Market,
  party: Party,
  directory: string,
): Promise<{ readonly paid: bigint; readonly isMissingProof: boolean }> {
  const store = openStore(join(directory, STORE), IDENTITY)
  try {
    const merchant: MerchantFile = {
      ...{ version: 1, name: 'agent', account: party.account, contract: market.contract },
      ...{ operatorUrl: 'http://gone.example', operatorId: OPERATOR, operatorName: 'gone' },
      ...{ chainId: Number(market.chainId), rpc: market.url, confirmations: 1, fromBlock: 0 },
      ...{ token: { address: market.token, symbol: 'T', decimals: 18 }, requireIncome: false },
    }
    const view = viewOver(market, store)
    const deps = { merchant, rpc: market.rpc, view, store, api: undefined, seed: 1 }
    const position = await readPosition(deps)
    const { isMissingProof } = position.payout
    const { g0, gamma, delta } = market.timing
    // The test has put the chain into an open window; the program's clock says the same.
    const open = g0 + gamma + delta + 1
    const waiting = { now: () => open, progress: () => {}, marginS: 1 }
    const paidOut = await payOut({ ...deps, sender: party.sender }, position, {
      ...{ to: party.account, leave: false, waiting, accept: () => {} },
    })
    return { paid: paidOut.paid, isMissingProof }
  } finally {
    store.close()
  }
}
