// Seeded simulation of metering and money: thousands of sessions under loss, duplication,
// reordering, outage, a full disk and crash, with the rules of ledger-oracle.ts checked after every
// step. `node test/sim/ledger.test.ts SEED` runs one seed again.

import t from 'tap'
import { runSeed } from './ledger-run.ts'

const SEEDS = 200
const seeds =
  process.argv[2] === undefined
    ? Array.from({ length: SEEDS }, (_, n) => String(n + 1))
    : [process.argv[2]]

// Wall time on a machine that is busy with other tests.
t.setTimeout(180_000)

t.test(`§8-10 the books hold at every step: seeds ${seeds[0]} to ${seeds.at(-1)}`, async (t) => {
  const total: Record<string, number> = {}
  for (const seed of seeds) {
    try {
      const counts = await runSeed(seed)
      for (const [name, count] of Object.entries(counts)) total[name] = (total[name] ?? 0) + count
      if (counts.sessions < 10) t.fail(`seed ${seed}: only ${counts.sessions} sessions`)
    } catch (error) {
      // Its text opens with the seed.
      t.fail(error instanceof Error ? error.message : String(error))
    }
  }
  t.comment(JSON.stringify(total))
  // Enough of everything has happened, or the rules were not tried.
  for (const [name, least] of Object.entries({
    ...{ sessions: 20, steps: 1_000, judged: 20, payments: 20, records: 50, reports: 10 },
    ...{ cuts: 3, crashes: 1, compared: 5, lost: 100 },
  })) {
    const count = total[name] ?? 0
    t.ok(seeds.length < SEEDS || count >= least * seeds.length, `${name}: ${count}`)
  }
})
