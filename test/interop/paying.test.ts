// The whole of it on a real access point and a real supplicant: hostapd and wpa_supplicant on a
// virtual cable, our server, `device run`. A session lives while it is paid; when the payer stops,
// hostapd is told to put it off; it comes back only after its arrears are paid.
// Mostly waits: for a minute of payments.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import {
  daemon,
  hostapdConf,
  layCable,
  must,
  STATION_INTERFACE,
  startHostapd,
  wiredProfile,
} from './cable.ts'
import { PASSWORD, startPayer } from './payer-process.ts'
import {
  datanet,
  type RunningServer,
  run,
  startServer,
  temporaryDirectory,
  testConfig,
  waitFor,
} from './server.ts'

t.setTimeout(170_000)

const COA_PORT = 3799
const COA_SECRET = 'a-coa-secret-of-24-characters'

const INTERVAL_MS = 2_000
const MISSED_MAX = 2
/** How long the session has to live on payments alone. */
const LIFE_MS = 60_000

/** Without a cache of its stripped sources the payer also holds Node's type stripper, 20 MB. */
const OWN_MEGABYTES_MAX = 64

async function startOperator(
  t: Test,
  directory: string,
  inAp: readonly string[],
): Promise<RunningServer> {
  const config = testConfig({
    client: `    coa: { port: ${COA_PORT}, secret: ${COA_SECRET} }`,
  })
    .replace('interval: 60s', 'interval: 2s')
    .replace('http: { listen: "127.0.0.1:0" }', 'http: { listen: "10.77.0.1:8080" }')
  return startServer(t, { directory, config, prefix: inAp })
}

const AS_NAS = `radius_acct_interim_interval=2
radius_das_port=${COA_PORT}
radius_das_client=127.0.0.1 ${COA_SECRET}
radius_das_time_window=300
radius_das_require_event_timestamp=1
radius_das_require_message_authenticator=1
`

function wiredConf(directory: string, device: string): string {
  const profile = readFileSync(join(directory, device, 'wpa_supplicant.conf'), 'utf8')
  return `ctrl_interface=${join(directory, 'wpa')}\n${wiredProfile(profile)}`
}

/** What the process holds: in all, of its own, and what it shares with every Node (the program). */
function memoryOf(pid: number | undefined) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const megabytes = (name: string): number =>
    Math.round(Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 102.4) / 10
  return {
    allMegabytes: megabytes('VmRSS'),
    ownMegabytes: megabytes('RssAnon'),
    sharedMegabytes: megabytes('RssFile'),
  }
}

const occurrences = (text: string, what: RegExp): number => [...text.matchAll(what)].length
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

