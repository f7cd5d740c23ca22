import t from 'tap'
import { dueOf, owed } from '../../accounting/rating.ts'
import {
  accountOf,
  emptyLedger,
  idOf,
  merchant,
  newSession,
  operator,
  placeAt,
  tariff,
  tariffWith,
  usage,
  voucher,
} from './books.ts'

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

t.test('product terms: paying: intervals are judged at their ends', async (t) => {
  const { ledger, state } = opened()
  t.equal(state(), 'opened')
  ledger.pay(voucher(1, 60n), idOf(1), 1_000)
  t.equal(state(), 'current')
  t.same(ledger.advance(MINUTE), { cut: [], overdue: [], recovered: [], silent: [] })
  t.match(ledger.session(idOf(1)), { judged: 1, missed: 0, paidIntervals: 1 })

  t.match(ledger.advance(2 * MINUTE), { overdue: [{ id: idOf(1), missed: 1 }] })
  t.equal(state(), 'overdue')
  ledger.pay(voucher(1, 119n), idOf(1), 2 * MINUTE + 1)
  t.equal(state(), 'overdue', 'part payment does not bring it back')
  ledger.pay(voucher(1, 180n), idOf(1), 2 * MINUTE + 2)
  t.match(ledger.advance(3 * MINUTE), { recovered: [{ id: idOf(1), missed: 0 }] })
  t.equal(state(), 'current')

  ledger.advance(4 * MINUTE)
  const { cut } = ledger.advance(5 * MINUTE)
  t.match(cut, [{ id: idOf(1), state: 'disconnecting', cutReason: 'intervals-missed' }])
  t.same(ledger.advance(9 * MINUTE).cut, [], 'told once')
  const session = ledger.session(idOf(1))
  if (session === undefined) throw new Error('gone')
  t.equal(owed(session, 60 * MINUTE), 360n, 'billing stops one interval after the decision')
  t.equal(owed(session, 60 * MINUTE) - session.credit, 180n, 'missed_max + 1 intervals')
})

t.test('a payment at the very end of an interval comes after its judgement', async (t) => {
  for (const [atMs, missed] of [
    [MINUTE - 1, 0],
    [MINUTE, 1],
  ] as const) {
    const { ledger } = opened()
    ledger.pay(voucher(1, 60n), idOf(1), atMs)
    ledger.advance(MINUTE)
    t.match(ledger.session(idOf(1)), { judged: 1, missed }, `paid at ${atMs}`)
  }
})

t.test('grace: what is owed at the end may come until the grace is over', async (t) => {
  const { ledger } = opened({ tariff: tariffWith({ graceMs: 90_000 }) })
  ledger.advance(2 * MINUTE)
  t.match(ledger.session(idOf(1)), { judged: 0, endsOwed: [60n, 120n] })
  ledger.pay(voucher(1, 60n), idOf(1), 149_999)
  ledger.advance(150_000)
  t.match(ledger.session(idOf(1)), { judged: 1, missed: 0, endsOwed: [120n] })
  ledger.advance(210_000)
  t.match(ledger.session(idOf(1)), { judged: 2, missed: 1, endsOwed: [180n] })
})

t.test('the debt of time stays within missed_max + 1 intervals whatever the grace', async (t) => {
  for (const graceMs of [0, 1, 30_000, 60_000]) {
    const { ledger } = opened({ tariff: tariffWith({ graceMs }) })
    ledger.advance(30 * MINUTE)
    const session = ledger.session(idOf(1))
    if (session === undefined) throw new Error('gone')
    t.equal(session.cutReason, 'intervals-missed')
    t.ok(owed(session, 30 * MINUTE) <= 180n, `grace ${graceMs}`)
  }
})

