// Servers that must not start: runs `datanet serve` to its end and tells what a person at the
// terminal saw, and whether any process of it was left behind.

import { mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { datanet, run, waitFor } from './server.ts'

export interface FailedStart {
  readonly code: number | null
  readonly out: string
  /** The lines on stderr that are not log lines. */
  readonly said: readonly string[]
  readonly log: readonly Record<string, unknown>[]
  readonly tookMs: number
}

/** A directory of its own below `base`, with an operator key in it where one is given. */
export function place(base: string, name: string, operatorKey?: string): string {
  const directory = join(base, name)
  mkdirSync(join(directory, 'data'), { recursive: true, mode: 0o700 })
  if (operatorKey !== undefined) {
    writeFileSync(join(directory, 'data', 'operator-key'), operatorKey, { mode: 0o600 })
  }
  return directory
}

/**
 * Runs it to its end. `config` is written to the directory's datanet.yaml; without it that file is
 * named as it is.
 */
export async function failToStart(o: {
  directory: string
  config?: string
  prefix?: readonly string[]
}): Promise<FailedStart> {
  const path = join(o.directory, 'datanet.yaml')
  if (o.config !== undefined) writeFileSync(path, o.config)
  const data = join(o.directory, 'data')
  const serve = [process.execPath, datanet, 'serve', '--config', path, '--data', data]
  const [program = '', ...args] = [...(o.prefix ?? []), ...serve]
  const began = performance.now()
  const { code, out, errors } = await run(program, args, { timeoutMs: 40_000 })
  const tookMs = performance.now() - began
  const lines = errors.split('\n').filter((line) => line !== '')
  const isLog = (line: string): boolean => line.startsWith('{')
  return {
    ...{ code, out, tookMs },
    said: lines.filter((line) => !isLog(line)),
    log: lines.filter(isLog).map((line) => JSON.parse(line)),
  }
}

/** The running programs that work in this directory. */
function processesIn(directory: string): { pid: number; command: string }[] {
  const found: { pid: number; command: string }[] = []
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      if (!readlinkSync(`/proc/${pid}/cwd`).startsWith(directory)) continue
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
      found.push({ pid: Number(pid), command })
    } catch {
      // It ended while we looked.
    }
  }
  return found
}

/** Waits until nothing works in the directory any more: killed programs take a moment to go. */
export async function noneLeft(directory: string, timeoutMs = 3_000): Promise<void> {
  await waitFor(
    () => processesIn(directory).length === 0,
    timeoutMs,
    () => `left behind:\n${JSON.stringify(processesIn(directory))}`,
  )
}

/** The process id of the chain that works in this data directory. */
export function chainIn(data: string): number {
  const chain = processesIn(data).find(({ command }) => /^\S*anvil /.test(command))
  if (chain === undefined) throw new Error(`no chain works in ${data}`)
  return chain.pid
}
