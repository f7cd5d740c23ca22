// The contracts as Solidity: the committed artifacts are what the sources compile to, and forge's
// fuzz, invariant and regression tests pass on exactly those bytes, each planned in a .tree file.
// Needs solc and forge of node_modules, no network; about 20 s of CPU, most of it compiling.

import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..')
const PLANS = join(ROOT, 'test', 'contracts')
/** EIP-170, and the part of it that must stay free for the functions of PayPlace. */
const RUNTIME_LIMIT = 24_576
const ROOM_FOR_PAYPLACE = 12_000

interface Finished {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

function run(file: string, args: readonly string[]): Promise<Finished> {
  // forge's compiler is a script: its `node` has to be the one that runs this test.
  const path = `${dirname(process.execPath)}${delimiter}${process.env['PATH'] ?? ''}`
  const env = {
    ...process.env,
    PATH: path,
    FOUNDRY_CONFIG: join(PLANS, 'foundry.toml'),
    FOUNDRY_DISABLE_NIGHTLY_WARNING: '1',
  }
  const options = { cwd: ROOT, env, maxBuffer: 64 << 20, timeout: 120_000 }
  return new Promise((resolve) => {
    execFile(file, [...args], options, (error, stdout, stderr) => {
      const code = typeof error?.code === 'number' ? error.code : error ? -1 : 0
      resolve({ code, stdout, stderr })
    })
  })
}

function forgeBinary(): string {
  const machine = process.arch === 'x64' ? 'amd64' : process.arch
  const fromForge = createRequire(
    createRequire(import.meta.url).resolve('@foundry-rs/forge/package.json'),
  )
  const manifest = fromForge.resolve(
    `@foundry-rs/forge-${process.platform}-${machine}/package.json`,
  )
  return join(dirname(manifest), 'bin', process.platform === 'win32' ? 'forge.exe' : 'forge')
}

function artifact(name: string): { deployedBytecode: string; compiler: string } {
  const path = join(ROOT, 'chain', 'contracts', 'artifacts', `${name}.json`)
  return JSON.parse(readFileSync(path, 'utf8'))
}

/** Test names in brackets at the end of a plan's lines. */
function plannedTests(): string[] {
  const plans = readdirSync(PLANS).filter((name) => name.endsWith('.tree'))
  return plans.flatMap((name) => {
    const contract = `test/contracts/${name.replace('.tree', '.t.sol')}`
    const text = readFileSync(join(PLANS, name), 'utf8')
    return [...text.matchAll(/\[(\w+)\]$/gm)].map((match) => `${contract} ${match[1]}`)
  })
}

interface ForgeTest {
  readonly status: 'Success' | 'Failure' | 'Skipped'
  readonly reason: string | null
}
type ForgeReport = Record<string, { readonly test_results: Record<string, ForgeTest> }>

t.test('the committed artifacts are byte for byte what the sources compile to', async (t) => {
  const checked = await run(process.execPath, ['chain/contracts/build.ts', '--check'])
  t.equal(checked.stderr, '')
  t.equal(checked.stdout, 'Datanet.json, TestToken.json match\n')
  t.equal(checked.code, 0)
})

t.test('EIP-170: the contract leaves room for PayPlace', async (t) => {
  const bytes = artifact('Datanet').deployedBytecode.length / 2 - 1
  t.comment(`Datanet is ${bytes} of ${RUNTIME_LIMIT} bytes`)
  t.ok(bytes <= RUNTIME_LIMIT - ROOM_FOR_PAYPLACE, `${bytes} bytes`)
})

t.test('forge: regressions D1-D36, fuzz and invariants I1, I2, I4, I6', async (t) => {
  const binary = forgeBinary()
  t.ok(existsSync(binary), `${binary} is installed`)
  const finished = await run(binary, ['test', '--root', ROOT, '--offline', '--json'])
  t.equal(finished.code, 0, finished.stderr)
  const line = finished.stdout.split('\n').find((text) => text.startsWith('{"test/')) ?? '{}'
  const report: ForgeReport = JSON.parse(line)
  const ran: string[] = []
  for (const [suite, { test_results }] of Object.entries(report)) {
    for (const [signature, result] of Object.entries(test_results)) {
      const name = `${suite.replace(/:.*$/, '')} ${signature.replace(/\(.*$/, '')}`
      ran.push(name)
      t.equal(result.status, 'Success', `${name} ${result.reason ?? ''}`)
    }
  }
  t.same(ran.sort(), plannedTests().sort(), 'the plans name every test, and no other')
})
