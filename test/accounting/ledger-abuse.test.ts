import t from 'tap'
import { decideAdmission, spendableOf } from '../../accounting/admission.ts'
import type { Ledger } from '../../accounting/ledger.ts'
import { debtOf } from '../../accounting/rating.ts'
import type { Tariff } from '../../accounting/tariff.ts'
import {
  A,
  channel,
  ELSEWHERE,
  HOUR,
  MINUTE,
  NOON,
  OTHER,
  opened,
  rules,
  some,
  tell,
} from './abuse-rig.ts'
import {
  emptyLedger,
  idOf,
  merchant,
  newSession,
  placeAt,
  tariff,
  tariffWith,
  usage,
  voucher,
} from './books.ts'

// What neither an access point, nor a device, nor who copies datagrams may get by lying.

/** A Start of a reconnect nobody made; `n` tells one from another. */
const forge = (ledger: Ledger, nowMs: number, n: number, octets = 0n) => {
  const place = placeAt({ acctSessionId: `F${n}`, acctMultiSessionId: `G${n}` })
  return tell(ledger, nowMs, { place, inputOctets: octets, outputOctets: 0n })
}

/** The device was there for a minute, paid and left; so much of its money is unassigned. */
function paidAndLeft(price: Tariff, unassigned: bigint) {
  const ledger = opened(price)
  tell(ledger, NOON + 1_000, { classId: idOf(1) })
  tell(ledger, NOON + 59_000, { status: 2, classId: idOf(1) })
  const debt = debtOf(some(ledger.session(idOf(1))))
  ledger.pay(voucher(1, debt + unassigned), idOf(1), NOON + 59_500)
  return { ledger, paid: debt + unassigned }
}

t.test('A1 reconnects that never were take nothing and bar nobody elsewhere', async (t) => {
  const flat = tariffWith({ flat: { price: '100', windowMs: HOUR } })
  for (const [name, price, octets] of [
    ['time', tariff, 0n],
    ['flat windows', flat, 0n],
    ['claimed octets', tariff, 100_000_000n],
  ] as const) {
    const { ledger, paid } = paidAndLeft(price, 1_000n)
    const from = NOON + 10 * MINUTE
    for (let n = 0; n < 50; n++) forge(ledger, from + n * 20, n, octets)
    const made = [...ledger.openOf(A), ...ledger.debtsOf(A)]
    t.equal(made.length, 1, `${name}: one in an interval`)
    t.equal(made[0]?.input.total, 0n, 'what the first record counts is from before')
    for (let at = from; at < from + 10 * MINUTE; at += 1_000) ledger.advance(at)
    t.equal(ledger.account(A)?.credit, 1_000n, `${name}: nothing was drawn`)
    const here = ledger.standing(A, placeAt(), merchant, from + 10 * MINUTE)
    t.ok(here.barring > 0n, 'its own merchant may believe it')
    const there = ledger.standing(A, ELSEWHERE, OTHER, from + 10 * MINUTE)
    t.match(there, { barring: 0n, oldDebt: 0n, openDebt: 0n }, name)
    t.equal(spendableOf(channel, there), channel.deposit - paid)
  }
})

t.test('A1 a voucher that names a reconnect makes it a session like any other', async (t) => {
  const { ledger } = paidAndLeft(tariff, 1_000n)
  const from = NOON + 10 * MINUTE
  const id = some(forge(ledger, from, 1).session).id
  t.equal(ledger.session(id)?.kind, 'pmksa')
  ledger.pay(voucher(1, 1_060n), id, from + 1_000)
  t.match(ledger.session(id), { kind: 'normal', credit: 1n, continues: idOf(1) })
  ledger.advance(from + MINUTE)
  t.match(ledger.session(id), { missed: 0, credit: 60n }, 'now it draws')
  for (let at = from; at < from + 40 * MINUTE; at += MINUTE) {
    ledger.report(id, usage({ eventAtMs: at }), placeAt(), at)
  }
  const there = ledger.standing(A, ELSEWHERE, OTHER, from + 40 * MINUTE)
  t.ok(there.barring > 0n, 'and its debt counts everywhere')
})

t.test('A1 a reconnect has no allowance of its own', async (t) => {
  const { ledger } = paidAndLeft(tariffWith({ freeMinutes: 5 }), 0n)
  const { session } = forge(ledger, NOON + 10 * MINUTE, 1)
  t.match(session, { kind: 'pmksa', tariff: { freeMs: 0 } })
})

