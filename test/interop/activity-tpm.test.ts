// Summaries whose evidence is the device's own: the metering key in a TPM (swtpm, tpm2-tools),
// shown to a real server, enrolled in the contract with that server's signature, used by device run
// and device activity. A key that does not count with the operator, or that the contract has
// revoked, leaves the operator's word. Needs root, for an interface that nobody else sends through.
// Mostly waits: for intervals of payments.

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import {
  type ActivityContracts,
  findActivityContracts,
  setAttestors,
} from '../../chain/activity-calls.ts'
import { type PublishedActivity, readActivities } from '../../chain/activity-events.ts'
import { devicesInterface } from '../../chain/bindings.ts'
import { openSender } from '../../chain/transactions.ts'
import { readAccountKey } from '../../device/account-key.ts'
import { openChain } from '../../device/chain.ts'
import { readDevice } from '../../device/folder.ts'
import { BY_ATTESTORS, BY_DEVICE } from '../../ethereum/activity.ts'
import type { Address } from '../../ethereum/address.ts'
import { accountOf } from '../../ethereum/signature.ts'
import { radclient } from './accounting-rig.ts'
import { PASSWORD, type Payer, startWatching } from './payer-process.ts'
import {
  createDevice,
  eapolTest,
  run,
  runDatanet,
  SECRET,
  startServer,
  temporaryDirectory,
  testConfig,
  waitFor,
} from './server.ts'
import { startTpm } from './tpm-rig.ts'

t.setTimeout(170_000)
/** A device that counts nothing disagrees: by more than 5 % + 1 MB. */
const MUCH = 5_000_000

type Json = Record<string, unknown>
interface Device {
  readonly directory: string
  readonly account: string
}

async function ip(...words: string[]): Promise<void> {
  const { code, errors } = await run('ip', words)
  if (code !== 0) throw new Error(`ip ${words.join(' ')}: ${errors}`)
}
const METERED = `dna${process.pid % 100_000}`
await ip('link', 'add', METERED, 'type', 'veth', 'peer', 'name', `${METERED}p`)
t.teardown(() => ip('link', 'del', METERED))

const tpm = await startTpm(t)
const env = { TPM2TOOLS_TCTI: tpm.tcti }
const directory = temporaryDirectory(t)
writeFileSync(join(directory, 'maker.pem'), tpm.roots.map(String).join('\n'))
const configOf = (attestation: string): string =>
  testConfig({ more: `billing: { usage: attested, trust: hardware }\n${attestation}` })
    .replace('interval: 60s', 'interval: 2s')
    // Between two payers nobody pays.
    .replace('missed_max: 2', 'missed_max: 50')
const takesTpm = configOf('attestation: { tpm: { roots: [maker.pem] } }')
const server = await startServer(t, { directory, config: takesTpm })
const [paula, rolf] = [await createDevice(server, 'paula'), await createDevice(server, 'rolf')]

const { contract, chainId, operatorId } = await readDevice(paula.directory)
const link = openChain(`${server.url}/v1/chain`)
t.teardown(() => link.close())
const contracts: ActivityContracts = await findActivityContracts(link.rpc, contract)

async function admin(path: string): Promise<Json> {
  const token = readFileSync(join(directory, 'data', 'admin-token'), 'utf8').trim()
  const headers = { authorization: `Bearer ${token}` }
  return (await (await fetch(`${server.url}${path}`, { headers })).json()) as Json
}

async function sessionOf({ account }: Device): Promise<Record<string, string>> {
  const { sessions } = (await admin('/v1/sessions')) as { sessions: Record<string, string>[] }
  return sessions.find((one) => one['account'] === account) ?? {}
}

/** Who owes for the session before is let in for a while, or not at all. */
const settles = ({ directory: dir }: Device) =>
  runDatanet(['device', 'pay', dir, '--once'], { cwd: directory })

