// The gas table: one row per transaction, targets and estimates where there are any.

import t from 'tap'
import { gasReport } from '../../bench/gas-report.ts'

t.test('rows stand in the table as they were measured', async (t) => {
  const report = gasReport([
    { what: '`claim`', gas: 56_881 },
    { what: '`notarize`', gas: 221_827, target: 230_000, thesis: 143_000 },
  ])
  const rows = report.split('\n').filter((line) => line.startsWith('| `'))
  t.same(rows, ['| `claim` | 56,881 |  |  |', '| `notarize` | 221,827 | <= 230,000 | 143,000 |'])
  t.match(report, 'costs 352,400 for 10, 1,070,000 for 3,000 payments\nand 2,750,000 for 10,000')
})
