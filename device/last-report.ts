// The device's last word on a session that is over. What its access point counted since the last
// report is on the bill until the device answers, so the answer comes before the debt is judged.
// Owns how often that is tried. Called by run.ts after each question for the sessions.

import { countedIn, type SeenSession } from './own-sessions.ts'
import { isDebt } from './payer.ts'
import type { Reported, Till } from './till.ts'

/** An enrolment anew takes part of a second; the debt waits no longer than these together. */
const TRIES_MAX = 4
const AGAIN_MS = 500

export interface LastReportDeps {
  readonly till: Till
  readonly seen: ReadonlyMap<string, SeenSession>
  /** What became of it before, by session; this grows. */
  readonly ends: Map<string, 'said' | 'no-key'>
  readonly timeoutMs: number
  readonly pause: (ms: number) => Promise<void>
}

/**
 * Signs for each session that ended and owes, once; true where that may have changed a bill. A TPM
 * may need longer for its key than the debt waits: then it is tried at each question, until it is
 * said, nothing is owed any more, or the operator has closed the session for good.
 */
export async function reportEnds(deps: LastReportDeps): Promise<boolean> {
  const { till, seen, ends, timeoutMs } = deps
  let isTaken = false
  for (const { id, report } of till.sessions.filter(isDebt)) {
    const usage = countedIn(seen.get(id))
    const before = ends.get(id)
    if (usage === undefined || report === undefined || before === 'said') continue
    const triesMax = before === undefined ? TRIES_MAX : 1
    let outcome = await till.report(id, usage, timeoutMs)
    for (let tries = 1; isOpen(outcome) && tries < triesMax; tries++) {
      await deps.pause(AGAIN_MS)
      outcome = await till.report(id, usage, timeoutMs)
    }
    ends.set(id, outcome === 'no-key' ? outcome : 'said')
    isTaken ||= outcome === 'taken'
  }
  return isTaken
}

const isOpen = (outcome: Reported): boolean => outcome === 'again' || outcome === 'no-key'
