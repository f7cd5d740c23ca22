// What a merchant must not lose: which period she signed, the block she last knew, her own part of
// it with its proof, the vouchers that cover it. One SQLite file, durable when a call returns. Owns
// the rule of one signature a period; knows neither chain nor network.

import { DatabaseSync } from 'node:sqlite'
import { deserialize, serialize } from 'node:v8'
import { amountOf, entriesFault } from '../chain/payplace/entries.ts'
import { type BlockIndex, indexBlock, type KnownBlock } from '../chain/payplace/known.ts'
import type { MerchantEntries } from '../chain/payplace/leaf.ts'
import type { Source } from '../chain/payplace/proposal.ts'
import type { ViewStore } from '../chain/payplace-facts.ts'
import { DeviceError } from '../device/error.ts'
import type { Address } from '../ethereum/address.ts'
import { bytesOf, metaOf, type Transaction, viewStore } from './store-tables.ts'

/** A block that was signed, and what became of the signature. */
export interface SignedBlock {
  readonly period: number
  readonly k: number
  /** 32 bytes. */
  readonly root: Buffer
  /** What BLS signs. */
  readonly digest: Buffer
  /** The operator has answered it. */
  readonly isSent: boolean
  /** And has taken it. */
  readonly isTaken: boolean
}

/** T_p of one block: all of it that a withdrawal needs besides vouchers. */
export interface OwnPart {
  readonly entries: Buffer
  /** One for each shard. */
  readonly proofs: readonly (readonly Buffer[])[]
}

/** The contract's channel of a consumer; deposits in base units. */
export type DepositOf = (consumer: Address) => { readonly deposit: bigint }

/** What becomes durable in one step, before anything is signed. */
export interface SigningRecord extends Omit<SignedBlock, 'isSent' | 'isTaken'> {
  readonly own: OwnPart
  /** Verified vouchers of her consumers. */
  readonly sources: readonly Source[]
  readonly channel: DepositOf
  /** Kept in memory, so that the next check need not hash every leaf again. */
  readonly index: BlockIndex
  /** Merchants of the block before who are not in this one. */
  readonly dropped: readonly number[]
}

/** The DIR's memory. Every method is synchronous; a full disk throws. */
export interface MerchantStore {
  /** Unix seconds at which this store was made; what was signed before is unknown. */
  readonly createdAt: number
  readonly view: ViewStore
  /** The newest one. */
  signed(): SignedBlock | undefined
  /**
   * Collects a block's changed merchants while it is checked and, where `check` gives a record,
   * keeps all of it in one transaction; else nothing. Throws where the period has a signature.
   */
  sign<Verdict>(
    check: (keep: (merchant: MerchantEntries) => void) => {
      readonly verdict: Verdict
      readonly record?: SigningRecord
    },
  ): Verdict
  /** The operator has answered, and taken the signature or not. */
  markSent(period: number, isTaken: boolean): void
  /** Makes the block signed last the known one where it has this root; else forgets it. */
  settle(k: number, root: Buffer): void
  /** The known block with its index built; undefined where it is not the one with this root. */
  known(operator: number, root: Buffer, seed: number): KnownBlock | undefined
  /**
   * Puts a block in the known one's place. False, and nothing is changed, for another root and for
   * leaves that no contract pays: an operator alone may notarize those.
   */
  adopt(o: Adoption): boolean
  own(root: Buffer): OwnPart | undefined
  keepOwn(k: number, root: Buffer, own: OwnPart): void
  /** The highest voucher of a consumer that was verified and within the deposit. */
  voucher(consumer: Address): Source | undefined
  /**
   * Keeps verified ones. The contract takes none above the deposit: those are left out, and a kept
   * one that is above it now gives way to a lower one.
   */
  keepVouchers(sources: readonly Source[], channel: DepositOf): void
  close(): void
}

export interface Adoption {
  readonly operator: number
  readonly k: number
  readonly root: Buffer
  readonly merchants: Iterable<MerchantEntries>
  readonly seed: number
}

/** In the column `sent`. */
const [NOT_SENT, NOT_TAKEN, TAKEN] = [0, 1, 2]

