// `npm run bench:eap`: our whole server, with each of its TLS engines, beside FreeRADIUS and
// hostapd under the same EAP-TLS load, with the same certificates, on the same CPU. Owns the order
// of things and their end; measures nothing itself.

import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Bench, type Contestant, enter } from './contestants.ts'
import { type CpuPlan, type CpuSample, measureCpu } from './cpu.ts'
import {
  type EntrantOptions,
  type Prepared,
  planOf,
  prepareOurs,
  preparePlain,
} from './entrants.ts'
import { measureMemory } from './memory.ts'
import { isOurs, RESUMING, resumedName, SERVERS, type ServerKey } from './names.ts'
import { recorded } from './perf.ts'
import { measureEapolTest, measureThroughput } from './phases.ts'
import { type BenchReport, notResumed, reportText } from './report.ts'

const PHASES = ['cpu', 'resumed', 'throughput', 'memory', 'eapol'] as const
type Phase = (typeof PHASES)[number]

const USAGE = `usage: npm run bench:eap -- [--quick] [--json FILE] [--servers LIST] [--phases LIST]
  --quick         a smoke test: every phase, figures that mean nothing
  --json FILE     write all samples to FILE
  --servers LIST  of ${Object.keys(SERVERS).join(',')} (default: all)
  --phases LIST   of ${PHASES.join(',')} (default: all)
  --rounds N      interleaved rounds of the phases cpu and resumed (default 8)
  --groups LIST   what the supplicants offer, the key share first (default P-256)
  --profile DIR   run our servers with --cpu-prof, each into a folder of DIR
  --perf FILE     perf record of datanet during the phase cpu; its figures are then too high
`

const FULL = {
  rounds: 8,
  // Of 24 authentications each: a slice of all servers takes some 0.2 s.
  slices: 16,
  count: 24,
  // V8 still compiles hot functions after some thousand authentications.
  warmup: { ours: 2000, others: 60 },
  loads: [
    { inFlight: 16, count: 1500 },
    { inFlight: 256, count: 1500 },
    { inFlight: 2000, count: 3000 },
  ],
  memory: { halfOpen: 2000, settleMs: 10_000 },
  eapolRepeats: 40,
}
const QUICK: typeof FULL = {
  rounds: 1,
  slices: 2,
  count: 8,
  warmup: { ours: 32, others: 32 },
  loads: [{ inFlight: 16, count: 60 }],
  memory: { halfOpen: 50, settleMs: 200 },
  eapolRepeats: 3,
}

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'string' },
    servers: { type: 'string', default: Object.keys(SERVERS).join(',') },
    phases: { type: 'string', default: PHASES.join(',') },
    rounds: { type: 'string' },
    groups: { type: 'string', default: 'P-256' },
    profile: { type: 'string' },
    perf: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})
const size = values.quick ? QUICK : FULL

const say = (line: string): void => {
  process.stderr.write(`${line}\n`)
}

/** The words of a comma-separated option, in the order of `known`. */
function chosen<Word extends string>(option: string, text: string, known: readonly Word[]): Word[] {
  const words = text.split(',')
  const odd = words.filter((word) => !(known as readonly string[]).includes(word))
  if (odd.length > 0) throw new Error(`--${option}: ${odd.join(', ')}: not of ${known.join(',')}`)
  return known.filter((word) => words.includes(word))
}

/** What is to be told beside the figures. */
interface Findings {
  readonly notes: string[]
  /** Each makes the run a failed one. */
  readonly faults: string[]
}

function leaveOut({ faults }: Findings, name: string, error: unknown): void {
  const why = error instanceof Error ? error.message : String(error)
  say(`${name} is left out: ${why}`)
  faults.push(`${name} was left out: ${why}`)
}

async function prepare(
  options: EntrantOptions,
  wanted: boolean,
  findings: Findings,
): Promise<Prepared> {
  if (wanted) {
    try {
      return await prepareOurs(options)
    } catch (error) {
      leaveOut(findings, SERVERS.datanet, error)
    }
  }
  return preparePlain(options)
}

/** Puts servers on the track; one that does not start and answer is a fault, not an end. */
type LineUp = (keys: readonly ServerKey[], resumes: boolean) => Promise<Contestant[]>

function lineUpOf(
  bench: Bench,
  options: EntrantOptions,
  prepared: Prepared,
  findings: Findings,
  started: Contestant[],
): LineUp {
  return async (keys, resumes) => {
    const line: Contestant[] = []
    for (const key of keys) {
      const contestant = enter(await planOf(key, resumes, options, prepared), bench)
      started.push(contestant)
      try {
        await contestant.fresh()
        line.push(contestant)
      } catch (error) {
        leaveOut(findings, contestant.name, error)
        await contestant.stop()
      }
    }
    return line
  }
}