t.test('A2 RFC 2866 §4.1: a copied record opens no session and is not counted again', async (t) => {
  const stamp = (seconds: number) => NOON / 1000 + seconds
  const first = { status: 1, classId: idOf(1), eventTimestamp: stamp(1) }
  const second = {
    ...{ status: 3, classId: idOf(1), eventTimestamp: stamp(30), sessionTimeSeconds: 30 },
    ...{ inputOctets: 2_000_000n, outputOctets: 0n },
  }
  const last = { ...second, status: 2, eventTimestamp: stamp(59), sessionTimeSeconds: 59 }
  const play = (offSeconds: number) => {
    const ledger = opened()
    for (const record of [first, second, last]) {
      const atMs = record.eventTimestamp * 1000
      tell(ledger, atMs, { ...record, eventTimestamp: record.eventTimestamp + offSeconds })
    }
    return ledger
  }
  for (const off of [0, -540, 540]) {
    const ledger = play(off)
    for (const record of [first, second]) {
      const copy = { ...record, eventTimestamp: record.eventTimestamp + off }
      const { attribution } = tell(ledger, NOON + HOUR, copy)
      t.match(attribution, /late|duplicate/, `clock ${off} s off`)
    }
    // Its session forgotten meanwhile, so that the copy is looked up by its place.
    const unknown = { ...second, classId: idOf(77), eventTimestamp: stamp(30 + off) }
    const place = placeAt({ acctSessionId: 'B', acctMultiSessionId: 'B' })
    t.equal(tell(ledger, NOON + HOUR, { ...unknown, place }).attribution, 'late')
    t.equal(ledger.openCount, 0)
    const back = { ...first, place, eventTimestamp: stamp(60 + off) }
    t.equal(tell(ledger, NOON + MINUTE, back).attribution, 'session', 'a reconnect is none')
  }
  const days = play(0)
  days.begin(newSession(2, { place: placeAt({ callingStationId: 'S2' }) }), NOON + 30 * HOUR)
  tell(days, NOON + 11 * HOUR, { place: placeAt({ acctSessionId: 'C', acctMultiSessionId: 'C' }) })
  const old = tell(days, NOON + 35 * HOUR, { ...first, place: placeAt({ acctSessionId: 'D' }) })
  t.match(old, { attribution: 'unattributed', wish: { reason: 'not-admitted' } }, 'a day later')
})

t.test('A2 a reconnect within the second of the Stop is one', async (t) => {
  const ledger = opened()
  const eventTimestamp = NOON / 1000 + 59
  tell(ledger, NOON + 59_100, { status: 2, classId: idOf(1), eventTimestamp })
  const place = placeAt({ acctSessionId: 'B', acctMultiSessionId: 'B' })
  const back = tell(ledger, NOON + 59_600, { classId: idOf(1), place, eventTimestamp })
  t.match(back, { attribution: 'session', session: { kind: 'pmksa' } })
})

t.test('A3 claimed octets draw no more than the volume of the intervals begun', async (t) => {
  const ledger = emptyLedger()
  ledger.pay(voucher(1, 5_000n), undefined, 0)
  ledger.begin(newSession(1), 0)
  ledger.confirm(idOf(1), 0)
  const claim = (seconds: number, inputOctets: bigint) =>
    ledger.report(
      idOf(1),
      usage({ eventAtMs: seconds * 1000, inputOctets, wide: true }),
      placeAt(),
      seconds * 1000,
    )
  claim(10, 1_000_000_000n)
  t.match(ledger.session(idOf(1)), { credit: 70n, volumeDue: { amount: 1_010n } })
  ledger.advance(MINUTE)
  t.equal(ledger.session(idOf(1))?.credit, 140n, 'to the end of the second, and its volume')
  ledger.deviceReport(idOf(1), 0n, MINUTE)
  claim(61, 2_000_000_000n)
  ledger.close(idOf(1), 'stopped', 3 * MINUTE)
  t.equal(ledger.session(idOf(1))?.credit, 140n, 'nothing once it is disputed')
  t.equal(ledger.account(A)?.credit, 4_860n)
})

t.test('A4 what a session drew whose Accept never went out is its account’s again', async (t) => {
  const ledger = emptyLedger()
  ledger.pay(voucher(1, 100n), undefined, 0)
  for (const [n, why, back] of [
    [1, 'abandoned', 100n],
    [2, 'stopped', 30n],
  ] as const) {
    ledger.begin(newSession(n), 1_000)
    ledger.confirm(idOf(n), 2_000)
    ledger.close(idOf(n), why, 2_000)
    t.equal(ledger.account(A)?.credit, back, why)
  }
  const { journal } = ledger.drain()
  const sum = (of: typeof journal) => of.reduce((total, { amount }) => total + amount, 0n)
  t.equal(sum(journal), 100n, 'the account’s best voucher')
  t.equal(sum(journal.filter(({ session }) => session === idOf(1))), 0n)
  t.equal(sum(journal.filter(({ session }) => session === idOf(2))), 70n)
})

