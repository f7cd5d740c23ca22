// The gas table as Markdown. Pure. Called by gas.ts.

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

/** The whole file. */
export function gasReport(rows: readonly GasRow[]): string {
  const lines = rows.map(({ what, gas, target, thesis }) => {
    const cells = [what, count(gas), target === undefined ? '' : `<= ${count(target)}`]
    return `| ${[...cells, thesis === undefined ? '' : count(thesis)].join(' | ')} |`
  })
  return [
    '# Gas',
    '',
    'Whole transactions on anvil (osaka) with the committed bytecode; `npm run bench:gas` writes',
    'this file. A voucher is "known" where the contract has seen it, "fresh" where it comes with',
    "the transaction. Targets are the project's own. The thesis's figures are its estimates of the",
    'one step at prices of alt_bn128, without the 21,000 of a transaction and without its data.',
    '',
    '| transaction | gas | target | thesis |',
    '|---|---:|---:|---:|',
    ...lines,
    '',
    'A notarization costs the same for 10 and for 10,000 payments: none of them is in it. A ZK',
    'rollup as the thesis models it (300,000 for a proof, 50,000 for the rest, 240 a payment)',
    `costs ${count(rollup(10))} for 10, ${count(rollup(3_000))} for 3,000 payments`,
    `and ${count(rollup(10_000))} for 10,000.`,
    '',
  ].join('\n')
}

const rollup = (payments: number): number => 350_000 + 240 * payments
