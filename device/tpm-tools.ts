// The programs of tpm2-tools, one at a time, on one TPM: each a process of its own with an array of
// arguments, its files in a folder of its own that is gone afterwards. Refuses to wait for ever.
// Called by tpm.ts.

import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DeviceError } from './error.ts'

// A discrete TPM may take tens of seconds to find an RSA key.
const TOOL_TIMEOUT_MS = 90_000
// What a tool prints: a page at most, also of the handles of all NV indices. More is cut off.
const PRINTED_MAX = 16_384

/** A folder's files and the TPM's programs, while `useTpm` runs. */
export interface TpmTools {
  /** Runs `tpm2_<name>`; what it prints. Throws DeviceError 'unavailable' where it fails. */
  run(name: string, ...args: string[]): Promise<string>
  /** Whether `tpm2_<name>` works; DeviceError only where it is not installed. */
  works(name: string, ...args: string[]): Promise<boolean>
  path(file: string): string
  write(file: string, content: Buffer): Promise<string>
  read(file: string): Promise<Buffer>
}

interface Ended {
  readonly code: number | null
  readonly printed: string
  readonly errors: string
}

function start(command: string, args: readonly string[]): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: TOOL_TIMEOUT_MS,
      killSignal: 'SIGKILL',
    })
    const said = { printed: '', errors: '' }
    child.stdout.on('data', (chunk: Buffer) => {
      if (said.printed.length < PRINTED_MAX) said.printed += chunk.toString()
    })
    child.stderr.on('data', (chunk: Buffer) => {
      if (said.errors.length < PRINTED_MAX) said.errors += chunk.toString()
    })
    child.once('error', (error) => {
      const way = 'install tpm2-tools'
      reject(new DeviceError('unavailable', `${command} cannot be started; ${way}`, error))
    })
    child.once('close', (code) => resolve({ code, ...said }))
  })
}

/**
 * Does `work` with the tools on the TPM that `tcti` names (as in `tpm2_… --tcti`, for example
 * device:/dev/tpmrm0).
 */
export async function useTpm<T>(tcti: string, work: (tools: TpmTools) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'datanet-tpm-'))
  const path = (file: string) => join(directory, file)
  const tool = (name: string, args: readonly string[]) =>
    start(`tpm2_${name}`, [...args, '--tcti', tcti])
  try {
    return await work({
      path,
      async run(name, ...args) {
        const { code, printed, errors } = await tool(name, args)
        if (code === 0) return printed
        const said = errors.trim().split('\n').slice(-2).join('; ').slice(0, 300)
        throw new DeviceError('unavailable', `tpm2_${name} failed on ${tcti}: ${said}`)
      },
      works: async (name, ...args) => (await tool(name, args)).code === 0,
      async write(file, content) {
        await writeFile(path(file), content, { mode: 0o600 })
        return path(file)
      },
      read: (file) => readFile(path(file)),
    })
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}
