import t from 'tap'
import { owed } from '../../accounting/rating.ts'
import { accountOf, emptyLedger, idOf, newSession, placeAt, usage } from './books.ts'

const MINUTE = 60_000
const A = accountOf(1)

/** A ledger with session 1 confirmed at time 0. */
function opened(change: Parameters<typeof newSession>[1] = {}) {
  const ledger = emptyLedger()
  ledger.begin(newSession(1, change), 0)
  ledger.confirm(idOf(1), 0)
  const state = (n = 1) => ledger.session(idOf(n))?.state
  return { ledger, state }
}

t.test('records: repeated, out of order, after the end', async (t) => {
  const { ledger } = opened()
  const first = usage({ eventAtMs: 10_000, inputOctets: 500n, wide: true })
  const second = usage({ eventAtMs: 20_000, inputOctets: 900n, wide: true })
  const at = (record: typeof first, nowMs: number) =>
    ledger.report(idOf(1), record, placeAt(), nowMs)
  t.equal(at(first, 10_000), 'counted')
  t.equal(at(first, 11_000), 'duplicate')
  t.equal(at(second, 20_000), 'counted')
  t.equal(at(first, 21_000), 'counted', 'again, and overtaken')
  t.equal(ledger.session(idOf(1))?.input.total, 900n)
  const last = usage({ eventAtMs: 25_000, inputOctets: 0n, wide: true, terminateCause: 1 })
  t.equal(ledger.stop(idOf(1), last, placeAt(), 25_500), 'counted')
  t.match(ledger.session(idOf(1)), {
    ...{ state: 'closed', endedBy: 'stopped', endedAtMs: 25_000, terminateCause: 1 },
    input: { total: 900n },
  })
  t.equal(ledger.stop(idOf(1), last, placeAt(), 26_000), 'duplicate')
  t.equal(at(usage({ eventAtMs: 30_000 }), 30_000), 'late')
  t.equal(ledger.session(idOf(1))?.state, 'closed')
  t.equal(ledger.report(idOf(99), first, placeAt(), 0), 'late', 'no such session')
})

t.test('a record from before a reset, sent again after it, counts nothing', async (t) => {
  const { ledger } = opened()
  const record = (seconds: number, inputOctets: bigint) =>
    usage({ eventAtMs: seconds * 1000, sessionTimeSeconds: seconds, inputOctets, wide: true })
  const total = (seconds: number, octets: bigint, nowMs: number) => {
    ledger.report(idOf(1), record(seconds, octets), placeAt(), nowMs)
    return ledger.session(idOf(1))?.input.total
  }
  t.equal(total(10, 900n, 10_000), 900n)
  t.equal(total(20, 100n, 20_000), 1_000n, 'its counters began anew')
  t.equal(total(10, 900n, 21_000), 1_000n, 'already counted')
  t.equal(total(30, 150n, 30_000), 1_050n)
  // A clock that is ahead makes the Stop, whose time is never later than now, seem older.
  t.equal(total(600, 200n, 40_000), 1_100n)
  const last = { ...record(601, 300n), eventAtMs: 41_000 }
  ledger.stop(idOf(1), last, placeAt(), 41_000)
  t.equal(ledger.session(idOf(1))?.input.total, 1_200n)
})

t.test('a station that is authenticated again goes on counting where it was', async (t) => {
  const { ledger } = opened()
  const record = usage({ eventAtMs: 10_000, inputOctets: 5_000n, wide: true })
  ledger.report(idOf(1), record, placeAt(), 10_000)
  ledger.begin(newSession(2), 20_000)
  t.equal(ledger.session(idOf(1))?.state, 'current', 'served until the NAS is told of the other')
  ledger.confirm(idOf(2), 20_000)
  t.match(ledger.session(idOf(1)), { state: 'closed', endedBy: 'replaced' })
  const next = usage({ eventAtMs: 30_000, inputOctets: 5_700n, wide: true })
  ledger.report(idOf(2), next, placeAt(), 30_000)
  t.equal(ledger.session(idOf(2))?.input.total, 700n)
})

