// The HTTP side of the merchants' operator double: what a merchant asks and hands in, and the chain
// and the faucet beside it. Checks signatures, so that a merchant that signs wrongly is refused.

import type { IncomingMessage, ServerResponse } from 'node:http'
import { gzipSync } from 'node:zlib'
import { numberOf } from '../../chain/jsonrpc.ts'
import type { Credits } from '../../chain/payplace/build.ts'
import { ANSWER_BYTES, decodeAnswer, encodeProposal } from '../../chain/payplace/codec.ts'
import { indexBlock, type KnownBlock } from '../../chain/payplace/known.ts'
import type { MerchantEntries } from '../../chain/payplace/leaf.ts'
import type { BlockProposal, Source } from '../../chain/payplace/proposal.ts'
import { periodAt, startOf } from '../../chain/payplace/timing.ts'
import type { PayplaceFacts } from '../../chain/payplace-facts.ts'
import type { Address } from '../../ethereum/address.ts'
import {
  merchantAnswerDigest,
  merchantApprovalDigest,
  merchantQueryDigest,
} from '../../ethereum/merchant-messages.ts'
import { recoverAddress, signDigest } from '../../ethereum/signature.ts'
import { openChainProxy } from '../../server/chain-proxy.ts'
import { hex, type Market, OPERATOR } from '../chain-live/payplace-market.ts'
import { genuine, goodAnswer } from '../device/operator-double.ts'

export const SEED = 7

/** What is offered to one merchant before the honest proposal. */
export interface Twist {
  readonly kind: string
  /** The block; `previous` is the one notarized last. */
  list(honest: Offer, previous: KnownBlock | undefined): MerchantEntries[]
}

/** An honest block with all its merchants. */
export interface Offer {
  readonly proposal: BlockProposal
  readonly list: readonly MerchantEntries[]
  readonly block: KnownBlock
}

export interface MerchantDouble {
  readonly url: string
  /** Accounts that access points name. */
  readonly accounts: Set<Address>
  /** Offered one after the other to each merchant, before the honest one. */
  twists: Twist[]
  /** Answers 503 to everything of merchants while true. */
  isDown: boolean
  /** Takes no answer (503, as if lost) and notarizes nothing while true. */
  isTwoFaced: boolean
  /** Every block that a merchant was given to sign; `kind` of the honest one is 'honest'. */
  readonly offered: { readonly id: number; readonly kind: string; readonly root: string }[]
  /** Every signature that came, by merchant: period, root. */
  readonly answers: { readonly id: number; readonly period: number; readonly root: string }[]
  /** One line for each period. */
  readonly history: { period: number; signers: readonly number[]; outcome: string }[]
  /** A consumer's voucher, and who earns how much of it. */
  pay(voucher: Source, id: number, amount: bigint): void
  /** Resolves when a period has ended after this call in which a block was notarized. */
  nextBlock(): Promise<void>
  stop(): Promise<void>
}

/** What the double knows, shared by its two sides. */
export interface State {
  facts: PayplaceFacts | undefined
  previous: KnownBlock | undefined
  waiting: Credits
  readonly best: Map<Address, Source>
  readonly rows: { at: number; id: number; account: Address; net: bigint }[]
  readonly blocks: Map<number, Offer>
  /** The offer of the period that runs, and how many bad ones each merchant has seen. */
  offer: { readonly offer: Offer; readonly seen: Map<number, number> } | undefined
  collected: Map<number, Buffer>
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part)
  return Buffer.concat(parts)
}

/** One request; what it does not know is answered with 404. */
export async function serve(
  market: Market,
  double: MerchantDouble,
  state: State,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const body = await bodyOf(request)
  const reply = replyTo(response)
  const path = request.url ?? ''
  if (!path.startsWith('/v1/merchant/')) return servePublic(market, double, path, body, reply)
  if (double.isDown) return reply.refuse(503, 'not-ready')
  if (path === '/v1/merchant/answer') return take(market, double, state, body, reply)
  const asked = JSON.parse(body.toString())
  if (path === '/v1/merchant/approval') return approve(market, double, asked, reply)
  const { id, time, signature } = asked
  const digest = merchantQueryDigest(market.domain, { operator: OPERATOR, merchant: id, time })
  const account = recoverAddress(digest, Buffer.from(signature.slice(2), 'hex'))
  if (account === undefined || (await idOf(market, account)) !== id) {
    return reply.refuse(401, 'bad-signature')
  }
  if (path === '/v1/merchant/receipts') {
    const rows = state.rows.filter((row) => row.id === id).toReversed()
    const receipts = rows.map(({ at, account: consumer, net }) => {
      return { at, account: consumer, session: null, gross: `${net}`, net: `${net}` }
    })
    return reply.json(200, { receipts, next: null })
  }
  const isPast = path === '/v1/merchant/block'
  const chosen = isPast
    ? state.blocks.get(asked.k)?.proposal
    : offerFor(double, state, id, asked.have)
  if (chosen === undefined && isPast) return reply.refuse(404, 'unknown-block')
  if (chosen === undefined) return void response.writeHead(204).end()
  const list = [...chosen.merchants]
  const bytes = Buffer.concat([...encodeProposal({ ...chosen, merchants: list }, list.length)])
  response
    .writeHead(200, { 'content-type': 'application/octet-stream', 'content-encoding': 'gzip' })
    .end(gzipSync(bytes))
}

interface Reply {
  json(status: number, value: unknown): void
  refuse(status: number, code: string): void
}

