// `datanet device run` with a TPM and without one: swtpm and tpm2-tools, a real server that takes
// keys of that TPM's maker, or takes none. What the key is worth is told, reports signed by the
// chip are priced where the policy asks for hardware, and without one it is software, and said so.
// Needs root, for an interface that nobody else sends through.
// Mostly waits: for intervals of payments.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { findTpm } from '../../device/tpm-key.ts'
import { radclient } from './accounting-rig.ts'
import { type Line, type Payer, startPayer, startWatching } from './payer-process.ts'
import {
  createDevice,
  eapolTest,
  run,
  SECRET,
  startServer,
  temporaryDirectory,
  testConfig,
  waitFor,
} from './server.ts'
import { startTpm } from './tpm-rig.ts'

t.setTimeout(170_000)
/** Of a price that a second of connection is worth more than. */
const MORE = 1_000
const STATION = '02-00-00-00-03-01'
const METERING = '0x8100da7b'

type Json = Record<string, unknown>

/** What the access point has told of the session. */
let told = 0

async function ip(...words: string[]): Promise<void> {
  const { code, errors } = await run('ip', words)
  if (code !== 0) throw new Error(`ip ${words.join(' ')}: ${errors}`)
}
const METERED = `dnt${process.pid % 100_000}`
await ip('link', 'add', METERED, 'type', 'veth', 'peer', 'name', `${METERED}p`)
t.teardown(() => ip('link', 'del', METERED))

const tpm = await startTpm(t)
const directory = temporaryDirectory(t)
// The operator knows the maker's root alone: the issuer below it is in the TPM.
writeFileSync(join(directory, 'maker.pem'), tpm.anchor)
await tpm.burn('0x1c00100', tpm.roots[0]?.raw ?? Buffer.alloc(0))

/** With `attestation.tpm` or without it. */
const configOf = (attestation: string): string =>
  testConfig({ more: `billing: { usage: attested, trust: hardware }\n${attestation}` })
    .replace('interval: 60s', 'interval: 2s')
    // Between two payers nobody pays.
    .replace('missed_max: 2', 'missed_max: 50')
const takesTpm = configOf('attestation: { tpm: { roots: [maker.pem] } }')

const server = await startServer(t, { directory, config: takesTpm })
const { directory: dir, account } = await createDevice(server, 'paula')

async function session(): Promise<Json> {
  const token = readFileSync(join(directory, 'data', 'admin-token'), 'utf8').trim()
  const headers = { authorization: `Bearer ${token}` }
  const answer = await fetch(`${server.url}/v1/sessions`, { headers })
  const { sessions } = (await answer.json()) as { sessions: Json[] }
  return sessions.find((one) => one['account'] === account) ?? {}
}

const octetsOf = (attested: unknown): number => {
  const { inputOctets = 0, outputOctets = 0 } = (attested ?? {}) as Record<string, string>
  return Number(inputOctets) + Number(outputOctets)
}

type Payers = Parameters<typeof startPayer>
const wordsOf = (t: Test, flags: readonly string[], environment: readonly string[]): Payers => [
  ...([t, dir, ['--interface', METERED, ...flags], ['env', ...environment]] as const),
]
/** A payer whose TPM is the one named, if any; `environment`: as env(1) takes it. */
const payerWith = (t: Test, flags: readonly string[], ...environment: string[]): Payer =>
  startPayer(...wordsOf(t, flags, environment))
const TCTI = `TPM2TOOLS_TCTI=${tpm.tcti}`

async function heard(payer: Payer, event: string, count = 1): Promise<Line> {
  const all = () => payer.lines().filter((line) => line.event === event)
  await waitFor(
    () => all().length >= count,
    30_000,
    () => `no ${event}: ${JSON.stringify(payer.lines())} ${payer.errors()}`,
  )
  return all()[count - 1] ?? { event: '' }
}

/** The session once the operator has taken another report of that trust. */
async function reported(t: Test, payer: Payer, trust: string): Promise<Json> {
  const sequenceOf = (one: Json) => Number((one['attested'] as Json | null)?.['sequence'] ?? 0)
  const before = sequenceOf(await session())
  let seen: Json = {}
  await waitFor(
    async () => {
      seen = await session()
      return sequenceOf(seen) > before
    },
    30_000,
    () => `no report: ${JSON.stringify(seen)} ${JSON.stringify(payer.lines())}`,
  )
  t.match(seen, { attested: { trust } })
  return seen
}

const publicKey = () => tpm.tool('readpublic', '-c', METERING)

