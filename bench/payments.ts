// `npm run bench:payments`: how many vouchers a second the payment door verifies and stores, one by
// one and in batches, what CPU each costs, how long an answer takes at a steady rate, how long the
// messages are; and ways to verify a voucher side by side. Owns the order of things and the report.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { cpus, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type Answer, closedLoop, openLoop, postRequest, type Target } from './http-load.ts'
import { paymentTexts } from './payers.ts'
import { compareVerifiers } from './payment-verifiers.ts'
import { cpuNanoseconds } from './schedstat.ts'
import { figure, median, percentile, table } from './table.ts'

const USAGE = `usage: npm run bench:payments -- [--quick] [--rounds N] [--profile DIR]
  --quick        a smoke test: every phase, figures that mean nothing
  --rounds N     repetitions of each phase (default 5)
  --profile DIR  run the server with --cpu-prof into DIR
The store is a file in $TMPDIR (default /tmp), which must not be a disk in memory.
`
const SERVER = fileURLToPath(new URL('./payments-server.ts', import.meta.url))
const BATCH = 1_000
const CONNECTIONS = 64
// Fewer than the batches between two vouchers of one payer, so that they stay in their order.
const BATCH_CONNECTIONS = 2
const STEADY_PER_SECOND = 1_000
const SYNCS = 200
const FULL = { payers: 4_000, warmUp: 4_000, singles: 10_000, batches: 15, steady: 10_000 }
const QUICK: typeof FULL = { payers: 1_000, warmUp: 500, singles: 500, batches: 1, steady: 500 }

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    profile: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})
const plan = values.quick ? QUICK : FULL
const rounds = Number(values.rounds ?? (values.quick ? 1 : 5))

interface Phase {
  readonly perSecond: number
  /** Of the server process, all threads. */
  readonly cpuUs: number
  readonly p50Ms: number
  readonly p99Ms: number
}
const PHASES = ['single', 'batch', 'steady'] as const
type PhaseName = (typeof PHASES)[number]
const TITLES: Readonly<Record<PhaseName, string>> = {
  single: `one by one, ${CONNECTIONS} connections`,
  batch: `batches of ${BATCH}, ${BATCH_CONNECTIONS} connections`,
  steady: `one by one at ${STEADY_PER_SECOND}/s`,
}

/** The longest seen of each. */
interface Sizes {
  body: number
  head: number
}

