// Starts and stops the two RADIUS/EAP servers everybody knows, FreeRADIUS and hostapd, on free
// loopback ports with the leanest configuration that does EAP-TLS. Installs nothing; a missing
// program is an error with its name. Called by the benchmark and by interop tests.

import { type ChildProcess, spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { udpPortOpen } from './schedstat.ts'

/**
 * What a server needs. `directory` is created; its files are the server's whole configuration and
 * log.
 */
export interface PeerServerOptions {
  readonly directory: string
  readonly secret: string
  /**
   * PEM texts: exactly the chain the server sends, its key, and what it trusts as client
   * certificates.
   */
  readonly certificatePem: string
  readonly keyPem: string
  readonly clientCaPem: string
  readonly fragmentSize: number
  /**
   * FreeRADIUS's `ecdh_curve`, the one group it then takes; absent: as it is shipped, OpenSSL's
   * list.
   */
  readonly curve?: string
  /** TLS session resumption, absent or false: off. */
  readonly resumption?: boolean
  /** CPU to pin to; absent: any. */
  readonly cpu?: number
}

/** A running server on 127.0.0.1. `stop` resolves when the process is gone. */
export interface RunningServer {
  readonly name: string
  readonly pid: number
  readonly port: number
  readonly secret: string
  stop(): Promise<void>
}

// Nothing outlives the program that started it, however that ends.
const living = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of living) child.kill('SIGKILL')
})

const START_MAX_MS = 20_000
const STOP_MAX_MS = 5000

/** A UDP port nobody has now. */
export async function freeUdpPort(): Promise<number> {
  const socket = createSocket('udp4')
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject)
    socket.bind(0, '127.0.0.1', resolve)
  })
  const { port } = socket.address()
  await new Promise<void>((resolve) => socket.close(() => resolve()))
  return port
}

/**
 * Starts a command, pinned where asked; its output goes to a file. Fails where it ends or stays
 * silent.
 */
export async function startServer(options: {
  readonly name: string
  readonly command: readonly string[]
  readonly directory: string
  readonly port: number
  readonly secret: string
  readonly cpu: number | undefined
  readonly env?: NodeJS.ProcessEnv
}): Promise<RunningServer> {
  const { name, cpu, port } = options
  const pinned = cpu === undefined ? [] : ['taskset', '-c', String(cpu)]
  const [program = '', ...args] = [...pinned, ...options.command]
  const output = join(options.directory, 'output.log')
  const file = openSync(output, 'a')
  const child = spawn(program, args, {
    stdio: ['ignore', file, file],
    env: options.env ?? process.env,
  })
  closeSync(file)
  living.add(child)
  child.once('exit', () => living.delete(child))
  let failure: string | undefined
  child.once('error', (error) => {
    failure = error.message
  })
  const deadline = performance.now() + START_MAX_MS
  while (!udpPortOpen(port)) {
    if (child.exitCode !== null || child.signalCode !== null) failure ??= `ended at once`
    if (performance.now() > deadline) failure ??= 'did not open its port'
    if (failure !== undefined) {
      await stopChild(child)
      const said = [output, join(options.directory, 'radius.log')].map(tail).filter(Boolean)
      throw new Error(`${name} ${failure}: ${said.join(' | ')}`)
    }
    await sleep(20)
  }
  return { name, pid: child.pid ?? 0, port, secret: options.secret, stop: () => stopChild(child) }
}

function tail(path: string): string {
  if (!existsSync(path)) return ''
  return readFileSync(path, 'utf8').trim().split('\n').slice(-4).join(' | ')
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MAX_MS)
  await gone
  clearTimeout(timer)
}

function writeCredentials(options: PeerServerOptions): void {
  mkdirSync(options.directory, { recursive: true, mode: 0o700 })
  const put = (name: string, text: string): void =>
    writeFileSync(join(options.directory, name), text, { mode: 0o600 })
  put('server.pem', options.certificatePem)
  put('server.key', options.keyPem)
  put('ca.pem', options.clientCaPem)
}

