// What a session costs, in integers. Owns the price arithmetic: per minute, per megabyte, per flat
// window, the free allowance, intervals and the reserve. Refuses floats: prices arrive as decimal
// text and become base units once. Each part (time, volume) is rounded up by itself to the next
// base unit, once, over the whole session: never by interval, so rounding costs a session less than
// two base units in all. Pure; called by rating.ts, admission.ts and the ledger.

/** A tariff as the operator writes it: prices are decimal text in whole tokens. */
export interface TariffTerms {
  readonly perMinute: string
  readonly perMegabyte: string
  readonly intervalMs: number
  readonly intervalMegabytes: number
  readonly missedMax: number
  readonly graceMs: number
  /** A price for each window begun, beside the prices above. */
  readonly flat?: { readonly price: string; readonly windowMs: number }
  /** Not charged, once a day per account; absent: none. */
  readonly freeMinutes?: number
  readonly freeMegabytes?: number
  /** The rate a NAS that can is told to hold a session at from its first missed interval on. */
  readonly throttleKbps?: number
}

/** A tariff priced in base units of the token. */
export interface Tariff {
  readonly name: string
  /** Counts the changes of the tariff of this name, from 1; 0: not in the books yet. */
  readonly version: number
  readonly perMinute: bigint
  readonly perMegabyte: bigint
  readonly intervalMs: number
  readonly intervalMegabytes: number
  readonly missedMax: number
  readonly graceMs: number
  readonly flat?: { readonly price: bigint; readonly windowMs: number }
  /** What this session is not charged for: 0 where the account had its allowance today. */
  readonly freeMs: number
  readonly freeOctets: bigint
  readonly throttleKbps?: number
  /** Whose figures of volume are rated; absent: the access point's. */
  readonly usage?: UsagePolicy
}

/** What a signed report of the device does to the volume that is rated. */
export interface UsagePolicy {
  /** The device's, the smaller of both or the larger. */
  readonly by: 'attested' | 'lower' | 'higher'
  /** What its key must be worth, or the access point's figure is rated. */
  readonly trust: 'software' | 'hardware'
}

/**
 * Decimal text in whole tokens ("0.5") to base units of a token with that many decimals; undefined
 * where the text is no plain decimal number or finer than one base unit.
 */
export function baseUnits(text: string, decimals: number): bigint | undefined {
  const match = /^(\d{1,30})(?:\.(\d{1,30}))?$/.exec(text)
  if (match === null) return undefined
  const fraction = (match[2] ?? '').replace(/0+$/, '')
  if (fraction.length > decimals) return undefined
  return BigInt(match[1] + fraction.padEnd(decimals, '0'))
}

/** Base units as decimal text in whole tokens, without trailing zeros. */
export function wholeTokens(units: bigint, decimals: number): string {
  const digits = units.toString().padStart(decimals + 1, '0')
  const whole = digits.slice(0, digits.length - decimals)
  const fraction = digits.slice(digits.length - decimals).replace(/0+$/, '')
  return fraction === '' ? whole : `${whole}.${fraction}`
}

/**
 * Prices the terms in a token's base units; throws RangeError where a price is finer than the
 * token.
 */
export function priceTariff(name: string, terms: TariffTerms, decimals: number): Tariff {
  const price = (text: string, field: string): bigint => {
    const units = baseUnits(text, decimals)
    if (units === undefined) {
      throw new RangeError(
        `tariffs.${name}.${field}: "${text}" is finer than the token's ${decimals} decimals`,
      )
    }
    return units
  }
  return {
    name,
    version: 0,
    perMinute: price(terms.perMinute, 'per_minute'),
    perMegabyte: price(terms.perMegabyte, 'per_megabyte'),
    intervalMs: terms.intervalMs,
    intervalMegabytes: terms.intervalMegabytes,
    missedMax: terms.missedMax,
    graceMs: terms.graceMs,
    ...(terms.flat !== undefined && {
      flat: { price: price(terms.flat.price, 'flat.price'), windowMs: terms.flat.windowMs },
    }),
    freeMs: (terms.freeMinutes ?? 0) * 60_000,
    freeOctets: BigInt(terms.freeMegabytes ?? 0) * 1_000_000n,
    ...(terms.throttleKbps !== undefined && { throttleKbps: terms.throttleKbps }),
  }
}

