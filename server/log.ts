// The log: JSON lines on stderr, one per event, with the phrases operators know from FreeRADIUS so
// that their greps keep working. Owns what may be written: callers hand over names, addresses and
// reasons, and anything called like a secret is cut out whatever they do.

import { type Logger, pino } from 'pino'

export type Log = Logger

const SECRET_KEYS = [
  'secret',
  'key',
  'privateKey',
  'msk',
  'emsk',
  'password',
  'token',
  'adminToken',
]

/** A logger for one process; `level` as in the configuration. */
export function createLog(level: string): Log {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: SECRET_KEYS.flatMap((key) => [key, `*.${key}`]), censor: '[secret]' },
    },
    pino.destination({ dest: 2, sync: true }),
  )
}

/**
 * Lets through one call per key and second, and tells how many it held back: floods must not fill
 * the disk.
 */
export function rateLimited(
  intervalMs: number,
  keysMax: number,
): (key: string, nowMs: number, write: (suppressed: number) => void) => void {
  const seen = new Map<string, { untilMs: number; suppressed: number }>()
  return (key, nowMs, write) => {
    const entry = seen.get(key)
    if (entry !== undefined && nowMs < entry.untilMs) {
      entry.suppressed += 1
      return
    }
    // Spoofed sources could make keys without end; forgetting all of them only costs a few extra
    // lines.
    if (seen.size >= keysMax) seen.clear()
    seen.set(key, { untilMs: nowMs + intervalMs, suppressed: 0 })
    write(entry?.suppressed ?? 0)
  }
}
