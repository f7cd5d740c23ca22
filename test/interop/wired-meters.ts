// Two real access points (hostapd, driver wired) with one server behind them, and devices that join
// them for real (wpa_supplicant, EAP-TLS, `datanet device run --interface`) and move octets that
// the kernel counts at both ends. One access point tells of 30 % more than was counted at its port.
// A device that lies sends 30 % of its traffic round the interface that it has metered. Called by
// the attested-wired tests.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import type { Test } from 'tap'
import {
  type Cable,
  daemon,
  hostapdConf,
  layCable,
  must,
  startHostapd,
  wiredProfile,
} from './cable.ts'
import { PASSWORD, type Payer, startWatching } from './payer-process.ts'
import type { PortPlan, Told } from './port-process.ts'
import {
  datanet,
  type RunningServer,
  root,
  run,
  SECRET,
  startServer,
  temporaryDirectory,
  testConfig,
  waitFor,
} from './server.ts'

export type Json = Record<string, unknown>
export type Usage = 'accounting' | 'attested' | 'lower' | 'higher'

/** The tariff in base units: without remainders, so that a bill can be taken apart. */
export const PER_OCTET = 4_000_000_000n
export const PER_MILLISECOND = 1_000_000_000_000n
/** Nobody is put off while a busy machine is slow; the last report may come as late as grace. */
const TARIFF =
  '{ per_minute: "0.06", per_megabyte: "0.004", interval: 2s, ' +
  'interval_megabytes: 50, missed_max: 20, grace: 20s }'

/** A port of an access point; `factor`: what it tells, as a part of what was counted. */
const PORTS = {
  honest: { number: 0, nasAddress: '127.0.0.1', ssid: 'Honest', factor: 1 },
  lying: { number: 1, nasAddress: '127.0.0.2', ssid: 'Lying', factor: 1.3 },
} as const
export type PortName = keyof typeof PORTS

const apInterface = (port: PortName) => `ap${PORTS[port].number}`
const stationInterface = (port: PortName) => `sta${PORTS[port].number}`
/** The station has .2, and .3 for what goes through the interface a liar has metered. */
const address = (port: PortName, host: number) => `10.77.${PORTS[port].number}.${host}`
const METERED = 'via0'

const configOf = (usage: Usage): string =>
  testConfig({
    client: `    ssid: ${PORTS.honest.ssid}
  - name: lying
    ipaddr: ${PORTS.lying.nasAddress}/32
    secret: ${SECRET}
    nas_type: hostapd
    ssid: ${PORTS.lying.ssid}`,
    more: `billing: { usage: ${usage}, trust: software }`,
  })
    .replace(/standard: .*/, `standard: ${TARIFF}`)
    .replace('http: { listen: "127.0.0.1:0" }', `http: { listen: "${address('honest', 1)}:8080" }`)

const inside = ([program = '', ...words]: readonly string[], ...more: string[]) =>
  must(program, ...words, ...more)

/** A second cable beside the first, and at its first a liar's way round its meter. */
async function layMore(cable: Cable): Promise<void> {
  const inAp = (...words: string[]) => inside(cable.inAp, ...words)
  const inStation = (...words: string[]) => inside(cable.inStation, ...words)
  const [near, far] = [apInterface('lying'), stationInterface('lying')]
  const peer = ['peer', 'name', far, 'netns', cable.inStation[3] ?? '']
  await inAp('ip', 'link', 'add', near, 'type', 'veth', ...peer)
  await inAp('ip', 'addr', 'add', `${address('lying', 1)}/24`, 'dev', near)
  await inAp('ip', 'link', 'set', near, 'up')
  await inStation('ip', 'addr', 'add', `${address('lying', 2)}/24`, 'dev', far)
  await inStation('ip', 'link', 'set', far, 'up')
  // Each interface answers for its own address alone.
  await inStation('sh', '-c', 'echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore')
  const over = ['link', stationInterface('honest'), 'name', METERED, 'type', 'macvlan']
  await inStation('ip', 'link', 'add', ...over, 'mode', 'private')
  await inStation('ip', 'addr', 'add', `${address('honest', 3)}/32`, 'dev', METERED)
  await inStation('ip', 'link', 'set', METERED, 'up')
  await inStation('ip', 'rule', 'add', 'from', address('honest', 3), 'table', '7')
  await inStation('ip', 'route', 'add', `${address('honest', 0)}/24`, 'dev', METERED, 'table', '7')
  for (const port of ['honest', 'lying'] as const) {
    // A line of 10 Mbit/s to the station.
    const shape = ['root', 'tbf', 'rate', '10mbit', 'burst', '64kb', 'latency', '200ms']
    await inAp('tc', 'qdisc', 'add', 'dev', apInterface(port), ...shape)
  }
}

