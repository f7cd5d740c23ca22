// A real authenticator and a real supplicant: hostapd (driver=wired) in one network namespace,
// wpa_supplicant in another, a virtual cable between them, and our server as the RADIUS server.

import { spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
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
const AP = `dnap${id}`
const STATION = `dnst${id}`

async function must(program: string, ...args: string[]): Promise<void> {
  const { code, errors } = await run(program, args)
  if (code !== 0) throw new Error(`${program} ${args.join(' ')}: exit ${code} ${errors}`)
}

/** Two namespaces and the cable; gone with the test. */
async function lay(t: { teardown(f: () => Promise<void>): void }): Promise<void> {
  for (const name of [AP, STATION]) {
    await must('ip', 'netns', 'add', name)
    t.teardown(() => must('ip', 'netns', 'del', name))
    await must('ip', '-n', name, 'link', 'set', 'lo', 'up')
  }
  const peer = ['peer', 'name', 'sta0', 'address', '02:11:00:00:00:02', 'netns', STATION]
  await must(
    'ip',
    '-n',
    AP,
    'link',
    'add',
    'ap0',
    'address',
    '02:11:00:00:00:01',
    'type',
    'veth',
    ...peer,
  )
  await must('ip', '-n', AP, 'link', 'set', 'ap0', 'up')
  await must('ip', '-n', STATION, 'link', 'set', 'sta0', 'up')
}

/** Runs a daemon in a namespace, its output to a file; ended by the test. */
function daemon(
  t: { teardown(f: () => Promise<void>): void },
  namespace: string,
  args: string[],
): () => string {
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

t.test('hostapd and wpa_supplicant authenticate through our server', async (t) => {
  const directory = temporaryDirectory(t)
  await lay(t)
  const inside = ['ip', 'netns', 'exec', AP]
  const server = await startServer(t, { directory, config: testConfig(), prefix: inside })
  const create = ['device', 'create', 'carol', '--deposit', '10', '--operator', server.url]
  const made = await run('ip', [...inside.slice(1), process.execPath, datanet, ...create], {
    cwd: directory,
    env: { DATANET_PASSWORD: 'a wired password' },
  })
  t.equal(made.code, 0, made.errors)

  const hostapdConf = join(directory, 'hostapd.conf')
  writeFileSync(
    hostapdConf,
    `interface=ap0
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
auth_server_port=${server.authPort}
auth_server_shared_secret=${SECRET}
acct_server_addr=127.0.0.1
acct_server_port=${server.accountingPort}
acct_server_shared_secret=${SECRET}
`,
  )
  const wifi = readFileSync(join(directory, 'carol', 'wpa_supplicant.conf'), 'utf8')
  // On a cable there is no 4-way handshake: the port opens after EAP alone.
  const profile = wifi.replace(/^(\s*)key_mgmt=.*$/m, '$1key_mgmt=IEEE8021X')
  const wpaConf = join(directory, 'wired.conf')
  writeFileSync(
    wpaConf,
    `ap_scan=0\neapol_version=2\n${profile.replace(/\n\}/, '\n  eapol_flags=0\n}')}`,
  )

  const hostapd = daemon(t, AP, ['hostapd', '-t', hostapdConf])
  await waitFor(
    () => /AP-ENABLED/.test(hostapd()),
    10_000,
    () => `hostapd: ${hostapd()}`,
  )
  const supplicant = daemon(t, STATION, [
    'wpa_supplicant',
    '-t',
    '-i',
    'sta0',
    '-D',
    'wired',
    '-c',
    wpaConf,
  ])
  await waitFor(
    () => /CTRL-EVENT-CONNECTED|CTRL-EVENT-EAP-FAILURE/.test(supplicant()),
    30_000,
    () => `wpa_supplicant: ${supplicant()}\nhostapd: ${hostapd()}`,
  )
  t.match(supplicant(), /CTRL-EVENT-EAP-SUCCESS/)
  t.match(supplicant(), /CTRL-EVENT-CONNECTED/)
  t.match(hostapd(), /ap0: STA 02:11:00:00:00:02 IEEE 802\.1X: authenticated/)
  const login = await server.logged((line) => String(line['msg']).startsWith('Login OK'))
  t.match(login, { station: '02-11-00-00-00-02', tls: '1.3' })
})
