// The table of invariants says what is so: each has tests that exist and a rule that mutants.ts
// takes out, and every mutant still finds the text that it replaces.

import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { MUTANTS, mutate } from '../../contracts/mutants.ts'

const PLANS = new URL('../../contracts/', import.meta.url)
const SOURCES = new URL('../../../chain/contracts/', import.meta.url)
const INVARIANTS = 18

const read = (name: string): string => readFileSync(new URL(name, PLANS), 'utf8')
const solidity = readdirSync(PLANS)
  .filter((name) => name.endsWith('.t.sol'))
  .map(read)
  .join('\n')
const rules = new Set(MUTANTS.map(({ rule }) => rule))

/** The cells of the table's rows, by invariant. */
const rows = new Map(
  read('INVARIANTS.md')
    .split('\n')
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .filter(([, name = '']) => /^I\d+$/.test(name))
    .map(([, name = '', , tests = '', rule = '']) => [name, { tests, rule }] as const),
)
const quoted = (cell: string): string[] =>
  [...cell.matchAll(/`([^`]+)`/g)].map(([, text = '']) => text)

t.test('I1 to I18: each has tests, and a rule that is taken out', async (t) => {
  t.equal(rows.size, INVARIANTS)
  for (let number = 1; number <= INVARIANTS; number++) {
    const { tests, rule } = rows.get(`I${number}`) ?? { tests: '', rule: '' }
    const names = quoted(tests)
    t.ok(names.length > 0, `I${number} has tests`)
    for (const name of names) t.ok(solidity.includes(`function ${name}(`), `I${number}: ${name}`)
    const [taken = ''] = quoted(rule)
    t.ok(rules.has(taken), `I${number}: ${taken}`)
    t.match(taken, new RegExp(`\\bI${number}\\b`), `I${number} is in the rule’s name`)
  }
})

t.test('every mutant changes its file, and no two have one name', async (t) => {
  t.equal(rules.size, MUTANTS.length)
  for (const mutant of MUTANTS) {
    const changed = mutate(SOURCES.pathname, mutant)
    t.ok(changed.includes(mutant.instead), mutant.rule)
  }
})
