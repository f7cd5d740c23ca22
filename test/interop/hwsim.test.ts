// A real access point without radios: Linux's simulated Wi-Fi in an emulated machine, hostapd and
// wpa_supplicant on it, our server outside. What a device sees when it connects, pays, stops
// paying, and when the access point loses power. The guest has no Node: vouchers are signed here
// with the device's own key, and an HTTP client in the guest sends them.

import t, { type Test } from 'tap'
import {
  COA_SECRET,
  ping,
  relay,
  type Security,
  SSID,
  STATION_LOG,
  STATION_MAC,
  startAccessPoint,
  startStation,
  stationMeter,
} from './hwsim/access-point.ts'
import { boot, freeUdpPort, type Guest, HOST_ADDRESS } from './hwsim/guest.ts'
import { openPayer, type Payer, type Session } from './hwsim/payer.ts'
import {
  createDevice,
  type RunningServer,
  SECRET,
  startServer,
  temporaryDirectory,
  testConfig,
  waitFor,
} from './server.ts'

// Half a minute on a quiet machine; the first run also downloads and unpacks a kernel.
t.setTimeout(400_000)

const TOKEN = 10n ** 18n
const INTERVAL_MS = 2_000
const MISSED_MAX = 2
const PER_SECOND = 10n ** 14n
const PER_MEGABYTE = TOKEN / 100n
const TARIFF = `{ per_minute: "0.006", per_megabyte: "0.01", interval: ${INTERVAL_MS}ms, \
interval_megabytes: 30, missed_max: ${MISSED_MAX}, grace: 0s }`
const PASSWORD = 'correct horse battery staple'

interface Device {
  readonly directory: string
  readonly payer: Payer
}

let server: RunningServer
let guest: Guest
let dasPort: number
/** Pays far ahead. */
let early: Device
/** Pays as it goes. */
let exact: Device

const radius = () => ({
  authPort: server.authPort,
  accountingPort: server.accountingPort,
  secret: SECRET,
  interimSeconds: 2,
})
const httpPort = () => Number(new URL(server.url).port)

async function makeDevice(name: string): Promise<Device> {
  const { directory } = await createDevice(server, name, ['--deposit', '10', '--ssid', SSID])
  return { directory, payer: await openPayer(server, directory, PASSWORD) }
}

/** Pays from this machine, as a device does that has another way to the Internet. */
async function payFromHere(t: Test, body: string): Promise<void> {
  const headers = { 'content-type': 'application/json' }
  const answer = await fetch(`${server.url}/v1/payments`, { method: 'POST', headers, body })
  t.equal(answer.status, 200, await answer.text())
}

/** The HTTP client in the guest: exit status 0 and the receipt, or its words. */
const post = (url: string, body: string) =>
  `wget -q -O - --header 'Content-Type: application/json' --post-data '${body}' ${url}/v1/payments`

/** The device's newest session once it is as wanted. */
async function session(
  { payer }: Device,
  is: (newest: Session) => boolean,
  timeoutMs = 20_000,
): Promise<Session> {
  let seen: Session[] = []
  let found: Session | undefined
  await waitFor(
    async () => {
      seen = await payer.sessions()
      found = seen[0] !== undefined && is(seen[0]) ? seen[0] : undefined
      return found !== undefined
    },
    timeoutMs,
    () => `no such session: ${JSON.stringify(seen)}\n${story()}`,
  )
  return found ?? raise('no session')
}

/** What the server said last. */
const story = (): string =>
  server
    .log()
    .slice(-20)
    .map((line) => JSON.stringify(line))
    .join('\n')

function raise(message: string): never {
  throw new Error(message)
}

/** Starts the station with this device's profile and waits until it is on. */
async function connect(device: Device, edit?: (conf: string) => string): Promise<void> {
  const from = await guest.length(STATION_LOG)
  await startStation(guest, device.directory, edit)
  await guest.logged(STATION_LOG, 'CTRL-EVENT-CONNECTED', { from })
}

const wpaCli = (words: string) => guest.station(`wpa_cli -p /run/wpa -i wlan1 ${words}`)

const logins = () => server.log().filter((line) => String(line['msg']).startsWith('Login OK'))

t.before(async () => {
  const directory = temporaryDirectory(t)
  dasPort = await freeUdpPort()
  const config = testConfig({
    client: `    coa: { port: ${dasPort}, secret: ${COA_SECRET} }`,
  }).replace(/standard: \{.*\}/, `standard: ${TARIFF}`)
  const customers = async () => {
    server = await startServer(t, { directory, config })
    ;[early, exact] = await Promise.all([makeDevice('early'), makeDevice('exact')])
  }
  ;[guest] = await Promise.all([boot(t, { dasPort }), customers()])
})

