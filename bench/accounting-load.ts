// The accounting load: Interim-Updates of many sessions, every one with other counters, in a closed
// loop of so many in flight, as a process of its own. Each line of standard input is an
// AccountingSpec, each line of its output an AccountingResult. Checks the authenticator of every
// response; sends nothing again: what is not answered in time is lost. Called by
// accounting-phases.ts.

import { createSocket, type Socket } from 'node:dgram'
import { createInterface } from 'node:readline'
import { AttributeType } from '../radius/attribute-type.ts'
import { openReply } from '../radius/authenticator.ts'
import { workspace, workspaceMd5 } from '../radius/digest.ts'
import {
  type Attribute,
  attributesLength,
  Code,
  decodePacket,
  headerLength,
  type Packet,
  writeAttributes,
  writeHeader,
} from '../radius/packet.ts'
import { percentile } from './table.ts'

/** One run against one server. */
export interface AccountingSpec {
  readonly port: number
  readonly secret: string
  /** Class of each session, as text: as many sessions take turns. */
  readonly classes: readonly string[]
  readonly count: number
  readonly inFlight: number
  /** A request without a response for that long is lost. */
  readonly lostAfterMs: number
  /** For the whole run. */
  readonly limitMs: number
}

export interface AccountingResult {
  readonly done: number
  readonly lost: number
  /** Replies that failed a check. */
  readonly wrong: number
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

/** Identifiers of a socket: an answer that is late must not meet the next request. */
const IN_FLIGHT_PER_SOCKET = 64
const IDENTIFIERS = 256
const RECEIVE_BUFFER = 4 * 1024 * 1024
const INTERIM_UPDATE = 3
const INTERVAL_SECONDS = 60
/**
 * Between two records of a session: less than any NAS can carry meanwhile, however fast they come.
 */
const OCTETS_EACH = 123_457

/** How often each port was asked already: counters go on from run to run. */
const asked = new Map<number, number>()

const text = (value: string): Buffer => Buffer.from(value, 'latin1')
const number = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value % 2 ** 32)
  return bytes
}

function stationOf(session: number): string {
  const octets = Buffer.alloc(6)
  octets[0] = 2
  octets.writeUInt32BE(session, 2)
  return (octets.toString('hex').match(/../g) ?? []).join('-').toUpperCase()
}

/** What hostapd 2.10 sends in an Interim-Update, in its order. */
function interimUpdate(spec: AccountingSpec, sequence: number): Attribute[] {
  const session = sequence % spec.classes.length
  const interval = 1 + Math.floor(sequence / spec.classes.length)
  const sessionId = session.toString(16).toUpperCase().padStart(16, '0')
  const multiId = (session + 2 ** 40).toString(16).toUpperCase().padStart(16, '0')
  const octets = interval * OCTETS_EACH
  const [A, low, high] = [AttributeType, octets % 2 ** 32, Math.floor(octets / 2 ** 32)]
  return [
    { type: A.acctStatusType, value: number(INTERIM_UPDATE) },
    { type: A.acctAuthentic, value: number(1) },
    { type: A.userName, value: text('anonymous@bench.test') },
    { type: A.nasIpAddress, value: Buffer.of(192, 0, 2, 1) },
    { type: A.nasIdentifier, value: text('ap1.bench.test') },
    { type: A.calledStationId, value: text('02-00-00-00-00-00:bench') },
    { type: A.nasPortType, value: number(19) },
    { type: A.serviceType, value: number(2) },
    { type: A.nasPort, value: number(1) },
    { type: A.callingStationId, value: text(stationOf(session)) },
    { type: A.connectInfo, value: text('CONNECT 54Mbps 802.11g') },
    { type: A.acctSessionId, value: text(sessionId) },
    { type: A.acctMultiSessionId, value: text(multiId) },
    { type: A.wlanPairwiseCipher, value: number(0x000fac04) },
    { type: A.wlanGroupCipher, value: number(0x000fac04) },
    { type: A.wlanAkmSuite, value: number(0x000fac01) },
    { type: A.class, value: text(spec.classes[session] ?? '') },
    { type: A.acctDelayTime, value: number(0) },
    { type: A.acctSessionTime, value: number(interval * INTERVAL_SECONDS) },
    { type: A.acctInputPackets, value: number(interval * 1000) },
    { type: A.acctOutputPackets, value: number(interval * 1000) },
    { type: A.acctInputOctets, value: number(low) },
    { type: A.acctOutputOctets, value: number(low) },
    { type: A.acctInputGigawords, value: number(high) },
    { type: A.acctOutputGigawords, value: number(high) },
    { type: A.eventTimestamp, value: number(Math.floor(Date.now() / 1000)) },
  ]
}

