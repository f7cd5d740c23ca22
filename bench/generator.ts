// Runs the load generator as a process of its own and reads its one line of JSON. Owns the time
// limit: a server that stops answering costs one run, never the benchmark. Called by phases.ts.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { LoadResult, LoadSpec } from './load.ts'

const LOAD = fileURLToPath(new URL('load.ts', import.meta.url))
// Start of the process and its report, on top of what the load itself may take.
const GRACE_MS = 15_000
// One line of JSON and, when something is wrong, a stack trace.
const OUTPUT_MAX = 65_536

/** Runs a command to its end; rejects where it fails or takes longer than limitMs. */
export function runCommand(
  command: readonly string[],
  limitMs: number,
  env: NodeJS.ProcessEnv = process.env,
): Promise<string> {
  const [program = '', ...args] = command
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env })
    let output = ''
    let errors = ''
    const timer = setTimeout(() => child.kill('SIGKILL'), limitMs)
    child.stdout.on('data', (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-OUTPUT_MAX)
    })
    child.stderr.on('data', (chunk: Buffer) => {
      errors = (errors + chunk.toString()).slice(-OUTPUT_MAX)
    })
    child.once('error', (error) => {
      clearTimeout(timer)
      reject(error)
    })
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      if (code === 0) resolve(output)
      else reject(new Error(`${program} ended with ${code ?? signal}: ${errors.slice(-600)}`))
    })
  })
}

/** One load run, its generator pinned to a CPU. */
export async function runLoad(spec: LoadSpec, cpu: number): Promise<LoadResult> {
  const directory = mkdtempSync(join(tmpdir(), 'datanet-load-'))
  try {
    const file = join(directory, 'spec.json')
    writeFileSync(file, JSON.stringify(spec), { mode: 0o600 })
    const command = ['taskset', '-c', String(cpu), process.execPath, LOAD, file]
    return JSON.parse(await runCommand(command, spec.limitMs + GRACE_MS))
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}
