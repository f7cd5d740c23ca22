// Amounts as people type and read them: whole tokens in decimal ("10", "0.5") against bigint base
// units. Never floats, never rounding: a text that has no exact meaning is refused. Pure.

import { DeviceError } from './error.ts'

// The contract keeps every deposit below 2^96 base units (Channels.sol).
const AMOUNT_BITS_MAX = 96n
// 29 digits before the point hold 2^96 at 0 decimals, 36 behind it any token; the rest is slack.
const TEXT_LENGTH_MAX = 80

/**
 * Base units of an AMOUNT in whole tokens. Throws DeviceError 'usage' on anything but plain decimal
 * digits, on more decimals than the token has, on zero, and on 2^96 base units or more.
 */
export function parseAmount(text: string, decimals: number): bigint {
  const shown = JSON.stringify(text.slice(0, TEXT_LENGTH_MAX))
  const match = text.length <= TEXT_LENGTH_MAX ? /^(\d+)(?:\.(\d+))?$/.exec(text) : null
  if (match === null) {
    throw new DeviceError('usage', `AMOUNT ${shown} is not a number of tokens like 10 or 0.5`)
  }
  const [, whole = '', fraction = ''] = match
  if (fraction.length > decimals) {
    throw new DeviceError('usage', `AMOUNT ${shown} has more than the token's ${decimals} decimals`)
  }
  const amount = BigInt(whole + fraction.padEnd(decimals, '0'))
  if (amount === 0n) throw new DeviceError('usage', 'AMOUNT must be more than 0')
  if (amount >> AMOUNT_BITS_MAX !== 0n) {
    throw new DeviceError('usage', `AMOUNT ${shown} is more than a channel can hold`)
  }
  return amount
}

/**
 * Whole tokens of base units, without trailing zeros: 1500000000000000000 at 18 decimals is
 * "1.5".
 */
export function formatAmount(amount: bigint, decimals: number): string {
  const digits = (amount < 0n ? -amount : amount).toString().padStart(decimals + 1, '0')
  const whole = digits.slice(0, digits.length - decimals)
  const fraction = digits.slice(digits.length - decimals).replace(/0+$/, '')
  const sign = amount < 0n ? '-' : ''
  return fraction === '' ? `${sign}${whole}` : `${sign}${whole}.${fraction}`
}

/** The same with the token's symbol: "1.5 DNT". */
export function shown(
  amount: bigint,
  { symbol, decimals }: { readonly symbol: string; readonly decimals: number },
): string {
  return `${formatAmount(amount, decimals)} ${symbol}`
}
