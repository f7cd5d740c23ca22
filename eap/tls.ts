// The TlsEngine over node:tls: one server-side TLSSocket per conversation, fed through an in-memory
// Duplex. The only file of this room with I/O machinery in it. It proves possession of the client's
// key and nothing more: who issued the certificate and whether it may enter is not decided here.
//
// Session tickets: none are sent, whatever the configuration says of resumption: node:tls can't put
// a limit of ours into a ticket, or hold one back until its login is admitted. TLS 1.3 sends two by
// default, and node:tls has no option for their number. What was measured on Node 26.10 with a 1.3
// client: SSL_OP_NO_TICKET still sends two (158 bytes, stateful); sessionTimeout 0 still sends two;
// `--openssl-config` (or NODE_OPTIONS or OPENSSL_CONF) naming a file with NumTickets = 0 sends
// none; and so does a ticket key callback that answers 0, which is set from inside the process and
// is what is done here. In 1.2 that callback leaves an empty ticket (RFC 5077 §3.3) to clients that
// ask for one. Where a runtime has no such callback, SSL_OP_NO_TICKET makes the tickets small and
// useless, and everything else still holds.

import { constants } from 'node:crypto'
import { nextTick } from 'node:process'
import { Duplex } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls'
import { Alert, plainAlert, sealedAlert } from './alert.ts'
import type { TlsConversation, TlsEngine, TlsEngineConfig, TlsFacts, TlsOutcome } from './engine.ts'
import { eapTlsKeys, groupOf, helloRandom } from './keys.ts'
import { CIPHERS, GROUPS, SIGNATURE_ALGORITHMS, SUITES } from './parameters.ts'
import { reasonOf } from './reasons.ts'

/**
 * Event loop turns after which a silent OpenSSL is taken to wait for bytes that cannot come: a
 * whole EAP-TLS message has been fed, so half a TLS record in it would hang the conversation for
 * ever.
 */
const TURNS_MAX = 2
/** A tick, then the immediates of two turns at most. */
const FLUSH_TURNS_MAX = 3

const NO_BYTES: Buffer = Buffer.alloc(0)

/**
 * One engine, and with it one OpenSSL context, per server certificate. Throws where the PEMs do not
 * fit.
 */
export function createNodeTlsEngine(config: TlsEngineConfig): TlsEngine {
  const secureContext = createSecureContext({
    cert: config.certificatePem,
    key: config.privateKeyPem,
    // An empty list, not an absent one: that would load the public roots, build chains for both
    // sides at each handshake and name the roots to the client.
    ca: [],
    minVersion: `TLSv${config.tlsMin}`,
    maxVersion: `TLSv${config.tlsMax}`,
    ciphers: `${SUITES}:${CIPHERS}`,
    honorCipherOrder: true,
    sigalgs: SIGNATURE_ALGORITHMS,
    ecdhCurve: GROUPS,
    secureOptions: hasTicketCallback() ? 0 : constants.SSL_OP_NO_TICKET,
    sessionIdContext: 'datanet-eap-tls',
  })
  refuseTickets(secureContext)
  const open = () => openConversation(secureContext)
  // node:tls staples through an event of tls.Server only, and there is none here.
  return { name: 'node', open, setOcspResponse: undefined, setTicketKeys: undefined }
}

interface TicketCallback {
  enableTicketKeyCallback?: () => void
  onticketkeycallback?: (name: Buffer, iv: Buffer, encrypt: boolean) => unknown
}

const hasTicketCallback = (): boolean =>
  typeof (createSecureContext().context as TicketCallback).enableTicketKeyCallback === 'function'

/**
 * Answers 0 to every question for a ticket key: no ticket is made, and none that a client shows is
 * read.
 */
function refuseTickets(secureContext: SecureContext): void {
  const context = secureContext.context as TicketCallback
  const answer = [0, Buffer.alloc(32), Buffer.alloc(16), Buffer.alloc(16), Buffer.alloc(16)]
  context.enableTicketKeyCallback?.()
  context.onticketkeycallback = () => answer
}

/** What the two ends of one in-memory connection share. */
interface Wire {
  readonly duplex: Duplex
  /** All that TLS has written since the last call, cut anywhere: parse it only as a whole. */
  take(): Buffer
  pending(): boolean
  /**
   * False until node:tls has been told that its last write is done; before that it writes nothing
   * more.
   */
  flushed(): boolean
}

