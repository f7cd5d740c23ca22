// Seeded simulation of the whole request path: forty stations at three access points, through a bad
// network, with money that comes and goes. Invariants after every step: invariants.ts.
// `node test/sim/requests.test.ts SEED` runs one seed again.

import t from 'tap'
import { seeded } from './random.ts'
import { makeDevice, NASES } from './rig.ts'
import { openStation, type StationReport } from './station.ts'
import { createWorld, type NetworkOptions, type World } from './world.ts'

const SEEDS = process.argv[2] === undefined ? ['1', '2'] : [process.argv[2]]
const STATIONS = 40
const ACCOUNTS = 24
const RESERVE = 33n

/** The worse the network, the longer until as much has happened. */
const LIVES_MS: Readonly<Record<string, number>> = { calm: 60_000, bad: 120_000, awful: 240_000 }

const networks: Readonly<Record<string, NetworkOptions>> = {
  calm: { loss: 0, duplication: 0, delayMinMs: 1, delayMaxMs: 1, overlap: 0 },
  bad: { loss: 0.1, duplication: 0.2, delayMinMs: 5, delayMaxMs: 1_500, overlap: 0.5 },
  awful: { loss: 0.2, duplication: 0.4, delayMinMs: 5, delayMaxMs: 3_000, overlap: 0.9 },
}

const tempers = [
  { leaves: 0, restarts: 0, replays: 0 },
  { leaves: 0.2, restarts: 0, replays: 0 },
  { leaves: 0, restarts: 0.2, replays: 0 },
  { leaves: 0, restarts: 0, replays: 0.5 },
  { leaves: 0.1, restarts: 0.1, replays: 0.2 },
]

// Made once: a device is the same in every run.
const devices = Array.from({ length: STATIONS }, (_, n) =>
  makeDevice(String(n % ACCOUNTS), String(n), n % 4 === 0 ? '1.2' : '1.3'),
)

function populate(world: World): StationReport[] {
  const { random } = world
  return devices.map((device, n) => {
    const nas = NASES[n % NASES.length] ?? random.pick(NASES)
    const source = { address: nas.ipaddr.text, port: 20_000 + n }
    // Every seventh station shares the address of the one three before it, at the same NAS.
    const number = n % 7 === 6 ? n - NASES.length : n
    const callingStationId = n % 11 === 10 ? '' : `02-00-00-00-00-${number}`
    const temper = tempers[n % tempers.length] ?? random.pick(tempers)
    const fragmentSize = random.pick([200, 600, 1300])
    return openStation(world, { nas, source, callingStationId, device, temper, fragmentSize })
  })
}

/** Deposits from nothing to plenty at first; then they grow, and reorgs take some back. */
function openChain(world: World): void {
  const { random, rig } = world
  const accounts = [...world.invariants.accounts]
  for (const [n, account] of accounts.entries()) {
    if (n % 6 !== 0) rig.deposit(account, RESERVE * BigInt(n % 6))
  }
  const block = (): void => {
    rig.deposit(random.pick(accounts), RESERVE * BigInt(random.below(6)))
    const stale = random.chance(0.2)
    rig.chain.heardAtMs = stale ? rig.clock.nowMs - random.below(120_000) : undefined
    rig.chain.refreshes = random.chance(0.7)
    world.after(2_000, block)
  }
  world.after(2_000, block)
}

// Wall time on a machine that is busy with other tests.
t.setTimeout(180_000)

const sum = (values: Iterable<number>): number => [...values].reduce((a, b) => a + b, 0)

for (const seed of SEEDS) {
  for (const [name, network] of Object.entries(networks)) {
    t.test(`invariants 1-11 hold: ${name} network, seed ${seed}`, async (t) => {
      const limits = { conversationsMax: name === 'awful' ? 20 : 100, idleMs: 15_000 }
      const world = await createWorld({ seed: `${seed} ${name}`, network, ...limits })
      const reports = populate(world)
      openChain(world)
      await world.run(LIVES_MS[name] ?? 0)
      const { rig, counts, invariants } = world
      const totals = (field: keyof StationReport) => sum(reports.map((report) => report[field]))
      const drops = await rig.drops()
      const ends: Record<string, number> = {}
      for (const { endedBy = '' } of rig.ends) ends[endedBy] = (ends[endedBy] ?? 0) + 1
      t.comment(JSON.stringify({ ...counts, accepts: totals('accepts'), drops, ends }))
      const answered = counts.replied + sum(Object.values(drops))
      t.equal(answered, counts.delivered, 'each datagram is answered or counted')
      t.ok(totals('accepts') > 10, `${totals('accepts')} stations got in`)
      t.ok(totals('rejects') > 10, `${totals('rejects')} were refused`)
      t.ok(totals('leaves') + totals('restarts') > 10)
      t.ok(invariants.accepted.size >= totals('accepts'), 'a session for each Accept')
      // Everybody is gone: what is left ends by itself, and all the escrow is free again.
      rig.clock.nowMs += 15_000
      rig.sweep()
      t.equal(rig.conversations.size, 0)
      invariants.check()
      rig.clock.nowMs += 700_000
      rig.sweep()
      t.equal(rig.ledger.openCount, 0)
      invariants.check()
    })
  }
}

t.test('the same seed is the same dice', async (t) => {
  t.same(seeded('a').bytes(32), seeded('a').bytes(32))
  t.notSame(seeded('a').bytes(32), seeded('b').bytes(32))
})
