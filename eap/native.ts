// The TlsEngine over eap/native/engine.c: the same OpenSSL as node:tls runs on, without streams and
// event loop turns around it. Loads what setup/native.mjs has compiled and compiles nothing; where
// that is missing or unfit it says why, and the caller takes the node:tls engine (tls.ts).

import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { arch, dlopen, version } from 'node:process'
import { fileURLToPath } from 'node:url'
import { Alert, plainAlert, sealedAlert } from './alert.ts'
import type {
  MayResume,
  ResumptionConfig,
  TlsConversation,
  TlsEngine,
  TlsEngineConfig,
  TlsOutcome,
} from './engine.ts'
import { eapTlsKeys } from './keys.ts'
import { CIPHERS, GROUPS, SIGNATURE_ALGORITHMS, SUITES } from './parameters.ts'
import { reasonOf } from './reasons.ts'

/** Opaque handles of the addon; closing or dropping one frees its memory. */
interface Context {
  readonly handle: 'context'
}
interface Handle {
  readonly handle: 'conversation'
}

/** What engine.c exports; each throws a TypeError for an argument of the wrong kind. */
export interface Addon {
  createContext(
    certificatePem: Buffer,
    keyPem: Buffer,
    minVersion: number,
    maxVersion: number,
    ciphers: string,
    suites: string,
    signatureAlgorithms: string,
    groups: string,
  ): Context
  /** None, one or two keys of 80 octets, the current one first; without any, no tickets. */
  setTicketKeys(context: Context, keys: Buffer): void
  /** Unix seconds: the time, and until when this login may be resumed; not later: no tickets. */
  open(context: Context, nowSeconds: number, untilSeconds: number): Handle
  /** A number of `Fed`. */
  feed(handle: Handle, flight: Uint8Array): number
  /** What TLS has written since the last call; not once established. */
  take(handle: Handle): Buffer
  /** The withheld last flight, or the commitment record of 1.3. */
  commit(handle: Handle): Buffer
  exportKey(handle: Handle, length: number, label: string, context?: Uint8Array): Buffer
  get(handle: Handle, field: (typeof Field)['version' | 'group' | 'resumed']): number
  get(handle: Handle, field: (typeof Field)['code' | 'cipher']): string
  get(
    handle: Handle,
    field: (typeof Field)['certificate' | 'randoms' | 'secret' | 'ticket'],
  ): Buffer
  close(handle: Handle): void
  /** At most 16,380 octets; empty: no response. */
  setOcspResponse(context: Context, der: Buffer): void
}

/** The results of feed() in engine.c. `late`: the handshake was over and the flight went on. */
const Fed = { continue: 0, established: 1, incomplete: 2, failed: 3, late: 4 } as const
/** What get() of engine.c can be asked for. */
const Field = {
  code: 0,
  version: 1,
  cipher: 2,
  group: 3,
  certificate: 4,
  randoms: 5,
  secret: 6,
  resumed: 7,
  ticket: 8,
} as const

const WIRE_VERSION = { '1.2': 0x0303, '1.3': 0x0304 } as const
const WEEK_SECONDS = 604_800
/** The most that engine.c takes in one feed. */
const FLIGHT_BYTES_MAX = 65_536

/** OpenSSL's numbers (NIDs) of GROUPS; no other can be negotiated. */
const groupNames: ReadonlyMap<number, string> = new Map([
  [415, 'P-256'],
  [714, 'secp256k1'],
  [715, 'P-384'],
  [1034, 'X25519'],
])

const NO_BYTES: Buffer = Buffer.alloc(0)

/**
 * Where setup/native.mjs puts the addon for this very source, Node and machine: another one is
 * never loaded.
 */
function addonFile(): string {
  const sources = new URL('native/', import.meta.url)
  const hash = createHash('sha256')
  // As setup/native.mjs reads them.
  const names = readdirSync(sources).filter((name) => /\.[ch]$/.test(name))
  for (const name of names.sort()) hash.update(readFileSync(new URL(name, sources)))
  const name = hash.update(`${version} ${arch}`).digest('hex').slice(0, 16)
  return fileURLToPath(new URL(`../node_modules/.datanet/engine-${name}.node`, import.meta.url))
}

