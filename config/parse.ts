// The one door of config/: YAML text -> Config, or every problem with its path and line. The
// environment and file reader are arguments; nothing here opens a file, logs or exits. Called by
// cli/ (check, serve).

import type { TariffTerms } from '../accounting/tariff.ts'
import { attestationConfig } from './attestation.ts'
import type { Config, ConfigProblem, ConfigResult, NasEntry } from './config.ts'
import { type CrossResult, crossCheck, type EntrySecrets } from './cross.ts'
import { type ConfigDocument, readDocument } from './document.ts'
import { placeFindings, placeIssues, sortProblems } from './problems.ts'
import { type Parsed, type ParsedClient, schema } from './schema.ts'
import type { SecretSource } from './secret.ts'

function nasEntry(client: ParsedClient, secrets: EntrySecrets, onlyTariff: string): NasEntry {
  if (secrets.secret === undefined) throw new Error(`clients: ${client.name} has no secret`)
  const { ssid, merchant, location, coa } = client
  return {
    name: client.name,
    ipaddr: client.ipaddr,
    ...(ssid !== undefined && { ssid }),
    bssids: client.bssids,
    secret: secrets.secret,
    requireMessageAuthenticator: client.require_message_authenticator,
    limitProxyState: client.limit_proxy_state,
    nasType: client.nas_type,
    ...(coa !== undefined && {
      coa: { port: coa.port, secret: secrets.coaSecret ?? secrets.secret },
    }),
    ...(merchant !== undefined && { merchant }),
    tariff: client.tariff ?? onlyTariff,
    maxMbps: client.max_mbps,
    ...(location !== undefined && { location }),
  }
}

function tariffTerms(tariff: Parsed['tariffs'][string]): TariffTerms {
  return {
    perMinute: tariff.per_minute,
    perMegabyte: tariff.per_megabyte,
    intervalMs: tariff.interval,
    intervalMegabytes: tariff.interval_megabytes,
    missedMax: tariff.missed_max,
    graceMs: tariff.grace,
    ...(tariff.flat !== undefined && {
      flat: { price: tariff.flat.price, windowMs: tariff.flat.window },
    }),
    freeMinutes: tariff.free_minutes,
    freeMegabytes: tariff.free_megabytes,
    ...(tariff.throttle_kbps !== undefined && { throttleKbps: tariff.throttle_kbps }),
  }
}

function buildConfig(parsed: Parsed, cross: CrossResult): Config {
  const { radius, eap, chain, sessions, admission, http } = parsed
  const [onlyTariff = ''] = Object.keys(parsed.tariffs)
  const tariffs = Object.entries(parsed.tariffs).map(
    ([name, tariff]) => [name, tariffTerms(tariff)] as const,
  )
  const noSecrets: EntrySecrets = { secret: undefined, coaSecret: undefined }
  return {
    operator: parsed.operator,
    radius: {
      auth: radius.auth,
      accounting: radius.accounting,
      radsec: radius.radsec,
      rejectDelayMs: radius.reject_delay,
      duplicateCacheMs: radius.duplicate_cache,
      queueMax: radius.queue_max,
    },
    eap: {
      engine: eap.engine,
      tlsMin: eap.tls_min,
      tlsMax: eap.tls_max,
      fragmentSize: eap.fragment_size,
      resumption: eap.resumption,
      ticketKeys: eap.ticket_keys,
      certificate: eap.certificate,
      sessionsMax: eap.sessions_max,
      timeoutMs: eap.timeout,
      roundsMax: eap.rounds_max,
    },
    clients: parsed.clients.map((client, index) =>
      nasEntry(client, cross.secrets[index] ?? noSecrets, onlyTariff),
    ),
    tariffs: new Map(tariffs),
    chain: {
      rpc: chain.rpc,
      contract: chain.contract,
      confirmations: chain.confirmations,
      staleAfterMs: chain.stale_after,
    },
    sessions: { maxMs: sessions.max, perAccount: sessions.per_account },
    admission: {
      prepay: admission.prepay,
      newcomersPerClient: admission.newcomers_per_client,
      arrearsWindowMs: admission.arrears_window,
    },
    billing: {
      usage: parsed.billing.usage,
      trust: parsed.billing.trust,
      reattestAfterMs: parsed.billing.reattest_after,
    },
    attestation: attestationConfig(parsed.attestation, cross.playSecret),
    payplace: {
      commissionPpm: parsed.payplace.commission_percent,
      timing: parsed.payplace.timing,
    },
    http: { listen: http.listen, publicUrl: http.public_url },
    storage: parsed.storage,
    log: parsed.log,
  }
}

/** As parseConfig, for a document that is read already and secrets from anywhere (edit.ts). */
export function checkDocument(document: ConfigDocument, source: SecretSource): ConfigResult {
  const { tree } = document
  if (tree === undefined) return { problems: document.problems }
  const parsed = schema.safeParse(tree)
  const cross = crossCheck(tree, source)
  const problems = sortProblems([
    ...document.problems,
    ...placeIssues(parsed.error?.issues ?? [], document),
    ...placeFindings(cross.problems, document),
  ])
  if (problems.length > 0 || !parsed.success) return { problems }
  const warnings: ConfigProblem[] = sortProblems(placeFindings(cross.warnings, document))
  return {
    config: buildConfig(parsed.data, cross),
    warnings,
    placed: (findings) => sortProblems(placeFindings(findings, document)),
  }
}

/**
 * Reads a whole configuration. `env` answers `${NAME}` secrets, `readFile` the `secret_file` ones
 * (the caller decides what a relative path is relative to; it may throw). Never throws on bad text:
 * every problem found is returned at once, in the order of the file, and no message repeats a
 * secret.
 */
export function parseConfig(
  text: string,
  env: Readonly<Record<string, string | undefined>>,
  readFile: (path: string) => string,
): ConfigResult {
  return checkDocument(readDocument(text), {
    env: (name) => (Object.hasOwn(env, name) ? env[name] : undefined),
    file: readFile,
  })
}
