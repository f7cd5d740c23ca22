// Random adversarial histories of the model hold every invariant; with one rule taken away, or the
// thesis's original in its place, they find the hole. `node test/sim/payplace-traces.test.ts SEED`
// repeats a run.

import t from 'tap'
import { OURS } from './payplace-model.ts'
import { runTrace, type TraceResult } from './payplace-traces.ts'

const SEED = process.argv[2] ?? 'payplace 1'
const RUNS = 2_000
const PERIODS = 30
/** The rarest hole is found once in some 700 histories. */
const SEARCHED = 10_000

t.setTimeout(175_000)

t.test(`Theorems 9 to 12, I1 I2 I5 I6 I7 I8: ${RUNS} histories (seed ${SEED})`, async (t) => {
  let [blocks, shifts, payouts] = [0, 0, 0]
  const broken: string[] = []
  for (let run = 0; run < RUNS; run++) {
    const result = runTrace(`${SEED} ${run}`, OURS, PERIODS)
    blocks += result.blocks
    shifts += result.shifts
    payouts += result.payouts
    if (result.broken !== undefined) broken.push(`${SEED} ${run}: ${result.broken}`)
  }
  t.same(broken, [])
  t.comment(`${blocks} blocks, ${shifts} shifts, ${payouts} payouts of honest merchants`)
  t.ok(blocks > RUNS * 10 && shifts > RUNS && payouts > RUNS, 'enough happened')
})

const REMOVED: readonly [rule: string, what: string][] = [
  ['D7', 'own consumers dropped'],
  ['D9', 'only the last consumer summed'],
  ['D14', 'no monotonicity for others'],
  ['D17', 'locks not cleared at withdrawal'],
  ['D18', 'exited keys stay'],
  ['D22', 'locks of any set'],
  ['D23', 'no cover check in lock'],
  ['D27', 'own reservation counted against her'],
  ['D30', 'shifts without a later block'],
  ['D43', 'shifts after a block whose signers could not see them'],
  ['D8', 'whole vouchers summed'],
  ['D12', 'sets of transactions compared'],
  ['no lock', 'no lock before a merchant goes missing'],
  ['pending', 'signers do not look at shifts under way'],
  ['stale', 'locks of present merchants ignored'],
]

t.test('each rule taken away is caught', async (t) => {
  for (const [rule, what] of REMOVED) {
    let run = -1
    let result: TraceResult | undefined
    do {
      run += 1
      result = runTrace(`${SEED} ${run}`, new Set([rule]), PERIODS)
    } while (result.broken === undefined && run < SEARCHED)
    t.ok(result.broken, `${rule}, ${what}: run ${run}, ${result.broken}`)
  }
})
