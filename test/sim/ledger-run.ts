// One seeded run of the simulation of the books, from an empty store to the last check. Called by
// ledger.test.ts, and by ledger-mutations.test.ts with faults built in.

import { populate } from './ledger-devices.ts'
import { createWorld, type World } from './ledger-world.ts'

const LIFE_MS = 6 * 60_000

/** What goes wrong beside the network: each so often on average. */
const TROUBLE_MS = 60_000

/** Every third seed as ever; the others by each policy. */
const POLICIES = [
  undefined,
  { by: 'attested', trust: 'hardware' },
  { by: 'lower', trust: 'software' },
  undefined,
  { by: 'higher', trust: 'hardware' },
  { by: 'attested', trust: 'software' },
] as const

function trouble(world: World, restartOne: () => void): void {
  const { random } = world
  const strike = (): undefined => {
    world.after(random.below(2 * TROUBLE_MS), strike)
    const kind = random.below(6)
    if (kind < 2) world.crash(kind === 0 ? 'before' : 'after')
    else if (kind === 2) world.outage(5_000 + random.below(40_000))
    else if (kind === 3) world.diskFull(1_000 + random.below(15_000))
    else restartOne()
    return undefined
  }
  world.after(random.below(2 * TROUBLE_MS), strike)
}

/** Lives through one seed; rejects with the rule that was broken, and when. */
export async function runSeed(seed: string, lifeMs = LIFE_MS) {
  const isCalm = seed.endsWith('0')
  const world = await createWorld(seed, {
    ...(isCalm ? { loss: 0, duplication: 0 } : { loss: 0.2, duplication: 0.15 }),
    ...{ delayMaxMs: isCalm ? 200 : 4_000, arrearsWindowMs: seed.endsWith('5') ? 30_000 : 0 },
    accountsMax: seed.endsWith('3') ? 2 : 1_000,
    usage: POLICIES[Number(seed) % POLICIES.length],
  })
  const startMs = world.clock.nowMs
  try {
    const { restartOne } = populate(world, { accounts: 6, stations: 10 })
    trouble(world, restartOne)
    await world.run(lifeMs)
    await world.finish()
  } catch (error) {
    const seconds = (world.clock.nowMs - startMs) / 1000
    const text = error instanceof Error ? error.message : String(error)
    throw new Error(`seed ${seed}, ${seconds} s: ${text}`, { cause: error })
  }
  return { ...world.oracle.counts, ...world.done }
}
