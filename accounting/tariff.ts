// What a session costs, in integers. Owns the price arithmetic of product terms: per minute, per
// megabyte, intervals and the reserve. Refuses floats: prices arrive as decimal text and become
// base units once, charges round up to the next base unit so a session is never undercharged by
// rounding. Pure.

/** A tariff as the operator writes it: prices are decimal text in whole tokens. */
export interface TariffTerms {
  readonly perMinute: string
  readonly perMegabyte: string
  readonly intervalMs: number
  readonly intervalMegabytes: number
  readonly missedMax: number
  readonly graceMs: number
}

/** A tariff priced in base units of the token. */
export interface Tariff extends Omit<TariffTerms, 'perMinute' | 'perMegabyte'> {
  readonly name: string
  readonly perMinute: bigint
  readonly perMegabyte: bigint
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
  const perMinute = price(terms.perMinute, 'per_minute')
  const perMegabyte = price(terms.perMegabyte, 'per_megabyte')
  return { ...terms, name, perMinute, perMegabyte }
}

const ceilDivide = (a: bigint, b: bigint): bigint => (a + b - 1n) / b

/** The time part of what is owed after `ms` milliseconds: ceil(per_minute × ms / 60000). */
export function timeCharge(tariff: Tariff, ms: number): bigint {
  return ceilDivide(tariff.perMinute * BigInt(ms), 60_000n)
}

/**
 * The volume part of what is owed for `bytes` in both directions: ceil(per_megabyte × bytes /
 * 10^6).
 */
export function volumeCharge(tariff: Tariff, bytes: bigint): bigint {
  return ceilDivide(tariff.perMegabyte * bytes, 1_000_000n)
}

/** The price of one interval: its time and `interval_megabytes`. */
export function intervalPrice(tariff: Tariff): bigint {
  const bytes = BigInt(tariff.intervalMegabytes) * 1_000_000n
  return timeCharge(tariff, tariff.intervalMs) + volumeCharge(tariff, bytes)
}

/** How many intervals a session can run up before it is cut: the AP's maximum loss. */
export function intervalsAtRisk(tariff: Tariff): number {
  return tariff.missedMax + 1
}

/**
 * What a session sets aside of the escrow while it is open: max(2, missed_max + 1) interval prices.
 */
export function reserveOf(tariff: Tariff): bigint {
  return BigInt(Math.max(2, intervalsAtRisk(tariff))) * intervalPrice(tariff)
}

/** How long `spendable` base units last at this tariff, whole intervals, at most `maxMs`. */
export function affordableMs(tariff: Tariff, spendable: bigint, maxMs: number): number {
  const price = intervalPrice(tariff)
  if (price === 0n) return maxMs
  const lasts = (spendable / price) * BigInt(tariff.intervalMs)
  return lasts < BigInt(maxMs) ? Number(lasts) : maxMs
}
