// The store in a real PostgreSQL: what every store does, the radacct view beside FreeRADIUS's own
// table, and connections that fail in every way.

import { readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import type { Changes } from '../../accounting/session.ts'
import { StorageError } from '../../accounting/storage.ts'
import { openPostgresStore } from '../../accounting/store-postgres.ts'
import type { StoreBed } from '../accounting/store-bed.ts'
import { storeConformance } from '../accounting/store-conformance.ts'
import * as f from '../accounting/store-fixtures.ts'
import { radacct } from '../accounting/store-radacct.ts'
import { PASSWORD, type Postgres, proxyTo, startPostgres } from './postgres.ts'

const FREERADIUS_SCHEMA = '/etc/freeradius/3.0/mods-config/sql/main/postgresql/schema.sql'

const postgres: Postgres = await startPostgres(t)
const open = (lockWaitMs = 2_000) => openPostgresStore(postgres.url, { lockWaitMs })

/** The owner's schema as it was before the first start. */
async function emptied(): Promise<void> {
  await postgres.sql('DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION books')
}

async function bed(_: Test): Promise<StoreBed> {
  await emptied()
  return { open: () => open(300), sql: (text) => postgres.sql(text) }
}

const errorOf = async (work: Promise<unknown>): Promise<StorageError> => {
  const error = await work.then(
    () => new Error('it did not fail'),
    (thrown: unknown) => thrown,
  )
  if (!(error instanceof StorageError)) throw error
  t.notMatch(`${error.message} ${error.cause}`, PASSWORD, 'no password in an error')
  return error
}

const paid = (n: number): Changes => ({
  ...f.EMPTY,
  sessions: [f.sessionNumber(n, { credit: BigInt(n) })],
  journal: [f.entryNumber(n)],
})

t.test('conformance', (t) => storeConformance(t, bed))

t.test('radacct', async (t) => {
  await radacct(t, await bed(t))
  const table = /CREATE TABLE IF NOT EXISTS radacct[\s\S]*?\n\);/.exec(
    readFileSync(FREERADIUS_SCHEMA, 'utf8'),
  )
  await postgres.sql(`CREATE SCHEMA IF NOT EXISTS freeradius; SET search_path = freeradius;
    ${table?.[0]}`)
  const columns = (schema: string) =>
    postgres.sql(`SELECT column_name, data_type FROM information_schema.columns
      WHERE table_schema = '${schema}' AND table_name = 'radacct' ORDER BY ordinal_position`)
  t.same(await columns('public'), await columns('freeradius'), 'names, types and their order')
  const bad = { ...f.PLACE, nasIpAddress: 'no address', address: '' }
  const store = await open()
  await store.commit({ ...f.EMPTY, sessions: [f.sessionNumber(99, { place: bad })] })
  const rows = await postgres.sql(
    `SELECT nasipaddress FROM radacct WHERE acctuniqueid = '${f.sessionId(99)}'`,
  )
  t.same(rows, [{ nasipaddress: null }], 'a text that is no address hides no other row')
  await store.close()
})

t.test('the database goes away in the middle, and comes back', async (t) => {
  await emptied()
  const store = await open()
  await store.commit(paid(1))
  await postgres.crash()
  const error = await errorOf(store.commit(paid(2)))
  t.match(error, { code: 'unreachable', message: /^PostgreSQL 127\.0\.0\.1:\d+\/datanet / })
  t.match(await errorOf(store.load(0)), { code: 'unreachable' })
  await postgres.start()
  await store.commit(paid(2))
  await store.commit(paid(3))
  const entries = await store.journal({ limit: 9 })
  t.same(
    entries.map(({ amount }) => amount),
    [3n, 2n, 1n],
    'nothing is missing, nothing is there twice',
  )
  t.equal((await store.load(0)).sessions.length, 3)
  await store.close()
})

