// Whether a connection is worth paying for: folds samples of traffic and probes into one verdict.
// Owns what "bad service" means. Pure; the samples come from run.ts, the thresholds from policy.ts.

import type { Policy } from './policy.ts'

/** Why service is bad. */
export type BadService = 'no-octets' | 'probes-lost' | 'too-slow'

/** What is remembered of a connection. */
export interface Quality {
  /** Interface counters when octets last came in, and when that was. */
  readonly received: bigint
  readonly sentSince: bigint
  readonly receivedAtMs: number | undefined
  readonly sent: bigint
  /** Probes in a row without an answer. */
  readonly lost: number
  /** The last round trips, newest last. */
  readonly roundTripsMs: readonly number[]
}

export const FRESH_QUALITY: Quality = {
  received: 0n,
  sentSince: 0n,
  receivedAtMs: undefined,
  sent: 0n,
  lost: 0,
  roundTripsMs: [],
}

/** As many round trips as a median needs to stand above one slow answer. */
const ROUND_TRIPS_KEPT = 5
/** Less than this is noise (neighbour discovery, DHCP): nobody waits for an answer to it. */
const SENT_MIN = 500n

/** Folds the interface's counters at `nowMs`. */
export function noteTraffic(
  quality: Quality,
  counters: { readonly received: bigint; readonly sent: bigint },
  nowMs: number,
): Quality {
  const { received, sent } = counters
  // A counter that went back is an interface that was made anew: begin again.
  const isReset = received < quality.received || sent < quality.sent
  if (quality.receivedAtMs === undefined || isReset || received > quality.received) {
    return { ...quality, received, sent, sentSince: 0n, receivedAtMs: nowMs }
  }
  return { ...quality, sent, sentSince: quality.sentSince + (sent - quality.sent) }
}

/** Folds one probe: its round trip, or undefined where no answer came. */
export function noteProbe(quality: Quality, roundTripMs: number | undefined): Quality {
  if (roundTripMs === undefined) return { ...quality, lost: quality.lost + 1 }
  const roundTripsMs = [...quality.roundTripsMs, roundTripMs].slice(-ROUND_TRIPS_KEPT)
  return { ...quality, lost: 0, roundTripsMs }
}

/** The verdict; undefined: good, or too little known to say otherwise. */
export function badService(
  quality: Quality,
  policy: Pick<Policy, 'silentMs' | 'lostMax' | 'roundTripMaxMs'>,
  nowMs: number,
): BadService | undefined {
  const { receivedAtMs, sentSince, lost, roundTripsMs } = quality
  const silent = receivedAtMs !== undefined && nowMs - receivedAtMs >= policy.silentMs
  if (silent && sentSince >= SENT_MIN) return 'no-octets'
  if (lost >= policy.lostMax) return 'probes-lost'
  if (roundTripsMs.length < ROUND_TRIPS_KEPT) return undefined
  const median = roundTripsMs.toSorted((a, b) => a - b)[Math.floor(ROUND_TRIPS_KEPT / 2)] ?? 0
  return median > policy.roundTripMaxMs ? 'too-slow' : undefined
}
