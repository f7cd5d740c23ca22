// The invariants of the contract over 100,000 calls of random actors; some fifteen minutes.

import t from 'tap'
import { forgeTest } from '../contracts/forge.ts'

const CALLS = 100_000
const MINUTE = 60_000

t.setTimeout(90 * MINUTE)

t.test(`invariants I1 to I14 over ${CALLS} calls`, async (t) => {
  const args = ['--match-contract', 'PayPlaceInvariantsTest', '--fuzz-seed', '0x2']
  const environment = { FOUNDRY_PROFILE: 'long' }
  const { results, stderr } = await forgeTest(args, 80 * MINUTE, environment)
  t.equal(results.length, 1, stderr)
  for (const { name, passed, reason, calls = 0 } of results) {
    t.ok(passed, `${name} ${reason}`)
    t.ok(calls >= CALLS, `${calls} calls`)
  }
})
