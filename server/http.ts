// The HTTP side: one fastify instance with its guards (Host header, body limit, rate limits, one
// error shape) and the routes of its three kinds. Holds no logic of its own; each route calls what
// main.ts handed in. No CORS: no other site's page has business here.

import { isIP } from 'node:net'
import rateLimit from '@fastify/rate-limit'
import fastify, { type FastifyError, type FastifyInstance } from 'fastify'
import type { Endpoint } from '../config/config.ts'
import { payPlaceDomain } from '../ethereum/typed-data.ts'
import { consoleHeaders, consolePage } from './console.ts'
import { accessPointRoutes } from './http-access-points.ts'
import { type ActivityRoutesDeps, activityRoutes } from './http-activity.ts'
import { type AdminDeps, adminRoutes } from './http-admin.ts'
import { HttpError } from './http-error.ts'
import { type MerchantRoutesDeps, merchantRoutes } from './http-merchant.ts'
import { meteringKeyRoutes } from './http-metering.ts'
import { paymentRoutes, readQuery } from './http-payments.ts'
import { type PublicDeps, publicRoutes } from './http-public.ts'
import type { rateLimited } from './log.ts'
import type { Metrics } from './metrics.ts'
import { showStatus } from './notary-status.ts'

export interface HttpDeps extends PublicDeps, AdminDeps {
  readonly metrics: Metrics
  /** Whether everything a device needs is up; the reason where it is not. */
  readonly readiness: () => string | undefined
  readonly publicUrl: () => string | null
  readonly logRate: ReturnType<typeof rateLimited>
  readonly activity: Pick<ActivityRoutesDeps, 'desk' | 'book'>
  /** By the operator's account: 65 bytes. */
  readonly signApproval: MerchantRoutesDeps['sign']
}

/** A raw transaction of 64 KiB is 131 kB of hex; nothing else comes near it. */
const BODY_BYTES_MAX = 160 * 1024
/**
 * Enough for any client of ours; a flood from one address is cut here before it reaches a handler.
 */
const REQUESTS_PER_SECOND = 100
/**
 * A request of which something is missing for that long is ended. Node looks for them as often as
 * `connectionsCheckingInterval` says, every 30 s where nothing is said, and takes the longer of the
 * two timeouts for the whole request; one for the headers of a minute made ten seconds sixty.
 */
export const HTTP_TIMEOUTS = {
  ...{ headersTimeout: 5_000, requestTimeout: 10_000, connectionsCheckingInterval: 1_000 },
}
/** A socket each; more wait in the kernel. */
const CONNECTIONS_MAX = 1_000

/**
 * DNS rebinding: a page of another site reaches us under its own name, never under an address or
 * ours.
 */
