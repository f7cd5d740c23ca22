// The counters of one interface over the last minute, so that a session that is first seen some
// seconds after it began is counted from its beginning. Owns at which reading a session's count
// begins: never at one that was made after its first octets. Called by the cli and run-state.ts.

import { type Counters, foldMeter, type Meter, readCounters, startMeter } from './meter.ts'

/** One look at the interface; `atMs` by a clock that is never set (performance.now). */
export interface Reading {
  readonly counters: Counters
  /** When the counters had been read. */
  readonly atMs: number
  /** Made because the supplicant said that it is connected. */
  readonly isLinkUp: boolean
}

/** The interface as it is watched; failing to read it leaves a gap. */
export interface Readings {
  /** Reads it now; `isLinkUp`: the supplicant has just said that it is connected. */
  take(isLinkUp: boolean): Promise<void>
  /** What was counted of a session that began no longer than `ageMs` ago; undefined: not all. */
  countedFor(ageMs: number): Meter | undefined
  close(): void
}

/** What of the time before a session is counted with it is the traffic of about so long. */
const READ_MS = 1_000
/**
 * A minute: `device run` asks for new sessions every ten seconds, or thirty where nobody answers.
 * More would be the operator's to misuse, who says when a session began.
 */
const READINGS_MAX = 60
/** The link comes up within a second; sessions' times and the operator's clock are rounded. */
const LINK_UP_MS = 3_000

/**
 * The count of a session that began at `startMs` or later. From the moment its link came up, where
 * that is known: nothing flows before. Else from the last reading before its start.
 */
export function countedSince(readings: readonly Reading[], startMs: number): Meter | undefined {
  const linkUp = readings.findIndex(
    ({ isLinkUp, atMs }) => isLinkUp && atMs >= startMs && atMs - startMs <= LINK_UP_MS,
  )
  const from = linkUp < 0 ? readings.findLastIndex(({ atMs }) => atMs <= startMs) : linkUp
  const [first, ...later] = from < 0 ? [] : readings.slice(from).map(({ counters }) => counters)
  if (first === undefined) return undefined
  // Through all of them: between two of them the counters may have begun again at zero.
  return later.reduce(foldMeter, startMeter(0n, first))
}

/** Watches an interface until `close`. Resolves when it was read once. */
export async function watchInterface(
  interfaceName: string,
  read: (name: string) => Promise<Counters | undefined> = readCounters,
  now: () => number = () => performance.now(),
): Promise<Readings> {
  const readings: Reading[] = []
  const take = async (isLinkUp: boolean): Promise<void> => {
    const counters = await read(interfaceName)
    if (counters === undefined) return
    readings.push({ counters, atMs: now(), isLinkUp })
    if (readings.length > READINGS_MAX) readings.shift()
  }
  await take(false)
  const timer = setInterval(() => void take(false), READ_MS)
  return {
    take,
    countedFor: (ageMs) => countedSince(readings, now() - ageMs),
    close: () => clearInterval(timer),
  }
}
