// The device's own count of its octets, and what it keeps of each session over a restart.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Terms } from '../../device/charge.ts'
import {
  type Counters,
  foldMeter,
  isInterfaceName,
  type Meter,
  octetsOf,
  readCounters,
  startMeter,
} from '../../device/meter.ts'
import {
  metered,
  ownSessions,
  readSeen,
  type SeenSession,
  writeSeen,
} from '../../device/own-sessions.ts'

const place = mkdtempSync(join(tmpdir(), 'datanet-meter-'))
t.teardown(() => rmSync(place, { recursive: true, force: true }))

const at = (received: bigint, sent: bigint): Counters => ({ received, sent })
const count = (start: Meter, readings: readonly (Counters | undefined)[]): bigint =>
  octetsOf(readings.reduce(foldMeter, start))

const READINGS: readonly [name: string, readings: (Counters | undefined)[], octets: bigint][] = [
  ['nothing read', [], 7n],
  ['both ways', [at(110n, 25n)], 7n + 10n + 5n],
  ['step by step', [at(110n, 25n), at(111n, 25n)], 7n + 16n],
  ['began again at zero', [at(110n, 25n), at(3n, 1n)], 7n + 15n + 4n],
  ['one way began again', [at(50n, 30n)], 7n + 50n + 10n],
  ['away for a while', [undefined, at(110n, 25n)], 7n + 15n],
]

t.test('a meter that began at 7 octets, with counters at 100 and 20', async (t) => {
  const start = startMeter(7n, at(100n, 20n))
  for (const [name, readings, octets] of READINGS) t.equal(count(start, readings), octets, name)
  t.equal(count(startMeter(7n, undefined), [at(100n, 20n)]), 7n, 'what was before is not counted')
  t.equal(count(startMeter(7n, undefined), [at(100n, 20n), at(101n, 20n)]), 8n)
})

t.test('the counters of an interface', async (t) => {
  const write = (name: string, received: string, sent: string): void => {
    const folder = join(place, name, 'statistics')
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'rx_bytes'), received)
    writeFileSync(join(folder, 'tx_bytes'), sent)
  }
  write('wlan0', '18446744073709551615\n', '0\n')
  t.same(await readCounters('wlan0', place), at(2n ** 64n - 1n, 0n))
  write('odd', '-1\n', '0\n')
  t.equal(await readCounters('odd', place), undefined)
  t.equal(await readCounters('absent', place), undefined)
  for (const name of ['wlan0', 'enx0123456789ab', 'br-lan.7']) t.ok(isInterfaceName(name), name)
  for (const name of ['', '.', '..', 'a/b', 'a b', 'a:1', 'x'.repeat(16)]) {
    t.notOk(isInterfaceName(name), JSON.stringify(name))
  }
})

const TERMS: Terms = {
  ...{ perMinute: 60n, perMegabyte: 1_000n, intervalMs: 2_300, intervalMegabytes: 10 },
  ...{ missedMax: 2, graceMs: 700, freeMs: 7_000, freeOctets: 1_500_000n },
  flat: { price: 50n, windowMs: 1_234 },
}
const seenAt = (seenAtMs: number, more: Partial<SeenSession> = {}): SeenSession => ({
  ...{ terms: TERMS, startedAtMs: 1_000, connectedAtMs: undefined, seenAtMs, boot: 'b' },
  meter: { received: 5n, sent: 6n, at: at(100n, 20n) },
  ...{ isFromStart: true, isWatched: false },
  ...more,
})
const idOf = (number: number): string => number.toString(16).padStart(32, '0')

t.test('sessions.json gives back what was written, the latest sixteen', async (t) => {
  const seen = new Map(Array.from({ length: 20 }, (_, index) => [idOf(index), seenAt(index)]))
  seen.set(idOf(19), seenAt(19, { meter: undefined, connectedAtMs: 900 }))
  seen.set(idOf(18), seenAt(18, { meter: startMeter(2n ** 60n, undefined) }))
  await writeSeen(place, seen)
  const read = await readSeen(place)
  t.same(
    [...read.keys()].sort(),
    Array.from({ length: 16 }, (_, index) => idOf(index + 4)),
  )
  for (const [id, session] of read) t.same(session, seen.get(id), id)
  for (const text of ['', '{', '{"sessions":{"a":{}}}', '[]']) {
    writeFileSync(join(place, 'sessions.json'), text)
    t.same(await readSeen(place), new Map(), `lost, and no reason to stop: ${text}`)
  }
})

t.test('a restart counts on; another boot starts at its own counters', async (t) => {
  const now = at(150n, 20n)
  const octets = (session: SeenSession) => ownSessions(new Map([['a', session]])).get('a')?.octets
  t.equal(octets(metered(seenAt(0), now, 'b', 9)), 61n)
  t.equal(octets(metered(seenAt(0), now, 'c', 9)), 11n, 'counters of before the boot say nothing')
  t.equal(octets(metered(seenAt(0, { meter: undefined }), now, 'b', 9)), undefined)
  t.match(metered(seenAt(0), undefined, 'b', 9), { seenAtMs: 9, boot: 'b' })
})
