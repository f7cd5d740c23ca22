// `datanet device run` as a process of a test: what it told, as JSON lines, and how it ends.

import { type ChildProcess, spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { datanet, waitFor } from './server.ts'

export const PASSWORD = 'correct horse battery staple'

/** One line of --json. */
export interface Line {
  readonly event: string
  readonly session?: string
  readonly amount?: string
  readonly credited?: string
  readonly why?: string
  readonly scheme?: string
  readonly trust?: string
  readonly what?: string
  readonly message?: string
}

/** A running payer. */
export interface Payer {
  readonly child: ChildProcess
  lines(): Line[]
  errors(): string
  paid(): Line[]
  end(signal: NodeJS.Signals): Promise<number | NodeJS.Signals | null>
}

/** `datanet device run` in a process of its own; the test's teardown ends it. */
export function startPayer(
  t: { teardown(f: () => Promise<void>): void },
  deviceDirectory: string,
  flags: readonly string[] = [],
  prefix: readonly string[] = [],
): Payer {
  // A test makes no keys in the TPM of the machine it runs on.
  const isOpen = flags.includes('--interface') && !flags.includes('--metering-key')
  const key = isOpen ? ['--metering-key', 'software'] : []
  const words = ['device', 'run', deviceDirectory, '--json', ...key, ...flags]
  const run = [process.execPath, datanet, ...words]
  const [program = '', ...args] = [...prefix, ...run]
  const child = spawn(program, args, {
    env: { ...process.env, DATANET_PASSWORD: PASSWORD },
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
  const ended = new Promise<number | NodeJS.Signals | null>((resolve) =>
    child.once('exit', (code, signal) => resolve(code ?? signal)),
  )
  const lines = (): Line[] =>
    out
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line))
  const end = (signal: NodeJS.Signals) => {
    child.kill(signal)
    return ended
  }
  t.teardown(async () => {
    if (child.exitCode === null && child.signalCode === null) await end('SIGKILL')
  })
  const paid = () => lines().filter(({ event }) => event === 'paid')
  return { child, lines, errors: () => errors, paid, end }
}

/** Times are told in whole seconds: this surely was before a session that begins now. */
const WATCHED_MS = 4_000

/** The same with --interface, and watching it for long enough to sign a session that begins now. */
export async function startWatching(...args: Parameters<typeof startPayer>): Promise<Payer> {
  const payer = startPayer(...args)
  const isStarted = () => payer.lines().some(({ event }) => event === 'started')
  await waitFor(isStarted, 20_000, () => `the payer does not start: ${payer.errors()}`)
  await sleep(WATCHED_MS)
  return payer
}
