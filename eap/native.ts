// The TlsEngine over eap/native/engine.c: the same OpenSSL as node:tls runs on, without streams and
// event loop turns around it. Loads what setup/native.mjs has compiled and compiles nothing; where
// that is missing or unfit it says why, and the caller takes the node:tls engine (tls.ts).

import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { arch, dlopen, version } from 'node:process'
import { fileURLToPath } from 'node:url'
import { Alert, plainAlert, sealedAlert } from './alert.ts'
import type { TlsConversation, TlsEngine, TlsEngineConfig, TlsOutcome } from './engine.ts'
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
  open(context: Context): Handle
  /** A number of `Fed`. */
  feed(handle: Handle, flight: Uint8Array): number
  /** What TLS has written since the last call; not once established. */
  take(handle: Handle): Buffer
  /** The withheld last flight, or the commitment record of 1.3. */
  commit(handle: Handle): Buffer
  exportKey(handle: Handle, length: number, label: string, context?: Uint8Array): Buffer
  get(handle: Handle, field: (typeof Field)['version' | 'group']): number
  get(handle: Handle, field: (typeof Field)['code' | 'cipher']): string
  get(handle: Handle, field: (typeof Field)['certificate' | 'randoms' | 'secret']): Buffer
  close(handle: Handle): void
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
} as const

const WIRE_VERSION = { '1.2': 0x0303, '1.3': 0x0304 } as const
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
  const source = (name: string) => readFileSync(new URL(`native/${name}`, import.meta.url))
  const name = createHash('sha256')
    .update(source('engine.c'))
    .update(source('values.h'))
    .update(`${version} ${arch}`)
    .digest('hex')
    .slice(0, 16)
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
    return { name: 'native', open: () => openConversation(addon, context) }
  }
}

/** What one conversation remembers; only the functions below change it. */
interface Memory {
  phase: 'handshake' | 'established' | 'spent' | 'ended'
  /** Made at the first flight; undefined before it and once closed. */
  handle: Handle | undefined
}

function openConversation(addon: Addon, context: Context): TlsConversation {
  const memory: Memory = { phase: 'handshake', handle: undefined }
  return {
    feed: async (flight) => feed(addon, context, memory, flight),
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
        group: groupNames.get(addon.get(handle, Field.group)) ?? '',
        // The context keeps no session and makes no ticket.
        resumed: false,
      }
    },
    close() {
      memory.phase = 'ended'
      if (memory.handle !== undefined) addon.close(memory.handle)
      memory.handle = undefined
    },
  }
}

function feed(addon: Addon, context: Context, memory: Memory, flight: Buffer): TlsOutcome {
  if (memory.phase !== 'handshake') return failure(memory, NO_BYTES, { reason: 'tls-ended' })
  if (flight.length > FLIGHT_BYTES_MAX) {
    return failure(memory, NO_BYTES, { reason: 'tls-flight-too-large' })
  }
  if (memory.handle === undefined) {
    // A handshake record comes first; nothing else is worth a TLS connection.
    if (flight[0] !== 22 || flight[1] !== 3) {
      return failure(memory, NO_BYTES, { reason: 'tls-garbage' })
    }
    memory.handle = addon.open(context)
  }
  const { handle } = memory
  switch (addon.feed(handle, flight)) {
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

function established({ handle, phase }: Memory): Handle {
  if (handle === undefined || phase === 'handshake' || phase === 'ended') {
    throw new Error('TLS is not established')
  }
  return handle
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

/**
 * A fatal alert behind the handshake, in place of our last flight. On 1.2 nothing protected has
 * left, so it goes in clear; on 1.3 it is the first record under the application secret.
 */
function alertBytes(addon: Addon, handle: Handle, alert: number): Buffer {
  if (versionOf(addon, handle) === '1.2') return plainAlert(alert)
  const secret = addon.get(handle, Field.secret)
  if (secret.length === 0) throw new Error('no traffic secret was logged')
  const cipher = addon.get(handle, Field.cipher)
  return sealedAlert({ alert, cipher, secret, sequence: 0 })
}
