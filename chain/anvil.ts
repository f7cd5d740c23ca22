// One anvil process: where its binary is, how it is started, and that it never outlives us. Knows
// nothing of snapshots or restarts (embedded.ts); never listens anywhere but on 127.0.0.1.

import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { dirname, join } from 'node:path'
import { ChainError } from './error.ts'
import { openRpc } from './rpc.ts'

/** The chain id of every embedded chain, the usual one of development nodes. */
export const EMBEDDED_CHAIN_ID = 31_337n

/**
 * A running anvil that has answered; `exited` resolves with a reason when it is gone, whoever ended
 * it.
 */
export interface Anvil {
  readonly pid: number
  readonly exited: Promise<string>
  /** Ends it at once; resolves when it is gone. */
  kill(): Promise<void>
}

const START_TIMEOUT_MS = 20_000
/** What is kept of anvil's error output, for the one line that explains an exit. */
const ERROR_TEXT_MAX = 2_000

/**
 * The anvil binary inside node_modules; PATH is not consulted, another version there could differ.
 */
export function anvilBinary(): string {
  const platform = process.platform === 'win32' ? 'win32' : process.platform
  const machine = process.arch === 'x64' ? 'amd64' : process.arch
  const file = process.platform === 'win32' ? 'anvil.exe' : 'anvil'
  try {
    const fromHere = createRequire(import.meta.url).resolve('@foundry-rs/anvil/package.json')
    const name = `@foundry-rs/anvil-${platform}-${machine}/package.json`
    const binary = join(dirname(createRequire(fromHere).resolve(name)), 'bin', file)
    if (existsSync(binary)) return binary
  } catch {
    // Told below, in words that say what to do.
  }
  const text = `the embedded chain needs the optional package @foundry-rs/anvil, which is not \
installed for ${platform}-${machine}; install it, or set chain.rpc to the url of an Ethereum node`
  throw new ChainError('anvil-missing', text)
}

/*
 * kill -9 gives a process no chance to end its children. The shell below is anvil's parent and
 * holds the reading end of a pipe (fd 3) whose only writing end is ours: the kernel closes it when
 * we die, however we die, `read` returns, and the shell kills anvil. Being the parent, the shell
 * still owns the process id it kills. Windows needs none of this: there libuv puts children in a
 * job object that dies with us.
 */
const KEEPER = `
"$@" </dev/null >/dev/null 3<&- &
child=$!
echo "$child"
( read -r line <&3; kill -9 "$child" ) 2>/dev/null &
watcher=$!
exec 3<&-
wait "$child"
code=$?
kill -9 "$watcher" 2>/dev/null
exit "$code"
`

/** A loopback port nobody listens on now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      const port = typeof address === 'object' && address !== null ? address.port : 0
      probe.close(() => resolve(port))
    })
  })
}

/**
 * Starts anvil and waits until it answers. `loadState` is a file of anvil's JSON state; `directory`
 * is where anything anvil may write goes. Throws ChainError 'anvil-failed' with anvil's own last
 * words.
 */
export async function startAnvil(o: {
  readonly port: number
  readonly directory: string
  readonly loadState?: string
}): Promise<Anvil> {
  const child = spawnKept(anvilBinary(), anvilArguments(o.port, o.loadState), o.directory)
  let errorText = ''
  let pidText = ''
  child.stdout?.on('data', (bytes: Buffer) => {
    if (pidText.length < 20) pidText += bytes.toString('latin1')
  })
  child.stderr?.on('data', (bytes: Buffer) => {
    errorText = (errorText + bytes.toString('utf8')).slice(-ERROR_TEXT_MAX)
  })
  const exited = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('close', (code, signal) => {
      const words = errorText.trim().replaceAll(/\s+/g, ' ')
      resolve(`exit ${signal ?? code}${words === '' ? '' : `: ${words}`}`)
    })
  })
  const kill = async (): Promise<void> => {
    // Closing our end makes the keeper kill anvil and leave; on Windows anvil itself is our child.
    child.stdio[3]?.destroy()
    if (process.platform === 'win32') child.kill('SIGKILL')
    await exited
  }
  const given = new AbortController()
  const failure = await Promise.race([answering(o.port, given.signal), exited])
  given.abort()
  if (failure !== undefined) {
    await kill()
    throw new ChainError('anvil-failed', `the embedded chain did not start (${failure})`)
  }
  // The keeper prints anvil's process id before anvil can have answered.
  return { pid: Number.parseInt(pidText, 10) || (child.pid ?? 0), exited, kill }
}

function anvilArguments(port: number, loadState: string | undefined): string[] {
  return [
    ...['--host', '127.0.0.1', '--port', String(port), '--chain-id', String(EMBEDDED_CHAIN_ID)],
    ...['--hardfork', 'osaka', '--enable-tx-gas-limit', '--accounts', '0'],
    // Without --no-cors any web page open on this machine could use anvil's anvil_* methods.
    ...['--no-cors', '--quiet'],
    // More states in memory would be written to the home directory; 64 blocks back is ample for
    // reads.
    ...['--prune-history', '64'],
    ...(loadState === undefined ? [] : ['--load-state', loadState]),
  ]
}

function spawnKept(binary: string, args: readonly string[], directory: string): ChildProcess {
  const [file, argv] =
    process.platform === 'win32'
      ? [binary, args]
      : ['/bin/sh', ['-c', KEEPER, 'datanet-chain', binary, ...args]]
  return spawn(file, argv, {
    cwd: directory,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    // Apart from our terminal: Ctrl-C there must not end the chain before the last snapshot.
    detached: process.platform !== 'win32',
    // No variable of ours (they may hold secrets), and none of the user's that would change anvil.
    env: { HOME: directory },
  })
}

/** Resolves with undefined when anvil answers, or with a reason after the time limit. */
async function answering(port: number, given: AbortSignal): Promise<string | undefined> {
  const rpc = openRpc(`http://127.0.0.1:${port}`)
  const ends = performance.now() + START_TIMEOUT_MS
  while (!given.aborted && performance.now() < ends) {
    try {
      if (BigInt(String(await rpc.request('eth_chainId', [], 1_000))) === EMBEDDED_CHAIN_ID) return
      return `another program answers on port ${port}`
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 15))
    }
  }
  return `no answer within ${START_TIMEOUT_MS} ms`
}
