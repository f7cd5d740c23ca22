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
  let [blocks, shifts, payouts] = [0, 0, 0]
  for (let run = 0; run < RUNS; run++) {
    const result = runTrace(`${SEED} ${run}`, OURS, PERIODS)
    blocks += result.blocks
    shifts += result.shifts
    payouts += result.payouts
    if (result.broken !== undefined) t.fail(`seed "${SEED} ${run}": ${result.broken}`)
  }
  t.pass(`${blocks} blocks, ${shifts} shifts, ${payouts} payouts of honest merchants`)
})
