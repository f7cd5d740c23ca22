// The clock of the books. Owns that time there never stands still, jumps or runs backwards: who is
// set to another time (a board without a battery that hears of NTP, a person) must not cut every
// payer for an hour at once, nor serve everybody for free until the old time comes again. What
// others date by their own clocks (certificates, blocks, Event-Timestamp of a Disconnect) is asked
// of the wall clock instead. Made by main.ts.

export interface BooksClock {
  /** Unix ms: the wall clock's time when the server started, and what has passed since. */
  now(): number
  /** Never before this: books that were ahead of the wall clock must not go back at a restart. */
  raise(toMs: number): void
}

/** `wall` in Unix ms; `passed` in ms since any moment, steady. */
export function createBooksClock(
  wall: () => number = Date.now,
  passed: () => number = () => performance.now(),
): BooksClock {
  let epochMs = wall() - passed()
  const now = (): number => Math.floor(epochMs + passed())
  return {
    now,
    raise(toMs) {
      epochMs += Math.max(0, toMs - now())
    },
  }
}
