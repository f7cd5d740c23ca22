// An EAP-TLS peer for the tests: a node:tls client behind its own EAP framing, which shares no code
// with eap/. It carries one exchange to its end and tells all that it saw; `tamper` bends its
// flights.

import { Duplex } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { sealedAlert } from '../../eap/alert.ts'
import type { TlsConversation } from '../../eap/engine.ts'
import type { EapReply, Exchange } from '../../eap/exchange.ts'
import { caCertificate, p256, serverName } from './credentials.ts'

/** The shortest drive of an engine: flights back and forth until it has established; commits. */
export async function establish(conversation: TlsConversation, client: TlsClient): Promise<void> {
  let flight = await client.exchange(Buffer.alloc(0))
  for (let round = 0; round < 4; round++) {
    const outcome = await conversation.feed(flight)
    if (outcome.status === 'established') break
    flight = await client.exchange(outcome.bytes)
  }
  await client.exchange(conversation.commit())
}

export interface PeerOptions {
  readonly tls: ConnectionOptions
  /** TLS octets in one of its fragments; absent: the whole flight in one packet. */
  readonly fragmentSize?: number
  /** When it sets L: RFC 9190 §2.1.9 wants all three accepted. */
  readonly lengthIncluded?: 'fragmented' | 'never' | 'always'
  /** Largest EAP packet the server may send. */
  readonly serverFragmentSize?: number
  /** Bends the n-th flight (0: ClientHello). */
  readonly tamper?: (flight: Buffer, n: number) => Buffer
  readonly identity?: string
  readonly roundsMax?: number
}

export interface PeerReport {
  /** The last reply. */
  readonly reply: EapReply
  /** Messages that the server sent, each joined from its fragments; the last may be the alert. */
  readonly messages: readonly Buffer[]
  /** Every EAP packet of the server. */
  readonly packets: readonly Buffer[]
  readonly rounds: number
  readonly secured: boolean
  readonly error: string | undefined
  /** Application data the client read. */
  readonly data: Buffer
  readonly tickets: number
  /** The last session that the client could come back with. */
  readonly session: Buffer | undefined
  readonly protocol: string | null
  readonly group: string | undefined
  readonly msk: Buffer
  readonly emsk: Buffer
  readonly methodId: Buffer
}

const EAP_RESPONSE = 2
const EAP_TLS = 13

export const identityResponse = (identifier: number, identity: string): Buffer => {
  const name = Buffer.from(identity)
  return Buffer.concat([Buffer.from([2, identifier, 0, 5 + name.length, 1]), name])
}

export const tlsResponse = (identifier: number, ...data: readonly Uint8Array[]): Buffer => {
  const body = Buffer.concat(data)
  const head = Buffer.from([EAP_RESPONSE, identifier, 0, 0, EAP_TLS])
  head.writeUInt16BE(5 + body.length, 2)
  return Buffer.concat([head, body])
}

/** A client over memory: `exchange(bytes)` gives it a message and returns what it says to it. */
export interface TlsClient {
  readonly socket: TLSSocket
  readonly seen: {
    secured: boolean
    error?: string
    data: Buffer
    tickets: number
    session?: Buffer
  }
  exchange(message: Buffer): Promise<Buffer>
  close(): void
}

export function openClient(options: ConnectionOptions): TlsClient {
  const written: Buffer[] = []
  const wire = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      written.push(chunk)
      done()
    },
  })
  const seen: TlsClient['seen'] = { secured: false, data: Buffer.alloc(0), tickets: 0 }
  const socket = connect({
    socket: wire,
    ca: caCertificate,
    servername: serverName,
    minVersion: 'TLSv1.2',
    ...options,
  })
  socket.on('secureConnect', () => {
    seen.secured = true
  })
  socket.on('session', (session: Buffer) => {
    seen.session = session
    if (socket.getProtocol() === 'TLSv1.3') seen.tickets++
  })
  socket.on('data', (data: Buffer) => {
    seen.data = Buffer.concat([seen.data, data])
  })
  socket.on('error', (error: NodeJS.ErrnoException) => {
    seen.error ??= error.code ?? error.message
  })
  wire.on('error', () => {})
  return {
    socket,
    seen,
    async exchange(message) {
      if (message.length > 0) wire.push(message)
      for (let turns = 0; turns < 4; turns++) await turn()
      if (socket.getTLSTicket()?.length && socket.getProtocol() === 'TLSv1.2') seen.tickets++
      return Buffer.concat(written.splice(0))
    },
    close() {
      socket.destroy()
      wire.destroy()
    },
  }
}

