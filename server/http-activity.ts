// The routes of published activities: POST /v1/activity/query (what the next summary must say, for
// who can sign as the consumer), POST /v1/activity (the operator's signature under it), POST
// /v1/activity/key (its signature for a key that will do without), and GET /v1/activity, public
// statistics out of the chain's events. Owns form and limits; what is right is activity-desk.ts.
// Called by http.ts.

import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { StorageError } from '../accounting/storage.ts'
import { isRecord, readAccount, readSignature } from '../accounting/voucher.ts'
import { type ActivityTotals, NO_ACTIVITY } from '../chain/activity-events.ts'
import { ChainError } from '../chain/error.ts'
import { type Activity, activityJson, type DeviceEnrolment } from '../ethereum/activity.ts'
import { type Address, checksumAddress, parseAddress } from '../ethereum/address.ts'
import type { ActivityBook, OperatorActivity } from './activity-book.ts'
import type { ActivityDesk, ActivityRefusal, Attestation } from './activity-desk.ts'
import { HttpError } from './http-error.ts'
import type { OperatorFacts } from './http-public.ts'

/** What the routes need. */
export interface ActivityRoutesDeps {
  readonly desk: ActivityDesk
  readonly book: ActivityBook
  readonly facts: OperatorFacts
  /** Who signed a SessionQuery, as for POST /v1/sessions/query; throws HttpError. */
  readonly readQuery: (body: unknown) => Address
  /** Unix ms. */
  readonly now: () => number
}

const STATUS: Readonly<Record<ActivityRefusal, number>> = {
  'wrong-operator': 422,
  'wrong-verifier': 422,
  'bad-signature': 401,
  'unknown-consumer': 404,
  overlap: 409,
  replay: 409,
  'not-ended': 422,
  'nothing-new': 404,
  'figures-differ': 422,
  'published-more': 409,
  'not-ready': 503,
  'too-many-requests': 429,
  'wrong-time': 422,
  'no-key': 404,
  'key-expired': 422,
  'software-key': 422,
  'asserts-only': 422,
}

/** A device needs two of these a day, a house behind one address some more. */
const PER_SECOND = 20
/** Reads of long accounts at once; more would stand in the way of accounting. */
const IN_WORK_MAX = 8
/** How old the statistics may be before the chain is asked again. */
const FRESH_MS = 5_000
/** 300 bytes each. */
const OPERATORS_LISTED_MAX = 1_000

const uint = (digits: number) => z.string().regex(new RegExp(`^(?:0|[1-9]\\d{0,${digits - 1}})$`))
const Word = z.string().regex(/^0x[0-9a-f]{64}$/i)
const ActivityBody = z.strictObject({
  consumer: z.string(),
  operator: z.int().min(0).max(0xffff_ffff),
  start: z.int().min(0),
  end: z.int().min(0),
  bytesUp: uint(20),
  bytesDown: uint(20),
  sessions: z.int().min(0).max(0xffff_ffff),
  paid: uint(29),
  verifier: z.int().min(0).max(255),
  evidenceHash: Word,
  nonce: uint(20),
})
const EnrolmentBody = z.strictObject({
  consumer: z.string(),
  operator: z.int().min(0).max(0xffff_ffff),
  ...{ qx: Word, qy: Word },
  validUntil: z.int().min(0),
})
const StatisticsQuery = z.strictObject({
  operator: z.coerce.number().int().min(1).max(0xffff_ffff).optional(),
  consumer: z.string().optional(),
})

/** Registers the routes. */
export function activityRoutes(routes: FastifyInstance, deps: ActivityRoutesDeps): void {
  const limit = { config: { rateLimit: { max: PER_SECOND, timeWindow: 1_000 } } }
  const inTurn = turns()
  routes.post('/v1/activity/query', limit, async (request) => {
    const consumer = deps.readQuery(request.body)
    const answer = await inTurn(() => deps.desk.propose(consumer))
    if ('activity' in answer) return { activity: activityJson(answer.activity) }
    throw new HttpError(STATUS[answer.refusal], answer.refusal, answer.message)
  })
  routes.post('/v1/activity', limit, async (request) => {
    const { activity, signature } = readBody(request.body)
    return signed(await inTurn(() => deps.desk.attest(activity, signature)), deps.facts)
  })
  routes.post('/v1/activity/key', limit, async (request) => {
    const { enrolment, signature } = readEnrolment(request.body)
    return signed(await inTurn(() => deps.desk.enrol(enrolment, signature)), deps.facts)
  })
  const refreshed = refresher(deps)
  routes.get('/v1/activity', limit, async (request) => {
    const parsed = StatisticsQuery.safeParse(request.query)
    if (!parsed.success) {
      throw new HttpError(400, 'malformed-request', z.prettifyError(parsed.error))
    }
    const { operator, consumer } = parsed.data
    const account = consumer === undefined ? undefined : parseAddress(consumer)
    if (consumer !== undefined && account === undefined) {
      throw new HttpError(400, 'malformed-request', 'consumer: 0x and 40 hex digits are expected')
    }
    const isComplete = await refreshed()
    return statistics(deps, isComplete, operator, account)
  })
}

