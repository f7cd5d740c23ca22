// The whole request path without sockets, wired as server/main.ts wires it: real codec, duplicates,
// handler, conversations, sessions, TLS engine and certificates; a mirror of plain maps, a clock
// that the test turns and randomness from a seed. Called by the simulations of this folder.

import { createHash, createPublicKey, X509Certificate } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import { pino } from 'pino'
import { createCommitter } from '../../accounting/committer.ts'
import { createLedger } from '../../accounting/ledger.ts'
import type { Session } from '../../accounting/session.ts'
import { openSqliteStore } from '../../accounting/store-sqlite.ts'
import { priceTariff } from '../../accounting/tariff.ts'
import { deriveDeviceKey, makeBoundCertificate } from '../../certs/device.ts'
import { identityDomain, identityReader } from '../../certs/identity.ts'
import { makeOperatorCertificates } from '../../certs/operator.ts'
import type { Mirror } from '../../chain/mirror.ts'
import { parseCidr } from '../../config/address.ts'
import { nasLookup } from '../../config/clients.ts'
import type { NasEntry } from '../../config/config.ts'
import { createNodeTlsEngine } from '../../eap/tls.ts'
import { type Address, parseAddress } from '../../ethereum/address.ts'
import { accountOf } from '../../ethereum/signature.ts'
import { createDuplicates } from '../../radius/duplicates.ts'
import { type AccessDeps, answerAccess } from '../../server/access.ts'
import { createAccounting } from '../../server/accounting.ts'
import { createEnsureAccount } from '../../server/accounts.ts'
import { createConversations } from '../../server/conversations.ts'
import { endUncovered } from '../../server/escrow-watch.ts'
import { rateLimited } from '../../server/log.ts'
import { createMetrics } from '../../server/metrics.ts'
import { createRadiusHandler, type RadiusPort } from '../../server/radius.ts'
import { createSupplicant, type Supplicant, type TlsVersion } from '../peer/tls.ts'
import { seeded } from './random.ts'

export const OPERATOR = 1
export const DUPLICATE_MS = 30_000
const CHAIN_ID = 31_337n
const START_MS = 1_800_000_000_000
const MONTH_SECONDS = 30 * 86_400

function contractAddress(): Address {
  const parsed = parseAddress(`0x${'c0'.repeat(20)}`)
  if (parsed === undefined) throw new Error('contract')
  return parsed
}
const contract = contractAddress()

const server = makeOperatorCertificates({
  ...{ operatorName: 'Simulated', nowSeconds: START_MS / 1000 },
  random: seeded('operator certificate').bytes,
})
const engine = createNodeTlsEngine({
  ...{ certificatePem: server.certificatePem, privateKeyPem: server.keyPem },
  ...{ tlsMin: '1.2', tlsMax: '1.3' },
})
const pinSha256 = createHash('sha256')
  .update(new X509Certificate(server.certificatePem).raw)
  .digest('hex')

/** Reserves (2 + 1) × 11 = 33 units a session; these stations move no data, and so owe nothing. */
export const tariff = priceTariff(
  'standard',
  {
    ...{ perMinute: '0', perMegabyte: '1', intervalMs: 60_000, intervalMegabytes: 11 },
    ...{ missedMax: 2, graceMs: 0 },
  },
  0,
)

function nas(name: string, ipaddr: string, takesDisconnect: boolean): NasEntry {
  const cidr = parseCidr(ipaddr)
  if (typeof cidr === 'string') throw new Error(cidr)
  const secret = Buffer.from(`the shared secret of ${name}, long enough`)
  return {
    ...{ name, ipaddr: cidr, bssids: [], secret, nasType: 'generic', tariff: 'standard' },
    ...{ requireMessageAuthenticator: true, limitProxyState: true, maxMbps: 1000 },
    ...(takesDisconnect ? { coa: { port: 3799, secret } } : {}),
  }
}
export const NASES: readonly NasEntry[] = [
  nas('lobby', '192.0.2.1', true),
  nas('roof', '192.0.2.2', false),
  nas('yard', '2001:db8::3', true),
]

/** A device with its bound certificate, able to start TLS connections. */
export interface Device {
  readonly account: Address
  readonly supplicant: Supplicant
}

/** The account is a function of `accountName`, the key of both names. */
export function makeDevice(accountName: string, name: string, tls: TlsVersion = '1.3'): Device {
  const accountKey = createHash('sha256').update(`account ${accountName}`).digest()
  const key = { accountKey, chainId: CHAIN_ID, contract, name }
  const keyPem = deriveDeviceKey(key)
  const publicKey = createPublicKey(keyPem).export({ type: 'spki', format: 'pem' }).toString()
  const notBefore = START_MS / 1000 - 600
  const certificatePem = makeBoundCertificate({
    ...{ ...key, publicKey, signingKeyPem: keyPem, notBefore, notAfter: notBefore + MONTH_SECONDS },
    serial: createHash('sha256').update(`${accountName} ${name}`).digest().subarray(0, 16),
  })
  const credential = { certificatePem, keyPem, trust: { pinSha256 } }
  const supplicant = createSupplicant({ tlsMin: tls, tlsMax: tls, ...credential })
  return { account: accountOf(accountKey), supplicant }
}

export interface RigOptions {
  readonly seed: string
  readonly conversationsMax: number
  readonly duplicatesMax: number
  readonly idleMs: number
  readonly fragmentSize: number
}

export interface Source {
  readonly address: string
  readonly port: number
}

export type Rig = Awaited<ReturnType<typeof createRig>>

