import t from 'tap'
import { createCommitter } from '../../accounting/committer.ts'
import { addRow, createTables } from '../../accounting/ledger-tables.ts'
import type { Changes } from '../../accounting/session.ts'
import { A, ELSEWHERE, HOUR, MINUTE, NOON, OTHER, opened, tell } from './abuse-rig.ts'
import {
  accountOf,
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

// What is used up, held and looked through, and for how long.

t.test('A8 nothing is forgotten whose commit is on its way', async (t) => {
  const ledger = emptyLedger({ accountsMax: 0, rememberedMax: 0 })
  const gates: (() => void)[] = []
  const stored: Changes[] = []
  const storage = {
    async commit(changes: Changes) {
      await new Promise<void>((done) => gates.push(done))
      stored.push(changes)
    },
  }
  const committer = createCommitter({
    ...{ ledger, storage, onError: () => t.fail(), onRecovered: () => t.fail() },
  })
  const begun = async (count: number) => {
    while (gates.length < count) await new Promise((turn) => setImmediate(turn))
  }
  ledger.begin(newSession(1), 0)
  ledger.confirm(idOf(1), 0)
  ledger.close(idOf(1), 'stopped', 0)
  ledger.pay(voucher(1, 100n), undefined, 0)
  const told = committer.durable()
  await begun(1)
  ledger.forget(1)
  t.ok(ledger.knows(A), 'or the same voucher would be credited again')
  t.ok(ledger.session(idOf(1)))
  gates[0]?.()
  await told
  // The next commit finds this one stored.
  ledger.pay(voucher(2, 1n), undefined, 2)
  const next = committer.durable()
  await begun(2)
  ledger.forget(2)
  t.notOk(ledger.knows(A))
  t.notOk(ledger.session(idOf(1)))
  t.ok(ledger.knows(accountOf(2)))
  gates[1]?.()
  await next
  t.equal(stored.length, 2)
  await committer.close()
})

t.test('B4 a conversation that comes to nothing uses up nothing', async (t) => {
  const free = tariffWith({ freeMinutes: 5 })
  const ledger = emptyLedger()
  const begin = (n: number, nowMs: number, change: Parameters<typeof newSession>[1]) => {
    const place = placeAt({ callingStationId: `S${n}` })
    ledger.begin(newSession(n, { place, endsAtMs: nowMs + MINUTE, ...change }), nowMs)
  }
  begin(1, 0, { tariff: free })
  ledger.close(idOf(1), 'abandoned', 0)
  t.equal(ledger.mayHaveAllowance(A, 0), true)
  for (const n of [2, 3]) begin(n, 0, { tariff: free })
  for (const n of [2, 3]) ledger.confirm(idOf(n), 0)
  t.equal(ledger.session(idOf(2))?.tariff.freeMs, 300_000)
  t.equal(ledger.session(idOf(3))?.tariff.freeMs, 0, 'of two at once the first')
  t.equal(ledger.mayHaveAllowance(A, 0), false)

  begin(4, 0, { kind: 'arrears' })
  ledger.close(idOf(4), 'abandoned', 0)
  t.equal(ledger.account(A)?.lastArrearsAtMs, undefined)
  for (const n of [5, 6]) begin(n, 0, { kind: 'arrears' })
  t.ok(ledger.confirm(idOf(5), 1))
  t.equal(ledger.account(A)?.lastArrearsAtMs, 1)
  t.equal(ledger.confirm(idOf(6), 1), undefined, 'one window, not two at once')
})

t.test('B6 a session its NAS does not put off is closed when it can owe no more', async (t) => {
  const ledger = opened(tariff, 0)
  let last = 0
  for (let at = 0; at <= 4 * MINUTE; at += 1_000) {
    ledger.advance(at)
    const isTold = ledger.report(idOf(1), usage({ eventAtMs: at + 1 }), placeAt(), at) === 'counted'
    if (isTold) last = at
  }
  t.equal(last, 4 * MINUTE - 1_000, 'to the end of its billing, and a minute for its Stop')
  t.match(ledger.session(idOf(1)), { endedBy: 'disconnected', endedAtMs: 3 * MINUTE })
  const after = ledger.standing(A, ELSEWHERE, OTHER, 4 * MINUTE)
  t.match(after, { reserved: 0n, openSessions: 0, oldDebt: 180n, barring: 180n })
})

t.test('C5 the open sessions of one client entry are known without the others', async (t) => {
  const ledger = emptyLedger()
  for (const [n, nas] of ['lobby', 'roof', 'lobby'].entries()) {
    const place = placeAt({ nas, callingStationId: `S${n}` })
    ledger.begin(newSession(n, { place, endsAtMs: HOUR }), 0)
    ledger.confirm(idOf(n), 0)
  }
  const at = (nas: string) => [...ledger.openAt(nas)].map(({ id }) => id)
  t.same([at('lobby'), at('roof'), at('yard')], [[idOf(0), idOf(2)], [idOf(1)], []])
  for (const n of [1, 2]) ledger.close(idOf(n), 'stopped', 1)
  t.same([at('lobby'), at('roof')], [[idOf(0)], []])
})

t.test('C6 thousands that nobody paid for at one station are not looked through', async (t) => {
  for (const name of [(n: number) => `x${n}`, () => 'same']) {
    const ledger = emptyLedger()
    for (let n = 0; n < 50; n++) {
      const place = placeAt({ acctSessionId: name(n), acctMultiSessionId: '' })
      tell(ledger, NOON + n * 62_000, { status: 1, place })
      tell(ledger, NOON + n * 62_000 + 1_000, { status: 2, place })
    }
    t.equal(ledger.openCount, 0)
    const late = tell(ledger, NOON + 50 * 62_000, {
      ...{ status: 3, place: placeAt({ acctSessionId: name(7), acctMultiSessionId: '' }) },
    })
    t.match(late, { attribution: 'late' }, 'each is known again by its Acct-Session-Id')
    const { sessions } = ledger.drain()
    t.equal(sessions.length, 50)
    const tables = createTables()
    for (const session of sessions) addRow(tables, session)
    t.equal(tables.byStation.size, 0)
    t.ok([...tables.byRecord.values()].every((rows) => rows.length === 1))
  }
})

// Were the list of ends copied for each of them, this would take a minute.
t.test('C7 what a day away brings is worked off in one pass over its ends', async (t) => {
  const ledger = emptyLedger()
  const price = tariffWith({ intervalMs: 1_000, intervalMegabytes: 0, missedMax: 3 })
  const ends = 40_000
  ledger.begin(newSession(1, { tariff: price, endsAtMs: 2 * ends * 1_000 }), 0)
  ledger.confirm(idOf(1), 0)
  const nowMs = ends * 1_000
  ledger.excuse(nowMs + 10_000)
  ledger.advance(nowMs)
  t.equal(ledger.session(idOf(1))?.endsOwed.length, ends)
  ledger.pay(voucher(1, BigInt(ends)), idOf(1), nowMs)
  ledger.advance(nowMs + 10_000)
  // What was paid is judged together; then each end on its own, until it is cut.
  t.match(ledger.session(idOf(1)), { judged: ends + 3, missed: 3, paidIntervals: ends })
  t.match(ledger.account(A), { paidIntervals: ends, missedIntervals: 3 })
})

t.test('who is asked about is not met: an account stays unknown', async (t) => {
  const ledger = emptyLedger()
  const standing = ledger.standing(accountOf(9), placeAt(), merchant, 0)
  t.match(standing, { oldDebt: 0n, barring: 0n, newcomer: true, account: { credit: 0n } })
  t.equal(ledger.knows(accountOf(9)), false)
})