const CONNECTIONS: readonly [name: string, security: Security, tls: string][] = [
  ['WPA2-Enterprise with TLS 1.2', 'wpa2', '1.2'],
  ['WPA2-Enterprise with TLS 1.3', 'wpa2', '1.3'],
  ['WPA3-Enterprise with TLS 1.2', 'wpa3', '1.2'],
  ['WPA3-Enterprise with TLS 1.3', 'wpa3', '1.3'],
]

for (const [name, security, tls] of CONNECTIONS) {
  t.test(`${name}: connected, and packets go through the air`, async (t) => {
    await payFromHere(t, early.payer.payment(TOKEN))
    await startAccessPoint(guest, security, radius())
    const before = logins().length
    const disabled = `tls_disable_tlsv1_3=${tls === '1.2' ? 1 : 0}`
    await connect(early, (conf) => conf.replace(/tls_disable_tlsv1_3=./, disabled))
    t.equal(await ping(guest), 3)
    const { out } = await wpaCli('status')
    t.match(out, /^wpa_state=COMPLETED$/m)
    t.match(out, new RegExp(`^eap_tls_version=TLSv${tls}$`.replace('.', '\\.'), 'm'))
    const keys = security === 'wpa3' ? 'WPA2-EAP-SHA256' : 'WPA2/IEEE 802.1X/EAP'
    t.match(out, new RegExp(`^key_mgmt=${keys}$`, 'm'))
    t.equal(/^pmf=2$/m.test(out), security === 'wpa3', 'protected management frames')
    // The station of the connection before may have found the new access point, too.
    t.ok(logins().length > before)
    t.match(logins().at(-1), { tls, station: STATION_MAC })
  })
}

t.test('a known amount of traffic is rated within 2 % of what was sent', async (t) => {
  // The largest packets the air takes. hostapd counts whole frames: 50 octets more than the packet
  // from the station, 34 to it (header, LLC, CCMP).
  const [packets, size] = [4_000, 2_304]
  await guest.ap(`ip link set wlan0 mtu ${size}`)
  await guest.station(`ip link set wlan1 mtu ${size}`)
  const meterBefore = await stationMeter(guest)
  const echo = `ping -A -q -c ${packets} -s ${size - 28} 192.168.77.1`
  const { out } = await guest.station(echo, 120_000)
  t.match(out, new RegExp(`${packets} packets received`))
  const metered = (await stationMeter(guest)) - meterBefore
  await wpaCli('disconnect')
  const ended = await session(early, ({ state }) => state === 'closed')
  t.match(ended, { endedBy: 'stopped', kind: 'normal', cutReason: null })

  const octets = Number(ended.inputOctets) + Number(ended.outputOctets)
  const sent = 2 * packets * size
  const off = (value: number, from: number) => Math.abs(value / from - 1)
  t.comment(`sent ${sent}, device's meter ${metered}, accounting ${octets}, owed ${ended.owed}`)
  t.ok(off(octets, sent) < 0.02, `accounting ${octets}, sent ${sent}`)
  t.ok(off(octets, metered) < 0.02, `accounting ${octets}, device's meter ${metered}`)
  t.ok(off(Number(ended.inputOctets), Number(ended.outputOctets)) < 0.02, 'the same both ways')
  const time = PER_SECOND * BigInt((ended.endedAt ?? 0) - ended.startedAt)
  const rated = Number(BigInt(ended.owed) - time) / Number(PER_MEGABYTE)
  t.ok(off(rated * 1e6, sent) < 0.02, `owed ${ended.owed} for ${sent}`)
  t.ok(BigInt(ended.paid) >= BigInt(ended.owed), `paid ${ended.paid} ahead`)
})

t.test('back by a cached key: billed to the same account without an Access-Request', async (t) => {
  let [before, back] = [0, undefined as Session | undefined]
  // A station may always choose to log in anew, and a slow one does: then it is asked again.
  for (let attempt = 0; attempt < 3 && back?.kind !== 'pmksa'; attempt += 1) {
    if (attempt > 0) t.comment(`logged in anew:\n${story()}`)
    before = logins().length
    const from = await guest.length(STATION_LOG)
    await wpaCli('reconnect')
    await guest.logged(STATION_LOG, 'CTRL-EVENT-CONNECTED', { from })
    t.equal(await ping(guest), 3)
    back = await session(early, ({ state }) => state !== 'closed')
    if (back.kind === 'pmksa') break
    await wpaCli('disconnect')
    await session(early, ({ state }) => state === 'closed')
    await new Promise((resolve) => setTimeout(resolve, 2 * INTERVAL_MS))
  }
  t.match(back, { kind: 'pmksa', account: early.payer.account })
  t.equal(logins().length, before)
  await wpaCli('disconnect')
  await session(early, ({ state }) => state === 'closed')
})