t.test('the key is in the TPM: hardware, and its reports are what is paid for', async (t) => {
  const payer = await startWatching(...wordsOf(t, ['--metering-key', 'auto'], [TCTI]))
  const joined = await eapolTest(server, dir, { args: ['-M', STATION.replaceAll('-', ':')] })
  if (!joined.ok) throw new Error(joined.out)
  t.match(await heard(payer, 'metering-key'), { scheme: 'tpm', trust: 'hardware', why: undefined })
  const first = await reported(t, payer, 'hardware')
  // More than the device has signed, and far less than would be a dispute.
  told = octetsOf(first['attested']) + MORE
  const code = await radclient(server.accountingPort, SECRET, [
    'Acct-Status-Type=Interim-Update',
    'Acct-Session-Id="5F2E1A2B00000001"',
    `Class=0x${Buffer.from(`ai:${first['id']}`).toString('hex')}`,
    `Calling-Station-Id="${STATION}"`,
    `Acct-Input-Octets=${told}`,
    'Acct-Output-Octets=0',
    `Event-Timestamp=${Math.floor(Date.now() / 1_000)}`,
  ])
  t.equal(code, 0)
  const priced = await reported(t, payer, 'hardware')
  t.equal(priced['ratedOctets'], `${octetsOf(priced['attested'])}`)
  t.equal(await payer.end('SIGTERM'), 0)
  const metrics = await (await fetch(`${server.url}/metrics`)).text()
  t.match(metrics, /datanet_metering_keys_total\{scheme="tpm",outcome="enrolled"\} 1/)
})

t.test('the next run has the same key; one that is cleared is made anew', async (t) => {
  const before = await publicKey()
  const payer = payerWith(t, ['--metering-key', 'tpm'], TCTI)
  t.match(await heard(payer, 'metering-key'), { trust: 'hardware' })
  await reported(t, payer, 'hardware')
  t.equal(await publicKey(), before)
  await tpm.tool('clear', '-c', 'p')
  t.match(await heard(payer, 'failed'), { what: 'metering key', message: /tpm2_sign failed/ })
  t.match(await heard(payer, 'metering-key', 2), { scheme: 'tpm', trust: 'hardware' })
  await reported(t, payer, 'hardware')
  t.equal(await payer.end('SIGTERM'), 0)
})

t.test('without a TPM, or without its programs, it is software, and said so', async (t) => {
  for (const [environment, why] of [
    [[`PATH=${tpm.at('no-programs')}`, TCTI], /install tpm2-tools/],
    [['-u', 'TPM2TOOLS_TCTI', `TPM2TOOLS_TCTI=swtpm:path=${tpm.at('nobody')}`], /tpm2_.* failed/],
  ] as const) {
    const payer = payerWith(t, ['--metering-key', 'auto'], ...environment)
    const key = await heard(payer, 'metering-key')
    t.match(key, { scheme: 'software', trust: 'software', why })
    t.equal((await reported(t, payer, 'software'))['ratedOctets'], `${told}`)
    t.equal(await payer.end('SIGTERM'), 0)
  }
  const code = { name: 'DeviceError', code: 'unavailable', message: /there is no .*nothing/ }
  await t.rejects(findTpm({}, tpm.at('nothing')), code)
  const barred = { name: 'DeviceError', code: 'permission', message: /may not be used/ }
  await t.rejects(findTpm({}, join(tpm.write('a-file', Buffer.alloc(0)), 'tpmrm0')), barred)
  t.equal(await findTpm({}, tpm.at('a-file')), `device:${tpm.at('a-file')}`)
})

/** Puts another `attestation` in force. */
async function reload(attestation: string): Promise<void> {
  const count = () => server.log().filter(({ msg }) => msg === 'configuration reloaded').length
  const before = count()
  writeFileSync(server.configPath, configOf(attestation))
  server.process.kill('SIGHUP')
  const later = () => count() > before
  await waitFor(later, 30_000, () => 'no reload')
}

t.test('no certificate in the TPM: what to list is said, and then it is hardware', async (t) => {
  await tpm.tool('nvundefine', '0x1c00002', '-C', 'p')
  const refused = payerWith(t, ['--metering-key', 'tpm'], TCTI)
  const { message } = await heard(refused, 'failed')
  const says = /endorsement key ([0-9a-f]{64}) has no certificate: .*endorsement_keys/
  const [, digest] = says.exec(`${message}`) ?? []
  t.ok(digest, `${message}`)
  t.equal(await refused.end('SIGTERM'), 0)
  await reload(`attestation: { tpm: { endorsement_keys: ["${digest}"] } }`)
  const payer = payerWith(t, ['--metering-key', 'tpm'], TCTI)
  t.match(await heard(payer, 'metering-key'), { scheme: 'tpm', trust: 'hardware' })
  t.equal(await payer.end('SIGTERM'), 0)
})

t.test('an operator that takes no TPMs: software by auto, no report by tpm', async (t) => {
  await reload('')
  const auto = payerWith(t, ['--metering-key', 'auto'], TCTI)
  t.match(await heard(auto, 'metering-key'), { scheme: 'software', why: /does not take it/ })
  t.equal(await auto.end('SIGTERM'), 0)
  const strict = payerWith(t, ['--metering-key', 'tpm'], TCTI)
  t.match(await heard(strict, 'failed'), { what: 'metering key', message: /does not take it/ })
  await heard(strict, 'paid')
  t.notOk(strict.lines().some(({ event }) => event === 'metering-key'))
  t.equal(await strict.end('SIGTERM'), 0)
})
