// Which facts of which sessions are in the store already. A session is two rows, and nearly every
// change is an accounting record's, which leaves the longer one, its facts, as it is: that one is
// not written again. Knows no database. Made and told by each store, asked by store-rows.ts.

import type { Session } from './session.ts'

/** Written out, since it is asked for every record; its test knows every field of a session. */
const sameFacts = (a: Session, b: Session): boolean =>
  a.state === b.state &&
  a.credit === b.credit &&
  a.place === b.place &&
  a.tariff === b.tariff &&
  a.judged === b.judged &&
  a.missed === b.missed &&
  a.paidIntervals === b.paidIntervals &&
  a.endsOwed === b.endsOwed &&
  a.volumeDue === b.volumeDue &&
  a.disputed === b.disputed &&
  a.attested === b.attested &&
  a.kind === b.kind &&
  a.reserve === b.reserve &&
  a.cutAtMs === b.cutAtMs &&
  a.cutReason === b.cutReason &&
  a.endedAtMs === b.endedAtMs &&
  a.closedAtMs === b.closedAtMs &&
  a.endedBy === b.endedBy &&
  a.terminateCause === b.terminateCause &&
  a.startedAtMs === b.startedAtMs &&
  a.endsAtMs === b.endsAtMs &&
  a.continues === b.continues &&
  a.account === b.account &&
  a.merchant === b.merchant &&
  a.id === b.id

/**
 * The open sessions this process has stored, as they were then: most changes are an accounting
 * record's, and leave the longer one of a session's two rows as it is.
 */
export interface StoredSessions {
  /** Whether the facts of this value are in the store. */
  hasFacts(session: Session): boolean
  /** These are durable now. */
  note(sessions: readonly Session[]): void
}

/** None are known yet. */
export function createStoredSessions(): StoredSessions {
  // As many as are open, which the ledger bounds; values that it holds itself, or a version before.
  const stored = new Map<string, Session>()
  return {
    hasFacts(session) {
      const known = stored.get(session.id)
      return known !== undefined && sameFacts(known, session)
    },
    note(sessions) {
      for (const session of sessions) {
        if (session.state === 'closed') stored.delete(session.id)
        else stored.set(session.id, session)
      }
    },
  }
}
