// The native addon against everything that it could be given: the recorded flights of real peers
// lead to what they led to, and thousands of rounds of bent flights and calls in any order end in
// what engine.c documents. The same under sanitizers: test/interop/sanitizers.test.ts.

import t from 'tap'
import type { Addon } from '../../eap/native.ts'
import { nativeAddon, nativeEngine } from '../eap/engine-file.ts'
import { readCorpus, readFlights } from './engine-corpus.ts'
import { fuzzAddon } from './engine-fuzz.ts'
import { bend, lengthFields } from './flight-bending.ts'
import { engineConfig } from './handshakes.ts'
import { seeded } from './random.ts'

const SEED = 'datanet'
const ROUNDS = 3000
const addon = nativeAddon()
const flights = readFlights()

t.test('recorded flights lead to what they led to; a replayed answer to nothing', async (t) => {
  const engine = nativeEngine()(engineConfig)
  const corpus = readCorpus()
  for (const peer of ['eapol_test', 'openssl', 'gnutls', 'java', 'node', 'garbage']) {
    t.ok(corpus.filter(({ name }) => name.startsWith(`${peer}.txt`)).length > 3, peer)
  }
  for (const { name, flights } of corpus) {
    const conversation = engine.open()
    for (const { bytes, led } of flights) {
      const outcome = await conversation.feed(bytes)
      // The answer to a flight of another server fails whatever it was then; so does its alert, if
      // it is sealed.
      const isAnswer = bytes !== flights[0]?.bytes && led !== 'continue'
      const wanted = isAnswer ? 'failed' : led.split(' ')[0]
      t.equal(outcome.status, wanted, `${name}: ${led}`)
      if (outcome.status !== 'continue') break
    }
    conversation.close()
  }
})

t.test('bending finds the lengths of a ClientHello, and bends', async (t) => {
  const [hello = Buffer.alloc(0)] =
    readCorpus()
      .find(({ name }) => name.startsWith('openssl.txt: TLS 1.2'))
      ?.flights.map(({ bytes }) => bytes) ?? []
  const fields = lengthFields(hello)
  t.same(fields.slice(0, 2), [
    { at: 3, size: 2 },
    { at: 6, size: 3 },
  ])
  t.ok(fields.length > 12, `${fields.length} lengths`)
  const last = fields.at(-1) ?? { at: 0, size: 2 }
  t.equal(last.at + 2 + hello.readUIntBE(last.at, 2), hello.length, 'the last one ends the flight')
  const random = seeded(SEED)
  const bent = Array.from({ length: 1000 }, () => bend(hello, random.pick(flights), random))
  t.ok(bent.filter((flight) => !flight.equals(hello)).length > 900)
  const again = seeded(SEED)
  t.ok(bent.every((flight) => flight.equals(bend(hello, again.pick(flights), again))))
})

t.test(`${ROUNDS} rounds: only what is documented, whatever is called with`, async (t) => {
  const counts = await fuzzAddon(addon, flights, { seed: SEED, rounds: ROUNDS })
  const of = (what: string) => counts.get(what) ?? 0
  for (const result of ['continue', 'established', 'incomplete', 'failed', 'late']) {
    t.ok(of(`feed ${result}`) > 0, `${of(`feed ${result}`)} times ${result}`)
  }
  t.ok(of('feed') > 4 * ROUNDS, `${of('feed')} flights were taken`)
  t.ok(of('feed established') > ROUNDS / 50, 'live handshakes were among them')
  if ('setTicketKeys' in addon) t.ok(of('resumed') > 0, `${of('resumed')} were resumed`)
  for (const name of Object.keys(addon)) t.ok(of(name) > 0, `${name} was called well`)
  t.ok(counts.size > 35, `${counts.size} different ends`)
})

t.test('an addon that does something else is noticed, and told with its seed', async (t) => {
  const wrong: [string, Partial<Addon>, RegExp][] = [
    ['establishes anything', { feed: () => 1 }, /get should throw undefined|without a client/],
    ['returns another number', { feed: () => 5 }, /feed returned 5/],
    ['throws at a flight', { feed: () => addon.feed(0 as never, Buffer.alloc(0)) }, /feed should/],
    ['goes on for ever', { feed: () => 0, take: () => Buffer.alloc(0) }, /without end|feed should/],
    ['gives what is withheld', { take: () => Buffer.alloc(1) }, /take should throw/],
    ['gives too much', { take: () => Buffer.alloc(65_537) }, /take/],
    ['commits before its time', { commit: () => Buffer.alloc(1) }, /commit should throw/],
    ['exports before its time', { exportKey: () => Buffer.alloc(1) }, /exportKey should throw/],
    ['has another certificate', { get: () => Buffer.alloc(9) as never }, /get should|whose/],
    ['closes nothing', { close: () => {} }, /should throw/],
  ]
  for (const [name, change, message] of wrong) {
    const options = { seed: SEED, rounds: 200 }
    const run = fuzzAddon({ ...addon, ...change }, flights, options)
    await t.rejects(run, { message: /^seed datanet, round \d+: / }, name)
    await t.rejects(fuzzAddon({ ...addon, ...change }, flights, options), { message }, name)
  }
})
