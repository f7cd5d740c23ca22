// Keeps what the notary has read of the contract's events over a restart, in a SQLite file of its
// own: on a public chain reading them all again takes minutes. Everything in it can be had from the
// chain, so nothing is synced; what is of another contract is emptied. Made by notary-side.ts.

import { rmSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import type { ViewStore } from '../chain/payplace-facts.ts'

/** A store that has a file to close. */
export interface OpenViewStore extends ViewStore {
  close(): void
}

/** Version 1 of the rows: those of another one are not read. */
const VERSION = 1
const SCHEMA = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = OFF;
  CREATE TABLE IF NOT EXISTS view_identity (
    one INTEGER PRIMARY KEY CHECK (one = 1), identity TEXT NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS view_entry (name TEXT PRIMARY KEY, value BLOB NOT NULL)
    STRICT, WITHOUT ROWID;
`

/** SQLITE_CORRUPT and SQLITE_NOTADB. */
const DAMAGED: ReadonlySet<unknown> = new Set([11, 26])

/** An open database that is whole. As nothing is synced, a power cut may have damaged the file. */
function openWhole(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: 5_000 })
  try {
    database.exec(SCHEMA)
    const found = database.prepare('PRAGMA quick_check(1)').get()?.['quick_check']
    if (found !== 'ok') throw Object.assign(new Error(String(found)), { errcode: 11 })
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

function openAnew(path: string): DatabaseSync {
  for (const end of ['', '-wal', '-shm']) rmSync(`${path}${end}`, { force: true })
  return openWhole(path)
}

/**
 * `identity` names chain, contract and operator. A damaged file is made anew, as all of it can be
 * read again from the chain. Throws SQLite's other errors.
 */
export function openViewStore(path: string, identity: string): OpenViewStore {
  let database: DatabaseSync
  try {
    database = openWhole(path)
  } catch (error) {
    if (!(error instanceof Error && 'errcode' in error && DAMAGED.has(error.errcode))) throw error
    database = openAnew(path)
  }
  const clear = database.prepare('DELETE FROM view_entry')
  const put = database.prepare('INSERT OR REPLACE INTO view_entry VALUES (?, ?)')
  const remove = database.prepare('DELETE FROM view_entry WHERE name = ?')
  const mine = `${VERSION}|${identity}`
  const found = database.prepare('SELECT identity FROM view_identity').get()?.['identity']
  if (found !== mine) {
    clear.run()
    database.prepare('INSERT OR REPLACE INTO view_identity VALUES (1, ?)').run(mine)
  }
  return {
    load: () =>
      database
        .prepare('SELECT name, value FROM view_entry')
        .all()
        .map(({ name, value }) => [String(name), value as Uint8Array] as const),
    write(entries, anew) {
      database.exec('BEGIN IMMEDIATE')
      try {
        if (anew) clear.run()
        for (const [name, value] of entries) {
          if (value === undefined) remove.run(name)
          else put.run(name, value)
        }
        database.exec('COMMIT')
      } catch (error) {
        if (database.isTransaction) database.exec('ROLLBACK')
        throw error
      }
    },
    close: () => database.close(),
  }
}
