// The routes a merchant's program calls: consent to its registration, the block to sign, its
// answer, past blocks, what its access points earned. Owns who may ask: only the account of the
// merchant it is about, proven by its signature. Called by http.ts.

import { finished, Readable } from 'node:stream'
import { createGzip } from 'node:zlib'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { z } from 'zod'
import { type Storage, StorageError } from '../accounting/storage.ts'
import { readAccount, readSignature } from '../accounting/voucher.ts'
import {
  ANSWER_BYTES,
  decodeAnswer,
  encodeProposal,
  SENT_ANSWER_BYTES,
} from '../chain/payplace/codec.ts'
import type { BlockProposal } from '../chain/payplace/proposal.ts'
import { type BlockTiming, periodAt, startOf } from '../chain/payplace/timing.ts'
import type { MerchantRecord } from '../chain/payplace-state.ts'
import { type Address, checksumAddress } from '../ethereum/address.ts'
import {
  merchantAnswerDigest,
  merchantApprovalDigest,
  merchantQueryDigest,
} from '../ethereum/merchant-messages.ts'
import { recoverAddress } from '../ethereum/signature.ts'
import type { Domain } from '../ethereum/typed-data.ts'
import { HttpError } from './http-error.ts'
import type { Notary, Offered } from './notary.ts'
import { merchantCountOf } from './notary-blocks.ts'
import { commissionOf } from './notary-credits.ts'

export interface MerchantRoutesDeps {
  readonly notary: Notary
  readonly storage: Pick<Storage, 'creditsOf'>
  readonly domain: Domain
  readonly operator: number
  /** Whether an access point of ours earns for this account. */
  readonly isMerchant: (account: Address) => boolean
  readonly commissionPpm: () => number
  /** By the operator's account: 65 bytes. */
  readonly sign: (digest: Buffer) => Buffer
  readonly now: () => number
}

/** How far a merchant's clock may be off, seconds. */
const CLOCK_SECONDS_MAX = 60
/** An answer has 221 bytes, a question some 300. */
const BODY_BYTES_MAX = 2_048
/** Between two past blocks to one merchant. */
const PAST_PAUSE_MS = 1_000
/** A merchant asks every second or so in a window; many may stand behind one address. */
const LIMIT = { rateLimit: { max: 50, timeWindow: 1_000 } }

const count = z.int().min(0).max(0xffff_ffff)
const signed = { time: z.int().min(0), signature: z.string() }
const ApprovalBody = z.strictObject({ account: z.string(), pkHash: z.string(), ...signed })
const ProposalBody = z.strictObject({ id: count, have: count.optional(), ...signed })
const BlockBody = z.strictObject({ id: count, k: count, ...signed })
const ReceiptsBody = z.strictObject({ id: count, before: z.int().min(1).optional(), ...signed })

function read<Shape extends z.ZodType>(shape: Shape, body: unknown): z.output<Shape> {
  const parsed = shape.safeParse(body)
  if (parsed.success) return parsed.data
  throw new HttpError(400, 'malformed-request', z.prettifyError(parsed.error))
}

/** Registers them; `routes` is a context of their own. */
export function merchantRoutes(routes: FastifyInstance, deps: MerchantRoutesDeps): void {
  const bytes = { parseAs: 'buffer', bodyLimit: BODY_BYTES_MAX } as const
  routes.addContentTypeParser('application/octet-stream', bytes, (_request, body, done) =>
    done(null, body),
  )
  const options = { bodyLimit: BODY_BYTES_MAX, config: LIMIT }
  routes.post('/v1/merchant/approval', options, async ({ body }) => approve(body, deps))
  routes.post('/v1/merchant/proposal', options, async ({ body }, reply) => {
    const { id, have } = authorized(read(ProposalBody, body), deps)
    const asked = deps.notary.proposal(id, have)
    if (asked === undefined) return reply.code(204).send()
    return sendBlock(reply, asked.proposal, merchantCountOf(asked.block, asked.proposal.form))
  })
  routes.post('/v1/merchant/answer', options, async ({ body }, reply) => {
    if (!Buffer.isBuffer(body)) {
      throw new HttpError(415, 'unsupported-media-type', 'application/octet-stream is expected')
    }
    return takeAnswer(body, reply, deps)
  })
  const takeTurn = createTurns(deps.now)
  routes.post('/v1/merchant/block', options, async ({ body }, reply) => {
    const { k, id } = authorized(read(BlockBody, body), deps)
    takeTurn(id, reply)
    return sendPast(reply, await deps.notary.past(k, id).catch(unavailable), k)
  })
  routes.post('/v1/merchant/receipts', options, async ({ body }) => {
    const { account, before } = authorized(read(ReceiptsBody, body), deps)
    return receipts(account, before, deps)
  })
}

