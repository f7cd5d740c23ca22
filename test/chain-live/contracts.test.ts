// The contracts as Solidity: the committed artifacts are what the sources compile to, and forge's
// fuzz, invariant and regression tests pass on exactly those bytes, each planned in a .tree file.
// Needs solc and forge of node_modules, no network; about 40 s of CPU, most of it compiling.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { forgeBinary, forgeTest, PLANS, ROOT, run, successesOf } from '../contracts/forge.ts'

/** EIP-170. */
const RUNTIME_LIMIT = 24_576
const MINUTE = 60_000

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

t.setTimeout(6 * MINUTE)

t.test('the committed artifacts are byte for byte what the sources compile to', async (t) => {
  const args = ['chain/contracts/build.ts', '--check']
  const checked = await run(process.execPath, args, 2 * MINUTE)
  t.equal(checked.stderr, '')
  t.match(checked.stdout, /Datanet\.json, .*TestToken\.json match\n$/)
  t.equal(checked.code, 0)
})

t.test('EIP-170: the contract fits', async (t) => {
  const bytes = artifact('Datanet').deployedBytecode.length / 2 - 1
  t.comment(`Datanet is ${bytes} of ${RUNTIME_LIMIT} bytes`)
  t.ok(bytes <= RUNTIME_LIMIT, `${bytes} bytes`)
})

t.test('forge: regressions D1-D43, fuzz and invariants I1-I6, I9-I18', async (t) => {
  const binary = forgeBinary()
  t.ok(existsSync(binary), `${binary} is installed`)
  const { results, stderr } = await forgeTest([], 4 * MINUTE)
  for (const { name, passed, reason } of results) t.ok(passed, `${name} ${reason}`)
  const market = results.find(({ name }) => name.includes('invariant_I1_to_I14'))?.campaign
  const successes = successesOf(market ?? { runs: 0, calls: 0, reverts: 0, metrics: {} })
  for (const action of ['notarizeAny', 'lock', 'withdraw', 'finalizeShift', 'claim']) {
    t.ok((successes.get(action) ?? 0) > 0, `${action}: ${successes.get(action)} in the campaign`)
  }
  t.ok((successes.get('notarizeAny') ?? 0) > 2 * (market?.runs ?? 0), 'blocks enough in a run')
  const ran = results.map(({ name }) => name)
  t.same(ran.sort(), plannedTests().sort(), `the plans name every test, and no other ${stderr}`)
})
