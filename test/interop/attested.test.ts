// Two meters over one real session: datanet device run signs what its interface has carried, while
// FreeRADIUS's radclient tells of 30 % more, as an access point that lies would. The bill follows
// billing.usage, the dispute shows both figures, and both sides' reliability tells of it. Needs
// root, for an interface of its own.
// Mostly waits: for intervals of payments.

import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { radclient } from './accounting-rig.ts'
import { type Payer, startWatching } from './payer-process.ts'
import {
  createDevice,
  eapolTest,
  onFixedPort,
  type RunningServer,
  run,
  runDatanet,
  SECRET,
  startServer,
  temporaryDirectory,
  testConfig,
  waitFor,
} from './server.ts'

t.setTimeout(120_000)
const MEGABYTE = 1_000_000
/** TEST-NET-2 (RFC 5737): routed nowhere else. */
const [NEAR, FAR] = ['198.51.100.1', '198.51.100.2']
const NAME = `dnm${process.pid % 100_000}`
const STATION = '02-00-00-00-02-01'

/** A cable that ends at nobody: what is sent into it is counted, and goes no further. */
async function openInterface(): Promise<{ send(megabytes: number): Promise<void> }> {
  const ip = async (...words: string[]): Promise<void> => {
    const { code, errors } = await run('ip', words, { cwd: '.' })
    if (code !== 0) throw new Error(`ip ${words.join(' ')}: ${errors}`)
  }
  await ip('link', 'add', NAME, 'type', 'veth', 'peer', 'name', `${NAME}p`)
  t.teardown(() => ip('link', 'del', NAME))
  await ip('addr', 'add', `${NEAR}/32`, 'dev', NAME)
  for (const end of [NAME, `${NAME}p`]) await ip('link', 'set', end, 'up')
  await ip('route', 'add', `${FAR}/32`, 'dev', NAME, 'src', NEAR)
  await ip('neigh', 'add', FAR, 'lladdr', '02:00:00:00:02:02', 'dev', NAME)
  return {
    async send(megabytes) {
      const socket = createSocket('udp4')
      // 1,458 octets on the interface, with the headers of UDP, IP and Ethernet.
      const datagram = Buffer.alloc(1_416)
      for (let sent = 0; sent < megabytes * MEGABYTE; sent += 1_458) {
        await new Promise((resolve) => socket.send(datagram, 9, FAR, resolve))
      }
      socket.close()
      await once(socket, 'close')
    },
  }
}

const { send } = await openInterface()

type Json = Record<string, unknown>

async function served(t: Test, usage: string) {
  const directory = temporaryDirectory(t)
  const client = '    ssid: Corner\n    coa: { port: 9, secret: a-coa-secret-of-24-characters }'
  const more = `billing: { usage: ${usage}, trust: software }`
  const config = testConfig({ client, more })
    .replace('interval: 60s', 'interval: 2s')
    .replace('interval_megabytes: 10', 'interval_megabytes: 100')
    // For the last report, of a device that looks after a session it left every ten seconds.
    .replace('grace: 0s', 'grace: 30s')
  const server = await startServer(t, { directory, config: await onFixedPort(config) })
  const token = readFileSync(join(directory, 'data', 'admin-token'), 'utf8').trim()
  const get = async (path: string): Promise<Json> => {
    const headers = { authorization: `Bearer ${token}` }
    return (await (await fetch(`${server.url}${path}`, { headers })).json()) as Json
  }
  const { directory: dir, account } = await createDevice(server, 'paula')
  const payer = await startWatching(t, dir, ['--interface', NAME])
  const joined = await eapolTest(server, dir, { args: ['-M', STATION.replaceAll('-', ':')] })
  if (!joined.ok) throw new Error(joined.out)
  let seen: Json = {}
  const look = async (): Promise<Json> => {
    const { sessions } = (await get('/v1/sessions?all=true')) as { sessions: Json[] }
    seen = sessions[0] ?? {}
    return seen
  }
  const until = async (what: string, holds: (session: Json) => boolean): Promise<Json> => {
    const words = () => `${what}: ${JSON.stringify(seen)}\n${JSON.stringify(payer.lines())}`
    for (let tries = 0; tries < 150; tries++) {
      if (holds(await look())) return seen
      await sleep(200)
    }
    throw new Error(words())
  }
  return { server, get, account, payer, look, until }
}

