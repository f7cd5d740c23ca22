// CPU of the servers per authentication, full or resumed. A round is many short slices: all servers
// stay up, and in each slice every one of them gets a few authentications, in an order drawn anew.
// A machine that changes its speed does so for all of them within a fraction of a second. Called by
// eap.ts.

import { randomInt } from 'node:crypto'
import type { TlsVersion } from '../test/peer/tls.ts'
import {
  type Bench,
  type Contestant,
  loadSpec,
  RESUMING_STATIONS,
  resuming,
} from './contestants.ts'
import { type Generator, openGenerator } from './generator.ts'
import type { Resumption } from './load.ts'
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
  readonly done: number
  readonly failed: number
  /** Of those done, how many took up an earlier TLS session. */
  readonly resumed: number
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
  readonly contestant: Contestant
  readonly server: RunningServer
  readonly before: CpuReading
  own: number
  children: number
  done: number
  failed: number
  resumed: number
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
          bench.say(`  round ${round + 1} TLS ${tls} ${sample.server}: ${sample.us.toFixed(0)} us`)
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
  const ready: { readonly contestant: Contestant; readonly server: RunningServer }[] = []
  for (const contestant of contestants) {
    const extra = contestant.resumes === undefined ? 0 : RESUMING_STATIONS
    const server = await contestant.ready(plan.slices * plan.count + extra)
    if (contestant.resumes !== undefined) {
      await prime(bench, generator, server, { tls: plan.tls, resumes: contestant.resumes })
    }
    ready.push({ contestant, server })
  }
  const tallies: Tally[] = ready.map((each) => {
    const sums = { own: 0, children: 0, done: 0, failed: 0, resumed: 0, exchanges: 0 }
    return { ...each, before: readCpu(each.server), ...sums }
  })
  for (let slice = 0; slice < plan.slices; slice++) {
    for (const tally of shuffled(tallies)) await cpuSlice(bench, generator, tally, plan)
  }
  return tallies
}

/** A login of each station, so that those that are measured have a session to offer. */
async function prime(
  bench: Bench,
  generator: Generator,
  server: RunningServer,
  { tls, resumes }: { readonly tls: TlsVersion; readonly resumes: Resumption },
): Promise<void> {
  const run = { tls, count: RESUMING_STATIONS, inFlight: 8, ...resuming({ resumes }) }
  await generator.run(loadSpec(bench, server, run))
}

async function cpuSlice(
  bench: Bench,
  generator: Generator,
  tally: Tally,
  { tls, count, inFlight }: CpuPlan & { readonly tls: TlsVersion },
): Promise<void> {
  const before = readCpu(tally.server)
  const run = { tls, count, inFlight, ...resuming(tally.contestant) }
  const result = await generator.run(loadSpec(bench, tally.server, run))
  const after = readCpu(tally.server)
  tally.own += after.own - before.own
  tally.children += after.children - before.children
  tally.done += result.done
  tally.failed += result.failed
  tally.resumed += result.resumed
  tally.exchanges += result.roundsPerAuth * count
}

function sampleOf(tally: Tally, tls: TlsVersion, round: number): CpuSample {
  const { contestant, server, before, own, children, done, failed, resumed, exchanges } = tally
  const each = done * 1000
  return {
    server: contestant.name,
    tls,
    round,
    us: own / each,
    betweenUs: (readCpu(server).own - before.own - own) / each,
    childrenUs: children / each,
    rounds: exchanges / (done + failed),
    done,
    failed,
    resumed,
  }
}

/** The values in a random order (Fisher and Yates). */
function shuffled<Value>(values: readonly Value[]): Value[] {
  const left = [...values]
  const drawn: Value[] = []
  while (left.length > 0) drawn.push(...left.splice(randomInt(left.length), 1))
  return drawn
}
