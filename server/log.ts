// The log: JSON lines on stderr, one per event, with the phrases operators know from FreeRADIUS so
// that their greps keep working. Owns what may be written: callers hand over names, addresses and
// reasons, and anything called like a secret is cut out whatever they do.

import { type DestinationStream, type Logger, pino } from 'pino'

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

/** A logger for one process; `level` as in the configuration. Tests read what it writes. */
export function createLog(
  level: string,
  destination: DestinationStream = pino.destination({ dest: 2, sync: true }),
): Log {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      // Callers' own fields, and those of an error, which is written with all its properties. A
      // wildcard path would look into every field of every line, at the price of the line itself.
      redact: { paths: SECRET_KEYS.flatMap((key) => [key, `err.${key}`]), censor: '[secret]' },
    },
    destination,
  )
}

/**
 * At most one line per key and `linesMax` lines together in an interval; the next line written
 * tells how many were held back. Spoofed sources make keys without end, and a flood must neither
 * fill the disk nor the memory, nor wait for a slow terminal.
 */
export function rateLimited(
  intervalMs: number,
  linesMax: number,
): (key: string, nowMs: number, write: (suppressed: number) => void) => void {
  const written = new Set<string>()
  let endsAtMs = Number.NEGATIVE_INFINITY
  let suppressed = 0
  return (key, nowMs, write) => {
    if (nowMs >= endsAtMs) {
      endsAtMs = nowMs + intervalMs
      written.clear()
    }
    if (written.has(key) || written.size >= linesMax) {
      suppressed += 1
      return
    }
    written.add(key)
    const heldBack = suppressed
    suppressed = 0
    write(heldBack)
  }
}