/** FreeRADIUS with eap and files only, two threads, session cache off unless told. */
export async function startFreeRadius(options: PeerServerOptions): Promise<RunningServer> {
  const port = await freeUdpPort()
  const { directory } = options
  writeCredentials(options)
  writeFileSync(join(directory, 'users'), 'DEFAULT\n')
  // It resumes only what it has also written here.
  mkdirSync(join(directory, 'sessions'), { recursive: true, mode: 0o700 })
  writeFileSync(join(directory, 'radiusd.conf'), freeRadiusConfig(options, port))
  return startServer({
    ...options,
    name: 'FreeRADIUS',
    command: [
      'freeradius',
      '-f',
      '-l',
      join(directory, 'radius.log'),
      '-d',
      directory,
      '-n',
      'radiusd',
    ],
    port,
    cpu: options.cpu,
  })
}

function freeRadiusConfig(options: PeerServerOptions, port: number): string {
  const { directory, secret, fragmentSize } = options
  return `prefix = /usr
raddbdir = ${directory}
confdir = ${directory}
run_dir = ${directory}
libdir = /usr/lib/freeradius
pidfile = ${directory}/radiusd.pid
max_request_time = 30
cleanup_delay = 5
max_requests = 65536
hostname_lookups = no
log {
  destination = files
  file = ${directory}/radius.log
  auth = yes
}
security {
  allow_core_dumps = no
  max_attributes = 200
  reject_delay = 0
  status_server = yes
}
thread pool {
  start_servers = 2
  max_servers = 2
  min_spare_servers = 1
  max_spare_servers = 2
  max_requests_per_server = 0
  max_queue_size = 65536
}
client loopback {
  ipaddr = 127.0.0.1
  secret = "${secret}"
  require_message_authenticator = yes
}
modules {
  files {
    filename = ${directory}/users
  }
  eap {
    default_eap_type = tls
    timer_expire = 60
    ignore_unknown_eap_types = no
    max_sessions = 16384
    tls-config tls-common {
      private_key_file = ${directory}/server.key
      certificate_file = ${directory}/server.pem
      ca_file = ${directory}/ca.pem
      auto_chain = no
      cipher_list = "DEFAULT"
      ecdh_curve = "${options.curve ?? ''}"
      tls_min_version = "1.2"
      tls_max_version = "1.3"
      fragment_size = ${fragmentSize}
      cache {
        enable = ${options.resumption === true ? 'yes' : 'no'}
        lifetime = 1
        name = "bench"
        max_entries = 4096
        persist_dir = "${directory}/sessions"
      }
    }
    tls {
      tls = tls-common
    }
  }
}
server default {
  listen {
    type = auth
    ipaddr = 127.0.0.1
    port = ${port}
  }
  authorize {
    files
    eap
  }
  authenticate {
    eap
  }
}
`
}

/**
 * hostapd without a radio as RADIUS server. It serves about 1,000 conversations, then refuses for a
 * minute.
 */
export async function startHostapd(options: PeerServerOptions): Promise<RunningServer> {
  const port = await freeUdpPort()
  const { directory } = options
  writeCredentials(options)
  const put = (name: string, text: string): string => {
    writeFileSync(join(directory, name), text, { mode: 0o600 })
    return join(directory, name)
  }
  const clients = put('clients', `127.0.0.1/32 ${options.secret}\n`)
  const users = put('users', '* TLS\n')
  const config = put(
    'hostapd.conf',
    `driver=none
logger_stdout=-1
logger_stdout_level=4
eap_server=1
eap_user_file=${users}
radius_server_clients=${clients}
radius_server_auth_port=${port}
ca_cert=${join(directory, 'ca.pem')}
server_cert=${join(directory, 'server.pem')}
private_key=${join(directory, 'server.key')}
fragment_size=${options.fragmentSize}
tls_flags=[ENABLE-TLSv1.3]
tls_session_lifetime=${options.resumption === true ? 3600 : 0}
`,
  )
  return startServer({
    ...options,
    name: 'hostapd',
    command: ['hostapd', config],
    port,
    cpu: options.cpu,
  })
}
