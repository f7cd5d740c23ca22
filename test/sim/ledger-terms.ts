// The product's price list in its own words, for the simulation of the books: what time and volume
// cost, written anew so that a mistake in the program's arithmetic is not repeated here; and the
// tariffs of that world. Called by ledger-oracle.ts and ledger-world.ts.

import { priceTariff, type Tariff, type TariffTerms } from '../../accounting/tariff.ts'

const up = (amount: bigint, unit: bigint): bigint => {
  const whole = amount / unit
  return whole * unit < amount ? whole + 1n : whole
}

/** What so long a time costs: by the minute, and each window that has begun. */
export function costOfTime(tariff: Tariff, ms: number): bigint {
  const { flat, freeMs, perMinute } = tariff
  const charged = Math.max(0, ms - freeMs)
  let cost = up(perMinute * BigInt(charged), 60_000n)
  if (flat === undefined) return cost
  for (let begun = 0; begun < charged; begun += flat.windowMs) cost += flat.price
  return cost
}

/** What so many octets cost, both ways together. */
export function costOfOctets({ freeOctets, perMegabyte }: Tariff, octets: bigint): bigint {
  return octets > freeOctets ? up(perMegabyte * (octets - freeOctets), 1_000_000n) : 0n
}

/** What interval_megabytes cost. */
export const volumeLimit = ({ perMegabyte, intervalMegabytes }: Tariff): bigint =>
  perMegabyte * BigInt(intervalMegabytes)

/** The most that so many intervals cost by the clock, wherever they lie. */
export function timeOfIntervals(tariff: Tariff, intervals: number): bigint {
  return costOfTime({ ...tariff, freeMs: 0 }, intervals * tariff.intervalMs)
}

/** The price of one interval: its time and its megabytes. */
export const priceOfInterval = (tariff: Tariff): bigint =>
  timeOfIntervals(tariff, 1) + volumeLimit(tariff)

function withoutFlat({ flat: _, ...tariff }: Tariff): Tariff {
  return { ...tariff, freeMs: 0 }
}

/** What a session sets aside: max(2, missed_max + 1) intervals, with all windows begun. */
export function reserveFor(tariff: Tariff): bigint {
  const intervals = Math.max(2, tariff.missedMax + 1)
  const minutes = costOfTime(withoutFlat(tariff), tariff.intervalMs)
  const windows = timeOfIntervals({ ...tariff, perMinute: 0n }, intervals)
  return BigInt(intervals) * (minutes + volumeLimit(tariff)) + windows
}

const terms: Readonly<Record<string, TariffTerms>> = {
  minutes: {
    ...{ perMinute: '61', perMegabyte: '0', intervalMs: 20_000, intervalMegabytes: 0 },
    ...{ missedMax: 2, graceMs: 0 },
  },
  both: {
    ...{ perMinute: '30', perMegabyte: '3', intervalMs: 15_000, intervalMegabytes: 10 },
    ...{ missedMax: 3, graceMs: 5_000 },
  },
  flat: {
    ...{ perMinute: '7', perMegabyte: '0', intervalMs: 30_000, intervalMegabytes: 0 },
    ...{ missedMax: 1, graceMs: 10_000, flat: { price: '11', windowMs: 50_000 } },
  },
  free: {
    ...{ perMinute: '60', perMegabyte: '2', intervalMs: 20_000, intervalMegabytes: 20 },
    ...{ missedMax: 2, graceMs: 3_000, freeMinutes: 1, freeMegabytes: 30, throttleKbps: 64 },
  },
  volume: {
    ...{ perMinute: '0', perMegabyte: '1', intervalMs: 20_000, intervalMegabytes: 700 },
    ...{ missedMax: 2, graceMs: 2_000 },
  },
}

export const tariffs: readonly Tariff[] = Object.entries(terms).map(([name, term]) =>
  priceTariff(name, term, 0),
)
