// The two measurements of the accounting benchmark: CPU of the server per acknowledged record, and
// records a second. Servers stay up and take turns in short slices, in an order drawn anew, so that
// a machine that changes its speed does so for all of them. Called by accounting.ts.

import { spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { AccountingResult, AccountingSpec } from './accounting-load.ts'
import { readCpu } from './cpu.ts'
import type { RunningServer } from './peers.ts'

const LOAD = fileURLToPath(new URL('accounting-load.ts', import.meta.url))
const GRACE_MS = 10_000
const LOST_AFTER_MS = 5_000
const RUN_MAX_MS = 60_000

/** One server in the race, running. */
export interface AccountingContestant {
  readonly name: string
  readonly server: RunningServer
  /** Class of each session it is asked about. */
  readonly classes: readonly string[]
  /** Its part of a slice: a server that is slow gets fewer records. */
  readonly part: number
}

/** One server, one round. */
export interface AccountingSample {
  readonly server: string
  readonly phase: 'cpu' | 'throughput'
  readonly inFlight: number
  readonly round: number
  readonly done: number
  readonly lost: number
  /** Replies with a wrong authenticator. */
  readonly wrong: number
  /** CPU of the process, user and system, per acknowledged record. */
  readonly us: number
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

/** How much to measure. */
export interface AccountingPlan {
  readonly rounds: number
  readonly slices: number
  /** Records of a slice, where the part is 1. */
  readonly count: number
  readonly inFlight: number
}

/** A process that makes the load, pinned to a CPU. */
export interface AccountingGenerator {
  run(spec: AccountingSpec): Promise<AccountingResult>
  close(): void
}

/** Starts it; it outlives no run that goes wrong. */
export function openAccountingGenerator(cpu: number): AccountingGenerator {
  const child = spawn('taskset', ['-c', String(cpu), process.execPath, LOAD], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  // What is written to a process that has ended is told by its missing answer.
  child.stdin.on('error', () => undefined)
  return {
    async run(spec) {
      const timer = setTimeout(() => child.kill('SIGKILL'), spec.limitMs + GRACE_MS)
      child.stdin.write(`${JSON.stringify(spec)}\n`)
      const answer = await answers.next()
      clearTimeout(timer)
      if (answer.done === true) throw new Error('the load generator ended')
      return JSON.parse(answer.value)
    },
    close: () => child.kill('SIGKILL'),
  }
}

const specOf = (
  { server, classes, part }: AccountingContestant,
  { count, inFlight }: Pick<AccountingPlan, 'count' | 'inFlight'>,
): AccountingSpec => ({
  port: server.port,
  secret: server.secret,
  classes,
  count: Math.max(1, Math.round(count * part)),
  inFlight,
  lostAfterMs: LOST_AFTER_MS,
  limitMs: RUN_MAX_MS,
})

/** So many records before anything is measured: code compiled, files and rows made. */
export async function warmUp(
  generator: AccountingGenerator,
  contestant: AccountingContestant,
  count: number,
): Promise<void> {
  const { done } = await generator.run(specOf(contestant, { count, inFlight: 32 }))
  if (done === 0) throw new Error(`${contestant.name} acknowledges nothing`)
}

/** All rounds; `say` hears of each sample. */
export async function measureAccounting(
  phase: AccountingSample['phase'],
  generator: AccountingGenerator,
  contestants: readonly AccountingContestant[],
  plan: AccountingPlan,
  say: (line: string) => void,
): Promise<AccountingSample[]> {
  const samples: AccountingSample[] = []
  for (let round = 0; round < plan.rounds; round++) {
    const tallies = contestants.map((contestant) => ({ contestant, cpuNs: 0, results: [] }))
    for (let slice = 0; slice < plan.slices; slice++) {
      for (const tally of shuffled(tallies)) await oneSlice(generator, tally, plan)
    }
    for (const tally of tallies) {
      const sample = sampleOf(tally, phase, plan.inFlight, round)
      samples.push(sample)
      const { server, us, perSecond } = sample
      say(`  round ${round + 1} ${server}: ${us.toFixed(1)} us, ${perSecond.toFixed(0)}/s`)
    }
  }
  return samples
}

interface Tally {
  readonly contestant: AccountingContestant
  cpuNs: number
  readonly results: AccountingResult[]
}

async function oneSlice(
  generator: AccountingGenerator,
  tally: Tally,
  plan: AccountingPlan,
): Promise<void> {
  const before = readCpu(tally.contestant.server)
  tally.results.push(await generator.run(specOf(tally.contestant, plan)))
  tally.cpuNs += readCpu(tally.contestant.server).own - before.own
}

function sampleOf(
  { contestant, cpuNs, results }: Tally,
  phase: AccountingSample['phase'],
  inFlight: number,
  round: number,
): AccountingSample {
  const sum = (value: (result: AccountingResult) => number): number =>
    results.reduce((total, result) => total + value(result), 0)
  const done = sum((result) => result.done)
  return {
    ...{ server: contestant.name, phase, inFlight, round, done },
    lost: sum((result) => result.lost),
    wrong: sum((result) => result.wrong),
    us: cpuNs / 1000 / done,
    perSecond: done / sum((result) => result.done / result.perSecond),
    p50Ms: sum((result) => result.p50Ms) / results.length,
    p99Ms: Math.max(...results.map((result) => result.p99Ms)),
  }
}

/** The values in a random order (Fisher and Yates). */
function shuffled<Value>(values: readonly Value[]): Value[] {
  const left = [...values]
  const drawn: Value[] = []
  while (left.length > 0) drawn.push(...left.splice(randomInt(left.length), 1))
  return drawn
}
