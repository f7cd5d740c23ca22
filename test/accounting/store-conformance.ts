// What every store must do, run on each of them: store-sqlite.test.ts, and PostgreSQL's in
// test/interop/storage-postgres.test.ts. Each test gets a store of its own.

import fc from 'fast-check'
import type { Test } from 'tap'
import type { Changes, JournalEntry, Session } from '../../accounting/session.ts'
import { type Storage, StorageError } from '../../accounting/storage.ts'
import { anySession } from './store-arbitraries.ts'
import { type Bed, commit, equal } from './store-bed.ts'
import { closedTotals } from './store-closed-totals.ts'
import { credits } from './store-credits.ts'
import * as f from './store-fixtures.ts'
import { merging, pruning } from './store-pruning.ts'

const failsWith = async (t: Test, work: Promise<unknown>, code: string, text: RegExp) => {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  t.ok(error instanceof StorageError, `a StorageError: ${error}`)
  t.match(error, { code, message: text })
}

/** Runs all of it; `bed` makes an empty store. */
export async function storeConformance(t: Test, bed: Bed) {
  await t.test('any session comes back as it was', (t) => roundTrip(t, bed))
  await t.test('accounts, logs, authorizations and tariffs come back', (t) => logs(t, bed))
  await t.test('the last of a row wins, in a batch and over batches', (t) => upserts(t, bed))
  await t.test('usage and facts of a session are stored apart', (t) => halves(t, bed))
  await t.test('a batch with a bad row leaves nothing behind', (t) => atomic(t, bed))
  await t.test('load: open, lately closed, and what still owes', (t) => loading(t, bed))
  await t.test('pages: newest first, none lost at a page end', (t) => pages(t, bed))
  await t.test('what merchants were credited', (t) => credits(t, bed))
  await t.test('what closed sessions add up to', (t) => closedTotals(t, bed))
  await t.test('records of one session, and of an account', (t) => recordPages(t, bed))
  await t.test('how the sessions of each client entry ended', (t) => histories(t, bed))
  await t.test('prune removes old records, not of open sessions or debts', (t) => pruning(t, bed))
  await t.test('prune joins old entries of settled sessions', (t) => merging(t, bed))
  await t.test('a second server is told so', (t) => twoServers(t, bed))
  await t.test('a store of a newer program is refused', (t) => newer(t, bed))
}

async function roundTrip(t: Test, bed: Bed): Promise<void> {
  const { open } = await bed(t)
  const seed = 20_260_101
  const samples = fc.sample(
    fc.nat({ max: 60 }).chain((n) => anySession(n)),
    { numRuns: 400, seed },
  )
  const latest = new Map<string, Session>()
  const store = await open()
  for (let at = 0; at < samples.length; at += 20) {
    const sessions = samples.slice(at, at + 20)
    for (const session of sessions) latest.set(session.id, session)
    await commit(store, { sessions })
  }
  await store.close()
  const again = await open()
  const { sessions } = await again.load(0)
  const found = new Map(sessions.map((session) => [session.id, session]))
  t.equal(sessions.length, latest.size)
  for (const [id, session] of latest) equal(t, found.get(id), session, `seed ${seed}: ${id}`)
  await again.close()
}

