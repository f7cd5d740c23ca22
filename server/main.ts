// The operator's process, built top to bottom and taken down in reverse. The composition root: it
// makes every part, hands each exactly what it needs, and decides nothing else. Called by `datanet
// serve`.

import { hkdfSync, randomBytes } from 'node:crypto'
import { setFlagsFromString } from 'node:v8'
import type { Tariff } from '../accounting/tariff.ts'
import { identityDomain, identityReader } from '../certs/identity.ts'
import { lockDirectory } from '../chain/lock.ts'
import type { Config, ConfigProblem, Endpoint, NasEntry } from '../config/config.ts'
import { signDigest } from '../ethereum/signature.ts'
import type { VerifiedPacket } from '../radius/authenticator.ts'
import { createDuplicates } from '../radius/duplicates.ts'
import { type AccessDeps, type Answer, answerAccess } from './access.ts'
import { createActivitySide } from './activity-side.ts'
import type { Policies } from './attestation.ts'
import { banner, httpUrl } from './banner.ts'
import { type Books, openBooks } from './books.ts'
import {
  certificateWarning,
  loadOperatorCertificate,
  type OperatorCertificate,
} from './certificate.ts'
import { type ChainSide, startChain } from './chain-side.ts'
import { type BooksClock, createBooksClock } from './clock.ts'
import { readConfig, writeFirstConfig } from './config-source.ts'
import { createConversations } from './conversations.ts'
import {
  type DataPaths,
  openDataDirectory,
  readAdminToken,
  readOperatorKey,
  writeHttpUrl,
} from './data.ts'
import { EXIT_CONFIGURATION, EXIT_UNAVAILABLE, explain, portError, StartError } from './explain.ts'
import { type HttpDeps, openHttp } from './http.ts'
import { createLog, type Log, rateLimited } from './log.ts'
import { createMetering, type Metering } from './metering.ts'
import { createMetrics, type Metrics } from './metrics.ts'
import { createNotarySide } from './notary-side.ts'
import { createRadiusHandler, type RadiusPort } from './radius.ts'
import { createRandomPool } from './random.ts'
import { createReload, reloadUnasked } from './reload.ts'
import { buildRuntime, type Runtime } from './runtime.ts'
import { openUdpPort, type Source, type UdpPort } from './socket.ts'
import { createTicketKeyFile, type TicketKeyFile } from './ticket-keys.ts'
import { tendEngine } from './tls-engine.ts'

export interface ServeOptions {
  /** The configuration file; undefined: DATA/datanet.yaml, written at the first start. */
  readonly configPath: string | undefined
  readonly dataDir: string
}

/** What to do at the end, last made first undone. */
type Undo = (() => Promise<void> | void)[]

/** A verified binding is about 1 kB; 20,000 devices cover a large operator's day. */
const IDENTITIES_MAX = 20_000
/** Cached replies of about 1.5 kB: 16,384 of them are 25 MB. */
const DUPLICATES_MAX = 16_384
/** A session that must end waits at most this long for the decision. */
const SWEEP_MS = 250
const LOG_ONCE_PER_MS = 10_000
/** In such an interval: enough to see what is going on, 400 kB a minute at the very most. */
const LOG_LINES_MAX = 200
/** Closing takes well under a second; whoever waits for us (a service manager) waits seconds. */
const STOP_MAX_MS = 3_000
/** Signals this close together are one wish. */
const ONE_SIGNAL_MS = 500

