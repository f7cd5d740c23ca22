// `npm run bench:attestation`: what it costs to check a signed usage report, how long one is, and
// what verifying an attestation costs, scheme by scheme. CPU of this process alone. Owns the order
// of things and the report, and fails where an aim is missed; attestation-schemes.ts has the
// evidence, attestation-door.ts the server's own door.

import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { cpus, loadavg } from 'node:os'
import { parseArgs } from 'node:util'
import { p256 } from '@noble/curves/nist.js'
import { pointOfJwk, publicKeyOf } from '../attestation/p256.ts'
import {
  checkReport,
  encodeReport,
  isSignedBy,
  type LastReport,
  readReport,
  reportEvidence,
  reportMessage,
  type SignedReport,
} from '../attestation/usage-report.ts'
import { doorOf, type Signer } from './attestation-door.ts'
import { schemeSlots } from './attestation-schemes.ts'
import { figure, median, table } from './table.ts'

const USAGE = `usage: npm run bench:attestation -- [--quick] [--rounds N]
  --quick     a smoke test: figures that mean nothing
  --rounds N  repetitions of each measurement (default 7)
`
/** What a report may cost the server. */
const AIM_US = 200
const NOW = 1_764_000_000

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})
const rounds = Number(values.rounds ?? (values.quick ? 1 : 7))
const devices = values.quick ? 20 : 500
const repeats = values.quick ? 2 : 200

interface Sample {
  /** As it stands in a request's body. */
  readonly text: string
  readonly last: LastReport
  readonly nonce: Buffer
  readonly point: Buffer
  readonly key: KeyObject
}

/** A device of its own with its second report. */
function sampleOf(n: number): Sample {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const point = pointOfJwk(publicKey.export({ format: 'jwk' }))
  const key = point === undefined ? undefined : publicKeyOf(point)
  if (point === undefined || key === undefined) throw new Error('a new key is no key')
  const nonce = Buffer.alloc(16, n)
  const last = { sequence: 1, time: NOW - 60, inputOctets: 0n, outputOctets: 0n }
  const octets = encodeReport({
    ...{ session: n.toString(16).padStart(32, '0'), sequence: 2, time: NOW, nonce },
    ...{ inputOctets: BigInt(n) * 1_000n, outputOctets: 98_765_432n },
  })
  const signature = sign('sha256', reportMessage(octets), {
    ...{ key: privateKey, dsaEncoding: 'ieee-p1363' },
  })
  const evidence = reportEvidence(octets, { form: 'signature', octets: signature })
  return { text: JSON.stringify(evidence), last, nonce, point, key }
}

function isTaken(
  { text, last, nonce }: Sample,
  isProven: (signed: SignedReport) => boolean,
): boolean {
  const signed = readReport(JSON.parse(text))
  const expected = { nonces: [nonce], nowSeconds: NOW }
  return signed !== undefined && isProven(signed) && checkReport(signed.report, last, expected).ok
}

const withKey = (sample: Sample): boolean =>
  isTaken(sample, (signed) => isSignedBy(sample.key, signed))

function withNewKey(sample: Sample): boolean {
  const key = publicKeyOf(sample.point)
  return key !== undefined && isTaken(sample, (signed) => isSignedBy(key, signed))
}

const byNoble = (sample: Sample): boolean =>
  isTaken(sample, ({ message, proof }) =>
    p256.verify(proof.octets, message, sample.point, { lowS: false }),
  )

/** CPU of each call in microseconds. */
async function cpuEach(count: number, call: (index: number) => unknown): Promise<number> {
  const before = process.cpuUsage()
  for (let index = 0; index < count; index++) {
    if ((await call(index)) !== true) throw new Error('good evidence was refused')
  }
  const used = process.cpuUsage(before)
  return (used.user + used.system) / count
}

/** How often each is called in all, with the calls before the first round. */
const callsOf = (count: number): number => Math.ceil(count / 10) + rounds * count

/** Medians over the rounds, in turns: a busy machine changes its speed for seconds at a time. */
async function medians(
  contestants: readonly (readonly [string, number, (index: number) => unknown])[],
): Promise<(readonly [string, number])[]> {
  const figures = contestants.map((): number[] => [])
  for (const [, count, call] of contestants) await cpuEach(Math.ceil(count / 10), call)
  for (let round = 0; round < rounds; round++) {
    for (const [index, [, count, call]] of contestants.entries()) {
      figures[index]?.push(await cpuEach(count, call))
    }
  }
  return contestants.map(([name], index) => [name, median(figures[index] ?? [])])
}