/** Cuts a flight the way the options say; each element is the Type-Data of one packet. */
function fragmentsOf(flight: Buffer, options: PeerOptions): Buffer[] {
  const size = options.fragmentSize ?? 65_536
  const mode = options.lengthIncluded ?? 'fragmented'
  const pieces: Buffer[] = []
  for (let at = 0; at < flight.length || at === 0; at += size) {
    const more = at + size < flight.length
    const length = mode === 'always' || (mode === 'fragmented' && at === 0 && more)
    const head = Buffer.alloc(length ? 5 : 1)
    head[0] = (length ? 0x80 : 0) | (more ? 0x40 : 0)
    if (length) head.writeUInt32BE(flight.length, 1)
    pieces.push(Buffer.concat([head, flight.subarray(at, at + size)]))
  }
  return pieces
}

export async function runPeer(exchange: Exchange, options: PeerOptions): Promise<PeerReport> {
  const client = openClient(options.tls)
  const messages: Buffer[] = []
  const packets: Buffer[] = []
  const flights: Buffer[] = []
  let outgoing: Buffer[] = []
  let incoming: Buffer[] = []
  let rounds = 0
  let response = identityResponse(7, options.identity ?? '@example.org')
  let reply: EapReply
  for (;;) {
    reply = await exchange.receive(response, options.serverFragmentSize ?? 1400)
    if (++rounds > (options.roundsMax ?? 200)) throw new Error('the peer gives up')
    if (reply.do === 'ignore') break
    packets.push(reply.eap)
    if (reply.do !== 'challenge') break
    const request = reply.eap
    const identifier = request[1] ?? 0
    const flags = request[5] ?? 0
    const data = request.subarray(flags & 0x80 ? 10 : 6)
    const piece = outgoing.shift()
    if (piece !== undefined) {
      response = tlsResponse(identifier, piece)
      continue
    }
    incoming.push(data)
    if (flags & 0x40) {
      response = tlsResponse(identifier, Buffer.from([0]))
      continue
    }
    const message = Buffer.concat(incoming)
    incoming = []
    if ((flags & 0x20) === 0) messages.push(message)
    const said = await client.exchange(message)
    // RFC 9190 §2.1.1 and RFC 5216 §2.1.3: an alert and the commitment get an empty response.
    const flight = options.tamper?.(said, flights.length) ?? said
    flights.push(flight)
    outgoing = fragmentsOf(flight, options)
    response = tlsResponse(identifier, outgoing.shift() ?? Buffer.from([0]))
  }
  const report = await reportOf(client, flights, messages)
  client.close()
  return { reply, messages, packets, rounds, ...report }
}

async function reportOf(client: TlsClient, flights: Buffer[], messages: Buffer[]) {
  for (let turns = 0; turns < 3; turns++) await turn()
  const { socket, seen } = client
  const none = Buffer.alloc(0)
  const protocol = socket.getProtocol()
  const alive = seen.secured && !socket.destroyed
  const key = socket.getEphemeralKeyInfo() as { name?: string } | null
  const type = Buffer.from([13])
  const exporter = (length: number, label: string, context?: Buffer): Buffer =>
    alive ? socket.exportKeyingMaterial(length, label, context as Buffer) : none
  const material =
    protocol === 'TLSv1.3'
      ? exporter(128, 'EXPORTER_EAP_TLS_Key_Material', type)
      : exporter(128, 'client EAP encryption')
  const randoms = [flights[0], messages[0]].map((flight) => flight?.subarray(11, 43) ?? none)
  return {
    secured: seen.secured,
    error: seen.error,
    data: seen.data,
    tickets: seen.tickets,
    session: seen.session,
    protocol,
    group: key?.name,
    msk: material.subarray(0, 64),
    emsk: material.subarray(64),
    methodId:
      protocol === 'TLSv1.3'
        ? exporter(64, 'EXPORTER_EAP_TLS_Method-Id', type)
        : Buffer.concat(randoms),
  }
}

/** The same handshake message in records of `size` octets. */
export function respread(flight: Buffer, size: number): Buffer {
  const body = flight.subarray(5)
  const records: Buffer[] = []
  for (let at = 0; at < body.length; at += size) {
    const part = body.subarray(at, at + size)
    records.push(Buffer.from([22, 3, 1, 0, part.length]), part)
  }
  return Buffer.concat(records)
}

/**
 * Brings TLS 1.3 to the client's last flight and returns `unknown_ca` in its place, sealed as a
 * client does.
 */
export async function untrustingFlight(conversation: TlsConversation): Promise<Buffer> {
  const cipher = 'TLS_AES_128_GCM_SHA256'
  const client = openClient({ ...p256, minVersion: 'TLSv1.3', ciphers: cipher })
  let secret = Buffer.alloc(0)
  client.socket.on('keylog', (line: Buffer) => {
    const [label, , hex] = line.toString('latin1').trim().split(' ')
    if (label === 'CLIENT_HANDSHAKE_TRAFFIC_SECRET') secret = Buffer.from(hex ?? '', 'hex')
  })
  const first = await conversation.feed(await client.exchange(Buffer.alloc(0)))
  if (first.status !== 'continue') throw new Error(first.status)
  await client.exchange(first.bytes)
  client.close()
  return sealedAlert({ alert: 48, cipher, secret, sequence: 0 })
}
