// Metering and money as `datanet serve` composes them, as a process of its own that a test may end,
// or its disk: the real accounting port, payment route, books and store, over a chain that is a
// table and with sessions opened as their Accepts would have. Prints both its ports when it is
// ready. Arguments: the file of the store, how many payers there are. Started by doomed.ts.

import fastify from 'fastify'
import { pino } from 'pino'
import { priceTariff, reserveOf } from '../../accounting/tariff.ts'
import { sessionOf } from '../../bench/payers.ts'
import { parseCidr } from '../../config/address.ts'
import { nasLookup } from '../../config/clients.ts'
import type { NasEntry } from '../../config/config.ts'
import { signDigest } from '../../ethereum/signature.ts'
import { createDuplicates } from '../../radius/duplicates.ts'
import { createAccounting } from '../../server/accounting.ts'
import { createEnsureAccount } from '../../server/accounts.ts'
import { openBooks } from '../../server/books.ts'
import { paymentRoutes } from '../../server/http-payments.ts'
import { rateLimited } from '../../server/log.ts'
import { createMetrics } from '../../server/metrics.ts'
import { createPayments } from '../../server/payments.ts'
import { createRadiusHandler } from '../../server/radius.ts'
import { createRandomPool } from '../../server/random.ts'
import { openUdpPort } from '../../server/socket.ts'
import { createUsageReports } from '../../server/usage-reports.ts'
import { accountNamed, domain, keyNamed } from '../accounting/vouchers.ts'
import { acctSessionOf, payerName, SECRET, stationOf } from './paying-load.ts'

const [databasePath = '', payersText = '0'] = process.argv.slice(2)
const payers = Number(payersText)
const now = Date.now
const operatorAccount = accountNamed('operator')
const log = pino({ level: 'error' }, pino.destination({ dest: 2, sync: true }))
const logRate = rateLimited(10_000, 100)
const metrics = createMetrics()
const books = await openBooks({ storage: 'embedded', databasePath, operatorAccount, now, log })
const { ledger, storage, committer } = books

const terms = { perMinute: '60', perMegabyte: '1', intervalMs: 60_000, intervalMegabytes: 1_000 }
const tariff = ledger.tariffVersion(
  priceTariff('standard', { ...terms, missedMax: 2, graceMs: 0 }, 0),
  now(),
)
for (let n = 0; n < payers; n++) {
  const id = sessionOf(n)
  if (ledger.session(id) !== undefined) continue
  const place = {
    ...{ nas: 'lobby', address: '127.0.0.1', nasIdentifier: 'ap1', nasIpAddress: '' },
    ...{ nasPort: n, callingStationId: stationOf(n), calledStationId: '' },
    ...{ acctSessionId: acctSessionOf(n), acctMultiSessionId: '' },
  }
  const session = { id, kind: 'normal', account: accountNamed(payerName(n)), place } as const
  const agreed = { tariff, reserve: reserveOf(tariff), endsAtMs: now() + 86_400_000 }
  ledger.begin({ ...session, merchant: operatorAccount, ...agreed }, now())
  ledger.confirm(id, now())
}
await committer.durable()
setInterval(() => ledger.advance(now()), 250)

const nothing = { reserved: 0n, highestVoucher: 0n, withdrawn: 0n, pendingShift: 0n }
const channel = { deposit: 2n ** 95n, ...nothing }
const mirror = {
  channel: (operator: number) => (operator === domain.operator ? channel : undefined),
  connected: () => true,
  heardAtMs: now,
  refresh: async () => true,
}
const ensureAccount = createEnsureAccount(ledger, storage)
const reports = createUsageReports({
  appAttest: () => undefined,
  ...{ ledger, now, wallNow: now, secret: keyNamed('secret'), count: () => {} },
})
const door = { domain, ledger, committer, mirror, ensureAccount, reports, now, wallNow: now }
const payments = createPayments({
  ...door,
  staleAfterMs: () => 60_000,
  sign: (digest) => signDigest(digest, keyNamed('operator')),
  count: () => {},
})
const app = fastify({ requestTimeout: 10_000, forceCloseConnections: true })
await app.register(async (routes) => paymentRoutes(routes, { payments, ...door }))
await app.listen({ host: '127.0.0.1', port: 0 })

const ipaddr = parseCidr('127.0.0.1')
if (typeof ipaddr === 'string') throw new Error(ipaddr)
const nas: NasEntry = {
  ...{ name: 'lobby', ipaddr, bssids: [], secret: Buffer.from(SECRET), nasType: 'hostapd' },
  ...{ tariff: 'standard', requireMessageAuthenticator: true, limitProxyState: true },
  maxMbps: 100_000,
}
const answer = createAccounting({
  ...{ ledger, committer, tariffOf: () => tariff, merchantOf: () => operatorAccount },
  ...{ sessionMaxMs: () => 86_400_000, random: createRandomPool(), now, onWish() {} },
  admitReconnect: () => ({ reserve: 0n, endsAtMs: now() + 86_400_000 }),
  ...{ log, logRate, metrics },
})
const handle = createRadiusHandler({
  ...{ port: 'accounting', nasOf: nasLookup([nas]), answer, now, log, logRate, metrics },
  duplicates: createDuplicates({ lifetimeMs: 5_000, entriesMax: 16_384 }),
  ...{ delayedMax: 0, rejectDelayMs: () => 0 },
})
const opened = await openUdpPort({ host: '127.0.0.1', port: 0 }, handle, {
  ...{ inWorkMax: 16_384, onOverflow() {}, onError() {} },
})
const address = app.server.address()
if (address === null || typeof address === 'string') throw new Error('HTTP has no address')
process.stdout.write(`ready ${opened.endpoint.port} ${address.port}\n`)
