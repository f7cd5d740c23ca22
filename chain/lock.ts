// Keeps a second server away from a directory. The lock is SQLite's own exclusive file lock: the
// kernel releases it when the process ends, also by kill -9, so it can't go stale as a file with a
// process id can.

import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { ChainError } from './error.ts'

const SQLITE_BUSY = 5

/** Locks `directory` until `release` or the end of the process; throws 'chain-directory-in-use'. */
export function lockDirectory(directory: string): { release(): void } {
  const database = new DatabaseSync(join(directory, 'lock'), { timeout: 0 })
  try {
    database.exec('BEGIN EXCLUSIVE')
  } catch (cause) {
    database.close()
    if ((cause as { errcode?: unknown }).errcode !== SQLITE_BUSY) throw cause
    const text = `another server is using ${directory}; stop it, or choose another --data directory`
    throw new ChainError('chain-directory-in-use', text, { cause })
  }
  return { release: () => database.close() }
}
