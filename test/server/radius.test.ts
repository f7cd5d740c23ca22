import { randomBytes } from 'node:crypto'
import { pino } from 'pino'
import t from 'tap'
import { parseCidr } from '../../config/address.ts'
import { nasLookup } from '../../config/clients.ts'
import type { NasEntry } from '../../config/config.ts'
import { AttributeType } from '../../radius/attribute-type.ts'
import { openReply, sealRequest } from '../../radius/authenticator.ts'
import { createDuplicates } from '../../radius/duplicates.ts'
import { Code, decodePacket } from '../../radius/packet.ts'
import type { Answer } from '../../server/access.ts'
import { rateLimited } from '../../server/log.ts'
import { createMetrics } from '../../server/metrics.ts'
import { createRadiusHandler, type RadiusPort } from '../../server/radius.ts'

const secret = Buffer.from('a shared secret of 32 characters')
const ipaddr = parseCidr('192.0.2.10')
if (typeof ipaddr === 'string') throw new Error(ipaddr)
const nas: NasEntry = {
  ...{ name: 'lobby', ipaddr, bssids: [], secret, nasType: 'generic', tariff: 'standard' },
  ...{ requireMessageAuthenticator: true, limitProxyState: true, maxMbps: 1000 },
}
const source = { address: '192.0.2.10', port: 40_000 }

interface Rig {
  handle: ReturnType<typeof createRadiusHandler>
  answered: number
  drops: () => Promise<Record<string, number>>
}

function rig(port: RadiusPort, answer: () => Promise<Answer>, rejectDelayMs = 0): Rig {
  const metrics = createMetrics()
  const made: Rig = {
    answered: 0,
    handle: createRadiusHandler({
      port,
      nasOf: nasLookup([nas]),
      duplicates: createDuplicates({ lifetimeMs: 5_000, entriesMax: 100 }),
      async answer() {
        made.answered += 1
        return answer()
      },
      rejectDelayMs: () => rejectDelayMs,
      delayedMax: 2,
      now: () => 1_000,
      log: pino({ level: 'silent' }),
      logRate: rateLimited(1_000, 10),
      metrics,
    }),
    async drops() {
      const { values } = await metrics.dropped.get()
      return Object.fromEntries(values.map((v) => [v.labels.reason, v.value]))
    },
  }
  return made
}

const challenge = async (): Promise<Answer> => ({
  code: Code.accessChallenge,
  attributes: [{ type: AttributeType.state, value: Buffer.alloc(16, 7) }],
})
const request = (code: number, identifier = 1, key = secret): Buffer => {
  const random = code === Code.accountingRequest ? {} : { authenticator: randomBytes(16) }
  return sealRequest({ code, identifier, attributes: [], ...random }, key)
}

t.test('S1 RFC 5997 §4: Status-Server is answered on both ports and touches nothing', async (t) => {
  const ports: [RadiusPort, number][] = [
    ['auth', Code.accessAccept],
    ['accounting', Code.accountingResponse],
  ]
  for (const [port, want] of ports) {
    const { handle, ...rest } = rig(port, challenge)
    const sent = request(Code.statusServer)
    const reply = await handle(sent, source)
    if (reply === undefined) throw new Error('no reply')
    const opened = openReply(reply, secret, decodePacket(sent))
    t.equal(opened.code, want)
    t.same(
      opened.attributes.map((a) => a.type),
      [AttributeType.messageAuthenticator],
    )
    t.equal(rest.answered, 0)
  }
})

t.test('B2 B3 X2: silence, with a counted reason, for everything that is refused', async (t) => {
  const withoutAuthenticator = Buffer.concat([Buffer.from([1, 9, 0, 20]), randomBytes(16)])
  const flipped = request(Code.accessRequest)
  flipped[30] = (flipped[30] ?? 0) ^ 1
  const cases: [string, Buffer, { address: string; port: number }, string][] = [
    ['stranger', request(Code.accessRequest), { address: '192.0.2.11', port: 1 }, 'unknown-client'],
    [
      'stranger asking for status',
      request(Code.statusServer),
      { address: '::1', port: 1 },
      'unknown-client',
    ],
    [
      'wrong secret',
      request(Code.accessRequest, 1, Buffer.from('another')),
      source,
      'message-authenticator-wrong',
    ],
    ['no Message-Authenticator', withoutAuthenticator, source, 'message-authenticator-missing'],
    ['one bit flipped', flipped, source, 'message-authenticator-wrong'],
    ['accounting on the auth port', request(Code.accountingRequest), source, 'code-unexpected'],
    ['garbage', randomBytes(7), source, 'packet-too-short'],
    ['nothing', Buffer.alloc(0), source, 'packet-too-short'],
  ]
  for (const [name, datagram, from, reason] of cases) {
    const made = rig('auth', challenge)
    t.equal(await made.handle(datagram, from), undefined, name)
    t.same(await made.drops(), { [reason]: 1 }, `${name}: ${reason}`)
    t.equal(made.answered, 0, name)
  }
})

t.test('D1: the same request again gets the same bytes; while running it is ignored', async (t) => {
  const gate = Promise.withResolvers<Answer>()
  const made = rig('auth', () => gate.promise)
  const sent = request(Code.accessRequest)
  const first = made.handle(Buffer.from(sent), source)
  t.equal(await made.handle(Buffer.from(sent), source), undefined)
  t.same(await made.drops(), { duplicate: 1 })
  gate.resolve(await challenge())
  const reply = await first
  t.same(await made.handle(Buffer.from(sent), source), reply)
  t.equal(made.answered, 1)
  const other = await made.handle(Buffer.from(sent), { ...source, port: 40_001 })
  t.equal(made.answered, 2, 'another source port is another request')
  t.same(other, reply)
})

t.test('a request without an answer may be tried again, a fault of ours is survived', async (t) => {
  let turn = 0
  const made = rig('auth', async () => {
    turn += 1
    if (turn === 1) return { drop: 'conversation-busy' }
    if (turn === 2) throw new Error('a bug')
    return challenge()
  })
  const sent = request(Code.accessRequest)
  t.equal(await made.handle(sent, source), undefined)
  t.equal(await made.handle(sent, source), undefined)
  t.same(await made.drops(), { 'conversation-busy': 1, 'internal-error': 1 })
  t.equal((await made.handle(sent, source))?.[0], Code.accessChallenge)
})

t.test('D6: an Access-Reject waits, a Challenge does not', async (t) => {
  // The delay itself keeps no process alive.
  const alive = setInterval(() => {}, 1_000)
  t.teardown(() => clearInterval(alive))
  const slow = rig('auth', async () => ({ code: Code.accessReject, attributes: [] }), 60)
  const started = performance.now()
  const reply = await slow.handle(request(Code.accessRequest), source)
  t.equal(reply?.[0], Code.accessReject)
  t.ok(performance.now() - started >= 55)
  const order: number[] = []
  const answered = [2, 3, 4].map(async (identifier) => {
    await slow.handle(request(Code.accessRequest, identifier), source)
    order.push(identifier)
  })
  await Promise.all(answered)
  t.same(order, [4, 2, 3], 'as many as may wait do; one more is answered at once')
  const quick = rig('auth', challenge, 60_000)
  t.equal((await quick.handle(request(Code.accessRequest), source))?.[0], Code.accessChallenge)
})