t.test('volume beyond interval_megabytes is due at once, with one interval to pay', async (t) => {
  const { ledger, state } = opened()
  const report = (atMs: number, octets: bigint) =>
    ledger.report(
      idOf(1),
      usage({ eventAtMs: atMs, inputOctets: octets, outputOctets: 0n, wide: true }),
      placeAt(),
      atMs,
    )
  ledger.pay(voucher(1, 60n), idOf(1), 1)
  t.equal(report(10_000, 10_000_000n), 'counted')
  t.equal(state(), 'current', 'what an interval may leave unpaid')
  report(20_000, 20_000_000n)
  t.match(ledger.session(idOf(1)), { state: 'current', volumeDue: undefined }, 'spare credit')
  report(30_000, 60_000_000n)
  t.match(ledger.session(idOf(1)), { state: 'overdue', volumeDue: { amount: 90n, atMs: 90_000 } })
  t.same(ledger.advance(MINUTE).overdue.length, 1, 'the interval itself is missed too')
  ledger.pay(voucher(1, 120n), idOf(1), 70_000)
  t.equal(ledger.session(idOf(1))?.volumeDue, undefined)
  report(80_000, 200_000_000n)
  t.match(ledger.session(idOf(1)), { volumeDue: { amount: 280n, atMs: 140_000 } })
  ledger.advance(2 * MINUTE)
  t.match(ledger.session(idOf(1)), { state: 'disconnecting', cutReason: 'intervals-missed' })
})

t.test('volume that is not paid in time puts off', async (t) => {
  const { ledger } = opened({ tariff: tariffWith({ missedMax: 9 }) })
  const record = usage({ eventAtMs: 1, inputOctets: 60_000_000n, wide: true })
  ledger.report(idOf(1), record, placeAt(), 10_000)
  t.same(ledger.advance(69_999).cut, [])
  t.match(ledger.advance(70_000).cut, [{ cutReason: 'volume-unpaid', cutAtMs: 70_000 }])
})

t.test('where an increase goes', async (t) => {
  const { ledger } = opened({ tariff: tariffWith({ missedMax: 50 }) })
  const place = placeAt({ callingStationId: '02-00-00-00-00-02', acctSessionId: 'A2' })
  const patient = tariffWith({ missedMax: 50 })
  ledger.begin(newSession(2, { place, merchant: undefined, tariff: patient }), 0)
  ledger.confirm(idOf(2), 0)
  ledger.close(idOf(1), 'stopped', 2 * MINUTE)
  t.match(ledger.debtsOf(A), [{ id: idOf(1) }])
  const at = 3 * MINUTE
  // Session 2 owes 180 and may have one interval (70) more; session 1 owes 120.
  t.same(ledger.pay(voucher(1, 500n), idOf(2), at), {
    ...{ named: 250n, merchant: operator, others: 120n, unassigned: 130n },
  })
  t.same(ledger.debtsOf(A), [])
  t.equal(ledger.account(A)?.credit, 130n)
  const { journal } = ledger.drain()
  t.same(
    journal.map(({ session, merchant: to, amount }) => [session, to, amount]),
    [
      [idOf(2), operator, 250n],
      [idOf(1), merchant, 120n],
      [undefined, undefined, 130n],
    ],
  )
  for (const equal of [500n, 499n, 0n]) {
    t.equal(ledger.pay(voucher(1, equal), idOf(2), at), undefined, `${equal} is not higher`)
  }
  t.equal(ledger.pay(voucher(1, 600n, 700n), undefined, at), undefined, 'settled beyond')
  t.same(ledger.pay(voucher(1, 750n, 700n), undefined, at)?.unassigned, 50n, 'settled is not new')
  t.same(ledger.pay(voucher(1, 751n), idOf(77), at)?.named, 0n, 'no such session')
})