async function compareReports(): Promise<string> {
  const samples = Array.from({ length: devices }, (_, n) => sampleOf(n))
  const on = (judge: (sample: Sample) => boolean) => (index: number) => {
    const sample = samples[index % samples.length]
    return sample !== undefined && judge(sample)
  }
  const rows = await medians([
    ['ours, key kept', devices * 4, on(withKey)],
    ['ours, key made anew', devices, on(withNewKey)],
    ['noble', Math.ceil(devices / 5), on(byNoble)],
    ['all but the signature', devices * 4, on((sample) => isTaken(sample, () => true))],
  ])
  const ours = rows[0]?.[1] ?? Number.NaN
  return [
    table('One signed usage report, from JSON to verdict', [
      ['by', 'CPU us', 'times ours'],
      ...rows.map(([name, us]) => [name, figure(us, 1), figure(us / ours, 2)]),
    ]),
    aim('a report', ours),
  ].join('\n')
}

/** Says whether it was kept, and fails the run where not; what is a smoke test judges nothing. */
function aim(what: string, us: number): string {
  const isKept = us < AIM_US
  if (!isKept && !values.quick) process.exitCode = 1
  return `Aim: under ${AIM_US} us of CPU for ${what}: ${isKept ? 'kept' : 'MISSED'}.`
}

/** Keys of the account, and which of them signs; the last is refused, whatever it costs. */
const DOORS: readonly (readonly [string, number, Signer])[] = [
  ['one key', 1, 0],
  ['four keys, by the newest', 4, 3],
  ['four keys, by the oldest, which signed before', 4, 0],
  ['four keys, by a stranger', 4, 'stranger'],
]

async function compareDoors(): Promise<string> {
  const rows = await medians(
    DOORS.map(([name, keys, signer]) => [name, devices, doorOf(keys, signer, callsOf(devices))]),
  )
  const worst = Math.max(...rows.slice(0, -1).map(([, us]) => us))
  return [
    table("The server's door: parsed, tried with the account's keys, in the books", [
      ['account', 'CPU us'],
      ...rows.map(([name, us]) => [name, figure(us, 1)]),
    ]),
    aim('a report that is taken', worst),
  ].join('\n')
}

function reportSizes(): string {
  const { text } = sampleOf(1)
  const octets = encodeReport({
    ...{ session: 'f'.repeat(32), sequence: 1, time: NOW, nonce: Buffer.alloc(16) },
    ...{ inputOctets: 0n, outputOctets: 0n },
  })
  const assertion = { form: 'assertion', octets: Buffer.alloc(142) } as const
  return table('Length of its evidence (aim: under 300)', [
    ['form', 'octets of JSON'],
    ['signature', `${text.length}`],
    ['App Attest assertion', `${JSON.stringify(reportEvidence(octets, assertion)).length}`],
  ])
}

async function compareSchemes(): Promise<string> {
  const { slots, missing } = await schemeSlots()
  const rows = await medians(
    slots.map(({ name, evidence, verify }) => [
      name,
      repeats,
      async () => (await verify(evidence)).ok,
    ]),
  )
  const lengths = slots.map(({ evidence }) => JSON.stringify(evidence).length)
  const listed = rows.map(([name, us], index) => [name, figure(us, 0), `${lengths[index] ?? 0}`])
  const absent = missing.map((name) => [name, '-', '-'])
  return table('One attestation, from JSON values to verdict', [
    ['scheme', 'CPU us', 'octets of JSON'],
    ...listed,
    ...absent,
  ])
}

if (values.help || !(rounds >= 1)) {
  process.stdout.write(USAGE)
  process.exitCode = values.help ? 0 : 64
} else {
  const load = figure(loadavg()[0], 2)
  const machine = `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, load ${load}`
  const title = `Attestation and usage reports on ${machine}, Node ${process.versions.node}`
  const reports = [await compareReports(), await compareDoors(), reportSizes()]
  process.stdout.write(`${[title, ...reports, await compareSchemes()].join('\n\n')}\n`)
}
