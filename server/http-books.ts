// The operator's view of the books: sessions, arrears, the ledger, disputes, and how NASes took our
// Disconnects. Reads only, but for the one route that puts a session off. Called by http-admin.ts,
// which guards them with the token.

import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import type { Ledger } from '../accounting/ledger.ts'
import { debtOf, ratedOctets } from '../accounting/rating.ts'
import type { Account, MeteringKey, Session } from '../accounting/session.ts'
import type { Page, Storage } from '../accounting/storage.ts'
import { type Address, checksumAddress, parseAddress } from '../ethereum/address.ts'
import type { Enforcement } from './enforcement.ts'
import { HttpError } from './http-error.ts'
import type { OperatorFacts } from './http-public.ts'
import { sessionJson } from './session-json.ts'

export interface BooksRoutesDeps {
  readonly ledger: Ledger
  readonly storage: Storage
  readonly enforcement: Pick<Enforcement, 'putOff'>
  readonly facts: OperatorFacts
  readonly now: () => number
}

const PageQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  before: z.coerce.number().int().min(0).optional(),
  account: z.string().optional(),
  all: z.enum(['true', 'false']).optional(),
  session: z
    .string()
    .regex(/^[0-9a-f]{32}$/)
    .optional(),
})
type PageQuery = z.infer<typeof PageQuery>

const text = (account: Address | undefined): string | null =>
  account === undefined ? null : checksumAddress(account)
const seconds = (ms: number): number => Math.floor(ms / 1000)

/** Registers the routes. */
export function booksRoutes(routes: FastifyInstance, deps: BooksRoutesDeps): void {
  const { ledger, storage } = deps
  const { token } = deps.facts

  routes.get('/v1/sessions', async (request) => {
    const query = readQuery(request.query)
    const page = pageOf(query)
    const nowMs = deps.now()
    const listed = query.all === 'true' ? await storage.sessions(page) : openOrOwing(page)
    return {
      token: { symbol: token.symbol, decimals: token.decimals },
      // The store has what is durable, the ledger what is true this moment.
      sessions: listed.map((session) => adminJson(ledger.session(session.id) ?? session, nowMs)),
    }
  })

  function openOrOwing({ limit, account }: Page): Session[] {
    const found: Session[] = []
    const owing = account === undefined ? ledger.owing() : ledger.debtsOf(account)
    for (const list of [account === undefined ? ledger.open() : ledger.openOf(account), owing]) {
      for (const session of list) {
        if (found.length === limit) return found
        found.push(session)
      }
    }
    return found
  }

  routes.post('/v1/sessions/:id/disconnect', async (request) => {
    const { id } = request.params as { id: string }
    const session = ledger.session(id)
    if (session === undefined || session.state === 'closed') {
      throw new HttpError(404, 'unknown-session', 'there is no open session of that id')
    }
    const cut = ledger.cut(id, 'operator', deps.now()) ?? session
    return { session: id, result: await deps.enforcement.putOff(cut, 'operator') }
  })

  routes.get('/v1/ledger', async (request) => {
    const rows = await storage.journal(pageOf(readQuery(request.query)))
    const entries = rows.map(({ atMs, account, session, merchant, amount, voucher }) => ({
      ...{ at: seconds(atMs), account: checksumAddress(account), session: session ?? null },
      ...{ merchant: text(merchant), amount: amount.toString(), voucher: voucher.toString() },
    }))
    return { token: { symbol: token.symbol, decimals: token.decimals }, entries }
  })

  routes.get('/v1/arrears', async (request) => {
    const { limit, account } = pageOf(readQuery(request.query))
    const debts = account === undefined ? ledger.owing() : ledger.debtsOf(account)
    const arrears = arrearsOf(debts).slice(0, limit)
    return {
      token: { symbol: token.symbol, decimals: token.decimals },
      arrears: arrears.map((entry) => ({
        account: checksumAddress(entry.account),
        owed: entry.owed.toString(),
        sessions: entry.sessions,
        disputed: entry.disputed.toString(),
        since: seconds(entry.sinceMs),
        ...accountJson(ledger.account(entry.account)),
      })),
    }
  })

  accountRoute(routes, deps)
  routes.get('/v1/disputes', async (request) => {
    const rows = await storage.disputes(pageOf(readQuery(request.query)))
    const disputes = rows.map(({ atMs, account, nasOctets, otherOctets, sequence, ...rest }) => ({
      ...{ at: seconds(atMs), account: text(account), ...rest },
      ...{ nasOctets: nasOctets.toString(), otherOctets: otherOctets.toString() },
      sequence: sequence ?? null,
    }))
    return { disputes }
  })

  routes.get('/v1/authorizations', async (request) => {
    const rows = await storage.authorizations(pageOf(readQuery(request.query)))
    const authorizations = rows.map(({ atMs, endedAtMs, id: _, ...rest }) => ({
      ...{ at: seconds(atMs), endedAt: endedAtMs === undefined ? null : seconds(endedAtMs) },
      ...rest,
    }))
    return { authorizations }
  })
}

