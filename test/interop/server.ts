// Starts the real server (`datanet serve`, a process of its own) for tests: free ports, a data
// directory that goes with the test, and what the server printed when it was ready.

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..')
export const datanet = join(root, 'cli', 'datanet.mjs')
const START_TIMEOUT_MS = 60_000
const STOP_TIMEOUT_MS = 15_000

/** The shared secret of the client every test configuration has. */
export const SECRET = 'interop-secret-of-24-characters'

export interface RunningServer {
  readonly directory: string
  readonly configPath: string
  readonly process: ChildProcess
  readonly authPort: number
  readonly accountingPort: number
  readonly url: string
  readonly banner: string
  /** Everything logged so far, one object a line. */
  log(): Record<string, unknown>[]
  /** The first log line that matches, now or within the time. */
  logged(
    match: (line: Record<string, unknown>) => boolean,
    timeoutMs?: number,
  ): Promise<Record<string, unknown>>
  /** Ends it (SIGTERM unless told) and resolves with its exit code or signal; the data stays. */
  stop(signal?: NodeJS.Signals): Promise<number | NodeJS.Signals | null>
}

/** A directory for one test, removed when the test file ends. */
export function temporaryDirectory(t: { teardown(f: () => void): void }): string {
  const directory = mkdtempSync(join(tmpdir(), 'datanet-test-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true, maxRetries: 3 }))
  return directory
}

/** `node test/interop/FILE node` runs a file over the other TLS engine; see eapol-node.test.ts. */
const engine = process.argv[2] === 'node' ? 'engine: node, ' : ''

/**
 * A configuration with free ports; `more` is YAML text appended at top level, `client` lines of the
 * entry.
 */
export function testConfig(
  o: { more?: string; client?: string; eap?: string; chain?: string } = {},
): string {
  return `operator: { name: Interop Wi-Fi }
radius: { auth: "127.0.0.1:0", accounting: "127.0.0.1:0", reject_delay: 0s }
eap: { ${engine}${o.eap ?? 'fragment_size: 1300'} }
clients:
  - name: loopback
    ipaddr: 127.0.0.1/32
    secret: ${SECRET}
    nas_type: hostapd
${o.client ?? ''}
tariffs:
  standard: { per_minute: "0.001", per_megabyte: "0.004", interval: 60s, interval_megabytes: 10, missed_max: 2, grace: 0s }
chain: { ${o.chain ?? 'rpc: embedded'} }
http: { listen: "127.0.0.1:0" }
${o.more ?? ''}`
}

/** A configuration whose HTTP side the operator's verbs find: on one free port. */
export async function onFixedPort(config: string): Promise<string> {
  const listen = `http: { listen: "127.0.0.1:${await freePort()}" }`
  return config.replace('http: { listen: "127.0.0.1:0" }', listen)
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => resolve(typeof address === 'object' ? (address?.port ?? 0) : 0))
    })
  })
}

/** Starts it and waits for the `ready` line. The test's teardown stops it. */
export async function startServer(
  t: { teardown(f: () => Promise<void>): void },
  o: {
    directory: string
    config: string
    env?: Record<string, string>
    prefix?: readonly string[]
    npmStart?: true
  },
): Promise<RunningServer> {
  const configPath = join(o.directory, 'datanet.yaml')
  writeFileSync(configPath, o.config)
  const data = join(o.directory, 'data')
  const serve = o.npmStart
    ? ['npm', '--prefix', root, 'start']
    : [process.execPath, datanet, 'serve', '--config', configPath, '--data', data]
  const [program = '', ...args] = [...(o.prefix ?? []), ...serve]
  const child = spawn(program, args, {
    env: { ...process.env, DATANET_DATA: data, ...o.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let out = ''
  let errors = ''
  child.stdout.on('data', (bytes: Buffer) => {
    out += bytes.toString()
  })
  child.stderr.on('data', (bytes: Buffer) => {
    errors += bytes.toString()
  })
  const exited = new Promise<number | NodeJS.Signals | null>((resolve) => {
    child.once('exit', (code, signal) => resolve(code ?? signal))
  })
  const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
    child.kill(signal)
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
    const code = await exited
    clearTimeout(timer)
    return code
  }
  t.teardown(async () => {
    if (child.exitCode === null && child.signalCode === null) await stop()
  })
  await waitFor(
    () => /^ready {5}console/m.test(out) || child.exitCode !== null,
    START_TIMEOUT_MS,
    () => `the server did not become ready:\n${out}${errors}`,
  )
  if (child.exitCode !== null)
    throw new Error(`the server ended with ${child.exitCode}:\n${errors}`)
  const log = () =>
    errors
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line))
  return {
    ...{ directory: o.directory, configPath, process: child, banner: out, log, stop },
    authPort: Number(/ auth (\d+)/.exec(out)?.[1]),
    accountingPort: Number(/ accounting (\d+)/.exec(out)?.[1]),
    url: /console (\S+)\/$/m.exec(out)?.[1] ?? '',
    async logged(match, timeoutMs = 5_000) {
      let found: Record<string, unknown> | undefined
      await waitFor(
        () => {
          found = log().find(match)
          return found !== undefined
        },
        timeoutMs,
        () => `no such log line:\n${errors.slice(-4_000)}`,
      )
      return found ?? {}
    },
  }
}

