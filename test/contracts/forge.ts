// Forge on the contract tests of this folder, with the solc-js of node_modules as its compiler.
// Called by the tests that run it; needs no network.

import { execFile } from 'node:child_process'
import { createRequire } from 'node:module'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The repository. */
export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..')
/** Where tests, plans and forge's settings are. */
export const PLANS = join(ROOT, 'test', 'contracts')

export interface Finished {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program to its end in the repository; `more` is added to the environment. */
export function run(
  file: string,
  args: readonly string[],
  timeoutMs: number,
  more: NodeJS.ProcessEnv = {},
): Promise<Finished> {
  // Forge's compiler is a script: its `node` has to be the one that runs this test.
  const path = `${dirname(process.execPath)}${delimiter}${process.env['PATH'] ?? ''}`
  const env = {
    ...process.env,
    PATH: path,
    FOUNDRY_CONFIG: join(PLANS, 'foundry.toml'),
    FOUNDRY_DISABLE_NIGHTLY_WARNING: '1',
    ...more,
  }
  const options = { cwd: ROOT, env, maxBuffer: 64 << 20, timeout: timeoutMs }
  return new Promise((resolve) => {
    execFile(file, [...args], options, (error, stdout, stderr) => {
      const code = typeof error?.code === 'number' ? error.code : error ? -1 : 0
      resolve({ code, stdout, stderr })
    })
  })
}

/** The binary that comes with the package; PATH is not consulted. */
export function forgeBinary(): string {
  const machine = process.arch === 'x64' ? 'amd64' : process.arch
  const fromForge = createRequire(
    createRequire(import.meta.url).resolve('@foundry-rs/forge/package.json'),
  )
  const manifest = fromForge.resolve(
    `@foundry-rs/forge-${process.platform}-${machine}/package.json`,
  )
  return join(dirname(manifest), 'bin', process.platform === 'win32' ? 'forge.exe' : 'forge')
}

interface ForgeTest {
  readonly status: 'Success' | 'Failure' | 'Skipped'
  readonly reason: string | null
  readonly kind?: { readonly Invariant?: Campaign }
}

/** How often an invariant's actors acted: runs of a fresh market, calls, and those refused. */
export interface Campaign {
  readonly runs: number
  readonly calls: number
  readonly reverts: number
  /** By action, as `File.sol:Contract.function`. */
  readonly metrics: Readonly<Record<string, { readonly calls: number; readonly reverts: number }>>
}

/** One test of forge's report; `campaign` where it was one of an invariant. */
export interface TestResult {
  readonly name: string
  readonly passed: boolean
  readonly reason: string
  readonly campaign: Campaign | undefined
}

/** `forge test --json`: every test that ran, as `test/contracts/File.t.sol name`. */
export async function forgeTest(
  args: readonly string[],
  timeoutMs: number,
  more: NodeJS.ProcessEnv = {},
): Promise<{ readonly results: readonly TestResult[]; readonly stderr: string }> {
  const command = ['test', '--root', ROOT, '--offline', '--json', ...args]
  const { stdout, stderr } = await run(forgeBinary(), command, timeoutMs, more)
  const line = stdout.split('\n').find((text) => text.startsWith('{"test/')) ?? '{}'
  const report: Record<string, { readonly test_results: Record<string, ForgeTest> }> =
    JSON.parse(line)
  const results = Object.entries(report).flatMap(([suite, { test_results }]) =>
    Object.entries(test_results).map(([signature, { status, reason, kind }]) => ({
      name: `${suite.replace(/:.*$/, '')} ${signature.replace(/\(.*$/, '')}`,
      passed: status === 'Success',
      reason: reason ?? '',
      campaign: kind?.Invariant,
    })),
  )
  return { results, stderr }
}

/** By action, how often it succeeded in a campaign; one in which little did would prove little. */
export function successesOf({ metrics }: Campaign): ReadonlyMap<string, number> {
  return new Map(
    Object.entries(metrics).map(([action, { calls, reverts }]) => {
      return [action.split('.').at(-1) ?? '', calls - reverts]
    }),
  )
}