/** What the simulated chain says; `heardAtMs` undefined: just now. */
export interface Chain {
  readonly deposits: Map<Address, bigint>
  heardAtMs: number | undefined
  refreshes: boolean
}

function createMirror(chain: Chain, now: () => number): Mirror {
  const none = { reserved: 0n, highestVoucher: 0n, withdrawn: 0n, pendingShift: 0n }
  return {
    channel(operator, account) {
      const deposit = chain.deposits.get(account)
      return operator === OPERATOR && deposit !== undefined ? { ...none, deposit } : undefined
    },
    operatorsWithDeposit: (account) => (chain.deposits.has(account) ? [OPERATOR] : []),
    deviceKey: () => 'unset',
    operator: () => undefined,
    head: () => ({ number: 1, hash: '0x' }),
    heardAtMs: () => chain.heardAtMs ?? now(),
    connected: () => chain.heardAtMs === undefined,
    async refresh() {
      await turn()
      return chain.refreshes
    },
    onChange: () => () => {},
    async stop() {},
  }
}

/** A server at START_MS with nothing in its tables. */
export async function createRig(options: RigOptions) {
  const clock = { nowMs: START_MS }
  const now = (): number => clock.nowMs
  const random = seeded(`${options.seed} server`)
  const metrics = createMetrics()
  const faults: string[] = []
  const log = pino({ level: 'error', base: null }, { write: (line) => void faults.push(line) })
  const operatorAccount = contract
  const ledger = createLedger({
    ...{ sessionsMax: 10_000, rememberedMax: 10_000, accountsMax: 10_000, operatorAccount },
  })
  const storage = await openSqliteStore(':memory:')
  const ends: Session[] = []
  const committer = createCommitter({
    ledger: {
      drain() {
        const changes = ledger.drain()
        ends.push(...changes.sessions.filter(({ state }) => state === 'closed'))
        return changes
      },
    },
    storage,
    onError: (error) => faults.push(error.message),
    onRecovered: () => undefined,
    // The clock of this world would run on while the event loop turns.
    schedule(work) {
      queueMicrotask(work)
      return { cancel: () => undefined }
    },
  })
  const { conversationsMax, idleMs } = options
  const limits = { conversationsMax, perNasMax: conversationsMax, idleMs }
  const conversations = createConversations(
    () => limits,
    ({ reserved }) => {
      if (reserved !== undefined) ledger.close(reserved.id, 'abandoned', now())
    },
  )
  const chain: Chain = { deposits: new Map(), heardAtMs: undefined, refreshes: true }
  const mirror = createMirror(chain, now)
  const rules: ReturnType<AccessDeps['rules']> = {
    ...{ engine, tariffs: new Map([['standard', tariff]]), fragmentSize: options.fragmentSize },
    ...{ roundsMax: 50, staleAfterMs: 60_000 },
    admission: {
      ...{ sessionMaxMs: 600_000, perAccount: 4, prepay: 'off' },
      ...{ newcomersPerClient: 10_000, arrearsWindowMs: 0 },
    },
  }
  const access: AccessDeps = {
    ...{ now, wallNow: now, random: random.bytes, mirror, operatorId: OPERATOR, ledger },
    operatorAccount,
    ...{ conversations, committer, ensureAccount: createEnsureAccount(ledger, storage) },
    storageFailed: () => committer.failed() !== undefined,
    isSilent: () => false,
    payments: { payVoucherUri: () => ({ refusal: 'malformed', message: 'not in this world' }) },
    ...{ log, metrics, rules: () => rules, chargeableIdentityKey: Buffer.alloc(32, 1) },
    readIdentity: identityReader(identityDomain(CHAIN_ID, contract), 1_000),
  }
  const lookup = nasLookup(NASES)
  const logRate = rateLimited(10_000, 1_000)
  const answerAccounting = createAccounting({
    ...{ ledger, committer, random: random.bytes, now, log, logRate, metrics },
    ...{ tariffOf: () => tariff, merchantOf: () => operatorAccount, sessionMaxMs: () => 600_000 },
    admitReconnect: () => ({ refused: 'nobody reconnects in this world' }),
    onWish: () => undefined,
  })
  const limitsOfDuplicates = { lifetimeMs: DUPLICATE_MS, entriesMax: options.duplicatesMax }
  const duplicates = createDuplicates(limitsOfDuplicates)
  const reached = { auth: 0, accounting: 0 }
  const open = (port: RadiusPort) =>
    createRadiusHandler({
      ...{ port, now, log, logRate, metrics, nasOf: lookup },
      duplicates: port === 'auth' ? duplicates : createDuplicates(limitsOfDuplicates),
      rejectDelayMs: () => 0,
      delayedMax: 0,
      async answer(request, from, source) {
        reached[port] += 1
        if (port === 'auth') return answerAccess(request, from, source, access)
        return answerAccounting(request, from, source)
      },
    })
  return {
    /** What was logged as an error: faults of ours, one JSON line each. */
    faults,
    ...{ clock, metrics, ends, ledger, conversations, duplicates, chain, reached, options },
    auth: open('auth'),
    accounting: open('accounting'),
    /** Sets a deposit the way a block does: what is no longer covered ends at once. */
    deposit(account: Address, amount: bigint): void {
      chain.deposits.set(account, amount)
      for (const { id } of endUncovered(new Set([account]), OPERATOR, mirror, ledger, now())) {
        ledger.close(id, 'disconnected', now())
      }
    },
    sweep(): void {
      conversations.sweep(now())
      ledger.advance(now())
    },
    async drops(): Promise<Record<string, number>> {
      const { values } = await metrics.dropped.get()
      return Object.fromEntries(values.map(({ labels, value }) => [labels.reason, value]))
    },
  }
}
