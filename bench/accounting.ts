// `npm run bench:accounting`: our whole server beside FreeRADIUS with its detail file and with its
// SQL module under the same Interim-Updates of the same sessions. Owns the order of things and
// their end, and the text that comes out; measures nothing itself.

import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { AttributeType } from '../radius/attribute-type.ts'
import { authenticate } from '../test/peer/peer.ts'
import { createSupplicant } from '../test/peer/tls.ts'
import { openTransport } from '../test/peer/transport.ts'
import { startFreeRadiusAccounting } from './accounting-peers.ts'
import {
  type AccountingContestant,
  type AccountingGenerator,
  type AccountingSample,
  measureAccounting,
  openAccountingGenerator,
  warmUp,
} from './accounting-phases.ts'
import { enrol, freePorts, type OursOptions, startOurs } from './ours.ts'
import type { RunningServer } from './peers.ts'
import { figure, median, ratio, table } from './table.ts'

const USAGE = `usage: npm run bench:accounting -- [--quick] [--json FILE] [--rounds N]
  --quick         a smoke test: every phase, figures that mean nothing
  --json FILE     write all samples to FILE
  --rounds N      interleaved rounds of each phase (default 8)
  --servers LIST  of datanet,detail,shipped,sqlite (default: all)
  --profile DIR   run our server with --cpu-prof into DIR
`
const OURS = 'Datanet'
const ACCOUNTS = 16
const SQL_PART = 1 / 20
/** Nobody pays while this runs: all of it is within one interval. */
const TERMS = ', interval: 1h, interval_megabytes: 1000'

const FULL = {
  sessions: 256,
  // V8 compiles the last hot functions after some 20,000; FreeRADIUS has nothing to compile.
  warmup: 30_000,
  cpu: { rounds: 8, slices: 8, count: 1000, inFlight: 64 },
  throughput: { rounds: 3, slices: 1, count: 10_000 },
  windows: [16, 64, 512],
}
const QUICK: typeof FULL = {
  sessions: 16,
  warmup: 200,
  cpu: { rounds: 1, slices: 2, count: 200, inFlight: 64 },
  throughput: { rounds: 1, slices: 1, count: 400 },
  windows: [64],
}

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'string' },
    rounds: { type: 'string' },
    servers: { type: 'string', default: 'datanet,detail,shipped,sqlite' },
    profile: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})

const say = (line: string): void => {
  process.stderr.write(`${line}\n`)
}

/** Opens sessions as devices do, by EAP-TLS, and gives the Class of each. */
async function openSessions(
  options: OursOptions,
  server: RunningServer,
  count: number,
): Promise<string[]> {
  const { credentials } = await enrol(options, ACCOUNTS)
  const supplicants = credentials.map((credential) =>
    createSupplicant({ tlsMin: '1.3', tlsMax: '1.3', groups: 'P-256', ...credential }),
  )
  const secret = Buffer.from(options.secret)
  const transport = openTransport({ host: '127.0.0.1', port: server.port, secret })
  const classes: string[] = []
  for (let number = 0; number < count; number++) {
    const supplicant = supplicants[number % supplicants.length]
    if (supplicant === undefined) throw new Error('no device is enrolled')
    const { outcome, attributes } = await authenticate({
      ...{ transport, supplicant, identity: 'anonymous@bench.test' },
      callingStationId: stationOf(number),
      attributes: [{ type: AttributeType.nasIdentifier, value: Buffer.from('ap1.bench.test') }],
    })
    const found = attributes.find(({ type }) => type === AttributeType.class)
    if (outcome !== 'accept' || found === undefined) throw new Error(`login ${number}: ${outcome}`)
    classes.push(found.value.toString('latin1'))
  }
  transport.close()
  return classes
}

/** Equal to the stations of the load, which are counted the same way. */
function stationOf(session: number): string {
  const octets = Buffer.alloc(6)
  octets[0] = 2
  octets.writeUInt32BE(session, 2)
  return (octets.toString('hex').match(/../g) ?? []).join('-').toUpperCase()
}

async function startContestant(
  name: string,
  directory: string,
  secret: string,
  sessions: number,
): Promise<AccountingContestant> {
  if (name === 'datanet') {
    const nodeArguments =
      values.profile === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', values.profile]
    const ports = await freePorts()
    const where = { directory: join(directory, name), secret, ports, cpu: 0 }
    const options = {
      ...where,
      fragmentSize: 1400,
      perMinute: '0.000001',
      terms: TERMS,
      nodeArguments,
    }
    const server = await startOurs(options)
    const classes = await openSessions(options, server, sessions).catch(async (error) => {
      await server.stop()
      throw error
    })
    return { name: OURS, server: { ...server, port: ports.accounting }, classes, part: 1 }
  }
  if (name !== 'detail' && name !== 'sqlite' && name !== 'shipped') {
    throw new Error(`no server ${name}`)
  }
  const options = { directory: join(directory, name), secret, keeping: name, cpu: 0 } as const
  const server = await startFreeRadiusAccounting(options)
  const made = Array.from({ length: sessions }, () => `ai:${randomBytes(16).toString('hex')}`)
  return { name: server.name, server, classes: made, part: name === 'sqlite' ? SQL_PART : 1 }
}

