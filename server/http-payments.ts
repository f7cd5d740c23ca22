// The routes a device pays and asks by: POST /v1/payments (one, or a batch), POST /v1/usage (a
// report without a payment) and POST /v1/sessions/query. Owns what one address may send and how
// much is held at once; what a payment means is payments.ts, a report usage-reports.ts. Called by
// http.ts.

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Committer } from '../accounting/committer.ts'
import type { Ledger } from '../accounting/ledger.ts'
import { StorageError } from '../accounting/storage.ts'
import { isRecord, readAccount, readSignature, type VoucherDomain } from '../accounting/voucher.ts'
import type { Mirror } from '../chain/mirror.ts'
import type { Address } from '../ethereum/address.ts'
import { recoverAddress } from '../ethereum/signature.ts'
import { sessionQueryDigest } from '../ethereum/typed-data.ts'
import { createBuckets, limitName } from './buckets.ts'
import { HttpError } from './http-error.ts'
import type { PaymentAnswer, PaymentRefusal, Payments } from './payments.ts'
import { type SessionJson, sessionJson } from './session-json.ts'
import type { UsageAnswer, UsageReports } from './usage-reports.ts'

/** What the routes need; `ensureAccount` as in accounts.ts. */
export interface PaymentRoutesDeps {
  readonly payments: Payments
  readonly reports: UsageReports
  readonly committer: Pick<Committer, 'durable' | 'failed'>
  readonly domain: VoucherDomain
  readonly ledger: Ledger
  readonly mirror: Pick<Mirror, 'channel'>
  readonly ensureAccount: (account: Address) => Promise<void>
  /** The clock of the books. */
  readonly now: () => number
  /** The time of day: a device asks by it, and our Date header tells it. */
  readonly wallNow: () => number
}

export const BATCH_MAX = 1_000
/** A batch of 1,000 with usage is 400 kB. */
const BODY_BYTES_MAX = 1_000_000
/** A payment without evidence is under 500 bytes: a body costs its address one for each 512. */
const BYTES_EACH = 512
/**
 * All devices of an access point come from one address where it translates theirs. 10,000 of them
 * may pay in the same second; 2,000 a second keep a sixth of one core busy with signatures.
 */
const ADDRESS_LIMIT = { burst: 10_000, perSecond: 2_000, entriesMax: 20_000 }
/**
 * A report alone may be checked with each of four keys, 0.2 ms in all, without ever being right;
 * with this 500 a second of one address cost a tenth of a core.
 */
const REPORT_UNITS = 4
/** In units of BYTES_EACH: 16 MB of bodies, or 32,768 single payments that wait for the disk. */
const IN_FLIGHT_MAX = 32_768
/**
 * A body takes its units before it is read, or a thousand connections could hold a megabyte each;
 * so who never sends what was announced holds them as long as a request may take. Nobody may hold
 * more than this, and the last quarter of all is for single payments.
 */
const ADDRESS_IN_FLIGHT_MAX = IN_FLIGHT_MAX / 8
const LARGE_IN_FLIGHT_MAX = (IN_FLIGHT_MAX * 3) / 4
/** A payment with evidence in units. */
const SMALL_MAX = 8
/** How far a device's clock may be off in a session query, seconds. */
const CLOCK_SECONDS_MAX = 60

const STATUS: Readonly<Record<PaymentRefusal, number>> = {
  malformed: 400,
  'bad-signature': 401,
  'wrong-domain': 401,
  'unknown-consumer': 404,
  'unknown-session': 404,
  'not-higher': 409,
  'too-large': 413,
  'over-deposit': 422,
  'wrong-operator': 422,
  'too-many-requests': 429,
  'storage-unavailable': 503,
  'chain-unavailable': 503,
}

/** Registers both routes and their limits; `routes` is a context of their own. */
export function paymentRoutes(routes: FastifyInstance, deps: PaymentRoutesDeps): void {
  limit(routes, deps)
  // Not the framework's own parsers: that of JSON searches each text for `__proto__`, and here
  // every field is read by name from a value nobody merges into another.
  routes.removeAllContentTypeParsers()
  routes.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, text, done) => {
    try {
      done(null, JSON.parse(String(text)))
    } catch {
      done(new HttpError(400, 'malformed', 'the body is no JSON'))
    }
  })
  // The limits above stand in for the general ones, which are for people and their tools.
  const options = { bodyLimit: BODY_BYTES_MAX, config: { rateLimit: false as const } }
  routes.post('/v1/payments', options, async (request, reply) => {
    const { body } = request
    if (isRecord(body) && 'payments' in body) return answerBatch(body, reply, deps)
    return send(reply, await deps.payments.pay(body))
  })
  routes.post('/v1/usage', options, async (request) => answerUsage(request.body, deps))
  routes.post('/v1/sessions/query', options, async (request) => answerQuery(request.body, deps))
}