/** The phase cpu, with perf beside it where that is asked for. */
async function measureCpuPhase(
  bench: Bench,
  contestants: readonly Contestant[],
  plan: CpuPlan,
  { notes }: Findings,
): Promise<CpuSample[]> {
  const step = () => measureCpu(bench, contestants, plan)
  const native = contestants.find(({ name }) => name === SERVERS.datanet)
  if (values.perf === undefined || native === undefined) return step()
  notes.push(`perf recorded ${native.name} into ${values.perf}: its CPU is too high in this run`)
  return recorded((await native.ready(0)).pid, values.perf, step)
}

/** The phase resumed: each server beside itself without resumption, in the same slices. */
async function measureResumed(
  bench: Bench,
  plain: readonly Contestant[],
  lineUp: LineUp,
  plan: CpuPlan,
  { faults }: Findings,
): Promise<CpuSample[]> {
  const named = (key: ServerKey) => plain.find(({ name }) => name === SERVERS[key])
  const resuming = await lineUp(
    RESUMING.filter((key) => named(key) !== undefined),
    true,
  )
  const pairs = plain.flatMap((full) => {
    const pair = resuming.find(({ name }) => name === resumedName(full.name))
    return pair === undefined ? [] : [full, pair]
  })
  const samples = await measureCpu(bench, pairs, plan)
  faults.push(
    ...notResumed(
      samples,
      resuming.map(({ name }) => name),
    ),
  )
  for (const contestant of resuming) await contestant.stop()
  return samples
}

async function measure(
  bench: Bench,
  plain: readonly Contestant[],
  lineUp: LineUp,
  trust: Prepared,
  findings: Findings,
): Promise<BenchReport> {
  const phases = chosen('phases', values.phases, PHASES)
  const rounds = values.rounds === undefined ? size.rounds : Number(values.rounds)
  const plan = { rounds, slices: size.slices, count: size.count, inFlight: 8 }
  async function phase<Sample>(name: Phase, step: () => Promise<Sample[]>): Promise<Sample[]> {
    if (!phases.includes(name)) return []
    say(`phase ${name}`)
    return step()
  }
  const model = cpus()[0]?.model ?? 'unknown processor'
  const runtime = `Node ${process.version}, groups ${values.groups}`
  return {
    machine: `${model}, ${availableParallelism()} CPUs, ${runtime}`,
    settleMs: size.memory.settleMs,
    cpu: await phase('cpu', () => measureCpuPhase(bench, plain, plan, findings)),
    resumed: await phase('resumed', () => measureResumed(bench, plain, lineUp, plan, findings)),
    throughput: await phase('throughput', () => measureThroughput(bench, plain, size.loads)),
    eapol: await phase('eapol', () => measureEapolTest(bench, plain, trust, size.eapolRepeats)),
    memory: await phase('memory', () => measureMemory(bench, plain, size.memory)),
    ...findings,
  }
}

/** Conversations of our servers that did not end in an accept with equal keys, in all phases. */
function lostByUs(report: BenchReport): number {
  const samples = [...report.cpu, ...report.resumed, ...report.throughput, ...report.eapol]
  const own = samples.filter(({ server }) => isOurs(server))
  return own.reduce((sum, sample) => sum + sample.failed, 0)
}

async function main(): Promise<void> {
  const keys = chosen('servers', values.servers, Object.keys(SERVERS) as ServerKey[])
  const directory = mkdtempSync(join(tmpdir(), 'datanet-bench-'))
  const findings: Findings = { notes: [], faults: [] }
  const options: EntrantOptions = {
    directory,
    secret: randomBytes(18).toString('base64url'),
    cpu: 0,
    warmup: size.warmup,
    profile: values.profile,
    perf: values.perf !== undefined,
  }
  const started: Contestant[] = []
  try {
    const ours = keys.some((key) => isOurs(SERVERS[key]))
    const prepared = await prepare(options, ours, findings)
    const bench: Bench = {
      serverCpu: options.cpu,
      generatorCpu: availableParallelism() > 1 ? 1 : 0,
      secret: options.secret,
      groups: values.groups,
      credentials: prepared.credentials,
      say,
    }
    const here = keys.filter((key) => prepared.oursRuns || !isOurs(SERVERS[key]))
    const lineUp = lineUpOf(bench, options, prepared, findings, started)
    const report = await measure(bench, await lineUp(here, false), lineUp, prepared, findings)
    process.stdout.write(reportText(report))
    if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(report, null, 2))
    // A server that was asked for and left out, or a conversation of ours lost, is a failed run.
    if (findings.faults.length > 0 || lostByUs(report) > 0) process.exitCode = 1
  } finally {
    for (const contestant of started) await contestant.stop()
    rmSync(directory, { recursive: true, force: true })
  }
}

if (values.help) process.stdout.write(USAGE)
else {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
  await main()
}
