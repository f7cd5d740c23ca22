// `npm run bench:eap`: our whole server beside FreeRADIUS and hostapd under the same EAP-TLS load,
// with the same certificates, on the same CPU. Owns the order of things and their end; measures
// nothing itself.

import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { makePki } from '../test/peer/certificates.ts'
import { type Bench, type Contestant, type ContestantPlan, enter } from './contestants.ts'
import { measureCpu } from './cpu.ts'
import { type Enrolment, enrol, freePorts, type OursOptions, startOurs } from './ours.ts'
import { startFreeRadius, startHostapd } from './peers.ts'
import { measureEapolTest, measureMemory, measureThroughput } from './phases.ts'
import { type BenchReport, reportText } from './report.ts'

const USAGE = `usage: npm run bench:eap -- [--quick] [--json FILE] [--servers LIST] [--phases LIST]
  --quick         a smoke test: every phase, figures that mean nothing
  --json FILE     write all samples to FILE
  --servers LIST  of datanet,freeradius,hostapd (default: all)
  --phases LIST   of cpu,throughput,memory,eapol (default: all)
  --rounds N      interleaved rounds of the CPU phase (default 8)
  --groups LIST   what the supplicants offer, the key share first (default P-256)
  --profile DIR   run our server with --cpu-prof into DIR
`
const OURS = 'Datanet'
const FRAGMENT_SIZE = 1400
// Enough that no account has many sessions; more would not fit the one fragment, see enrol().
const ACCOUNTS = 16
// hostapd serves 1,000 conversations and then none for a minute.
const HOSTAPD_CAPACITY = 950

const FULL = {
  rounds: 8,
  // Of 24 authentications each: a slice of all three servers takes some 0.15 s.
  slices: 16,
  count: 24,
  // V8 still compiles hot functions after some thousand authentications.
  warmup: { ours: 2000, others: 60 },
  loads: [
    { inFlight: 16, count: 1500 },
    { inFlight: 256, count: 1500 },
    { inFlight: 2000, count: 3000 },
  ],
  halfOpen: 2000,
  eapolRepeats: 40,
}
const QUICK: typeof FULL = {
  rounds: 1,
  slices: 2,
  count: 8,
  warmup: { ours: 20, others: 10 },
  loads: [{ inFlight: 16, count: 60 }],
  halfOpen: 100,
  eapolRepeats: 3,
}

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'string' },
    servers: { type: 'string', default: 'datanet,freeradius,hostapd' },
    phases: { type: 'string', default: 'cpu,throughput,memory,eapol' },
    rounds: { type: 'string' },
    groups: { type: 'string', default: 'P-256' },
    profile: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})

const say = (line: string): void => {
  process.stderr.write(`${line}\n`)
}

/**
 * Certificates of our server where it runs, else plain ones: the others can be measured without us.
 */
async function prepare(
  options: OursOptions,
  wanted: boolean,
  notes: string[],
): Promise<Enrolment & { readonly oursRuns: boolean }> {
  if (wanted) {
    try {
      const server = await startOurs({ ...options, nodeArguments: [] })
      try {
        return { ...(await enrol(options, ACCOUNTS)), oursRuns: true }
      } finally {
        await server.stop()
      }
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      say(`${OURS} is left out: ${why}`)
      notes.push(`${OURS} was left out: ${why}`)
    }
  }
  const directory = join(options.directory, 'pki')
  mkdirSync(directory, { recursive: true })
  const pki = makePki(directory, ACCOUNTS)
  const credentials = pki.clients.map((client) => ({ identity: 'anonymous@bench.test', ...client }))
  return {
    credentials,
    ...pki.server,
    caPem: pki.ca.certificatePem,
    serverName: pki.serverName,
    oursRuns: false,
  }
}

