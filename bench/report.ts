// The benchmark's figures as one readable text: medians, paired ratios with their verdict, and what
// to make of them. Pure. Called by eap.ts.

import type { CpuSample } from './cpu.ts'
import type { MemorySample } from './memory.ts'
import { resumedName, SERVERS } from './names.ts'
import type { ThroughputSample } from './phases.ts'
import { figure, median, ratio, table } from './table.ts'

/** All that one run of the benchmark found; also what --json writes. */
export interface BenchReport {
  readonly machine: string
  /** How long a server came to rest before its memory was read. */
  readonly settleMs: number
  readonly notes: readonly string[]
  /** What makes the run a failed one. */
  readonly faults: readonly string[]
  readonly cpu: readonly CpuSample[]
  /** CPU again, servers with resumption beside the same without. */
  readonly resumed: readonly CpuSample[]
  readonly throughput: readonly ThroughputSample[]
  readonly memory: readonly MemorySample[]
  readonly eapol: readonly CpuSample[]
}

const VERSIONS = ['1.2', '1.3'] as const

const names = (samples: readonly { readonly server: string }[]): string[] => [
  ...new Set(samples.map((sample) => sample.server)),
]

const samplesOf = (samples: readonly CpuSample[], server: string, tls: string): CpuSample[] =>
  samples.filter((sample) => sample.server === server && sample.tls === tls)

/** The one divided by the other in each round that has both. */
export function pairedRatios(
  samples: readonly CpuSample[],
  one: string,
  other: string,
  tls: string,
): number[] {
  const others = new Map(samplesOf(samples, other, tls).map(({ round, us }) => [round, us]))
  const ratios = samplesOf(samples, one, tls).map(
    ({ round, us }) => us / (others.get(round) ?? Number.NaN),
  )
  return ratios.filter(Number.isFinite)
}

/** Without the rounds in which a server that was to resume did not do so every time. */
const asNamed = (samples: readonly CpuSample[]): CpuSample[] => {
  const plain = new Set<string>(Object.values(SERVERS))
  return samples.filter(({ server, resumed, done }) => plain.has(server) || resumed === done)
}

/** What there is to say of servers that were to resume and did not, in every conversation. */
export function notResumed(samples: readonly CpuSample[], servers: readonly string[]): string[] {
  return servers.flatMap((server) =>
    VERSIONS.flatMap((tls) => {
      const own = samplesOf(samples, server, tls)
      const done = own.reduce((sum, sample) => sum + sample.done, 0)
      const resumed = own.reduce((sum, sample) => sum + sample.resumed, 0)
      if (done > 0 && resumed === done) return []
      return [`${server}, TLS ${tls}: only ${resumed} of ${done} were resumed`]
    }),
  )
}

const CPU_HEADING = [
  'server',
  'TLS',
  'us median',
  'lowest',
  'highest',
  'between',
  'children',
  'trips',
  'rounds',
  'failed',
  'resumed',
]

function cpuTable(title: string, samples: readonly CpuSample[]): string {
  const rows = [CPU_HEADING]
  for (const tls of VERSIONS) {
    for (const server of names(samples)) {
      const own = samplesOf(samples, server, tls)
      if (own.length === 0) continue
      const times = own.map((sample) => sample.us)
      const sum = (of: 'done' | 'failed' | 'resumed') =>
        own.reduce((total, sample) => total + sample[of], 0)
      rows.push([
        server,
        tls,
        figure(median(times)),
        figure(Math.min(...times)),
        figure(Math.max(...times)),
        figure(median(own.map((sample) => sample.betweenUs))),
        figure(median(own.map((sample) => sample.childrenUs))),
        figure(median(own.map((sample) => sample.rounds)), 1),
        String(own.length),
        String(sum('failed')),
        `${sum('resumed')} of ${sum('done')}`,
      ])
    }
  }
  return table(title, rows)
}

/** One line of the comparison, and what the project wants of it. */
interface Comparison {
  readonly one: string
  readonly other: string
  /** At most this, by TLS version; absent: nothing is asked for. */
  readonly atMost?: Readonly<Partial<Record<(typeof VERSIONS)[number], number>>>
}

const FULL_COMPARISONS: readonly Comparison[] = [
  { one: SERVERS.datanet, other: SERVERS.freeradius, atMost: { '1.3': 0.5 } },
  { one: SERVERS.datanet, other: SERVERS.hostapd, atMost: { '1.3': 0.65 } },
  { one: SERVERS.datanet, other: SERVERS['datanet-node'] },
  { one: SERVERS['datanet-node'], other: SERVERS.freeradius },
  { one: SERVERS['datanet-node'], other: SERVERS.hostapd },
]

const resumedOf = (server: string, other: string): Comparison => ({
  one: resumedName(server),
  other,
})

const RESUMED_COMPARISONS: readonly Comparison[] = [
  { ...resumedOf(SERVERS.datanet, SERVERS.datanet), atMost: { '1.2': 0.6, '1.3': 0.6 } },
  resumedOf(SERVERS.freeradius, SERVERS.freeradius),
  resumedOf(SERVERS.hostapd, SERVERS.hostapd),
  resumedOf(SERVERS.datanet, resumedName(SERVERS.freeradius)),
  resumedOf(SERVERS.datanet, resumedName(SERVERS.hostapd)),
]

