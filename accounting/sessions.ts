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
  /**
   * Calling-Station-Id, with the access point's Called-Station-Id; empty where the NAS sent none.
   */
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
 * The sessions of one account, in the order they were opened, and what every admission asks of
 * them: kept as they come and go, since an account may have thousands.
 */
interface AccountSessions {
  readonly all: Set<Session>
  /** By `placeOf`; never empty, and hardly more than two: the one that serves and its successor. */
  readonly places: Map<string, readonly Session[]>
  /** The sum over the places of the larger reserve of each. */
  reserved: bigint
}

const noSessions = (): AccountSessions => ({ all: new Set(), places: new Map(), reserved: 0n })

function largestReserve(sessions: readonly Session[]): bigint {
  let largest = 0n
  for (const { reserve } of sessions) if (reserve > largest) largest = reserve
  return largest
}

/** Puts other sessions at a place of the account, and its sum right. */
function settle(own: AccountSessions, place: string, sessions: readonly Session[]): void {
  own.reserved += largestReserve(sessions) - largestReserve(own.places.get(place) ?? [])
  if (sessions.length === 0) own.places.delete(place)
  else own.places.set(place, sessions)
}

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
  const byAccount = new Map<Address, AccountSessions>()

  const close = (id: string, why: SessionEnd): Session | undefined => {
    const session = byId.get(id)
    if (session === undefined) return undefined
    byId.delete(id)
    const own = byAccount.get(session.account)
    if (own !== undefined) {
      own.all.delete(session)
      const place = placeOf(session)
      settle(own, place, own.places.get(place)?.filter((other) => other !== session) ?? [])
      if (own.all.size === 0) byAccount.delete(session.account)
    }
    onEnd(session, why)
    return session
  }

  return {
    open(session) {
      if (byId.size >= sessionsMax) throw new RangeError(`more than ${sessionsMax} open sessions`)
      byId.set(session.id, session)
      const own = byAccount.get(session.account) ?? noSessions()
      own.all.add(session)
      const place = placeOf(session)
      settle(own, place, [...(own.places.get(place) ?? []), session])
      byAccount.set(session.account, own)
    },
    confirm(id) {
      const session = byId.get(id)
      if (session === undefined) return undefined
      const here = byAccount.get(session.account)?.places.get(placeOf(session)) ?? []
      for (const other of here) {
        if (other.id !== id) close(other.id, 'replaced')
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
      const own = byAccount.get(account)
      if (own === undefined) return { count: 0, reserved: 0n }
      // Without a station nothing is found, as it should: see placeOf.
      const here = own.places.get(`${nas} ${station}`)
      const count = own.places.size - (here === undefined ? 0 : 1)
      return { count, reserved: own.reserved - largestReserve(here ?? []) }
    },
    ofAccount: (account) => [...(byAccount.get(account)?.all ?? [])],
    get size() {
      return byId.size
    },
    get full() {
      return byId.size >= sessionsMax
    },
  }
}
