// Metering and money, put together: the books, the doors that change them (payments, accounting),
// and what acts on them (enforcement, the chain watch). Decides nothing itself. Made by main.ts,
// before any port is open, and closed after all of them.

import { affordableReconnect } from '../accounting/admission.ts'
import type { ReconnectVerdict } from '../accounting/attribution.ts'
import type { NasPlace } from '../accounting/session.ts'
import type { Tariff } from '../accounting/tariff.ts'
import type { NasEntry } from '../config/config.ts'
import type { Address } from '../ethereum/address.ts'
import { signDigest } from '../ethereum/signature.ts'
import { payPlaceDomain } from '../ethereum/typed-data.ts'
import { type AnswerAccounting, createAccounting } from './accounting.ts'
import { createEnsureAccount, type EnsureAccount } from './accounts.ts'
import { channelFacts } from './admit.ts'
import { createVerifiers } from './attestation.ts'
import type { Books } from './books.ts'
import type { ChainSide } from './chain-side.ts'
import { createDynamicAuthorization } from './dynamic-authorization.ts'
import { createEnforcement, type Enforcement } from './enforcement.ts'
import { createEnrolment, type Enrolment } from './enrolment.ts'
import { endUncovered } from './escrow-watch.ts'
import type { Log, rateLimited } from './log.ts'
import type { Metrics } from './metrics.ts'
import { createPayments, type Payments } from './payments.ts'
import type { Runtime } from './runtime.ts'
import { createUsageReports, type UsageReports } from './usage-reports.ts'

export interface MeteringDeps {
  readonly chain: ChainSide
  readonly operatorKey: Buffer
  readonly current: () => Runtime
  readonly random: (length: number) => Buffer
  /** The clock of the books. */
  readonly now: () => number
  /** The time of day, which the mirror is dated by. */
  readonly wallNow: () => number
  readonly log: Log
  readonly logRate: ReturnType<typeof rateLimited>
  readonly metrics: Metrics
}

export interface Metering {
  readonly books: Books
  readonly payments: Payments
  readonly enforcement: Enforcement
  readonly enrolment: Enrolment
  readonly reports: UsageReports
  readonly ensureAccount: EnsureAccount
  readonly answerAccounting: AnswerAccounting
  /** Payments can be heard from now on: until then nobody was late. */
  listening(): void
  /** What is due by now: interval ends, silent sessions, Disconnects to repeat. */
  sweep(): void
  /** Ends what it began; the books themselves close after the ports. */
  stop(): Promise<void>
}

/**
 * Who could not be heard, because the server, its store or the chain was away, gets this long to
 * come back: two tries of a device, which waits up to 15 s from one to the next.
 */
const EXCUSED_MS = 30_000