/** One accounting record of the session, as its access point would send it. */
async function account(server: RunningServer, session: Json, status: string, octets: number) {
  const code = await radclient(server.accountingPort, SECRET, [
    `Acct-Status-Type=${status}`,
    'Acct-Session-Id="5F2E1A2B00000001"',
    `Class=0x${Buffer.from(`ai:${session['id']}`).toString('hex')}`,
    `Calling-Station-Id="${STATION}"`,
    'NAS-Identifier="lobby"',
    `Acct-Input-Octets=${octets}`,
    'Acct-Output-Octets=0',
    `Event-Timestamp=${Math.floor(Date.now() / 1_000)}`,
  ])
  if (code !== 0) throw new Error(`radclient: ${code}`)
}

const attestedOctets = ({ attested }: Json): number => {
  const { inputOctets, outputOctets } = (attested ?? {}) as Record<string, string>
  return Number(inputOctets ?? 0) + Number(outputOctets ?? 0)
}
const sequenceOf = ({ attested }: Json): number => Number((attested as Json)['sequence'])

/** Its account has signed less than was counted: the device is told, and enrols its key again. */
async function shownAnew(server: RunningServer, payer: Payer): Promise<void> {
  const words = () => JSON.stringify(payer.lines())
  await waitFor(() => payer.lines().some(({ why }) => why === 'key-expired'), 10_000, words)
  const again = /datanet_metering_keys_total\{scheme="software",outcome="enrolled"\} 2/
  const enrolled = async () => again.test(await (await fetch(`${server.url}/metrics`)).text())
  await waitFor(enrolled, 10_000, words)
}

const hasLeft = (payer: Payer): boolean => payer.lines().some(({ event }) => event === 'left')

for (const usage of ['attested', 'higher'] as const) {
  t.test(`an access point that tells of 30 % more, billed by ${usage}`, async (t) => {
    const { server, get, account: payerAccount, payer, until } = await served(t, usage)
    await until('a first report', ({ attested }) => attested !== null && attested !== undefined)
    await send(20)
    const session = await until('20 MB signed', (one) => attestedOctets(one) >= 20 * MEGABYTE)
    t.match(session, { attested: { trust: 'software', disagrees: false }, disputed: false })
    const honest = attestedOctets(session)
    const told = Math.floor(honest * 1.3)
    await account(server, session, 'Interim-Update', told)
    if (usage === 'attested') {
      const disputed = await until('a dispute', (one) => one['disputed'] === true)
      const before = payer.paid().length
      await waitFor(
        () => payer.paid().length > before,
        10_000,
        () => payer.errors(),
      )
      t.notOk(hasLeft(payer), 'it goes on paying what is asked')
      await shownAnew(server, payer)
      const sequence = sequenceOf(disputed) + 1
      await until('reports go on', (one) => sequenceOf(one) > sequence)
    } else {
      const words = () => JSON.stringify(payer.lines())
      await waitFor(() => hasLeft(payer), 10_000, words)
      t.match(
        payer.lines().find(({ event }) => event === 'left'),
        { why: 'asks-too-much' },
      )
    }
    await account(server, session, 'Stop', told)
    const isOver = (one: Json) => one['state'] === 'closed' && one['disputed'] === true
    const over = await until('the end, and a dispute', isOver)
    const rated = Number(over['ratedOctets'])
    if (usage === 'attested') t.equal(rated, attestedOctets(over), 'what the device has signed')
    else t.equal(rated, told, 'what the access point told')
    t.match(await get('/v1/disputes'), {
      disputes: [
        {
          ...{ session: session['id'], account: payerAccount, kind: 'usage-disagreement' },
          ...{ nasOctets: `${told}`, trust: 'software', sequence: /./ },
        },
      ],
    })
    t.match(await get(`/v1/accounts/${payerAccount}`), { disagreements: 1 })
    const { accessPoints } = (await get('/v1/access-points')) as { accessPoints: Json[] }
    const [point = {}] = accessPoints
    t.match(point, { ssid: 'Corner', history: { sessions: 1, disputed: 1 } })
    t.ok(Number(point['reliability']) < 1)
    t.equal(await payer.end('SIGTERM'), 0)
    const metrics = await (await fetch(`${server.url}/metrics`)).text()
    t.match(metrics, /datanet_usage_reports_total\{outcome="accepted"\} [1-9]/)
    t.match(metrics, /datanet_metering_keys_total\{scheme="software",outcome="enrolled"\} [1-9]/)
  })
}