function ratioTable(samples: readonly CpuSample[], comparisons: readonly Comparison[]): string {
  const rows = [['ratio', 'TLS', 'paired', 'lowest', 'highest', 'of medians', 'rounds', 'at most']]
  for (const tls of VERSIONS) {
    for (const { one, other, atMost } of comparisons) {
      const pairs = pairedRatios(samples, one, other, tls)
      if (pairs.length === 0) continue
      const middle = (server: string) => median(samplesOf(samples, server, tls).map((s) => s.us))
      rows.push([
        `${one} / ${other}`,
        tls,
        ratio(median(pairs), 1),
        figure(Math.min(...pairs), 2),
        figure(Math.max(...pairs), 2),
        figure(middle(one) / middle(other), 2),
        String(pairs.length),
        figure(atMost?.[tls], 2),
      ])
    }
  }
  return rows.length > 1 ? table('Ratios of CPU', rows) : ''
}

function throughputTable(report: BenchReport): string {
  const rows = [['server', 'in flight', 'of', 'auth/s', 'p50 ms', 'p99 ms', 'lost', 'retransmits']]
  for (const sample of report.throughput) {
    rows.push([
      sample.server,
      String(sample.inFlight),
      String(sample.count),
      figure(sample.authPerSecond),
      figure(sample.p50Ms),
      figure(sample.p99Ms),
      String(sample.failed),
      String(sample.retransmits),
    ])
  }
  return table('Throughput, TLS 1.3, server and generator on different CPUs', rows)
}

function memoryTable(report: BenchReport): string {
  const rows = [
    [
      ...['server', 'TLS', 'KB each', 'further', 'ended', 'batches', 'conversations'],
      ...['idle MB', 'children MB'],
    ],
  ]
  for (const sample of report.memory) {
    rows.push([
      sample.server,
      sample.tls,
      figure(sample.halfOpenBytes / 1e3, 1),
      figure(sample.furtherBytes / 1e3, 1),
      figure(sample.endedBytes / 1e3, 1),
      String(sample.endedBatches),
      String(sample.count),
      figure(sample.idleBytes / 1e6),
      figure(sample.childrenBytes / 1e6),
    ])
  }
  return table('Resident memory per half-open conversation (KB: 1,000 bytes)', rows)
}

const CPU_LEGEND = `us: CPU of the server process, user and system, per finished authentication; one figure a round,
over many short slices in which the servers take turns. Between: what it used outside of its
slices. Children: the embedded chain of Datanet; neither is part of us. Trips: RADIUS exchanges.
Paired: median of the ratios within each round; lowest and highest of them; of medians: the ratio of
the two medians over all rounds. Under 10 % is a draw: this method does not resolve less.
At most: what this project asks of itself, on a quiet machine and over 6 rounds or more.
`

const memoryLegend = (settleMs: number): string =>
  `Memory: growth of the server's resident set (VmRSS, all of the process), divided by the number of
conversations left after the first fragment of the server's flight. A process of its own for each
line: warmed up, then batches of as many whole conversations until one adds next to nothing, 6 at
most, then the half-open ones (KB each), then twice as many more (further: nothing the process had
kept from before can hide those). Read after ${settleMs / 1000} s of rest each time, median of 9 readings. Ended:
the control, growth per whole conversation in the last batch before; it is not subtracted. Where it
is not small, the heap still grew and KB each is no more certain than that; further is the better one.
`

const RESUMED_LEGEND = `Resumed: each station offers the session of its last login; one of FreeRADIUS, which finds only those
again, that of its last full login. A server that did not resume every time is in no ratio.
`

/** The whole text. */
export function reportText(report: BenchReport): string {
  const { machine, cpu, resumed, throughput, memory, eapol, notes, faults } = report
  const parts = [`${machine}\n`]
  if (cpu.length > 0) {
    const title =
      'CPU of the server per full EAP-TLS authentication (one CPU for all, slices interleaved)'
    parts.push(cpuTable(title, cpu), ratioTable(cpu, FULL_COMPARISONS))
  }
  if (resumed.length > 0) {
    const title =
      'CPU per resumed EAP-TLS authentication, beside the same servers without resumption'
    parts.push(cpuTable(title, resumed), ratioTable(asNamed(resumed), RESUMED_COMPARISONS))
  }
  if (throughput.length > 0) parts.push(throughputTable(report))
  if (eapol.length > 0) {
    const title = 'CPU per full authentication under eapol_test, one after another'
    parts.push(cpuTable(title, eapol), ratioTable(eapol, FULL_COMPARISONS))
  }
  if (cpu.length + resumed.length + eapol.length > 0) parts.push(CPU_LEGEND)
  if (resumed.length > 0) parts.push(RESUMED_LEGEND)
  if (memory.length > 0) parts.push(memoryTable(report), memoryLegend(report.settleMs))
  for (const note of notes) parts.push(`Note: ${note}`)
  for (const fault of faults) parts.push(`FAILED: ${fault}`)
  return `${parts.join('\n')}\n`
}
