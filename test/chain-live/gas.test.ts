// What every function of the contracts costs, against the limits and against docs/GAS.md: all of it
// is measured again, and comes out the same to the unit. `npm run bench:gas` writes the file anew.

import { readFileSync } from 'node:fs'
import t from 'tap'
import { gasReport } from '../../bench/gas-report.ts'
import { measureGas } from '../../bench/gas-scenario.ts'

const read = (path: string): string =>
  readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
const CONTRACTS = ['Datanet', 'Activities', 'AttestorVerifier', 'DeviceVerifier']

/** Functions that change something, by the committed artifacts. */
function functions(): string[] {
  return CONTRACTS.flatMap((name) => {
    const { abi } = JSON.parse(read(`chain/contracts/artifacts/${name}.json`)) as {
      abi: { type: string; name?: string; stateMutability?: string }[]
    }
    return abi
      .filter(
        ({ type, stateMutability }) => type === 'function' && stateMutability === 'nonpayable',
      )
      .map((one) => one.name ?? '')
  })
}

const LIMITS: readonly [what: string, most: number][] = [
  ['`notarize`, everybody signs', 230_000],
  ['`notarize`, the same missing again', 230_000],
  ['`withdraw`, 10 consumers, vouchers known', 160_000],
  ['`register`, first merchant', 400_000],
  ['`register`, next merchant', 320_000],
]

t.setTimeout(170_000)

t.test('gas: limits, every function, and the document', async (t) => {
  const { rows, parts } = await measureGas()
  for (const [name, most] of LIMITS) {
    const gas = rows.find(({ what }) => what === name)?.gas ?? Number.POSITIVE_INFINITY
    t.ok(gas <= most, `${name}: ${gas} of ${most}`)
  }
  for (const { what, gas, target } of rows) {
    if (target !== undefined) t.ok(gas <= target, `${what}: ${gas} of ${target}`)
  }
  const measured = rows.map(({ what }) => what).join()
  const missing = functions().filter((name) => !measured.includes(`\`${name}\``))
  t.same(missing, [], 'no function without a row')
  t.equal(gasReport(rows, parts), read('docs/GAS.md'), 'docs/GAS.md is what is measured')
})
