// The open sessions and the escrow they reserve. Owns the tables by id, account and station;
// decides nothing about who may enter. Time comes in as arguments. Called by server/ at
// Access-Accept, at Accounting-Stop, by the sweep, and when the chain takes a deposit back.

import type { Address } from '../ethereum/address.ts'

/** Why a session ended. */
export type SessionEnd = 'abandoned' | 'replaced' | 'stopped' | 'session-timeout' | 'escrow-removed'

/**
 * One admitted device at one NAS; `id` is 16 random bytes as 32 lowercase hex, sent as Class `ai:`
 * + id.
 */
export interface Session {
  readonly id: string
  readonly account: Address
  readonly nas: string
  /** Calling-Station-Id as the NAS sent it; empty where it sent none. */
  readonly station: string
  readonly tariff: string
  /** Escrow set aside, token base units. */
  readonly reserve: bigint
  readonly startedAtMs: number
  /** When the NAS ends it by itself: start + Session-Timeout. */
  readonly endsAtMs: number
}

/**
 * The table of open sessions; `open` replaces an earlier session of the same account at the same
 * station.
 */
export interface Sessions {
  open(session: Session): void
  close(id: string, why: SessionEnd): Session | undefined
  closeExpired(nowMs: number): void
  get(id: string): Session | undefined
  /** Open sessions of an account, but for the one a new session at this station would replace. */
  others(account: Address, nas: string, station: string): { count: number; reserved: bigint }
  ofAccount(account: Address): readonly Session[]
  readonly size: number
  readonly full: boolean
}

/**
 * Session-Timeout is counted by the NAS from its own association; its re-authentication may come
 * this much later.
 */
const REAUTHENTICATION_SLACK_MS = 60_000

/**
 * An empty table. `sessionsMax` bounds memory: about 400 bytes a session, so 100,000 sessions are
 * 40 MB.
 * `onEnd` hears of every session that leaves the table, once.
 */
export function createSessions(
  sessionsMax: number,
  onEnd: (session: Session, why: SessionEnd) => void,
): Sessions {
  const byId = new Map<string, Session>()
  const byAccount = new Map<Address, Map<string, Session>>()

  const close = (id: string, why: SessionEnd): Session | undefined => {
    const session = byId.get(id)
    if (session === undefined) return undefined
    byId.delete(id)
    const siblings = byAccount.get(session.account)
    siblings?.delete(id)
    if (siblings?.size === 0) byAccount.delete(session.account)
    onEnd(session, why)
    return session
  }
  const sameStation = (a: Session, nas: string, station: string): boolean =>
    station !== '' && a.station === station && a.nas === nas
  const ofAccount = (account: Address): readonly Session[] => [
    ...(byAccount.get(account)?.values() ?? []),
  ]

  return {
    open(session) {
      if (byId.size >= sessionsMax) throw new RangeError(`more than ${sessionsMax} open sessions`)
      for (const other of ofAccount(session.account)) {
        if (sameStation(other, session.nas, session.station)) close(other.id, 'replaced')
      }
      byId.set(session.id, session)
      const siblings = byAccount.get(session.account) ?? new Map<string, Session>()
      siblings.set(session.id, session)
      byAccount.set(session.account, siblings)
    },
    close,
    closeExpired(nowMs) {
      for (const session of byId.values()) {
        if (session.endsAtMs + REAUTHENTICATION_SLACK_MS <= nowMs)
          close(session.id, 'session-timeout')
      }
    },
    get: (id) => byId.get(id),
    others(account, nas, station) {
      let count = 0
      let reserved = 0n
      for (const session of byAccount.get(account)?.values() ?? []) {
        if (sameStation(session, nas, station)) continue
        count += 1
        reserved += session.reserve
      }
      return { count, reserved }
    },
    ofAccount,
    get size() {
      return byId.size
    },
    get full() {
      return byId.size >= sessionsMax
    },
  }
}
