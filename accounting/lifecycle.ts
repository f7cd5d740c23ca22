// The states of a session and what moves it from one to the next, as a table: nothing else decides
// on a state. Pure; called by the ledger.

import type { CutReason, SessionState } from './session.ts'

/**
 * `confirmed`: the Accept is about to be sent. `heard`: an accounting record came. `paid`: money
 * was credited to it. `behind`: an interval was missed, or volume beyond the limit is unpaid.
 * `settled`: an interval or that volume was paid and nothing else is missed. `cut`: decided to put
 * it off. `ended`: over, for whatever reason.
 */
export type SessionEvent = 'confirmed' | 'heard' | 'paid' | 'behind' | 'settled' | 'cut' | 'ended'

type Moves = Readonly<Partial<Record<SessionEvent, SessionState>>>

/** What is not listed changes nothing. */
const MOVES: Readonly<Record<SessionState, Moves>> = {
  // The NAS does not serve it yet: nothing to hear, to pay for or to put off.
  reserved: { confirmed: 'opened', ended: 'closed' },
  opened: {
    ...{ heard: 'current', paid: 'current', behind: 'overdue', settled: 'current' },
    ...{ cut: 'disconnecting', ended: 'closed' },
  },
  current: { behind: 'overdue', cut: 'disconnecting', ended: 'closed' },
  // Part payment does not bring it back: only `settled` does.
  overdue: { settled: 'current', cut: 'disconnecting', ended: 'closed' },
  // Whatever it pays now, the NAS has been told or is about to be.
  disconnecting: { ended: 'closed' },
  closed: {},
}

/** The state after an event. */
export function stateAfter(state: SessionState, event: SessionEvent): SessionState {
  return MOVES[state][event] ?? state
}

/** Whether a cut for this reason was for money that is owed. */
export function isForDebt(reason: CutReason | undefined): boolean {
  return reason === 'intervals-missed' || reason === 'volume-unpaid' || reason === 'arrears-unpaid'
}
