// The durable store in one SQLite file, through Node's own driver. Owns the file, its lock and its
// migrations; one process writes, others may read (tools that know `radacct`). Refuses a file of a
// newer schema and a file another server has open. Made by server/, written by committer.ts alone.

import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { debtOf } from './rating.ts'
import { type Storage, StorageError } from './storage.ts'
import { type Merge, pruneBy } from './store-prune.ts'
import { type Query, type Row, storeReader } from './store-read.ts'
import { commitRows, factsTable, type TableRows, type Value } from './store-rows.ts'
import { migrations, newerSchema, SQLITE, VERSION_TABLE } from './store-schema.ts'
import { createStoredSessions } from './stored-sessions.ts'

/**
 * How long a statement waits for another process that holds the file. SQLite waits by sleeping, and
 * the whole server with it; the committer tries again later anyway.
 */
const BUSY_MS = 50
/** After a checkpoint the log is cut back to this, should a long reader have made it large. */
const LOG_BYTES = 16 * 1024 * 1024
/** Pages of the sessions that are open stay in memory: some 20,000 of them. */
const CACHE_KIB = 32 * 1024

// Result codes of sqlite3.h; extended ones carry them in the low byte.
const [PERM, BUSY, LOCKED, READONLY, IOERR, CORRUPT, FULL, CANTOPEN, NOTADB] = [
  ...[3, 5, 6, 8, 10, 11, 13, 14, 26],
]

/**
 * Changes a row whose indexed columns stay as they are: changes nothing where they don't, or where
 * there is no row. An upsert would write the pages of every index anew, for equal entries.
 */
function updateSql({ table }: TableRows): string {
  const sets = table.columns.map(([name], index) => [name, `?${index + 1}`] as const)
  const fixed = (name: string) => table.key.includes(name) || table.indexed.includes(name)
  const changed = sets.filter(([name]) => !fixed(name)).map(([name, value]) => `${name} = ${value}`)
  const same = sets.filter(([name]) => fixed(name)).map(([name, value]) => `${name} IS ${value}`)
  return `UPDATE ${table.name} SET ${changed} WHERE ${same.join(' AND ')}`
}

function upsertSql({ table }: TableRows): string {
  const names = table.columns.map(([name]) => name)
  const insert = `INSERT INTO ${table.name} (${names}) VALUES (${names.map(() => '?')})`
  if (table.key.length === 0) return insert
  const sets = names.filter((name) => !table.key.includes(name))
  const replaced = sets.map((name) => `${name} = excluded.${name}`)
  return `${insert} ON CONFLICT (${table.key}) DO UPDATE SET ${replaced}`
}

/** What went wrong, and what to do; every text names the file. */
function storageError(error: unknown, path: string): StorageError {
  if (error instanceof StorageError) return error
  const { errcode, message } = error as { errcode?: number; message?: string }
  const why = `${message ?? error}`
  const failed = (text: string) => new StorageError('failed', text, { cause: error })
  switch (errcode === undefined ? undefined : errcode & 0xff) {
    case FULL:
      return new StorageError('disk-full', `${path}: the disk is full: free some space on it`, {
        cause: error,
      })
    case BUSY:
    case LOCKED: {
      const text = `${path} is locked by another program (${why}): end what writes to it`
      return new StorageError('locked', text, { cause: error })
    }
    case READONLY:
    case PERM:
      return failed(`${path} can't be written (${why}): mount it writable, or correct its owner`)
    case CANTOPEN:
      return failed(`${path} can't be opened (${why}): its folder must exist and be writable`)
    case IOERR:
      return failed(`${path}: the disk failed (${why}): see the system's log before going on`)
    case CORRUPT:
    case NOTADB:
      return failed(`${path} is damaged (${why}): put a backup in its place, and its -wal away`)
    default:
      return failed(`${path}: ${why}`)
  }
}

/** The kernel ends this lock with the process, also by kill -9. */
function lockOut(path: string): DatabaseSync | undefined {
  if (path === ':memory:') return undefined
  const lock = new DatabaseSync(`${path}.lock`, { timeout: 0 })
  try {
    lock.exec('BEGIN EXCLUSIVE')
  } catch (cause) {
    lock.close()
    const busy = (cause as { errcode?: unknown }).errcode === BUSY
    if (!busy) throw cause
    const text = `${path} is in use by another server: stop that one, or give this one its own`
    throw new StorageError('locked', text, { cause })
  }
  return lock
}

