// The benchmark's figures as one readable text: medians, ratios with their verdict, and what to
// make of them. Pure. Called by eap.ts.

import type { CpuSample, MemorySample, ThroughputSample } from './phases.ts'
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

/** Median over the rounds of ours divided by theirs, each pair from one round. */
export function pairedRatio(
  samples: readonly CpuSample[],
  ours: string,
  server: string,
  tls: string,
) {
  const of = (name: string): CpuSample[] =>
    samples.filter((sample) => sample.server === name && sample.tls === tls)
  const theirs = new Map(of(server).map((sample) => [sample.round, sample.us]))
  const ratios = of(ours).map((sample) => sample.us / (theirs.get(sample.round) ?? Number.NaN))
  return median(ratios.filter(Number.isFinite))
}

const CPU_HEADING = ['server', 'TLS', 'us median', 'best', 'children', 'rounds', 'runs', 'failed']

function cpuTable(title: string, report: BenchReport, samples: readonly CpuSample[]): string {
  const rows = [[...CPU_HEADING, 'ours/this', 'paired']]
  for (const tls of ['1.2', '1.3']) {
    for (const server of names(samples)) {
      const own = samples.filter((sample) => sample.server === server && sample.tls === tls)
      const times = own.map((sample) => sample.us)
      const failed = own.reduce((sum, sample) => sum + sample.failed, 0)
      const other = server !== report.ours
      rows.push([
        server,
        tls,
        figure(median(times)),
        figure(Math.min(...times)),
        figure(median(own.map((sample) => sample.childrenUs))),
        figure(median(own.map((sample) => sample.rounds)), 1),
        String(own.length),
        String(failed),
        other ? ratio(cpuMedian(samples, report.ours, tls), median(times)) : '',
        other ? figure(pairedRatio(samples, report.ours, server, tls), 2) : '',
      ])
    }
  }
  return table(title, rows)
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

/** The whole text. */
export function reportText(report: BenchReport): string {
  const parts = [`${report.machine}\n`]
  if (report.cpu.length > 0) {
    const title = 'CPU of the server per full EAP-TLS authentication (one CPU for all, interleaved)'
    parts.push(cpuTable(title, report, report.cpu))
  }
  if (report.throughput.length > 0) parts.push(throughputTable(report))
  if (report.memory.length > 0) parts.push(memoryTable(report))
  if (report.eapol.length > 0) {
    parts.push(
      cpuTable('CPU per authentication under eapol_test, one after another', report, report.eapol),
    )
  }
  parts.push(
    'Children: us of the embedded chain of Datanet, not part of its figure. Paired: median of',
  )
  parts.push(
    'the ratios within each round. Under 10 % is a draw: this method does not resolve less.',
  )
  for (const note of report.notes) parts.push(`Note: ${note}`)
  return `${parts.join('\n')}\n`
}
