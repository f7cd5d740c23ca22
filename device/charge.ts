// What a session costs by its terms, worked out by the device itself: integers, rounded up as the
// operator does. Owns the terms a device agreed to and what they may add up to. Pure; payer.ts
// decides with it.

/** What a session's operator asks, prices in token base units. */
export interface Terms {
  readonly perMinute: bigint
  readonly perMegabyte: bigint
  readonly intervalMs: number
  readonly intervalMegabytes: number
  readonly missedMax: number
  readonly graceMs: number
  /** A price for each window of time that has begun. */
  readonly flat: { readonly price: bigint; readonly windowMs: number } | undefined
  readonly freeMs: number
  readonly freeOctets: bigint
  /** What signed reports do to the volume that is charged; absent: nothing. */
  readonly usage?: UsageTerms
}

/** Whose figure of the volume is charged where a key of enough trust has signed one. */
export interface UsageTerms {
  /** The device's, the smaller of both or the larger. */
  readonly by: 'attested' | 'lower' | 'higher'
  /** What the key must be worth at least, or the access point's figure is charged. */
  readonly trust: 'software' | 'hardware'
}

const MEGABYTE = 1_000_000n
const MINUTE_MS = 60_000n

const ceilDivide = (a: bigint, b: bigint): bigint => (a + b - 1n) / b

/** What is owed after `ms` milliseconds and `octets` both ways. */
export function charge(terms: Terms, ms: number, octets: bigint): bigint {
  return timePart(terms, ms) + volumePart(terms, octets)
}

/** The part of `charge` that time alone costs, flat windows with it. */
export function timePart(terms: Terms, ms: number): bigint {
  const elapsed = Math.max(0, Math.floor(ms))
  const counted = BigInt(Math.max(0, elapsed - terms.freeMs))
  return ceilDivide(terms.perMinute * counted, MINUTE_MS) + flatPart(terms, elapsed)
}

function flatPart({ flat, freeMs }: Terms, elapsedMs: number): bigint {
  if (flat === undefined || elapsedMs <= freeMs) return 0n
  return flat.price * BigInt(Math.ceil((elapsedMs - freeMs) / flat.windowMs))
}

/** The part of `charge` that volume alone costs. */
export function volumePart(terms: Terms, octets: bigint): bigint {
  const counted = octets > terms.freeOctets ? octets - terms.freeOctets : 0n
  return ceilDivide(terms.perMegabyte * counted, MEGABYTE)
}

/** What one interval costs at most: its time and the volume that goes with it. */
export function intervalPrice(terms: Terms): bigint {
  const volume = ceilDivide(terms.perMegabyte * intervalOctets(terms), MEGABYTE)
  const time = ceilDivide(terms.perMinute * BigInt(terms.intervalMs), MINUTE_MS)
  return time + volume + (terms.flat?.price ?? 0n)
}

/** The volume that goes with one interval, in octets. */
export const intervalOctets = (terms: Terms): bigint => BigInt(terms.intervalMegabytes) * MEGABYTE

/** The same terms: a session's never change under it. */
export function sameTerms(one: Terms, other: Terms): boolean {
  return (
    one.perMinute === other.perMinute &&
    one.perMegabyte === other.perMegabyte &&
    one.intervalMs === other.intervalMs &&
    one.intervalMegabytes === other.intervalMegabytes &&
    one.flat?.price === other.flat?.price &&
    one.flat?.windowMs === other.flat?.windowMs &&
    one.freeMs === other.freeMs &&
    one.freeOctets === other.freeOctets
  )
}

/**
 * What a device's own count stretches to before it disagrees: 5 % and 1 MB, since both sides count
 * different headers and at different moments.
 */
export const stretched = (octets: bigint): bigint => (octets * 105n) / 100n + MEGABYTE