/** What is taken of the address's bucket before the body is read, and held until it is answered. */
function limit(routes: FastifyInstance, deps: PaymentRoutesDeps): void {
  const addresses = createBuckets(ADDRESS_LIMIT)
  const inFlight = createInFlight()
  const tooMany = (reply: FastifyReply, seconds: number, what: string): HttpError => {
    reply.header('retry-after', String(seconds))
    return new HttpError(429, 'too-many-requests', what)
  }
  routes.addHook('onRequest', async (request, reply) => {
    const cost = costOf(request)
    const name = limitName(request.ip)
    if (!inFlight.fits(name, cost)) throw tooMany(reply, 1, 'too many payments wait already')
    const seconds = addresses.take(name, cost, deps.now())
    if (seconds > 0) throw tooMany(reply, seconds, 'this address pays too often')
    // Whose connection is gone already gets no 'close' that would give its share back.
    if (request.raw.socket.destroyed) return
    inFlight.add(name, cost)
    reply.raw.once('close', () => inFlight.add(name, -cost))
  })
  // Items of a few bytes are cheap to send, and each is read: the rest of a batch's price.
  routes.addHook('preHandler', async (request, reply) => {
    const more = countOf(request.body) - costOf(request)
    const seconds = more > 0 ? addresses.take(limitName(request.ip), more, deps.now()) : 0
    if (seconds > 0) throw tooMany(reply, seconds, 'this address pays too often')
  })
}

/** The units that requests hold, of all and of each address; an address that holds none is gone. */
function createInFlight() {
  const held = new Map<string, number>()
  let all = 0
  return {
    fits(name: string, cost: number): boolean {
      const most = cost > SMALL_MAX ? LARGE_IN_FLIGHT_MAX : IN_FLIGHT_MAX
      return all + cost <= most && (held.get(name) ?? 0) + cost <= ADDRESS_IN_FLIGHT_MAX
    },
    add(name: string, cost: number): void {
      all += cost
      const left = (held.get(name) ?? 0) + cost
      if (left > 0) held.set(name, left)
      else held.delete(name)
    },
  }
}

/** A body of untold length (chunked) is priced as the longest. */
function costOf(request: FastifyRequest): number {
  const bytes = Number(request.headers['content-length'] ?? BODY_BYTES_MAX)
  const units = Math.max(1, Math.ceil(Math.min(bytes, BODY_BYTES_MAX) / BYTES_EACH))
  return request.routeOptions.url === '/v1/usage' ? Math.max(units, REPORT_UNITS) : units
}

function countOf(body: unknown): number {
  const list = isRecord(body) ? body['payments'] : undefined
  return Array.isArray(list) ? Math.min(list.length, BATCH_MAX) : 1
}

function errorJson(answer: Exclude<PaymentAnswer, { paid: string }>): string {
  const { refusal: code, message, best } = answer
  if (best === undefined) return JSON.stringify({ error: { code, message } })
  const { amount, signature } = best
  return JSON.stringify({ error: { code, message, amount: amount.toString(), signature } })
}

function send(reply: FastifyReply, answer: PaymentAnswer): FastifyReply {
  reply.header('content-type', 'application/json; charset=utf-8')
  if ('paid' in answer) return reply.send(answer.paid)
  const { retryAfterSeconds } = answer
  if (retryAfterSeconds !== undefined) reply.header('retry-after', String(retryAfterSeconds))
  return reply.code(STATUS[answer.refusal]).send(errorJson(answer))
}

async function answerBatch(
  body: Record<string, unknown>,
  reply: FastifyReply,
  { payments }: PaymentRoutesDeps,
): Promise<FastifyReply> {
  const list = body['payments']
  if (!Array.isArray(list) || list.length === 0 || Object.keys(body).length !== 1) {
    throw new HttpError(400, 'malformed', 'payments: a list, alone, of one payment or more')
  }
  if (list.length > BATCH_MAX) {
    throw new HttpError(413, 'too-large', `payments: at most ${BATCH_MAX} at once`)
  }
  const answers = await payments.payAll(list)
  const results = answers.map((answer) => ('paid' in answer ? answer.paid : errorJson(answer)))
  reply.header('content-type', 'application/json; charset=utf-8')
  return reply.send(`{"results":[${results.join(',')}]}`)
}

