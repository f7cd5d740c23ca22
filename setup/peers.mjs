// The independent programs our tests and benchmarks talk to: FreeRADIUS, hostapd, PostgreSQL, …,
// and what a simulated access point is made of (test/interop/hwsim/).
// Installed as Debian packages where that is possible; elsewhere the missing ones are named and the
// run fails.

import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { kernelPackage } from './kernel.mjs'
import { capture, findCommand, run, SetupError } from './processes.mjs'

// Debian keeps the server's own programs out of PATH, a folder a version.
const POSTGRES = '/usr/lib/postgresql'

const PEERS = [
  { command: 'freeradius', package: 'freeradius', service: 'freeradius' },
  { command: 'radclient', package: 'freeradius-utils' },
  { command: 'eapol_test', package: 'eapoltest' },
  { command: 'hostapd', package: 'hostapd', service: 'hostapd' },
  { command: 'wpa_supplicant', package: 'wpasupplicant', service: 'wpa_supplicant' },
  { command: 'ip', package: 'iproute2' },
  { command: 'openssl', package: 'openssl' },
  { command: 'mkfs.ext4', package: 'e2fsprogs' },
  { command: 'losetup', package: 'mount' },
  { command: 'perl', package: 'perl-base' },
  { command: 'postgres', package: 'postgresql', service: 'postgresql', versions: POSTGRES },
  { command: 'qemu-system-x86_64', package: 'qemu-system-x86' },
  { command: 'busybox', package: 'busybox-static' },
  { command: 'iw', package: 'iw' },
  { command: 'xz', package: 'xz-utils' },
  { command: 'swtpm', package: 'swtpm' },
  { command: 'swtpm_setup', package: 'swtpm-tools' },
  { command: 'tpm2_activatecredential', package: 'tpm2-tools' },
]

// Debian asks this file before it starts a service while installing; 101 is "forbidden"
// (policy-rc.d(8)).
const POLICY = '/usr/sbin/policy-rc.d'
const POLICY_KEPT = `${POLICY}.datanet-kept`
const FORBID = '#!/bin/sh\n# Written by setup/peers.mjs while packages are installed.\nexit 101\n'

const say = (line) => process.stderr.write(`${line}\n`)

// Tests make clusters of their own: the package is to leave none of its own on the machine
// (pg_createcluster(1)). What an administrator wrote there stays.
const CLUSTER_CONF = '/etc/postgresql-common/createcluster.conf'

function forbidMainCluster() {
  mkdirSync(dirname(CLUSTER_CONF), { recursive: true })
  if (!existsSync(CLUSTER_CONF)) writeFileSync(CLUSTER_CONF, 'create_main_cluster = false\n')
}

function isThere({ command, versions }) {
  if (findCommand(command) !== undefined) return true
  if (versions === undefined || !existsSync(versions)) return false
  return readdirSync(versions).some((version) =>
    existsSync(join(versions, version, 'bin', command)),
  )
}

function missingPeers() {
  return PEERS.filter((peer) => !isThere(peer))
}

function forbidServices() {
  // A run that was killed here left ours in place; the machine's own is in the kept one then.
  const own = existsSync(POLICY) && readFileSync(POLICY, 'utf8') !== FORBID
  if (own) renameSync(POLICY, POLICY_KEPT)
  writeFileSync(POLICY, FORBID)
  chmodSync(POLICY, 0o755)
}

function restoreServices() {
  if (existsSync(POLICY_KEPT)) renameSync(POLICY_KEPT, POLICY)
  else rmSync(POLICY, { force: true })
}

async function aptGet(args) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', UCF_FORCE_CONFFOLD: '1' }
  const { code, output } = await capture(
    'apt-get',
    ['-q', '-o', 'DPkg::Lock::Timeout=120', '-o', 'Dpkg::Use-Pty=0', ...args],
    { env },
  )
  if (code !== 0) say(output)
  return code
}

async function installDebian(missing) {
  const packages = missing.map((peer) => peer.package)
  say(`installing Debian packages, once: ${packages.join(' ')}`)
  const restoreAndQuit = () => {
    restoreServices()
    process.exit(130)
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, restoreAndQuit)
  forbidServices()
  if (missing.some((peer) => peer.command === 'postgres')) forbidMainCluster()
  try {
    const install = ['install', '-y', '--no-install-recommends', ...packages]
    if ((await aptGet(['update'])) !== 0)
      say('apt-get update failed; trying with the lists there are')
    if ((await aptGet(install)) !== 0) {
      throw new SetupError(`apt-get install failed (see above): ${packages.join(' ')}`)
    }
  } finally {
    restoreServices()
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.off(signal, restoreAndQuit)
  }
  // Where systemd runs, the packages also ask for a start at the next boot.
  if (existsSync('/run/systemd/system')) {
    const services = missing.flatMap((peer) => peer.service ?? [])
    if (services.length > 0) await run('systemctl', ['--quiet', 'disable', '--now', ...services])
  }
}

/** Only one test needs it; that one fails without it, with the same words. */
async function fetchKernel() {
  try {
    await kernelPackage()
  } catch (error) {
    if (!(error instanceof SetupError)) throw error
    say(error.message)
  }
}

/**
 * Makes every peer available, or ends the run by naming the missing commands and what holds them.
 */
export async function installPeers() {
  const missing = missingPeers()
  if (missing.length === 0) return fetchKernel()
  const isDebian = existsSync('/etc/debian_version') && findCommand('apt-get') !== undefined
  if (isDebian && process.getuid?.() === 0) await installDebian(missing)
  const absent = missingPeers()
  if (absent.length === 0) return fetchKernel()
  const commands = absent.map((peer) => peer.command).join(', ')
  const packages = absent.map((peer) => peer.package).join(' ')
  const how = isDebian
    ? `as root: apt-get install --no-install-recommends ${packages}`
    : `install the packages your system has for them (Debian: ${packages})`
  throw new SetupError(`these programs are needed and missing: ${commands}; ${how}`)
}
