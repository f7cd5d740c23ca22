// What a real hostapd answers to our Disconnect- and CoA-Requests: hostapd (driver=wired) and
// wpa_supplicant at the two ends of a virtual cable, our server for the authentication, and our
// Dynamic Authorization Client against hostapd's own port.

import { spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { NasPlace } from '../../accounting/session.ts'
import type { Outcome } from '../../server/dynamic-authorization.ts'
import {
  datanet,
  run,
  SECRET,
  startServer,
  temporaryDirectory,
  testConfig,
  waitFor,
} from './server.ts'

const id = process.pid.toString(36)
const AP = `dnda${id}`
const STATION = `dnds${id}`
const INSIDE = ['ip', 'netns', 'exec', AP]
const STATION_MAC = '02-11-00-00-00-02'
const DAS_PORT = 3799
const DAS_SECRET = 'a secret for dynamic authorization only'

async function must(program: string, ...args: string[]): Promise<string> {
  const { code, out, errors } = await run(program, args)
  if (code !== 0) throw new Error(`${program} ${args.join(' ')}: exit ${code} ${errors}`)
  return out
}

/** Two namespaces and the cable; gone with the test. */
async function lay(t: Test): Promise<void> {
  for (const name of [AP, STATION]) {
    await must('ip', 'netns', 'add', name)
    t.teardown(async () => void (await must('ip', 'netns', 'del', name)))
    await must('ip', '-n', name, 'link', 'set', 'lo', 'up')
  }
  const near = ['ap0', 'address', '02:11:00:00:00:01', 'type', 'veth']
  const far = ['peer', 'name', 'sta0', 'address', '02:11:00:00:00:02', 'netns', STATION]
  await must('ip', '-n', AP, 'link', 'add', ...near, ...far)
  await must('ip', '-n', AP, 'link', 'set', 'ap0', 'up')
  await must('ip', '-n', STATION, 'link', 'set', 'sta0', 'up')
}

/** Runs a daemon in a namespace; what it printed so far. Ended by the test. */
function daemon(t: Test, namespace: string, args: readonly string[]): () => string {
  let out = ''
  const child = spawn('ip', ['netns', 'exec', namespace, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (bytes: Buffer) => {
      out += bytes.toString()
    })
  }
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  t.teardown(async () => {
    child.kill('SIGTERM')
    await ended
  })
  return () => out
}

interface Answered {
  readonly outcome: Outcome
  readonly drops: readonly string[]
}

/** Our client inside the access point's namespace. */
function clientInside(t: Test) {
  const program = fileURLToPath(new URL('dynamic-authorization-client.ts', import.meta.url))
  const [ip = '', ...words] = [...INSIDE, process.execPath, program]
  const child = spawn(ip, words, { stdio: ['pipe', 'pipe', 'inherit'] })
  let out = ''
  child.stdout.on('data', (bytes: Buffer) => {
    out += bytes.toString()
  })
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  t.teardown(async () => {
    child.stdin.end()
    await ended
  })
  let read = 0
  return async (place: NasPlace, o: { nasType: string; kbps?: number }): Promise<Answered> => {
    const request = { ...o, place, port: DAS_PORT, secret: DAS_SECRET }
    child.stdin.write(`${JSON.stringify(request)}\n`)
    const lines = () => out.split('\n').slice(0, -1)
    await waitFor(
      () => lines().length > read,
      40_000,
      () => `no outcome for ${o.nasType}: ${out}`,
    )
    read += 1
    return JSON.parse(lines().at(-1) ?? '')
  }
}

/** A server, a device, hostapd and wpa_supplicant; resolves when the device is on. */
async function rig(t: Test) {
  const directory = temporaryDirectory(t)
  await lay(t)
  const server = await startServer(t, { directory, config: testConfig(), prefix: INSIDE })
  const create = ['device', 'create', 'dave', '--deposit', '10', '--operator', server.url]
  const made = await run('ip', [...INSIDE.slice(1), process.execPath, datanet, ...create], {
    cwd: directory,
    env: { DATANET_PASSWORD: 'a wired password' },
  })
  t.equal(made.code, 0, made.errors)
  const hostapdConf = join(directory, 'hostapd.conf')
  writeFileSync(
    hostapdConf,
    `interface=ap0
driver=wired
ctrl_interface=${directory}/hostapd
logger_stdout=-1
logger_stdout_level=0
ieee8021x=1
use_pae_group_addr=1
eap_server=0
eap_reauth_period=0
own_ip_addr=127.0.0.1
nas_identifier=wired-switch
auth_server_addr=127.0.0.1
auth_server_port=${server.authPort}
auth_server_shared_secret=${SECRET}
acct_server_addr=127.0.0.1
acct_server_port=${server.accountingPort}
acct_server_shared_secret=${SECRET}
radius_das_port=${DAS_PORT}
radius_das_client=127.0.0.1 ${DAS_SECRET}
radius_das_time_window=300
radius_das_require_event_timestamp=1
radius_das_require_message_authenticator=1
`,
  )
  const wifi = readFileSync(join(directory, 'dave', 'wpa_supplicant.conf'), 'utf8')
  // On a cable there is no 4-way handshake: the port opens after EAP alone.
  const profile = wifi.replace(/^(\s*)key_mgmt=.*$/m, '$1key_mgmt=IEEE8021X')
  const wpaConf = join(directory, 'wired.conf')
  const wired = `ap_scan=0\neapol_version=2\n${profile.replace(/\n\}/, '\n  eapol_flags=0\n}')}`
  writeFileSync(wpaConf, wired)
  const hostapd = daemon(t, AP, ['hostapd', '-t', hostapdConf])
  await waitFor(
    () => /AP-ENABLED/.test(hostapd()),
    10_000,
    () => `hostapd: ${hostapd()}`,
  )
  const interfaces = ['-i', 'sta0', '-D', 'wired', '-c', wpaConf]
  const supplicant = daemon(t, STATION, ['wpa_supplicant', '-t', ...interfaces])
  await waitFor(
    () => /CTRL-EVENT-CONNECTED/.test(supplicant()),
    20_000,
    () => `wpa_supplicant: ${supplicant()}\nhostapd: ${hostapd()}`,
  )
  const control = ['hostapd_cli', '-p', `${directory}/hostapd`, '-i', 'ap0', 'all_sta']
  /** What hostapd says of its stations: empty when there is none. */
  const stations = () => must('ip', ...INSIDE.slice(1), ...control)
  return { hostapd, stations, ask: clientInside(t) }
}

t.test('hostapd answers our Disconnect- and CoA-Requests', async (t) => {
  const { hostapd, stations, ask } = await rig(t)
  const acctSessionId = /^dot1xAuthSessionId=(\S+)$/m.exec(await stations())?.[1] ?? ''
  t.match(acctSessionId, /^[0-9A-F]{16}$/)
  const place: NasPlace = {
    ...{ nas: 'loopback', address: '127.0.0.1', nasIdentifier: 'wired-switch' },
    ...{ nasIpAddress: '127.0.0.1', nasPort: undefined, callingStationId: STATION_MAC },
    ...{ calledStationId: '02-11-00-00-00-01:', acctSessionId, acctMultiSessionId: '' },
  }
  const never = { ok: false, gone: false, answered: true }

  const rows: readonly [string, Partial<NasPlace>, { nasType: string; kbps?: number }, object][] = [
    [
      'C5 503: a session it does not have',
      { acctSessionId: '0000000000000000' },
      { nasType: 'hostapd' },
      { result: 'nak-503', ok: false, gone: true, answered: true, attempts: 1 },
    ],
    [
      'C5 503: a session of another station',
      { callingStationId: '02-11-00-00-00-03' },
      { nasType: 'hostapd' },
      { result: 'nak-503', gone: true },
    ],
    [
      'C5 403, then 503: another NAS-Identifier',
      { nasIdentifier: 'another-switch', acctSessionId: '0000000000000000' },
      { nasType: 'hostapd' },
      { trail: ['nak-403', 'nak-503'], advice: /NAS-Identifier/ },
    ],
    [
      'C5 403, then 503: another NAS-IP-Address',
      { nasIpAddress: '192.0.2.1', acctSessionId: '0000000000000000' },
      { nasType: 'hostapd' },
      { trail: ['nak-403', 'nak-503'] },
    ],
    [
      'C5 401, then 503: NAS-Port and Called-Station-Id, which it does not take',
      { nasPort: 1, acctSessionId: '0000000000000000' },
      { nasType: 'generic' },
      { trail: ['nak-401', 'nak-503'] },
    ],
    [
      'a WISPr rate in a CoA-Request: 401 to every set',
      {},
      { nasType: 'generic', kbps: 64 },
      { ...never, result: 'nak-401', attempts: 4 },
    ],
    [
      'a rate it cannot keep is not asked for',
      {},
      { nasType: 'hostapd', kbps: 64 },
      {
        result: 'no-rate-limit',
        attempts: 0,
      },
    ],
  ]
  for (const [name, change, o, wanted] of rows) {
    const { outcome, drops } = await ask({ ...place, ...change }, o)
    t.match(outcome, wanted, name)
    t.same(drops, [], name)
  }
  t.match(await stations(), STATION_MAC.replaceAll('-', ':'), 'and the station is still on')

  // The port and the Called-Station-Id cost one 401; what is left finds the session.
  const { outcome, drops } = await ask({ ...place, nasPort: 1 }, { nasType: 'generic' })
  t.match(outcome, { result: 'ack', ok: true, attempts: 2, trail: ['nak-401', 'ack'] })
  t.same(drops, [])
  // It keeps the station for five seconds after the last request; till then another is an ACK too.
  const repeated = await ask(place, { nasType: 'hostapd' })
  t.match(repeated.outcome, { result: 'ack', attempts: 1 })
  await waitFor(
    async () => !(await stations()).includes(STATION_MAC.replaceAll('-', ':')),
    15_000,
    () => `the station is still there: ${hostapd()}`,
  )
  const again = await ask(place, { nasType: 'hostapd' })
  t.match(again.outcome, { result: 'nak-503', gone: true }, 'the session is gone')
  t.match(hostapd(), /ap0: STA 02:11:00:00:00:02 [^\n]*(deauth|disassoc|unauthoriz)/i)
})
