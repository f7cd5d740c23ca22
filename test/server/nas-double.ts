// A NAS that a test plays on this host, and a Dynamic Authorization Client on a clock that the test
// moves. No test of its own.

import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { type AddressInfo, isIPv6 } from 'node:net'
import type { Test } from 'tap'
import type { NasPlace } from '../../accounting/session.ts'
import { parseCidr } from '../../config/address.ts'
import { AttributeType } from '../../radius/attribute-type.ts'
import { openRequest, sealReply, type VerifiedPacket } from '../../radius/authenticator.ts'
import { type Attribute, Code } from '../../radius/packet.ts'
import {
  createDynamicAuthorization,
  type DynamicNas,
  type NamedSession,
} from '../../server/dynamic-authorization.ts'
import { strict } from '../radius/support.ts'

export const secret = Buffer.from('a secret for dynamic authorization only')
export const START_MS = 1_800_000_000_000

/** A clock that stands until it is moved, with the timers that hang on it. */
function clock() {
  let nowMs = START_MS
  const timers = new Set<{ atMs: number; run: () => void }>()
  return {
    now: () => nowMs,
    schedule(run: () => void, delayMs: number) {
      const timer = { atMs: nowMs + delayMs, run }
      timers.add(timer)
      return () => void timers.delete(timer)
    },
    timers: () => timers.size,
    /** Moves it on; timers due run in order, each at its own time. */
    advance(ms: number) {
      const untilMs = nowMs + ms
      for (;;) {
        const due = [...timers].filter(({ atMs }) => atMs <= untilMs)
        const first = due.sort((a, b) => a.atMs - b.atMs)[0]
        if (first === undefined) break
        timers.delete(first)
        nowMs = Math.max(nowMs, first.atMs)
        first.run()
      }
      nowMs = untilMs
    },
  }
}

/** One datagram a NAS got, already checked, and how it answers. */
export interface Received {
  readonly request: VerifiedPacket
  readonly datagram: Buffer
  reply(bytes: Buffer, from?: Socket): void
  readonly answer: (code: number, attributes?: readonly Attribute[]) => Buffer
}

/** A NAS on this host; `take` is called for each request in order. */
export async function nasDouble(t: Test, take: (received: Received) => void, host = '127.0.0.1') {
  const socket = createSocket({
    type: isIPv6(host) ? 'udp6' : 'udp4',
    recvBufferSize: 4 * 1024 * 1024,
  })
  const requests: VerifiedPacket[] = []
  const datagrams: Buffer[] = []
  socket.on('message', (bytes, source) => {
    const datagram = Buffer.from(bytes)
    const request = openRequest(datagram, secret, strict)
    requests.push(request)
    datagrams.push(datagram)
    take({
      ...{ request, datagram },
      reply: (reply, from = socket) => from.send(reply, source.port, source.address),
      answer: (code, attributes = []) => sealReply(request, code, attributes, secret),
    })
  })
  socket.bind(0, host)
  await once(socket, 'listening')
  t.teardown(() => socket.close())
  const { port } = socket.address() as AddressInfo
  /** Resolves when it has got this many datagrams. */
  const got = async (count: number) => {
    while (requests.length < count) await once(socket, 'message')
  }
  return { socket, port, requests, datagrams, got }
}

export function client(t: Test, o: { pendingMax?: number; bindAddress?: string } = {}) {
  const time = clock()
  const drops: string[] = []
  const errors: Error[] = []
  let dropped = () => {}
  const made = createDynamicAuthorization({
    ...{ now: time.now, wallNow: time.now, schedule: time.schedule, random: () => 0.5, ...o },
    onDrop(reason) {
      drops.push(reason)
      dropped()
    },
    onError: (error) => errors.push(error),
  })
  t.teardown(() => made.close())
  /** Resolves when this many datagrams were refused. */
  const refused = async (count: number) => {
    while (drops.length < count) await new Promise<void>((resolve) => (dropped = resolve))
  }
  return { client: made, time, drops, errors, refused }
}

export function nasAt(port: number, o: { host?: string; nasType?: DynamicNas['nasType'] } = {}) {
  const ipaddr = parseCidr(o.host ?? '127.0.0.1')
  if (typeof ipaddr === 'string') throw new Error(ipaddr)
  const nas: DynamicNas = {
    ...{ nasType: o.nasType ?? 'hostapd', ipaddr, maxMbps: 100 },
    coa: { port, secret },
  }
  return nas
}

const account = undefined
export function session(name: string, change: Partial<NasPlace> = {}): NamedSession {
  const place: NasPlace = {
    ...{ nas: 'lobby', address: '127.0.0.1', nasIdentifier: 'ap1', nasPort: 1 },
    ...{ nasIpAddress: '192.0.2.11', callingStationId: '02-00-00-00-01-00' },
    ...{ calledStationId: 'ap:Corner', acctSessionId: `acct-${name}`, acctMultiSessionId: '' },
    ...change,
  }
  return { id: name, account, place }
}

export const cause = (value: number): Attribute => {
  const octets = Buffer.alloc(4)
  octets.writeUInt32BE(value)
  return { type: AttributeType.errorCause, value: octets }
}
export const stamp = (seconds: number): Attribute => ({
  ...cause(seconds),
  type: AttributeType.eventTimestamp,
})
export const typesOf = (packet: VerifiedPacket) => packet.attributes.map(({ type }) => type)
export const ack = ({ reply, answer }: Received) => reply(answer(Code.disconnectAck))
