// A gate between a supplicant's RADIUS client and the server: the second login of one run waits at
// it until the test has changed the world, and may then go to another server. Passes bytes on and
// reads only whether a request begins a conversation.

import { createSocket } from 'node:dgram'
import type { Test } from 'tap'

const HOST = '127.0.0.1'
const STATE = 24

export interface Gate {
  readonly port: number
  /** Resolves when a login waits. */
  readonly waiting: Promise<void>
  /** Lets it, and all that follows, through to this port. */
  open(port: number): void
}

/** RFC 2865 §5.24: only the first request of a conversation has no State. */
function begins(packet: Buffer): boolean {
  for (let at = 20; at + 2 <= packet.length; at += Math.max(2, packet[at + 1] ?? 0)) {
    if (packet[at] === STATE) return false
  }
  return true
}

export async function openGate(t: Test, firstPort: number): Promise<Gate> {
  const near = createSocket('udp4')
  const far = createSocket('udp4')
  const { promise: waiting, resolve: arrived } = Promise.withResolvers<void>()
  let port = firstPort
  let supplicantPort = 0
  let first: Buffer | undefined
  let held: Buffer | undefined
  let isOpen = false
  near.on('message', (packet, from) => {
    supplicantPort = from.port
    first ??= packet
    if (!isOpen && begins(packet) && !packet.equals(first)) {
      held ??= packet
      arrived()
    } else far.send(packet, port, HOST)
  })
  far.on('message', (packet) => near.send(packet, supplicantPort, HOST))
  await new Promise<void>((resolve) => near.bind(0, HOST, resolve))
  t.teardown(() => {
    near.close()
    far.close()
  })
  return {
    ...{ port: near.address().port, waiting },
    open(to) {
      port = to
      isOpen = true
      if (held !== undefined) far.send(held, port, HOST)
    },
  }
}
