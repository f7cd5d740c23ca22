// Two tables of a merchant's store that stand by themselves: single values, and what was read of
// the contract's events. Owns the rule that a view is written by one program only. Called by
// store.ts.

import type { DatabaseSync } from 'node:sqlite'
import type { ViewStore } from '../chain/payplace-facts.ts'
import { DeviceError } from '../device/error.ts'

/** Runs the work whole or not at all. */
export type Transaction = <Value>(work: () => Value) => Value

/** The table of single values. */
export function metaOf(database: DatabaseSync) {
  const read = database.prepare('SELECT value FROM meta WHERE name = ?')
  const put = database.prepare('INSERT OR REPLACE INTO meta VALUES (?, ?)')
  return {
    get: (name: string): unknown => read.get(name)?.['value'],
    set: (name: string, value: number | Uint8Array) => void put.run(name, value),
    /** Of a block; empty where there is none. */
    root: (name: 'root' | 'pending'): Buffer =>
      bytesOf(read.get(name)?.['value'] ?? new Uint8Array(0)),
  }
}

/** The chain view's entries; of two programs on the file only one goes on writing them. */
export function viewStore(database: DatabaseSync, transaction: Transaction): ViewStore {
  const rows = database.prepare('SELECT name, value FROM view')
  const put = database.prepare('INSERT OR REPLACE INTO view VALUES (?, ?)')
  const remove = database.prepare('DELETE FROM view WHERE name = ?')
  const meta = metaOf(database)
  const writes = (): number => Number(meta.get('view') ?? 0)
  let seen = writes()
  return {
    load: () =>
      transaction(() => {
        seen = writes()
        return rows.all().map((row) => [String(row['name']), bytesOf(row['value'])] as const)
      }),
    write(entries, anew) {
      const isWritten = transaction(() => {
        // Changes are to what was loaded: upon what another program wrote since, they would count
        // payments twice. What it wrote stays; the rest can be read from the chain again.
        if (writes() !== seen) return false
        if (anew) database.exec('DELETE FROM view')
        for (const [name, value] of entries) {
          if (value === undefined) remove.run(name)
          else put.run(name, value)
        }
        meta.set('view', seen + 1)
        return true
      })
      if (isWritten) seen += 1
    },
  }
}

/** SQLite gives a Uint8Array; the rest of the program speaks Buffer. */
export function bytesOf(value: unknown): Buffer {
  if (!(value instanceof Uint8Array)) throw new DeviceError('damaged', 'the store is damaged')
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
}
