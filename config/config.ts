// The typed configuration every room receives: names as in the YAML but in camelCase, durations in
// milliseconds, secrets as octets, addresses and networks parsed. Types only; parse.ts makes the
// values.

import type { TariffTerms } from '../accounting/tariff.ts'
import type { Address } from '../ethereum/address.ts'
import type { Cidr } from './address.ts'

/** A socket address to listen on; port 0 asks the system for any free port. */
export interface Endpoint {
  readonly host: string
  readonly port: number
}

/** Which attributes an Accept carries and how Disconnect is sent depend on the make of the NAS. */
export const NAS_TYPES = [
  'hostapd',
  'unifi',
  'mikrotik',
  'aruba',
  'cisco',
  'omada',
  'ruckus',
  'generic',
] as const
export type NasType = (typeof NAS_TYPES)[number]

export const TLS_VERSIONS = ['1.2', '1.3'] as const
export type TlsVersion = (typeof TLS_VERSIONS)[number]

/** `auto`: native where it has been built, else node. */
export const TLS_ENGINES = ['auto', 'native', 'node'] as const

/** Whether a session needs a voucher before it begins: never, while the account is new, always. */
export const PREPAY = ['off', 'newcomers', 'always'] as const
export const USAGE = ['accounting', 'attested', 'lower', 'higher'] as const
export const TRUST = ['software', 'hardware'] as const

export const ANDROID_LEVELS = ['tee', 'strongbox'] as const
export const APPLE_ENVIRONMENTS = ['production', 'development'] as const
export const PLAY_DEVICES = ['device', 'strong'] as const

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** One entry of `clients`: a NAS, or a network of them sharing a secret. */
export interface NasEntry {
  /** Unique; a log field and a metric label, so letters, digits, `.`, `_` and `-` only. */
  readonly name: string
  readonly ipaddr: Cidr
  readonly ssid?: string
  /** Lowercase with colons. */
  readonly bssids: readonly string[]
  readonly secret: Buffer
  readonly requireMessageAuthenticator: boolean
  readonly limitProxyState: boolean
  readonly nasType: NasType
  /** Absent: the NAS takes no Disconnect-Request. */
  readonly coa?: { readonly port: number; readonly secret: Buffer }
  /** The account that earns; absent: the operator. */
  readonly merchant?: Address
  /** A name in `tariffs`, always resolved. */
  readonly tariff: string
  readonly maxMbps: number
  readonly location?: { readonly lat: number; readonly lon: number }
}

export interface RadiusConfig {
  readonly auth: Endpoint
  readonly accounting: Endpoint
  readonly radsec: null
  readonly rejectDelayMs: number
  readonly duplicateCacheMs: number
  readonly queueMax: number
}

export interface CertificateFiles {
  readonly cert: string
  readonly key: string
  readonly ocsp?: string | undefined
}

export interface EapConfig {
  readonly engine: (typeof TLS_ENGINES)[number]
  readonly tlsMin: TlsVersion
  readonly tlsMax: TlsVersion
  readonly fragmentSize: number
  /** Whether a login may be resumed (native engine only). */
  readonly resumption: boolean
  /** `auto` (a file of the data directory), or the path of the file its keys come from. */
  readonly ticketKeys: string
  /** `auto`, or the paths of two PEM files and of an OCSP response in DER. */
  readonly certificate: 'auto' | CertificateFiles
  readonly sessionsMax: number
  readonly timeoutMs: number
  readonly roundsMax: number
}

/** The clock of an operator's blocks (the contract's Timing): seconds, eta in blocks. */
export interface PayplaceTiming {
  readonly beta: number
  readonly gamma: number
  readonly delta: number
  readonly challenge: number
  readonly eta: number
}

/** An app for Android, and SHA-256 (lowercase hex) of the certificates it may be signed with. */
export interface AndroidAppConfig {
  readonly packageName: string
  readonly signerSha256: readonly string[]
}

