// The device's own meter: octets of one interface since a session began, from the kernel's
// counters. Survives counters that start again and interfaces that come and go; what it has not
// seen it does not count. The fold is pure, the reading is not. Called by run.ts.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

/** The kernel's counters of one interface. */
export interface Counters {
  readonly received: bigint
  readonly sent: bigint
}

/** Octets counted so far, and the counters they were counted up to. */
export interface Meter extends Counters {
  readonly at: Counters | undefined
}

/** A meter that begins at `octets`: what went before it started, from the operator. */
export const startMeter = (octets: bigint, at: Counters | undefined): Meter => ({
  received: octets,
  sent: 0n,
  at,
})

/** Both ways. */
export const octetsOf = ({ received, sent }: Counters): bigint => received + sent

/**
 * Folds a reading. A counter below the last one began again at zero; an absent interface adds
 * nothing, and counts on from its last value or from zero when it is back.
 */
export function foldMeter(meter: Meter, now: Counters | undefined): Meter {
  const { at } = meter
  if (now === undefined) return meter
  if (at === undefined) return { ...meter, at: now }
  return {
    received: meter.received + step(at.received, now.received),
    sent: meter.sent + step(at.sent, now.sent),
    at: now,
  }
}

const step = (before: bigint, now: bigint): bigint => (now >= before ? now - before : now)

const STATISTICS = '/sys/class/net'

/** The counters of an interface now; undefined where it does not exist. */
export async function readCounters(
  interfaceName: string,
  root = STATISTICS,
): Promise<Counters | undefined> {
  const read = async (name: string): Promise<bigint | undefined> => {
    const path = join(root, interfaceName, 'statistics', name)
    const text = await readFile(path, 'utf8').catch(() => undefined)
    return text !== undefined && /^\d{1,20}\n?$/.test(text) ? BigInt(text.trim()) : undefined
  }
  const [received, sent] = await Promise.all([read('rx_bytes'), read('tx_bytes')])
  return received === undefined || sent === undefined ? undefined : { received, sent }
}

/** The kernel's own names only: 15 characters without a slash, never a path. */
export const isInterfaceName = (text: string): boolean =>
  /^[^\s/:]{1,15}$/.test(text) && text !== '.' && text !== '..'
