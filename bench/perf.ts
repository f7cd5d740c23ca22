// `perf record` beside a phase: where the CPU of one server goes, native code and kernel included.
// Starts and ends perf; judges nothing. Called by eap.ts.

import { type ChildProcess, spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'

// A prime, so that it does not beat with anything periodic; machines without counters have a clock.
const ARGUMENTS = ['record', '--quiet', '-g', '-F', '997', '-e', 'cpu-clock']
// perf attaches to every thread before it records.
const START_MS = 500

/** What node needs so that perf finds names for compiled JavaScript, in a map where perf looks. */
export const PERF_NODE_ARGUMENTS = ['--perf-basic-prof', '--interpreted-frames-native-stack']

/** Runs the step with perf on the process, samples into `file`. Rejects where perf fails. */
export async function recorded<Value>(
  pid: number,
  file: string,
  step: () => Promise<Value>,
): Promise<Value> {
  const perf = spawn('perf', [...ARGUMENTS, '-p', String(pid), '-o', file], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  perf.stderr.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-600)
  })
  const ended = endOf(perf)
  await Promise.race([ended, sleep(START_MS)])
  if (perf.exitCode !== null || perf.pid === undefined) {
    throw new Error(`perf does not record: ${(await ended) ?? said}`)
  }
  try {
    return await step()
  } finally {
    // It writes its file on an interrupt.
    perf.kill('SIGINT')
    await ended
  }
}

/** Resolves when it is gone, with the message where it could not even start. */
const endOf = (child: ChildProcess): Promise<string | undefined> =>
  new Promise((resolve) => {
    child.once('error', ({ message }) => resolve(message))
    child.once('close', () => resolve(undefined))
  })
