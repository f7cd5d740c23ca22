// The one connection that writes to PostgreSQL, and what its errors mean. Owns connecting, the
// advisory lock that keeps a second server out, and the texts that say what to do; a password never
// reaches one. Refuses a server that would not keep a commit over a power failure. Called by
// store-postgres.ts.

import pg from 'pg'
import { StorageError } from './storage.ts'

/** Where and how long. */
export interface PostgresOptions {
  /**
   * How long to wait for another server to let go of the store: our own last process may be dying.
   */
  readonly lockWaitMs?: number
  /** How long one statement may take before the connection counts as lost. */
  readonly statementMs?: number
}

/** A connection that holds the lock. */
export interface Writer {
  readonly client: pg.Client
  /** Tells this connection from every other one, also of another server. */
  readonly id: string
  /** The server ended it, or it broke. */
  readonly isLost: () => boolean
}

const CONNECT_MS = 5_000
const STATEMENT_MS = 15_000
const LOCK_WAIT_MS = 5_000
/** How long the end of a connection that failed is waited for: the lock goes with it. */
const END_MS = 1_000
/**
 * "Data", so that another program's advisory locks are none of ours; the second word: the schema.
 */
const LOCK_SQL = `SELECT pg_advisory_lock(1147237473, hashtext(coalesce(current_schema(), '')))`

const UNREACHABLE =
  /^(ECONN|ENOTFOUND|ENOENT|EAI_|EHOST|ENET|ETIMEDOUT|EPIPE|EACCES)|^08|^57P0|^53300$/
const REFUSED = /^28/

/** Where it is, for people: no user, no password. */
export function placeOf({ host, port, database }: pg.Client): string {
  return `PostgreSQL ${host.startsWith('/') ? host : `${host}:${port}`}/${database ?? ''}`
}

/** What went wrong, and what to do. */
export function postgresError(error: unknown, place: string): StorageError {
  if (error instanceof StorageError) return error
  const { code = '', message = String(error) } = error as { code?: string; message?: string }
  // An AggregateError of every address that was tried has no text of its own.
  const why = message === '' ? code : message
  const as = (kind: StorageError['code'], text: string) =>
    new StorageError(kind, `${place} ${text}`, { cause: error })
  if (REFUSED.test(code)) {
    return as('unreachable', `refused us (${why}): correct the user and password in storage`)
  }
  if (code === '3D000') return as('unreachable', `has no such database (${why}): create it`)
  if (code === '53100') return as('disk-full', 'has no space left: free some on its disk')
  if (code === '42501' || code === '3F000')
    return as('failed', `(${why}): make the user the owner of the database`)
  if (code === '25006') return as('failed', `is read-only (${why}): name the primary server`)
  if (/^(55P03|40P01|40001)$/.test(code)) {
    return as('locked', `is locked by another program (${why}): end what writes to it`)
  }
  // The driver's own errors of a connection that broke have no code.
  const isLost = /terminated|timeout|closed|not queryable|Connection/i.test(message)
  if (UNREACHABLE.test(code) || (code === '' && isLost)) {
    return as('unreachable', `can't be reached (${why}): start it, or correct storage`)
  }
  return as('failed', `failed: ${why}`)
}

/** A client that is not connected yet; throws StorageError where the URL is none. */
export function newClient(url: string, o: PostgresOptions): pg.Client {
  try {
    return new pg.Client(settings(url, o))
  } catch {
    // The error would show the URL, and the password in it.
    throw new StorageError('failed', 'storage is no URL as postgres://user:password@host/database')
  }
}

/** How every connection of ours is made. */
export function settings(url: string, o: PostgresOptions): pg.ClientConfig {
  return {
    connectionString: url,
    application_name: 'datanet',
    connectionTimeoutMillis: CONNECT_MS,
    query_timeout: o.statementMs ?? STATEMENT_MS,
    keepAlive: true,
  }
}

async function takeLock(client: pg.Client, lockWaitMs: number): Promise<void> {
  await client.query(`SET lock_timeout = ${lockWaitMs}`)
  try {
    await client.query(LOCK_SQL)
  } catch (cause) {
    if ((cause as { code?: unknown }).code !== '55P03') throw cause
    const text = `${placeOf(client)} is in use by another server: stop that one first`
    throw new StorageError('locked', text, { cause })
  }
}

/** A commit that is answered must be on the disk, whatever the cluster's defaults are. */
async function demandDurability(client: pg.Client): Promise<void> {
  const { rows } = await client.query(
    `SELECT current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS sync`,
  )
  if (rows[0]?.fsync !== 'on') {
    const text = `${placeOf(client)} runs with fsync = off, and loses money with the power`
    throw new StorageError('failed', `${text}: set fsync = on in postgresql.conf`)
  }
  if (rows[0]?.sync === 'off') await client.query('SET synchronous_commit = on')
}

/** Connects and takes the lock; throws StorageError. */
export async function connectWriter(url: string, o: PostgresOptions): Promise<Writer> {
  const client = newClient(url, o)
  let lost = false
  client.on('error', () => {
    lost = true
  })
  client.on('end', () => {
    lost = true
  })
  try {
    await client.connect()
    await takeLock(client, o.lockWaitMs ?? LOCK_WAIT_MS)
    await demandDurability(client)
    const { rows } = await client.query(
      `SELECT pid || ' ' || backend_start AS id FROM pg_stat_activity WHERE pid = pg_backend_pid()`,
    )
    return { client, id: String(rows[0]?.id), isLost: () => lost }
  } catch (error) {
    await endWriter(client)
    throw postgresError(error, placeOf(client))
  }
}

/** Ends a connection, of which nothing is known any more; the lock is free when it is over. */
export async function endWriter(client: pg.Client): Promise<void> {
  const over = new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, END_MS)
    timer.unref()
    client
      .end()
      .catch(() => {})
      .finally(() => {
        clearTimeout(timer)
        resolve()
      })
  })
  await over
}
