// The benchmark's figures as one readable text: medians, ratios with their verdict, and what to
// make of them. Pure. Called by eap.ts.

import type { CpuSample } from './cpu.ts'
import type { MemorySample, ThroughputSample } from './phases.ts'
import { figure, median, ratio, table } from './table.ts'

/** All that one run of the benchmark found; also what --json writes. */
export interface BenchReport {
  readonly machine: string
  /** Name of our server among the samples. */
  readonly ours: string
  readonly notes: readonly string[]
  readonly cpu: readonly CpuSample[]
  readonly throughput: readonly ThroughputSample[]
  readonly memory: readonly MemorySample[]
  readonly eapol: readonly CpuSample[]
}

const names = (samples: readonly { readonly server: string }[]): string[] => [
  ...new Set(samples.map((sample) => sample.server)),
]

/** Medians of the CPU samples of one server and version, microseconds. */
export function cpuMedian(samples: readonly CpuSample[], server: string, tls: string): number {
  return median(samples.filter((s) => s.server === server && s.tls === tls).map((s) => s.us))
}

/** Ours divided by theirs in each round that has both. */
export function pairedRatios(
  samples: readonly CpuSample[],
  ours: string,
  server: string,
  tls: string,
): number[] {
  const of = (name: string): CpuSample[] =>
    samples.filter((sample) => sample.server === name && sample.tls === tls)
  const theirs = new Map(of(server).map((sample) => [sample.round, sample.us]))
  const ratios = of(ours).map((sample) => sample.us / (theirs.get(sample.round) ?? Number.NaN))
  return ratios.filter(Number.isFinite)
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
]

function cpuTable(title: string, report: BenchReport, samples: readonly CpuSample[]): string {
  const rows = [[...CPU_HEADING, 'ours/this', 'paired', 'spread']]
  for (const tls of ['1.2', '1.3']) {
    for (const server of names(samples)) {
      const own = samples.filter((sample) => sample.server === server && sample.tls === tls)
      const times = own.map((sample) => sample.us)
      const failed = own.reduce((sum, sample) => sum + sample.failed, 0)
      const other = server !== report.ours
      const pairs = pairedRatios(samples, report.ours, server, tls)
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
        String(failed),
        other ? ratio(cpuMedian(samples, report.ours, tls), median(times)) : '',
        other ? figure(median(pairs), 2) : '',
        other && pairs.length > 0 ? spread(pairs) : '',
      ])
    }
  }
  return table(title, rows)
}

const spread = (values: readonly number[]): string =>
  `${figure(Math.min(...values), 2)}-${figure(Math.max(...values), 2)}`

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
  const rows = [['server', 'idle MB', 'children MB', 'half-open', 'MB per 1,000 half-open']]
  for (const sample of report.memory) {
    rows.push([
      sample.server,
      figure(sample.idleBytes / 1e6),
      figure(sample.childrenBytes / 1e6),
      String(sample.halfOpen),
      figure(sample.growthPer1000Bytes / 1e6, 1),
    ])
  }
  return table(
    'Resident memory: fresh and warm, then conversations left after the server flight',
    rows,
  )
}

const LEGEND = `us: CPU of the server process, user and system, per finished authentication; one figure a round,
over many short slices in which the servers take turns. Between: what it used outside of its
slices. Children: the embedded chain of Datanet; neither is part of us. Trips: RADIUS exchanges.
ours/this: ratio of the two medians over the rounds. Paired: median of the ratios within each round,
spread: the lowest and the highest of them. Under 10 % is a draw: this method does not resolve less.
`

/** The whole text. */
export function reportText(report: BenchReport): string {
  const parts = [`${report.machine}\n`]
  if (report.cpu.length > 0) {
    const title =
      'CPU of the server per full EAP-TLS authentication (one CPU for all, slices interleaved)'
    parts.push(cpuTable(title, report, report.cpu))
  }
  if (report.throughput.length > 0) parts.push(throughputTable(report))
  if (report.memory.length > 0) parts.push(memoryTable(report))
  if (report.eapol.length > 0) {
    parts.push(
      cpuTable('CPU per authentication under eapol_test, one after another', report, report.eapol),
    )
  }
  parts.push(LEGEND)
  for (const note of report.notes) parts.push(`Note: ${note}`)
  return `${parts.join('\n')}\n`
}