interface Port {
  readonly content: number
  readonly relay: string
  told(): Told[]
}

/** hostapd at one port, and the process that its accounting goes through. */
async function openPort(
  t: Test,
  inAp: readonly string[],
  name: PortName,
  server: RunningServer,
): Promise<Port> {
  const directory = join(server.directory, name)
  mkdirSync(directory)
  const { nasAddress, factor } = PORTS[name]
  const { hostname, port } = new URL(server.url)
  const relay = join(directory, 'http')
  const plan: PortPlan = {
    ...{ interfaceName: apInterface(name), address: address(name, 1), nasAddress, factor, relay },
    ...{ secret: SECRET, accountingPort: server.accountingPort },
    http: { host: hostname, port: Number(port) },
  }
  const file = join(root, 'test/interop/port-process.ts')
  const said = daemon(t, inAp, [process.execPath, file, JSON.stringify(plan)])
  const ready = () => /^ready (\d+) (\d+)$/m.exec(said())
  await waitFor(() => ready() !== null, 20_000, said)
  const [, accounting, content] = ready() ?? []
  const conf = hostapdConf({ ...server, accountingPort: Number(accounting) })
    .replace(/^interface=.*$/m, `interface=${apInterface(name)}`)
    .replace(/^own_ip_addr=.*$/m, `own_ip_addr=${nasAddress}\nradius_client_addr=${nasAddress}`)
  await startHostapd(t, inAp, directory, `${conf}radius_acct_interim_interval=2\n`)
  const told = () =>
    said()
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line))
  return { content: Number(content), relay, told }
}

/** GET of the operator's API, from outside its network namespace. */
function ask(relay: string, url: string, token: string, path: string): Promise<Json> {
  const { host } = new URL(url)
  const headers = { host, authorization: `Bearer ${token}` }
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath: relay, path, headers, agent: false }, (response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (text: string) => {
        body += text
      })
      response.on('end', () => resolve(JSON.parse(body) as Json))
    })
    sent.on('error', reject).end()
  })
}

export const octetsOf = (o: unknown): bigint => {
  const { inputOctets = '0', outputOctets = '0' } = (o ?? {}) as Record<string, string>
  return BigInt(inputOctets) + BigInt(outputOctets)
}

/** A device at a port: its session as the operator has it, and its payer. */
export interface Visit {
  readonly payer: Payer
  /** The session once it is as wanted. */
  until(what: string, holds: (session: Json) => boolean): Promise<Json>
  /** Moves so many octets, a liar 30 % of them round its meter. */
  move(octets: number): Promise<void>
  /** What the access point has told last. */
  told(): Told
  /** Leaves the port; the session as it stands when it is closed. */
  leave(): Promise<Json>
}

