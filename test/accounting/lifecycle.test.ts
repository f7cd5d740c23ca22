import t from 'tap'
import { isForDebt, type SessionEvent, stateAfter } from '../../accounting/lifecycle.ts'
import type { SessionState } from '../../accounting/session.ts'

const EVENTS = ['confirmed', 'heard', 'paid', 'behind', 'settled', 'cut', 'ended'] as const
const R = 'reserved'
const O = 'opened'
const C = 'current'
const V = 'overdue'
const D = 'disconnecting'
const X = 'closed'

/** Every state and what each event, in the order above, makes of it. */
const TABLE: Readonly<Record<SessionState, readonly SessionState[]>> = {
  reserved: [O, R, R, R, R, R, X],
  opened: [O, C, C, V, C, D, X],
  current: [C, C, C, V, C, D, X],
  overdue: [V, V, V, V, C, D, X],
  disconnecting: [D, D, D, D, D, D, X],
  closed: [X, X, X, X, X, X, X],
}

t.test('product terms: paying: every state under every event', async (t) => {
  for (const [state, wants] of Object.entries(TABLE)) {
    for (const [i, event] of EVENTS.entries()) {
      const after = stateAfter(state as SessionState, event satisfies SessionEvent)
      t.equal(after, wants[i], `${state}, ${event}`)
    }
  }
})

t.test('which cuts are for debt', async (t) => {
  for (const reason of ['intervals-missed', 'volume-unpaid', 'arrears-unpaid'] as const) {
    t.ok(isForDebt(reason), reason)
  }
  for (const reason of ['operator', 'escrow-removed', 'not-admitted', undefined] as const) {
    t.notOk(isForDebt(reason), reason ?? 'none')
  }
})
