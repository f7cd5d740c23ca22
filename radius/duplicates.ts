// Duplicate detection (RFC 5080 §2.2.2): a NAS that hears nothing sends the same packet again, and
// must get the same bytes again, not a second run. One table per listening socket. Entries expire a
// fixed time after their request arrived; time comes in with each call. The RADIUS handler calls
// it.

import type { VerifiedPacket } from './authenticator.ts'

/** `lifetimeMs`: 5,000 to 30,000 by RFC 5080, and longer than any delay before a reply. */
export interface DuplicateLimits {
  readonly lifetimeMs: number
  /** Oldest entries make room beyond it; a reply of 1.4 kB each is what an entry mostly weighs. */
  readonly entriesMax: number
}

/** A request being answered or answered. Opaque to callers: hand it back to finish or forget. */
export interface DuplicateEntry {
  readonly key: string
  readonly requestAuthenticator: string
  readonly expiresAtMs: number
  reply: Buffer | undefined
}

/**
 * `resend`: send these same bytes. `ignore`: the first copy is still running. `run`: do the work.
 */
export type Sighting =
  | { readonly do: 'resend'; readonly reply: Buffer }
  | { readonly do: 'ignore' }
  | { readonly do: 'run'; readonly entry: DuplicateEntry }

/**
 * The table of one socket. Takes verified packets only, so a forgery can never displace an entry.
 */
export interface Duplicates {
  begin(
    source: { readonly address: string; readonly port: number },
    request: VerifiedPacket,
    nowMs: number,
  ): Sighting
  /** Keeps the reply for resending. */
  finish(entry: DuplicateEntry, reply: Buffer): void
  /** No reply will come: the next copy runs again. */
  forget(entry: DuplicateEntry): void
  readonly size: number
}

/** Expired entries, never answered from, may stay in memory for this part of a lifetime. */
const sweepsPerLifetime = 8
/** What stays when the table is full: an eighth makes room at once. */
const keptWhenFull = 7 / 8

/** An empty table. */
export function createDuplicates(limits: DuplicateLimits): Duplicates {
  // A Map keeps insertion order, and every entry lives equally long: the first expires first.
  const entries = new Map<string, DuplicateEntry>()
  let sweepAtMs = 0

  // In batches: each walk steps over all that was deleted from the Map's front before, which made
  // one walk per packet cost as much as checking the packet.
  const sweep = (nowMs: number): void => {
    const full = entries.size >= limits.entriesMax
    if (!full && nowMs < sweepAtMs) return
    sweepAtMs = nowMs + limits.lifetimeMs / sweepsPerLifetime
    const keep = full ? Math.floor(limits.entriesMax * keptWhenFull) : limits.entriesMax
    for (const [key, entry] of entries) {
      if (entry.expiresAtMs > nowMs && entries.size <= keep) return
      entries.delete(key)
    }
  }

  return {
    begin(source, request, nowMs) {
      const key = `${source.address} ${source.port} ${request.identifier} ${request.code}`
      const requestAuthenticator = request.authenticator.toString('latin1')
      const known = entries.get(key)
      if (known !== undefined) {
        if (known.expiresAtMs > nowMs && known.requestAuthenticator === requestAuthenticator) {
          const { reply } = known
          return reply === undefined ? { do: 'ignore' } : { do: 'resend', reply }
        }
        // RFC 5080 §2.2.2: another authenticator is another request; the old entry is of no use.
        entries.delete(key)
      }
      sweep(nowMs)
      const expiresAtMs = nowMs + limits.lifetimeMs
      const entry = { key, requestAuthenticator, expiresAtMs, reply: undefined }
      entries.set(key, entry)
      return { do: 'run', entry }
    },
    finish(entry, reply) {
      entry.reply = reply
    },
    forget(entry) {
      if (entries.get(entry.key) === entry) entries.delete(entry.key)
    },
    get size() {
      return entries.size
    },
  }
}
