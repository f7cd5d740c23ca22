// What the agent does at each moment of a period: the table of standing, phase and what is signed.

import t from 'tap'
import { type Moment, marginOf, nextStep, type Step } from '../../merchant/plan.ts'
import { TIMING } from './support.ts'

const BEGINS = 1_180
const base: Moment = {
  ...{ now: BEGINS + 5, timing: TIMING, standing: 'active', operatorActive: true },
  ...{ signedPeriod: 2, hasAnswer: true },
}

t.test('the step of each moment', async (t) => {
  const cases: readonly [name: string, moment: Partial<Moment>, step: Step['step']][] = [
    ['before the operator began', { now: 900 }, 'watch'],
    ['a stranger waits for the open window', { standing: 'none' }, 'watch'],
    ['and joins in it', { standing: 'none', now: BEGINS + 20 }, 'register'],
    ['the last second of the freeze', { standing: 'none', now: BEGINS + 19.9 }, 'watch'],
    ['not so late that the block misses it', { standing: 'none', now: BEGINS + 55.5 }, 'watch'],
    [
      'nor with who retired',
      { standing: 'none', now: BEGINS + 30, operatorActive: false },
      'watch',
    ],
    ['who has left stays away', { standing: 'exited', now: BEGINS + 30 }, 'watch'],
    ['a merchant asks in the commitment window', {}, 'ask'],
    ['one who is missing as well', { standing: 'missing' }, 'ask'],
    ['at g itself nothing is offered', { now: BEGINS + 0.5 }, 'watch'],
    ['the first second of the window', { now: BEGINS + 1 }, 'ask'],
    ['too late for a signature to be of use', { now: BEGINS + 14 }, 'watch'],
    ['the freeze', { now: BEGINS + 16 }, 'watch'],
    ['the open window', { now: BEGINS + 30 }, 'watch'],
    [
      'D13: in a period that may have been signed in',
      { signedPeriod: 3, hasAnswer: false },
      'watch',
    ],
    ['signed: the same again, as the operator may have lost it', { signedPeriod: 3 }, 'send'],
    ['even in the last moment', { signedPeriod: 3, now: BEGINS + 14.5 }, 'send'],
    ['what was not sent in its window is void', { signedPeriod: 3, now: BEGINS + 30 }, 'watch'],
    ['an answer of the period before', {}, 'ask'],
    ['a period that a wrong clock signed ahead', { signedPeriod: 4 }, 'watch'],
  ]
  for (const [name, moment, step] of cases)
    t.equal(nextStep({ ...base, ...moment }).step, step, name)
})

t.test('it looks again in time for the next window, and not in a tight loop', async (t) => {
  const at = (now: number, more: Partial<Moment> = {}) =>
    nextStep({ ...base, ...more, now }).again - now
  t.equal(at(BEGINS + 5), TIMING.gamma / 16, 'asks sixteen times in a window')
  t.equal(at(BEGINS + 0.5), 0.5, 'wakes when the window opens')
  t.equal(at(BEGINS + 18), 2, 'and when the open one does')
  t.equal(at(BEGINS + 30), 5, 'else twelve times a period')
  t.equal(at(BEGINS - 1, { standing: 'none' }), 2, 'the second behind g')
  t.equal(at(900), 5)
  const day = { ...TIMING, beta: 86_400, gamma: 3_600, delta: 900 }
  for (const [now, longest] of [
    [1_000 + 40_000, 60],
    [1_000 + 10, 5],
  ] as const) {
    const again = nextStep({ ...base, timing: day, now, signedPeriod: -1 }).again - now
    t.equal(again, longest, 'never longer than a minute, never asking more often than needed')
  }
  for (let now = 990; now < 1_200; now += 0.37) {
    t.ok(nextStep({ ...base, now }).again > now, `${now}`)
  }
  t.equal(marginOf({ ...TIMING, gamma: 4 }), 0.5)
  t.equal(marginOf({ ...TIMING, gamma: 1 }), 0.3)
})
