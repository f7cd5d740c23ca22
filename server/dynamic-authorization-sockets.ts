// The sockets Disconnect- and CoA-Requests leave by, one for each address family, opened by the
// first request and kept: a request sent again must come from the same port (RFC 5176 §2.3). Knows
// nothing of RADIUS. Called by dynamic-authorization.ts.

import { createSocket, type Socket } from 'node:dgram'
import { parseIpAddress } from '../config/address.ts'
import type { Source } from './socket.ts'

/** A thousand answers that arrive while a handshake is computed. */
const RECEIVE_BUFFER_BYTES = 1024 * 1024

export interface RequestSockets {
  /** `address` is one a socket told us. What can't be sent is told to `onError` and lost. */
  send(datagram: Buffer, port: number, address: string): void
  close(): Promise<void>
}

export interface SocketDeps {
  readonly onDatagram: (datagram: Buffer, source: Source) => void
  readonly onError: (error: Error) => void
  /** The local address to send from; the other family, or undefined: as the system routes. */
  readonly bindAddress: string | undefined
}

/** A dual-stack socket tells IPv4 as ::ffff:a.b.c.d, which only another such one can send to. */
function unmapped(address: string): string {
  return /^::ffff:([0-9.]+)$/i.exec(address)?.[1] ?? address
}

export function createRequestSockets(deps: SocketDeps): RequestSockets {
  const { onDatagram, onError, bindAddress } = deps
  const own = bindAddress === undefined ? undefined : parseIpAddress(bindAddress)
  const sockets = new Map<4 | 6, Socket>()

  const socketOf = (family: 4 | 6): Socket => {
    const known = sockets.get(family)
    if (known !== undefined) return known
    const socket = createSocket({ type: `udp${family}`, recvBufferSize: RECEIVE_BUFFER_BYTES })
    socket.on('error', onError)
    socket.on('message', onDatagram)
    if (own?.family === family) socket.bind(0, bindAddress)
    sockets.set(family, socket)
    return socket
  }

  return {
    send(datagram, port, address) {
      const to = unmapped(address)
      socketOf(to.includes(':') ? 6 : 4).send(datagram, port, to, (error) => {
        if (error !== null) onError(error)
      })
    },
    async close() {
      const closing = [...sockets.values()].map(
        (socket) => new Promise<void>((done) => socket.close(() => done())),
      )
      sockets.clear()
      await Promise.all(closing)
    },
  }
}
