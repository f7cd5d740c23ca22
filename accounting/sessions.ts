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

/** The table of open sessions. */
export interface Sessions {
  /** Takes in a session that was decided on: its reserve counts from now on. */
  open(session: Session): void
  /**
   * The NAS is being told of it: only now it replaces the earlier session of its account at its
   * station, which the NAS serves until then. Undefined: it has ended meanwhile.
   */
  confirm(id: string): Session | undefined
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
 * Where a device is. A session and the one about to replace it have the same place, and of their
 * reserves only the larger counts: they are one device. Without a station each is on its own.
 */
export const placeOf = ({ id, nas, station }: Session): string =>
  station === '' ? id : `${nas} ${station}`

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
      byId.set(session.id, session)
      const siblings = byAccount.get(session.account) ?? new Map<string, Session>()
      siblings.set(session.id, session)
      byAccount.set(session.account, siblings)
    },
    confirm(id) {
      const session = byId.get(id)
      if (session === undefined) return undefined
      for (const other of ofAccount(session.account)) {
        const replaced = other.id !== id && placeOf(other) === placeOf(session)
        if (replaced) close(other.id, 'replaced')
      }
      return session
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
      const reserves = new Map<string, bigint>()
      let reserved = 0n
      for (const session of byAccount.get(account)?.values() ?? []) {
        if (sameStation(session, nas, station)) continue
        const place = placeOf(session)
        const known = reserves.get(place) ?? 0n
        const larger = session.reserve > known ? session.reserve : known
        reserves.set(place, larger)
        reserved += larger - known
      }
      return { count: reserves.size, reserved }
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
