// Keeps a second program away from a directory. The lock is SQLite's own exclusive file lock: the
// kernel releases it when the process ends, also by kill -9, so it can't go stale as a file with a
// process id can. Called by the server, the embedded chain, the payer and the merchant's agent.

import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { ChainError } from './error.ts'

const SQLITE_BUSY = 5

/** A lock that is held until `release` or the end of the process. */
export interface Lock {
  release(): void
}

/** Locks the file, which is made where there is none; throws what `taken` makes of another's. */
export function lockFile(path: string, taken: (cause: unknown) => Error): Lock {
  const database = new DatabaseSync(path, { timeout: 0 })
  try {
    database.exec('BEGIN EXCLUSIVE')
  } catch (cause) {
    database.close()
    throw (cause as { errcode?: unknown }).errcode === SQLITE_BUSY ? taken(cause) : cause
  }
  return { release: () => database.close() }
}

/** Locks `directory` for one server or chain; throws 'chain-directory-in-use'. */
export function lockDirectory(directory: string): Lock {
  const text = `another server is using ${directory}; stop it, or choose another --data directory`
  return lockFile(
    join(directory, 'lock'),
    (cause) => new ChainError('chain-directory-in-use', text, { cause }),
  )
}
