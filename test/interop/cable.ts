// Two network namespaces with a virtual cable between them, one for an access point and one for a
// station, and daemons in them. All of it goes with the test.

import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type RunningServer, run, SECRET, waitFor } from './server.ts'

interface Test {
  teardown(f: () => Promise<void>): void
}

export const STATION_MAC = '02:11:00:00:00:02'
/** The interface at each end. */
export const AP_INTERFACE = 'ap0'
export const STATION_INTERFACE = 'sta0'

export interface Cable {
  /** Words before a command that is to run at that end. */
  readonly inAp: readonly string[]
  readonly inStation: readonly string[]
}

/** A command that must succeed; what it printed. */
export async function must(program: string, ...args: string[]): Promise<string> {
  const { code, out, errors } = await run(program, args)
  if (code !== 0) throw new Error(`${program} ${args.join(' ')}: exit ${code} ${errors}`)
  return out
}

/** Lays one; `addresses`: of its two ends, with their prefix length, where they need any. */
export async function layCable(
  t: Test,
  addresses: readonly [ap?: string, station?: string] = [],
): Promise<Cable> {
  const id = process.pid.toString(36)
  const ends = [
    { name: `dnap${id}`, device: AP_INTERFACE, address: addresses[0] },
    { name: `dnst${id}`, device: STATION_INTERFACE, address: addresses[1] },
  ] as const
  const [ap, station] = ends
  for (const { name } of ends) {
    await must('ip', 'netns', 'add', name)
    t.teardown(async () => void (await must('ip', 'netns', 'del', name)))
    await must('ip', '-n', name, 'link', 'set', 'lo', 'up')
  }
  const near = [ap.device, 'address', '02:11:00:00:00:01', 'type', 'veth']
  const far = ['peer', 'name', station.device, 'address', STATION_MAC, 'netns', station.name]
  await must('ip', '-n', ap.name, 'link', 'add', ...near, ...far)
  for (const { name, device, address } of ends) {
    if (address !== undefined) await must('ip', '-n', name, 'addr', 'add', address, 'dev', device)
    await must('ip', '-n', name, 'link', 'set', device, 'up')
  }
  const inside = (name: string) => ['ip', 'netns', 'exec', name]
  return { inAp: inside(ap.name), inStation: inside(station.name) }
}

/** Runs a daemon at one end; what it printed so far. Ended by the test. */
export function daemon(t: Test, inside: readonly string[], args: readonly string[]): () => string {
  let out = ''
  const [program = '', ...words] = [...inside, ...args]
  const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'pipe'] })
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

/** A configuration of hostapd's wired driver at the access point's end; `more`: further lines. */
export function hostapdConf({ authPort, accountingPort }: RunningServer, more = ''): string {
  return `interface=${AP_INTERFACE}
driver=wired
logger_stdout=-1
logger_stdout_level=0
ieee8021x=1
use_pae_group_addr=1
eap_server=0
eap_reauth_period=0
own_ip_addr=127.0.0.1
nas_identifier=wired-switch
auth_server_addr=127.0.0.1
auth_server_port=${authPort}
auth_server_shared_secret=${SECRET}
acct_server_addr=127.0.0.1
acct_server_port=${accountingPort}
acct_server_shared_secret=${SECRET}
${more}`
}

/** Starts hostapd at its end, with that configuration; returns what it has said so far. */
export async function startHostapd(
  t: Test,
  inAp: readonly string[],
  directory: string,
  conf: string,
): Promise<() => string> {
  const path = join(directory, 'hostapd.conf')
  writeFileSync(path, conf)
  const said = daemon(t, inAp, ['hostapd', '-t', path])
  await waitFor(() => /AP-ENABLED/.test(said()), 10_000, said)
  return said
}

/** A device's profile for a cable: no 4-way handshake there, the port opens after EAP alone. */
export function wiredProfile(wpaSupplicantConf: string): string {
  const profile = wpaSupplicantConf
    .replace(/^(\s*)key_mgmt=.*$/m, '$1key_mgmt=IEEE8021X')
    .replace(/\n\}/, '\n  eapol_flags=0\n}')
  return `ap_scan=0\neapol_version=2\n${profile}`
}