/** Runs until a signal ends it; resolves with the process's exit code. */
export async function serve(options: ServeOptions): Promise<number> {
  // The heap is some 50 MB: marking it in threads beside us costs more CPU than it saves in pauses,
  // and V8 would do it every few seconds. Measured, see docs/decisions/0013-garbage-collection.md.
  setFlagsFromString('--no-concurrent-marking')
  setFlagsFromString('--heap-growing-percent=100')
  const asked = signalled(['SIGINT', 'SIGTERM'])
  // Before the reload is ready there is nothing to read again, but the signal's default would kill.
  process.on('SIGHUP', () => undefined)
  const undo: Undo = []
  let log: Log | undefined
  let failure: ReturnType<typeof explain> | undefined
  try {
    const paths = openDataDirectory(options.dataDir)
    const lock = lockDirectory(paths.directory)
    undo.push(() => lock.release())
    if (options.configPath === undefined) writeFirstConfig(paths.config, randomBytes)
    const configPath = options.configPath ?? paths.config
    const read = readConfig(configPath)
    if ('problems' in read) {
      await takeDown(undo, undefined)
      return reportProblems(configPath, read.problems)
    }
    log = createLog(read.config.log.level)
    for (const warning of read.warnings) log.warn({ path: warning.path }, warning.message)
    const { failed } = await start({ ...read, configPath, paths, log, undo, asked })
    const signal = await Promise.race([asked.signal, failed])
    log.info(`stopping: ${signal}`)
  } catch (error) {
    failure = explain(error)
    // What can be explained needs no stack.
    log?.fatal(failure.isOurs ? { err: error } : {}, failure.reason)
  }
  await takeDown(undo, log)
  if (failure === undefined) return 0
  process.stderr.write(`datanet: ${failure.reason}\n`)
  return failure.exitCode
}

/** One part that can't be stopped must not keep the others running. */
async function takeDown(undo: Undo, log: Log | undefined): Promise<void> {
  for (const step of undo.reverse()) {
    try {
      await step()
    } catch (error) {
      log?.error({ err: error }, 'a part of the server could not be stopped')
    }
  }
  log?.info('stopped')
}

interface Asked {
  readonly signal: Promise<NodeJS.Signals>
  already(): boolean
}

/**
 * The first of the signals. A second one, whichever it is, ends the process at once, but not where
 * it comes with the first: a shell sends Ctrl-C to the whole group, and npm passes it on again.
 * A part that hangs while it starts or stops is not waited for much longer.
 */
function signalled(signals: readonly NodeJS.Signals[]): Asked {
  const first = Promise.withResolvers<NodeJS.Signals>()
  let already = false
  let firstAtMs = 0
  const listener = (signal: NodeJS.Signals): void => {
    if (already) {
      if (performance.now() - firstAtMs < ONE_SIGNAL_MS) return
      for (const each of signals) process.removeListener(each, listener)
      process.kill(process.pid, signal)
      return
    }
    already = true
    firstAtMs = performance.now()
    // Nothing is lost: what anyone was told is on disk, and the kernel ends the embedded chain.
    setTimeout(() => process.exit(0), STOP_MAX_MS).unref()
    first.resolve(signal)
  }
  for (const signal of signals) process.on(signal, listener)
  return { signal: first.promise, already: () => already }
}

