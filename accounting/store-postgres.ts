// The durable store in a PostgreSQL database. One server writes: an advisory lock says so, and the
// number of the last commit tells whether another one wrote meanwhile. Owns its tables and their
// migrations; connects again by itself on the next commit after the connection was lost. Made by
// server/, written by committer.ts alone.

import pg from 'pg'
import { debtOf } from './rating.ts'
import type { Changes } from './session.ts'
import { type Storage, StorageError } from './storage.ts'
import {
  connectWriter,
  endWriter,
  newClient,
  type PostgresOptions,
  placeOf,
  postgresError,
  settings,
  type Writer,
} from './store-postgres-connection.ts'
import { type Merge, pruneBy } from './store-prune.ts'
import { type Query, storeReader } from './store-read.ts'
import { commitRows, factsTable, type TableRows, type Value } from './store-rows.ts'
import { migrations, newerSchema, POSTGRES, VERSION_TABLE } from './store-schema.ts'
import { createStoredSessions } from './stored-sessions.ts'

/** Connections for questions of the operator and of accounts that are not in memory. */
const READERS = 2

const ARRAY_TYPES = { text: 'text[]', integer: 'bigint[]', amount: 'numeric[]' }

/** All rows of a table in one statement: a column is one array parameter. */
function insertSql({ table }: TableRows): string {
  const names = table.columns.map(([name]) => name)
  const arrays = table.columns.map(([, type], index) => `$${index + 1}::${ARRAY_TYPES[type]}`)
  const insert = `INSERT INTO ${table.name} (${names}) SELECT * FROM unnest(${arrays})`
  if (table.key.length === 0) return insert
  const sets = names.filter((name) => !table.key.includes(name))
  const replaced = sets.map((name) => `${name} = excluded.${name}`)
  return `${insert} ON CONFLICT (${table.key}) DO UPDATE SET ${replaced}`
}

/** One statement, and so one transaction. */
const MERGE_SQL = `WITH gone AS (DELETE FROM journal WHERE number = ANY($1))
  UPDATE journal SET amount = kept.amount, voucher = kept.voucher
  FROM unnest($2::bigint[], $3::numeric[], $4::numeric[]) AS kept (number, amount, voucher)
  WHERE journal.number = kept.number`

/** Rows to columns. */
function columnsOf({ table, rows }: TableRows): Value[][] {
  return table.columns.map((_, index) => rows.map((row) => row[index] ?? null))
}

/** `?` in the order they stand to PostgreSQL's `$1`, `$2`, … */
function numbered(sql: string): string {
  let count = 0
  return sql.replace(/\?/g, () => `$${++count}`)
}

async function inTransaction(client: pg.Client, work: () => Promise<void>): Promise<void> {
  await client.query('BEGIN')
  await work()
  await client.query('COMMIT')
}

async function migrate(client: pg.Client): Promise<void> {
  await client.query(VERSION_TABLE)
  const { rows } = await client.query('SELECT max(version) AS version FROM schema_version')
  const version = Number(rows[0]?.version ?? 0)
  const steps = migrations(POSTGRES)
  if (version > steps.length) throw newerSchema(placeOf(client), version, steps.length)
  for (const [index, statements] of steps.entries()) {
    if (index < version) continue
    await inTransaction(client, async () => {
      for (const statement of statements) await client.query(statement)
      await client.query('INSERT INTO schema_version VALUES ($1)', [index + 1])
    })
  }
}

/** The number of the last commit, and the connection it came by. */
async function readHead(client: pg.Client): Promise<{ commits: number; writer: string }> {
  const { rows } = await client.query('SELECT commits, writer FROM store_head')
  return { commits: Number(rows[0]?.commits), writer: String(rows[0]?.writer) }
}

async function openWriter(url: string, o: PostgresOptions) {
  const writer = await connectWriter(url, o)
  try {
    await migrate(writer.client)
    return { writer, head: await readHead(writer.client) }
  } catch (error) {
    await endWriter(writer.client)
    throw postgresError(error, placeOf(writer.client))
  }
}