function openWire(): Wire {
  let chunks: Buffer[] = []
  let unflushed = 0
  const written = (done: () => void) => {
    done()
    // node:tls learns of it in an immediate that it queues in a tick queued by done(): after that
    // one.
    unflushed++
    nextTick(setImmediate, () => unflushed--)
  }
  const duplex = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      chunks.push(chunk)
      written(done)
    },
    writev(writes, done) {
      for (const { chunk } of writes) chunks.push(chunk)
      written(done)
    },
  })
  return {
    duplex,
    pending: () => chunks.length > 0,
    flushed: () => unflushed === 0,
    take() {
      const bytes = chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks)
      chunks = []
      return bytes
    },
  }
}

/** The live part of a conversation; made at its first flight, since it costs some 70 kB. */
interface Live {
  readonly socket: TLSSocket
  readonly wire: Wire
  readonly progress: Progress
}

interface Progress {
  secure: boolean
  /** An error after the handshake, which node:tls tells by this internal event only. */
  lateError: Error | undefined
  /** SERVER_TRAFFIC_SECRET_0, in TLS 1.3. */
  trafficSecret: Buffer | undefined
}

function openLive(secureContext: SecureContext): Live {
  const wire = openWire()
  const socket = new TLSSocket(wire.duplex, {
    isServer: true,
    secureContext,
    requestCert: true,
    // On a socket made directly this means only: some certificate must be there, else OpenSSL sends
    // alert 116 (1.3) or 40 (1.2). Any issuer passes. Node does not document it; the suite tests
    // it.
    rejectUnauthorized: true,
  })
  const progress: Progress = { secure: false, lateError: undefined, trafficSecret: undefined }
  socket.on('secure', () => {
    progress.secure = true
  })
  socket.on('_tlsError', (error: Error) => {
    progress.lateError = error
  })
  socket.on('error', () => {})
  wire.duplex.on('error', () => {})
  socket.on('keylog', (line: Buffer) => {
    progress.trafficSecret ??= readTrafficSecret(line)
  })
  return { socket, wire, progress }
}

const SECRET_LABEL = Buffer.from('SERVER_TRAFFIC_SECRET_0 ')

/** One line of the SSLKEYLOGFILE format: label, client random, secret, in hex. */
function readTrafficSecret(line: Buffer): Buffer | undefined {
  // Five lines come in each handshake; comparing bytes makes no string of the other four.
  if (!line.subarray(0, SECRET_LABEL.length).equals(SECRET_LABEL)) return undefined
  const hex = line.toString('latin1', line.lastIndexOf(' ') + 1).trim()
  return Buffer.from(hex, 'hex')
}

type Phase = 'handshake' | 'established' | 'spent' | 'ended'

/** What one conversation remembers; only the functions below change it. */
interface Memory {
  phase: Phase
  live: Live | undefined
  /**
   * The first flight of the client and the last of ours that it answered, for what 1.2 leaves to
   * us.
   */
  clientHello: Buffer
  serverFlight: Buffer
  /** What TLS wrote after the client's Finished: the last flight of 1.2, or tickets of 1.3. */
  withheld: Buffer
}

function openConversation(secureContext: SecureContext): TlsConversation {
  const memory: Memory = {
    phase: 'handshake',
    live: undefined,
    clientHello: NO_BYTES,
    serverFlight: NO_BYTES,
    withheld: NO_BYTES,
  }
  return {
    feed: (flight) => feed(memory, secureContext, flight),
    commit() {
      const { socket, wire } = spend(memory)
      if (versionOf(socket) === '1.3') socket.write(COMMITMENT)
      return Buffer.concat([memory.withheld, wire.take()])
    },
    refuse: (alert) => refuse(memory, alert),
    peerCertificate() {
      const certificate = established(memory).socket.getPeerX509Certificate()
      if (certificate === undefined) throw new Error('established without a certificate')
      return certificate.raw
    },
    keys() {
      const { socket } = established(memory)
      const randoms = [helloRandom(memory.clientHello), helloRandom(memory.serverFlight)]
      return eapTlsKeys(
        versionOf(socket),
        // Node takes no context as undefined; its types do not say so.
        (length, label, context) => socket.exportKeyingMaterial(length, label, context as Buffer),
        Buffer.concat(randoms.map((random) => random ?? NO_BYTES)),
      )
    },
    facts(): TlsFacts {
      const { socket } = established(memory)
      return {
        version: versionOf(socket),
        cipher: socket.getCipher().standardName,
        group: groupOf(versionOf(socket), memory.serverFlight),
        resumed: socket.isSessionReused(),
      }
    },
    close() {
      memory.phase = 'ended'
      const { live } = memory
      memory.live = undefined
      if (live !== undefined) void release(live)
      memory.clientHello = memory.serverFlight = memory.withheld = NO_BYTES
    },
  }
}

/**
 * A write that is cut off makes node:tls build an error with a stack trace, a twentieth of what an
 * authentication costs; so a commitment just written is let finish, a turn or two later.
 */
