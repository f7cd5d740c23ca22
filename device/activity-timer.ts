// When a running payer publishes its activity: once a day, counted over restarts, and at its end
// where the policy says so. Publishes in the background, so that paying never waits for a chain; a
// failure is told and does not stop the paying. Called by the cli's `device run`.

import { NEVER, noteActivity, readActivityRecords } from './activities-file.ts'
import type { Published } from './activity.ts'
import type { RunEvent } from './run-events.ts'
import type { OpenTill } from './tills.ts'

/** `now` in Unix ms by the own clock; `publish` as activity.ts's publishNow. */
export interface ActivityTimerDeps {
  readonly directory: string
  readonly when: 'off' | 'daily' | 'exit'
  readonly publish: (open: OpenTill) => Promise<Published>
  readonly now: () => number
  readonly emit: (event: RunEvent) => void
}

export interface ActivityTimer {
  /** Called at every step of the payer; starts what is due and returns at once. */
  step(open: OpenTill): void
  /** Waits for what was started; publishes once more where the policy says so. */
  end(): Promise<void>
}

const DAY_MS = 86_400_000
/** After a failure; a day's summary is no hurry. */
const AGAIN_MS = 3_600_000

/** A timer that knows nothing yet: the first step reads DIR. */
export function createActivityTimer(deps: ActivityTimerDeps): ActivityTimer {
  const { directory, when, now, emit } = deps
  const dueAtMs = new Map<number, number>()
  const opened = new Map<number, OpenTill>()
  let running: Promise<void> | undefined

  async function dueOf(operatorId: number): Promise<number> {
    const known = (await readActivityRecords(directory)).get(operatorId)
    // A time that is still to come is of a clock that was wrong.
    if (known !== undefined && known.triedAtMs <= now()) return known.triedAtMs + DAY_MS
    // On the disk, so that a device that runs an hour a day gets to its day, too.
    const first = { ...NEVER, ...known, triedAtMs: Math.floor(now()) }
    await noteActivity(directory, operatorId, first)
    return now() + DAY_MS
  }

  async function publish(open: OpenTill): Promise<void> {
    const { operatorId } = open.to
    try {
      const published = await deps.publish(open)
      dueAtMs.set(operatorId, now() + DAY_MS)
      if (published.kind === 'nothing-new') return
      const { sessions, paid } = published.activity
      emit({ event: 'activity-published', operatorId, sessions, paid })
    } catch (error) {
      dueAtMs.set(operatorId, now() + AGAIN_MS)
      emit({ event: 'failed', what: 'activity', message: (error as Error).message })
    }
  }

  async function look(open: OpenTill): Promise<void> {
    const { operatorId } = open.to
    opened.set(operatorId, open)
    const due = dueAtMs.get(operatorId) ?? (await dueOf(operatorId))
    dueAtMs.set(operatorId, due)
    if (now() >= due) await publish(open)
  }

  return {
    step(open) {
      if (when === 'off' || running !== undefined) return
      const { operatorId } = open.to
      const waitsMs = (dueAtMs.get(operatorId) ?? now()) - now()
      if (waitsMs > DAY_MS) dueAtMs.delete(operatorId)
      else if (waitsMs > 0) return
      running = look(open)
        .catch((error: Error) => {
          dueAtMs.set(open.to.operatorId, now() + AGAIN_MS)
          emit({ event: 'failed', what: 'activity', message: error.message })
        })
        .finally(() => {
          running = undefined
        })
    },
    async end() {
      await running
      if (when !== 'exit') return
      for (const open of opened.values()) await publish(open)
    },
  }
}