function signed(answer: Attestation, { account }: OperatorFacts): object {
  if ('refusal' in answer) {
    throw new HttpError(STATUS[answer.refusal], answer.refusal, answer.message)
  }
  const signature = `0x${answer.signature.toString('hex')}`
  return { attestor: checksumAddress(account), signature }
}

/** Runs some at a time, refuses more; what fails underneath becomes its HTTP status. */
function turns() {
  let inWork = 0
  return async <Value>(work: () => Promise<Value>): Promise<Value> => {
    if (inWork >= IN_WORK_MAX) throw new HttpError(503, 'busy', 'try again in a moment')
    inWork += 1
    try {
      return await work()
    } catch (error) {
      throw unavailable(error)
    } finally {
      inWork -= 1
    }
  }
}

function unavailable(error: unknown): unknown {
  if (error instanceof ChainError) {
    return new HttpError(503, 'chain-unavailable', 'the chain does not answer; try again')
  }
  if (error instanceof StorageError) {
    return new HttpError(503, 'storage-unavailable', 'the books cannot be read now; try again')
  }
  return error
}

/** Reads the chain at most once in a while, for everybody together; a failure is kept as long. */
function refresher({ book, now }: ActivityRoutesDeps): () => Promise<boolean> {
  let askedAtMs = Number.NEGATIVE_INFINITY
  let answer: Promise<boolean> | undefined
  return async () => {
    if (answer === undefined || Math.abs(now() - askedAtMs) >= FRESH_MS) {
      askedAtMs = now()
      answer = book.catchUp()
    }
    try {
      return await answer
    } catch (error) {
      throw unavailable(error)
    }
  }
}

const malformed = (message: string): HttpError => new HttpError(400, 'malformed', message)

/** What the consumer has signed, under its name, and the signature. */
function readSigned<Said extends { readonly consumer: string }>(
  body: unknown,
  name: string,
  form: z.ZodType<Said>,
): { said: Omit<Said, 'consumer'>; consumer: Address; signature: Buffer } {
  if (!isRecord(body) || Object.keys(body).length !== 2) {
    throw malformed(`${name} and signature are expected`)
  }
  const parsed = form.safeParse(body[name])
  if (!parsed.success) throw malformed(z.prettifyError(parsed.error))
  const { consumer: text, ...said } = parsed.data
  const consumer = readAccount(text)
  if (consumer === undefined) throw malformed('consumer: 0x and 40 hex digits, EIP-55 if mixed')
  const signature = readSignature(body['signature'])
  if (signature === undefined) throw malformed('signature: 0x and 65 bytes in hex are expected')
  return { said, consumer, signature }
}

const wordOf = (text: string): Buffer => Buffer.from(text.slice(2), 'hex')

function readEnrolment(body: unknown): { enrolment: DeviceEnrolment; signature: Buffer } {
  const { said, consumer, signature } = readSigned(body, 'enrolment', EnrolmentBody)
  const { operator, validUntil } = said
  const point = { qx: wordOf(said.qx), qy: wordOf(said.qy) }
  return { enrolment: { operator, consumer, ...point, validUntil }, signature }
}

function readBody(body: unknown): { activity: Activity; signature: Buffer } {
  const { said, consumer, signature } = readSigned(body, 'activity', ActivityBody)
  const { bytesUp, bytesDown, paid, evidenceHash, nonce, ...rest } = said
  const octets = { bytesUp: BigInt(bytesUp), bytesDown: BigInt(bytesDown) }
  const amount = BigInt(paid)
  if (octets.bytesUp >> 64n || octets.bytesDown >> 64n || amount >> 96n) {
    throw malformed('octets are below 2^64, paid is below 2^96')
  }
  const fields = { ...rest, ...octets, consumer, paid: amount, nonce: BigInt(nonce) }
  return { activity: { ...fields, evidenceHash: wordOf(evidenceHash) }, signature }
}

function statistics(
  { book, facts }: ActivityRoutesDeps,
  isComplete: boolean,
  operator: number | undefined,
  account: Address | undefined,
): object {
  const listed = account === undefined ? book.operators() : ofConsumer(book, account)
  const chosen = listed.filter((one) => operator === undefined || one.operator === operator)
  const { activities } = facts.activity
  return {
    ...{ chainId: Number(facts.chainId), contract: checksumAddress(activities) },
    token: { symbol: facts.token.symbol, decimals: facts.token.decimals },
    ...{ block: book.block(), complete: isComplete && !book.isFull() },
    operators: chosen.slice(0, OPERATORS_LISTED_MAX).map(totalsJson),
  }
}

function ofConsumer(book: ActivityBook, account: Address): OperatorActivity[] {
  const { byOperator } = book.consumer(account)
  return [...byOperator].map(([operator, totals]) => ({
    ...{ ...NO_ACTIVITY, ...totals },
    ...{ operator, consumers: 1 },
  }))
}

function totalsJson(one: ActivityTotals & { operator: number; consumers: number }): object {
  const { operator, summaries, consumers, sessions, bytesUp, bytesDown, paid } = one
  return {
    ...{ operator, summaries, consumers, sessions: `${sessions}` },
    ...{ bytesUp: `${bytesUp}`, bytesDown: `${bytesDown}`, paid: `${paid}` },
    ...{ firstStart: one.firstStart, lastEnd: one.lastEnd },
  }
}
