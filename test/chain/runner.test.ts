// The repeated task: never twice at once, no wake-up lost, patient after failures.

import t from 'tap'
import { startRunner } from '../../chain/runner.ts'

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

function counting(fail: () => boolean = () => false) {
  const seen = {
    runs: 0,
    atOnce: 0,
    atOnceMax: 0,
    failures: [] as number[],
    recovered: [] as number[],
  }
  const task = async (): Promise<void> => {
    seen.runs += 1
    seen.atOnce += 1
    seen.atOnceMax = Math.max(seen.atOnceMax, seen.atOnce)
    await pause(5)
    seen.atOnce -= 1
    if (fail()) throw new Error('failed')
  }
  const options = {
    everyMs: 10_000,
    retryMs: () => 20,
    failed: (_: unknown, failures: number) => seen.failures.push(failures),
    recovered: (failures: number) => seen.recovered.push(failures),
  }
  return { seen, task, options }
}

t.test('at rest until woken; wakes during a run make one more run', async (t) => {
  const { seen, task, options } = counting()
  const runner = startRunner(task, options)
  await pause(10)
  t.equal(seen.runs, 0)
  for (let i = 0; i < 5; i++) runner.wake()
  await pause(1)
  for (let i = 0; i < 5; i++) runner.wake()
  await pause(40)
  t.equal(seen.runs, 2)
  t.equal(seen.atOnceMax, 1)
  await runner.end()
})

t.test('next() is a run that begins afterwards, shared by all who wait', async (t) => {
  const { seen, task, options } = counting()
  const runner = startRunner(task, options)
  runner.wake()
  await pause(1)
  await Promise.all([runner.next(), runner.next(), runner.next()])
  t.equal(seen.runs, 2)
  await runner.end()
  await t.rejects(runner.next())
})

t.test('failures: told with their number, retried after a pause, wake-ups wait', async (t) => {
  let broken = true
  const { seen, task, options } = counting(() => broken)
  const runner = startRunner(task, options)
  await t.rejects(runner.next())
  for (let i = 0; i < 20; i++) runner.wake()
  await pause(12)
  t.equal(seen.runs, 1, 'a wake-up does not shorten the pause')
  await pause(40)
  t.ok(seen.runs >= 2)
  broken = false
  await runner.next()
  t.strictSame(seen.recovered, [seen.failures.length])
  t.strictSame(
    seen.failures,
    Array.from(seen.failures, (_, i) => i + 1),
  )
  await runner.end()
})

t.test('end() waits for the run under way and begins no other', async (t) => {
  const { seen, task, options } = counting()
  const runner = startRunner(task, options)
  runner.wake()
  runner.wake()
  await runner.end()
  t.equal(seen.atOnce, 0)
  await pause(20)
  t.equal(seen.runs, 1)
})
