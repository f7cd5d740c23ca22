import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { createCommitter } from '../../accounting/committer.ts'
import { createLedger } from '../../accounting/ledger.ts'
import type { Session } from '../../accounting/session.ts'
import { openSqliteStore } from '../../accounting/store-sqlite.ts'
import { priceTariff } from '../../accounting/tariff.ts'
import { parseCidr } from '../../config/address.ts'
import { nasLookup } from '../../config/clients.ts'
import type { NasEntry } from '../../config/config.ts'
import type { Address } from '../../ethereum/address.ts'
import { createDuplicates } from '../../radius/duplicates.ts'
import { createAccounting } from '../../server/accounting.ts'
import { rateLimited } from '../../server/log.ts'
import { createMetrics } from '../../server/metrics.ts'
import { createRadiusHandler } from '../../server/radius.ts'
import { createRandomPool } from '../../server/random.ts'
import { openUdpPort } from '../../server/socket.ts'

// The accounting port as `datanet serve` has it, from socket to SQLite file, with sessions opened
// by hand instead of by EAP-TLS: what is in its books can be looked at while it runs.

export const ACCOUNT = `0x${'a1'.repeat(20)}` as Address
const OPERATOR = `0x${'0e'.repeat(20)}` as Address
export const SECRET = 'a secret of some length'

function nasAt(name: string, address: string): NasEntry {
  const ipaddr = parseCidr(address)
  if (typeof ipaddr === 'string') throw new Error(ipaddr)
  return {
    ...{ name, ipaddr, bssids: [], secret: Buffer.from(SECRET), nasType: 'hostapd' },
    ...{ tariff: 'standard', requireMessageAuthenticator: true, limitProxyState: true },
    maxMbps: 100_000,
  }
}
const NAS = nasAt('lobby', '127.0.0.1')
/** Another client entry: what comes from there is about sessions of its own. */
export const OTHER_ADDRESS = '127.0.0.2'
const OTHER = nasAt('yard', OTHER_ADDRESS)

/** Runs radclient for one Accounting-Request; 0 is a response with the right authenticator. */
export async function radclient(
  port: number,
  key: string,
  lines: readonly string[],
): Promise<number> {
  const args = ['-r', '1', '-t', '1', `127.0.0.1:${port}`, 'acct', key]
  const child = spawn('radclient', args, { stdio: ['pipe', 'ignore', 'ignore'] })
  child.stdin.end(lines.join('\n'))
  const [code] = await once(child, 'close')
  return Number(code)
}

/** The station of the session with this number. */
export function stationOf(number: number): string {
  const octets = Buffer.alloc(6)
  octets[0] = 2
  octets.writeUInt32BE(number, 2)
  return (octets.toString('hex').match(/../g) ?? []).join('-').toUpperCase()
}

/** Starts it in this process. */
export async function openAccountingPort() {
  const directory = mkdtempSync(join(tmpdir(), 'datanet-accounting-'))
  const path = join(directory, 'datanet.db')
  const storage = await openSqliteStore(path)
  const ledger = createLedger({
    ...{ sessionsMax: 20_000, rememberedMax: 20_000, accountsMax: 100, operatorAccount: OPERATOR },
  })
  const log = pino({ level: 'silent' })
  const metrics = createMetrics()
  const committer = createCommitter({ ledger, storage, onError() {}, onRecovered() {} })
  const terms = { perMinute: '60', perMegabyte: '1', intervalMs: 60_000, intervalMegabytes: 100 }
  const priced = priceTariff('standard', { ...terms, missedMax: 2, graceMs: 0 }, 0)
  const tariff = ledger.tariffVersion(priced, Date.now())
  ledger.meet(ACCOUNT)
  const random = createRandomPool()
  const logRate = rateLimited(1000, 10)
  const answer = createAccounting({
    ...{ ledger, committer, tariffOf: () => tariff, merchantOf: () => OPERATOR },
    ...{ sessionMaxMs: () => 86_400_000, random, now: Date.now, onWish() {} },
    admitReconnect: () => ({ reserve: 0n, endsAtMs: Date.now() + 86_400_000 }),
    ...{ log, logRate, metrics },
  })
  const handle = createRadiusHandler({
    ...{
      port: 'accounting',
      nasOf: nasLookup([NAS, OTHER]),
      answer,
      now: Date.now,
      log,
      logRate,
      metrics,
    },
    duplicates: createDuplicates({ lifetimeMs: 5_000, entriesMax: 16_384 }),
    ...{ delayedMax: 0, rejectDelayMs: () => 0 },
  })
  const opened = await openUdpPort({ host: '127.0.0.1', port: 0 }, handle, {
    ...{ inWorkMax: 16_384, onOverflow() {}, onError() {} },
  })

  return {
    ...{ ledger, storage, port: opened.endpoint.port },
    /** Opens session `number` as an Access-Accept does; gives its Class. */
    admit(number: number, acctSessionId: string): string {
      const id = number.toString(16).padStart(32, '0')
      const nowMs = Date.now()
      const place = {
        ...{ nas: NAS.name, address: '127.0.0.1', nasIdentifier: 'ap1', nasIpAddress: '' },
        ...{ nasPort: undefined, callingStationId: stationOf(number), calledStationId: '' },
        ...{ acctSessionId, acctMultiSessionId: '' },
      }
      const session = { id, kind: 'normal', account: ACCOUNT, merchant: OPERATOR } as const
      const endsAtMs = nowMs + 86_400_000
      ledger.begin({ ...session, tariff, place, reserve: 0n, endsAtMs }, nowMs)
      ledger.confirm(id, nowMs)
      return `ai:${id}`
    },
    session: (number: number): Session | undefined =>
      ledger.session(number.toString(16).padStart(32, '0')),
    /** Packets of the accounting port that got no answer, by reason. */
    async drops(): Promise<Record<string, number>> {
      const { values } = await metrics.dropped.get()
      return Object.fromEntries(values.map((one) => [one.labels.reason, one.value]))
    },
    /** Ends everything but the file; gives its path. */
    async stop(): Promise<string> {
      await opened.close()
      await committer.close()
      await storage.close()
      return path
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  }
}
