// The device's last word on a session that is over. What its access point counted since the last
// report is on the bill until the device answers, so the answer comes before the debt is judged.
// Owns how often that is tried. Called by run.ts after each question for the sessions.

import { countedIn, type SeenSession } from './own-sessions.ts'
import { isDebt } from './payer.ts'
import type { Till } from './till.ts'

/** An enrolment anew takes part of a second; the debt waits no longer than these together. */
const TRIES_MAX = 4
const AGAIN_MS = 500

export interface LastReportDeps {
  readonly till: Till
  readonly seen: ReadonlyMap<string, SeenSession>
  /** Of which sessions it has been said already; grows by what is said now. */
  readonly said: { has(session: string): boolean; add(session: string): void }
  readonly timeoutMs: number
  readonly pause: (ms: number) => Promise<void>
}

/** Signs for each session that ended and owes, once; true where that may have changed a bill. */
export async function reportEnds(deps: LastReportDeps): Promise<boolean> {
  const { till, seen, said, timeoutMs } = deps
  let isTaken = false
  for (const { id, report } of till.sessions.filter(isDebt)) {
    const usage = countedIn(seen.get(id))
    if (usage === undefined || report === undefined || said.has(id)) continue
    said.add(id)
    let outcome = await till.report(id, usage, timeoutMs)
    for (let tries = 1; outcome === 'again' && tries < TRIES_MAX; tries++) {
      await deps.pause(AGAIN_MS)
      outcome = await till.report(id, usage, timeoutMs)
    }
    isTaken ||= outcome === 'taken'
  }
  return isTaken
}
