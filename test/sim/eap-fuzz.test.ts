// Seeded attacks on a whole exchange over real TLS: mutated, cut, invented and reordered responses
// at every point of a conversation. Whatever comes: an answer, a named reason, bounded state, no
// accept.

import { createHash } from 'node:crypto'
import t from 'tap'
import { type EapReply, type Exchange, openExchange } from '../../eap/exchange.ts'
import { loadNativeTlsEngine } from '../../eap/native.ts'
import { createNodeTlsEngine } from '../../eap/tls.ts'
import { p256, server } from '../eap/credentials.ts'
import { identityResponse, openClient, tlsResponse } from '../eap/peer.ts'

const config = {
  certificatePem: server.cert,
  privateKeyPem: server.key,
  tlsMin: '1.2',
  tlsMax: '1.3',
} as const
const native = loadNativeTlsEngine()
if ('unavailable' in native)
  throw new Error(`the native engine must be built: ${native.unavailable}`)
const node = createNodeTlsEngine(config)
const engines = [node, native(config)]

/** Repeatable octets: SHA-256 in counter mode over a seed. */
function generator(seed: string) {
  let block = Buffer.alloc(0)
  let n = 0
  const bytes = (length: number): Buffer => {
    while (block.length < length) {
      block = Buffer.concat([block, createHash('sha256').update(`${seed} ${n++}`).digest()])
    }
    const taken = block.subarray(0, length)
    block = block.subarray(length)
    return taken
  }
  return { bytes, below: (limit: number): number => bytes(4).readUInt32BE(0) % limit }
}

let authorized = 0
const open = (engine = node, roundsMax = 50): Exchange =>
  openExchange({
    engine,
    limits: { roundsMax, messageBytesMax: 65_536 },
    random: (length) => Buffer.alloc(length, 9),
    authorize: () => {
      authorized++
      return { accept: true }
    },
  })