/** What comes in a second on a quiet machine may take this long on a busy one. */
const PATIENCE_MS = 20_000

/** Polls until true; throws with the text of `what` when the time, or PATIENCE_MS, is over. */
export async function waitFor(
  test: () => boolean | Promise<boolean>,
  timeoutMs: number,
  what: () => string,
): Promise<void> {
  const ends = performance.now() + Math.max(timeoutMs, PATIENCE_MS)
  while (!(await test())) {
    if (performance.now() > ends) throw new Error(what())
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
}

/** Runs a program to its end; never throws on a failing exit code. */
export function run(
  program: string,
  args: readonly string[],
  o: { env?: Record<string, string>; cwd?: string; input?: string; timeoutMs?: number } = {},
): Promise<{ code: number | null; out: string; errors: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      env: { ...process.env, ...o.env },
      ...(o.cwd === undefined ? {} : { cwd: o.cwd }),
      stdio: ['pipe', 'pipe', 'pipe'],
      timeout: o.timeoutMs ?? 60_000,
      killSignal: 'SIGKILL',
    })
    let out = ''
    let errors = ''
    child.stdout.on('data', (bytes: Buffer) => {
      out += bytes.toString()
    })
    child.stderr.on('data', (bytes: Buffer) => {
      errors += bytes.toString()
    })
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, out, errors }))
    // A program that ends without reading its input is no fault of the test.
    child.stdin.on('error', () => {})
    child.stdin.end(o.input ?? '')
  })
}

/** Runs `datanet` with a password in its environment. */
export function runDatanet(
  args: readonly string[],
  o: { cwd: string; env?: Record<string, string> },
) {
  return run(process.execPath, [datanet, ...args], {
    cwd: o.cwd,
    env: { DATANET_PASSWORD: 'correct horse battery staple', ...o.env },
  })
}

/** `datanet device create NAME` against this server; throws with its words when it fails. */
export async function createDevice(
  server: RunningServer,
  name: string,
  args: readonly string[] = ['--deposit', '10'],
): Promise<{ directory: string; account: string }> {
  const made = await runDatanet(['device', 'create', name, '--operator', server.url, ...args], {
    cwd: server.directory,
  })
  if (made.code !== 0) throw new Error(`device create ${name}: exit ${made.code}\n${made.errors}`)
  const directory = join(server.directory, name)
  const facts = JSON.parse(readFileSync(join(directory, 'device.json'), 'utf8'))
  return { directory, account: facts.account }
}

/**
 * One eapol_test run with a device's own profile, as a user would; `edit` changes the profile's
 * text.
 */
export async function eapolTest(
  server: RunningServer,
  deviceDirectory: string,
  o: {
    edit?: (conf: string) => string
    args?: readonly string[]
    env?: Record<string, string>
    prefix?: readonly string[]
  } = {},
): Promise<{ ok: boolean; out: string }> {
  const original = join(deviceDirectory, 'wpa_supplicant.conf')
  let conf = original
  if (o.edit !== undefined) {
    conf = join(deviceDirectory, `edited-${Math.floor(performance.now() * 1000)}.conf`)
    writeFileSync(conf, o.edit(readFileSync(original, 'utf8')))
  }
  const args = [
    '-c',
    conf,
    '-a',
    '127.0.0.1',
    '-p',
    String(server.authPort),
    '-s',
    SECRET,
    '-t',
    '20',
  ]
  const [program = '', ...words] = [...(o.prefix ?? []), 'eapol_test', ...args, ...(o.args ?? [])]
  const { code, out } = await run(program, words, { env: o.env ?? {} })
  return { ok: code === 0 && /^SUCCESS$/m.test(out), out }
}
