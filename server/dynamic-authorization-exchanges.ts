// Requests on their way to NASes and the answers to them: which Identifier is whose, which answer
// is believed, what waits because a NAS has as many requests as it can tell apart. Carries out the
// steps of dynamic-authorization-step.ts. Called by dynamic-authorization.ts.

import { parseIpAddress } from '../config/address.ts'
import { AttributeType } from '../radius/attribute-type.ts'
import { openReply, sealRequest } from '../radius/authenticator.ts'
import { RadiusError } from '../radius/error.ts'
import {
  type Attribute,
  Code,
  decodePacket,
  firstAttribute,
  type Packet,
} from '../radius/packet.ts'
import type { RequestSockets } from './dynamic-authorization-sockets.ts'
import {
  begin,
  type Exchange,
  type ExchangeEvent,
  type Outcome,
  type Step,
  step,
} from './dynamic-authorization-step.ts'
import type { IdentificationSet } from './nas-profiles.ts'
import type { Source } from './socket.ts'

/** What to send where. `sets`: at least one. `change`: none in a Disconnect-Request. */
export interface Order {
  readonly code: number
  readonly address: string
  readonly port: number
  readonly secret: Buffer
  readonly sets: readonly IdentificationSet[]
  readonly change: readonly Attribute[]
}

/** All requests of one client; made by exchangesTable, read and changed by this file alone. */
export interface ExchangesTable {
  readonly clock: ExchangeClock
  readonly send: RequestSockets['send']
  readonly destinations: Map<string, Destination>
  readonly jobs: Set<Job>
}

export interface ExchangeClock {
  readonly now: () => number
  /** The time of day, for Event-Timestamp: a NAS compares it with its own. Unix ms. */
  readonly wallNow: () => number
  /** A number in [0, 1), for jitter only. */
  readonly random: () => number
  /** Runs it once after that many milliseconds; the function returned cancels it. */
  readonly schedule: (run: () => void, delayMs: number) => () => void
}

interface Destination {
  readonly outstanding: Map<number, Job>
  readonly waiting: Job[]
  nextIdentifier: number
}

interface Job {
  readonly order: Order
  readonly destination: Destination
  readonly finish: (outcome: Outcome) => void
  exchange: Exchange | undefined
  request: { readonly packet: Packet; readonly datagram: Buffer } | undefined
  cancelTimer: () => void
}

/**
 * RFC 5176 §2.3: a request needs an Identifier of its own at its destination, and the next set of
 * attributes another than the last: of the 256 one is always free for that.
 */
const OUTSTANDING_MAX = 255
/** Beyond it idle destinations are forgotten, and with them only which Identifier was used last. */
const DESTINATIONS_MAX = 4_096
/** RFC 5176 §6.3: the default window of an Event-Timestamp. */
const TIME_WINDOW_SECONDS = 300

/** An outcome without a datagram sent. */
export function unsent(result: string): Outcome {
  const nothing = { ok: false, gone: false, answered: false, attempts: 0 }
  return { ...nothing, result, trail: [result], advice: undefined }
}

export const exchangesTable = (
  clock: ExchangeClock,
  send: RequestSockets['send'],
): ExchangesTable => ({ clock, send, destinations: new Map(), jobs: new Set() })

/** One name for a destination however its address is written. */
function nameOf(address: string, port: number): string {
  const parsed = parseIpAddress(address)
  return parsed === undefined ? '' : `${parsed.family} ${parsed.value} ${port}`
}

function destinationOf({ destinations }: ExchangesTable, name: string): Destination {
  const known = destinations.get(name)
  if (known !== undefined) return known
  if (destinations.size >= DESTINATIONS_MAX) {
    for (const [other, { outstanding, waiting }] of destinations) {
      if (outstanding.size === 0 && waiting.length === 0) destinations.delete(other)
    }
  }
  const made: Destination = { outstanding: new Map(), waiting: [], nextIdentifier: 0 }
  destinations.set(name, made)
  return made
}

/** Carries out one order; the caller bounds how many there are. */
export function carryOut(table: ExchangesTable, order: Order): Promise<Outcome> {
  const destination = destinationOf(table, nameOf(order.address, order.port))
  return new Promise((finish) => {
    const fresh = { exchange: undefined, request: undefined, cancelTimer: () => {} }
    const job: Job = { order, destination, finish, ...fresh }
    table.jobs.add(job)
    destination.waiting.push(job)
    serve(table, destination)
  })
}

