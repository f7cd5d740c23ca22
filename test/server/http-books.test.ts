import t from 'tap'
import type { CutReason, Session } from '../../accounting/session.ts'
import { checksumAddress } from '../../ethereum/address.ts'
import {
  accountOf,
  idOf,
  merchant,
  newSession,
  placeAt,
  usage,
  voucher,
} from '../accounting/books.ts'
import { rig } from './http-rig.ts'
import { metering } from './metering-rig.ts'

const NOW_MS = 100_000
const headers = { authorization: 'Bearer the-token' }

/** One session that runs, one that is over and owes 60, one that is over and paid. */
async function served(t: { teardown(f: () => Promise<void>): void }) {
  const parts = await metering()
  const { ledger, committer } = parts.books
  const begin = (n: number, account: number) => {
    const place = placeAt({ callingStationId: `02-00-00-00-00-0${n}`, acctSessionId: `A${n}` })
    ledger.begin(newSession(n, { account: accountOf(account), place }), 1_000 * n)
    ledger.confirm(idOf(n), 1_000 * n)
  }
  begin(1, 1)
  begin(2, 2)
  begin(3, 1)
  ledger.pay(voucher(1, 90n), idOf(1), 30_000)
  ledger.pay(voucher(1, 120n), idOf(3), 32_900)
  ledger.close(idOf(3), 'stopped', 33_000)
  ledger.close(idOf(2), 'stopped', 62_000)
  await committer.durable()
  const put: [string, CutReason][] = []
  const enforcement = {
    ...parts.enforcement,
    async putOff({ id }: Session, reason: CutReason) {
      put.push([id, reason])
      return 'ack'
    },
  }
  const { call } = await rig(t, { metering: { ...parts, enforcement }, now: () => NOW_MS })
  const get = async (path: string) => (await call('GET', path, { headers })).json()
  return { call, get, put, ledger, committer }
}

const ids = (body: unknown): string[] =>
  (body as { sessions: { id: string }[] }).sessions.map(({ id }) => id)

t.test('sessions: those that run or owe; with all=true every one, newest first', async (t) => {
  const { get } = await served(t)
  const body = await get('/v1/sessions')
  t.same(ids(body), [idOf(1), idOf(2)])
  t.match(body, {
    token: { symbol: 'DNT', decimals: 18 },
    sessions: [
      {
        ...{ id: idOf(1), account: checksumAddress(accountOf(1)), client: 'lobby', paid: '90' },
        ...{ merchant: checksumAddress(merchant), state: 'current', owed: '99', due: '30' },
        ...{ tariff: 'standard', tariffVersion: 1, startedAt: 1, kind: 'normal', endedAt: null },
        ...{ callingStationId: '02-00-00-00-00-01', acctSessionId: 'A1', disputed: false },
      },
      {
        ...{ id: idOf(2), state: 'closed', owed: '60', paid: '0', due: '60', endedAt: 62 },
        ...{ endedBy: 'stopped', cutReason: null },
      },
    ],
  })
  t.same(ids(await get('/v1/sessions?all=true')), [idOf(3), idOf(2), idOf(1)])
  t.same(ids(await get('/v1/sessions?all=true&limit=1')), [idOf(3)])
  t.same(ids(await get('/v1/sessions?all=true&before=3')), [idOf(2), idOf(1)])
  t.same(ids(await get(`/v1/sessions?account=${accountOf(2)}`)), [idOf(2)])
  t.same(ids(await get('/v1/sessions?limit=1')), [idOf(1)])
})

t.test('disconnect: an open session, once; else it says that there is none', async (t) => {
  const { call, put, ledger } = await served(t)
  const path = (n: number): string => `/v1/sessions/${idOf(n)}/disconnect`
  t.equal((await call('POST', path(1))).status, 401)
  t.same(put, [])
  const answer = await call('POST', path(1), { headers })
  t.equal(answer.status, 200)
  t.same(answer.json(), { session: idOf(1), result: 'ack' })
  t.same(put, [[idOf(1), 'operator']])
  t.match(ledger.session(idOf(1)), { state: 'disconnecting', cutReason: 'operator' })
  for (const n of [2, 9]) {
    const none = await call('POST', path(n), { headers })
    t.equal(none.status, 404)
    t.match(none.json(), { error: { code: 'unknown-session' } })
  }
  t.equal(put.length, 1)
})

t.test('ledger: each movement of money, newest first', async (t) => {
  const { get } = await served(t)
  const account = checksumAddress(accountOf(1))
  const to = checksumAddress(merchant)
  t.same(await get('/v1/ledger'), {
    token: { symbol: 'DNT', decimals: 18 },
    entries: [
      { at: 32, account, session: idOf(3), merchant: to, amount: '30', voucher: '120' },
      { at: 30, account, session: idOf(1), merchant: to, amount: '90', voucher: '90' },
    ],
  })
  t.same((await get(`/v1/ledger?account=${accountOf(2)}`))['entries'], [])
})