function replyTo(response: ServerResponse): Reply {
  const json = (status: number, value: unknown): void => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
  }
  return { json, refuse: (status, code) => json(status, { error: { code, message: code } }) }
}

async function servePublic(
  market: Market,
  double: MerchantDouble,
  path: string,
  body: Buffer,
  reply: Reply,
): Promise<void> {
  if (path === '/v1/operator') {
    const { chainId, contract, operator, token } = market
    const own = {
      ...{ chainId: Number(chainId), contract, account: operator.account, operatorId: OPERATOR },
      ...{ token: { address: token, symbol: 'DNT', decimals: 18 }, deployBlock: 0 },
      serverSpkiSha256: genuine.spkiSha256,
    }
    return reply.json(200, { ...goodAnswer(double.url), ...own })
  }
  if (path === '/v1/chain') {
    return reply.json(200, await proxied(market, JSON.parse(body.toString())))
  }
  if (path !== '/v1/faucet') return reply.refuse(404, 'not-found')
  const { account } = JSON.parse(body.toString())
  await market.ledger.provider.send('anvil_setBalance', [account, '0x8ac7230489e80000'])
  reply.json(200, {})
}

/** As the server with an embedded chain does it, every block being durable at once. */
async function proxied(market: Market, body: unknown): Promise<unknown> {
  const { rpc, chainId, contract, token } = market
  const head = numberOf(await rpc.request('eth_blockNumber', []))
  const chain = { chainId, durableBlock: () => head, nearlyFull: () => false }
  return openChainProxy({ chain, rpc, contracts: { contract, token } })(body)
}

async function idOf(market: Market, account: Address): Promise<number> {
  return Number(await market.ledger.datanet.getFunction('merchantIdOf')(OPERATOR, account))
}

async function take(
  market: Market,
  double: MerchantDouble,
  state: State,
  body: Buffer,
  reply: Reply,
): Promise<void> {
  const answer = decodeAnswer(body.subarray(0, ANSWER_BYTES))
  if (typeof answer === 'string') return reply.refuse(422, answer)
  const { id, period, root, signature } = answer
  const digest = merchantAnswerDigest(market.domain, answer)
  const account = recoverAddress(digest, body.subarray(ANSWER_BYTES))
  if (account === undefined || (await idOf(market, account)) !== id) {
    return reply.refuse(401, 'bad-signature')
  }
  double.answers.push({ id, period, root: root.toString('hex') })
  if (double.isTwoFaced) return reply.refuse(503, 'not-ready')
  const header = state.offer?.offer.proposal.header
  if (header?.period !== period) return reply.refuse(409, 'period-over')
  // Bytes shared with the request are not kept.
  if (header.root.equals(root)) state.collected.set(id, Buffer.from(signature))
  reply.json(202, {})
}

async function approve(
  market: Market,
  double: MerchantDouble,
  asked: { account: string; pkHash: string; time: number; signature: string },
  reply: Reply,
): Promise<void> {
  const { domain, operator, timing } = market
  const digest = merchantQueryDigest(domain, { operator: OPERATOR, merchant: 0, time: asked.time })
  const account = recoverAddress(digest, Buffer.from(asked.signature.slice(2), 'hex'))
  if (account === undefined || account !== asked.account.toLowerCase()) {
    return reply.refuse(401, 'bad-signature')
  }
  if (!double.accounts.has(account)) return reply.refuse(403, 'not-a-merchant')
  const period = periodAt(timing, Date.now() / 1_000)
  const validUntil = startOf(timing, period + 1) - timing.delta
  const pkHash = Buffer.from(asked.pkHash.slice(2), 'hex')
  const value = { operator: OPERATOR, account, pkHash, validUntil }
  const signature = hex(signDigest(merchantApprovalDigest(domain, value), operator.key))
  reply.json(200, { validUntil, signature })
}

/** The next bad offer for this merchant, else the honest one. */
function offerFor(
  double: MerchantDouble,
  state: State,
  id: number,
  have: number | undefined,
): BlockProposal | undefined {
  const { offer: running } = state
  if (running === undefined) return undefined
  const { offer, seen } = running
  const index = seen.get(id) ?? 0
  seen.set(id, index + 1)
  const twist = twistFor(double, id, offer.proposal.header.period, index)
  const give = (kind: string, root: Buffer): void => {
    double.offered.push({ id, kind, root: root.toString('hex') })
  }
  if (twist !== undefined) {
    const twisted = twist.list(offer, state.previous)
    const { root } = indexBlock(OPERATOR, twisted, SEED)
    const header = { ...offer.proposal.header, root }
    give(twist.kind, root)
    return { ...offer.proposal, header, merchants: twisted }
  }
  give('honest', offer.proposal.header.root)
  if (have !== offer.proposal.header.k - 1) return offer.proposal
  const changed = offer.list.filter(({ id: one, entries }) => {
    const before = state.previous?.entriesOf(one)
    return before === undefined || !before.equals(entries)
  })
  return { ...offer.proposal, form: 'changes', merchants: changed }
}

/** What comes before the honest block; the second face is for whoever has signed the first. */
function twistFor(
  { isTwoFaced, twists, answers }: MerchantDouble,
  id: number,
  period: number,
  index: number,
): Twist | undefined {
  if (!isTwoFaced) return twists[index]
  const hasSigned = answers.some((answer) => answer.id === id && answer.period === period)
  return hasSigned ? undefined : twists[0]
}
