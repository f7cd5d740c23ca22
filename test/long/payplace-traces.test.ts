// The random histories of test/sim/payplace-traces.test.ts, by the hundred thousand: no honest
// merchant loses anything. `node test/long/payplace-traces.test.ts SEED RUNS` for other ones.

import t from 'tap'
import { OURS } from '../sim/payplace-model.ts'
import { runTrace } from '../sim/payplace-traces.ts'

const SEED = process.argv[2] ?? `long ${process.pid}`
const RUNS = Number(process.argv[3] ?? 100_000)
const PERIODS = 30

t.setTimeout(3_600_000)

t.test(`${RUNS} histories (seed ${SEED})`, async (t) => {
  let [blocks, shifts, payouts, broken] = [0, 0, 0, 0]
  for (let run = 0; run < RUNS; run++) {
    const result = runTrace(`${SEED} ${run}`, OURS, PERIODS)
    blocks += result.blocks
    shifts += result.shifts
    payouts += result.payouts
    if (result.broken === undefined) continue
    broken += 1
    t.fail(`seed "${SEED} ${run}": ${result.broken}`)
  }
  t.comment(`seed ${SEED}: ${broken} of ${RUNS} histories broke an invariant`)
  t.comment(`${blocks} blocks, ${shifts} shifts, ${payouts} payouts of honest merchants`)
  t.ok(blocks > RUNS && payouts > RUNS, 'enough happened')
})
