// The small notations of the configuration: durations, prices, socket addresses, hardware
// addresses. Each reader returns the value or undefined; what is allowed is said by schema.ts,
// which calls them.

import { parseIpAddress } from './address.ts'
import type { Endpoint } from './config.ts'

const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** `500ms`, `2s`, `10m`, `1h`, `30d` as milliseconds. */
export function parseDuration(text: string): number | undefined {
  const match = /^([0-9]{1,12})(ms|s|m|h|d)$/.exec(text)
  if (match === null) return undefined
  const ms = Number(match[1]) * UNIT_MS[match[2] as keyof typeof UNIT_MS]
  return Number.isSafeInteger(ms) ? ms : undefined
}

/** A duration as an operator would write it, for messages. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0s'
  for (const unit of ['d', 'h', 'm', 's'] as const) {
    if (ms % UNIT_MS[unit] === 0) return `${ms / UNIT_MS[unit]}${unit}`
  }
  return `${ms}ms`
}

/**
 * A price in whole tokens. 18 places is the finest an ERC-20 amount can say; 10 digits before the
 * point keep a price below 2^96 base units, the width of every amount in the contract.
 */
export function parsePrice(text: string): string | undefined {
  return /^(0|[1-9][0-9]{0,9})(\.[0-9]{1,18})?$/.test(text) ? text : undefined
}

/** A share of 0 to 100 per cent with at most four places, as parts of a million. */
export function parsePercent(text: string): number | undefined {
  const match = /^(0|[1-9][0-9]{0,2})(?:\.([0-9]{1,4}))?$/.exec(text)
  if (match === null) return undefined
  const ppm = Number(match[1]) * 10_000 + Number((match[2] ?? '').padEnd(4, '0'))
  return ppm <= 1_000_000 ? ppm : undefined
}

/** `host:port` with a literal address (`[::]:1812` for IPv6) or `localhost`. */
export function parseEndpoint(text: string): Endpoint | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+|localhost)):([0-9]{1,5})$/.exec(text)
  if (match === null) return undefined
  const host = match[1] ?? match[2] ?? ''
  const port = Number(match[3])
  if (port > 65_535) return undefined
  return host === 'localhost' || parseIpAddress(host) !== undefined ? { host, port } : undefined
}

/** A hardware address with `:` or `-` between the octets, as lowercase with `:`. */
export function parseBssid(text: string): string | undefined {
  if (!/^[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}$/.test(text)) return undefined
  return text.replaceAll('-', ':').toLowerCase()
}

/** A URL of one of the schemes, without credentials; trailing slashes dropped. */
export function parseUrl(text: string, schemes: readonly string[]): string | undefined {
  const url = URL.parse(text)
  if (url === null || !schemes.includes(url.protocol.slice(0, -1))) return undefined
  return url.username === '' && url.password === '' ? text.replace(/\/+$/, '') : undefined
}

/** Whether the text names a PostgreSQL database; a password may be in it, or in PGPASSWORD. */
export function isPostgresUrl(text: string): boolean {
  const url = URL.parse(text)
  return url !== null && ['postgres:', 'postgresql:'].includes(url.protocol) && url.host !== ''
}
