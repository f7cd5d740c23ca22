// Runs the load generator as a process of its own: a LoadSpec in, a LoadResult out. Owns the time
// limit: a server that stops answering costs one run, never the benchmark. Called by contestants.ts
// and cpu.ts.

import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { LoadResult, LoadSpec } from './load.ts'

const LOAD = fileURLToPath(new URL('load.ts', import.meta.url))
// Start of the process and its answer, on top of what the load itself may take.
const GRACE_MS = 15_000
// A stack trace, when something is wrong.
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

/** A generator's process: one run after another, so that short runs find it warm. */
export interface Generator {
  /** Rejects where the generator ends, or takes longer than the run may; it is gone then. */
  run(spec: LoadSpec): Promise<LoadResult>
  /** Ends the process; harmless when repeated. */
  close(): void
}

/** Starts a generator pinned to a CPU. */
export function openGenerator(cpu: number): Generator {
  const args = ['-c', String(cpu), process.execPath, LOAD]
  const child = spawn('taskset', args, { stdio: ['pipe', 'pipe', 'pipe'] })
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  let errors = ''
  child.stderr.on('data', (chunk: Buffer) => {
    errors = (errors + chunk.toString()).slice(-OUTPUT_MAX)
  })
  child.once('error', (error) => {
    errors = error.message
  })
  // What is written to a process that has ended is told by its missing answer.
  child.stdin.on('error', () => {})
  return {
    async run(spec) {
      const timer = setTimeout(() => child.kill('SIGKILL'), spec.limitMs + GRACE_MS)
      child.stdin.write(`${JSON.stringify(spec)}\n`)
      const answer = await answers.next()
      clearTimeout(timer)
      if (answer.done === true) throw new Error(`the load generator ended: ${errors.slice(-600)}`)
      return JSON.parse(answer.value)
    },
    close: () => child.kill('SIGKILL'),
  }
}

/** One load run by a generator of its own, pinned to a CPU. */
export async function runLoad(spec: LoadSpec, cpu: number): Promise<LoadResult> {
  const generator = openGenerator(cpu)
  try {
    return await generator.run(spec)
  } finally {
    generator.close()
  }
}