interface Question {
  readonly time: number
  readonly signature: string
}

/** Throws unless the account signed this question within the last minute. */
function checkSigner(
  { time, signature }: Question,
  account: Address,
  merchant: number,
  { domain, operator, now }: MerchantRoutesDeps,
): void {
  const bytes = readSignature(signature)
  if (bytes === undefined) {
    throw new HttpError(400, 'malformed-request', 'signature: 0x and 65 bytes in hex are expected')
  }
  const nowSeconds = Math.floor(now() / 1_000)
  if (Math.abs(nowSeconds - time) > CLOCK_SECONDS_MAX) {
    throw new HttpError(401, 'wrong-time', `the time here is ${nowSeconds}`)
  }
  const digest = merchantQueryDigest(domain, { operator, merchant, time })
  if (recoverAddress(digest, bytes) !== account) {
    throw new HttpError(401, 'bad-signature', 'that account did not sign this question')
  }
}

/** The question, with the account of the merchant that asked it. */
function authorized<Asked extends Question & { readonly id: number }>(
  asked: Asked,
  deps: MerchantRoutesDeps,
): Asked & { readonly account: Address } {
  const { account } = merchantOf(asked.id, deps)
  checkSigner(asked, account, asked.id, deps)
  return { ...asked, account }
}

function merchantOf(id: number, { notary }: MerchantRoutesDeps): MerchantRecord {
  if (notary.timing() === undefined) {
    throw new HttpError(503, 'not-ready', 'the chain has not been read yet; try again')
  }
  const merchant = notary.merchant(id)
  if (merchant === undefined) {
    throw new HttpError(404, 'unknown-merchant', `there is no active merchant ${id}`)
  }
  return merchant
}

function approve(body: unknown, deps: MerchantRoutesDeps) {
  const asked = read(ApprovalBody, body)
  const account = readAccount(asked.account)
  if (account === undefined) {
    const message = 'account: 0x and 40 hex digits, EIP-55 if mixed'
    throw new HttpError(400, 'malformed-request', message)
  }
  const digits = /^0x([0-9a-fA-F]{64})$/.exec(asked.pkHash)?.[1]
  if (digits === undefined) {
    throw new HttpError(400, 'malformed-request', 'pkHash: 0x and 64 hex digits')
  }
  checkSigner(asked, account, 0, deps)
  if (!deps.isMerchant(account)) {
    const message = `no access point here earns for ${checksumAddress(account)}`
    throw new HttpError(403, 'not-a-merchant', message)
  }
  const timing = deps.notary.timing()
  if (timing === undefined) {
    throw new HttpError(503, 'not-ready', 'the chain has not been read yet; try again')
  }
  const validUntil = approvalEnds(timing, Math.floor(deps.now() / 1_000))
  const { operator } = deps
  const approval = { operator, account, pkHash: Buffer.from(digits, 'hex'), validUntil }
  const signature = deps.sign(merchantApprovalDigest(deps.domain, approval))
  return { validUntil, signature: `0x${signature.toString('hex')}` }
}