/**
 * Opens (and makes, and migrates) the store in the database of `url`. Throws StorageError where it
 * can't be reached or another server uses it.
 */
export async function openPostgresStore(url: string, o: PostgresOptions = {}): Promise<Storage> {
  const place = placeOf(newClient(url, o))
  const opened = await openWriter(url, o)
  const facts = factsTable(debtOf)
  const known = createStoredSessions()
  const pool = new pg.Pool({ ...settings(url, o), max: READERS })
  // An idle connection that breaks is replaced at the next question.
  pool.on('error', () => {})
  let writer: Writer | undefined = opened.writer
  let commits = opened.head.commits
  // A commit whose answer was lost: stored or not, as the next connection will find.
  let unknown: { readonly changes: Changes; readonly writer: string } | undefined
  let tail: Promise<unknown> = Promise.resolve()

  async function guarded<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw postgresError(error, place)
    }
  }

  /** One after the other: a transaction has the connection for itself. */
  function exclusive<T>(work: () => Promise<T>): Promise<T> {
    const result = tail.then(() => guarded(work))
    tail = result.catch(() => {})
    return result
  }

  async function dropWriter(): Promise<void> {
    const dropped = writer
    writer = undefined
    if (dropped !== undefined) await endWriter(dropped.client)
  }

  async function connected(): Promise<Writer> {
    if (writer !== undefined && !writer.isLost()) return writer
    await dropWriter()
    const fresh = await connectWriter(url, o)
    writer = fresh
    const head = await readHead(fresh.client)
    const isOurs = head.commits === commits + 1 && head.writer === unknown?.writer
    if (!isOurs && head.commits !== commits) {
      await dropWriter()
      const text = `${place} was written by another server meanwhile: restart this one`
      throw new StorageError('failed', text)
    }
    if (isOurs) commits = head.commits
    else unknown = undefined
    return fresh
  }

  async function write({ client, id }: Writer, changes: Changes, tables: TableRows[]) {
    await client.query('BEGIN')
    for (const rows of tables) {
      const name = `put-${rows.table.name}`
      await client.query({ name, text: insertSql(rows), values: columnsOf(rows) })
    }
    const head = 'UPDATE store_head SET commits = $1, writer = $2'
    await client.query({ name: 'head', text: head, values: [commits + 1, id] })
    unknown = { changes, writer: id }
    await client.query('COMMIT')
    unknown = undefined
    commits += 1
  }

  async function commit(changes: Changes): Promise<void> {
    const tables = commitRows(changes, facts, known)
    if (tables.length === 0) return
    const connection = await connected()
    // What is left unknown after connecting turned out to be stored.
    const stored = unknown?.changes
    unknown = undefined
    if (stored === changes) return known.note(changes.sessions)
    try {
      await write(connection, changes, tables)
      known.note(changes.sessions)
    } catch (error) {
      await dropWriter()
      throw error
    }
  }

  const query: Query = (sql, parameters) =>
    guarded(async () => (await pool.query(numbered(sql), [...parameters])).rows)

  // Beside the writer: nothing that a commit writes is touched.
  async function removeRecords(numbers: readonly number[]): Promise<void> {
    await guarded(() => pool.query('DELETE FROM records WHERE number = ANY($1)', [numbers]))
  }

  async function mergeEntries(merges: readonly Merge[]): Promise<void> {
    const removed = merges.flatMap((merge) => merge.removed)
    const columns = [
      merges.map(({ keep }) => keep),
      merges.map(({ amount }) => `${amount}`),
      merges.map(({ voucher }) => `${voucher}`),
    ]
    await guarded(() => pool.query(MERGE_SQL, [removed, ...columns]))
  }

  return {
    ...storeReader(query),
    commit: (changes) => exclusive(() => commit(changes)),
    prune: (...before) => pruneBy({ query, removeRecords, mergeEntries }, ...before),
    async close() {
      await tail
      await dropWriter()
      await pool.end()
    },
  }
}