t.test(
  'unassigned credit is drawn before an end is judged, and for what a close leaves',
  async (t) => {
    const { ledger } = opened()
    ledger.pay(voucher(1, 100n), undefined, 30_000)
    t.equal(ledger.account(A)?.credit, 70n, 'an open session gets what it owes now')
    ledger.advance(MINUTE)
    t.match(ledger.session(idOf(1)), { missed: 0, credit: 60n })
    ledger.close(idOf(1), 'stopped', 90_000)
    t.match(ledger.session(idOf(1)), { credit: 90n })
    t.equal(ledger.account(A)?.credit, 10n)
    t.same(ledger.debtsOf(A), [])
  },
)

t.test('credit paid ahead is drawn as the session begins', async (t) => {
  const ledger = emptyLedger()
  ledger.meet(A)
  ledger.pay(voucher(1, 100n), undefined, 0)
  ledger.begin(newSession(1), 0)
  t.equal(ledger.account(A)?.credit, 100n)
  ledger.confirm(idOf(1), 5)
  t.match(ledger.session(idOf(1)), { credit: 70n, startedAtMs: 5, endsAtMs: 3_600_005 })
})

t.test('a debt bars when it is due', async (t) => {
  const cases = [
    [MINUTE - 1, 0n, 2 * MINUTE - 2],
    [MINUTE - 1, 60n, 2 * MINUTE - 1],
    // At its end an interval was missed.
    [MINUTE, 60n, MINUTE],
  ] as const
  for (const [endMs, barring, atMs] of cases) {
    const { ledger } = opened()
    ledger.close(idOf(1), 'stopped', endMs)
    const standing = ledger.standing(A, placeAt(), merchant, atMs)
    t.match(standing, { barring, oldDebt: 60n, openDebt: 0n, reserved: 0n }, `at ${atMs}`)
  }
  const { ledger } = opened()
  ledger.advance(2 * MINUTE)
  // One interval more may run up until it is off.
  t.match(ledger.standing(A, placeAt(), merchant, 2 * MINUTE), { barring: 180n, openDebt: 180n })
  t.match(ledger.account(A), { cuts: 1, lastCutAtMs: 2 * MINUTE, missedIntervals: 2 })
  ledger.close(idOf(1), 'disconnected', 2 * MINUTE)
  t.match(ledger.standing(A, placeAt(), merchant, 2 * MINUTE), { barring: 120n, oldDebt: 120n })
  ledger.pay(voucher(1, 120n), undefined, 3 * MINUTE)
  t.match(ledger.standing(A, placeAt(), merchant, 3 * MINUTE), { barring: 0n, oldDebt: 0n })
  t.match(ledger.account(A), { cuts: 0 })
})

t.test('A6 a disputed debt bars elsewhere with its time only', async (t) => {
  const { ledger } = opened()
  const record = usage({ eventAtMs: 1, inputOctets: 10n ** 12n, wide: true })
  ledger.report(idOf(1), record, placeAt(), MINUTE - 1)
  t.match(ledger.drain().disputes, [{ kind: 'rate-clamped', nasOctets: 10n ** 12n }])
  ledger.advance(2 * MINUTE)
  ledger.close(idOf(1), 'disconnected', 2 * MINUTE)
  const session = ledger.session(idOf(1))
  if (session === undefined) throw new Error('gone')
  const debt = dueOf(session, 2 * MINUTE).amount
  t.ok(debt > 1_000n)
  t.match(ledger.standing(A, placeAt(), merchant, 2 * MINUTE), { barring: debt, oldDebt: debt })
  t.match(ledger.standing(A, placeAt(), operator, 2 * MINUTE), { barring: 120n, oldDebt: 120n })
  ledger.pay(voucher(1, 100n), idOf(1), 3 * MINUTE)
  const paid = ledger.standing(A, placeAt(), operator, 3 * MINUTE)
  t.match(paid, { barring: 20n, oldDebt: 20n }, 'credit is for its time first')
})

