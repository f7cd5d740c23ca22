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
  type Cable,
  daemon,
  hostapdConf,
  layCable,
  must,
  STATION_INTERFACE,
  STATION_MAC,
  startHostapd,
  wiredProfile,
} from './cable.ts'
import { datanet, run, startServer, temporaryDirectory, testConfig, waitFor } from './server.ts'

const CALLING_STATION_ID = STATION_MAC.replaceAll(':', '-')
const DAS_PORT = 3799
const DAS_SECRET = 'a secret for dynamic authorization only'

interface Answered {
  readonly outcome: Outcome
  readonly drops: readonly string[]
}

/** Our client inside the access point's namespace. */
function clientInside(t: Test, { inAp }: Cable) {
  const program = fileURLToPath(new URL('dynamic-authorization-client.ts', import.meta.url))
  const [ip = '', ...words] = [...inAp, process.execPath, program]
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
  const cable = await layCable(t)
  const { inAp, inStation } = cable
  const server = await startServer(t, { directory, config: testConfig(), prefix: inAp })
  const create = ['device', 'create', 'dave', '--deposit', '10', '--operator', server.url]
  const made = await run('ip', [...inAp.slice(1), process.execPath, datanet, ...create], {
    cwd: directory,
    env: { DATANET_PASSWORD: 'a wired password' },
  })
  t.equal(made.code, 0, made.errors)
  const das = `ctrl_interface=${directory}/hostapd
radius_das_port=${DAS_PORT}
radius_das_client=127.0.0.1 ${DAS_SECRET}
radius_das_time_window=300
radius_das_require_event_timestamp=1
radius_das_require_message_authenticator=1
`
  const wifi = readFileSync(join(directory, 'dave', 'wpa_supplicant.conf'), 'utf8')
  const wiredPath = join(directory, 'wired.conf')
  writeFileSync(wiredPath, wiredProfile(wifi))
  const hostapd = await startHostapd(t, inAp, directory, hostapdConf(server, das))
  const interfaces = ['-i', STATION_INTERFACE, '-D', 'wired', '-c', wiredPath]
  const supplicant = daemon(t, inStation, ['wpa_supplicant', '-t', ...interfaces])
  await waitFor(
    () => /CTRL-EVENT-CONNECTED/.test(supplicant()),
    20_000,
    () => `wpa_supplicant: ${supplicant()}\nhostapd: ${hostapd()}`,
  )
  const control = ['hostapd_cli', '-p', `${directory}/hostapd`, '-i', 'ap0', 'all_sta']
  /** What hostapd says of its stations: empty when there is none. */
  const stations = () => must('ip', ...inAp.slice(1), ...control)
  return { hostapd, stations, ask: clientInside(t, cable) }
}

t.test('hostapd answers our Disconnect- and CoA-Requests', async (t) => {
  const { hostapd, stations, ask } = await rig(t)
  const acctSessionId = /^dot1xAuthSessionId=(\S+)$/m.exec(await stations())?.[1] ?? ''
  t.match(acctSessionId, /^[0-9A-F]{16}$/)
  const place: NasPlace = {
    ...{ nas: 'loopback', address: '127.0.0.1', nasIdentifier: 'wired-switch' },
    ...{ nasIpAddress: '127.0.0.1', nasPort: undefined, callingStationId: CALLING_STATION_ID },
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
  t.match(await stations(), STATION_MAC, 'and the station is still on')

  // The port and the Called-Station-Id cost one 401; what is left finds the session.
  const { outcome, drops } = await ask({ ...place, nasPort: 1 }, { nasType: 'generic' })
  t.match(outcome, { result: 'ack', ok: true, attempts: 2, trail: ['nak-401', 'ack'] })
  t.same(drops, [])
  // It keeps the station for five seconds after the last request; till then another is an ACK too.
  const repeated = await ask(place, { nasType: 'hostapd' })
  t.match(repeated.outcome, { result: 'ack', attempts: 1 })
  await waitFor(
    async () => !(await stations()).includes(STATION_MAC),
    15_000,
    () => `the station is still there: ${hostapd()}`,
  )
  const again = await ask(place, { nasType: 'hostapd' })
  t.match(again.outcome, { result: 'nak-503', gone: true }, 'the session is gone')
  t.match(hostapd(), /ap0: STA 02:11:00:00:00:02 [^\n]*(deauth|disassoc|unauthoriz)/i)
})