const version = { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' } as const

/** A conversation brought to the point before response `point`, and that response. */
async function advance(point: number, engine = node) {
  const exchange = open(engine)
  const client = openClient({ ...p256, ...version })
  let response = identityResponse(4, '@example.org')
  for (let n = 0; n < point; n++) {
    const reply = await exchange.receive(response, 4000)
    if (reply.do !== 'challenge') throw new Error(`${reply.do} at ${n}`)
    const flight = await client.exchange(reply.eap.subarray(6))
    response = tlsResponse(reply.eap[1] ?? 0, Buffer.from([0]), flight)
  }
  return { exchange, client, response }
}

function mutate(valid: Buffer, random: ReturnType<typeof generator>): Buffer {
  const bent = Buffer.from(valid)
  switch (random.below(6)) {
    case 0:
      bent.writeUInt8((bent[0] ?? 0) ^ (1 << random.below(8)), 0)
      return bent
    case 1: {
      const at = random.below(Math.min(bent.length, 24))
      bent.writeUInt8(random.below(256), at)
      return bent
    }
    case 2:
      return bent.subarray(0, random.below(bent.length))
    case 3:
      return Buffer.concat([bent, random.bytes(1 + random.below(40))])
    case 4:
      return tlsResponse(bent[1] ?? 0, random.bytes(random.below(60)))
    default:
      return random.bytes(random.below(80))
  }
}

const reasonOf = (reply: EapReply): string => ('reason' in reply ? reply.reason : reply.do)

t.test('every prefix of every response of a good conversation, then one octet more', async (t) => {
  for (let point = 0; point < 4; point++) {
    const { exchange, client, response } = await advance(point)
    // Prefixes cost the budget of invalid responses: a fresh conversation for the few that it
    // bears.
    const bad = [
      response.subarray(0, 4),
      response.subarray(0, -1),
      Buffer.concat([response, response]),
    ]
    for (const bytes of bad) {
      const reply = await exchange.receive(bytes, 4000)
      t.match(reasonOf(reply), 'eap-malformed', `response ${point}, ${bytes.length} octets`)
    }
    const reply = await exchange.receive(response, 4000)
    t.equal(reply.do, point === 3 ? 'accept' : 'challenge', 'the good one is still taken')
    exchange.close()
    client.close()
  }
  const lengths = Array.from({ length: 60 }, (_, n) => n)
  for (const length of lengths) {
    const exchange = open()
    await exchange.receive(identityResponse(4, '@example.org'), 4000)
    const { do: did } = await exchange.receive(
      tlsResponse(5, Buffer.alloc(60)).subarray(0, length),
      4000,
    )
    t.equal(did, 'resend', `prefix of ${length}`)
    exchange.close()
  }
})

for (const engine of engines) {
  t.test(
    `single mutations at every point, ${engine.name}: answered, named, never accepted`,
    async (t) => {
      const reasons = new Map<string, number>()
      let accepts = 0
      for (let n = 0; n < 400; n++) {
        const random = generator(`single ${n}`)
        const point = n % 4
        const { exchange, client, response } = await advance(point, engine)
        const bent = mutate(response, random)
        const before = authorized
        const reply = await exchange.receive(bent, 60 + random.below(2000))
        reasons.set(reasonOf(reply), (reasons.get(reasonOf(reply)) ?? 0) + 1)
        // The one thing an accept may follow from is an acknowledgement: four octets of header,
        // type, flags with only reserved bits changed. Anything else that ends well is a hole.
        const ack = bent.length === 6 && bent.subarray(0, 5).equals(response.subarray(0, 5))
        if (reply.do === 'accept' && !(point === 3 && ack)) accepts++
        if (point < 2 && authorized !== before) t.fail('authorized without a finished handshake')
        exchange.close()
        client.close()
      }
      t.equal(accepts, 0)
      t.ok(reasons.size > 8, [...reasons.keys()].join(' '))
    },
  )
}

t.test('100,000 invented responses end every conversation, in bounded rounds', async (t) => {
  const random = generator('storm')
  const outcomes = new Map<string, number>()
  let packets = 0
  let authorizedBefore = authorized
  while (packets < 100_000) {
    const exchange = open(node, 20)
    await exchange.receive(identityResponse(4, '@'), 1000)
    let identifier = 5
    for (let rounds = 0; !exchange.done; rounds++) {
      if (rounds > 20) throw new Error('a conversation outlives its rounds')
      packets++
      const flags = [0x40, 0xc0, 0x00, 0x80, 0x20][random.below(5)] ?? 0
      const head = random.bytes(1)[0] ?? 0
      const body = Buffer.concat([Buffer.from([flags]), random.bytes(random.below(12))])
      // A handshake record now and then, so that TLS itself is reached.
      const record = Buffer.concat([Buffer.from([0, 22, 3, 1, 0, 8]), random.bytes(8)])
      const response = tlsResponse(identifier, head < 6 ? record : body)
      const reply = await exchange.receive(response, 100 + random.below(500))
      outcomes.set(reasonOf(reply), (outcomes.get(reasonOf(reply)) ?? 0) + 1)
      if (reply.do === 'challenge') identifier = reply.eap[1] ?? 0
      if (reply.do === 'accept') t.fail('accepted')
    }
    exchange.close()
  }
  t.equal(authorized, authorizedBefore)
  authorizedBefore = authorized
  for (const reason of ['eap-tls-length-mismatch', 'eap-tls-start-from-peer', 'tls-garbage']) {
    t.ok(outcomes.has(reason), reason)
  }
  t.ok(outcomes.size < 60, 'reasons are few enough to be metric labels')
})

t.test('a good device still gets in afterwards, and its acknowledgement must be one', async (t) => {
  const { exchange, client, response } = await advance(3)
  const reply = await exchange.receive(Buffer.concat([response.subarray(0, 5)]), 4000)
  t.equal(reply.do, 'resend')
  t.equal((await exchange.receive(response, 4000)).do, 'accept')
  client.close()
})

t.test('L4 slow fragments: 64 KiB, or the rounds, and not one octet more is held', async (t) => {
  for (const size of [1, 100, 1400]) {
    const exchange = open(node, 100)
    let reply = await exchange.receive(identityResponse(4, '@'), 1000)
    let rounds = 1
    for (; reply.do === 'challenge'; rounds++) {
      const piece = Buffer.concat([Buffer.from([0x40]), Buffer.alloc(size, 22)])
      reply = await exchange.receive(tlsResponse(reply.eap[1] ?? 0, piece), 1000)
    }
    const wanted = size < 1400 ? 'eap-rounds-exceeded' : 'eap-tls-message-too-large'
    t.equal(reasonOf(reply), wanted, `fragments of ${size}`)
    t.ok(rounds <= 102)
  }
})