/** Composes it over books that are open. */
export function createMetering(books: Books, deps: MeteringDeps): Metering {
  const { chain, current, now, wallNow, log, metrics } = deps
  const { ledger, storage, committer } = books
  const { operatorId, chainId, contract, account: operatorAccount } = chain.facts
  const ensureAccount = createEnsureAccount(ledger, storage)
  const client = createDynamicAuthorization({
    ...{ now, wallNow },
    // Jitter, so that what was sent together is not repeated together.
    random: () => deps.random(4).readUInt32BE(0) / 2 ** 32,
    schedule(run, delayMs) {
      const timer = setTimeout(run, delayMs)
      return () => clearTimeout(timer)
    },
    onDrop: (reason) => metrics.dropped.inc({ reason }),
    onError: (error) => log.error({ err: error }, 'dynamic authorization: UDP error'),
    ...boundTo(current().config.radius.auth.host),
  })
  const excuse = (): void => ledger.excuse(now() + EXCUSED_MS)
  excuse()
  const nasNamed = (name: string): NasEntry | undefined =>
    current().config.clients.find((entry) => entry.name === name)
  const enforcement = createEnforcement({
    ...{ ledger, client, nasNamed, now, log, metrics },
    durable: () => committer.durable(),
  })
  const separator = payPlaceDomain(chainId, contract)
  const domain = { chainId, contract, operator: operatorId, separator }
  const enrolment = createEnrolment({
    ...{ domain, ledger, committer, ensureAccount, wallNow, log, random: deps.random },
    mirror: chain.mirror,
    verifiers: createVerifiers(() => current().policies, deps.random),
    reattestAfterMs: () => current().config.billing.reattestAfterMs,
    count: (scheme, outcome) => metrics.meteringKeys.inc({ scheme, outcome }),
  })
  const reports = createUsageReports({
    ...{ ledger, now, wallNow, secret: deps.random(32) },
    appAttest: () => current().policies.appAttest,
    count: (outcome) => metrics.usageReports.inc({ outcome }),
  })
  const payments = createPayments({
    ...{ domain, ledger, committer, ensureAccount, now, wallNow, reports },
    mirror: chain.mirror,
    staleAfterMs: () => current().rules.staleAfterMs,
    sign: (digest) => signDigest(digest, deps.operatorKey),
    count: (outcome) => metrics.payments.inc({ outcome }),
  })
  const answerAccounting = createAccounting({
    ...{ ledger, committer, now, log, metrics },
    ...{ random: deps.random, logRate: deps.logRate },
    tariffOf: (nas) => tariffOf(current(), nas),
    merchantOf: ({ merchant }) => merchant ?? operatorAccount,
    sessionMaxMs: () => current().config.sessions.maxMs,
    admitReconnect: (account, place, tariff) =>
      reconnect(account, place, tariff, { ...deps, books, enforcement, nas: nasNamed(place.nas) }),
    onWish: ({ session, reason }) => void enforcement.putOff(session, reason),
  })
  const unsubscribe = chain.mirror.onChange((accounts) => {
    for (const session of endUncovered(accounts, operatorId, chain.mirror, ledger, now())) {
      log.warn({ session: session.id }, 'escrow was taken back by the chain')
      void enforcement.putOff(session, 'escrow-removed')
    }
  })
  return {
    ...{ books, payments, enforcement, enrolment, reports, ensureAccount, answerAccounting },
    listening: excuse,
    sweep() {
      const failed = committer.failed() !== undefined
      // Both are why payments are refused with 503, whoever would pay.
      if (failed || isStale(deps)) excuse()
      enforcement.sweep()
      ledger.forget(now())
      metrics.storageFailed.set(failed ? 1 : 0)
    },
    async stop() {
      unsubscribe()
      await client.close()
    },
  }
}

/** A NAS takes Disconnect-Requests from the address it knows its server by (RFC 5176 §3). */
function boundTo(host: string): { bindAddress?: string } {
  return host === '0.0.0.0' || host === '::' ? {} : { bindAddress: host }
}

function tariffOf(runtime: Runtime, nas: NasEntry): Tariff {
  const tariff = runtime.rules.tariffs.get(nas.tariff)
  if (tariff === undefined) throw new Error(`client ${nas.name} has no tariff`)
  return tariff
}

const isStale = ({ chain, current, wallNow }: MeteringDeps): boolean =>
  wallNow() - chain.mirror.heardAtMs() >= current().rules.staleAfterMs

/**
 * A station back by a key its NAS kept: the same question as at a login, but for its certificate,
 * which an accounting record does not name. Whether that was revoked can't be known here: it is
 * looked at when Session-Timeout ends this session. Nor is the node asked where the mirror is
 * stale: no record waits for it, and who is put off can log in.
 */
function reconnect(
  account: Address,
  place: NasPlace,
  tariff: Tariff,
  o: MeteringDeps & { books: Books; enforcement: Enforcement; nas: NasEntry | undefined },
): ReconnectVerdict {
  if (isStale(o)) return { refused: 'chain-unavailable: the chain was not heard for too long' }
  const { operatorId, account: operatorAccount } = o.chain.facts
  const merchant = o.nas?.merchant ?? operatorAccount
  const nowMs = o.now()
  const standing = o.books.ledger.standing(account, place, merchant, nowMs)
  const takesDisconnect = o.nas?.coa !== undefined && !o.enforcement.isSilent(place.nas)
  const facts = channelFacts(account, { mirror: o.chain.mirror, operatorId })
  const rules = { ...o.current().rules.admission, takesDisconnect }
  return affordableReconnect(standing, facts, tariff, rules, nowMs)
}