/** How one account has paid, whether or not it is in memory. */
function accountRoute(routes: FastifyInstance, { ledger, storage }: BooksRoutesDeps): void {
  routes.get('/v1/accounts/:account', async (request) => {
    const { account: name } = request.params as { account: string }
    const account = parseAddress(name)
    const known = account === undefined ? undefined : ledger.account(account)
    const stored = account === undefined || known ? undefined : await storage.account(account)
    const found = known ?? stored?.account
    const keys = known ? ledger.meteringKeys(known.account) : (stored?.meteringKeys ?? [])
    if (found === undefined) {
      throw new HttpError(404, 'unknown-account', 'there are no books of that account')
    }
    return {
      account: checksumAddress(found.account),
      ...accountJson(found),
      meteringKeys: keys.map(keyJson),
    }
  })
}

/** What one account owes from sessions that are over. */
interface Arrears {
  readonly account: Address
  readonly owed: bigint
  readonly sessions: number
  /** What of it is disputed. */
  readonly disputed: bigint
  /** The end of the oldest of these sessions. */
  readonly sinceMs: number
}

/** By account, those who owe most first. */
function arrearsOf(debts: Iterable<Session>): Arrears[] {
  const byAccount = new Map<Address, Arrears>()
  for (const session of debts) {
    const { account, endedAtMs } = session
    if (account === undefined || endedAtMs === undefined) continue
    const debt = debtOf(session)
    const before = byAccount.get(account)
    byAccount.set(account, {
      account,
      owed: (before?.owed ?? 0n) + debt,
      sessions: (before?.sessions ?? 0) + 1,
      disputed: (before?.disputed ?? 0n) + (session.disputed ? debt : 0n),
      sinceMs: Math.min(before?.sinceMs ?? endedAtMs, endedAtMs),
    })
  }
  return [...byAccount.values()].sort((a, b) => (a.owed < b.owed ? 1 : -1))
}

/** So that one bad interval among the first few does not condemn a device. */
const ASSUMED_GOOD = 5
/** A session of which two meters say different things counts like so many missed intervals. */
const DISAGREEMENT_WEIGHT = 10

/** 0 … 1, three digits: the part of its intervals that it paid, less for disagreements. */
function payerReliability(account: Account | undefined): number {
  const good = (account?.paidIntervals ?? 0) + ASSUMED_GOOD
  const { missedIntervals = 0, disagreements = 0 } = account ?? {}
  const bad = missedIntervals + DISAGREEMENT_WEIGHT * disagreements
  return Math.round((1000 * good) / (good + bad)) / 1000
}

/** How it has paid so far. */
const accountJson = (account: Account | undefined) => ({
  credit: (account?.credit ?? 0n).toString(),
  voucher: (account?.voucher?.amount ?? 0n).toString(),
  paidIntervals: account?.paidIntervals ?? 0,
  missedIntervals: account?.missedIntervals ?? 0,
  cuts: account?.cuts ?? 0,
  disagreements: account?.disagreements ?? 0,
  reliability: payerReliability(account),
})

/** `expiresAt` 0: it must be shown anew before it counts again. */
const keyJson = ({ publicKey, scheme, trust, enrolledAtMs, expiresAtMs }: MeteringKey) => ({
  ...{ publicKey, scheme, trust },
  ...{ enrolledAt: seconds(enrolledAtMs), expiresAt: seconds(expiresAtMs) },
})

function readQuery(query: unknown): PageQuery {
  const parsed = PageQuery.safeParse(query)
  if (parsed.success) return parsed.data
  throw new HttpError(400, 'malformed-request', z.prettifyError(parsed.error))
}

function pageOf({ limit, before, account }: PageQuery): Page {
  const address = account === undefined ? undefined : parseAddress(account)
  if (account !== undefined && address === undefined) {
    throw new HttpError(400, 'malformed-request', 'account: 0x and 40 hex digits are expected')
  }
  return {
    limit,
    ...(before === undefined ? {} : { beforeMs: before * 1000 }),
    ...(address === undefined ? {} : { account: address }),
  }
}

/** What the device has signed of its volume, and what of both sides' figures is rated. */
function attestedJson(session: Session) {
  const { attested } = session
  const rated = { ratedOctets: ratedOctets(session).toString() }
  if (attested === undefined) return { attested: null, ...rated }
  const { inputOctets, outputOctets, trust, scheme, sequence, missing } = attested
  const { disagrees, atMs, countedOctets } = attested
  return {
    attested: {
      ...{ inputOctets: inputOctets.toString(), outputOctets: outputOctets.toString() },
      // What its access point had told by then.
      countedOctets: countedOctets.toString(),
      ...{ trust, scheme: scheme ?? null, sequence, missing, disagrees, at: seconds(atMs) },
    },
    ...rated,
  }
}

/** What the payer sees, and where its device is. */
const adminJson = (session: Session, nowMs: number) => ({
  ...sessionJson(session, nowMs),
  kind: session.kind,
  endedAt: session.endedAtMs === undefined ? null : seconds(session.endedAtMs),
  endedBy: session.endedBy ?? null,
  cutReason: session.cutReason ?? null,
  disputed: session.disputed,
  ...attestedJson(session),
  callingStationId: session.place.callingStationId,
  calledStationId: session.place.calledStationId,
  acctSessionId: session.place.acctSessionId,
  nasIdentifier: session.place.nasIdentifier,
})
