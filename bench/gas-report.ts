// The gas tables as Markdown. Pure. Called by gas.ts.

import type { PartRow } from './gas-parts.ts'

/** One transaction; gas in units. */
export interface GasRow {
  readonly what: string
  readonly gas: number
  /** Where one is set. */
  readonly target?: number
  /** What the thesis estimated for the same step, without the transaction around it. */
  readonly thesis?: number
}

const count = (value: number): string => value.toLocaleString('en-US')

/** Payments of a period in the comparison. */
const PAYMENTS = [10, 100, 1_000, 3_000, 10_000]
/** The row of a notarization as it is every period. */
export const USUAL = '`notarize`, everybody signs'

/** As the thesis models it: a proof, the rest, and something for each payment. */
const rollup = (payments: number): number => 300_000 + 50_000 + 240 * payments

/** The whole file. */
export function gasReport(rows: readonly GasRow[], parts: readonly PartRow[]): string {
  const lines = rows.map(({ what, gas, target, thesis }) => {
    const cells = [what, count(gas), target === undefined ? '' : `<= ${count(target)}`]
    return `| ${[...cells, thesis === undefined ? '' : count(thesis)].join(' | ')} |`
  })
  const steps = parts.map(({ what, gas, thesis }) => {
    return `| ${[what, count(gas), thesis === undefined ? '' : count(thesis)].join(' | ')} |`
  })
  const usual = rows.find(({ what }) => what === USUAL)?.gas ?? 0
  const compared = PAYMENTS.map((payments) => {
    return `| ${[payments, usual, rollup(payments)].map(count).join(' | ')} |`
  })
  return [
    '# Gas',
    '',
    'Whole transactions on anvil (osaka) with the committed bytecode; `npm run bench:gas` writes',
    'this file, and a test says where it is not what is measured. A voucher is "known" where the',
    'contract has seen it, "fresh" where it comes with the transaction. Targets are the project\'s',
    "own. The thesis's figures are its estimates of the one step at prices of alt_bn128, without",
    'the 21,000 of a transaction and without its data.',
    '',
    '| transaction | gas | target | thesis |',
    '|---|---:|---:|---:|',
    ...lines,
    '',
    'Steps inside of them, from traces or as the difference of two transactions:',
    '',
    '| step | gas | thesis |',
    '|---|---:|---:|',
    ...steps,
    '',
    'A notarization costs the same for 10 and for 10,000 payments: none of them is in it. The ZK',
    'rollup is as the thesis models it: 300,000 for a proof, 50,000 for the rest, 240 a payment.',
    '',
    '| payments in a period | `notarize` | ZK rollup |',
    '|---:|---:|---:|',
    ...compared,
    '',
  ].join('\n')
}
