// A million whole handshakes through the native engine in one process, each with a real client, and
// 400,000 other conversations that end early: resident memory is a level line. About 22 minutes.
// DATANET_HANDSHAKES is another count, from 300,000: below, the ripples of a level line look like a
// slope. The same in small: test/sim/engine.test.ts, and for leaks test/interop/sanitizers.test.ts.

import t from 'tap'
import { nativeEngine } from '../eap/engine-file.ts'
import { engineConfig, growth, runHandshakes, type Sample } from '../sim/handshakes.ts'

const COUNT = Number(process.env['DATANET_HANDSHAKES'] ?? 1_000_000)
if (!(COUNT >= 300_000)) throw new RangeError('at least 300,000 handshakes')
const SAMPLES = 100
const MB = 1_000_000
/**
 * A byte that is leaked costs 32, the least that malloc gives. Half of that per handshake would be
 * a leak in every second one, and 0.16 conversations of each are closed by nobody, at 50 KB; what
 * the client and the collector do is far below when they are warm.
 */
const GROWTH_BYTES_MAX = 16

t.setTimeout(180 * 60_000)

t.test('the slope of a level line, and of one that leaks', async (t) => {
  const line = (slope: number): Sample[] =>
    Array.from({ length: 101 }, (_, n) => ({
      at: n * 1000,
      // The first fifth is steep, and does not count; the rest has a ripple.
      residentBytes: 100 * MB + slope * n * 1000 + (n < 20 ? n * MB : 20 * MB) + (n % 2) * MB,
    }))
  t.ok(Math.abs(growth(line(0))) < 1)
  t.ok(growth(line(20)) > GROWTH_BYTES_MAX)
})

t.test(`${COUNT} handshakes: memory stays flat`, async (t) => {
  const every = Math.max(1, Math.floor(COUNT / SAMPLES))
  const started = performance.now()
  const told = ({ at, residentBytes }: Sample) => {
    if ((at / every) % 10 !== 0) return
    const seconds = ((performance.now() - started) / 1000).toFixed(0)
    t.comment(`${at} after ${seconds} s: ${(residentBytes / MB).toFixed(1)} MB resident`)
  }
  const { samples, endings } = await runHandshakes(nativeEngine()(engineConfig), {
    count: COUNT,
    every,
    told,
  })
  t.comment(JSON.stringify(endings))
  t.equal(endings.established, COUNT)
  const slope = growth(samples)
  t.ok(slope < GROWTH_BYTES_MAX, `grows by ${slope.toFixed(1)} bytes per handshake`)
})