t.test('the device measured less than its NAS: recorded once', async (t) => {
  const { ledger } = opened()
  const record = usage({ eventAtMs: 1, inputOctets: 8_000_000n, wide: true })
  ledger.report(idOf(1), record, placeAt(), 10_000)
  ledger.deviceReport(idOf(1), 7_000_000n, 10_000)
  ledger.deviceReport(idOf(1), 90_000_000n, 10_000)
  t.same(ledger.drain().disputes, [], 'within 5 % and 1 MB; the NAS is behind')
  ledger.deviceReport(idOf(1), 6_000_000n, 10_000)
  ledger.deviceReport(idOf(1), 5_000_000n, 10_000)
  t.match(ledger.drain().disputes, [{ nasOctets: 8_000_000n, otherOctets: 6_000_000n }])
})

t.test(
  'after a cut for debt fresh accounts from that station wait, longer each time',
  async (t) => {
    const ledger = emptyLedger()
    const asks = (atMs: number) =>
      ledger.standing(accountOf(9), placeAt(), merchant, atMs).stationBarredUntilMs
    for (const n of [1, 2, 3]) {
      ledger.begin(newSession(n, { account: accountOf(n) }), 0)
      ledger.confirm(idOf(n), 0)
    }
    ledger.advance(2 * MINUTE)
    t.equal(asks(2 * MINUTE), 6 * MINUTE, 'three were cut: four minutes')
    t.equal(asks(6 * MINUTE), undefined)
    ledger.pay(voucher(1, 180n), idOf(1), 2 * MINUTE)
    t.equal(asks(2 * MINUTE), 4 * MINUTE, 'one has paid')
    const own = ledger.standing(accountOf(2), placeAt(), merchant, 2 * MINUTE)
    t.equal(own.stationBarredUntilMs, 3 * MINUTE, 'its own does not count, the third does')
    const elsewhere = placeAt({ nas: 'roof' })
    const other = ledger.standing(accountOf(9), elsewhere, merchant, 2 * MINUTE)
    t.equal(other.stationBarredUntilMs, undefined)
  },
)

t.test('newcomers are counted at each client until they have paid ten intervals', async (t) => {
  const { ledger } = opened()
  const count = (nas: string) =>
    ledger.standing(accountOf(9), placeAt({ nas, callingStationId: 'x' }), merchant, 0)
      .newcomersHere
  t.equal(count('lobby'), 1)
  t.equal(count('roof'), 0)
  t.equal(ledger.standing(A, placeAt(), merchant, 0).newcomersHere, 0, 'but for its own place')
  for (let n = 1; n <= 10; n++) {
    ledger.pay(voucher(1, 60n * BigInt(n)), idOf(1), n * MINUTE - 1)
    ledger.advance(n * MINUTE)
  }
  t.equal(count('lobby'), 0)
  t.equal(ledger.standing(A, placeAt(), merchant, 0).newcomer, false)
})

t.test('an arrears session: who has not paid by its end is put off', async (t) => {
  for (const pays of [false, true]) {
    const { ledger } = opened()
    ledger.close(idOf(1), 'stopped', MINUTE)
    ledger.begin(newSession(2, { kind: 'arrears', endsAtMs: 5 * MINUTE + 20_000 }), 5 * MINUTE)
    ledger.confirm(idOf(2), 5 * MINUTE)
    if (pays) ledger.pay(voucher(1, 60n), undefined, 5 * MINUTE + 1)
    const { cut } = ledger.advance(5 * MINUTE + 20_000)
    if (pays) t.match(ledger.session(idOf(2)), { kind: 'normal', state: 'opened' })
    else t.match(cut, [{ id: idOf(2), cutReason: 'arrears-unpaid' }])
  }
})