/** hostapd signs accounting by the authenticator alone: no Message-Authenticator. */
function seal(identifier: number, attributes: readonly Attribute[], secret: Buffer): Buffer {
  const packet = Buffer.alloc(headerLength + attributesLength(attributes))
  writeHeader(packet, Code.accountingRequest, identifier, Buffer.alloc(16))
  writeAttributes(packet, headerLength, attributes)
  packet.write(workspaceMd5(workspace(packet), secret), 4, 'latin1')
  return packet
}

interface Waiting {
  readonly request: Packet
  readonly sentAtMs: number
  readonly next: () => void
}

interface Tally {
  readonly times: number[]
  lost: number
  wrong: number
}

/** One source port: its identifiers, and who waits for an answer to each. */
function openLane(spec: AccountingSpec, secret: Buffer, tally: Tally) {
  const socket: Socket = createSocket({ type: 'udp4', recvBufferSize: RECEIVE_BUFFER })
  const waiting = new Map<number, Waiting>()
  let identifier = 0
  socket.on('message', (datagram) => {
    const found = waiting.get(datagram[1] ?? 0)
    if (found === undefined) return
    try {
      openReply(datagram, secret, found.request)
    } catch {
      tally.wrong += 1
      return
    }
    waiting.delete(datagram[1] ?? 0)
    tally.times.push(performance.now() - found.sentAtMs)
    found.next()
  })
  const sweep = setInterval(() => {
    const lostBeforeMs = performance.now() - spec.lostAfterMs
    for (const [key, { sentAtMs, next }] of waiting) {
      if (sentAtMs > lostBeforeMs) continue
      waiting.delete(key)
      tally.lost += 1
      next()
    }
  }, 100)
  return {
    send(sequence: number, next: () => void): void {
      do identifier = (identifier + 1) % IDENTIFIERS
      while (waiting.has(identifier))
      const packet = seal(identifier, interimUpdate(spec, sequence), secret)
      const request = decodePacket(packet)
      waiting.set(identifier, { request, sentAtMs: performance.now(), next })
      socket.send(packet, spec.port, '127.0.0.1')
    },
    close(): void {
      clearInterval(sweep)
      socket.close()
    },
  }
}

async function run(spec: AccountingSpec): Promise<AccountingResult> {
  const secret = Buffer.from(spec.secret)
  const tally: Tally = { times: [], lost: 0, wrong: 0 }
  const first = asked.get(spec.port) ?? 0
  asked.set(spec.port, first + spec.count)
  const inFlight = Math.min(spec.inFlight, spec.count)
  const lanes = Array.from({ length: Math.ceil(inFlight / IN_FLIGHT_PER_SOCKET) }, () =>
    openLane(spec, secret, tally),
  )
  const startedMs = performance.now()
  await new Promise<void>((resolve) => {
    let sent = 0
    let ended = 0
    const limit = setTimeout(resolve, spec.limitMs)
    const ask = (lane: (typeof lanes)[number]): void => {
      if (sent >= spec.count) return
      sent += 1
      lane.send(first + sent - 1, () => {
        ended += 1
        if (ended < spec.count) return ask(lane)
        clearTimeout(limit)
        resolve()
      })
    }
    for (let i = 0; i < inFlight; i++) {
      const lane = lanes[i % lanes.length]
      if (lane !== undefined) ask(lane)
    }
  })
  const seconds = (performance.now() - startedMs) / 1000
  for (const lane of lanes) lane.close()
  return {
    done: tally.times.length,
    lost: spec.count - tally.times.length,
    wrong: tally.wrong,
    perSecond: tally.times.length / seconds,
    p50Ms: percentile(tally.times, 0.5),
    p99Ms: percentile(tally.times, 0.99),
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const spec: AccountingSpec = JSON.parse(line)
  process.stdout.write(`${JSON.stringify(await run(spec))}\n`)
}
