// RADIUS over UDP from the NAS's side: identifiers, retransmission, verification of every reply.
// Opens as many sockets as the load needs, at most 256 identifiers each (RFC 2865 §3). Refuses to
// hand up a reply that fails a check: it is counted and the wait goes on. Called by peer.ts.

import { randomBytes } from 'node:crypto'
import { createSocket, type Socket } from 'node:dgram'
import { openReply, sealRequest } from '../../radius/authenticator.ts'
import { type Attribute, Code, decodePacket, type Packet } from '../../radius/packet.ts'

// Half of the 256: an identifier is used again only long after its last request, so that a late
// answer to a retransmission meets an idle identifier and not a new request.
const IN_FLIGHT_PER_SOCKET = 128
// All replies a socket can wait for, even while this process computes: what is lost is then the
// server's doing.
const RECEIVE_BUFFER = 4 * 1024 * 1024
const SOCKETS_MAX = 64
const IDENTIFIERS = 256

/** Where the server is and how patient the NAS is. All times in milliseconds. */
export interface TransportOptions {
  readonly host: string
  readonly port: number
  readonly secret: Buffer
  /** The NAS's own address; the system's choice unless told. */
  readonly localAddress?: string
  /** Wait before the first retransmission; each later one waits twice as long, up to retryMaxMs. */
  readonly retryMs?: number
  readonly retryMaxMs?: number
  /** Whole time for one request; undefined is then the answer. */
  readonly giveUpMs?: number
}

/** What the transport has seen; counters only grow. */
export interface TransportStats {
  requests: number
  retransmits: number
  /** Replies dropped: unknown identifier, wrong authenticator, malformed. */
  droppedReplies: number
}

/**
 * One NAS. `exchange` sends one Access-Request and resolves with its verified reply, or undefined
 * when none came.
 */
export interface RadiusTransport {
  readonly stats: Readonly<TransportStats>
  readonly secret: Buffer
  exchange(attributes: readonly Attribute[]): Promise<Exchanged | undefined>
  close(): void
}

/**
 * A verified reply with the request it answers: the request's authenticator decrypts the reply's
 * keys.
 */
export interface Exchanged {
  readonly request: Packet
  readonly reply: Packet
}

interface Waiting {
  readonly request: Packet
  readonly datagram: Buffer
  readonly settle: (reply: Packet | undefined) => void
}

interface Channel {
  readonly socket: Socket
  readonly waiting: Map<number, Waiting>
  nextIdentifier: number
}

/** Opens a NAS towards one server; sockets are made when the load asks for them. */
export function openTransport(options: TransportOptions): RadiusTransport {
  const stats: TransportStats = { requests: 0, retransmits: 0, droppedReplies: 0 }
  const channels: Channel[] = []
  let turn = 0
  let closed = false

  function pick(): Channel {
    for (let i = 0; i < channels.length; i++) {
      turn = (turn + 1) % channels.length
      const channel = channels[turn]
      if (channel !== undefined && channel.waiting.size < IN_FLIGHT_PER_SOCKET) return channel
    }
    if (channels.length >= SOCKETS_MAX) throw new RangeError('too many requests in flight')
    const channel = openChannel(options, stats)
    channels.push(channel)
    return channel
  }

  return {
    stats,
    secret: options.secret,
    exchange: async (attributes) =>
      closed ? undefined : exchange(options, stats, pick(), attributes),
    close() {
      closed = true
      for (const channel of channels) {
        for (const waiting of [...channel.waiting.values()]) waiting.settle(undefined)
        channel.socket.close()
      }
      channels.length = 0
    },
  }
}

function openChannel(options: TransportOptions, stats: TransportStats): Channel {
  const type = options.host.includes(':') ? 'udp6' : 'udp4'
  const socket = createSocket({ type, recvBufferSize: RECEIVE_BUFFER })
  const channel: Channel = { socket, waiting: new Map(), nextIdentifier: 0 }
  if (options.localAddress !== undefined) socket.bind(0, options.localAddress)
  socket.on('message', (datagram) => {
    const waiting = channel.waiting.get(datagram[1] ?? 0)
    const reply = waiting && verified(datagram, options.secret, waiting.request)
    if (waiting && reply) waiting.settle(reply)
    else stats.droppedReplies += 1
  })
  // ECONNREFUSED while a server restarts: the retransmission timer is the answer to it.
  socket.on('error', () => {})
  return channel
}

function verified(datagram: Buffer, secret: Buffer, request: Packet): Packet | undefined {
  try {
    return openReply(datagram, secret, request)
  } catch {
    return undefined
  }
}

function exchange(
  options: TransportOptions,
  stats: TransportStats,
  channel: Channel,
  attributes: readonly Attribute[],
): Promise<Exchanged | undefined> {
  const identifier = freeIdentifier(channel)
  const datagram = sealRequest(
    { code: Code.accessRequest, identifier, attributes, authenticator: randomBytes(16) },
    options.secret,
  )
  const request = decodePacket(datagram)
  const retryMaxMs = options.retryMaxMs ?? 16_000
  const giveUpMs = options.giveUpMs ?? 30_000
  stats.requests += 1
  return new Promise((resolve) => {
    const startedMs = performance.now()
    // RFC 5080 §2.2.1: a random tenth keeps the retransmissions of a burst apart.
    let waitMs = (options.retryMs ?? 2000) * (0.9 + Math.random() * 0.2)
    let timer = setTimeout(again, Math.min(waitMs, giveUpMs))
    const settle = (reply: Packet | undefined): void => {
      clearTimeout(timer)
      channel.waiting.delete(identifier)
      resolve(reply && { request, reply })
    }
    function again(): void {
      const leftMs = giveUpMs - (performance.now() - startedMs)
      if (leftMs <= 1) {
        settle(undefined)
        return
      }
      stats.retransmits += 1
      // RFC 2865 §2.5: a retransmission is the same datagram, identifier and authenticator
      // included.
      channel.socket.send(datagram, options.port, options.host)
      waitMs = Math.min(waitMs * 2, retryMaxMs)
      timer = setTimeout(again, Math.min(waitMs, leftMs))
    }
    channel.waiting.set(identifier, { request, datagram, settle })
    channel.socket.send(datagram, options.port, options.host)
  })
}

function freeIdentifier(channel: Channel): number {
  for (let i = 0; i < IDENTIFIERS; i++) {
    const identifier = channel.nextIdentifier
    channel.nextIdentifier = (identifier + 1) % IDENTIFIERS
    if (!channel.waiting.has(identifier)) return identifier
  }
  throw new RangeError('no identifier is free on this socket')
}