/** It has neither a deposit nor books here; keys cost nothing, its books are not asked for. */
function isStranger(consumer: Address, { mirror, domain, ledger }: PaymentRoutesDeps): boolean {
  return mirror.channel(domain.operator, consumer) === undefined && !ledger.knows(consumer)
}

function refuseStorage(error: unknown): never {
  if (!(error instanceof StorageError)) throw error
  throw new HttpError(503, 'storage-unavailable', 'the books cannot be read now; try again')
}

/** A report needs no signature of the account: its own is by a key that the account enrolled. */
async function answerUsage(
  body: unknown,
  deps: PaymentRoutesDeps,
): Promise<{ readonly usage: UsageAnswer }> {
  const malformed = (message: string): HttpError => new HttpError(400, 'malformed', message)
  if (!isRecord(body) || Object.keys(body).length !== 3) {
    throw malformed('consumer, session and evidence are expected')
  }
  const consumer = readAccount(body['consumer'])
  if (consumer === undefined) throw malformed('consumer: 0x and 40 hex digits, EIP-55 if mixed')
  const { session, evidence } = body
  if (typeof session !== 'string') throw malformed('session: 32 lowercase hex digits are expected')
  if (isStranger(consumer, deps)) {
    throw new HttpError(404, 'unknown-consumer', 'the account has no deposit with this operator')
  }
  // Nothing is signed yet: who names no session of the account makes nobody read its books.
  const isTheirs = deps.ledger.session(session)?.account === consumer
  if (isTheirs) await deps.ensureAccount(consumer).catch(refuseStorage)
  // As for payments: what is refused changes nothing.
  const failed = deps.committer.failed()
  if (failed !== undefined) refuseStorage(failed)
  const usage = deps.reports.take(consumer, session, evidence)
  if (usage.accepted) await deps.committer.durable().catch(refuseStorage)
  return { usage }
}

/** What the next report of a session must answer, and come after. */
interface ReportTerms {
  readonly usageNonce: string
  readonly usageSequence: number
}

/** Open sessions and closed ones that owe; nothing is told without the account's signature. */
async function answerQuery(
  body: unknown,
  deps: PaymentRoutesDeps,
): Promise<{ sessions: (SessionJson & ReportTerms)[] }> {
  const consumer = readQuery(body, deps)
  if (isStranger(consumer, deps)) return { sessions: [] }
  await deps.ensureAccount(consumer).catch(refuseStorage)
  const sessions = [...deps.ledger.openOf(consumer), ...deps.ledger.debtsOf(consumer)]
  const nowMs = deps.now()
  const aheadMs = deps.wallNow() - nowMs
  const shown = sessions.map((session) => ({
    ...sessionJson(session, nowMs, aheadMs),
    // What the next signed report of its usage answers.
    usageNonce: deps.reports.nonceOf(session.id),
    usageSequence: session.attested?.sequence ?? 0,
  }))
  return { sessions: shown }
}

/** Who signed a SessionQuery just now; throws HttpError. */
export function readQuery(
  body: unknown,
  { domain, wallNow }: Pick<PaymentRoutesDeps, 'domain' | 'wallNow'>,
): Address {
  const malformed = (message: string): HttpError => new HttpError(400, 'malformed', message)
  if (!isRecord(body) || Object.keys(body).length !== 3) {
    throw malformed('consumer, time and signature are expected')
  }
  const consumer = readAccount(body['consumer'])
  if (consumer === undefined) throw malformed('consumer: 0x and 40 hex digits, EIP-55 if mixed')
  const { time } = body
  if (typeof time !== 'number' || !Number.isSafeInteger(time) || time < 0) {
    throw malformed('time: whole Unix seconds are expected')
  }
  const signature = readSignature(body['signature'])
  if (signature === undefined) throw malformed('signature: 0x and 65 bytes in hex are expected')
  const nowSeconds = Math.floor(wallNow() / 1_000)
  if (Math.abs(nowSeconds - time) > CLOCK_SECONDS_MAX) {
    throw new HttpError(401, 'wrong-time', `the time here is ${nowSeconds}`)
  }
  const { operator } = domain
  const digest = sessionQueryDigest(domain.separator, { consumer, operator, time })
  if (recoverAddress(digest, signature) !== consumer) {
    throw new HttpError(401, 'bad-signature', 'the consumer did not sign this query')
  }
  return consumer
}
