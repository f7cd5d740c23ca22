// The ledger's memory: what the store gives back, what it still has to be given, and what need not
// be kept. Nothing is dropped that the store does not have. Called by the ledger.

import type { Address } from '../ethereum/address.ts'
import {
  type AccountBook,
  addRow,
  bookOf,
  dropRow,
  noLogs,
  type Row,
  type Tables,
} from './ledger-tables.ts'
import { debtOf } from './rating.ts'
import type { Changes, Session, TariffVersion } from './session.ts'
import type { Stored, StoredAccount } from './storage.ts'
import { sameTerms, type Tariff } from './tariff.ts'

export interface MemoryLimits {
  /** Closed sessions that may still be continued, be paid or get a late record. */
  readonly rememberedMax: number
  /** Accounts, of which those with open sessions are never dropped. */
  readonly accountsMax: number
}

/** A key that a NAS may still have cached is from an Accept at most this old. */
const REMEMBERED_MS = 12 * 3_600_000

/** Takes in what the store has; what is in memory already stays as it is. */
export function adopt(tables: Tables, stored: StoredAccount | Stored): void {
  const accounts = 'accounts' in stored ? stored.accounts : [stored.account]
  const meteringKeys = Map.groupBy(stored.meteringKeys, (key) => key.account)
  for (const account of accounts) {
    if (tables.accounts.has(account.account)) continue
    const book = bookOf(tables, account.account)
    book.account = account
    book.meteringKeys = meteringKeys.get(account.account) ?? []
  }
  const sessions = 'debts' in stored ? [...stored.sessions, ...stored.debts] : stored.sessions
  for (const session of inOrder(sessions)) {
    if (!tables.rows.has(session.id)) addRow(tables, session)
  }
  if (!('tariffs' in stored)) return
  for (const version of stored.tariffs) {
    const known = tables.tariffs.get(version.tariff.name)
    if (known === undefined || known.tariff.version < version.tariff.version) {
      tables.tariffs.set(version.tariff.name, version)
    }
  }
}

/** As they came: what is asked for the newest gets the same answer as before a restart. */
function inOrder(sessions: readonly Session[]): Session[] {
  return sessions.toSorted((a, b) => a.startedAtMs - b.startedAtMs || (a.id < b.id ? -1 : 1))
}

/**
 * Everything that changed since the last drain, each row once, as it is now. Who asks for it has
 * stored what the last one gave.
 */
export function drain(tables: Tables): Changes {
  tables.unstored = new Set([...tables.changedRows, ...tables.changedAccounts])
  const sessions = tables.changedRows.map((row) => {
    row.changed = false
    return row.session
  })
  const accounts = tables.changedAccounts.map((book) => {
    book.changed = false
    return book.account
  })
  tables.changedRows.length = 0
  tables.changedAccounts.length = 0
  const { logs } = tables
  tables.logs = noLogs()
  return { sessions, accounts, ...logs }
}

/** The version of these terms: the last one of that name where nothing differs, else a new one. */
export function tariffVersion(
  tables: Tables,
  terms: Omit<Tariff, 'version'>,
  nowMs: number,
): Tariff {
  const last = tables.tariffs.get(terms.name)
  if (last !== undefined && sameTerms(last.tariff, terms)) return last.tariff
  const tariff: Tariff = { ...terms, version: (last?.tariff.version ?? 0) + 1 }
  const version: TariffVersion = { tariff, sinceMs: nowMs }
  tables.tariffs.set(tariff.name, version)
  tables.logs.tariffs.push(version)
  return tariff
}

/** Drops what is neither needed soon nor owed; then, beyond the limits, whatever the store has. */
export function forget(
  tables: Tables,
  { rememberedMax, accountsMax }: MemoryLimits,
  nowMs: number,
): void {
  // The map is in the order of ending, but for what was adopted later: old debts of an account.
  for (const row of tables.closed.values()) {
    const beyond = tables.closed.size > rememberedMax
    const isOld = (row.session.endedAtMs ?? nowMs) < nowMs - REMEMBERED_MS
    if (!beyond && !isOld) {
      if (debtOf(row.session) > 0n) continue
      break
    }
    dropClosed(tables, row, beyond)
  }
  for (const [account, book] of tables.accounts) {
    if (tables.accounts.size <= accountsMax) return
    if (book.debts.size === 0) dropAccount(tables, account)
  }
  for (const account of tables.accounts.keys()) {
    if (tables.accounts.size <= accountsMax) return
    dropAccount(tables, account)
  }
}

/** A commit of it may be on its way: read from the store now, it would be as it was before. */
const isUnstored = (tables: Tables, value: Row | AccountBook): boolean =>
  value.changed || tables.unstored.has(value)

function dropClosed(tables: Tables, row: Row, beyond: boolean): void {
  const { account } = row.session
  if (isUnstored(tables, row)) return
  if (debtOf(row.session) === 0n) dropRow(tables, row)
  // A debt leaves memory only with its account: that is read again before the next decision.
  else if (beyond && account !== undefined) dropAccount(tables, account)
}

function dropAccount(tables: Tables, account: Address): void {
  const book = tables.accounts.get(account)
  if (book === undefined || isUnstored(tables, book) || book.open.size > 0) return
  for (const row of book.debts) if (isUnstored(tables, row)) return
  for (const row of [...book.debts]) dropRow(tables, row)
  tables.accounts.delete(account)
}