async function logs(t: Test, bed: Bed): Promise<void> {
  const { open } = await bed(t)
  const account = f.accountNumber(1, { credit: f.UINT96_MAX })
  const bare = f.accountNumber(2, { voucher: undefined, lastCutAtMs: undefined })
  const changes: Changes = {
    sessions: [f.sessionNumber(1), f.sessionNumber(2)],
    accounts: [account, bare],
    journal: [
      f.entryNumber(2, { amount: -f.UINT96_MAX, session: undefined, merchant: undefined }),
      f.entryNumber(1, { amount: f.UINT96_MAX, voucher: f.UINT96_MAX }),
    ],
    records: [
      f.recordNumber(2, { session: undefined, attribution: 'nas', inputOctets: undefined }),
      f.recordNumber(1, { terminateCause: 4, place: { ...f.PLACE, nasPort: undefined } }),
    ],
    disputes: [
      {
        ...{ atMs: f.NOON, session: f.sessionId(1), account: undefined, kind: 'rate-clamped' },
        ...{ nasOctets: 2n * f.UINT64_MAX, otherOctets: 0n, trust: 'none', sequence: undefined },
      },
    ],
    meteringKeys: [f.meteringKey(1, 0), f.meteringKey(1, 3)],
    authorizations: [
      {
        ...{ id: `${f.sessionId(1)}-1`, session: f.sessionId(1), kind: 'disconnect' },
        ...{ reason: 'operator', atMs: f.NOON, endedAtMs: undefined, result: '', attempts: 1 },
      },
    ],
    tariffs: [
      { tariff: { ...f.TARIFF, flat: { price: 5n, windowMs: 6 } }, sinceMs: 1 },
      { tariff: { ...f.TARIFF, name: '12n', version: 4 }, sinceMs: 2 },
    ],
  }
  const store = await open()
  await store.commit(f.EMPTY)
  await store.commit(changes)
  const answered = { ...changes.authorizations[0], endedAtMs: f.NOON + 9, result: 'nak-503' }
  await commit(store, { authorizations: [answered as Changes['authorizations'][number]] })
  await store.close()
  const again = await open()
  const all = { limit: 100 }
  const loaded = await again.load(0)
  equal(t, loaded.accounts, [account, bare], 'accounts')
  equal(t, loaded.meteringKeys, changes.meteringKeys, 'metering keys of accounts loaded')
  const theirs = (await again.account(f.addressOf(1)))?.meteringKeys
  equal(t, theirs, changes.meteringKeys, 'metering keys')
  const byName = [...changes.tariffs].sort((a, b) => (a.tariff.name < b.tariff.name ? -1 : 1))
  equal(t, loaded.tariffs, byName, 'tariffs')
  equal(t, await again.journal(all), changes.journal, 'journal')
  equal(t, await again.records(all), changes.records, 'records')
  equal(t, await again.disputes(all), changes.disputes, 'disputes')
  equal(t, await again.authorizations(all), [answered], 'an authorization has its answer')
  equal(t, await again.authorizations({ ...all, account: f.addressOf(2) }), [], 'of another')
  await again.close()
}

async function upserts(t: Test, bed: Bed): Promise<void> {
  const { open, sql } = await bed(t)
  const store = await open()
  const first = f.sessionNumber(1, { state: 'reserved' })
  const opened = f.sessionNumber(1, { startedAtMs: f.NOON + 50, credit: 1n })
  const second = f.sessionNumber(2)
  await commit(store, { sessions: [first, second, { ...first, credit: 9n }, opened] })
  equal(t, (await store.load(0)).sessions, [opened, second], 'within a batch')
  const paid = { ...opened, credit: 2n, heardAtMs: f.NOON + 60 }
  await commit(store, { sessions: [paid] })
  const closed = f.closedNumber(2, 3, { credit: 1n })
  await commit(store, { sessions: [closed], accounts: [f.accountNumber(2)] })
  await commit(store, { accounts: [f.accountNumber(2, { credit: 4n })] })
  equal(t, (await store.load(0)).sessions, [paid, closed], 'over batches')
  t.equal((await store.account(f.addressOf(2)))?.account.credit, 4n)
  const rows = await sql('SELECT id, credit, debt, closed_at FROM sessions ORDER BY id')
  t.same(
    rows.map((row) => Object.values(row).map(String)),
    [
      [f.sessionId(1), '2', '0', 'null'],
      [f.sessionId(2), '1', '179999', `${closed.endedAtMs}`],
    ],
    'the columns follow: one row each',
  )
  await store.close()
}

