// The merchant's program as a user starts it, for tests against an operator double: `datanet
// merchant` and its verbs in a folder of the test, and what a running agent logs. Asserts nothing.
// Called by merchant.test.ts and dishonest.test.ts.

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type Address, parseAddress } from '../../ethereum/address.ts'

const MAIN = fileURLToPath(new URL('../../cli/main.ts', import.meta.url))

export interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

export interface LogLine {
  readonly event: string
  readonly msg: string
  readonly level: string
}

/** A running agent and what it logged. */
export interface Agent {
  readonly name: string
  readonly lines: LogLine[]
  /** kill -9. */
  kill(): Promise<void>
}

export interface MerchantPrograms {
  readonly directory: string
  /** Runs a verb to its end. */
  run(...args: readonly string[]): Promise<Ended>
  /** `merchant create`; the new account. */
  create(name: string): Promise<Address>
  /** `merchant run`. */
  startAgent(name: string): Agent
}

/** Everything that is started ends with the test, and the folder goes. */
export function merchantPrograms(
  t: { teardown(f: () => void): void },
  operatorUrl: string,
): MerchantPrograms {
  const directory = mkdtempSync(join(tmpdir(), 'datanet-merchant-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const env = {
    ...process.env,
    DATANET_PASSWORD: 'a password of tests',
    DATANET_OPERATOR: operatorUrl,
  }
  const start = (args: readonly string[]): ChildProcess => {
    const child = spawn(process.execPath, ['--no-warnings', MAIN, ...args], {
      ...{ env, cwd: directory, stdio: ['ignore', 'pipe', 'pipe'] },
    })
    t.teardown(() => child.kill('SIGKILL'))
    return child
  }
  const run = (...args: readonly string[]): Promise<Ended> => {
    const child = start(args)
    let out = ''
    let err = ''
    child.stdout?.on('data', (part) => {
      out += part
    })
    child.stderr?.on('data', (part) => {
      err += part
    })
    return new Promise((resolve) => child.once('close', (code) => resolve({ code, out, err })))
  }
  return {
    ...{ directory, run },
    async create(name) {
      const made = await run('merchant', 'create', name, '--json')
      if (made.code !== 0) throw new Error(`merchant create: ${made.code}\n${made.err}`)
      const account = parseAddress(JSON.parse(made.out).account)
      if (account === undefined) throw new Error(made.out)
      return account
    },
    startAgent(name) {
      const child = start(['merchant', 'run', name])
      const lines: LogLine[] = []
      if (child.stderr === null) throw new Error('no stderr')
      createInterface({ input: child.stderr }).on('line', (line) => {
        const isJson = line.startsWith('{')
        lines.push(isJson ? JSON.parse(line) : { event: 'text', msg: line, level: '' })
      })
      const gone = new Promise<void>((resolve) => child.once('close', () => resolve()))
      return {
        ...{ name, lines },
        async kill() {
          child.kill('SIGKILL')
          await gone
        },
      }
    },
  }
}