function plans(
  options: OursOptions,
  enrolment: Enrolment & { readonly oursRuns: boolean },
  warmup: typeof FULL.warmup,
): ContestantPlan[] {
  const { directory, secret, fragmentSize } = options
  const trusted = enrolment.oursRuns ? enrolment.credentials.map((c) => c.certificatePem) : []
  const clientCaPem = (trusted.length > 0 ? trusted : [enrolment.caPem]).join('\n')
  const { certificatePem, keyPem } = enrolment
  const cpu = options.cpu === undefined ? {} : { cpu: options.cpu }
  const others = { secret, certificatePem, keyPem, clientCaPem, fragmentSize, ...cpu }
  return [
    { name: OURS, capacity: Infinity, warmup: warmup.ours, start: () => startOurs(options) },
    {
      name: 'FreeRADIUS',
      capacity: Infinity,
      warmup: warmup.others,
      start: () => startFreeRadius({ ...others, directory: join(directory, 'freeradius') }),
    },
    {
      name: 'hostapd',
      capacity: HOSTAPD_CAPACITY,
      warmup: warmup.others,
      start: () => startHostapd({ ...others, directory: join(directory, 'hostapd') }),
    },
  ]
}

async function measure(
  bench: Bench,
  contestants: readonly Contestant[],
  trust: Enrolment,
  notes: readonly string[],
): Promise<BenchReport> {
  const size = values.quick ? QUICK : FULL
  const phases = values.phases.split(',')
  const rounds = values.rounds === undefined ? size.rounds : Number(values.rounds)
  const plan = { rounds, slices: size.slices, count: size.count, inFlight: 8 }
  const has = (phase: string): boolean => {
    if (phases.includes(phase)) say(`phase ${phase}`)
    return phases.includes(phase)
  }
  const model = cpus()[0]?.model ?? 'unknown processor'
  const runtime = `Node ${process.version}, groups ${values.groups}`
  return {
    machine: `${model}, ${availableParallelism()} CPUs, ${runtime}`,
    ours: OURS,
    notes,
    cpu: has('cpu') ? await measureCpu(bench, contestants, plan) : [],
    throughput: has('throughput') ? await measureThroughput(bench, contestants, size.loads) : [],
    eapol: has('eapol') ? await measureEapolTest(bench, contestants, trust, size.eapolRepeats) : [],
    memory: has('memory') ? await measureMemory(bench, contestants, size.halfOpen) : [],
  }
}

/** Conversations of our server that did not end in an accept with equal keys, in all phases. */
function lostByUs(report: BenchReport): number {
  const samples = [...report.cpu, ...report.throughput, ...report.eapol]
  const own = samples.filter((sample) => sample.server === OURS)
  return own.reduce((sum, sample) => sum + sample.failed, 0)
}

/** The servers of --servers that start and answer; one that does not is a note, not an end. */
async function lineUp(
  bench: Bench,
  planned: readonly ContestantPlan[],
  notes: string[],
): Promise<Contestant[]> {
  const line: Contestant[] = []
  for (const plan of planned) {
    const contestant = enter(plan, bench)
    try {
      await contestant.fresh()
      line.push(contestant)
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      say(`${plan.name} is left out: ${why}`)
      notes.push(`${plan.name} was left out: ${why}`)
      await contestant.stop()
    }
  }
  return line
}

async function main(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'datanet-bench-'))
  const notes: string[] = []
  const wanted = values.servers.split(',')
  const cpuCount = availableParallelism()
  const options: OursOptions = {
    directory: join(directory, 'datanet'),
    secret: randomBytes(18).toString('base64url'),
    fragmentSize: FRAGMENT_SIZE,
    perMinute: '0',
    cpu: 0,
    ports: await freePorts(),
    nodeArguments:
      values.profile === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', values.profile],
  }
  let contestants: Contestant[] = []
  try {
    const enrolment = await prepare(options, wanted.includes('datanet'), notes)
    const bench: Bench = {
      serverCpu: 0,
      generatorCpu: cpuCount > 1 ? 1 : 0,
      secret: options.secret,
      groups: values.groups,
      credentials: enrolment.credentials,
      say,
    }
    const size = values.quick ? QUICK : FULL
    const planned = plans(options, enrolment, size.warmup).filter(
      ({ name }) => wanted.includes(name.toLowerCase()) && (name !== OURS || enrolment.oursRuns),
    )
    contestants = await lineUp(bench, planned, notes)
    const report = await measure(bench, contestants, enrolment, notes)
    process.stdout.write(reportText(report))
    if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(report, null, 2))
    // A server that was asked for and left out, or a conversation of ours lost, is a failed run.
    if (notes.length > 0 || lostByUs(report) > 0) process.exitCode = 1
  } finally {
    for (const contestant of contestants) await contestant.stop()
    rmSync(directory, { recursive: true, force: true })
  }
}

if (values.help) process.stdout.write(USAGE)
else {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
  await main()
}