/** Each is one row, and what did not change is not written: no change may be taken for none. */
async function halves(t: Test, bed: Bed): Promise<void> {
  const { open, sql } = await bed(t)
  const store = await open()
  const stored = async (wanted: Session, name: string) =>
    equal(t, (await store.load(0)).sessions, [wanted], name)
  const first = f.sessionNumber(1)
  const counter = { raw: 2n ** 40n, total: f.UINT64_MAX, wide: true }
  const heard = { ...first, input: counter, heardAtMs: f.NOON + 9, lastRecord: '3 " 9 \0 é' }
  const missed = { ...heard, state: 'overdue', missed: 1 } as const
  const both = { ...missed, credit: 5n, eventAtMs: f.NOON + 1, interimMs: 7 }
  for (const [name, session] of Object.entries({ first, heard, missed, both, again: first })) {
    await commit(store, { sessions: [session] })
    await stored(session, name)
  }
  await commit(store, { sessions: [missed, first] })
  await stored(first, 'the last of a batch, which is what was stored before it')
  const bad = { journal: [f.entryNumber(1, { atMs: Number.NaN })] }
  await failsWith(t, commit(store, { sessions: [missed], ...bad }), 'failed', /.+/)
  await commit(store, { sessions: [{ ...missed, sessionTimeSeconds: 3 }] })
  await stored({ ...missed, sessionTimeSeconds: 3 }, 'facts of a batch that failed are not stored')
  const ended = f.closedNumber(1, 1)
  await commit(store, { sessions: [ended] })
  await commit(store, { sessions: [{ ...ended, credit: 1n }] })
  await stored({ ...ended, credit: 1n }, 'once it is closed too')
  t.equal((await sql('SELECT id FROM sessions')).length, 1, 'one session')
  await store.close()
}

async function atomic(t: Test, bed: Bed): Promise<void> {
  const { open } = await bed(t)
  const store = await open()
  const good = { sessions: [f.sessionNumber(1)], journal: [f.entryNumber(1)] }
  const bad: JournalEntry = f.entryNumber(2, { atMs: Number.NaN })
  const broken = commit(store, { ...good, journal: [...good.journal, bad] })
  await failsWith(t, broken, 'failed', /.+/)
  equal(t, (await store.load(0)).sessions, [], 'no session')
  equal(t, await store.journal({ limit: 9 }), [], 'no entry')
  await commit(store, good)
  equal(t, await store.journal({ limit: 9 }), good.journal, 'and the store goes on')
  await store.close()
}

async function loading(t: Test, bed: Bed): Promise<void> {
  const { open } = await bed(t)
  const store = await open()
  const open1 = f.sessionNumber(1, { account: f.addressOf(0x11) })
  const cut = f.sessionNumber(2, { state: 'disconnecting', cutAtMs: f.NOON, account: undefined })
  const recent = f.closedNumber(3, 10, { credit: 600_000n })
  const old = f.closedNumber(4, 1, { credit: 60_000n })
  const owing = f.closedNumber(5, 1, { credit: 59_999n })
  const foreign = f.closedNumber(6, 1, { kind: 'foreign', account: undefined })
  const gone = f.closedNumber(7, 2, { account: old.account, credit: 10n ** 20n })
  const sessions = [open1, cut, recent, old, owing, foreign, gone]
  const accounts = [3, 4, 5].map((n) => f.accountNumber(n))
  await commit(store, { sessions, accounts })
  const loaded = await store.load(f.NOON + 3 + 600_000)
  equal(t, loaded.sessions, [open1, cut, recent], 'open ones, and one closed at that time')
  equal(t, loaded.debts, [owing], 'one base unit is a debt; what is foreign owes nothing')
  const known = loaded.accounts.map(({ account }) => account).sort()
  equal(t, known, [3, 5, 0x11].map(f.addressOf), 'their accounts')
  const blank = loaded.accounts.find(({ account }) => account === open1.account)
  t.match(blank, { voucher: undefined, credit: 0n, paidIntervals: 0 }, 'one never stored is new')
  equal(t, (await store.account(f.addressOf(5)))?.sessions, [owing], 'on demand: its debts')
  equal(t, (await store.account(f.addressOf(0x11)))?.sessions, [open1], 'its open ones')
  equal(t, (await store.account(f.addressOf(4)))?.sessions, [], 'and none that are over')
  equal(t, await store.account(f.addressOf(99)), undefined, 'nobody')
  const settled = { ...owing, credit: 60_000n }
  await commit(store, { sessions: [settled] })
  equal(t, (await store.load(f.NOON * 2)).debts, [], 'a debt that was paid is none')
  await store.close()
}