let stations = 0
async function enters({ directory: dir }: Device): Promise<void> {
  const station = `02:00:00:00:09:0${++stations}`
  const { ok } = await eapolTest(server, dir, { args: ['-M', station] })
  if (!ok) throw new Error(`${station} is not let in: ${JSON.stringify(server.log().slice(-2))}`)
}

async function joins(device: Device): Promise<void> {
  await settles(device)
  await enters(device)
}

/** What its access point has counted. */
async function counted(device: Device, status: string, octets: number): Promise<void> {
  const { id = '', callingStationId = '' } = await sessionOf(device)
  const code = await radclient(server.accountingPort, SECRET, [
    `Acct-Status-Type = ${status}`,
    `Acct-Session-Id = "${id.slice(0, 16)}"`,
    `Class = 0x${Buffer.from(`ai:${id}`).toString('hex')}`,
    `Calling-Station-Id = "${callingStationId}"`,
    `Acct-Input-Octets = ${octets}`,
    'Acct-Output-Octets = 0',
  ])
  if (code !== 0) throw new Error(`radclient: ${code}`)
}

const stops = (device: Device, octets: number) => counted(device, 'Stop', octets)

async function activity({ directory: dir }: Device, ...flags: string[]) {
  const words = ['device', 'activity', dir, '--json', ...flags]
  const { code, out, errors } = await runDatanet(words, { cwd: directory, env })
  return { code, activities: JSON.parse(out).activities as Json[], errors }
}

/** What ended in this very second is for the next one. */
const ended = (device: Device): Promise<void> =>
  waitFor(
    async () => (await activity(device)).activities[0]?.['sessions'] === 1,
    20_000,
    () => 'nothing to publish',
  )

/** A payer that signs a new session with the key in the TPM, or in software, and has paid. */
async function payerOf(
  t: Test,
  device: Device,
  when: 'off' | 'exit',
  scheme = 'tpm',
): Promise<Payer> {
  const flags = ['--interface', METERED, '--metering-key', scheme, '--activity', when]
  await settles(device)
  const prefix = ['env', `TPM2TOOLS_TCTI=${tpm.tcti}`]
  const payer = await startWatching(t, device.directory, flags, prefix)
  await enters(device)
  const told = () => `${JSON.stringify(payer.lines())} ${payer.errors()}`
  const key = () => payer.lines().find(({ event }) => event === 'metering-key')
  await waitFor(() => key() !== undefined && payer.paid().length > 0, 30_000, told)
  t.match(key(), { scheme, trust: scheme === 'tpm' ? 'hardware' : 'software' }, told())
  return payer
}

/** Summaries of an account on the chain. */
async function published({ account }: Device): Promise<PublishedActivity[]> {
  const found: PublishedActivity[] = []
  const to = Number(await link.rpc.request('eth_blockNumber', []))
  const range = { activities: contracts.activities, from: 0, to, stepsMax: 9 }
  const filter = { consumer: account.toLowerCase() as Address }
  await readActivities(link.rpc, { ...range, filter }, (one) => void found.push(one))
  return found
}

/** How many keys the contract has enrolled. */
async function enrolments(): Promise<number> {
  const topics = [devicesInterface.getEvent('DeviceEnrolled')?.topicHash]
  const filter = { address: contracts.devices, topics, fromBlock: '0x0', toBlock: 'latest' }
  return ((await link.rpc.request('eth_getLogs', [filter])) as unknown[]).length
}