async function measure(
  contestants: readonly AccountingContestant[],
  generators: { readonly beside: AccountingGenerator; readonly apart: AccountingGenerator },
): Promise<AccountingSample[]> {
  const size = values.quick ? QUICK : FULL
  const rounds = values.rounds === undefined ? {} : { rounds: Number(values.rounds) }
  for (const contestant of contestants) {
    await warmUp(generators.apart, contestant, Math.round(size.warmup * contestant.part))
  }
  say('phase cpu')
  const plan = { ...size.cpu, ...rounds }
  const samples = await measureAccounting('cpu', generators.beside, contestants, plan, say)
  for (const inFlight of size.windows) {
    say(`phase throughput, ${inFlight} in flight`)
    const windowed = { ...size.throughput, ...rounds, inFlight }
    const { apart } = generators
    samples.push(...(await measureAccounting('throughput', apart, contestants, windowed, say)))
  }
  return samples
}

const HEADING = ['server', 'in flight', 'us median', 'lowest', 'highest', '1/s median', 'lowest']
const TITLES = {
  cpu: 'CPU of the server per acknowledged record (one CPU for all, slices interleaved)',
  throughput: 'Records a second, server and generator on a CPU each',
}

function tableOf(samples: readonly AccountingSample[], phase: AccountingSample['phase']): string {
  const rows = [[...HEADING, 'p50 ms', 'p99 ms', 'lost', 'CPU ours/this', '1/s ours/this']]
  const here = samples.filter((sample) => sample.phase === phase)
  for (const inFlight of new Set(here.map((sample) => sample.inFlight))) {
    const at = here.filter((sample) => sample.inFlight === inFlight)
    const of = (server: string) => at.filter((sample) => sample.server === server)
    const ours = of(OURS)
    for (const server of new Set(at.map((sample) => sample.server))) {
      const own = of(server)
      const cpu = own.map(({ us }) => us)
      const rate = own.map(({ perSecond }) => perSecond)
      const isOther = server !== OURS && ours.length > 0
      const oursUs = median(ours.map(({ us }) => us))
      const oursRate = median(ours.map(({ perSecond }) => perSecond))
      rows.push([
        ...[server, String(inFlight), figure(median(cpu), 1), figure(Math.min(...cpu), 1)],
        ...[figure(Math.max(...cpu), 1), figure(median(rate)), figure(Math.min(...rate))],
        figure(median(own.map(({ p50Ms }) => p50Ms)), 1),
        figure(median(own.map(({ p99Ms }) => p99Ms)), 1),
        String(own.reduce((sum, { lost }) => sum + lost, 0)),
        isOther ? ratio(oursUs, median(cpu)) : '',
        isOther ? ratio(oursRate, median(rate)) : '',
      ])
    }
  }
  return table(TITLES[phase], rows)
}

const LEGEND = `Each record is an Interim-Update as hostapd sends it, with counters of its own. Datanet answers when
the record, the session and what it owes are on disk (fsync); FreeRADIUS's detail file is written
and not synced: alone (detail) or in the accounting section that Debian ships (shipped); its SQL
module commits one SQLite transaction a record. us: user and system time of
the process with all its threads. Under 10 % is a draw: this method does not resolve less.
`

async function main(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'datanet-bench-'))
  const secret = randomBytes(18).toString('base64url')
  const contestants: AccountingContestant[] = []
  const beside = openAccountingGenerator(0)
  const apart = openAccountingGenerator(availableParallelism() > 1 ? 1 : 0)
  try {
    const { sessions } = values.quick ? QUICK : FULL
    for (const name of values.servers.split(',')) {
      contestants.push(await startContestant(name, directory, secret, sessions))
    }
    const samples = await measure(contestants, { beside, apart })
    const model = cpus()[0]?.model ?? 'unknown processor'
    const machine = `${model}, ${availableParallelism()} CPUs, Node ${process.version}`
    const tables = [tableOf(samples, 'cpu'), tableOf(samples, 'throughput')]
    process.stdout.write(`${[machine, ...tables, LEGEND].join('\n')}`)
    if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(samples, null, 2))
    // A record of ours that is lost or wrongly signed is a failed run.
    const bad = samples.some((one) => one.server === OURS && one.lost + one.wrong > 0)
    if (bad) process.exitCode = 1
  } finally {
    beside.close()
    apart.close()
    for (const { server } of contestants) await server.stop()
    rmSync(directory, { recursive: true, force: true })
  }
}

if (values.help) process.stdout.write(USAGE)
else {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
  await main()
}
