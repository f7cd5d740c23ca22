// What a durable store must do: hold what commit() was given before it resolves, and give it back.
// Two implementations: store-sqlite.ts and store-postgres.ts. One process writes at a time.

import type { Address } from '../ethereum/address.ts'
import type {
  Account,
  AccountingRecord,
  Changes,
  Dispute,
  DynamicAuthorization,
  JournalEntry,
  MeteringKey,
  Session,
  TariffVersion,
} from './session.ts'

/** What the server needs in memory before it answers anyone. */
export interface Stored {
  /** Every session not closed, and the closed ones that ended at or after the time asked for. */
  readonly sessions: readonly Session[]
  /** Closed sessions, however old, whose owed amount is above their credit. */
  readonly debts: readonly Session[]
  /** The accounts of all of these. */
  readonly accounts: readonly Account[]
  readonly tariffs: readonly TariffVersion[]
  /** Of these accounts. */
  readonly meteringKeys: readonly MeteringKey[]
}

/** What the store knows of one account that is not in memory. */
export interface StoredAccount {
  readonly account: Account
  /** Its open sessions and those with debts. */
  readonly sessions: readonly Session[]
  readonly meteringKeys: readonly MeteringKey[]
}

/** One page of a list, newest first. */
export interface Page {
  readonly limit: number
  /** Only what is older than this (Unix ms of start or entry). */
  readonly beforeMs?: number
  readonly account?: Address
}

/** How the sessions of one client entry ended. */
export interface NasHistory {
  /** The name of the client entry. */
  readonly nas: string
  /** Sessions with a payer that ended. */
  readonly sessions: number
  /** Those whose access point restarted or fell silent. */
  readonly lost: number
  /** Those whose counters were clamped, or contradicted by the device; of one account a few. */
  readonly disputed: number
}

/** One movement of money to the merchant of a session, as the journal has it. */
export interface MerchantCredit {
  /** Rises with each entry; a merged entry keeps the highest. */
  readonly number: number
  readonly atMs: number
  /** Whose access point it was. */
  readonly merchant: Address
  /** The consumer. */
  readonly account: Address
  readonly session: string
  /** Base units, above 0. */
  readonly amount: bigint
}

/** What all sessions of one account that are over add up to. */
export interface ClosedTotals {
  readonly sessions: number
  /** Octets from the device, and to it. */
  readonly input: bigint
  readonly output: bigint
  /** What was credited to them, base units. */
  readonly paid: bigint
  /** When the first of them began, Unix ms; undefined where there is none. */
  readonly firstStartedAtMs: number | undefined
  /** SHA-256 over their ids, 16 bytes each, in the order in which they began. */
  readonly idsHash: Buffer
}

/** How many rows prune() took away. */
export interface Pruned {
  readonly records: number
  /** Journal entries that are part of another now. */
  readonly entries: number
}

export interface Storage {
  load(closedSinceMs: number): Promise<Stored>
  account(account: Address): Promise<StoredAccount | undefined>
  /**
   * One transaction; resolves when it is durable. Throws StorageError, and then nothing of it is
   * stored.
   */
  commit(changes: Changes): Promise<void>
  sessions(page: Page): Promise<readonly Session[]>
  journal(page: Page): Promise<readonly JournalEntry[]>
  /**
   * What merchants were credited in entries above this number (0: all), ascending, at most `limit`
   * (10,000): fewer mean that there are no more. Account credit of no merchant is left out.
   */
  creditsSince(number: number, limit: number): Promise<readonly MerchantCredit[]>
  /**
   * Credits of one merchant, newest first, from entries below `before`. Looks through a bounded
   * part of the journal, so it may find few or none and more all the same: `next` is the `before`
   * to go on with, undefined at the journal's beginning.
   */
  creditsOf(
    merchant: Address,
    before: number | undefined,
  ): Promise<{ readonly credits: readonly MerchantCredit[]; readonly next: number | undefined }>
  disputes(page: Page): Promise<readonly Dispute[]>
  authorizations(page: Page): Promise<readonly DynamicAuthorization[]>
  records(page: Page & { readonly session?: string }): Promise<readonly AccountingRecord[]>
  /**
   * Of the sessions that ended at or after a time, Unix ms; a client entry without any is left out.
   */
  histories(endedSinceMs: number): Promise<readonly NasHistory[]>
  /**
   * What an account's sessions that ended before a time (Unix ms) add up to; reservations that came
   * to nothing are left out, and reconnects that nobody has paid for. Reads in small steps, for as
   * long as there are sessions.
   */
  closedTotals(account: Address, endedBeforeMs: number): Promise<ClosedTotals>
  /**
   * Makes what is older than this less, in small steps beside commits: removes accounting records,
   * but for those of sessions that are open or owe, and joins the journal entries of each settled
   * session (and of each account without one) into the newest. No sum of money changes. One at a
   * time; throws StorageError, and then may have done a part. Entries since `journalBeforeMs` are
   * left alone, where that is earlier.
   */
  prune(beforeMs: number, journalBeforeMs?: number): Promise<Pruned>
  close(): Promise<void>
}

/** The store can't be written or read; the text says what to do about it. */
export class StorageError extends Error {
  readonly code: 'disk-full' | 'locked' | 'unreachable' | 'failed'
  constructor(code: StorageError['code'], message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'StorageError'
    this.code = code
  }
}
