// One UDP port: bind, receive, send. Owns the bound on packets being worked on at once; decides
// nothing about their content. Called by main.ts for the authentication and the accounting port.

import { createSocket, type Socket, type SocketOptions } from 'node:dgram'
import { isIPv6 } from 'node:net'
import type { Endpoint } from '../config/config.ts'

/** Where a datagram came from. */
export interface Source {
  readonly address: string
  readonly port: number
}

/** Works on one datagram and gives the reply's bytes, or undefined for silence. Never rejects. */
export type Handle = (datagram: Buffer, source: Source) => Promise<Buffer | undefined>

/** The bound on datagrams in work at once, and who hears of trouble. */
export interface UdpLimits {
  readonly inWorkMax: number
  readonly onOverflow: () => void
  readonly onError: (error: Error) => void
}

export interface UdpPort {
  readonly endpoint: Endpoint
  close(): Promise<void>
}

/**
 * 4 MiB of kernel buffer hold about 2,000 Access-Requests that arrive while one handshake is
 * computed.
 */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024

/**
 * Hosts here are addresses already: those a datagram came from, and the endpoint's, which the
 * configuration checks. The default asks the resolver's code about each of them anew.
 */
const numericLookup =
  (family: 4 | 6): SocketOptions['lookup'] =>
  (address, _options, done) =>
    done(null, address, family)

/**
 * Binds and serves; rejects with the system's error (EADDRINUSE, EACCES) where the port can't be
 * had.
 */
export function openUdpPort(
  endpoint: Endpoint,
  handle: Handle,
  { inWorkMax, onOverflow, onError }: UdpLimits,
): Promise<UdpPort> {
  return new Promise((resolve, reject) => {
    const family = isIPv6(endpoint.host) ? 6 : 4
    const socket: Socket = createSocket({
      type: `udp${family}`,
      recvBufferSize: RECEIVE_BUFFER_BYTES,
      lookup: numericLookup(family),
    })
    // A reply that can't be sent is a lost datagram: the NAS asks again.
    const sent = (error: Error | null): void => {
      if (error !== null) onError(error)
    }
    let inWork = 0
    socket.on('message', (datagram, source) => {
      // RFC 768 allows source port 0 for "no reply expected"; it is also where Node can't send to.
      if (source.port === 0) return
      if (inWork >= inWorkMax) {
        onOverflow()
        return
      }
      inWork += 1
      const reply = (bytes: Buffer | undefined): void => {
        inWork -= 1
        if (bytes !== undefined && !closed) socket.send(bytes, source.port, source.address, sent)
      }
      handle(datagram, source).then(reply).catch(onError)
    })
    let closed = false
    const close = (): Promise<void> =>
      new Promise((done) => {
        if (closed) return done()
        closed = true
        socket.close(() => done())
      })
    socket.once('error', reject)
    socket.bind(endpoint.port, endpoint.host, () => {
      socket.removeListener('error', reject)
      socket.on('error', onError)
      const { address, port } = socket.address()
      resolve({ endpoint: { host: address, port }, close })
    })
  })
}