async function release({ socket, wire }: Live): Promise<void> {
  if (!wire.flushed()) await flush(wire)
  socket.destroy()
  wire.duplex.destroy()
}

async function feed(
  memory: Memory,
  secureContext: SecureContext,
  flight: Buffer,
): Promise<TlsOutcome> {
  const fail = (reason: string): TlsOutcome => {
    memory.phase = 'ended'
    return { status: 'failed', bytes: NO_BYTES, reason }
  }
  if (memory.phase !== 'handshake') return fail('tls-ended')
  if (memory.live === undefined) {
    // A handshake record comes first; nothing else is worth a TLSSocket.
    if (flight[0] !== 22 || flight[1] !== 3) return fail('tls-garbage')
    memory.live = openLive(secureContext)
    memory.clientHello = flight
  }
  const { live } = memory
  await flush(live.wire)
  live.wire.duplex.push(flight)
  for (let turns = 0; turns < TURNS_MAX && !settled(live); turns++) await turn()
  // `close` may have been called meanwhile.
  if (memory.live === undefined) return fail('tls-closed')
  const outcome = readOutcome(live)
  if (outcome.status === 'established') {
    memory.withheld = live.wire.take()
    await flush(live.wire)
    if (memory.live === undefined) return fail('tls-closed')
    memory.phase = 'established'
  } else if (outcome.status === 'continue') memory.serverFlight = outcome.bytes
  else memory.phase = 'ended'
  return outcome
}

function established({ live, phase }: Memory): Live {
  if (live === undefined || phase === 'handshake' || phase === 'ended') {
    throw new Error('TLS is not established')
  }
  return live
}

/** The one decision that an established conversation takes. */
function spend(memory: Memory): Live {
  const live = established(memory)
  if (memory.phase !== 'established') throw new Error('TLS is not waiting for a decision')
  memory.phase = 'spent'
  return live
}

function refuse(memory: Memory, alert: number): Buffer {
  const { socket, progress } = spend(memory)
  // In 1.2 nothing that is protected has left yet, so the alert goes in clear and the Finished
  // never.
  if (versionOf(socket) === '1.2') return plainAlert(alert)
  const secret = progress.trafficSecret
  if (secret === undefined) throw new Error('no traffic secret was logged')
  const cipher = socket.getCipher().standardName
  const sequence = countRecords(memory.withheld)
  return Buffer.concat([memory.withheld, sealedAlert({ alert, cipher, secret, sequence })])
}

const versionOf = (socket: TLSSocket) => (socket.getProtocol() === 'TLSv1.3' ? '1.3' : '1.2')

/** The protected success indication of RFC 9190 §2.5, as application data. */
const COMMITMENT = Buffer.from([0])

/**
 * Waits until node:tls can write; true at once unless the peer answered within one turn of the
 * event loop.
 */
async function flush(wire: Wire): Promise<void> {
  for (let turns = 0; turns < FLUSH_TURNS_MAX && !wire.flushed(); turns++) await turn()
}

/** What TLS made of a flight that has been pushed. */
function readOutcome({ socket, wire, progress }: Live): TlsOutcome {
  const error = progress.lateError ?? socket.errored
  if (error !== null) {
    // In 1.2 an error behind the client's Finished leaves our own Finished before the alert in the
    // wire: a success that must not be seen, so the alert is made here.
    const late = progress.secure && versionOf(socket) === '1.2'
    const bytes = late ? plainAlert(Alert.unexpectedMessage) : wire.take()
    return {
      status: 'failed',
      bytes,
      ...reasonOf((error as NodeJS.ErrnoException).code ?? error.name),
    }
  }
  if (progress.secure) {
    const certificate = socket.getPeerX509Certificate()
    return certificate !== undefined
      ? { status: 'established' }
      : { status: 'failed', bytes: NO_BYTES, reason: 'tls-no-certificate' }
  }
  const bytes = wire.take()
  if (bytes.length > 0) return { status: 'continue', bytes }
  return { status: 'failed', bytes, reason: 'tls-incomplete-flight' }
}

/** Whether TLS has said all it has to say to a flight. */
function settled({ socket, wire, progress }: Live): boolean {
  if (socket.errored !== null || progress.lateError !== undefined) return true
  if (!progress.secure) return wire.pending()
  // 'secure' comes before the last flight of 1.2 is written; 1.3 has nothing left to write.
  return socket.getProtocol() === 'TLSv1.3' || wire.pending()
}

function countRecords(bytes: Buffer): number {
  let count = 0
  for (let at = 0; at + 5 <= bytes.length; at += 5 + bytes.readUInt16BE(at + 3)) count++
  return count
}
