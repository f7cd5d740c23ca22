// The arithmetic behind the benchmark's verdicts.

import t from 'tap'
import { figure, median, percentile, ratio, table } from '../../bench/table.ts'

t.test('median and percentiles do not depend on the order', async (t) => {
  const cases: [number[], number, number][] = [
    [[3], 3, 3],
    [[4, 1, 3, 2], 2.5, 4],
    [[5, 1, 9], 5, 9],
  ]
  for (const [values, middle, last] of cases) {
    t.equal(median(values), middle)
    t.equal(percentile(values, 0.99), last)
  }
  t.ok(Number.isNaN(median([])))
  t.ok(Number.isNaN(percentile([], 0.5)))
})

t.test('a difference under 10 % is called a draw, no figure is called nothing', async (t) => {
  t.equal(ratio(850, 1000), '0.85')
  t.equal(ratio(910, 1000), '0.91 (draw)')
  t.equal(ratio(1110, 1000), '1.11')
  t.equal(ratio(1, 0), '-')
  t.equal(figure(undefined), '-')
  t.equal(figure(12.345, 1), '12.3')
})

t.test('columns are aligned: text to the left, figures to the right', async (t) => {
  const rows = [
    ['server', 'us'],
    ['one', '1'],
    ['another', '1000'],
  ]
  const lines = ['T', 'server     us', '-------  ----', 'one         1', 'another  1000', '']
  t.equal(table('T', rows), lines.join('\n'))
})
