// The payment door over a real ledger, with a chain, a store and a clock that the test plays.

import fastify, { type InjectOptions } from 'fastify'
import { createLedger } from '../../accounting/ledger.ts'
import type { Changes } from '../../accounting/session.ts'
import { StorageError } from '../../accounting/storage.ts'
import { priceTariff, reserveOf, type Tariff } from '../../accounting/tariff.ts'
import type { AppAttestPolicy } from '../../attestation/app-attest.ts'
import type { Channel } from '../../chain/mirror-state.ts'
import type { Address } from '../../ethereum/address.ts'
import { signDigest } from '../../ethereum/signature.ts'
import { HttpError } from '../../server/http-error.ts'
import { paymentRoutes } from '../../server/http-payments.ts'
import { createPayments } from '../../server/payments.ts'
import { createUsageReports } from '../../server/usage-reports.ts'
import { accountNamed, domain, keyNamed } from '../accounting/vouchers.ts'

export const NOW_MS = 1_800_000_000_000
export const operatorKey = keyNamed('operator')
export const merchant = accountNamed('merchant')

/** 10 a minute, 1 a megabyte, a minute an interval: 20 an interval, 60 in reserve. */
export const tariff = {
  ...priceTariff(
    'standard',
    {
      ...{ perMinute: '10', perMegabyte: '1', intervalMs: 60_000, intervalMegabytes: 10 },
      ...{ missedMax: 2, graceMs: 0 },
    },
    0,
  ),
  version: 1,
}

/** What the test may change while it runs. */
export interface World {
  nowMs: number
  /** The time of day less that of the books. */
  wallAheadMs: number
  heardAtMs: number
  connected: boolean
  readonly channels: Map<Address, Channel>
  /** What a refresh finds. */
  refresh: () => boolean | Promise<boolean>
  refreshes: number[]
  /** Called with each transaction; throws or waits as the test wants. */
  commit: (changes: Changes) => void | Promise<void>
  commits: Changes[]
  failed: StorageError | undefined
  ensured: Address[]
  ensure: (account: Address) => void
  outcomes: string[]
  /** Of reports of usage. */
  reports: string[]
  appAttest: AppAttestPolicy | undefined
}

export const diskFull = () => new StorageError('disk-full', 'the disk is full')

export function rig() {
  const ledger = createLedger({
    ...{ sessionsMax: 10_000, rememberedMax: 10_000, accountsMax: 10_000 },
    operatorAccount: accountNamed('operator'),
  })
  const world: World = {
    ...{ nowMs: NOW_MS, wallAheadMs: 0, heardAtMs: NOW_MS, connected: true, channels: new Map() },
    ...{ refresh: () => false, refreshes: [], commit: () => {}, commits: [] },
    ...{ failed: undefined, ensured: [], outcomes: [], reports: [], appAttest: undefined },
    ensure: (account) => ledger.meet(account),
  }
  const now = () => world.nowMs
  const wallNow = () => world.nowMs + world.wallAheadMs
  const mirror = {
    channel: (operator: number, account: Address) =>
      operator === domain.operator ? world.channels.get(account) : undefined,
    connected: () => world.connected,
    heardAtMs: () => world.heardAtMs,
    async refresh(timeoutMs: number) {
      world.refreshes.push(timeoutMs)
      return world.refresh()
    },
  }
  const committer = {
    failed: () => world.failed,
    async durable() {
      const changes = ledger.drain()
      await world.commit(changes)
      world.commits.push(changes)
    },
  }
  const ensureAccount = async (account: Address) => {
    world.ensured.push(account)
    world.ensure(account)
  }
  const reports = createUsageReports({
    appAttest: () => world.appAttest,
    ...{ ledger, now, wallNow, secret: keyNamed('secret') },
    count: (outcome) => world.reports.push(outcome),
  })
  const payments = createPayments({
    ...{ domain, ledger, committer, mirror, ensureAccount, now, wallNow, reports },
    staleAfterMs: () => 60_000,
    sign: (digest) => signDigest(digest, operatorKey),
    count: (outcome) => world.outcomes.push(outcome),
  })
  const app = fastify()
  app.setErrorHandler(
    (error: { statusCode?: number; code?: string; message: string }, _, reply) => {
      const own = error instanceof HttpError
      const code = own ? error.code : `framework ${error.code}`
      return reply.code(error.statusCode ?? 500).send({ error: { code, message: error.message } })
    },
  )
  app.register(async (routes) =>
    paymentRoutes(routes, {
      ...{ payments, reports, committer, domain, ledger, mirror, ensureAccount, now, wallNow },
    }),
  )
  const post = async (url: string, body: unknown, o: Partial<InjectOptions> = {}) => {
    const answer = await app.inject({ method: 'POST', url, payload: body as object, ...o })
    return {
      status: answer.statusCode,
      headers: answer.headers,
      text: answer.body,
      ...answer.json(),
    }
  }
  return {
    ...{ world, ledger, payments, reports, app, post },
    pay: (body: unknown) => post('/v1/payments', body),
    /** Gives an account a deposit. */
    deposit(name: string, deposit: bigint, highestVoucher = 0n, pendingShift = 0n): Address {
      const account = accountNamed(name)
      const nothing = { reserved: 0n, withdrawn: 0n }
      world.channels.set(account, { deposit, highestVoucher, pendingShift, ...nothing })
      return account
    },
    /** Opens a session as an Access-Accept does. */
    open(name: string, n = 1, terms: Tariff = tariff): string {
      const account = accountNamed(name)
      if (!ledger.knows(account)) ledger.meet(account)
      const id = keyNamed(`session ${name} ${n}`).toString('hex', 0, 16)
      const place = {
        ...{ nas: 'lobby', address: '192.0.2.1', nasIdentifier: 'ap', nasIpAddress: '192.0.2.1' },
        ...{ nasPort: n, callingStationId: `02-00-00-00-00-${n}-${name}`, calledStationId: '' },
        ...{ acctSessionId: '', acctMultiSessionId: '' },
      }
      const limits = { reserve: reserveOf(terms), endsAtMs: world.nowMs + 3_600_000 }
      const session = { id, kind: 'normal', account, merchant, place, tariff: terms } as const
      ledger.begin({ ...session, ...limits }, world.nowMs)
      ledger.confirm(id, world.nowMs)
      return id
    },
  }
}
