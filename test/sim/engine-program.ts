// The storms over the native addon as a program, for builds that need a Node of their own
// (test/interop/sanitizers.test.ts): `fuzz SEED ROUNDS` or `handshakes COUNT`. One line tells what
// was done; anything undocumented ends it with an error.

import { nativeAddon, nativeEngine } from '../eap/engine-file.ts'
import { readFlights } from './engine-corpus.ts'
import { fuzzAddon } from './engine-fuzz.ts'
import { engineConfig, runHandshakes } from './handshakes.ts'

const [what, ...words] = process.argv.slice(2)
if (what === 'fuzz') {
  const [seed = '', rounds] = words
  const counts = await fuzzAddon(nativeAddon(), readFlights(), { seed, rounds: Number(rounds) })
  process.stdout.write(`${JSON.stringify(Object.fromEntries(counts))}\n`)
} else if (what === 'handshakes') {
  const count = Number(words[0])
  const { endings } = await runHandshakes(nativeEngine()(engineConfig), { count, every: count })
  process.stdout.write(`${JSON.stringify(endings)}\n`)
} else {
  throw new Error('usage: engine-program.ts fuzz SEED ROUNDS | handshakes COUNT')
}