function isOwnHost(header: string | undefined, publicUrl: string | null): boolean {
  if (header === undefined) return false
  const host = header
    .replace(/:\d+$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .toLowerCase()
  if (host === 'localhost' || isIP(host) !== 0) return true
  return publicUrl !== null && host === new URL(publicUrl).hostname
}

/** Builds and binds it; rejects with the system's error where the port can't be had. */
export async function openHttp(
  listen: Endpoint,
  deps: HttpDeps,
  timeouts = HTTP_TIMEOUTS,
): Promise<{ endpoint: Endpoint; close(): Promise<void> }> {
  const app = fastify({
    bodyLimit: BODY_BYTES_MAX,
    http: timeouts,
    requestTimeout: timeouts.requestTimeout,
    forceCloseConnections: true,
    logger: false,
  })
  await app.register(rateLimit, { max: REQUESTS_PER_SECOND, timeWindow: 1_000 })
  guard(app, deps)
  await app.register(async (routes) => publicRoutes(routes, deps))
  await app.register(async (routes) => paymentRoutes(routes, paymentDeps(deps)))
  await app.register(async (routes) => meteringKeyRoutes(routes, deps.metering.enrolment))
  await app.register(async (routes) => accessPointRoutes(routes, accessPointDeps(deps)))
  await app.register(async (routes) => activityRoutes(routes, activityDeps(deps)))
  await app.register(async (routes) => merchantRoutes(routes, merchantDeps(deps)))
  await app.register(async (routes) => adminRoutes(routes, deps))
  await app.register(async (routes) => healthRoutes(routes, deps))
  app.server.maxConnections = CONNECTIONS_MAX
  await app.listen({ host: listen.host, port: listen.port })
  const address = app.server.address()
  if (address === null || typeof address === 'string') throw new Error('HTTP has no address')
  return {
    endpoint: { host: address.address, port: address.port },
    close: () => app.close(),
  }
}

function accessPointDeps({ runtime, metering, facts, now }: HttpDeps) {
  return { runtime, storage: metering.books.storage, operatorAccount: facts.account, now }
}

function paymentDeps({ metering, facts, mirror, now, wallNow }: HttpDeps) {
  const { payments, reports, books, ensureAccount } = metering
  const { chainId, contract, operatorId: operator } = facts
  const separator = payPlaceDomain(chainId, contract)
  const domain = { chainId, contract, operator, separator }
  const { ledger, committer } = books
  const door = { payments, reports, ledger, committer, ensureAccount }
  return { ...door, domain, mirror, now, wallNow }
}

function activityDeps(deps: HttpDeps): ActivityRoutesDeps {
  const { facts, now, activity } = deps
  const query = paymentDeps(deps)
  return { ...activity, facts, now, readQuery: (body) => readQuery(body, query) }
}

function merchantDeps(deps: HttpDeps): MerchantRoutesDeps {
  const { notary, metering, facts, runtime, now } = deps
  return {
    ...{ notary, storage: metering.books.storage, operator: facts.operatorId, now },
    domain: payPlaceDomain(facts.chainId, facts.contract),
    isMerchant: (account) => runtime().config.clients.some(({ merchant }) => merchant === account),
    commissionPpm: () => runtime().config.payplace.commissionPpm,
    sign: deps.signApproval,
  }
}

function guard(app: FastifyInstance, deps: HttpDeps): void {
  app.addHook('onRequest', async (request) => {
    if (!isOwnHost(request.headers.host, deps.publicUrl())) {
      throw new HttpError(421, 'wrong-host', 'this server does not answer under that Host')
    }
  })
  app.addHook('onSend', async (_request, reply) => {
    reply.header('x-content-type-options', 'nosniff')
  })
  app.setNotFoundHandler({ preHandler: app.rateLimit() }, (request, reply) => {
    const message = `there is no ${request.method} ${request.url.split('?')[0]}`
    return reply.code(404).send({ error: { code: 'not-found', message } })
  })
  app.setErrorHandler((error: FastifyError, _request, reply) => {
    const status = error.statusCode ?? 500
    // What a handler refuses in its own words is no fault of ours and needs no line in the log.
    if (error instanceof HttpError) {
      const { code, message } = error
      return reply.code(status).send({ error: { code, message } })
    }
    if (status < 500) {
      return reply.code(status).send({ error: { code: nameOf(status), message: error.message } })
    }
    deps.logRate('http', deps.now(), () => {
      deps.log.error({ err: error }, 'an HTTP request could not be handled')
    })
    const message = 'the server could not do that'
    return reply.code(status).send({ error: { code: 'internal-error', message } })
  })
}

const nameOf = (status: number): string =>
  ({ 413: 'body-too-large', 415: 'unsupported-media-type', 429: 'too-many-requests' })[status] ??
  'malformed-request'

function healthRoutes(routes: FastifyInstance, deps: HttpDeps): void {
  routes.get('/healthz', async () => ({ status: 'ok' }))
  routes.get('/readyz', async (_request, reply) => {
    const reason = deps.readiness()
    if (reason === undefined) return { status: 'ready' }
    return reply.code(503).send({ error: { code: 'not-ready', message: reason } })
  })
  routes.get('/metrics', async (_request, reply) => {
    showStatus(deps.notary.status(), deps.metrics)
    reply.header('content-type', deps.metrics.registry.contentType)
    return deps.metrics.registry.metrics()
  })
  routes.get('/', async (_request, reply) => {
    reply.headers(consoleHeaders)
    return consolePage
  })
}