function reportProblems(path: string, problems: readonly ConfigProblem[]): number {
  const [first] = problems
  if (first?.line === 0) {
    // Not about a place in the text: the file itself could not be read.
    process.stderr.write(`datanet: ${path} ${first.message}\n`)
    return EXIT_CONFIGURATION
  }
  for (const { line, path: key, message } of problems) {
    process.stderr.write(`${path}:${line}: ${key === '' ? '' : `${key}: `}${message}\n`)
  }
  const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`
  process.stderr.write(`datanet: not started: correct the ${count} above in ${path}\n`)
  return EXIT_CONFIGURATION
}

interface StartOptions {
  readonly config: Config
  readonly policies: Policies
  readonly configPath: string
  readonly paths: DataPaths
  readonly log: Log
  readonly undo: Undo
  readonly asked: Asked
}

/**
 * Builds every part and opens the ports; `failed` rejects with a failure that must end the server.
 */
async function start(o: StartOptions): Promise<{ failed: Promise<never> }> {
  const { config, configPath, paths, log, undo } = o
  const deps = { now: Date.now, random: randomBytes }
  const clock = createBooksClock()
  const operatorKey = readOperatorKey(paths, randomBytes)
  const adminToken = readAdminToken(paths, randomBytes)
  const certificate = loadOperatorCertificate(config, paths, deps)
  warnOf(certificate, log)
  const chain = await startChain({ config, paths, operatorKey, certificate, log, ...deps })
  undo.push(() => chain.stop())
  const failed = chain.failed.then((text) => {
    throw new StartError(EXIT_UNAVAILABLE, text)
  })
  // Without a listener the rejection would end the process before this one is waited for.
  failed.catch(() => undefined)
  if (o.asked.already()) return { failed }

  const books = await openLedger(config, paths, chain, clock, log)
  undo.push(() => books.close())
  const ticketKeys = createTicketKeyFile({ ...deps, log, autoPath: paths.ticketKeys })
  const build = runtimeBuilder(chain, books, clock, ticketKeys)
  let runtime = build(config, certificate, o.policies)
  await books.committer.durable()
  const current = (): Runtime => runtime
  undo.push(ticketKeys.follow(current))
  const metrics = createMetrics()
  const engine = tendEngine({ runtime: current, paths, metrics, log, now: Date.now })
  const logRate = rateLimited(LOG_ONCE_PER_MS, LOG_LINES_MAX)
  const metering = createMetering(books, {
    ...{ chain, operatorKey, current, metrics, log, logRate },
    ...{ random: createRandomPool(), now: clock.now, wallNow: Date.now },
  })
  undo.push(() => metering.stop())
  const notary = createNotarySide({
    ...{ books, chain, operatorKey, directory: paths.blocks, log, metrics, ...deps },
    config: () => runtime.config,
  })
  undo.push(() => notary.stop())
  const access = createAccess({ chain, current, metering, metrics, operatorKey, log, undo, clock })
  const ports = await openRadius(config, current, access, metering, undo)
  const sweep = setInterval(() => sweepTables(access, metering, chain, metrics), SWEEP_MS)
  undo.push(() => clearInterval(sweep))

  const reload = createReload({
    ...{ configPath, log, runtime: current },
    replace: (next) => {
      runtime = next
      engine.changed()
    },
    build,
    loadCertificate: (next) => loadOperatorCertificate(next, paths, deps),
    pinnedSpki: () => chain.pinnedSpki(),
  })
  undo.push(reloadUnasked(reload, current), engine.stop)

  const baseUrl = (): string => runtime.config.http.publicUrl ?? httpUrl(http.endpoint)
  const http = await listenHttp(config.http.listen, {
    ...{ runtime: current, facts: chain.facts, embedded: chain.embedded, chainRpc: chain.rpcUrl },
    ...{ baseUrl, log, metrics, adminToken, mirror: chain.mirror, reload },
    ...{ logRate, metering, now: clock.now, wallNow: Date.now },
    activity: createActivitySide({ chain, metering, operatorKey, now: clock.now, undo }),
    ...{ notary, signApproval: (digest) => signDigest(digest, operatorKey) },
    radiusPorts: { auth: ports.auth.port, accounting: ports.accounting.port },
    durableBlock: chain.durableBlock,
    readiness: () => readiness(chain, current()),
    publicUrl: () => runtime.config.http.publicUrl,
  })
  undo.push(() => http.close(), writeHttpUrl(paths, httpUrl(http.endpoint)))
  metering.listening()
  notary.start()
  const listening = { ...ports, http: http.endpoint }
  log.info({ ...listening, engine: runtime.rules.engine.name }, 'ready to process requests')
  const secret = current().nasOf('127.0.0.1')?.secret
  process.stdout.write(banner(config, listening, secret, paths.directory))
  return { failed }
}

/** The same at start and at each reload. */
const runtimeBuilder =
  (chain: ChainSide, { ledger }: Books, clock: BooksClock, { keys }: TicketKeyFile) =>
  (next: Config, certificate: OperatorCertificate, policies: Policies): Runtime => {
    const versioned = (tariff: Tariff) => ledger.tariffVersion(tariff, clock.now())
    const { decimals } = chain.facts.token
    return buildRuntime(next, certificate, decimals, versioned, keys, policies)
  }

function warnOf(certificate: OperatorCertificate, log: Log): void {
  const warning = certificateWarning(certificate)
  if (warning !== undefined) log.warn(warning)
}

/** The books, and a clock that is not behind them. */
async function openLedger(
  { storage }: Config,
  { database: databasePath }: DataPaths,
  chain: ChainSide,
  clock: BooksClock,
  log: Log,
): Promise<Books> {
  const operatorAccount = chain.facts.account
  const books = await openBooks({ storage, databasePath, operatorAccount, now: clock.now, log })
  for (const { heardAtMs } of books.ledger.open()) clock.raise(heardAtMs)
  return books
}

async function listenHttp(listen: Endpoint, deps: HttpDeps): ReturnType<typeof openHttp> {
  try {
    return await openHttp(listen, deps)
  } catch (error) {
    throw portError(error, listen, 'http.listen')
  }
}

/** The table of conversations, and what answering an Access-Request takes. */
function createAccess(o: {
  chain: ChainSide
  current: () => Runtime
  metering: Metering
  metrics: Metrics
  operatorKey: Buffer
  log: Log
  undo: Undo
  clock: BooksClock
}): AccessDeps {
  const { chain, current, metering, metrics, log, undo, clock } = o
  const { chainId, contract, operatorId, account: operatorAccount } = chain.facts
  const { ledger, committer } = metering.books
  const limits = () => {
    const { sessionsMax, timeoutMs } = current().config.eap
    const alone = current().config.clients.length === 1
    const perNasMax = alone ? sessionsMax : Math.ceil(sessionsMax / 2)
    return { conversationsMax: sessionsMax, perNasMax, idleMs: timeoutMs }
  }
  const conversations = createConversations(limits, ({ reserved }) => {
    // The decision was yes but the peer never took the Accept: its escrow is free again.
    if (reserved !== undefined) ledger.close(reserved.id, 'abandoned', clock.now())
  })
  undo.push(() => conversations.closeAll())
  return {
    ...{ mirror: chain.mirror, operatorId, operatorAccount, conversations, log, metrics },
    ...{ ledger, committer, ensureAccount: metering.ensureAccount, payments: metering.payments },
    storageFailed: () => committer.failed() !== undefined,
    isSilent: (nas) => metering.enforcement.isSilent(nas),
    ...{ now: clock.now, wallNow: Date.now, rules: () => current().rules },
    random: createRandomPool(),
    readIdentity: identityReader(identityDomain(chainId, contract), IDENTITIES_MAX),
    chargeableIdentityKey: Buffer.from(
      hkdfSync('sha256', o.operatorKey, '', 'datanet chargeable identity v1', 32),
    ),
  }
}

async function openRadius(
  config: Config,
  runtime: () => Runtime,
  access: AccessDeps,
  metering: Metering,
  undo: Undo,
): Promise<{ auth: Endpoint; accounting: Endpoint }> {
  const { log, metrics, now } = access
  const logRate = rateLimited(LOG_ONCE_PER_MS, LOG_LINES_MAX)
  const open = async (
    port: RadiusPort,
    answer: (request: VerifiedPacket, nas: NasEntry, source: Source) => Promise<Answer>,
  ): Promise<Endpoint> => {
    const handle = createRadiusHandler({
      ...{ port, answer, now, log, logRate, metrics },
      nasOf: (address) => runtime().nasOf(address),
      duplicates: createDuplicates({
        lifetimeMs: config.radius.duplicateCacheMs,
        entriesMax: DUPLICATES_MAX,
      }),
      // A delayed reject holds a place in the queue: three quarters stay for the others.
      delayedMax: Math.floor(config.radius.queueMax / 4),
      rejectDelayMs: () => runtime().config.radius.rejectDelayMs,
    })
    const endpoint = config.radius[port]
    let opened: UdpPort
    try {
      opened = await openUdpPort(endpoint, handle, {
        inWorkMax: config.radius.queueMax,
        onOverflow: () => metrics.dropped.inc({ reason: 'queue-full' }),
        onError: (error) => log.error({ err: error, port }, 'UDP error'),
      })
    } catch (error) {
      throw portError(error, endpoint, `radius.${port}`)
    }
    undo.push(() => opened.close())
    return opened.endpoint
  }
  const auth = await open('auth', (request, nas, source) =>
    answerAccess(request, nas, source, access),
  )
  const accounting = await open('accounting', metering.answerAccounting)
  return { auth, accounting }
}

function sweepTables(
  access: AccessDeps,
  metering: Metering,
  chain: ChainSide,
  metrics: Metrics,
): void {
  access.conversations.sweep(access.now())
  metering.sweep()
  metrics.conversations.set(access.conversations.size)
  metrics.sessions.set(access.ledger.openCount)
  metrics.chainHeard.set(Math.floor(chain.mirror.heardAtMs() / 1000))
  metrics.chainBlock.set(chain.mirror.head()?.number ?? 0)
}

function readiness(chain: ChainSide, runtime: Runtime): string | undefined {
  const silentMs = Date.now() - chain.mirror.heardAtMs()
  if (silentMs < runtime.rules.staleAfterMs) return undefined
  return `the chain node was last heard ${Math.floor(silentMs / 1000)} s ago`
}