/** What the device sends to its operator from now on: method, path and body, one text each. */
async function overheard(t: Test, { directory: dir }: Device): Promise<string[]> {
  const sent: string[] = []
  const between = createServer(async (request, response) => {
    let body = ''
    for await (const part of request) body += part
    const { method = '', url = '' } = request
    sent.push(`${method} ${url} ${body}`)
    const headers = { 'content-type': 'application/json' }
    const asked = body === '' ? { method } : { method, headers, body }
    const answer = await fetch(`${server.url}${url}`, asked)
    response.writeHead(answer.status, { ...headers, date: answer.headers.get('date') ?? '' })
    response.end(await answer.text())
  })
  await new Promise<void>((resolve) => between.listen(0, '127.0.0.1', resolve))
  t.teardown(() => void between.close())
  const { port } = between.address() as AddressInfo
  const file = join(dir, 'device.json')
  const said = readFileSync(file, 'utf8')
  const operatorUrl = `http://127.0.0.1:${port}`
  writeFileSync(file, JSON.stringify({ ...JSON.parse(said), operatorUrl }))
  t.teardown(() => writeFileSync(file, said))
  return sent
}

/** The public point of the key that a payer has made in the TPM. */
async function pointInTpm(): Promise<Buffer[]> {
  await tpm.tool('readpublic', '-c', '0x8100da7b', '-f', 'tss', '-o', tpm.at('area'))
  return [tpm.read('area').subarray(-66, -34), tpm.read('area').subarray(-32)]
}

/** `datanet activity` of that account. */
async function statistics({ account }: Device): Promise<Json> {
  const words = ['activity', '--json', '--server', server.url, '--consumer', account]
  const { out } = await runDatanet(words, { cwd: directory })
  return JSON.parse(out).operators[0]
}

t.test('device run: the key is enrolled, and its signature is the evidence', async (t) => {
  const payer = await payerOf(t, paula, 'exit')
  // It looks at its operator first: what it has not met it has nothing to tell of.
  const notes = join(paula.directory, 'activities.json')
  await waitFor(
    () => existsSync(notes),
    20_000,
    () => payer.errors(),
  )
  const { paid } = await sessionOf(paula)
  await stops(paula, 11)
  await ended(paula)
  t.equal(await enrolments(), 0)
  t.equal(await payer.end('SIGTERM'), 0, payer.errors())
  t.equal(payer.lines().filter(({ event }) => event === 'activity-published').length, 1)
  const [summary] = await published(paula)
  t.match(summary, { verifier: BY_DEVICE, sessions: 1, bytesUp: 11n }, payer.errors())
  t.ok((summary?.paid ?? 0n) >= BigInt(paid ?? 1) && BigInt(paid ?? 0) > 0n)
  const line = { summaries: 1, sessions: '1', bytesUp: '11', paid: `${summary?.paid}` }
  t.match(await statistics(paula), line)
  t.equal(await enrolments(), 1)
})

t.test('device activity --publish: the same key, enrolled once', async (t) => {
  await joins(paula)
  await stops(paula, 7)
  await ended(paula)
  const { activities, errors } = await activity(paula, '--publish')
  t.match(activities, [{ published: true, verifier: BY_DEVICE, bytesUp: '7', nonce: '1' }], errors)
  t.equal((await published(paula))[1]?.verifier, BY_DEVICE)
  t.match(await statistics(paula), { summaries: 2, sessions: '2', bytesUp: '18' })
  t.equal(await enrolments(), 1)
})

