// CPU of the servers per authentication. A round is many short slices: all servers stay up, and in
// each slice every one of them gets a few authentications, in an order drawn anew. A machine that
// changes its speed does so for all of them within a fraction of a second. Called by eap.ts.

import { randomInt } from 'node:crypto'
import type { TlsVersion } from '../test/peer/tls.ts'
import { type Bench, type Contestant, loadSpec } from './contestants.ts'
import { type Generator, openGenerator } from './generator.ts'
import type { RunningServer } from './peers.ts'
import { cpuNanoseconds, descendantsOf } from './schedstat.ts'

export const TLS_VERSIONS: readonly TlsVersion[] = ['1.2', '1.3']

/** CPU of one server in one round, in microseconds per finished authentication. */
export interface CpuSample {
  readonly server: string
  readonly tls: TlsVersion
  /** Samples of one round are over the same seconds of the machine. */
  readonly round: number
  /** All it used in its slices, divided by all it finished in them. */
  readonly us: number
  /** What it used between its slices, in the same unit; not part of `us`. */
  readonly betweenUs: number
  /**
   * Child processes of the server (the embedded chain's node), in the same unit; not part of `us`.
   */
  readonly childrenUs: number
  readonly rounds: number
  readonly failed: number
}

/** How long to measure: `rounds` of `slices` of `count` authentications for each server. */
export interface CpuPlan {
  readonly rounds: number
  readonly slices: number
  readonly count: number
  readonly inFlight: number
}

/** CPU used so far, in nanoseconds. */
export interface CpuReading {
  readonly own: number
  readonly children: number
}

/** What the server and its children have used since they started. */
export function readCpu({ pid }: RunningServer): CpuReading {
  const children = descendantsOf(pid).map(cpuNanoseconds)
  return { own: cpuNanoseconds(pid), children: children.reduce((sum, each) => sum + each, 0) }
}

/** Sums over the slices of one server in one round. */
interface Tally {
  readonly name: string
  readonly server: RunningServer
  readonly before: CpuReading
  own: number
  children: number
  done: number
  failed: number
  exchanges: number
}

/** Everything pinned to one CPU, the generator included: what a cache holds is shared alike. */
export async function measureCpu(
  bench: Bench,
  contestants: readonly Contestant[],
  plan: CpuPlan,
): Promise<CpuSample[]> {
  const samples: CpuSample[] = []
  const generator = openGenerator(bench.serverCpu)
  try {
    for (let round = 0; round < plan.rounds; round++) {
      for (const tls of TLS_VERSIONS) {
        for (const tally of await cpuRound(bench, generator, contestants, { ...plan, tls })) {
          const sample = sampleOf(tally, tls, round)
          samples.push(sample)
          bench.say(`  round ${round + 1} TLS ${tls} ${tally.name}: ${sample.us.toFixed(0)} us`)
        }
      }
    }
  } finally {
    generator.close()
  }
  return samples
}

async function cpuRound(
  bench: Bench,
  generator: Generator,
  contestants: readonly Contestant[],
  plan: CpuPlan & { readonly tls: TlsVersion },
): Promise<Tally[]> {
  const servers: RunningServer[] = []
  for (const contestant of contestants) {
    servers.push(await contestant.ready(plan.slices * plan.count))
  }
  const tallies: Tally[] = servers.map((server) => {
    const sums = { own: 0, children: 0, done: 0, failed: 0, exchanges: 0 }
    return { name: server.name, server, before: readCpu(server), ...sums }
  })
  for (let slice = 0; slice < plan.slices; slice++) {
    for (const tally of shuffled(tallies)) await cpuSlice(bench, generator, tally, plan)
  }
  return tallies
}

async function cpuSlice(
  bench: Bench,
  generator: Generator,
  tally: Tally,
  { tls, count, inFlight }: CpuPlan & { readonly tls: TlsVersion },
): Promise<void> {
  const before = readCpu(tally.server)
  const run = { tls, count, inFlight }
  const result = await generator.run(loadSpec(bench, tally.server, run))
  const after = readCpu(tally.server)
  tally.own += after.own - before.own
  tally.children += after.children - before.children
  tally.done += result.done
  tally.failed += result.failed
  tally.exchanges += result.roundsPerAuth * count
}

function sampleOf(tally: Tally, tls: TlsVersion, round: number): CpuSample {
  const { name, server, before, own, children, done, failed, exchanges } = tally
  const each = done * 1000
  return {
    server: name,
    tls,
    round,
    us: own / each,
    betweenUs: (readCpu(server).own - before.own - own) / each,
    childrenUs: children / each,
    rounds: exchanges / (done + failed),
    failed,
  }
}

/** The values in a random order (Fisher and Yates). */
function shuffled<Value>(values: readonly Value[]): Value[] {
  const left = [...values]
  const drawn: Value[] = []
  while (left.length > 0) drawn.push(...left.splice(randomInt(left.length), 1))
  return drawn
}
