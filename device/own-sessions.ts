// DIR/sessions.json: what this device saw of its own sessions, so that a restart goes on with the
// terms it agreed to and with a meter that has not lost what went before. Keeps the latest few.
// Called by run.ts and pay.ts.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Terms } from './charge.ts'
import { type Counters, foldMeter, type Meter, octetsOf } from './meter.ts'
import type { OwnSession } from './payer.ts'
import { readTerms } from './session-view.ts'
import { writeDurably } from './vouchers-file.ts'

/** One session as this device saw it; times in Unix ms by the operator's clock. */
export interface SeenSession {
  readonly terms: Terms
  readonly startedAtMs: number
  readonly connectedAtMs: number | undefined
  readonly seenAtMs: number
  /** Absent without an interface to count on. */
  readonly meter: Meter | undefined
  /** The kernel's boot and the interface: counters of others say nothing. */
  readonly boot: string
  /** The meter has all of it, and no figure of the operator's; not so in files of old versions. */
  readonly isFromStart: boolean
  /** This run has counted it; what flowed after another one's end nobody may have. Not kept. */
  readonly isWatched: boolean
}

const FILE = 'sessions.json'
/** Debts older than sixteen sessions are judged by their terms alone. */
const KEPT_MAX = 16

/** What the payer wants to know of them. */
export function ownSessions(seen: ReadonlyMap<string, SeenSession>): Map<string, OwnSession> {
  const own = (session: SeenSession): OwnSession => {
    const { terms, connectedAtMs, seenAtMs, meter } = session
    const octets = meter === undefined ? undefined : octetsOf(meter)
    return { terms, connectedAtMs, seenAtMs, octets, isWhole: countedIn(session) !== undefined }
  }
  return new Map([...seen].map(([id, session]) => [id, own(session)]))
}

/**
 * What the device can say of a session's volume. Undefined without a meter, where the interface was
 * never there to be read, and where less than the whole session was counted: a figure that nobody
 * counted must not be signed, nor one that is too low.
 */
export function countedIn(session: SeenSession | undefined): Meter | undefined {
  if (session?.meter?.at === undefined) return undefined
  return session.isFromStart && session.isWatched ? session.meter : undefined
}

/** Folds a reading of the interface into the session that runs on it. */
export function metered(
  session: SeenSession,
  now: Counters | undefined,
  boot: string,
  nowMs: number,
): SeenSession {
  const { meter } = session
  const at = meter === undefined ? undefined : session.boot === boot ? meter.at : undefined
  const folded = meter === undefined ? undefined : foldMeter({ ...meter, at }, now)
  return { ...session, meter: folded, boot, seenAtMs: nowMs }
}

/**
 * The sessions of DIR; none where the file is absent or unreadable: it is a help, not the money.
 */
export async function readSeen(directory: string): Promise<Map<string, SeenSession>> {
  try {
    const { sessions } = JSON.parse(await readFile(join(directory, FILE), 'utf8'))
    return new Map(
      Object.entries(sessions).map(([id, from]) => [id, seenOf(from as Record<string, unknown>)]),
    )
  } catch {
    return new Map()
  }
}

/** Replaces the file, with the latest sessions only. */
export async function writeSeen(
  directory: string,
  seen: ReadonlyMap<string, SeenSession>,
): Promise<void> {
  const latest = [...seen].sort(([, a], [, b]) => b.seenAtMs - a.seenAtMs).slice(0, KEPT_MAX)
  const sessions = Object.fromEntries(latest.map(([id, session]) => [id, jsonOf(session)]))
  await writeDurably(directory, FILE, `${JSON.stringify({ version: 1, sessions }, null, 2)}\n`)
}

function jsonOf({ terms, meter, connectedAtMs, isWatched: _, ...rest }: SeenSession): object {
  const { flat } = terms
  return {
    ...rest,
    connectedAtMs: connectedAtMs ?? null,
    terms: {
      perMinute: terms.perMinute.toString(),
      perMegabyte: terms.perMegabyte.toString(),
      intervalSeconds: terms.intervalMs / 1000,
      intervalMegabytes: terms.intervalMegabytes,
      missedMax: terms.missedMax,
      graceSeconds: terms.graceMs / 1000,
      ...(flat === undefined
        ? {}
        : { flat: { price: flat.price.toString(), windowSeconds: flat.windowMs / 1000 } }),
      freeMinutes: terms.freeMs / 60_000,
      freeMegabytes: Number(terms.freeOctets) / 1_000_000,
    },
    meter: meter === undefined ? null : { ...textOf(meter), at: meter.at && textOf(meter.at) },
  }
}

const textOf = ({ received, sent }: Counters): object => ({
  received: received.toString(),
  sent: sent.toString(),
})

function seenOf(from: Record<string, unknown>): SeenSession {
  const { terms, startedAtMs, connectedAtMs, seenAtMs, meter, boot, isFromStart } = from
  return {
    terms: readTerms(terms),
    startedAtMs: Number(startedAtMs),
    connectedAtMs: connectedAtMs === null ? undefined : Number(connectedAtMs),
    seenAtMs: Number(seenAtMs),
    meter: meter === null ? undefined : meterOf(meter as object),
    boot: String(boot),
    isFromStart: isFromStart === true,
    isWatched: false,
  }
}

function meterOf(from: { at?: unknown }): Meter {
  return { ...countersOf(from), at: from.at === undefined ? undefined : countersOf(from.at) }
}

function countersOf(from: unknown): Counters {
  const { received, sent } = from as { received: string; sent: string }
  return { received: BigInt(received), sent: BigInt(sent) }
}
