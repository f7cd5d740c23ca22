// Keeps the mirror's entries and head over a restart, in the server's SQLite file. Everything in it
// can be had again from the chain: a store that is of another chain or contract is emptied, not
// repaired.

import { DatabaseSync } from 'node:sqlite'
import { type Address, parseAddress } from '../ethereum/address.ts'
import type { BlockRef, Change, DeviceKeyStatus } from './mirror-state.ts'

/** Which contract on which chain; `deployHash` tells two chains with one id and address apart. */
export interface MirrorIdentity {
  readonly chainId: bigint
  readonly contract: Address
  readonly deployBlock: number
  readonly deployHash: string
}

/**
 * Where the mirror is kept. All calls are synchronous and durable when they return; they throw on a
 * full disk.
 */
export interface MirrorStore {
  /** What was saved for this identity; undefined where nothing was. */
  load(identity: MirrorIdentity): { head: BlockRef; entries: Iterable<Change> } | undefined
  /** Adds to what is there. */
  save(head: BlockRef | undefined, changes: Iterable<Change>): void
  /** Puts this in the place of everything. */
  replace(identity: MirrorIdentity, head: BlockRef | undefined, entries: Iterable<Change>): void
  close(): void
}

const SCHEMA = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  CREATE TABLE IF NOT EXISTS mirror_head (
    one INTEGER PRIMARY KEY CHECK (one = 1), identity TEXT NOT NULL, number INTEGER, hash TEXT
  ) STRICT;
  CREATE TABLE IF NOT EXISTS mirror_entry (
    kind TEXT NOT NULL, owner TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (kind, owner, name)
  ) STRICT, WITHOUT ROWID;
`

/**
 * Opens (and makes) the tables in the SQLite file at `path`; other tables in it are not touched.
 */
export function openMirrorStore(path: string): MirrorStore {
  const database = new DatabaseSync(path, { timeout: 5_000 })
  database.exec(SCHEMA)
  const readHead = database.prepare('SELECT identity, number, hash FROM mirror_head')
  const readEntries = database.prepare('SELECT kind, owner, name, value FROM mirror_entry')
  const clear = database.prepare('DELETE FROM mirror_entry')
  const begin = database.prepare('INSERT OR REPLACE INTO mirror_head VALUES (1, ?, ?, ?)')
  const move = database.prepare('UPDATE mirror_head SET number = ?, hash = ?')
  const put = database.prepare('INSERT OR REPLACE INTO mirror_entry VALUES (?, ?, ?, ?)')
  const remove = database.prepare(
    'DELETE FROM mirror_entry WHERE kind = ? AND owner = ? AND name = ?',
  )

  function putAll(changes: Iterable<Change>): void {
    for (const change of changes) {
      const { owner, name, value } = rowOf(change)
      if (value === undefined) remove.run(change.kind, owner, name)
      else put.run(change.kind, owner, name, value)
    }
  }

  function inTransaction(work: () => void): void {
    database.exec('BEGIN IMMEDIATE')
    try {
      work()
      database.exec('COMMIT')
    } catch (error) {
      if (database.isTransaction) database.exec('ROLLBACK')
      throw error
    }
  }

  return {
    load(identity) {
      const row = readHead.get()
      const { number, hash } = row ?? {}
      if (row?.['identity'] !== identityText(identity)) return undefined
      if (typeof number !== 'number' || typeof hash !== 'string') return undefined
      return { head: { number, hash }, entries: readEntries.all().map(entryOf) }
    },
    save(head, changes) {
      inTransaction(() => {
        putAll(changes)
        move.run(head?.number ?? null, head?.hash ?? null)
      })
    },
    replace(identity, head, entries) {
      inTransaction(() => {
        clear.run()
        putAll(entries)
        begin.run(identityText(identity), head?.number ?? null, head?.hash ?? null)
      })
    },
    close: () => database.close(),
  }
}

/**
 * Version 2 of the rows (channels with pending shifts); a later layout changes the number, and
 * thereby empties the store.
 */
function identityText(identity: MirrorIdentity): string {
  const { chainId, contract, deployBlock, deployHash } = identity
  return `2|${chainId}|${contract}|${deployBlock}|${deployHash}`
}

function rowOf(change: Change): { owner: string; name: string; value: string | undefined } {
  // Amounts have up to 128 bits, more than SQLite's integers and JSON's numbers hold: decimal text.
  const text = (value: unknown): string | undefined =>
    value === undefined
      ? undefined
      : JSON.stringify(value, (_, part) => (typeof part === 'bigint' ? `${part}` : part))
  const value = text(change.value)
  switch (change.kind) {
    case 'channel':
      return { owner: change.account, name: `${change.operatorId}`, value }
    case 'operator':
      return { owner: '', name: `${change.operatorId}`, value }
    case 'device-key':
      return { owner: change.account, name: change.spkiSha256, value }
  }
}

function entryOf(row: Record<string, unknown>): Change {
  const { kind, name } = row
  const value = JSON.parse(String(row['value']))
  if (kind === 'operator') return { kind, operatorId: Number(name), value }
  const account = parseAddress(String(row['owner']))
  if (account === undefined) throw new Error('the mirror store holds an entry of no account')
  if (kind === 'device-key') {
    return { kind, account, spkiSha256: String(name), value: value as DeviceKeyStatus }
  }
  const channel = {
    deposit: BigInt(value.deposit),
    reserved: BigInt(value.reserved),
    highestVoucher: BigInt(value.highestVoucher),
    withdrawn: BigInt(value.withdrawn),
    pendingShift: BigInt(value.pendingShift),
  }
  return { kind: 'channel', operatorId: Number(name), account, value: channel }
}
