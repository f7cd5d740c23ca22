// The gas tables: one row per transaction and step, targets and estimates where there are any.

import t from 'tap'
import { gasReport, USUAL } from '../../bench/gas-report.ts'

t.test('rows stand in the tables as they were measured', async (t) => {
  const report = gasReport(
    [
      { what: '`claim`', gas: 56_881 },
      { what: USUAL, gas: 221_827, target: 230_000, thesis: 143_000 },
    ],
    [{ what: 'pairing check, 2 pairs', gas: 102_900, thesis: 113_000 }],
  )
  const rows = report.split('\n').filter((line) => /^\| [`p\d]/.test(line))
  t.same(rows, [
    '| `claim` | 56,881 |  |  |',
    '| `notarize`, everybody signs | 221,827 | <= 230,000 | 143,000 |',
    '| pairing check, 2 pairs | 102,900 | 113,000 |',
    '| payments in a period | `notarize` | ZK rollup |',
    ...['10 | 221,827 | 352,400', '100 | 221,827 | 374,000', '1,000 | 221,827 | 590,000'].map(
      (cells) => `| ${cells} |`,
    ),
    '| 3,000 | 221,827 | 1,070,000 |',
    '| 10,000 | 221,827 | 2,750,000 |',
  ])
})
