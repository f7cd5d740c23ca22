// Devices that pay and an access point that reports, as fast as they are answered, towards a server
// that may end at any moment. Owns what was told: every Accounting-Response and every receipt that
// came back, with its authenticator or its amount. After an end it goes on where it was not
// answered, with the same record and the same voucher, as a NAS and a device do.

import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { payerName, sessionOf } from '../../bench/payers.ts'
import { AttributeType as A } from '../../radius/attribute-type.ts'
import { openReply, sealRequest } from '../../radius/authenticator.ts'
import { type Attribute, Code, decodePacket, type Packet } from '../../radius/packet.ts'
import { accountNamed, paymentBy } from '../accounting/vouchers.ts'

export { payerName }
export const SECRET = 'a secret of some length'

/** One device with one session. */
export interface Payer {
  readonly account: string
  /** Its session; the Class of its records. */
  readonly session: string
  readonly station: string
  readonly acctSessionId: string
  /** A payment up to this amount, as JSON. */
  payment(amount: bigint): string
}

/** What a payer does next; goes on from life to life of the server. */
interface Progress {
  octets: number
  stamp: number
  amount: bigint
}

/** Everything the outside was told. */
export interface Told {
  /** `session octets` of each record that got its Accounting-Response. */
  readonly records: Set<string>
  readonly receipts: Receipt[]
}

export interface Receipt {
  readonly account: string
  readonly session: string
  readonly amount: bigint
  readonly credited: bigint
}

/** Where the server is in this life. */
export interface Ports {
  readonly accounting: number
  readonly http: number
}

export const stationOf = (n: number): string =>
  `02-00-00-00-${(n >> 8).toString(16).padStart(2, '0')}-${(n & 255).toString(16).padStart(2, '0')}`
export const acctSessionOf = (n: number): string => `S${n}`

/** The payers that metering-process.ts has sessions for. */
export function payersOf(count: number): Payer[] {
  return Array.from({ length: count }, (_, n) => ({
    account: accountNamed(payerName(n)),
    session: sessionOf(n),
    station: stationOf(n),
    acctSessionId: acctSessionOf(n),
    payment: (amount) => JSON.stringify(paymentBy(payerName(n), amount, { session: sessionOf(n) })),
  }))
}

const uint32 = (type: number, value: number): Attribute => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return { type, value: bytes }
}
const text = (type: number, value: string): Attribute => ({ type, value: Buffer.from(value) })

const INTERIM_UPDATE = 3
const OCTETS_EACH = 1_000
/** Of one UDP port: each payer has one request on its way, and the next gets another Identifier. */
const IDENTIFIERS = 256

function interimOf(payer: Payer, { octets, stamp }: Progress): Attribute[] {
  return [
    ...[uint32(A.acctStatusType, INTERIM_UPDATE), text(A.nasIdentifier, 'ap1')],
    ...[text(A.acctSessionId, payer.acctSessionId), text(A.class, `ai:${payer.session}`)],
    ...[text(A.callingStationId, payer.station), uint32(A.acctDelayTime, 0)],
    ...[uint32(A.acctSessionTime, Math.floor(octets / OCTETS_EACH))],
    ...[uint32(A.acctInputOctets, octets), uint32(A.acctOutputOctets, 0)],
    uint32(A.eventTimestamp, stamp),
  ]
}

/** The access point's side in one life of the server: each payer's records one after the other. */
async function openNas(port: number, secret: Buffer) {
  const socket = createSocket('udp4')
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  // The server is gone: what is on its way stays unanswered.
  socket.on('error', () => {})
  const waiting = new Map<number, { request: Packet; answered(): void }>()
  let identifier = 0
  socket.on('message', (datagram) => {
    const found = waiting.get(datagram[1] ?? 0)
    if (found === undefined) return
    // Throws where the authenticator is wrong: that must end the test.
    openReply(datagram, secret, found.request)
    waiting.delete(datagram[1] ?? 0)
    found.answered()
  })
  return {
    ask(attributes: readonly Attribute[], answered: () => void): void {
      do identifier = (identifier + 1) % IDENTIFIERS
      while (waiting.has(identifier))
      const content = { code: Code.accountingRequest, identifier, attributes }
      const datagram = sealRequest({ ...content, authenticator: Buffer.alloc(16) }, secret)
      waiting.set(identifier, { request: decodePacket(datagram), answered })
      socket.send(datagram, port, '127.0.0.1')
    },
    close: () => socket.close(),
  }
}