/**
 * Which evidence for metering keys the operator takes, and under which conditions: a scheme that is
 * absent is not taken. Files as they are written; they are read by server/attestation-files.ts.
 * Hashes are SHA-256 in lowercase hex.
 */
export interface AttestationConfig {
  readonly tpm?: {
    /** Certificates of TPM makers, beside those that are built in. */
    readonly roots: readonly string[]
    /** Of endorsement keys without a certificate. */
    readonly endorsementKeys: readonly string[]
    /** Of certificates that no longer count. */
    readonly revoked: readonly string[]
    readonly pcrs?: { readonly registers: readonly number[]; readonly digests: readonly string[] }
  }
  readonly androidKey?: {
    readonly apps: readonly AndroidAppConfig[]
    readonly level: (typeof ANDROID_LEVELS)[number]
    readonly bootKeys: readonly string[]
    readonly revocationList: string
    readonly revocationMaxAgeMs: number
  }
  readonly appAttest?: {
    readonly apps: readonly string[]
    readonly environments: readonly (typeof APPLE_ENVIRONMENTS)[number][]
  }
  readonly eat?: {
    readonly endorsements: string
    readonly profiles: readonly string[]
    readonly clientIds: readonly number[]
    readonly software: readonly string[]
    /** Octets in base64url. */
    readonly signers?: readonly string[]
    readonly maxAgeMs: number
  }
  readonly playIntegrity?: {
    readonly apps: readonly AndroidAppConfig[]
    /** The text of the decryption key, with the key of the file that it came by. */
    readonly secret: { readonly text: Buffer; readonly key: 'secret' | 'secret_file' }
    readonly verificationKey: string
    readonly device: (typeof PLAY_DEVICES)[number]
    readonly maxAgeMs: number
  }
}

export interface Config {
  readonly operator: { readonly name: string }
  readonly radius: RadiusConfig
  readonly eap: EapConfig
  readonly clients: readonly NasEntry[]
  readonly tariffs: ReadonlyMap<string, TariffTerms>
  readonly chain: {
    /** `embedded`, or an http(s)/ws(s) URL. */
    readonly rpc: string
    readonly contract: 'auto' | Address
    readonly confirmations: number
    readonly staleAfterMs: number
  }
  readonly sessions: { readonly maxMs: number; readonly perAccount: number }
  readonly admission: {
    readonly prepay: (typeof PREPAY)[number]
    readonly newcomersPerClient: number
    readonly arrearsWindowMs: number
  }
  readonly billing: {
    /** Whose figures of volume are rated, where a device signs its own. */
    readonly usage: (typeof USAGE)[number]
    /** What the key must be worth that signed them. */
    readonly trust: (typeof TRUST)[number]
    /** How long a metering key counts before its device must show it anew. */
    readonly reattestAfterMs: number
  }
  readonly attestation: AttestationConfig
  readonly payplace: {
    /** Of every credit of a merchant, parts of a million. */
    readonly commissionPpm: number
    /** For the registration of this operator, fixed from then on; undefined: by the chain's id. */
    readonly timing: PayplaceTiming | undefined
  }
  readonly http: { readonly listen: Endpoint; readonly publicUrl: string | null }
  /** `embedded`, or a postgres URL. */
  readonly storage: string
  readonly log: { readonly level: LogLevel }
}

/**
 * Something wrong (or, as a warning, unwise) in the text: `clients[0].secret`, its 1-based line,
 * what is allowed.
 */
export interface ConfigProblem {
  readonly path: string
  readonly line: number
  readonly message: string
}

/** What is wrong with the value at a path, in words that follow the key. */
export interface Finding {
  readonly path: readonly (string | number)[]
  readonly message: string
}

/**
 * Every problem at once, never a part of a configuration. Warnings do not stop a start. `placed`
 * gives lines to what is found later, in the files that the configuration names.
 */
export type ConfigResult =
  | {
      readonly config: Config
      readonly warnings: readonly ConfigProblem[]
      readonly placed: (findings: readonly Finding[]) => readonly ConfigProblem[]
    }
  | { readonly problems: readonly ConfigProblem[] }