t.test('a commit that was stored, and whose answer was lost, is not stored twice', async (t) => {
  await emptied()
  const proxy = await proxyTo(t, postgres.port)
  const url = new URL(postgres.url)
  url.port = `${proxy.port}`
  const store = await openPostgresStore(`${url}`, { lockWaitMs: 2_000 })
  await store.commit(paid(1))
  const stored = async () =>
    (await postgres.sql('SELECT count(*)::int AS n FROM journal'))[0]?.['n']

  proxy.cutAt('COMMIT', 'from server')
  const changes = paid(2)
  t.match(await errorOf(store.commit(changes)), { code: 'unreachable' })
  t.equal(await stored(), 2, 'stored, and nobody was told')
  await store.commit(changes)
  t.equal(await stored(), 2, 'given again it is known')

  proxy.cutAt('COMMIT', 'to server')
  const next = paid(3)
  t.match(await errorOf(store.commit(next)), { code: 'unreachable' })
  t.equal(await stored(), 2, 'not stored')
  await store.commit(next)
  t.equal(await stored(), 3, 'given again it is')

  proxy.cutAt('COMMIT', 'from server')
  t.match(await errorOf(store.commit(paid(4))), { code: 'unreachable' })
  await store.commit(paid(5))
  const rows = await postgres.sql('SELECT amount::int AS amount FROM journal ORDER BY number')
  t.same(
    rows.map(({ amount }) => amount),
    [1, 2, 3, 4, 5],
    'what was given up stays stored, and the next is another',
  )
  await store.close()
})

t.test('another server wrote while we were away: this one must not go on', async (t) => {
  await emptied()
  const store = await open()
  await store.commit(paid(1))
  await postgres.sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE usename = 'books'`)
  const other = await open()
  t.match(await errorOf(store.commit(paid(2))), { code: 'locked', message: /in use by another/ })
  await other.commit(paid(7))
  await other.close()
  const error = await errorOf(store.commit(paid(2)))
  t.match(error, { code: 'failed', message: /written by another server meanwhile: restart/ })
  t.same(
    (await postgres.sql('SELECT amount::int AS amount FROM journal')).map(({ amount }) => amount),
    [1, 7],
  )
  await store.close()
})

t.test('each way not to get in says what to do', async (t) => {
  await emptied()
  const bad = (edit: (url: URL) => void) => {
    const url = new URL(postgres.url)
    edit(url)
    return errorOf(openPostgresStore(`${url}`, { lockWaitMs: 300 }))
  }
  t.match(await bad((url) => Object.assign(url, { port: '1' })), {
    ...{ code: 'unreachable', message: /ECONNREFUSED.*: start it, or correct storage/ },
  })
  t.match(await bad((url) => Object.assign(url, { pathname: '/none' })), {
    ...{ code: 'unreachable', message: /has no such database .*"none".*: create it/ },
  })
  t.match(await bad((url) => Object.assign(url, { username: 'nobody' })), {
    ...{ code: 'unreachable', message: /refused us .*: correct the user and password/ },
  })
  t.match(await bad((url) => Object.assign(url, { password: 'wrong' })), {
    ...{ code: 'unreachable', message: /password authentication failed.*: correct the user and/ },
  })
  t.match(await errorOf(openPostgresStore(`postgres://u:${PASSWORD}@:x:/`)), {
    ...{ code: 'failed', message: /^storage is no URL as postgres:/ },
  })
  await postgres.sql('ALTER SCHEMA public OWNER TO postgres')
  t.match(await errorOf(open()), { code: 'failed', message: /make the user the owner/ })
  await emptied()
  await postgres.sql('ALTER DATABASE datanet SET default_transaction_read_only = on')
  t.match(await errorOf(open()), { code: 'failed', message: /is read-only .*name the primary/ })
  await postgres.sql('ALTER DATABASE datanet RESET default_transaction_read_only', 'postgres')
  const store = await open()
  await store.close()
})

t.test('a cluster that loses commits with the power is refused or corrected', async (t) => {
  await emptied()
  await postgres.sql('ALTER DATABASE datanet SET synchronous_commit = off')
  const store = await open()
  await store.commit(paid(1))
  await store.close()
  await postgres.sql('ALTER SYSTEM SET fsync = off')
  await postgres.crash()
  await postgres.start()
  t.match(await errorOf(open()), { code: 'failed', message: /fsync = off, and loses money/ })
  await postgres.sql('ALTER SYSTEM RESET fsync')
  await postgres.crash()
  await postgres.start()
  const again = await open()
  t.equal((await again.load(0)).sessions.length, 1)
  await again.close()
})
