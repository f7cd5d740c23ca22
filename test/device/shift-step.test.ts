// What a pending shift waits for, second by second, by the contract's own borders.

import t from 'tap'
import { shiftStep } from '../../device/shift-step.ts'

// Periods of 60 s: commit (0, 15), freeze to 18, open (18, 57), freeze to 60.
const timing = { g0: 1_000, beta: 60, gamma: 15, delta: 3, challenge: 130, eta: 3 }
const requestedAt = 1_030
const period = 0

t.test('D30: challenge, then a block that counts, then the open window', async (t) => {
  const cases: [name: string, now: number, lastPeriod: number, step: object][] = [
    [
      'just asked for',
      1_030,
      0,
      { waitsFor: 'challenge', challengeEndsAt: 1_160, blockFromAt: 1_060, dueAt: 1_160 },
    ],
    ['a block was made', 1_100, 1, { waitsFor: 'challenge', blockFromAt: undefined, dueAt: 1_160 }],
    ['one second left', 1_159, 1, { waitsFor: 'challenge', dueAt: 1_160 }],
    ['over, in the open window', 1_160, 1, { waitsFor: 'nothing', dueAt: 1_160 }],
    ['over, in the freeze', 1_177, 1, { waitsFor: 'window', dueAt: 1_199 }],
    ['over, in the commitment window', 1_185, 2, { waitsFor: 'window', dueAt: 1_199 }],
    ['over, no block, open', 1_160, 0, { waitsFor: 'block', blockFromAt: 1_180, dueAt: 1_199 }],
    [
      'over, no block, committing',
      1_185,
      0,
      { waitsFor: 'block', blockFromAt: 1_180, dueAt: 1_199 },
    ],
    ['over, no block in 90 days', 1_030 + 90 * 86_400, 0, { waitsFor: 'nothing' }],
  ]
  for (const [name, now, lastPeriod, step] of cases) {
    t.match(shiftStep({ requestedAt, period }, { timing, lastPeriod }, now), step, name)
  }
})

t.test('D43: asked for in the freeze, the block of the next g does not count', async (t) => {
  const late = { requestedAt: 1_058, period: 1 }
  const step = shiftStep(late, { timing, lastPeriod: 1 }, 1_200)
  t.match(step, { waitsFor: 'block', blockFromAt: 1_240 })
  const made = shiftStep(late, { timing, lastPeriod: 2 }, 1_200)
  t.match(made, { waitsFor: 'nothing', dueAt: 1_200 })
})