const SCHEMA = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS signed (
    period INTEGER PRIMARY KEY, k INTEGER NOT NULL, root BLOB NOT NULL, digest BLOB NOT NULL,
    sent INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE TABLE IF NOT EXISTS leaf (id INTEGER PRIMARY KEY, entries BLOB NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS pending (id INTEGER PRIMARY KEY, entries BLOB) STRICT;
  CREATE TABLE IF NOT EXISTS own (
    root BLOB PRIMARY KEY, k INTEGER NOT NULL, entries BLOB NOT NULL, proofs BLOB NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS voucher (
    consumer TEXT PRIMARY KEY, amount TEXT NOT NULL, signature BLOB NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS view (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
`
/**
 * Own parts of so many blocks signed and of so many put in last stay, and that of the known block.
 * Their numbers decide nothing: a node that lies may name any.
 */
const OWN_BLOCKS = 8
const FORGET_OWN = `
  DELETE FROM own WHERE root NOT IN (
    SELECT value FROM meta WHERE name = 'root'
    UNION ALL SELECT * FROM (SELECT root FROM signed ORDER BY period DESC LIMIT ${OWN_BLOCKS})
    UNION ALL SELECT * FROM (SELECT root FROM own ORDER BY rowid DESC LIMIT ${OWN_BLOCKS})
  )
`
/** Periods of so long ago cannot be signed any more: their windows are over. */
const SIGNED_PERIODS = 1_000

/** Which account, operator and contract a store belongs to, as one text. */
export interface StoreIdentity {
  readonly identity: string
  /** Unix seconds, for a store that is made now. */
  readonly now: number
}

/** Opens or makes the file. Throws DeviceError 'damaged' where it is another merchant's. */
export function openStore(path: string, { identity, now }: StoreIdentity): MerchantStore {
  const database = new DatabaseSync(path, { timeout: 5_000 })
  database.exec(SCHEMA)
  const createdAt = begin(database, identity, now)
  const transaction = <Value>(work: () => Value): Value => {
    database.exec('BEGIN IMMEDIATE')
    try {
      const value = work()
      database.exec('COMMIT')
      return value
    } catch (error) {
      if (database.isTransaction) database.exec('ROLLBACK')
      throw error
    }
  }
  const indexes: Indexes = { signed: undefined, known: undefined }
  return {
    createdAt,
    view: viewStore(database, transaction),
    ...signing(database, transaction, indexes),
    ...blocks(database, transaction, indexes),
    ...vouchers(database, transaction),
    close: () => database.close(),
  }
}

/** In memory only: of the block signed last and of the one that was asked for last. */
interface Indexes {
  signed: BlockIndex | undefined
  known: KnownBlock | undefined
}

function begin(database: DatabaseSync, identity: string, now: number): number {
  const put = database.prepare('INSERT INTO meta VALUES (?, ?) ON CONFLICT DO NOTHING')
  put.run('identity', identity)
  put.run('createdAt', Math.floor(now))
  const read = (name: string): unknown =>
    database.prepare('SELECT value FROM meta WHERE name = ?').get(name)?.['value']
  if (read('identity') !== identity) {
    database.close()
    const text = 'the store belongs to another merchant, operator or contract'
    throw new DeviceError('damaged', `${text}: restore the one that merchant.json names`)
  }
  return Number(read('createdAt'))
}

function signing(
  database: DatabaseSync,
  transaction: Transaction,
  indexes: Indexes,
): Pick<MerchantStore, 'signed' | 'sign' | 'markSent'> {
  const newest = database.prepare('SELECT * FROM signed ORDER BY period DESC LIMIT 1')
  // No "OR REPLACE": the primary key is what forbids a second signature in a period (D13).
  const insert = database.prepare(
    'INSERT INTO signed (period, k, root, digest) VALUES (?, ?, ?, ?)',
  )
  const forget = database.prepare('DELETE FROM signed WHERE period < ?')
  const collect = database.prepare('INSERT INTO pending VALUES (?, ?)')
  const drop = database.prepare('INSERT OR REPLACE INTO pending VALUES (?, NULL)')
  const meta = metaOf(database)
  const sent = database.prepare('UPDATE signed SET sent = ? WHERE period = ?')
  return {
    signed() {
      const row = newest.get()
      if (row === undefined) return undefined
      const { period, k, root, digest } = row
      return {
        ...{ period: Number(period), k: Number(k), root: bytesOf(root), digest: bytesOf(digest) },
        ...{ isSent: row['sent'] !== NOT_SENT, isTaken: row['sent'] === TAKEN },
      }
    },
    sign(check) {
      database.exec('BEGIN IMMEDIATE')
      try {
        database.exec('DELETE FROM pending')
        const { verdict, record } = check(({ id, entries }) => collect.run(id, entries))
        if (record !== undefined) {
          const { period, k, root, digest, own, sources, channel, dropped } = record
          insert.run(period, k, root, digest)
          meta.set('pending', root)
          forget.run(period - SIGNED_PERIODS)
          for (const id of dropped) drop.run(id)
          putOwn(database, k, root, own)
          putVouchers(database, sources, channel)
        }
        database.exec(record === undefined ? 'ROLLBACK' : 'COMMIT')
        if (record !== undefined) indexes.signed = record.index
        return verdict
      } catch (error) {
        if (database.isTransaction) database.exec('ROLLBACK')
        throw error
      }
    },
    markSent: (period, isTaken) =>
      transaction(() => void sent.run(isTaken ? TAKEN : NOT_TAKEN, period)),
  }
}

function blocks(
  database: DatabaseSync,
  transaction: Transaction,
  indexes: Indexes,
): Pick<MerchantStore, 'settle' | 'known' | 'adopt' | 'own' | 'keepOwn'> {
  const readLeaf = database.prepare('SELECT entries FROM leaf WHERE id = ?')
  const readLeaves = database.prepare('SELECT id, entries FROM leaf ORDER BY id')
  const putLeaf = database.prepare('INSERT OR REPLACE INTO leaf VALUES (?, ?)')
  const meta = metaOf(database)
  const readOwn = database.prepare('SELECT entries, proofs FROM own WHERE root = ?')
  const forgetPending = (): void => {
    database.exec('DELETE FROM pending')
    meta.set('pending', new Uint8Array(0))
  }
  function* leaves(): Generator<MerchantEntries> {
    for (const row of readLeaves.iterate()) {
      yield { id: Number(row['id']), entries: bytesOf(row['entries']) }
    }
  }
  return {
    settle(k, root) {
      if (meta.root('root').equals(root) || meta.root('pending').length === 0) return
      transaction(() => {
        // Another program may have adopted a block since the signature.
        if (meta.root('pending').equals(root)) {
          database.exec(
            `INSERT OR REPLACE INTO leaf SELECT * FROM pending WHERE entries IS NOT NULL;
             DELETE FROM leaf WHERE id IN (SELECT id FROM pending WHERE entries IS NULL);`,
          )
          meta.set('root', root)
          meta.set('k', k)
        }
        forgetPending()
      })
    },
    known(operator, root, seed) {
      if (!meta.root('root').equals(root)) return undefined
      if (indexes.known?.root.equals(root) === true) return indexes.known
      const isSigned = indexes.signed?.root.equals(root) === true
      const index = isSigned ? indexes.signed : indexBlock(operator, leaves(), seed)
      if (index?.root.equals(root) !== true) return undefined
      const entriesOf = (id: number): Buffer | undefined => {
        const row = readLeaf.get(id)
        return row === undefined ? undefined : bytesOf(row['entries'])
      }
      indexes.known = { ...index, entriesOf }
      return indexes.known
    },
    adopt({ operator, k, root, merchants, seed }) {
      database.exec('BEGIN IMMEDIATE')
      try {
        database.exec('DELETE FROM leaf')
        forgetPending()
        let last = 0
        for (const { id, entries } of merchants) {
          putLeaf.run(id, entries)
          const isSound = id > last && entriesFault(entries) === undefined
          last = isSound ? id : Number.POSITIVE_INFINITY
        }
        const isSound = Number.isFinite(last)
        const isRoot = isSound && indexBlock(operator, leaves(), seed).root.equals(root)
        if (isRoot) {
          meta.set('root', root)
          meta.set('k', k)
        }
        database.exec(isRoot ? 'COMMIT' : 'ROLLBACK')
        return isRoot
      } catch (error) {
        if (database.isTransaction) database.exec('ROLLBACK')
        throw error
      }
    },
    own(root) {
      const row = readOwn.get(root)
      if (row === undefined) return undefined
      const proofs = deserialize(bytesOf(row['proofs'])) as OwnPart['proofs']
      return { entries: bytesOf(row['entries']), proofs }
    },
    keepOwn: (k, root, own) => transaction(() => putOwn(database, k, root, own)),
  }
}

function putOwn(database: DatabaseSync, k: number, root: Buffer, own: OwnPart): void {
  database
    .prepare('INSERT OR REPLACE INTO own VALUES (?, ?, ?, ?)')
    .run(root, k, own.entries, serialize(own.proofs))
  database.exec(FORGET_OWN)
}

function vouchers(
  database: DatabaseSync,
  transaction: Transaction,
): Pick<MerchantStore, 'voucher' | 'keepVouchers'> {
  const read = database.prepare('SELECT amount, signature FROM voucher WHERE consumer = ?')
  return {
    voucher(consumer) {
      const row = read.get(consumer)
      if (row === undefined) return undefined
      const amount = BigInt(String(row['amount']))
      return { consumer, amount, signature: bytesOf(row['signature']) }
    },
    keepVouchers: (sources, channel) => transaction(() => putVouchers(database, sources, channel)),
  }
}

function putVouchers(database: DatabaseSync, sources: readonly Source[], channel: DepositOf): void {
  const read = database.prepare('SELECT amount FROM voucher WHERE consumer = ?')
  const put = database.prepare('INSERT OR REPLACE INTO voucher VALUES (?, ?, ?)')
  for (const { consumer, amount, signature } of sources) {
    const { deposit } = channel(consumer)
    const known = BigInt(String(read.get(consumer)?.['amount'] ?? 0))
    if (amount > deposit || (known >= amount && known <= deposit)) continue
    put.run(consumer, `${amount}`, signature)
  }
}

/** Sources of a list whose consumers stand in these entries: the others were not looked at. */
export function sourcesOf(sources: readonly Source[], entries: Buffer): Source[] {
  return sources.filter(({ consumer }) => amountOf(entries, consumer) > 0n)
}