/** The end of the open window that runs or comes next: the contract takes no later one (D3). */
export function approvalEnds(timing: BlockTiming, nowSeconds: number): number {
  const ends = (period: number): number => startOf(timing, period) + timing.beta - timing.delta
  const period = Math.max(0, periodAt(timing, nowSeconds))
  return nowSeconds < ends(period) ? ends(period) : ends(period + 1)
}

/** The account is proven first: it is cheap, and nobody's bytes stand in for a merchant's. */
function takeAnswer(sent: Buffer, reply: FastifyReply, deps: MerchantRoutesDeps) {
  const bytes = sent.subarray(0, ANSWER_BYTES)
  const answer = decodeAnswer(bytes)
  if (typeof answer === 'string' || sent.length !== SENT_ANSWER_BYTES) {
    throw new HttpError(400, 'malformed-request', 'that is no answer to a block')
  }
  const { account } = merchantOf(answer.id, deps)
  const digest = merchantAnswerDigest(deps.domain, answer)
  if (recoverAddress(digest, sent.subarray(ANSWER_BYTES)) !== account) {
    throw new HttpError(401, 'bad-signature', 'that account did not sign this answer')
  }
  const verdict = deps.notary.answer(bytes)
  switch (verdict) {
    case undefined:
      throw new HttpError(409, 'period-over', 'no block is under way that this answers')
    case 'unknown-merchant':
      throw new HttpError(404, 'unknown-merchant', 'there is no active merchant of that id')
    case 'bad-signature':
      throw new HttpError(422, 'bad-signature', 'there were too many other signatures before')
    default:
      return reply.code(202).send({ answer: verdict })
  }
}

/** Made and compressed as it is read: a block can be larger than what one connection may hold. */
function sendBlock(reply: FastifyReply, proposal: BlockProposal, merchants: number): FastifyReply {
  reply.header('content-type', 'application/octet-stream')
  reply.header('content-encoding', 'gzip')
  const chunks = Readable.from(encodeProposal(proposal, merchants), { objectMode: false })
  const packed = createGzip()
  chunks.on('error', (error) => packed.destroy(error))
  packed.on('close', () => chunks.destroy())
  return reply.send(chunks.pipe(packed))
}

/** A whole block is the most there is to ask for: each merchant is sent one at a time. */
function createTurns(now: () => number): (id: number, reply: FastifyReply) => void {
  const freeAtMs = new Map<number, number>()
  return (id, reply) => {
    if (now() < (freeAtMs.get(id) ?? Number.NEGATIVE_INFINITY)) {
      throw new HttpError(429, 'too-many-requests', 'one block at a time, and one a second')
    }
    freeAtMs.set(id, Number.POSITIVE_INFINITY)
    finished(reply.raw, () => freeAtMs.set(id, now() + PAST_PAUSE_MS))
  }
}

function sendPast(reply: FastifyReply, past: Offered | undefined, k: number): FastifyReply {
  if (past === undefined) throw new HttpError(404, 'unknown-block', `block ${k} is not kept here`)
  const { proposal, block } = past
  finished(reply.raw, () => block.close())
  // Who has hung up meanwhile is sent nothing: nobody would read it to its end.
  if (reply.raw.destroyed) return reply.hijack()
  return sendBlock(reply, proposal, merchantCountOf(block, proposal.form))
}

function unavailable(error: unknown): never {
  if (!(error instanceof StorageError)) throw error
  throw new HttpError(503, 'storage-unavailable', 'the books cannot be read now; try again')
}

async function receipts(
  account: Address,
  before: number | undefined,
  { storage, commissionPpm }: MerchantRoutesDeps,
) {
  const found = await storage.creditsOf(account, before).catch(unavailable)
  return {
    receipts: found.credits.map(({ atMs, account: consumer, session, amount }) => ({
      at: Math.floor(atMs / 1_000),
      account: checksumAddress(consumer),
      session,
      gross: `${amount}`,
      net: `${amount - commissionOf(amount, commissionPpm())}`,
    })),
    next: found.next ?? null,
  }
}