t.test('what ends a session by itself', async (t) => {
  const { ledger } = opened({ endsAtMs: 2 * MINUTE, tariff: tariffWith({ missedMax: 50 }) })
  ledger.advance(3 * MINUTE - 1)
  t.equal(ledger.openCount, 1, 'a minute for the re-authentication')
  ledger.advance(3 * MINUTE)
  t.match(ledger.session(idOf(1)), { endedBy: 'session-timeout', endedAtMs: 2 * MINUTE })

  const silent = opened({ tariff: tariffWith({ missedMax: 50 }) }).ledger
  silent.report(idOf(1), usage({ eventAtMs: 10_000 }), placeAt(), 10_000)
  silent.advance(190_000 - 1)
  t.equal(silent.openCount, 1)
  silent.advance(190_000)
  t.match(silent.session(idOf(1)), { endedBy: 'interims-missed', endedAtMs: 10_000 })

  const slow = opened({ tariff: tariffWith({ missedMax: 50 }) }).ledger
  slow.report(idOf(1), usage({ eventAtMs: 10_000 }), placeAt(), 10_000)
  slow.report(idOf(1), usage({ eventAtMs: 130_000 }), placeAt(), 130_000)
  slow.advance(489_999)
  t.equal(slow.openCount, 1, 'three times the interval its NAS keeps')
  slow.advance(490_000)
  t.equal(slow.openCount, 0)

  const reserved = emptyLedger()
  reserved.begin(newSession(1), 0)
  reserved.advance(119_999)
  t.equal(reserved.openCount, 1)
  reserved.advance(120_000)
  t.equal(reserved.session(idOf(1)), undefined)
  t.equal(reserved.confirm(idOf(1), 120_001), undefined)
  t.same(reserved.drain().sessions, [], 'never stored')
})

t.test('nothing is missed, and nobody silent, while nothing could be taken', async (t) => {
  const { ledger } = opened()
  ledger.report(idOf(1), usage({ eventAtMs: 1 }), placeAt(), 1)
  ledger.excuse(10 * MINUTE)
  t.same(ledger.advance(10 * MINUTE - 1).cut, [])
  ledger.pay(voucher(1, 600n), idOf(1), 10 * MINUTE - 1)
  t.same(ledger.advance(10 * MINUTE).cut, [])
  t.match(ledger.session(idOf(1)), { judged: 10, missed: 0, state: 'current' })
})

t.test('what is due next, and when', async (t) => {
  const { ledger } = opened({ tariff: tariffWith({ graceMs: 5_000 }) })
  const due = (atMs: number) => {
    const session = ledger.session(idOf(1))
    if (session === undefined) throw new Error('gone')
    return dueOf(session, atMs)
  }
  t.same(due(0), { amount: 60n, atMs: 65_000 })
  ledger.pay(voucher(1, 70n), idOf(1), 1_000)
  t.same(due(1_000), { amount: 0n, atMs: 65_000 }, 'paid to the end of this interval')
  ledger.advance(MINUTE)
  t.same(due(MINUTE), { amount: 50n, atMs: 125_000 })
  ledger.advance(2 * MINUTE)
  t.same(due(2 * MINUTE), { amount: 110n, atMs: 125_000 }, 'in its grace')
  ledger.advance(125_000)
  t.same(due(125_000), { amount: 110n, atMs: 125_000 }, 'missed')
  ledger.close(idOf(1), 'stopped', 130_000)
  t.same(due(200_000), { amount: 60n, atMs: 130_000 }, 'one was missed')
})

t.test('tariffs are versioned by their terms, allowances given once a day', async (t) => {
  const ledger = emptyLedger()
  t.equal(ledger.tariffVersion(tariff, 0).version, 1)
  t.equal(ledger.tariffVersion(tariff, 1).version, 1)
  t.equal(ledger.tariffVersion(tariffWith({ perMinute: '61' }), 2).version, 2)
  t.equal(ledger.tariffVersion(tariff, 3).version, 3)
  t.equal(ledger.drain().tariffs.length, 3)
  ledger.begin(newSession(1, { tariff: tariffWith({ freeMinutes: 5 }) }), 0)
  ledger.confirm(idOf(1), 0)
  t.equal(ledger.mayHaveAllowance(A, 86_399_999), false)
  t.equal(ledger.mayHaveAllowance(A, 86_400_000), true)
})
