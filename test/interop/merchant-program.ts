// The merchant's real program beside a real server: a DIR made from an account key, `merchant run`
// as a process that can be killed, and the other verbs run to their end.

import { type ChildProcess, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { sealAccount } from '../../device/keystore.ts'
import { root, runDatanet, temporaryDirectory } from './server.ts'

const env = { DATANET_PASSWORD: 'a password of tests' }

export interface MerchantProgram {
  readonly dir: string
  /** `merchant run`, unless it runs already. */
  start(...flags: readonly string[]): void
  /** What every `merchant run` logged so far. */
  log(): string
  /** kill -9; resolves when it is gone. */
  kill(): Promise<void>
  /** `merchant VERB DIR --json`; what it printed. A code other than 0 fails the test. */
  verb(verb: 'status' | 'withdraw' | 'exit'): Promise<Record<string, unknown>>
}

/** Makes DIR; nothing runs yet. */
export async function merchantProgram(
  t: Test,
  o: { readonly key: Buffer; readonly url: string },
): Promise<MerchantProgram> {
  const cwd = temporaryDirectory(t)
  const [dir, wallet] = [join(cwd, 'cafe'), join(cwd, 'wallet.json')]
  writeFileSync(wallet, await sealAccount(o.key, env.DATANET_PASSWORD))
  const cli = async (...args: string[]) => {
    const ended = await runDatanet(['merchant', ...args, '--json'], { cwd, env })
    t.equal(ended.code, 0, `merchant ${args[0]} ${ended.code === 0 ? '' : ended.errors}`)
    return JSON.parse(ended.out) as Record<string, unknown>
  }
  await cli('create', 'cafe', '--operator', o.url, '--wallet', wallet, '--out', dir)
  let child: ChildProcess | undefined
  let log = ''
  t.teardown(() => child?.kill('SIGKILL'))
  return {
    dir,
    log: () => log,
    start(...flags) {
      if (child !== undefined) return
      const args = ['--no-warnings', join(root, 'cli', 'main.ts'), 'merchant', 'run', dir, ...flags]
      child = spawn(process.execPath, args, {
        ...{ cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'pipe'] },
      })
      child.stderr?.on('data', (bytes: Buffer) => {
        log += bytes.toString()
      })
    },
    async kill() {
      const running = child
      child = undefined
      if (running === undefined || running.exitCode !== null) return
      const gone = new Promise((resolve) => running.once('close', resolve))
      running.kill('SIGKILL')
      await gone
    },
    verb: (verb) => cli(verb, dir),
  }
}