t.test('sessions are found by what a record tells, the open and the newest first', async (t) => {
  const { ledger } = opened()
  const at = (n: number, place: ReturnType<typeof placeAt>, account = A) => {
    ledger.begin(newSession(n, { place, account }), n)
    ledger.confirm(idOf(n), n)
  }
  t.equal(ledger.find(placeAt())?.id, idOf(1))
  t.equal(ledger.find(placeAt({ acctMultiSessionId: '' }))?.id, idOf(1))
  t.equal(ledger.find(placeAt({ acctMultiSessionId: 'M2' })), undefined, 'its id used again')
  t.equal(ledger.find(placeAt({ nas: 'roof' })), undefined)
  ledger.close(idOf(1), 'stopped', 2)
  t.equal(ledger.find(placeAt())?.id, idOf(1), 'closed ones too')
  at(3, placeAt({ acctMultiSessionId: 'M2' }))
  t.equal(ledger.find(placeAt({ acctMultiSessionId: '' }))?.id, idOf(3))
  t.equal(ledger.lastAt('lobby', '02-00-00-00-00-01')?.id, idOf(3))
  t.equal(ledger.lastAt('lobby', ''), undefined)
  at(4, placeAt({ callingStationId: 'S4', acctSessionId: '', acctMultiSessionId: '' }))
  const told = placeAt({ callingStationId: 'S4', acctSessionId: 'A4' })
  t.equal(ledger.find(told)?.id, idOf(4), 'the Access-Request told no Acct-Session-Id')
  ledger.report(idOf(4), usage({ eventAtMs: 5 }), told, 5)
  t.equal(ledger.find(told)?.id, idOf(4), 'and now it is known')
  t.equal(ledger.find(placeAt({ acctSessionId: '', callingStationId: '' })), undefined)
})

t.test('a reconnect by a cached key continues under the Class of the first', async (t) => {
  const { ledger } = opened()
  const place = placeAt({ acctSessionId: 'A2' })
  const start = newSession(2, { kind: 'pmksa', place })
  ledger.beginByStart(start, idOf(1), 10_000)
  t.match(ledger.session(idOf(1)), { state: 'closed', endedBy: 'replaced' })
  t.match(ledger.session(idOf(2)), { state: 'current', continues: idOf(1), startedAtMs: 10_000 })
  ledger.beginByStart(
    newSession(3, { kind: 'pmksa', place: placeAt({ acctSessionId: 'A3' }) }),
    idOf(2),
    20_000,
  )
  const of = (acct: string) => ledger.continuation(idOf(1), acct, 'M1')?.id
  t.same([of('A1'), of('A2'), of('A3'), of('A9')], [idOf(1), idOf(2), idOf(3), idOf(3)])
  t.equal(ledger.continuation(idOf(50), 'A1', 'M1'), undefined)
})

t.test('a session without a payer costs nothing and is not judged', async (t) => {
  const ledger = emptyLedger()
  const o = newSession(1, { kind: 'unattributed', account: undefined, reserve: 0n })
  ledger.beginByStart(o, undefined, -5_000)
  ledger.report(idOf(1), usage({ eventAtMs: 0, inputOctets: 10n ** 9n, wide: true }), placeAt(), 0)
  ledger.advance(179_000)
  const session = ledger.session(idOf(1))
  if (session === undefined) throw new Error('gone')
  t.match(session, { state: 'current', judged: 0 })
  t.equal(owed(session, 179_000), 0n)
  t.match(ledger.cut(idOf(1), 'not-admitted', 179_000), { state: 'disconnecting' })
})

t.test('the tables have limits', async (t) => {
  const ledger = emptyLedger({ sessionsMax: 2, rememberedMax: 1, accountsMax: 1 })
  const begin = (n: number) => {
    const place = placeAt({ callingStationId: `S${n}` })
    ledger.begin(newSession(n, { account: accountOf(n), place }), 0)
    ledger.confirm(idOf(n), 0)
  }
  begin(1)
  t.equal(ledger.full, false)
  begin(2)
  t.equal(ledger.full, true)
  t.throws(() => begin(3), RangeError)
  ledger.close(idOf(1), 'stopped', 10)
  ledger.close(idOf(2), 'stopped', 20_000)
  ledger.forget(20_000)
  t.equal(ledger.knows(accountOf(1)), true, 'not drained yet')
  ledger.drain()
  ledger.forget(20_000)
  t.equal(ledger.knows(accountOf(1)), true, 'drained, and its commit may be on the way')
  ledger.drain()
  ledger.forget(20_000)
  t.equal(ledger.knows(accountOf(1)), false, 'the oldest, with its debt: the store has both')
  t.equal(ledger.session(idOf(1)), undefined)
  t.equal(ledger.knows(accountOf(2)), true)
  t.same(
    [...ledger.owing()].map(({ id }) => id),
    [idOf(2)],
  )
})

t.test('closed sessions are remembered for twelve hours, debts for good', async (t) => {
  const { ledger } = opened()
  ledger.begin(newSession(2, { account: accountOf(2), place: placeAt({ nas: 'roof' }) }), 0)
  ledger.confirm(idOf(2), 0)
  ledger.close(idOf(1), 'stopped', 0)
  ledger.close(idOf(2), 'stopped', 5_000)
  ledger.drain()
  ledger.drain()
  ledger.forget(12 * 60 * MINUTE)
  t.ok(ledger.session(idOf(1)))
  ledger.forget(12 * 60 * MINUTE + 1)
  t.equal(ledger.session(idOf(1)), undefined)
  ledger.forget(24 * 60 * MINUTE)
  t.ok(ledger.session(idOf(2)))
})
