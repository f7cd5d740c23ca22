// The routes of the operator's own tools: reload and the state of the chain mirror. Each needs the
// bearer token of data/admin-token, in the Authorization header only. Called by http.ts.

import { createHash, timingSafeEqual } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import type { Mirror } from '../chain/mirror.ts'
import { checksumAddress } from '../ethereum/address.ts'
import { booksRoutes } from './http-books.ts'
import { HttpError } from './http-error.ts'
import type { PublicDeps } from './http-public.ts'
import type { Metering } from './metering.ts'
import type { Notary } from './notary.ts'
import type { Reloaded } from './reload.ts'

export interface AdminDeps extends PublicDeps {
  readonly adminToken: string
  readonly mirror: Mirror
  readonly metering: Pick<
    Metering,
    'books' | 'enforcement' | 'enrolment' | 'reports' | 'ensureAccount' | 'payments'
  >
  /** The newest block a durable snapshot holds; undefined on a chain that is not embedded. */
  readonly durableBlock: (() => number) | undefined
  readonly reload: () => Reloaded
  /** The time of day, Unix ms; `now` is the clock of the books. */
  readonly wallNow: () => number
  readonly notary: Notary
}

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest()

/** Registers the operator's routes behind the token. */
export function adminRoutes(routes: FastifyInstance, deps: AdminDeps): void {
  const expected = sha256(`Bearer ${deps.adminToken}`)
  routes.addHook('onRequest', async (request) => {
    // Hashing first makes both sides one length, so the comparison tells nothing but equal or not.
    if (!timingSafeEqual(sha256(request.headers.authorization ?? ''), expected)) {
      throw new HttpError(401, 'unauthorized', 'send Authorization: Bearer with data/admin-token')
    }
  })
  const { books, enforcement } = deps.metering
  booksRoutes(routes, { ...books, enforcement, facts: deps.facts, now: deps.now })
  routes.post('/v1/reload', async (_request, reply) => {
    const { problems, warnings } = deps.reload()
    if (problems.length === 0) return { reloaded: true, warnings }
    const message = 'the configuration has problems; the old one stays in force'
    return reply.code(422).send({ error: { code: 'configuration', message }, problems })
  })
  routes.get('/v1/notary', async () => notaryAnswer(deps))
  routes.post('/v1/notary/build', async (_request, reply) => {
    deps.notary.request()
    return reply.code(202).send(notaryAnswer(deps))
  })
  routes.post('/v1/notary/withdraw', async (_request, reply) => {
    deps.notary.payout()
    return reply.code(202).send(notaryAnswer(deps))
  })
  routes.get('/v1/chain/status', async () => {
    const { facts, mirror } = deps
    const heardAtMs = mirror.heardAtMs()
    const staleAfterMs = deps.runtime().rules.staleAfterMs
    return {
      chainId: Number(facts.chainId),
      rpc: deps.embedded === undefined ? deps.chainRpc : `${deps.baseUrl()}/v1/chain`,
      contract: checksumAddress(facts.contract),
      token: { ...facts.token, address: checksumAddress(facts.token.address) },
      operatorId: facts.operatorId,
      account: checksumAddress(facts.account),
      block: mirror.head()?.number ?? null,
      durableBlock: deps.durableBlock?.() ?? null,
      connected: mirror.connected(),
      heardAt: Math.floor(heardAtMs / 1000),
      stale: deps.wallNow() - heardAtMs >= staleAfterMs,
    }
  })
}

function notaryAnswer({ notary, facts }: AdminDeps): object {
  const status = notary.status()
  if (status === undefined) {
    throw new HttpError(503, 'not-ready', 'the chain has not been read yet; try again')
  }
  const { waiting, own, answered, problem, ...rest } = status
  return {
    ...{ ...rest, token: { symbol: facts.token.symbol, decimals: facts.token.decimals } },
    ...{
      waiting: `${waiting}`,
      own: `${own}`,
      answered: answered ?? null,
      problem: problem ?? null,
    },
  }
}
