// Runs the programs that make the guest's image; bytes in, bytes out. Called by kernel.ts and
// image.ts; the tests' own programs run through ../server.ts, whose input and output are text.

import { spawn } from 'node:child_process'
import { delimiter } from 'node:path'

/** Debian keeps some of them where only the administrator looks. */
export const PATH = [process.env['PATH'] ?? '', '/usr/local/sbin', '/usr/sbin', '/sbin'].join(
  delimiter,
)

interface Options {
  readonly input?: Buffer
  readonly cwd?: string
}

/** The exit code and everything printed; 127 where it can't be started. */
export function captureBytes(
  program: string,
  args: readonly string[],
  o: Options = {},
): Promise<{ code: number; out: Buffer; errors: string }> {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      env: { ...process.env, PATH, LC_ALL: 'C' },
      ...(o.cwd === undefined ? {} : { cwd: o.cwd }),
      stdio: ['pipe', 'pipe', 'pipe'],
      timeout: 240_000,
      killSignal: 'SIGKILL',
    })
    const out: Buffer[] = []
    let errors = ''
    child.stdout.on('data', (bytes: Buffer) => out.push(bytes))
    child.stderr.on('data', (bytes: Buffer) => {
      errors += bytes.toString()
    })
    child.once('error', (error) =>
      resolve({ code: 127, out: Buffer.alloc(0), errors: error.message }),
    )
    child.once('close', (code) => resolve({ code: code ?? 1, out: Buffer.concat(out), errors }))
    // A program that ends without reading its input says why in its exit code.
    child.stdin.on('error', () => {})
    child.stdin.end(o.input ?? '')
  })
}

/** The same for a program that has to succeed; throws with its words. */
export async function must(
  program: string,
  args: readonly string[],
  o: Options = {},
): Promise<Buffer> {
  const { code, out, errors } = await captureBytes(program, args, o)
  if (code !== 0) throw new Error(`${program} ${args.join(' ')}: exit ${code}\n${errors}`)
  return out
}
