// The payment side of the server as a process of its own: the real HTTP side, doors, books and
// store, composed as main.ts does, over a chain that is a table, since thousands of deposits would
// take an hour. Prints its port. Called by payments.ts: node payments-server.ts DIRECTORY PAYERS.

import { setFlagsFromString } from 'node:v8'
import { pino } from 'pino'
import { reserveOf } from '../accounting/tariff.ts'
import { makeOperatorCertificates, spkiSha256Of } from '../certs/operator.ts'
import type { Mirror } from '../chain/mirror.ts'
import { defaultConfigText } from '../config/default.ts'
import { parseConfig } from '../config/parse.ts'
import type { Address } from '../ethereum/address.ts'
import { openBooks } from '../server/books.ts'
import type { ChainSide } from '../server/chain-side.ts'
import { openHttp } from '../server/http.ts'
import { rateLimited } from '../server/log.ts'
import { createMetering } from '../server/metering.ts'
import { createMetrics } from '../server/metrics.ts'
import { createRandomPool } from '../server/random.ts'
import { buildRuntime } from '../server/runtime.ts'
import { accountNamed, domain, keyNamed } from '../test/accounting/vouchers.ts'
import { activityDouble, noActivityContracts } from '../test/server/activity-double.ts'
import { notaryDouble } from '../test/server/notary-double.ts'
import { payerName, sessionOf } from './payers.ts'

setFlagsFromString('--no-concurrent-marking') // as serve() does
const [directory = '.', payersText = '0'] = process.argv.slice(2)
const now = (): number => Date.now()
const random = createRandomPool()
const log = pino({ level: 'error' }, pino.destination(2))
const operatorAccount = accountNamed('operator')
const sweepMs = 250

const deposits = new Map(
  Array.from({ length: Number(payersText) }, (_, n) => {
    const channel = {
      deposit: 2n ** 95n,
      reserved: 0n,
      highestVoucher: 0n,
      withdrawn: 0n,
      pendingShift: 0n,
    }
    return [accountNamed(payerName(n)), channel] as const
  }),
)
const mirror: Mirror = {
  channel: (operator, account) =>
    operator === domain.operator ? deposits.get(account) : undefined,
  operatorsWithDeposit: () => [domain.operator],
  deviceKey: () => 'unset',
  operator: () => undefined,
  head: () => undefined,
  heardAtMs: now,
  connected: () => true,
  refresh: async () => true,
  onChange: () => () => {},
  async stop() {},
}
const chain: ChainSide = {
  mirror,
  facts: {
    ...{ operatorId: domain.operator, account: operatorAccount },
    ...{ contract: domain.contract, chainId: domain.chainId, deployBlock: 0 },
    token: { address: accountNamed('token'), symbol: 'DNT', decimals: 18 },
    activity: noActivityContracts,
  },
  ...{ rpcUrl: '', embedded: undefined, durableBlock: undefined, pinnedSpki: () => [] },
  own: undefined,
  failed: new Promise(() => {}),
  async stop() {},
}

const books = await openBooks({
  ...{ storage: 'embedded', databasePath: `${directory}/bench.sqlite` },
  ...{ operatorAccount, now, log },
})
const { ledger, committer } = books
const read = parseConfig(defaultConfigText({ secret: 'a'.repeat(24) }), {}, () => '')
if (!('config' in read)) throw new Error('the default configuration can not be read')
const operatorName = read.config.operator.name
const nowSeconds = Math.floor(now() / 1_000)
const made = makeOperatorCertificates({ operatorName, nowSeconds, random })
const certificate = {
  ...{ chainPem: made.certificatePem, privateKeyPem: made.keyPem },
  ...{ certificates: [made.certificatePem], serverName: made.serverName },
  spkiSha256: spkiSha256Of(made.certificatePem),
}
const runtime = buildRuntime(read.config, certificate, 18, (tariff) =>
  ledger.tariffVersion(tariff, now()),
)
const [tariff] = runtime.rules.tariffs.values()
if (tariff === undefined) throw new Error('the default configuration has no tariff')

/** One session for each payer, as admission would have begun it. */
function openSession(account: Address, n: number): void {
  const id = sessionOf(n)
  const station = id.slice(0, 12)
  const place = {
    ...{ nas: 'bench', address: '127.0.0.1', nasIdentifier: 'bench', nasIpAddress: '127.0.0.1' },
    ...{ nasPort: n, callingStationId: station, calledStationId: '02-00-00-00-00-00:Bench' },
    ...{ acctSessionId: station, acctMultiSessionId: '' },
  }
  if (tariff === undefined) return
  const terms = { tariff, reserve: reserveOf(tariff), endsAtMs: now() + 86_400_000 }
  ledger.meet(account)
  ledger.begin({ id, kind: 'normal', account, merchant: operatorAccount, place, ...terms }, now())
  ledger.confirm(id, now())
}
for (const [n, account] of [...deposits.keys()].entries()) openSession(account, n)
await committer.durable()

const metrics = createMetrics()
const logRate = rateLimited(10_000, 10)
const metering = createMetering(books, {
  ...{ chain, operatorKey: keyNamed('operator'), current: () => runtime },
  ...{ random, now, wallNow: now, log, logRate, metrics },
})
const sweep = setInterval(() => metering.sweep(), sweepMs)
const http = await openHttp(
  { host: '127.0.0.1', port: 0 },
  {
    ...{ runtime: () => runtime, facts: chain.facts, embedded: undefined, chainRpc: '', mirror },
    ...{ baseUrl: () => '', log, logRate, metrics, metering, now, wallNow: now },
    adminToken: 'not asked for',
    ...{
      radiusPorts: { auth: 0, accounting: 0 },
      reload: () => ({ problems: [], warnings: [] }),
      durableBlock: undefined,
    },
    ...{ readiness: () => undefined, publicUrl: () => null },
    ...{ activity: activityDouble(), notary: notaryDouble(), signApproval: () => Buffer.alloc(65) },
  },
)
process.stdout.write(`${http.endpoint.port}\n`)

process.once('SIGTERM', async () => {
  clearInterval(sweep)
  await http.close()
  await metering.stop()
  await books.close()
  process.exit(0)
})
