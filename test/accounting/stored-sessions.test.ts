import t from 'tap'
import type { Session } from '../../accounting/session.ts'
import type { UsagePart } from '../../accounting/store-body.ts'
import { createStoredSessions } from '../../accounting/stored-sessions.ts'
import { sessionNumber } from './store-fixtures.ts'

// Which of a session's two rows a commit writes. A field that is forgotten here would be lost at
// the next start, so every one is tried by itself.

const USAGE: Readonly<Record<keyof UsagePart, true>> = {
  ...{ input: true, output: true, sessionTimeSeconds: true, heardAtMs: true, lastRecord: true },
  ...{ eventAtMs: true, interimMs: true },
}

t.test('every field of a session but its usage makes the facts other ones', async (t) => {
  const session = sessionNumber(1)
  const stored = createStoredSessions()
  t.notOk(stored.hasFacts(session), 'not stored yet')
  stored.note([session])
  t.ok(stored.hasFacts({ ...session }), 'the same facts in another value')
  for (const name of Object.keys(session)) {
    // An id that is not known has no facts either.
    const other = { ...session, [name]: Symbol(name) } as unknown as Session
    t.equal(stored.hasFacts(other), name in USAGE, name)
  }
  stored.note([{ ...session, missed: 1 }])
  t.notOk(stored.hasFacts(session), 'what was stored since')
  stored.note([{ ...session, state: 'closed' }])
  t.notOk(stored.hasFacts({ ...session, state: 'closed' }), 'closed ones are not remembered')
})