async function pages(t: Test, bed: Bed): Promise<void> {
  const { open } = await bed(t)
  const store = await open()
  // Three moments of ten entries each: no page of 4 ends between two of them.
  const journal = Array.from({ length: 30 }, (_, n) =>
    f.entryNumber(n, { atMs: f.NOON + Math.floor(n / 10), account: f.addressOf(n % 2) }),
  )
  const sessions = [1, 2, 3].map((n) => f.sessionNumber(n, { account: f.addressOf(n % 2) }))
  await commit(store, { journal, sessions })
  const seen: JournalEntry[] = []
  for (let beforeMs = f.NOON * 2; ; ) {
    const page = await store.journal({ limit: 4, beforeMs })
    if (page.length === 0) break
    t.equal(page.length, 10, 'a moment is never divided')
    seen.push(...page)
    beforeMs = page.at(-1)?.atMs ?? 0
  }
  equal(t, seen, journal.toReversed(), 'every entry once, newest first')
  const mine = await store.journal({ limit: 100, account: f.addressOf(1), beforeMs: f.NOON + 2 })
  equal(t, mine, journal.filter((_, n) => n % 2 === 1 && n < 20).toReversed(), 'of one account')
  const ids = async (page: Parameters<Storage['sessions']>[0]) =>
    (await store.sessions(page)).map(({ id }) => Number.parseInt(id, 16))
  t.same(await ids({ limit: 2 }), [3, 2])
  t.same(await ids({ limit: 9, beforeMs: f.NOON + 3, account: f.addressOf(1) }), [1])
  await store.close()
}

async function recordPages(t: Test, bed: Bed): Promise<void> {
  const { open } = await bed(t)
  const store = await open()
  const id = f.sessionId(1)
  const records = [0, 5, 120_000, 40_000_000].map((n) => f.recordNumber(n + 1))
  const other = f.recordNumber(3, { session: f.sessionId(2), attribution: 'late' })
  await commit(store, {
    sessions: [f.closedNumber(1, 1), f.sessionNumber(2)],
    records: [...records, other],
  })
  const found = await store.records({ limit: 100, session: id })
  equal(t, found, records.toReversed(), 'all of a session, those long after its Stop too')
  const account = f.addressOf(2)
  equal(t, await store.records({ limit: 100, account }), [other], 'by who pays for the session')
  await store.close()
}

async function histories(t: Test, bed: Bed): Promise<void> {
  const { open } = await bed(t)
  const store = await open()
  const bar = { ...f.PLACE, nas: 'bar' }
  const sessions = [
    f.closedNumber(1, 1),
    f.closedNumber(2, 1, { endedBy: 'interims-missed', disputed: true }),
    f.closedNumber(3, 1, { endedBy: 'nas-restarted', place: bar }),
    f.closedNumber(4, 1, { endedBy: 'abandoned' }),
    f.closedNumber(5, 1, { kind: 'unattributed', account: undefined }),
    f.sessionNumber(6),
    f.closedNumber(7, 1, { endedAtMs: f.NOON - 1 }),
    // Whoever quarrels all the time is heard five times.
    ...[8, 9, 10, 11, 12, 13].map((n) =>
      f.closedNumber(n, 2, { place: bar, disputed: true, account: f.addressOf(8) }),
    ),
    f.closedNumber(14, 3, { place: bar, disputed: true, account: f.addressOf(14) }),
  ]
  await commit(store, { sessions })
  equal(
    t,
    await store.histories(f.NOON),
    [
      { nas: 'bar', sessions: 8, lost: 1, disputed: 6 },
      { nas: f.PLACE.nas, sessions: 2, lost: 1, disputed: 1 },
    ],
    'those with a payer that ended since',
  )
  await store.close()
}

async function twoServers(t: Test, bed: Bed): Promise<void> {
  const { open } = await bed(t)
  const store = await open()
  await failsWith(t, open(), 'locked', /is in use by another server/)
  await commit(store, { sessions: [f.sessionNumber(1)] })
  await store.close()
  const next = await open()
  t.equal((await next.load(0)).sessions.length, 1)
  await next.close()
}

async function newer(t: Test, bed: Bed): Promise<void> {
  const { open, sql } = await bed(t)
  await (await open()).close()
  await sql('INSERT INTO schema_version VALUES (99)')
  await failsWith(t, open(), 'failed', /has schema 99, this program knows 3: run the newer program/)
  await sql('DELETE FROM schema_version WHERE version = 99')
  await (await open()).close()
}