async function startServer(directory: string): Promise<{ child: ChildProcess; target: Target }> {
  const profile =
    values.profile === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', values.profile]
  const child = spawn(process.execPath, [...profile, SERVER, directory, String(plan.payers)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (child.stdout === null) throw new Error('the server has no output')
  const [first] = (await Promise.race([
    once(child.stdout, 'data'),
    once(child, 'exit').then(([code]) => Promise.reject(new Error(`the server ended: ${code}`))),
  ])) as [Buffer]
  return { child, target: { host: '127.0.0.1', port: Number(String(first)) } }
}

/** Runs one phase; every voucher in it must have been paid. */
async function measure(
  pid: number,
  vouchers: number,
  run: () => Promise<readonly Answer[]>,
): Promise<Phase> {
  const cpuBefore = cpuNanoseconds(pid)
  const startedAt = performance.now()
  const answers = await run()
  const seconds = (performance.now() - startedAt) / 1_000
  const cpu = cpuNanoseconds(pid) - cpuBefore
  const receipts = answers.reduce((sum, { body }) => sum + body.split('"receipt":').length - 1, 0)
  if (receipts !== vouchers) {
    const other = answers.find(({ status, body }) => status !== 200 || body.includes('"error"'))
    throw new Error(`${receipts} of ${vouchers} were paid: ${other?.body.slice(0, 300)}`)
  }
  const ms = answers.map((answer) => answer.ms)
  return {
    ...{ perSecond: vouchers / seconds, cpuUs: cpu / 1_000 / vouchers },
    ...{ p50Ms: percentile(ms, 0.5), p99Ms: percentile(ms, 0.99) },
  }
}

/** One run against one server: every phase in turn, as often as asked for. */
async function runAll(pid: number, target: Target) {
  const texts = paymentTexts(plan.payers)
  const take = (count: number): string[] => Array.from({ length: count }, () => texts.next().value)
  const single = (text: string): Buffer => postRequest(target, '/v1/payments', text)
  const request: Sizes = { body: 0, head: 0 }
  const answer: Sizes = { body: 0, head: 0 }
  const phases: Record<PhaseName, Phase[]> = { single: [], batch: [], steady: [] }

  const runners: Record<PhaseName, () => Promise<Phase>> = {
    single() {
      const ones = take(plan.singles)
      const ready = ones.map(single)
      for (const [n, { length }] of ready.entries()) {
        const body = ones[n]?.length ?? 0
        note(request, { body, head: length - body })
      }
      return measure(pid, plan.singles, async () => {
        const answers = await closedLoop(target, ready, CONNECTIONS)
        for (const { body, headBytes: head } of answers) note(answer, { body: body.length, head })
        return answers
      })
    },
    batch() {
      const ready = Array.from({ length: plan.batches }, () =>
        single(`{"payments":[${take(BATCH).join(',')}]}`),
      )
      const count = plan.batches * BATCH
      return measure(pid, count, () => closedLoop(target, ready, BATCH_CONNECTIONS))
    },
    steady() {
      const ready = take(plan.steady).map(single)
      return measure(pid, plan.steady, () =>
        openLoop(target, ready, STEADY_PER_SECOND, CONNECTIONS),
      )
    },
  }
  await closedLoop(target, take(plan.warmUp).map(single), CONNECTIONS)
  for (let round = 0; round < rounds; round++) {
    for (const name of PHASES) phases[name].push(await runners[name]())
  }
  return { phases, request, answer }
}

function note(sizes: Sizes, { body, head }: Sizes): void {
  sizes.body = Math.max(sizes.body, body)
  sizes.head = Math.max(sizes.head, head)
}

/** What every transaction waits for on this disk: a page appended to a file, and synced; ms. */
function syncTimes(directory: string): number[] {
  const file = openSync(join(directory, 'sync'), 'a')
  const page = Buffer.alloc(4_096, 1)
  try {
    return Array.from({ length: SYNCS }, () => {
      const startedAt = performance.now()
      writeSync(file, page)
      fdatasyncSync(file)
      return performance.now() - startedAt
    })
  } finally {
    closeSync(file)
  }
}

/** `median (lowest-highest)`. */
function spread(numbers: readonly number[], decimals: number): string {
  const [lowest, highest] = [Math.min(...numbers), Math.max(...numbers)]
  const range = `${figure(lowest, decimals)}-${figure(highest, decimals)}`
  return `${figure(median(numbers), decimals)} (${range})`
}

function report({ phases, request, answer }: Awaited<ReturnType<typeof runAll>>): string {
  const rows = PHASES.map((name) => {
    const of = (pick: (phase: Phase) => number, decimals: number): string =>
      spread(phases[name].map(pick), decimals)
    return [
      ...[TITLES[name], of(({ perSecond }) => perSecond, 0), of(({ cpuUs }) => cpuUs, 0)],
      ...[of(({ cpuUs }) => 1e6 / cpuUs, 0)],
      ...[of(({ p50Ms }) => p50Ms, 1), of(({ p99Ms }) => p99Ms, 1)],
    ]
  })
  const machine = `${cpus()[0]?.model ?? 'this machine'}, ${cpus().length} CPUs`
  const sizeRow = (name: string, { body, head }: Sizes): string[] => [
    ...[name, `${body}`, `${head}`, `${body + head}`],
  ]
  return [
    table(`Payments on ${machine}; median (lowest-highest) of ${rounds} rounds`, [
      ['phase', 'vouchers/s', 'CPU us each', 'each core/s', 'p50 ms', 'p99 ms'],
      ...rows,
    ]),
    table('Longest messages, bytes', [
      ['one payment', 'JSON body', 'HTTP head', 'together'],
      sizeRow('request', request),
      sizeRow('answer', answer),
    ]),
  ].join('\n')
}

async function main(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'datanet-bench-'))
  const syncs = syncTimes(directory)
  const [p50, p99] = [percentile(syncs, 0.5), percentile(syncs, 0.99)]
  const disk = `a write with fdatasync takes ${figure(p50, 2)} ms, p99 ${figure(p99, 2)} ms`
  process.stdout.write(`before: load average ${figure(loadavg()[0], 2)}; ${disk}\n\n`)
  const { child, target } = await startServer(directory)
  try {
    process.stdout.write(report(await runAll(child.pid ?? 0, target)))
  } finally {
    child.kill('SIGTERM')
    await once(child, 'exit')
    rmSync(directory, { recursive: true, force: true })
  }
  process.stdout.write(`\n${compareVerifiers(values.quick ? 10 : 100)}`)
}

if (values.help) process.stdout.write(USAGE)
else await main()
