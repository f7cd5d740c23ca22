// The native TLS engine under load: bent and invented flights by the hundred thousand, and memory
// after conversations that were left lying about. Nothing here goes through EAP.

import { memoryUsage } from 'node:process'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import type { TlsConversation } from '../../eap/engine.ts'
import { loadNativeTlsEngine } from '../../eap/native.ts'
import { p256, server } from '../eap/credentials.ts'
import { openClient } from '../eap/peer.ts'

const create = loadNativeTlsEngine()
if ('unavailable' in create)
  throw new Error(`the native engine must be built: ${create.unavailable}`)
const engine = create({
  certificatePem: server.cert,
  privateKeyPem: server.key,
  tlsMin: '1.2',
  tlsMax: '1.3',
})

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')
const MB = 1_000_000

/** A handshake up to the last flight of the client, which has not been fed. */
async function flightsOf(version: 'TLSv1.2' | 'TLSv1.3') {
  const client = openClient({ ...p256, minVersion: version, maxVersion: version })
  const conversation = engine.open()
  const hello = await client.exchange(Buffer.alloc(0))
  const first = await conversation.feed(hello)
  if (first.status !== 'continue') throw new Error(first.status)
  const last = await client.exchange(first.bytes)
  client.close()
  return { hello, last, conversation }
}

/** Cheap repeatable numbers below a limit (xorshift32): 100,000 flights need many. */
function dice(seed: number): (limit: number) => number {
  let x = seed
  return (limit) => {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    return (x >>> 0) % limit
  }
}

function mutate(flight: Buffer, below: (limit: number) => number): Buffer {
  const bent = Buffer.from(flight)
  for (let n = below(4); n >= 0; n--) bent[below(bent.length)] = below(256)
  const way = below(8)
  if (way === 0) return bent.subarray(0, 1 + below(bent.length))
  if (way === 1) return Buffer.concat([bent, bent.subarray(below(bent.length))])
  return bent
}

/** A record of a kind that TLS has, mostly with a handshake message of a kind that it has. */
function invent(below: (limit: number) => number): Buffer {
  const body = Buffer.from(Array.from({ length: 4 + below(60) }, () => below(256)))
  body[0] = [1, 1, 2, 11, 15, 16, 20, 24][below(8)] ?? 0
  body.writeUIntBE(body.length - 4 + (below(4) ? 0 : below(40)), 1, 3)
  const head = Buffer.from([22, 3, below(5), 0, body.length])
  return Buffer.concat([head, body, Buffer.from([below(24), 3, 3, 0, 1, below(3)])])
}

t.test(
  '100,000 bent and invented flights: an outcome, a named reason, never established',
  async (t) => {
    const reasons = new Map<string, number>()
    const tally = async (conversation: TlsConversation, flight: Buffer) => {
      const outcome = await conversation.feed(flight)
      const name = outcome.status === 'failed' ? outcome.reason : outcome.status
      reasons.set(name, (reasons.get(name) ?? 0) + 1)
      return outcome.status
    }
    const below = dice(20_261_123)
    const { hello, conversation } = await flightsOf('TLSv1.3')
    conversation.close()
    for (let n = 0; n < 100_000; ) {
      const opened = engine.open()
      // Most end at once. A bent ClientHello that still is one gets a bent answer; it costs a whole
      // flight of ours, so only some of the flights are made of one.
      for (let status = 'continue'; status === 'continue' && n < 100_000; n++) {
        status = await tally(opened, n % 8 ? invent(below) : mutate(hello, below))
      }
      opened.close()
      if (n % 64 === 0) await turn()
    }
    for (let n = 0; n < 100; n++) {
      const good = await flightsOf(n % 2 ? 'TLSv1.2' : 'TLSv1.3')
      const bent = mutate(good.last, below)
      if (!bent.equals(good.last)) await tally(good.conversation, bent)
      good.conversation.close()
    }
    t.notOk(reasons.has('established'))
    t.ok(reasons.size > 12 && reasons.size < 80, `${reasons.size} reasons`)
  },
)

/** Resident memory once everything that can be freed has been. */
async function resident(): Promise<number> {
  for (let n = 0; n < 4; n++) {
    collect()
    await turn()
  }
  return memoryUsage().rss
}

t.test('20,000 handshakes opened, half of them abandoned: memory stays flat', async (t) => {
  const { hello, conversation } = await flightsOf('TLSv1.3')
  conversation.close()
  const run = async (count: number) => {
    for (let n = 0; n < count; n++) {
      const opened = engine.open()
      await opened.feed(hello)
      if (n % 2) opened.close()
      // Finalizers run between turns of the event loop, which a server never goes long without.
      if (n % 64 === 0) await turn()
    }
  }
  await run(4000)
  // What leaks grows each time; what the allocator and the collector do, only now and then.
  const grown: number[] = []
  for (let round = 0; round < 3; round++) {
    const before = await resident()
    await run(20_000)
    grown.push((await resident()) - before)
    if (Math.min(...grown) < 20 * MB) break
  }
  const told = grown.map((bytes) => (bytes / MB).toFixed(1)).join(', ')
  t.ok(Math.min(...grown) < 20 * MB, `grew by ${told} MB`)
})

t.test('2,000 conversations that nobody closes are freed with their handles', async (t) => {
  const { hello, conversation } = await flightsOf('TLSv1.3')
  conversation.close()
  const hold = async () => {
    const kept = Array.from({ length: 2000 }, () => engine.open())
    for (const opened of kept) await opened.feed(hello)
    return (await resident()) + 0 * kept.length
  }
  const before = memoryUsage().external
  const held = await hold()
  t.ok(held > 0)
  await resident()
  const left = memoryUsage().external - before
  t.ok(left < 5 * MB, `${(left / MB).toFixed(1)} MB of 98 are still counted`)
})
