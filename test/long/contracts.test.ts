// The invariants of the contract over 100,000 calls of random actors: some 84 s for 10,000 calls on
// one core, a quarter of an hour for all. Prints what was done; another seed is the argument, as in
// `node test/long/contracts.test.ts 0x5`.

import t from 'tap'
import { forgeTest, successesOf } from '../contracts/forge.ts'

const SEED = process.argv[2] ?? '0x2'
/** As many as the profile `long` of foundry.toml makes at least: runs by depth. */
const CALLS = 100_000
const MINUTE = 60_000

t.setTimeout(90 * MINUTE)

t.test(`invariants I1 to I6, I9 to I14 over ${CALLS} calls (seed ${SEED})`, async (t) => {
  const args = ['--match-contract', 'PayPlaceInvariantsTest', '--fuzz-seed', SEED]
  const began = performance.now()
  const { results, stderr } = await forgeTest(args, 80 * MINUTE, { FOUNDRY_PROFILE: 'long' })
  const seconds = Math.round((performance.now() - began) / 1_000)
  t.equal(results.length, 1, stderr)
  for (const { name, passed, reason, campaign } of results) {
    t.ok(passed, `${name} ${reason}`)
    if (campaign === undefined) throw new Error(`${name} was no campaign`)
    const { runs, calls, reverts } = campaign
    t.comment(`${name}: ${runs} runs, ${calls} calls, ${reverts} reverts`)
    t.comment(`seed ${SEED}, ${seconds} s with compiling`)
    const successes = successesOf(campaign)
    for (const [action, count] of successes) {
      t.comment(`  ${action} succeeded ${count} times`)
      t.ok(count > runs / 2, `${action}: ${count}`)
    }
    t.ok((successes.get('notarizeAny') ?? 0) > 4 * runs, 'blocks enough in a run')
    t.ok(calls >= CALLS, `${calls} calls`)
  }
})
