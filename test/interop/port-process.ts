// What belongs to one port of an access point, as a process in its network namespace: its
// accounting, what lies behind it, and a way to the server's HTTP for the test outside. hostapd's
// wired driver counts no octets, so its records go through here: what the kernel has counted at
// the port since Start is put in, times a factor, which is how an access point lies. Started by
// wired-meters.ts with one argument, the JSON of PortPlan.

import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { AcctStatusType, AttributeType } from '../../radius/attribute-type.ts'
import { openReply, openRequest, sealReply, sealRequest } from '../../radius/authenticator.ts'
import { Code, decodePacket, firstAttribute, type Packet } from '../../radius/packet.ts'

export interface PortPlan {
  readonly interfaceName: string
  /** The port's own address, where a station gets and leaves octets. */
  readonly address: string
  /** How the server knows this access point. */
  readonly nasAddress: string
  readonly secret: string
  readonly accountingPort: number
  /** What is told is what was counted, times this. */
  readonly factor: number
  /** A Unix socket that leads to the server's HTTP, and where that is. */
  readonly relay: string
  readonly http: { readonly host: string; readonly port: number }
}

/** One line a record on stdout. */
export interface Told {
  readonly status: number
  readonly acctSessionId: string
  readonly counted: number
  readonly told: number
}

const ACCEPT_ALL = { requireMessageAuthenticator: false, limitProxyState: false }
const plan: PortPlan = JSON.parse(process.argv[2] ?? '{}')
const secret = Buffer.from(plan.secret)

interface Octets {
  readonly input: number
  readonly output: number
}

/** From the station and to it (RFC 2866 §5.3, §5.4). */
function countNow(): Octets {
  const read = (name: string) =>
    Number(readFileSync(`/sys/class/net/${plan.interfaceName}/statistics/${name}`, 'utf8'))
  return { input: read('rx_bytes'), output: read('tx_bytes') }
}

const textOf = (packet: Packet, type: number) => firstAttribute(packet, type)?.toString() ?? ''

/** What this session has moved, as the access point will have it. */
function octetsTold(packet: Packet, startedAt: Octets): Octets {
  const now = countNow()
  const told = (from: number, to: number) => Math.floor((to - from) * plan.factor)
  const octets = {
    input: told(startedAt.input, now.input),
    output: told(startedAt.output, now.output),
  }
  const line: Told = {
    status: firstAttribute(packet, AttributeType.acctStatusType)?.readUInt32BE() ?? 0,
    acctSessionId: textOf(packet, AttributeType.acctSessionId),
    counted: now.input - startedAt.input + now.output - startedAt.output,
    told: octets.input + octets.output,
  }
  process.stdout.write(`${JSON.stringify(line)}\n`)
  return octets
}

function countersOf({ input, output }: Octets) {
  const number = (type: number, value: number) => {
    const octets = Buffer.alloc(4)
    octets.writeUInt32BE(value)
    return { type, value: octets }
  }
  return [
    number(AttributeType.acctInputOctets, input % 2 ** 32),
    number(AttributeType.acctOutputOctets, output % 2 ** 32),
    number(AttributeType.acctInputGigawords, Math.floor(input / 2 ** 32)),
    number(AttributeType.acctOutputGigawords, Math.floor(output / 2 ** 32)),
  ]
}

/** One record to the server with its octets, and the answer back under hostapd's authenticator. */
async function openAccounting(): Promise<number> {
  const near = createSocket('udp4')
  const started = new Map<string, Octets>()
  near.on('message', (datagram, from) => {
    const request = openRequest(datagram, secret, ACCEPT_ALL)
    const session = textOf(request, AttributeType.acctSessionId)
    const status = firstAttribute(request, AttributeType.acctStatusType)?.readUInt32BE()
    if (status === AcctStatusType.start) started.set(session, countNow())
    const startedAt = started.get(session)
    const own = request.attributes.filter(({ type }) => type !== AttributeType.messageAuthenticator)
    const counters = startedAt === undefined ? [] : countersOf(octetsTold(request, startedAt))
    const { code, identifier } = request
    const attributes = [...own, ...counters]
    const sent = sealRequest({ code, identifier, attributes }, secret)
    // One socket a record: an answer belongs to its own request alone.
    const far = createSocket('udp4')
    const over = setTimeout(() => far.close(), 10_000)
    far.once('message', (answer) => {
      const reply = openReply(answer, secret, decodePacket(sent))
      near.send(
        sealReply(request, Code.accountingResponse, reply.attributes, secret),
        from.port,
        from.address,
      )
      clearTimeout(over)
      far.close()
    })
    far.bind(0, plan.nasAddress, () => far.send(sent, plan.accountingPort, '127.0.0.1'))
  })
  near.bind(0, '127.0.0.1')
  await once(near, 'listening')
  return near.address().port
}

/** Octets for whoever asks: 8 hex digits for how many; what else comes in is thrown away. */
async function openContent(): Promise<number> {
  const chunk = Buffer.alloc(65_536)
  const server = createServer((socket) => {
    let left: number | undefined
    const send = (): void => {
      while (left !== undefined && left > 0) {
        const part = chunk.subarray(0, Math.min(left, chunk.length))
        left -= part.length
        if (!socket.write(part)) return
      }
      if (left === 0) socket.end()
    }
    socket.once('data', (head: Buffer) => {
      left = Number.parseInt(head.subarray(0, 8).toString(), 16)
      send()
    })
    socket.on('drain', send).on('error', () => socket.destroy())
  })
  server.listen(0, plan.address)
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

async function openRelay(): Promise<void> {
  const server = createServer((near: Socket) => {
    const far = connect(plan.http)
    const end = () => {
      near.destroy()
      far.destroy()
    }
    near.pipe(far).pipe(near)
    near.on('error', end).on('close', end)
    far.on('error', end)
  })
  server.listen(plan.relay)
  await once(server, 'listening')
}

const [accounting, content] = [await openAccounting(), await openContent()]
await openRelay()
process.stdout.write(`ready ${accounting} ${content}\n`)
process.once('SIGTERM', () => process.exit(0))
