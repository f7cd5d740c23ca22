// How long work on the event loop may hold it: big batches give way to everybody else every few
// milliseconds, and only one of them computes at a time, or ten would each take their share between
// two packets. Called by payments.ts.

import { setImmediate as nextTurn } from 'node:timers/promises'

/** A RADIUS packet or a single payment waits about this long behind a batch. */
const SLICE_MS = 2
/** So few are done at once: they take no longer than a slice. */
const SMALL = 8

/** Calls `work` for each value in order; resolves after the last, rejects where one throws. */
export type ForEachInTurns = <Value>(
  values: readonly Value[],
  work: (value: Value, index: number) => void,
) => Promise<void>

/** Long lists wait for one another in the order they came, and give way after each slice. */
export function createTurns(): ForEachInTurns {
  let last: Promise<void> = Promise.resolve()
  return async (values, work) => {
    if (values.length <= SMALL) {
      values.forEach(work)
      return
    }
    const run = (): Promise<void> => inSlices(values, work)
    const turn = last.then(run, run)
    last = turn
    await turn
  }
}

async function inSlices<Value>(
  values: readonly Value[],
  work: (value: Value, index: number) => void,
): Promise<void> {
  let endsAt = performance.now() + SLICE_MS
  for (const [index, value] of values.entries()) {
    if (performance.now() >= endsAt) {
      await nextTurn()
      endsAt = performance.now() + SLICE_MS
    }
    work(value, index)
  }
}
