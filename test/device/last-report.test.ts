// The last report of a session: for which it is sent, how often it is tried, and what of it is
// worth a new question to the operator.

import t from 'tap'
import { reportEnds } from '../../device/last-report.ts'
import { type Meter, startMeter } from '../../device/meter.ts'
import type { SeenSession } from '../../device/own-sessions.ts'
import { readSessions, type SessionView } from '../../device/session-view.ts'
import type { Till } from '../../device/till.ts'
import { SESSION, sessionJson } from './payer-double.ts'

type Outcome = Awaited<ReturnType<Till['report']>>

const METER: Meter = { received: 900n, sent: 100n, at: { received: 900n, sent: 100n } }
const TERMS = { usageNonce: Buffer.alloc(16, 1).toString('base64url'), usageSequence: 3 }

const view = (o: Record<string, unknown>): SessionView[] =>
  readSessions({ sessions: [sessionJson({ state: 'closed', due: '90', ...o })] })

async function reported(
  sessions: readonly SessionView[],
  outcomes: readonly Outcome[],
  meter: Meter | 'none' = METER,
) {
  const asked: string[] = []
  const till = {
    sessions,
    async report(id: string, usage: { received: bigint; sent: bigint }) {
      asked.push(`${id} ${usage.received} ${usage.sent}`)
      return outcomes[asked.length - 1] ?? 'again'
    },
  } as unknown as Till
  let pausedMs = 0
  const whole = { isFromStart: true, isWatched: true }
  const own = { meter: meter === 'none' ? undefined : meter, ...whole } as SeenSession
  const seen = new Map([[SESSION, own]])
  const pause = async (ms: number): Promise<void> => {
    pausedMs += ms
  }
  const deps = { till, seen, ends: new Map(), timeoutMs: 1_000, pause }
  const isTaken = await reportEnds(deps)
  const [first, firstMs] = [asked.length, pausedMs]
  const again = await reportEnds(deps)
  await reportEnds(deps)
  return { isTaken, again, asked, first, pausedMs: firstMs, laterMs: pausedMs - firstMs }
}

t.test('for a session that is over and owes: once, with what the meter says', async (t) => {
  const { isTaken, again, asked } = await reported(view(TERMS), ['taken'])
  t.equal(isTaken, true)
  t.same(asked, [`${SESSION} 900 100`])
  t.equal(again, false, 'and not at the next question')
})

t.test('the key is shown anew in between', async (t) => {
  const { isTaken, asked, pausedMs } = await reported(view(TERMS), ['again', 'again', 'taken'])
  t.equal(isTaken, true)
  t.equal(asked.length, 3)
  t.equal(pausedMs, 1_000)
})

t.test('not for ever: the debt waits two seconds at most', async (t) => {
  const { isTaken, asked, pausedMs } = await reported(view(TERMS), [])
  t.equal(isTaken, false)
  t.equal(asked.length, 4)
  t.ok(pausedMs <= 2_000)
})

t.test('a TPM that takes longer: one try at each question, without waiting', async (t) => {
  const late = Array.from({ length: 4 }, (): Outcome => 'no-key')
  const { isTaken, again, asked, first, laterMs } = await reported(view(TERMS), [...late, 'taken'])
  t.equal(isTaken, false)
  t.equal(first, 4)
  t.equal(again, true)
  t.equal(asked.length, 5, 'and then it is said')
  t.equal(laterMs, 0)
  const over = await reported(view(TERMS), [...late, 'over'])
  t.equal(over.asked.length, 5, 'or the operator says that it is over')
  const still = await reported(view(TERMS), [...late, 'no-key', 'no-key'])
  t.equal(still.asked.length, 6, 'else it is tried on')
})

t.test('too late is too late', async (t) => {
  const { isTaken, asked } = await reported(view(TERMS), ['over'])
  t.equal(isTaken, false)
  t.equal(asked.length, 1)
})

const NONE: readonly [string, session: Record<string, unknown>, meter?: Meter | 'none'][] = [
  ['one that goes on', { ...TERMS, state: 'current' }],
  ['one that owes nothing', { ...TERMS, due: '0' }],
  ['an operator that takes none', {}],
  ['no meter', TERMS, 'none'],
  ['an interface that was never there', TERMS, startMeter(1_000n, undefined)],
  ['a session of another device', { ...TERMS, id: 'b'.repeat(32) }],
]

for (const [name, session, meter] of NONE) {
  t.test(`none for ${name}`, async (t) => {
    const { isTaken, asked } = await reported(view(session), ['taken'], meter)
    t.equal(isTaken, false)
    t.same(asked, [])
  })
}