t.test('an access point that counts nothing, billed by attested', async (t) => {
  const { payer, look } = await served(t, 'attested')
  // While it flows: each report is paid with the payment that it comes with.
  const flows = async (): Promise<boolean> => {
    await send(0.05)
    const session = await look()
    return payer.paid().length >= 4 && attestedOctets(session) > 0 && session['due'] === '0'
  }
  await waitFor(flows, 30_000, () => JSON.stringify(payer.lines()))
  t.match(await look(), { inputOctets: '0', outputOctets: '0' })
  t.equal(await payer.end('SIGTERM'), 0)
})

t.test('a device that signs 30 % less is seen as well', async (t) => {
  const { server, get, account: payerAccount, payer, until } = await served(t, 'accounting')
  await until('a first report', ({ attested }) => attested !== null && attested !== undefined)
  await send(14)
  const session = await until('14 MB signed', (one) => attestedOctets(one) >= 14 * MEGABYTE)
  const moved = Math.floor(attestedOctets(session) / 0.7)
  for (const status of ['Interim-Update', 'Stop']) await account(server, session, status, moved)
  const disputed = await until('a dispute', (one) => one['disputed'] === true)
  t.equal(disputed['ratedOctets'], `${moved}`, 'the bill is the access point’s')
  t.match(await get('/v1/disputes'), { disputes: [{ nasOctets: `${moved}`, trust: 'software' }] })
  const known = await get(`/v1/accounts/${payerAccount}`)
  t.match(known, { disagreements: 1, reliability: /0\.\d/ })
  t.match(known, { meteringKeys: [{ scheme: 'software', trust: 'software' }] })
  const cwd = server.directory
  const ask = async (...words: string[]): Promise<string> => {
    const { out, errors } = await runDatanet([...words, '--config', server.configPath], { cwd })
    t.equal(errors, '')
    return out
  }
  const [total, signed] = [moved, attestedOctets(disputed)].map((one) => (one / 1e6).toFixed(1))
  const charged = `, disputed +\\S+ +${total} .* {2}${signed} MB, software\n`
  t.match(await ask('sessions', '--all'), new RegExp(` SIGNED\n.*${charged}`))
  const figures = `usage-disagreement +${total} +${signed} +software\n`
  t.match(await ask('ledger', '--disputes'), new RegExp(` OTHER MB +KEY\n.*${figures}`))
  const { disputes } = JSON.parse(await ask('ledger', '--disputes', '--json'))
  t.match(disputes, [{ session: session['id'], account: payerAccount }])
  const payerLines = /^reliability {2}0\.\d{3}\nintervals .*\n.*\ndisputes {5}1\nkey {10}software,/m
  t.match(await ask('reliability', payerAccount), payerLines)
  t.match(
    await ask('reliability'),
    / RELIABILITY\nCorner {2}- {2,}0x\w{40} {2}[01] +0 +[01] +[01]\.\d{3}$/m,
  )
  t.equal(await payer.end('SIGTERM'), 0)
})