t.test('arrears: who owes from sessions that are over, and how it paid so far', async (t) => {
  const { get, ledger } = await served(t)
  const body = await get('/v1/arrears')
  t.same(body, {
    token: { symbol: 'DNT', decimals: 18 },
    arrears: [
      {
        ...{ account: checksumAddress(accountOf(2)), owed: '60', sessions: 1, disputed: '0' },
        ...{ since: 62, credit: '0', voucher: '0', paidIntervals: 0, missedIntervals: 1, cuts: 0 },
        ...{ disagreements: 0, reliability: 0.833 },
      },
    ],
  })
  t.same((await get(`/v1/arrears?account=${accountOf(1)}`))['arrears'], [])
  ledger.pay(voucher(2, 60n), idOf(2), NOW_MS)
  t.same((await get('/v1/arrears'))['arrears'], [])
})

t.test('disputes and the answers of access points, each with its evidence', async (t) => {
  const { get, ledger, committer } = await served(t)
  const record = usage({ eventAtMs: 9_000, inputOctets: 60_000_000n, wide: true })
  ledger.report(idOf(1), record, placeAt(), 9_000)
  ledger.deviceReport(idOf(1), 1_000_000n, 10_000)
  ledger.authorization({
    ...{ id: 'x', session: idOf(1), kind: 'disconnect', reason: 'operator', atMs: 11_000 },
    ...{ endedAtMs: 12_500, result: 'nak-503', attempts: 2 },
  })
  await committer.durable()
  t.same((await get('/v1/disputes'))['disputes'], [
    {
      ...{ at: 10, account: checksumAddress(accountOf(1)), session: idOf(1) },
      ...{ kind: 'usage-disagreement', nasOctets: '60000000', otherOctets: '1000000' },
      ...{ trust: 'none', sequence: null },
    },
  ])
  t.same((await get('/v1/authorizations'))['authorizations'], [
    {
      ...{ at: 11, endedAt: 12, session: idOf(1), kind: 'disconnect', reason: 'operator' },
      ...{ result: 'nak-503', attempts: 2 },
    },
  ])
})

t.test('a session shows what its device has signed; an account what came of it', async (t) => {
  const { call, get, ledger, committer } = await served(t)
  const record = usage({ eventAtMs: 9_000, inputOctets: 60_000_000n, wide: true })
  ledger.report(idOf(1), record, placeAt(), 9_000)
  const figures = { inputOctets: 1_000_000n, outputOctets: 40_000_000n }
  const key = { scheme: 'play-integrity', trust: 'software' as const }
  const signed = { sequence: 4, time: 10, ...key, slot: 0, missing: 1, ...figures }
  ledger.enrol({
    ...{ ...key, account: accountOf(1), publicKey: 'BAAA' },
    ...{ enrolledAtMs: 5_000, expiresAtMs: 60_000 },
  })
  // Less than was counted at the report before: that is a dispute.
  ledger.attest(idOf(1), { ...signed, sequence: 3 }, 9_500)
  ledger.attest(idOf(1), signed, 10_000)
  await committer.durable()
  t.match((await get('/v1/sessions'))['sessions'], [
    {
      ...{ id: idOf(1), inputOctets: '60000000', ratedOctets: '60000000', disputed: true },
      attested: {
        ...{ inputOctets: '1000000', outputOctets: '40000000', trust: 'software', sequence: 4 },
        ...{ scheme: 'play-integrity', countedOctets: '60000000' },
        ...{ missing: 1, disagrees: true, at: 10 },
      },
    },
    { id: idOf(2), attested: null },
  ])
  t.match((await get('/v1/disputes'))['disputes'], [
    {
      ...{ session: idOf(1), kind: 'usage-disagreement', nasOctets: '60000000' },
      ...{ otherOctets: '41000000', trust: 'software', sequence: 4 },
    },
  ])
  const account = checksumAddress(accountOf(1))
  const shown = { publicKey: 'BAAA', ...key, enrolledAt: 5, expiresAt: 0 }
  const known = {
    ...{ account, disagreements: 1, paidIntervals: 0, reliability: 0.333 },
    meteringKeys: [shown],
  }
  t.match(await get(`/v1/accounts/${account}`), known)
  t.equal((await call('GET', `/v1/accounts/${account}`)).status, 401)
  for (const nobody of ['x', `0x${'ab'.repeat(20)}`]) {
    const answer = await call('GET', `/v1/accounts/${nobody}`, { headers })
    t.equal(answer.status, 404)
    t.match(answer.json(), { error: { code: 'unknown-account' } })
  }
})

t.test('a query that cannot be meant is refused', async (t) => {
  const { call } = await served(t)
  const wrong = ['limit=0', 'limit=1001', 'limit=x', 'before=-1', 'account=0x12', 'what=1', 'all=1']
  for (const route of ['sessions', 'ledger', 'arrears', 'disputes', 'authorizations']) {
    t.equal((await call('GET', `/v1/${route}`)).status, 401, route)
    for (const query of wrong) {
      const answer = await call('GET', `/v1/${route}?${query}`, { headers })
      t.equal(answer.status, 400, `${route}?${query}`)
      t.match(answer.json(), { error: { code: 'malformed-request' } })
    }
  }
})