t.test('pays through the air and stays; stops and is put off', async (t) => {
  await connect(exact)
  const url = await relay(guest, httpPort())
  const opened = await session(exact, ({ state }) => state !== 'closed')
  const connected = await guest.length(STATION_LOG)
  let paidAt = 0
  for (let beat = 0; beat < 8; beat += 1) {
    const { due } = await session(exact, () => true)
    // What this payment itself will add to the volume, and less than an interval of time.
    const body = exact.payer.payment(BigInt(due) + PER_SECOND, opened.id)
    const { code, out } = await guest.station(post(url, body))
    t.equal(code, 0, `answered ${out}`)
    t.match(JSON.parse(out), { receipt: { session: opened.id } })
    paidAt = performance.now()
    await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS / 2))
  }
  t.match(await session(exact, () => true), { id: opened.id, cutReason: null, state: 'current' })
  const paying = await guest.read(STATION_LOG, connected)
  t.notMatch(paying, /CTRL-EVENT-DISCONNECTED/, 'nobody who pays is put off')

  await guest.logged(STATION_LOG, 'CTRL-EVENT-DISCONNECTED', { from: connected })
  const waited = performance.now() - paidAt
  t.comment(`put off ${Math.round(waited)} ms after the last payment`)
  t.ok(waited < (MISSED_MAX + 1) * INTERVAL_MS + 2_000, `${waited} ms`)
  // IEEE 802.11 §9.4.1.7: reason 2, an authentication that is no longer valid. The access point's
  // own words: what the station itself decides is marked as such.
  const words = /CTRL-EVENT-DISCONNECTED.*/.exec(await guest.read(STATION_LOG, connected))?.[0]
  t.match(words, /reason=2\b/)
  t.notMatch(words, /locally_generated/)
  await server.logged(({ msg, session: id }) => msg === 'Disconnect-Request' && id === opened.id)
  const asked = server.log().filter(({ msg }) => msg === 'Disconnect-Request')
  t.match(asked, [{ session: opened.id, reason: 'intervals-missed', result: 'ack' }])
  const cut = await session(exact, ({ state }) => state === 'closed')
  t.match(cut, { id: opened.id, cutReason: 'intervals-missed' })
  t.ok(BigInt(cut.owed) > BigInt(cut.paid), `owes ${cut.owed}, paid ${cut.paid}`)
})

t.test('in debt it is not let in; the debt paid, it is', async (t) => {
  const tried = await guest.length(STATION_LOG)
  await wpaCli('select_network 0')
  await guest.logged(STATION_LOG, 'CTRL-EVENT-EAP-FAILURE', { from: tried })
  t.ok(await server.logged(({ reason }) => reason === 'debt'))
  const { due } = await session(exact, () => true)
  // Not through the air, of course; and far ahead, since nothing more is paid below.
  const { code, out } = await guest.ap(
    post(`http://${HOST_ADDRESS}:${httpPort()}`, exact.payer.payment(BigInt(due) + TOKEN)),
  )
  t.equal(code, 0, out)
  const paid = await guest.length(STATION_LOG)
  await wpaCli('select_network 0')
  await guest.logged(STATION_LOG, 'CTRL-EVENT-CONNECTED', { from: paid })
  t.equal(await ping(guest), 3)
  const back = await session(exact, ({ state }) => state === 'current' || state === 'opened')
  t.match(back, { kind: 'normal', cutReason: null })
})

t.test('the access point loses power: its return closes what was open', async (t) => {
  await session(exact, ({ state }) => state === 'current')
  await guest.powerOff()
  const lostAt = Date.now()
  const open = await session(exact, () => true)
  guest = await boot(t, { dasPort })
  const still = { id: open.id, state: 'current', endedBy: null }
  t.match(await session(exact, () => true), still, 'nobody said so')
  await startAccessPoint(guest, 'wpa3', radius())
  // hostapd says it once more after 3, 9 and 21 s where the first packet finds no way yet.
  const ended = await session(exact, ({ state }) => state === 'closed', 40_000)
  t.match(ended, { id: open.id, endedBy: 'nas-restarted' })
  t.ok((ended.endedAt ?? 0) * 1000 <= lostAt, 'nothing is owed for the time without power')
})
