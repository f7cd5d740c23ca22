// The native TLS engine under load: bent and invented flights by the hundred thousand, and memory
// after conversations that were left lying about. Nothing here goes through EAP.

import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import type { TlsConversation } from '../../eap/engine.ts'
import { p256 } from '../eap/credentials.ts'
import { nativeEngine } from '../eap/engine-file.ts'
import { openClient } from '../eap/peer.ts'
import { readFlights } from './engine-corpus.ts'
import { bend, invent } from './flight-bending.ts'
import { engineConfig, runHandshakes, sampleMemory } from './handshakes.ts'
import { seeded } from './random.ts'

const engine = nativeEngine()(engineConfig)
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
    const seed = '20261123'
    const random = seeded(seed)
    const flights = readFlights()
    for (let n = 0; n < 100_000; ) {
      const opened = engine.open()
      // Most end at once. A bent ClientHello that still is one gets a bent answer; it costs a whole
      // flight of ours, so only some of the flights are made of one.
      for (let status = 'continue'; status === 'continue' && n < 100_000; n++) {
        const bent = bend(random.pick(flights), random.pick(flights), random)
        const flight = n % 8 || bent.length === 0 ? invent(random) : bent
        status = await tally(opened, flight)
      }
      opened.close()
      if (n % 64 === 0) await turn()
    }
    for (let n = 0; n < 100; n++) {
      const good = await flightsOf(n % 2 ? 'TLSv1.2' : 'TLSv1.3')
      const bent = Buffer.from(good.last)
      bent[random.below(bent.length)] = random.below(256)
      if (!bent.equals(good.last)) await tally(good.conversation, bent)
      good.conversation.close()
    }
    t.notOk(reasons.has('established'), `seed ${seed}`)
    t.ok(reasons.size > 12 && reasons.size < 120, `${reasons.size} reasons`)
  },
)

const resident = async () => (await sampleMemory(0)).residentBytes

/**
 * By how much each round grows resident memory, until one of them hardly does. What leaks grows
 * each time; what the allocator and the collector do, only now and then.
 */
async function growthOf(run: () => Promise<unknown>, bytesMax: number): Promise<number[]> {
  const grown: number[] = []
  await run()
  for (let round = 0; round < 4; round++) {
    const before = await resident()
    await run()
    grown.push((await resident()) - before)
    if (Math.min(...grown) < bytesMax) break
  }
  return grown
}

const inMB = (bytes: readonly number[]) => bytes.map((n) => (n / MB).toFixed(1)).join(', ')

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
  const grown = await growthOf(() => run(20_000), 20 * MB)
  t.ok(Math.min(...grown) < 20 * MB, `grew by ${inMB(grown)} MB`)
})

t.test('2,000 conversations that nobody closes are freed with their handles', async (t) => {
  const { hello, conversation } = await flightsOf('TLSv1.3')
  conversation.close()
  const hold = async () => {
    const kept = Array.from({ length: 2000 }, () => engine.open())
    for (const opened of kept) await opened.feed(hello)
  }
  const before = await resident()
  await hold()
  const held = (await resident()) - before
  // A control: what is kept shows, well above the limit below. How far above depends on how much
  // freed memory the tests before this one left to the allocator.
  t.ok(held > 30 * MB, `${inMB([held])} MB were held`)
  const grown = await growthOf(hold, 20 * MB)
  t.ok(Math.min(...grown) < 20 * MB, `grew by ${inMB(grown)} MB`)
})

t.test('whole handshakes and all ways to end early: none stays behind', async (t) => {
  const count = 1000
  const run = async () => {
    const { endings } = await runHandshakes(engine, { count, every: count })
    t.same(endings, {
      established: 1000,
      refused: 100,
      left: 63,
      abandoned: 100,
      closed: 100,
      bent: 100,
      garbage: 100,
    })
  }
  // 196 of them were closed by nobody: 10 MB.
  const grown = await growthOf(run, 5 * MB)
  t.ok(Math.min(...grown) < 5 * MB, `grew by ${inMB(grown)} MB`)
})
