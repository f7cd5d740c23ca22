// The fuzz run of test/sim/engine-fuzz.test.ts, for minutes and from another seed each time, which
// is told. DATANET_FUZZ_ROUNDS is another number of rounds, DATANET_FUZZ_SEED repeats a run.

import { randomBytes } from 'node:crypto'
import t from 'tap'
import { nativeAddon } from '../eap/engine-file.ts'
import { readFlights } from '../sim/engine-corpus.ts'
import { fuzzAddon } from '../sim/engine-fuzz.ts'

const ROUNDS = Number(process.env['DATANET_FUZZ_ROUNDS'] ?? 300_000)
const SEED = process.env['DATANET_FUZZ_SEED'] ?? randomBytes(4).toString('hex')
const STEP = 10_000

t.setTimeout(60 * 60_000)

t.test(`${ROUNDS} rounds from seed ${SEED}`, async (t) => {
  const flights = readFlights()
  const addon = nativeAddon()
  const total = new Map<string, number>()
  for (let from = 0; from < ROUNDS; from += STEP) {
    const rounds = Math.min(STEP, ROUNDS - from)
    const counts = await fuzzAddon(addon, flights, { seed: SEED, from, rounds })
    for (const [what, n] of counts) total.set(what, (total.get(what) ?? 0) + n)
  }
  for (const [what, n] of total) if (/^feed /.test(what)) t.comment(`${what}: ${n}`)
  t.ok((total.get('feed') ?? 0) > ROUNDS, `${total.get('feed')} flights were taken`)
  t.ok((total.get('feed established') ?? 0) > 0)
})