/** Access points, server and cables, billed by `usage`. */
export async function openScene(t: Test, usage: Usage) {
  const directory = temporaryDirectory(t)
  const cable = await layCable(t, [`${address('honest', 1)}/24`, `${address('honest', 2)}/24`])
  await layMore(cable)
  const { inAp, inStation } = cable
  const server = await startServer(t, { directory, config: configOf(usage), prefix: inAp })
  const ports = {
    honest: await openPort(t, inAp, 'honest', server),
    lying: await openPort(t, inAp, 'lying', server),
  }
  const token = readFileSync(join(directory, 'data', 'admin-token'), 'utf8').trim()
  const get = (path: string) => ask(ports.honest.relay, server.url, token, path)
  const cli = async (where: readonly string[], ...words: string[]) => {
    const [program = '', ...args] = [...where, process.execPath, datanet, ...words]
    const env = { DATANET_PASSWORD: PASSWORD }
    const { code, out, errors } = await run(program, args, { cwd: directory, env })
    if (code !== 0) throw new Error(`datanet ${words.join(' ')}: ${code} ${errors}`)
    return out
  }

  const at = ['--data', join(directory, 'data'), '--config', server.configPath]
  /** Creates a device; its account. */
  async function device(name: string): Promise<string> {
    const terms = ['--deposit', '10', '--operator', server.url]
    await cli(inStation, 'device', 'create', name, ...terms)
    const file = readFileSync(join(directory, name, 'device.json'), 'utf8')
    return (JSON.parse(file) as { account: string }).account
  }

  let visits = 0
  /** hostapd is deaf for some seconds to a station that has just left: another one comes. */
  async function beAnother(port: PortName): Promise<void> {
    visits += 1
    const mac = `02:11:00:00:01:${visits.toString(16).padStart(2, '0')}`
    await inside(inStation, 'ip', 'link', 'set', stationInterface(port), 'address', mac)
    await inside(inAp, 'ip', 'neigh', 'flush', 'dev', apInterface(port))
  }

  async function visit(name: string, port: PortName, lies = false): Promise<Visit> {
    await beAnother(port)
    const profile = readFileSync(join(directory, name, 'wpa_supplicant.conf'), 'utf8')
    const conf = join(directory, `${name}-${port}.conf`)
    const sockets = join(directory, `wpa-${name}-${port}`)
    writeFileSync(conf, `ctrl_interface=${sockets}\n${wiredProfile(profile)}`)
    const { account } = JSON.parse(readFileSync(join(directory, name, 'device.json'), 'utf8'))
    const meter = ['--interface', lies ? METERED : stationInterface(port)]
    const flags = ['--activity', 'off', ...meter]
    const payer = await startWatching(t, join(directory, name), flags, inStation)
    const link = ['-i', stationInterface(port), '-D', 'wired', '-c', conf]
    const supplicant = daemon(t, inStation, ['wpa_supplicant', '-t', ...link])
    let seen: Json | undefined
    let id: unknown
    const words = (): string => `${JSON.stringify(seen)}\n${supplicant()}`
    const look = async (): Promise<void> => {
      const { sessions } = (await get('/v1/sessions?all=true')) as { sessions: Json[] }
      const own = sessions.filter((one) => one['account'] === account)
      seen = own.find((one) => (id === undefined ? one['state'] !== 'closed' : one['id'] === id))
    }
    const joined = async () => {
      await look()
      return seen !== undefined && seen['state'] !== 'reserved'
    }
    await waitFor(joined, 30_000, () => `${name} did not join: ${words()}`)
    id = seen?.['id']
    const until = async (what: string, holds: (session: Json) => boolean): Promise<Json> => {
      const story = () => `${name}, ${what}: ${words()}\n${JSON.stringify(payer.lines())}`
      const isSo = async () => {
        await look()
        return seen !== undefined && holds(seen)
      }
      await waitFor(isSo, 30_000, story)
      return seen ?? {}
    }
    const { content, told } = ports[port]
    return {
      payer,
      until,
      async move(octets) {
        const round = lies ? Math.floor(octets * 0.3) : octets
        const parts = [`${address(port, 2)}=${round}`]
        if (lies) parts.push(`${address(port, 3)}=${octets - round}`)
        const file = join(root, 'test/interop/traffic-process.ts')
        const words = [process.execPath, file, `${address(port, 1)}:${content}`, ...parts]
        await inside(inStation, ...words)
      },
      told: () => told().at(-1) ?? { status: 0, acctSessionId: '', counted: 0, told: 0 },
      async leave() {
        for (const word of ['logoff', 'terminate']) {
          await must('wpa_cli', '-p', sockets, '-i', stationInterface(port), word)
        }
        return until('the end', ({ state }) => state === 'closed')
      },
    }
  }

  return {
    get,
    device,
    visit,
    ledger: async (...words: string[]): Promise<Json> =>
      JSON.parse(await cli(inAp, 'ledger', '--json', ...words, ...at)),
    sessions: async (...words: string[]): Promise<Json> =>
      JSON.parse(await cli(inAp, 'sessions', '--json', ...words, ...at)),
    /** From now on sessions begin with this policy; those that are open keep theirs. */
    async billBy(next: Usage): Promise<void> {
      writeFileSync(server.configPath, configOf(next))
      await cli(inAp, 'reload', ...at)
    },
  }
}