/** One POST; undefined: the server ended before the whole answer was here. */
function post(agent: Agent, port: number, body: string) {
  return new Promise<{ status: number; body: string } | undefined>((resolve) => {
    const headers = { 'content-type': 'application/json', 'content-length': body.length }
    const target = { agent, host: '127.0.0.1', port, method: 'POST', path: '/v1/payments' }
    const asked = request({ ...target, headers }, (answer) => {
      let received = ''
      answer.setEncoding('utf8')
      answer.on('data', (part: string) => {
        received += part
      })
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body: received }))
      answer.on('error', () => resolve(undefined))
    })
    asked.on('error', () => resolve(undefined))
    asked.end(body)
  })
}

/** The devices and their access point; `step`: what each payment adds. */
export function createLoad(payers: readonly Payer[], secret: string, step: bigint) {
  const told: Told = { records: new Set(), receipts: [] }
  const unexpected: string[] = []
  const refused: string[] = []
  const progress = new Map<Payer, Progress>(
    payers.map((payer) => [payer, { octets: OCTETS_EACH, stamp: 0, amount: step }]),
  )
  const progressOf = (payer: Payer): Progress => {
    const found = progress.get(payer)
    if (found === undefined) throw new Error(`no payer of ours: ${payer.account}`)
    return found
  }

  async function pays(payer: Payer, agent: Agent, port: number, isOver: () => boolean) {
    const mine = progressOf(payer)
    while (!isOver()) {
      const answer = await post(agent, port, payer.payment(mine.amount))
      if (answer === undefined) return
      if (answer.status === 200) {
        const { receipt } = JSON.parse(answer.body)
        told.receipts.push({
          ...{ account: payer.account, session: payer.session },
          ...{ amount: BigInt(receipt.amount), credited: BigInt(receipt.credited) },
        })
      } else if (answer.status !== 409 || !answer.body.includes('not-higher')) {
        // It pays too often, or nothing can be stored: this life has no more of its payments.
        if (answer.status === 503) refused.push(answer.body)
        else if (answer.status !== 429) unexpected.push(answer.body)
        return
      }
      mine.amount += step
    }
  }

  return {
    told,
    /** Answers nobody should get. */
    unexpected,
    /** Bodies of 503: nothing could be stored. */
    refused,
    count: () => told.records.size + told.receipts.length,
    /** Goes on towards a server that was started; end() when it is gone. */
    async begin(ports: Ports): Promise<{ end(): Promise<void> }> {
      const nas = await openNas(ports.accounting, Buffer.from(secret))
      const agent = new Agent({ keepAlive: true })
      let over = false
      const reports = (payer: Payer): void => {
        if (over) return
        const mine = progressOf(payer)
        if (mine.stamp === 0) mine.stamp = Math.floor(Date.now() / 1000)
        nas.ask(interimOf(payer, mine), () => {
          told.records.add(`${payer.session} ${mine.octets}`)
          mine.octets += OCTETS_EACH
          mine.stamp = 0
          reports(payer)
        })
      }
      for (const payer of payers) reports(payer)
      const paying = payers.map((payer) => pays(payer, agent, ports.http, () => over))
      return {
        async end() {
          // Answers that are on this machine already were received: they are read before.
          await new Promise((resolve) => setTimeout(resolve, 10))
          over = true
          nas.close()
          await Promise.all(paying)
          agent.destroy()
        },
      }
    },
  }
}
