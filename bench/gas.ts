// `npm run bench:gas`: what every function of the contract costs, as whole transactions on anvil,
// beside the targets and the thesis's estimates. Writes docs/GAS.md, fails where a target is
// missed.

import { writeFileSync } from 'node:fs'
import { gasReport } from './gas-report.ts'
import { measureGas } from './gas-scenario.ts'

const FILE = new URL('../docs/GAS.md', import.meta.url)

const { rows, parts } = await measureGas()
const report = gasReport(rows, parts)
writeFileSync(FILE, report)
process.stdout.write(report)
const missed = rows.filter(({ gas, target }) => target !== undefined && gas > target)
for (const { what, gas } of missed) process.stderr.write(`over its target: ${what}, ${gas}\n`)
process.exitCode = missed.length === 0 ? 0 : 1
