// SIGHUP and POST /v1/reload: clients, tariffs, limits and the certificate are read again and
// replace the old ones whole; with any problem the old ones stay in force. Sockets, chain and
// storage need a restart.

import { renewalDue } from '../certs/operator.ts'
import type { Config, ConfigProblem } from '../config/config.ts'
import type { Policies } from './attestation.ts'
import { certificateWarning, type OperatorCertificate } from './certificate.ts'
import { readConfig } from './config-source.ts'
import type { Log } from './log.ts'
import type { Runtime } from './runtime.ts'

const DAY_MS = 86_400_000

export interface ReloadDeps {
  readonly configPath: string
  readonly log: Log
  readonly runtime: () => Runtime
  readonly replace: (runtime: Runtime) => void
  readonly build: (config: Config, certificate: OperatorCertificate, policies: Policies) => Runtime
  readonly loadCertificate: (config: Config) => OperatorCertificate
  /** The SPKI pinned on chain; a certificate with another key would lock every device out. */
  readonly pinnedSpki: () => readonly string[]
}

const RESTART = 'changed: restart the server, until then the old value counts'
const OTHERWISE: Readonly<Record<string, string>> = {
  'http.public_url':
    'changed: it counts here from now on; the contract names the old one until you restart the server',
  'payplace.timing': 'changed: the contract keeps the times that the operator was registered with',
}

/** Keys whose change does not take effect now; said instead of silently ignored. */
function withoutEffect(before: Config, after: Config): ConfigProblem[] {
  const fixed: readonly [string, unknown, unknown][] = [
    ['radius.auth', before.radius.auth, after.radius.auth],
    ['radius.accounting', before.radius.accounting, after.radius.accounting],
    ['radius.duplicate_cache', before.radius.duplicateCacheMs, after.radius.duplicateCacheMs],
    ['radius.queue_max', before.radius.queueMax, after.radius.queueMax],
    ['http.listen', before.http.listen, after.http.listen],
    ['http.public_url', before.http.publicUrl, after.http.publicUrl],
    ['chain.rpc', before.chain.rpc, after.chain.rpc],
    ['chain.contract', before.chain.contract, after.chain.contract],
    ['chain.confirmations', before.chain.confirmations, after.chain.confirmations],
    ['payplace.timing', before.payplace.timing, after.payplace.timing],
    ['storage', before.storage, after.storage],
    ['log.level', before.log.level, after.log.level],
  ]
  const changed = fixed.filter(([, a, b]) => JSON.stringify(a) !== JSON.stringify(b))
  return changed.map(([path]) => ({ path, line: 0, message: OTHERWISE[path] ?? RESTART }))
}

/** With no problem the new configuration is in force; what is to be known of it is a warning. */
export interface Reloaded {
  readonly problems: readonly ConfigProblem[]
  readonly warnings: readonly ConfigProblem[]
}

/** The reload. */
export function createReload(deps: ReloadDeps): () => Reloaded {
  // Sockets and chain stay as the start made them, however many reloads follow.
  const started = deps.runtime().config
  return () => {
    const read = readConfig(deps.configPath)
    if ('problems' in read) {
      deps.log.error({ problems: read.problems }, 'reload refused: the old configuration stays')
      return { problems: read.problems, warnings: [] }
    }
    try {
      const certificate = deps.loadCertificate(read.config)
      const before = deps.runtime().certificate
      // The key in use needs no look at the mirror, which may wait for confirmations of the
      // transaction that registered it.
      const accepted = [before.spkiSha256, ...deps.pinnedSpki()]
      if (!accepted.includes(certificate.spkiSha256)) {
        const text = 'its key is not the one registered on chain; restart to register it'
        throw new Error(`eap.certificate: ${text}`)
      }
      deps.replace(deps.build(read.config, certificate, read.policies))
      const warning = certificateWarning(certificate, before)
      if (warning !== undefined) deps.log.warn(warning)
      const warnings = [...read.warnings, ...withoutEffect(started, read.config)]
      for (const { path, message } of warnings) deps.log.warn({ path }, message)
      deps.log.info({ clients: read.config.clients.length }, 'configuration reloaded')
      return { problems: [], warnings }
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      deps.log.error({ reason: message }, 'reload refused: the old configuration stays')
      return { problems: [{ path: '', line: 0, message }], warnings: [] }
    }
  }
}

/**
 * Reloads at SIGHUP, and when the certificate is due that the server made by itself: it may run for
 * years. Gives how to stop that.
 */
export function reloadUnasked(reload: () => unknown, runtime: () => Runtime): () => void {
  const onHangup = (): void => void reload()
  process.on('SIGHUP', onHangup)
  const timer = setInterval(() => {
    const { config, certificate } = runtime()
    const [leaf] = certificate.certificates
    if (config.eap.certificate !== 'auto' || leaf === undefined) return
    if (renewalDue(leaf, Math.floor(Date.now() / 1000))) reload()
  }, DAY_MS)
  return () => {
    process.removeListener('SIGHUP', onHangup)
    clearInterval(timer)
  }
}
