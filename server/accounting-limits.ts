// How much one client entry may fill of what is everybody's: the table of sessions and the disk.
// Owns two counts, of open sessions that nobody pays for and of rows that are about no session of a
// payer; whoever can copy a NAS's datagrams can make both. Called by accounting.ts.

import type { Attributed } from '../accounting/attribution.ts'
import type { Ledger } from '../accounting/ledger.ts'
import { createBuckets } from './buckets.ts'

/** Open sessions without a payer at one client entry, of 100,000 for all. */
const UNPAID_MAX = 1_000
/** While there is no room, who has left is looked for this often. */
const LOOK_AGAIN_MS = 1_000

export interface UnpaidLimit {
  hasRoom(nas: string, nowMs: number): boolean
  opened(nas: string, id: string): void
}

/** Knows the open ones of a ledger that was read from the store; is told of the others. */
export function createUnpaidLimit(ledger: Pick<Ledger, 'open' | 'session'>): UnpaidLimit {
  // One entry for each name in the configuration.
  const entries = new Map<string, { readonly ids: Set<string>; lookAtMs: number }>()
  const entryOf = (nas: string) => {
    const entry = entries.get(nas) ?? { ids: new Set<string>(), lookAtMs: 0 }
    entries.set(nas, entry)
    return entry
  }
  for (const { id, account, place } of ledger.open()) {
    if (account === undefined) entryOf(place.nas).ids.add(id)
  }
  const isOpen = (id: string): boolean => (ledger.session(id)?.state ?? 'closed') !== 'closed'
  return {
    hasRoom(nas, nowMs) {
      const entry = entries.get(nas)
      if (entry === undefined || entry.ids.size < UNPAID_MAX) return true
      if (nowMs < entry.lookAtMs) return false
      entry.lookAtMs = nowMs + LOOK_AGAIN_MS
      for (const id of entry.ids) if (!isOpen(id)) entry.ids.delete(id)
      return entry.ids.size < UNPAID_MAX
    },
    opened: (nas, id) => void entryOf(nas).ids.add(id),
  }
}

/**
 * Rows about no session of a payer, of 400 bytes each: the thousand sessions above fit, each told
 * of once a minute (RFC 2869 §2.1: no more often), and so does what a NAS sends at once after an
 * hour in which it could not reach us. It makes 700 MB a day at the very most.
 */
const EVIDENCE_LIMIT = { burst: 3_000, perSecond: 20, entriesMax: 10_000 }

export interface EvidenceLimit {
  isFull(nas: string, nowMs: number): boolean
  /** Counts the row of a record, if it is one of these. */
  kept(nas: string, outcome: Attributed, nowMs: number): void
}

export function createEvidenceLimit(): EvidenceLimit {
  const entries = createBuckets(EVIDENCE_LIMIT)
  return {
    isFull: (nas, nowMs) => entries.wait(nas, 1, nowMs) > 0,
    kept(nas, { attribution }, nowMs) {
      if (attribution !== 'session' && attribution !== 'duplicate') entries.take(nas, 1, nowMs)
    },
  }
}
