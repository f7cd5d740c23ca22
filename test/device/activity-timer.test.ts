// When a payer publishes: once a day over restarts, at its end where that is wanted, never at the
// cost of paying.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { readActivityRecords } from '../../device/activities-file.ts'
import type { Published } from '../../device/activity.ts'
import { createActivityTimer } from '../../device/activity-timer.ts'
import type { RunEvent } from '../../device/run-events.ts'
import type { OpenTill } from '../../device/tills.ts'

const HOUR = 3_600_000
const open = { to: { operatorId: 1 } } as OpenTill
const activity = { sessions: 2, paid: 5n } as Extract<Published, { kind: 'published' }>['activity']

function world(when: 'off' | 'daily' | 'exit') {
  const directory = mkdtempSync(join(tmpdir(), 'datanet-activity-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const state = { nowMs: 1_000_000_000_000, published: 0, fails: false, events: [] as RunEvent[] }
  const start = () =>
    createActivityTimer({
      ...{ directory, when, now: () => state.nowMs },
      emit: (event) => void state.events.push(event),
      async publish() {
        state.published += 1
        if (state.fails) throw new Error('no gas')
        return { kind: 'published', activity, transaction: '0x' }
      },
    })
  return { directory, state, start }
}

type Timer = ReturnType<ReturnType<typeof world>['start']>

/** One step of the payer, and what it started. */
async function step(timer: Timer): Promise<void> {
  timer.step(open)
  await timer.end()
}

t.test('daily: a day after the first run, whatever restarts there are', async (t) => {
  const { directory, state, start } = world('daily')
  const timer = start()
  await step(timer)
  t.equal(state.published, 0, 'nothing at the first start')
  t.match((await readActivityRecords(directory)).get(1), { end: 0, triedAtMs: state.nowMs })
  state.nowMs += 23 * HOUR
  const again = start()
  await step(again)
  t.equal(state.published, 0)
  state.nowMs += HOUR
  await step(again)
  await step(again)
  t.equal(state.published, 1, 'once')
  t.match(state.events, [{ event: 'activity-published', operatorId: 1, sessions: 2, paid: 5n }])
  state.fails = true
  state.nowMs += 24 * HOUR
  await step(again)
  await step(again)
  t.equal(state.published, 2)
  t.match(state.events[1], { event: 'failed', what: 'activity', message: 'no gas' })
  state.nowMs += HOUR
  await step(again)
  t.equal(state.published, 3, 'after a failure it is tried an hour later')
})

t.test('exit: also at the end; off: never', async (t) => {
  const leaving = world('exit')
  const timer = leaving.start()
  timer.step(open)
  await timer.end()
  t.equal(leaving.state.published, 1)
  const silent = world('off')
  const none = silent.start()
  silent.state.nowMs += 48 * HOUR
  await step(none)
  t.equal(silent.state.published, 0)
  t.equal((await readActivityRecords(silent.directory)).size, 0)
})

t.test('a clock that was years ahead puts nothing off for years', async (t) => {
  const { directory, state, start } = world('daily')
  const timer = start()
  await step(timer)
  state.nowMs -= 5 * 365 * 24 * HOUR
  await step(timer)
  t.match((await readActivityRecords(directory)).get(1), { triedAtMs: state.nowMs })
  const again = start()
  state.nowMs += 23 * HOUR
  for (const one of [timer, again]) await step(one)
  t.equal(state.published, 0)
  state.nowMs += HOUR
  for (const one of [timer, again]) await step(one)
  t.equal(state.published, 2, 'a day after it was set right, before and after a restart')
})
