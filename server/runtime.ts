// The part of the configuration that SIGHUP or `datanet client add` can change while the server
// runs, turned into what the hot path reads: the NAS lookup, priced tariffs, the TLS engine. A new
// one replaces the old one whole, or not at all. Called by main.ts and reload.ts.

import { priceTariff, type Tariff, type TariffTerms } from '../accounting/tariff.ts'
import { nasLookup } from '../config/clients.ts'
import type { Config, NasEntry } from '../config/config.ts'
import type { ResumptionConfig, TlsEngine, TlsEngineConfig } from '../eap/engine.ts'
import { loadNativeTlsEngine } from '../eap/native.ts'
import { RESUMPTION_SECONDS } from '../eap/ticket-keys.ts'
import { createNodeTlsEngine } from '../eap/tls.ts'
import type { AccessRules } from './access.ts'
import type { Policies } from './attestation.ts'
import type { OperatorCertificate } from './certificate.ts'
import { EXIT_CONFIGURATION, StartError } from './explain.ts'

/** Everything a reload replaces. */
export interface Runtime {
  readonly config: Config
  readonly certificate: OperatorCertificate
  /** What evidence for metering keys is judged by. */
  readonly policies: Policies
  readonly nasOf: (address: string) => NasEntry | undefined
  readonly rules: AccessRules
  /** Why the native engine is not used although `auto` allows it; undefined where it is. */
  readonly engineFallback: string | undefined
}

/** The engine the configuration asks for; throws StartError where that one can't be had. */
export function chooseEngine(
  choice: Config['eap']['engine'],
  config: TlsEngineConfig,
  load: typeof loadNativeTlsEngine = loadNativeTlsEngine,
): { readonly engine: TlsEngine; readonly fallback: string | undefined } {
  if (choice === 'node') return { engine: createNodeTlsEngine(config), fallback: undefined }
  const native = load()
  if (!('unavailable' in native)) return { engine: native(config), fallback: undefined }
  if (choice === 'auto') {
    return { engine: createNodeTlsEngine(config), fallback: native.unavailable }
  }
  throw new StartError(
    EXIT_CONFIGURATION,
    `eap.engine is native, but that engine can't be used: ${native.unavailable}; set it to auto`,
  )
}

const resumption: ResumptionConfig = {
  lifetimeSeconds: RESUMPTION_SECONDS,
  nowSeconds: () => Math.floor(Date.now() / 1000),
}

/** Only the token, which is known late, says whether a price is fine enough. */
function priced(
  name: string,
  terms: TariffTerms,
  tokenDecimals: number,
  { usage, trust }: Config['billing'],
): Tariff {
  try {
    const tariff = priceTariff(name, terms, tokenDecimals)
    return usage === 'accounting' ? tariff : { ...tariff, usage: { by: usage, trust } }
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause
    throw new StartError(EXIT_CONFIGURATION, cause.message, { cause })
  }
}

/**
 * Builds it; `versioned` gives a tariff the version its terms have in the books, `ticketKeys` what
 * `eap.ticket_keys` stands for. Throws StartError for a price finer than the token, or what either
 * throws, or OpenSSL's error for a key pair it does not take.
 */
export function buildRuntime(
  config: Config,
  certificate: OperatorCertificate,
  tokenDecimals: number,
  versioned: (tariff: Tariff) => Tariff,
  ticketKeys: (file: string) => readonly Buffer[] = () => [],
  policies: Policies = {},
): Runtime {
  // All of them before the first is put down: a price that is too fine must leave no trace.
  const all = [...config.tariffs].map(([name, terms]) =>
    priced(name, terms, tokenDecimals, config.billing),
  )
  const tariffs = new Map(all.map((tariff) => [tariff.name, versioned(tariff)]))
  const { engine, fallback } = chooseEngine(config.eap.engine, {
    certificatePem: certificate.chainPem,
    privateKeyPem: certificate.privateKeyPem,
    tlsMin: config.eap.tlsMin,
    tlsMax: config.eap.tlsMax,
    ...(config.eap.resumption && { resumption }),
  })
  engine.setTicketKeys?.(ticketKeys(config.eap.ticketKeys))
  return {
    config,
    certificate,
    policies,
    engineFallback: fallback,
    nasOf: nasLookup(config.clients),
    rules: {
      engine,
      tariffs,
      fragmentSize: config.eap.fragmentSize,
      roundsMax: config.eap.roundsMax,
      staleAfterMs: config.chain.staleAfterMs,
      admission: {
        sessionMaxMs: config.sessions.maxMs,
        perAccount: config.sessions.perAccount,
        ...config.admission,
      },
    },
  }
}