t.test('pays, is put off when it stops, and comes back when it has paid', async (t) => {
  const directory = temporaryDirectory(t)
  // With addresses: the device reaches the operator's API through the cable.
  const { inAp, inStation } = await layCable(t, ['10.77.0.1/24', '10.77.0.2/24'])
  const server = await startOperator(t, directory, inAp)
  const command = (inside: readonly string[], ...words: string[]) => {
    const [program = '', ...rest] = [...inside, process.execPath, datanet, ...words]
    return run(program, rest, { cwd: directory, env: { DATANET_PASSWORD: PASSWORD } })
  }
  const at = ['--operator', server.url]
  const made = await command(inStation, 'device', 'create', 'carol', '--deposit', '10', ...at)
  t.equal(made.code, 0, made.errors)
  writeFileSync(join(directory, 'wired.conf'), wiredConf(directory, 'carol'))
  const sockets = join(directory, 'wpa')
  const wpa = (word: string) => must('wpa_cli', '-p', sockets, '-i', STATION_INTERFACE, word)

  const hostapd = await startHostapd(t, inAp, directory, hostapdConf(server, AS_NAS))
  const flags = ['--wpa-control', sockets, '--interface', STATION_INTERFACE]
  const payer = startPayer(t, join(directory, 'carol'), flags, inStation)
  const story = () => `${JSON.stringify(payer.lines())}\n${payer.errors()}\n${hostapd()}`
  const started = () => payer.lines().some(({ event }) => event === 'started')
  await waitFor(started, 15_000, story)
  const wired = [
    'wpa_supplicant',
    '-i',
    STATION_INTERFACE,
    '-D',
    'wired',
    '-c',
    join(directory, 'wired.conf'),
  ]
  const supplicant = daemon(t, inStation, wired)
  const session = () => payer.lines().find(({ event }) => event === 'session')?.session ?? ''
  await waitFor(
    () => session() !== '',
    30_000,
    () => `${supplicant()}\n${story()}`,
  )

  await pause(LIFE_MS)
  const events = () => payer.lines().map(({ event }) => event)
  t.notMatch(hostapd(), /Disconnect-Request|AP-STA-DISCONNECTED/, 'nobody was put off')
  t.equal(events().filter((event) => event === 'session').length, 1, 'one session all the time', {
    told: payer.lines(),
    supplicant: supplicant(),
  })
  t.same(
    events().filter(
      (event) => !['paid', 'started', 'session', 'metering-key', 'failed'].includes(event),
    ),
    ['disconnected', 'connected'],
    'waited for the connection, and it stayed',
  )
  const intervals = LIFE_MS / INTERVAL_MS
  t.ok(payer.paid().length >= intervals - 2, `${payer.paid().length} payments`)

  const memory = memoryOf(payer.child.pid)
  t.comment(`memory after a minute of paying: ${JSON.stringify(memory)}`)
  t.ok(memory.ownMegabytes < OWN_MEGABYTES_MAX, `${memory.ownMegabytes} MB of its own`)

  const stoppedAt = performance.now()
  await payer.end('SIGKILL')
  const off = await server.logged(({ msg }) => msg === 'Disconnect-Request', 15_000)
  const ms = performance.now() - stoppedAt
  t.match(off, { session: session(), result: 'ack', reason: 'intervals-missed' })
  t.ok(ms <= (MISSED_MAX + 1) * INTERVAL_MS + 2_000, `put off after ${Math.round(ms)} ms`)
  t.comment(`put off ${Math.round(ms)} ms after the payer stopped`)
  const stop = ({ msg, session: of }: Record<string, unknown>): boolean =>
    msg === 'accounting stop' && of === session()
  await server.logged(stop, 10_000)
  const books = ['--data', join(directory, 'data'), '--config', server.configPath]
  const listed = await command(inAp, 'sessions', '--json', ...books)
  t.equal(listed.code, 0, listed.errors)
  t.notMatch(listed.out, /"(current|overdue|disconnecting)"/, 'no session is open')

  const refusals = () => occurrences(supplicant(), /CTRL-EVENT-EAP-FAILURE/g)
  const joins = () => occurrences(supplicant(), /CTRL-EVENT-EAP-SUCCESS/g)
  // hostapd forgets a station 5 s after it put it off (AP_MAX_INACTIVITY_AFTER_DEAUTH); one that
  // comes back earlier is deaf to it and removed all the same.
  const comeBack = async (time: number) => {
    const forgotten = () => occurrences(hostapd(), /deauthenticated due to/g) >= time
    await waitFor(forgotten, 15_000, hostapd)
    for (const word of ['logoff', 'logon', 'reassociate']) await wpa(word)
  }
  t.equal(joins(), 1)
  await comeBack(1)
  await waitFor(
    () => refusals() > 0,
    20_000,
    () => `${supplicant()}\n${hostapd()}`,
  )
  t.equal(joins(), 1, 'it is refused')
  const refused = await server.logged(({ msg }) => /^Login incorrect/.test(String(msg)))
  t.match(refused, { reason: 'debt' })

  const paid = await command(inStation, 'device', 'pay', 'carol', '--once', '--json')
  t.equal(paid.code, 0, paid.errors)
  const { receipts, unpaid } = JSON.parse(paid.out)
  t.match(receipts, [{ session: session() }])
  t.same(unpaid, [])
  await comeBack(2)
  await waitFor(
    () => joins() === 2,
    20_000,
    () => `${supplicant()}\n${hostapd()}`,
  )
})