t.test("a key that does not count for the account leaves the operator's word", async (t) => {
  const sent = await overheard(t, rolf)
  const soft = await payerOf(t, rolf, 'exit', 'software')
  await stops(rolf, 4)
  await ended(rolf)
  t.equal(await soft.end('SIGTERM'), 0, soft.errors())
  t.match(await published(rolf), [{ verifier: BY_ATTESTORS, bytesUp: 4n }], soft.errors())
  await joins(rolf)
  await stops(rolf, 5)
  await ended(rolf)
  const unknown = await activity(rolf, '--publish')
  t.match(unknown.activities, [{ published: true, verifier: BY_ATTESTORS, bytesUp: '5' }])
  t.equal(unknown.errors, '')
  const said = sent.join('\n').toLowerCase()
  t.match(said, 'post /v1/activity/query')
  t.notMatch(said, '/v1/activity/key', 'nothing is asked for it')
  const [qx = Buffer.alloc(1), qy = Buffer.alloc(1)] = await pointInTpm()
  const whole = Buffer.concat([Buffer.of(4), qx, qy]).toString('base64url')
  for (const shown of [qx.toString('hex'), whole.toLowerCase()]) {
    t.notMatch(said, shown, 'nobody is shown the key in the TPM')
  }
  // Signs less than the access point counts: it must be shown anew, to who takes none any more.
  const payer = await payerOf(t, rolf, 'off')
  const told = () => JSON.stringify(payer.lines())
  // Billed by what it signs: it goes on paying.
  await waitFor(async () => ((await sessionOf(rolf))['attested'] ?? null) !== null, 20_000, told)
  writeFileSync(server.configPath, configOf(''))
  server.process.kill('SIGHUP')
  await server.logged(({ msg }) => msg === 'configuration reloaded')
  await counted(rolf, 'Interim-Update', MUCH)
  const isTold = () => payer.lines().some(({ why }) => why === 'key-expired')
  await waitFor(isTold, 30_000, told)
  t.equal(await payer.end('SIGTERM'), 0)
  await stops(rolf, MUCH)
  t.match(await admin(`/v1/accounts/${rolf.account}`), {
    meteringKeys: [{ scheme: 'software' }, { scheme: 'tpm', expiresAt: 0 }],
  })
  await ended(rolf)
  const expired = await activity(rolf, '--publish')
  t.match(expired.activities, [{ verifier: BY_ATTESTORS, bytesUp: `${MUCH}` }])
  t.match(expired.errors, /must be shown anew/)
  t.same(
    (await published(rolf)).map(({ verifier }) => verifier),
    [BY_ATTESTORS, BY_ATTESTORS, BY_ATTESTORS],
  )
  t.equal(await enrolments(), 1, "paula's")
})

t.test('an operator that wants two attestors: an enrolled key needs neither', async (t) => {
  const text = readFileSync(join(directory, 'data', 'operator-key'), 'utf8').trim()
  const privateKey = Buffer.from(text.replace(/^0x/, ''), 'hex')
  const [own, other] = [accountOf(privateKey), accountOf(Buffer.alloc(32, 7))]
  const sender = { rpc: link.rpc, chainId: BigInt(chainId), privateKey }
  await setAttestors(sender, contracts, operatorId, [own, other], 2)
  for (const device of [paula, rolf]) {
    await joins(device)
    await stops(device, 9)
    await ended(device)
  }
  const { activities, errors } = await activity(paula, '--publish')
  t.match(activities, [{ published: true, verifier: BY_DEVICE, bytesUp: '9' }], errors)
  const alone = 'operator 1 wants 2 attestors: it can.t attest alone'
  const refused = await activity(rolf, '--publish')
  t.match(refused, { code: 69, activities: [] })
  t.match(refused.errors, new RegExp(`speak for itself: ${alone}\n.*operator 1: ${alone}`))
  await setAttestors(sender, contracts, operatorId, [own], 1)
})

t.test('what the contract has revoked stays revoked', async (t) => {
  const device = await readDevice(paula.directory)
  const privateKey = await readAccountKey(paula.directory, device, async () => PASSWORD)
  const point = await pointInTpm()
  const sender = openSender({ rpc: link.rpc, chainId: BigInt(chainId), privateKey })
  const words = point.map((one) => `0x${one.toString('hex')}`)
  const args = [device.operatorId, paula.account, ...words]
  const data = devicesInterface.encodeFunctionData('revoke', args)
  await sender.send({ to: contracts.devices, data, what: 'revoke' })
  await joins(paula)
  await stops(paula, 3)
  await ended(paula)
  const { activities, errors } = await activity(paula, '--publish')
  t.match(activities, [{ published: true, verifier: BY_ATTESTORS, bytesUp: '3', nonce: '3' }])
  t.match(errors, /can't speak for itself: .*DeviceKeyDisabled/)
})