/** The addon itself, or why there is none. For the engine below and its tests. */
export function loadAddon(file?: string): Addon | { readonly unavailable: string } {
  const loaded = { exports: {} }
  try {
    const path = file ?? addonFile()
    if (!existsSync(path)) return { unavailable: 'it was not built on this machine' }
    // Now, not lazily: a Node that does not export OpenSSL must be told here, not by a crash later.
    dlopen(loaded, path, constants.dlopen.RTLD_NOW)
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error)
    return { unavailable: text.replace(/\s*\n\s*/g, ' ') }
  }
  return loaded.exports as Addon
}

/**
 * Makes engines over the addon, each of which throws where the PEMs do not fit; or says in words
 * why it can't be had here. `file` is the compiled addon, by default the one for this Node.
 */
export function loadNativeTlsEngine(
  file?: string,
): ((config: TlsEngineConfig) => TlsEngine) | { readonly unavailable: string } {
  const addon = loadAddon(file)
  if ('unavailable' in addon) return addon
  return (config) => {
    const context = addon.createContext(
      Buffer.from(config.certificatePem),
      Buffer.from(config.privateKeyPem),
      WIRE_VERSION[config.tlsMin],
      WIRE_VERSION[config.tlsMax],
      CIPHERS,
      SUITES,
      SIGNATURE_ALGORITHMS,
      GROUPS,
    )
    const { resumption } = config
    return {
      name: 'native',
      open(mayResume) {
        const open = (tickets: boolean) =>
          openHandle(addon, context, tickets ? resumption : undefined)
        return openConversation(addon, open, resumption && mayResume)
      },
      setTicketKeys: resumption && ((keys) => addon.setTicketKeys(context, Buffer.concat(keys))),
      setOcspResponse: (der) => addon.setOcspResponse(context, der ?? NO_BYTES),
    }
  }
}

function openHandle(addon: Addon, context: Context, resumption?: ResumptionConfig): Handle {
  if (resumption === undefined) return addon.open(context, 0, 0)
  const nowSeconds = resumption.nowSeconds()
  // RFC 8446 §4.6.1, RFC 9190 §2.1.2: never more than a week.
  const lifetimeSeconds = Math.min(resumption.lifetimeSeconds, WEEK_SECONDS)
  return addon.open(context, nowSeconds, nowSeconds + lifetimeSeconds)
}

/** What one conversation remembers; only the functions below change it. */
interface Memory {
  phase: 'handshake' | 'established' | 'spent' | 'ended'
  /** Made at the first flight; undefined before it and once closed. */
  handle: Handle | undefined
}

/** Makes the handle of a conversation, with or without tickets. */
type Open = (tickets: boolean) => Handle

function openConversation(addon: Addon, open: Open, mayResume?: MayResume): TlsConversation {
  const memory: Memory = { phase: 'handshake', handle: undefined }
  /** The first flight; again and without its ticket where that login would be refused. */
  const begin = (flight: Buffer): number => {
    memory.handle = open(true)
    const fed = addon.feed(memory.handle, flight)
    if (mayResume === undefined || fed !== Fed.continue) return fed
    const certificate = addon.get(memory.handle, Field.ticket)
    if (certificate.length === 0 || mayResume(certificate)) return fed
    addon.close(memory.handle)
    memory.handle = open(false)
    return addon.feed(memory.handle, flight)
  }
  return {
    feed: async (flight) => feed(addon, begin, memory, flight),
    commit: () => addon.commit(spend(memory)),
    refuse: (alert) => alertBytes(addon, spend(memory), alert),
    peerCertificate: () => addon.get(established(memory), Field.certificate),
    keys() {
      const handle = established(memory)
      return eapTlsKeys(
        versionOf(addon, handle),
        (length, label, context) => addon.exportKey(handle, length, label, context),
        addon.get(handle, Field.randoms),
      )
    },
    facts() {
      const handle = established(memory)
      return {
        version: versionOf(addon, handle),
        cipher: addon.get(handle, Field.cipher),
        group: groupOf(addon, handle),
        resumed: isResumed(addon, handle),
      }
    },
    close() {
      memory.phase = 'ended'
      if (memory.handle !== undefined) addon.close(memory.handle)
      memory.handle = undefined
    },
  }
}