/** Whether something of it is free. */
export const hasAllowance = ({ freeMs, freeOctets }: Tariff): boolean =>
  freeMs > 0 || freeOctets > 0n

/** The same prices for a session whose account had its free allowance already. */
export function withoutAllowance(tariff: Tariff): Tariff {
  return hasAllowance(tariff) ? { ...tariff, freeMs: 0, freeOctets: 0n } : tariff
}

/** Whether two tariffs mean the same to a device, whatever their version. */
export function sameTerms(a: Omit<Tariff, 'version'>, b: Omit<Tariff, 'version'>): boolean {
  return (
    a.name === b.name &&
    a.perMinute === b.perMinute &&
    a.perMegabyte === b.perMegabyte &&
    a.intervalMs === b.intervalMs &&
    a.intervalMegabytes === b.intervalMegabytes &&
    a.missedMax === b.missedMax &&
    a.graceMs === b.graceMs &&
    a.flat?.price === b.flat?.price &&
    a.flat?.windowMs === b.flat?.windowMs &&
    a.freeMs === b.freeMs &&
    a.freeOctets === b.freeOctets &&
    a.throttleKbps === b.throttleKbps &&
    a.usage?.by === b.usage?.by &&
    a.usage?.trust === b.usage?.trust
  )
}

const ceilDivide = (a: bigint, b: bigint): bigint => (a + b - 1n) / b

/**
 * What `ms` milliseconds cost beyond the free ones: ceil(per_minute × ms / 60000), and the flat
 * price for each window begun (at 0 ms none is; at exactly one window's length, one).
 */
export function timeCharge(tariff: Tariff, ms: number): bigint {
  const { flat, freeMs } = tariff
  const charged = ms > freeMs ? ms - freeMs : 0
  const time = ceilDivide(tariff.perMinute * BigInt(charged), 60_000n)
  return flat === undefined ? time : time + flat.price * BigInt(Math.ceil(charged / flat.windowMs))
}

/**
 * The volume part of what is owed for `bytes` in both directions beyond the free ones:
 * ceil(per_megabyte × bytes / 10^6).
 */
export function volumeCharge(tariff: Tariff, bytes: bigint): bigint {
  const charged = bytes > tariff.freeOctets ? bytes - tariff.freeOctets : 0n
  return ceilDivide(tariff.perMegabyte * charged, 1_000_000n)
}

/** What `interval_megabytes` cost at the full price: more than that unpaid is due at once. */
export function intervalVolumePrice(tariff: Tariff): bigint {
  return ceilDivide(tariff.perMegabyte * BigInt(tariff.intervalMegabytes) * 1_000_000n, 1_000_000n)
}

/** The most that so many intervals in a row can cost, wherever in the session they lie. */
function costOf(tariff: Tariff, intervals: number): bigint {
  const { flat, intervalMs } = tariff
  const each = ceilDivide(tariff.perMinute * BigInt(intervalMs), 60_000n)
  const whole = BigInt(intervals) * (each + intervalVolumePrice(tariff))
  if (flat === undefined) return whole
  return whole + flat.price * BigInt(Math.ceil((intervals * intervalMs) / flat.windowMs))
}

/** The most one interval can cost: its time, `interval_megabytes`, the windows that begin in it. */
export function intervalPrice(tariff: Tariff): bigint {
  return costOf(tariff, 1)
}

/** How many intervals a session can run up before it is cut: the AP's maximum loss. */
export function intervalsAtRisk(tariff: Tariff): number {
  return tariff.missedMax + 1
}

/** What a session sets aside of the escrow while it is open: max(2, missed_max + 1) intervals. */
export function reserveOf(tariff: Tariff): bigint {
  return costOf(tariff, Math.max(2, intervalsAtRisk(tariff)))
}

/** How long `spendable` base units last at this tariff, whole intervals, at most `maxMs`. */
export function affordableMs(tariff: Tariff, spendable: bigint, maxMs: number): number {
  if (costOf(tariff, 1) === 0n) return maxMs
  // Windows make the cost a staircase over a line: the longest stretch is found by halving.
  let [fits, above] = [0, Math.ceil(maxMs / tariff.intervalMs) + 1]
  while (above - fits > 1) {
    const middle = Math.floor((fits + above) / 2)
    if (costOf(tariff, middle) <= spendable) fits = middle
    else above = middle
  }
  return Math.min(fits * tariff.intervalMs, maxMs)
}
