// The store in SQLite: what every store does, and what only a file can suffer.

import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import t, { type Test } from 'tap'
import { StorageError } from '../../accounting/storage.ts'
import { openSqliteStore } from '../../accounting/store-sqlite.ts'
import type { StoreBed } from './store-bed.ts'
import { storeConformance } from './store-conformance.ts'
import * as f from './store-fixtures.ts'
import { radacct } from './store-radacct.ts'

const directory = mkdtempSync(join(tmpdir(), 'datanet-books-'))
t.teardown(() => rmSync(directory, { recursive: true, force: true }))
let count = 0
const newPath = () => join(directory, `${++count}.sqlite`)

/** Integers that fit a number as numbers: the largest of the view don't. */
function plainRow(row: Record<string, unknown>): Record<string, unknown> {
  const entries = Object.entries(row).map(([name, value]) => {
    const fits = typeof value === 'bigint' && value <= BigInt(Number.MAX_SAFE_INTEGER)
    return [name, fits ? Number(value) : value]
  })
  return Object.fromEntries(entries)
}

async function bed(_: Test): Promise<StoreBed> {
  const path = newPath()
  return {
    open: () => openSqliteStore(path),
    async sql(text) {
      const database = new DatabaseSync(path)
      try {
        const statement = database.prepare(text)
        statement.setReadBigInts(true)
        return statement.all().map(plainRow)
      } finally {
        database.close()
      }
    },
  }
}

const errorOf = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  )

t.test('conformance', (t) => storeConformance(t, bed))
t.test('radacct, as FreeRADIUS has it', async (t) => radacct(t, await bed(t)))

t.test('a store in memory', async (t) => {
  const store = await openSqliteStore(':memory:')
  await store.commit({ ...f.EMPTY, sessions: [f.sessionNumber(1)] })
  t.equal((await store.load(0)).sessions.length, 1)
  await store.close()
  t.notOk(existsSync(':memory:.lock'))
})

t.test(
  'the log is synced at every commit, and a program that reads disturbs nothing',
  async (t) => {
    const path = newPath()
    const store = await openSqliteStore(path)
    const reader = new DatabaseSync(path, { readOnly: true })
    t.same({ ...reader.prepare('PRAGMA journal_mode').get() }, { journal_mode: 'wal' })
    reader.exec('BEGIN')
    reader.prepare('SELECT count(*) FROM sessions').get()
    await store.commit({ ...f.EMPTY, sessions: [f.sessionNumber(1)] })
    const seen = reader.prepare('SELECT count(*) AS n FROM radacct').get()
    t.same({ ...seen }, { n: 0 }, 'it sees what there was when it began')
    reader.close()
    await store.close()
  },
)

t.test('another program holds the file: locked, and then not', async (t) => {
  const path = newPath()
  const store = await openSqliteStore(path)
  const other = new DatabaseSync(path)
  other.exec('BEGIN IMMEDIATE')
  const changes = { ...f.EMPTY, sessions: [f.sessionNumber(1)] }
  const error = await errorOf(store.commit(changes))
  t.ok(error instanceof StorageError)
  t.match(error, { code: 'locked', message: /is locked by another program .*: end what writes/ })
  other.exec('ROLLBACK')
  await store.commit(changes)
  t.equal((await store.load(0)).sessions.length, 1)
  other.close()
  await store.close()
})

t.test('files that are no store', async (t) => {
  const text = newPath()
  writeFileSync(text, 'this is no database, and long enough for its header '.repeat(40))
  t.match(await errorOf(openSqliteStore(text)), {
    ...{ name: 'StorageError', code: 'failed' },
    message: /is damaged \(file is not a database\): put a backup in its place/,
  })
  t.match(await errorOf(openSqliteStore(join(directory, 'none', 'a.sqlite'))), {
    ...{ name: 'StorageError', code: 'failed', message: /can't be opened .* folder must exist/ },
  })
  const lost = newPath()
  await (await openSqliteStore(lost)).close()
  const { size } = statSync(lost)
  writeFileSync(lost, Buffer.alloc(size - 4_096, 7), { flag: 'r+' })
  t.match(await errorOf(openSqliteStore(lost)), { code: 'failed', message: /is damaged/ })
})