function feed(
  addon: Addon,
  begin: (flight: Buffer) => number,
  memory: Memory,
  flight: Buffer,
): TlsOutcome {
  if (memory.phase !== 'handshake') return failure(memory, NO_BYTES, { reason: 'tls-ended' })
  if (flight.length > FLIGHT_BYTES_MAX) {
    return failure(memory, NO_BYTES, { reason: 'tls-flight-too-large' })
  }
  let fed: number
  if (memory.handle !== undefined) fed = addon.feed(memory.handle, flight)
  else {
    // A handshake record comes first; nothing else is worth a TLS connection.
    if (flight[0] !== 22 || flight[1] !== 3) {
      return failure(memory, NO_BYTES, { reason: 'tls-garbage' })
    }
    fed = begin(flight)
  }
  const handle = live(memory)
  switch (fed) {
    case Fed.continue:
      return { status: 'continue', bytes: addon.take(handle) }
    case Fed.established:
      memory.phase = 'established'
      return { status: 'established' }
    case Fed.incomplete:
      return failure(memory, NO_BYTES, { reason: 'tls-incomplete-flight' })
    case Fed.late: {
      const bytes = alertBytes(addon, handle, Alert.unexpectedMessage)
      return failure(memory, bytes, reasonOf(addon.get(handle, Field.code)))
    }
    default:
      return failure(memory, addon.take(handle), reasonOf(addon.get(handle, Field.code)))
  }
}

function failure(
  memory: Memory,
  bytes: Buffer,
  why: { readonly reason: string; readonly detail?: string },
): TlsOutcome {
  memory.phase = 'ended'
  return { status: 'failed', bytes, ...why }
}

function live({ handle }: Memory): Handle {
  if (handle === undefined) throw new Error('TLS has not begun')
  return handle
}

function established(memory: Memory): Handle {
  if (memory.phase === 'handshake' || memory.phase === 'ended') {
    throw new Error('TLS is not established')
  }
  return live(memory)
}

/** The one decision that an established conversation takes. */
function spend(memory: Memory): Handle {
  const handle = established(memory)
  if (memory.phase !== 'established') throw new Error('TLS is not waiting for a decision')
  memory.phase = 'spent'
  return handle
}

const versionOf = (addon: Addon, handle: Handle) =>
  addon.get(handle, Field.version) === WIRE_VERSION['1.3'] ? '1.3' : '1.2'

const isResumed = (addon: Addon, handle: Handle) => addon.get(handle, Field.resumed) === 1

/** OpenSSL remembers the group of the full handshake; a resumed one of 1.2 has no exchange. */
function groupOf(addon: Addon, handle: Handle): string {
  if (isResumed(addon, handle) && versionOf(addon, handle) === '1.2') return ''
  return groupNames.get(addon.get(handle, Field.group)) ?? ''
}

/**
 * A fatal alert behind the handshake, in place of our last flight. On 1.2 nothing protected has
 * left, so it goes in clear; on 1.3 it is the first record under the application secret. Behind a
 * resumed handshake of 1.2 there is none: the peer had the last word and listens for the result
 * only (wpa_supplicant drops every further request), which is why `mayResume` is asked before.
 */
function alertBytes(addon: Addon, handle: Handle, alert: number): Buffer {
  if (versionOf(addon, handle) === '1.2') {
    return isResumed(addon, handle) ? NO_BYTES : plainAlert(alert)
  }
  const secret = addon.get(handle, Field.secret)
  if (secret.length === 0) throw new Error('no traffic secret was logged')
  const cipher = addon.get(handle, Field.cipher)
  return sealedAlert({ alert, cipher, secret, sequence: 0 })
}
