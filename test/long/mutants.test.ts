// Every rule of the contract taken out once, to see a test fail. About half an hour, most of it
// compiling. DATANET_MUTANTS=3,17 in the environment runs only those, by their place in the list.

import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { compileContracts } from '../../chain/contracts/build.ts'
import { forgeTest, ROOT } from '../contracts/forge.ts'
import { MUTANTS, type Mutant, mutate } from '../contracts/mutants.ts'

const SOURCES = join(ROOT, 'chain', 'contracts')
const FOLDER = join('.cache', 'mutants')
const MINUTE = 60_000

t.setTimeout(120 * MINUTE)

/** Forge's results on the mutant, in the suites where it should be noticed. */
async function testMutant(mutant: Mutant) {
  const artifacts = compileContracts(new Map([[mutant.file, mutate(SOURCES, mutant)]]))
  rmSync(join(ROOT, FOLDER), { recursive: true, force: true })
  mkdirSync(join(ROOT, FOLDER), { recursive: true })
  for (const [file, text] of artifacts) writeFileSync(join(ROOT, FOLDER, file), text)
  const environment = { DATANET_ARTIFACTS: FOLDER, FOUNDRY_PROFILE: 'mutants' }
  return forgeTest(['--match-contract', mutant.tests], 10 * MINUTE, environment)
}

t.test('every rule taken out makes a test fail', async (t) => {
  const chosen = process.env['DATANET_MUTANTS']?.split(',').map(Number)
  for (const [index, mutant] of MUTANTS.entries()) {
    if (chosen !== undefined && !chosen.includes(index)) continue
    const { results, stderr } = await testMutant(mutant)
    t.ok(results.length > 0, 'forge ran', { stderr })
    const first = results.find(({ passed }) => !passed)
    const noticed = first === undefined ? 'NOTHING NOTICED IT' : `${first.name} (${first.reason})`
    t.comment(`${index} ${mutant.rule}: ${noticed}`)
    t.ok(first, `${index} ${mutant.rule}: ${noticed}`)
  }
  rmSync(join(ROOT, FOLDER), { recursive: true, force: true })
})