function inTransaction(database: DatabaseSync, work: () => void): void {
  database.exec('BEGIN IMMEDIATE')
  try {
    work()
    database.exec('COMMIT')
  } catch (error) {
    // Some errors have ended the transaction already (sqlite.org, lang_transaction §3.1).
    if (database.isTransaction) database.exec('ROLLBACK')
    throw error
  }
}

/** Brings the tables to this program's version. */
function migrate(database: DatabaseSync, path: string): void {
  database.exec(VERSION_TABLE)
  const found = database.prepare('SELECT max(version) AS version FROM schema_version').get()
  const version = Number(found?.['version'] ?? 0)
  const steps = migrations(SQLITE)
  if (version > steps.length) throw newerSchema(path, version, steps.length)
  for (const [index, statements] of steps.entries()) {
    if (index < version) continue
    inTransaction(database, () => {
      for (const statement of statements) database.exec(statement)
      database.prepare('INSERT INTO schema_version VALUES (?)').run(index + 1)
    })
  }
}

function openDatabase(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: BUSY_MS, enableForeignKeyConstraints: true })
  try {
    // FULL: in WAL mode only this syncs the log at each commit, so that a power failure takes none.
    database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
      PRAGMA cache_size = -${CACHE_KIB}; PRAGMA journal_size_limit = ${LOG_BYTES}`)
    migrate(database, path)
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

function openBoth(path: string): { database: DatabaseSync; unlock(): void } {
  let lock: DatabaseSync | undefined
  try {
    lock = lockOut(path)
    return { database: openDatabase(path), unlock: () => lock?.close() }
  } catch (error) {
    lock?.close()
    throw storageError(error, path)
  }
}

/**
 * Opens (and makes, and migrates) the store at `path`; `:memory:` is one that ends with close().
 */
export async function openSqliteStore(path: string): Promise<Storage> {
  const { database, unlock } = openBoth(path)
  const facts = factsTable(debtOf)
  const stored = createStoredSessions()
  const prepared = new Map<string, StatementSync>()

  function statement(sql: string): StatementSync {
    const known = prepared.get(sql)
    if (known !== undefined) return known
    const made = database.prepare(sql)
    prepared.set(sql, made)
    return made
  }

  function guarded<T>(work: () => T): T {
    try {
      return work()
    } catch (error) {
      throw storageError(error, path)
    }
  }

  const query: Query = async (sql, parameters) =>
    guarded(() => statement(sql).all(...parameters) as Row[])
  const writers = new Map<string, (values: readonly Value[]) => void>()

  function writerOf(rows: TableRows): (values: readonly Value[]) => void {
    const insert = database.prepare(upsertSql(rows))
    if (rows.table.indexed.length === 0) return (values) => insert.run(...values)
    const update = database.prepare(updateSql(rows))
    return (values) => {
      if (update.run(...values).changes === 0) insert.run(...values)
    }
  }

  function write(rows: TableRows): void {
    const { name } = rows.table
    const writeRow = writers.get(name) ?? writerOf(rows)
    writers.set(name, writeRow)
    rows.rows.forEach(writeRow)
  }

  async function removeRecords(numbers: readonly number[]): Promise<void> {
    const remove = statement('DELETE FROM records WHERE number IN (SELECT value FROM json_each(?))')
    guarded(() => remove.run(JSON.stringify(numbers)))
  }

  async function mergeEntries(merges: readonly Merge[]): Promise<void> {
    const keep = statement('UPDATE journal SET amount = ?, voucher = ? WHERE number = ?')
    const remove = statement('DELETE FROM journal WHERE number IN (SELECT value FROM json_each(?))')
    const merge = ({ amount, voucher, ...rows }: Merge): void => {
      keep.run(`${amount}`, `${voucher}`, rows.keep)
      remove.run(JSON.stringify(rows.removed))
    }
    guarded(() => inTransaction(database, () => merges.forEach(merge)))
  }

  return {
    ...storeReader(query),
    async commit(changes) {
      const tables = commitRows(changes, facts, stored)
      if (tables.length === 0) return
      guarded(() => inTransaction(database, () => tables.forEach(write)))
      stored.note(changes.sessions)
    },
    prune: (...before) => pruneBy({ query, removeRecords, mergeEntries }, ...before),
    async close() {
      if (database.isOpen) database.close()
      unlock()
    },
  }
}