/** Ends everything as `closed`. */
export function abandonAll(table: ExchangesTable): void {
  for (const job of table.jobs) finish(table, job, unsent('closed'))
}

/** Starts what waits for this destination as far as its Identifiers go. */
function serve(table: ExchangesTable, destination: Destination): void {
  while (destination.outstanding.size < OUTSTANDING_MAX) {
    const job = destination.waiting.shift()
    if (job === undefined) return
    follow(table, job, begin(job.order.sets, chance(table)))
  }
}

const chance = ({ clock }: ExchangesTable) => ({ nowMs: clock.now(), random: clock.random() })

function follow(table: ExchangesTable, job: Job, next: Step): void {
  job.cancelTimer()
  if (next.do === 'finish') {
    finish(table, job, next.outcome)
    serve(table, job.destination)
    return
  }
  const { clock } = table
  job.exchange = next.exchange
  if (next.do === 'request') compose(job, next.exchange.at, clock.wallNow())
  if (next.do !== 'wait' && job.request !== undefined) {
    table.send(job.request.datagram, job.order.port, job.order.address)
  }
  const delayMs = Math.ceil(Math.max(0, next.exchange.dueAtMs - clock.now()))
  job.cancelTimer = clock.schedule(
    () => follow(table, job, step(next.exchange, { type: 'timer' }, chance(table))),
    delayMs,
  )
}

/** RFC 5176 §2.3: other attributes, another Identifier; so one is found before the old is free. */
function compose(job: Job, setIndex: number, nowMs: number): void {
  const { destination, order } = job
  let identifier = destination.nextIdentifier
  while (destination.outstanding.has(identifier)) identifier = (identifier + 1) & 0xff
  destination.nextIdentifier = (identifier + 1) & 0xff
  release(job)
  const named = order.sets[setIndex]?.attributes ?? []
  const attributes = [...named, ...order.change, eventTimestamp(nowMs)]
  const datagram = sealRequest({ code: order.code, identifier, attributes }, order.secret)
  job.request = { packet: decodePacket(datagram), datagram }
  destination.outstanding.set(identifier, job)
}

/** RFC 5176 §6.3: the time of the first sending, so that it can be sent again unchanged. */
function eventTimestamp(nowMs: number): Attribute {
  const value = Buffer.alloc(4)
  value.writeUInt32BE(Math.floor(nowMs / 1000) % 2 ** 32)
  return { type: AttributeType.eventTimestamp, value }
}

function release(job: Job): void {
  if (job.request === undefined) return
  job.destination.outstanding.delete(job.request.packet.identifier)
  job.request = undefined
}

function finish(table: ExchangesTable, job: Job, outcome: Outcome): void {
  job.cancelTimer()
  release(job)
  table.jobs.delete(job)
  job.finish(outcome)
}

/**
 * Takes what a socket received. Returns why it is dropped, undefined for an answer: the source
 * must be one asked, the Identifier one under way there, every authenticator right.
 */
export function receive(
  table: ExchangesTable,
  datagram: Buffer,
  source: Source,
): string | undefined {
  const destination = table.destinations.get(nameOf(source.address, source.port))
  if (destination === undefined) return 'source-unknown'
  const job = destination.outstanding.get(datagram[1] ?? -1)
  // A second answer, or one that comes after we gave up.
  if (job?.request === undefined || job.exchange === undefined) return 'identifier-unknown'
  let event: ExchangeEvent | undefined
  try {
    const reply = openReply(datagram, job.order.secret, job.request.packet)
    event = eventOf(reply, table.clock.wallNow())
  } catch (error) {
    if (!(error instanceof RadiusError)) throw error
    return error.code
  }
  if (event === undefined) return 'event-timestamp-stale'
  follow(table, job, step(job.exchange, event, chance(table)))
  return undefined
}

/** What a reply says whose authenticators were checked; undefined for one of another time. */
function eventOf(reply: Packet, nowMs: number): ExchangeEvent | undefined {
  const stamp = firstAttribute(reply, AttributeType.eventTimestamp)
  // RFC 5176 §6.3: a reply that has one must have a current one.
  if (stamp?.length === 4) {
    const awaySeconds = Math.abs(stamp.readUInt32BE(0) - nowMs / 1000)
    if (awaySeconds > TIME_WINDOW_SECONDS) return undefined
  }
  if (reply.code === Code.disconnectAck || reply.code === Code.coaAck) return { type: 'ack' }
  const cause = firstAttribute(reply, AttributeType.errorCause)
  return { type: 'nak', cause: cause?.length === 4 ? cause.readUInt32BE(0) : undefined }
}