/** The decision on the same device at the same place. */
const asks = (ledger: Ledger, nowMs: number) =>
  decideAdmission(
    ledger.standing(A, placeAt(), merchant, nowMs),
    channel,
    tariffWith(),
    rules,
    nowMs,
  )

t.test('A5 who begins anew and never pays is refused before it has had a fourth', async (t) => {
  for (const [everyMs, graceMs] of [
    ...[1_000, 30_000, 59_000, 60_000, 61_000, 119_000].map((ms) => [ms, 0] as const),
    [59_000, MINUTE],
    [119_000, MINUTE],
  ]) {
    const price = tariffWith({ graceMs })
    const ledger = opened(price, 0)
    let n = 1
    for (let at = 1_000; at < HOUR; at += 1_000) {
      ledger.advance(at)
      if (at % everyMs !== 0 || !asks(ledger, at).admit) continue
      n += 1
      ledger.begin(newSession(n, { tariff: price, endsAtMs: at + HOUR }), at)
      ledger.confirm(idOf(n), at)
    }
    t.equal(ledger.openCount, 0)
    const debt = ledger.debtsOf(A).reduce((total, session) => total + debtOf(session), 0n)
    // missed_max + 1 intervals, and the one that is not over when it begins anew.
    t.ok(debt < 4n * 70n, `every ${everyMs} ms, grace ${graceMs}: ${debt}, ${n} sessions`)
  }
})

t.test('A5 who pays may begin anew at any time', async (t) => {
  for (const paysAhead of [true, false]) {
    const ledger = emptyLedger()
    if (!paysAhead) ledger.pay(voucher(1, 10_000n), undefined, 0)
    for (let n = 1; n <= 20; n++) {
      const at = n * 95_000
      ledger.advance(at)
      t.ok(asks(ledger, at).admit, `${at} ms`)
      ledger.begin(newSession(n, { endsAtMs: at + HOUR }), at)
      ledger.confirm(idOf(n), at)
      if (!paysAhead) continue
      const paid = (more: bigint) => voucher(1, BigInt(n - 1) * 95n + more)
      ledger.pay(paid(60n), idOf(n), at + 1_000)
      ledger.advance(at + MINUTE)
      ledger.pay(paid(95n), idOf(n), at + MINUTE + 1_000)
    }
  }
})

t.test('A6 a device that disputes its octets owes its time everywhere', async (t) => {
  const ledger = opened(tariff, 0)
  const record = usage({ eventAtMs: 10_000, inputOctets: 8_000_000n, wide: true })
  ledger.report(idOf(1), record, placeAt(), 10_000)
  ledger.deviceReport(idOf(1), 0n, 11_000)
  const at = (nowMs: number) => ledger.standing(A, ELSEWHERE, OTHER, nowMs)
  ledger.advance(MINUTE)
  t.match(at(MINUTE), { openDebt: 60n, barring: 0n }, 'while it is open, too')
  t.match(ledger.standing(A, ELSEWHERE, merchant, MINUTE), { openDebt: 68n })
  ledger.advance(2 * MINUTE)
  t.match(at(2 * MINUTE), { barring: 180n })
  ledger.close(idOf(1), 'disconnected', 2 * MINUTE)
  t.match(at(2 * MINUTE), { barring: 120n, oldDebt: 120n })
  ledger.pay(voucher(1, 120n), idOf(1), 3 * MINUTE)
  t.match(at(3 * MINUTE), { barring: 0n, oldDebt: 0n })
  t.match(ledger.standing(A, placeAt(), merchant, 3 * MINUTE), { barring: 8n })
})

t.test('A7 while nobody could be heard no more than missed_max + 1 intervals run up', async (t) => {
  const ledger = opened(tariff, 0)
  ledger.report(idOf(1), usage({ eventAtMs: MINUTE }), placeAt(), MINUTE)
  ledger.excuse(3 * HOUR)
  ledger.advance(2 * HOUR)
  t.match(ledger.session(idOf(1)), { endedBy: 'session-timeout', endedAtMs: 4 * MINUTE })
  const paid = opened(tariff, 0)
  paid.pay(voucher(1, 10_000n), undefined, 0)
  for (let at = 0; at < HOUR; at += MINUTE) paid.advance(at)
  paid.excuse(3 * HOUR)
  paid.advance(2 * HOUR)
  t.match(paid.session(idOf(1)), { endedAtMs: HOUR }, 'what is paid was served')
})
