// The books: every open session, every account that pays, every debt. Owns the tables and all
// changes to them; each change is recorded for the store (drain). Deterministic: time and ids come
// in as arguments, nothing is read or written elsewhere. Called by server/; made durable by
// committer.ts before the world is told. Its parts: ledger-tables (rows and sums), ledger-judge
// (the clock), ledger-usage (accounting), ledger-pay (vouchers), ledger-sessions (how they begin),
// ledger-questions, ledger-memory (store and limits).

import type { Address } from '../ethereum/address.ts'
import { closeRow, cutRow, settle, settleDue } from './ledger-judge.ts'
import { adopt, drain, forget, type MemoryLimits, tariffVersion } from './ledger-memory.ts'
import { pay } from './ledger-pay.ts'
import { continuation, find, lastAt, standing } from './ledger-questions.ts'
import { begin, beginByStart, confirm, mayHaveAllowance } from './ledger-sessions.ts'
import { bookOf, byAge, createTables, emptyBook, type Row } from './ledger-tables.ts'
import { attest, compareMeters, report, stop } from './ledger-usage.ts'
import { enrol, raiseCounter } from './metering-keys.ts'
import type {
  Account,
  AccountingRecord,
  AttestedUsage,
  Changes,
  CutReason,
  DynamicAuthorization,
  MeteringKey,
  NasPlace,
  Session,
  SessionEnd,
  SessionKind,
} from './session.ts'
import type { Stored, StoredAccount } from './storage.ts'
import type { Tariff } from './tariff.ts'

/** What one accounting record says about its session; undefined where an attribute is absent. */
export interface Usage {
  /** By the clock of its NAS: the order of a session's records. */
  readonly eventAtMs: number
  /** By our own clock: when its NAS first sent it, which tells what it can speak of. */
  readonly sentAtMs: number
  /** Of a Stop, by our own clock: when the session was over; absent: at eventAtMs. */
  readonly overAtMs?: number
  readonly inputOctets: bigint | undefined
  readonly outputOctets: bigint | undefined
  /** The NAS sent Gigawords with them. */
  readonly wide: boolean
  readonly sessionTimeSeconds: number | undefined
  readonly terminateCause: number | undefined
  /**
   * Octets a second this NAS can carry at most, both ways: what is above is clamped and disputed.
   */
  readonly octetsPerSecondMax: bigint
  /** Identity of the record: equal for a repetition with a new Identifier or Acct-Delay-Time. */
  readonly record: string
}

/** What an account may do now, from the books alone. */
export interface Standing {
  readonly account: Account
  /** The sum of the reserves of its open sessions, but for the one this place would replace. */
  readonly reserved: bigint
  /** Its open sessions, but for that one. */
  readonly openSessions: number
  /** Unpaid on open sessions, each as of the last end of an interval, with the volume as known. */
  readonly openDebt: bigint
  /** Unpaid on closed ones. */
  readonly oldDebt: bigint
  /**
   * What of both is due and bars from this merchant: closed, being put off, or an interval behind
   * at the place that is asked for. What is with other merchants counts in none of the three as far
   * as it is disputed, or known from a reconnect that only an access point speaks of.
   */
  readonly barring: bigint
  /** Fewer than 10 paid intervals. */
  readonly newcomer: boolean
  /** Open sessions of newcomers at this client, but for the one this place would replace. */
  readonly newcomersHere: number
  /** Another account was cut for debt at this client and station, and waits until this. */
  readonly stationBarredUntilMs: number | undefined
}

/** A voucher whose signature, domain and cover were checked. */
export interface CheckedVoucher {
  readonly account: Address
  readonly amount: bigint
  /** 65 bytes, 0x-hex. */
  readonly signature: string
  /** mu of the channel on chain: what was settled there is never credited again. */
  readonly settled: bigint
}

/** Where a voucher's increase went. */
export interface Credited {
  /** To the session that was named (0 without one). */
  readonly named: bigint
  readonly merchant: Address | undefined
  /** To debts of other sessions. */
  readonly others: bigint
  /** To the account, for what is owed next. */
  readonly unassigned: bigint
}

export interface NewSession {
  readonly id: string
  readonly kind: SessionKind
  readonly account: Address | undefined
  /** Undefined: the operator earns. */
  readonly merchant: Address | undefined
  readonly place: NasPlace
  readonly tariff: Tariff
  readonly reserve: bigint
  readonly endsAtMs: number
}

/** Bounds of memory, and who earns where no merchant is named. */
export interface LedgerOptions extends MemoryLimits {
  /** Open sessions; about 1 kB each. */
  readonly sessionsMax: number
  readonly operatorAccount: Address
}

/** What the clock has brought since the last time. */
export interface Advanced {
  readonly cut: Session[]
  readonly overdue: Session[]
  readonly recovered: Session[]
  readonly silent: Session[]
}

export interface Ledger {
  // Questions.
  session(id: string): Session | undefined
  open(): Iterable<Session>
  /** Open sessions of one client entry. */
  openAt(nas: string): Iterable<Session>
  openOf(account: Address): readonly Session[]
  /** Closed sessions that owe, oldest first. */
  debtsOf(account: Address): readonly Session[]
  /** Closed sessions in memory that owe, in no order. */
  owing(): Iterable<Session>
  account(account: Address): Account | undefined
  /** Of an account in memory, in no order, those whose time is over with them. */
  meteringKeys(account: Address): readonly MeteringKey[]
  /** Of an account that is not in memory: of nothing. */
  standing(account: Address, place: NasPlace, merchant: Address, nowMs: number): Standing
  /** Whether the day's free allowance is there; a session that begins with one uses it up. */
  mayHaveAllowance(account: Address, nowMs: number): boolean
  /** When this account's last session by a cached key began at this client entry, Unix ms. */
  reconnectedAtMs(account: Address, nas: string): number | undefined
  /** The session of a record without our Class; the newest, open before closed. */
  find(place: NasPlace): Session | undefined
  /** The last session, open or closed, of this station at this client, with a payer. */
  lastAt(nas: string, callingStationId: string): Session | undefined
  /**
   * Session `id`, or the one that continues it after a reconnect by PMKSA (Class names the first):
   * the one with these accounting ids, else the newest.
   */
  continuation(id: string, acctSessionId: string, acctMultiSessionId: string): Session | undefined
  readonly openCount: number
  readonly full: boolean

  // Changes. Each takes effect at once in memory; the caller awaits the committer before it tells.
  /**
   * Reserves escrow for a session that was decided on; it is not stored before it is confirmed, and
   * gone after two minutes. Throws RangeError when the table is full.
   */
  begin(session: NewSession, nowMs: number): Session
  /**
   * The Accept is about to be sent: time counts from now, unassigned credit is drawn for the first
   * interval, the earlier session at its place is replaced; what an account has only now and then
   * (a window to pay in, a day's allowance) is used up. Undefined: it is gone.
   */
  confirm(id: string, nowMs: number): Session | undefined
  /**
   * A session opened by a Start: pmksa (continues `of`), foreign, unattributed. Throws RangeError
   * when the table is full.
   */
  beginByStart(session: NewSession, of: string | undefined, startedAtMs: number): Session
  /** Folds a Start or Interim; `duplicate`: the same record again; `late`: the session is over. */
  report(id: string, usage: Usage, place: NasPlace, nowMs: number): 'counted' | 'duplicate' | 'late'
  /** Folds a Stop's last counters and closes. */
  stop(id: string, usage: Usage, place: NasPlace, nowMs: number): 'counted' | 'duplicate' | 'late'
  /**
   * Ends a session that is open, at a time not before its start; undefined where none is. `nowMs`:
   * the time of day, where the end was before it.
   */
  close(id: string, why: SessionEnd, atMs: number, nowMs?: number): Session | undefined
  record(record: AccountingRecord): void
  /** Takes a strictly higher voucher; undefined: not higher. */
  pay(voucher: CheckedVoucher, session: string | undefined, nowMs: number): Credited | undefined
  /** What the device's own meter says: recorded, disputed beyond 5 % + 1 MB (once a session). */
  deviceReport(id: string, octets: bigint, nowMs: number): void
  /**
   * What the device has signed of its own meter: kept as the last report, and compared. Nothing
   * where its account is not in memory.
   */
  attest(id: string, report: AttestedUsage, nowMs: number): void
  /** Takes in a metering key of an account in memory, for the oldest where it has a few. */
  enrol(key: Omit<MeteringKey, 'slot' | 'counter'>): MeteringKey
  /** An App Attest assertion was taken that had this counter; it never goes back. */
  raiseCounter(account: Address, publicKey: string, counter: number): void
  /** Decides to put a session off; undefined where none is open. One still reserved is closed. */
  cut(id: string, reason: CutReason, nowMs: number): Session | undefined
  /**
   * Judges every interval whose end and grace are over, closes what ended by its Session-Timeout or
   * was not heard of for too long, draws unassigned credit; returns the sessions newly to be put
   * off, those newly overdue or current again (for throttling), and those that silence has closed
   * (its NAS may serve them still).
   */
  advance(nowMs: number): Advanced
  /**
   * Judges nothing as missed before this time: payments could not be taken until now (start-up, a
   * store that failed). What was not paid by then is judged then. Not kept over a restart.
   */
  excuse(untilMs: number): void
  authorization(row: DynamicAuthorization): void
  /** The version of these terms, a new one where they differ from the last of that name. */
  tariffVersion(tariff: Omit<Tariff, 'version'>, nowMs: number): Tariff

  // Memory and the store.
  knows(account: Address): boolean
  adopt(stored: StoredAccount | Stored): void
  /** A new account without sessions or vouchers; nothing is stored for it until it acts. */
  meet(account: Address): void
  /**
   * Drops closed sessions older than 12 h that owe nothing, and beyond the limits the oldest, then
   * accounts with nothing open; never what is not stored. Call it when the store takes commits.
   */
  forget(nowMs: number): void
  /** Everything that changed since the last drain, which must be stored by now. */
  drain(): Changes
}

/** Empty books. */
export function createLedger(options: LedgerOptions): Ledger {
  const tables = createTables()
  const sessionOf = (id: string): Session | undefined => tables.rows.get(id)?.session
  const isFull = (): boolean => tables.open.size >= options.sessionsMax
  const make = (): void => {
    if (isFull()) throw new RangeError(`more than ${options.sessionsMax} open sessions`)
  }
  /** The row of an open session, with all that its clock was to do by then done. */
  const openAt = (id: string, nowMs: number): Row | undefined => {
    const row = tables.open.get(id)
    if (row !== undefined) settle(tables, row, nowMs)
    return row?.session.state === 'closed' ? undefined : row
  }
  const bookKnown = (account: Address) => tables.accounts.get(account)

  return {
    session: sessionOf,
    *open() {
      for (const { session } of tables.open.values()) yield session
    },
    *openAt(nas) {
      for (const { session } of tables.openAt.get(nas) ?? []) yield session
    },
    openOf: (account) => byAge(bookKnown(account)?.open ?? []).map(({ session }) => session),
    debtsOf: (account) => byAge(bookKnown(account)?.debts ?? []).map(({ session }) => session),
    *owing() {
      for (const { debts } of tables.accounts.values()) for (const row of debts) yield row.session
    },
    account: (account) => bookKnown(account)?.account,
    meteringKeys: (account) => bookKnown(account)?.meteringKeys ?? [],
    standing: (...question) => standing(tables, ...question),
    mayHaveAllowance: (account, nowMs) =>
      mayHaveAllowance((bookKnown(account) ?? emptyBook(account)).account, nowMs),
    reconnectedAtMs: (account, nas) => bookKnown(account)?.reconnects.get(nas),
    find: (place) => find(tables, place),
    lastAt: (nas, callingStationId) => lastAt(tables, nas, callingStationId),
    continuation: (...ids) => continuation(tables, ...ids),
    get openCount() {
      return tables.open.size
    },
    get full() {
      return isFull()
    },
    begin(session, nowMs) {
      make()
      return begin(tables, session, options.operatorAccount, nowMs)
    },
    confirm: (id, nowMs) => confirm(tables, id, nowMs),
    beginByStart(session, of, startedAtMs) {
      make()
      return beginByStart(tables, session, of, options.operatorAccount, startedAtMs)
    },
    report(id, usage, place, nowMs) {
      const row = tables.rows.get(id)
      return row === undefined ? 'late' : report(tables, row, usage, place, nowMs)
    },
    stop(id, usage, place, nowMs) {
      const row = tables.rows.get(id)
      return row === undefined ? 'late' : stop(tables, row, usage, place, nowMs)
    },
    close(id, why, atMs, nowMs) {
      const row = openAt(id, atMs)
      return row === undefined ? undefined : closeRow(tables, row, why, atMs, nowMs)
    },
    record(record) {
      tables.logs.records.push(record)
    },
    pay: (voucher, session, nowMs) => pay(tables, voucher, session, nowMs),
    deviceReport(id, octets, nowMs) {
      const row = tables.rows.get(id)
      if (row !== undefined) compareMeters(tables, row, octets, nowMs)
    },
    attest(id, usage, nowMs) {
      const row = tables.rows.get(id)
      const account = row?.session.account
      if (row === undefined || account === undefined || !tables.accounts.has(account)) return
      attest(tables, row, usage, nowMs)
    },
    enrol: (key) => enrol(tables, key),
    raiseCounter: (...assertion) => raiseCounter(tables, ...assertion),
    cut(id, reason, nowMs) {
      const row = openAt(id, nowMs)
      if (row === undefined) return undefined
      if (row.session.state === 'reserved') return void closeRow(tables, row, 'abandoned', nowMs)
      cutRow(tables, row, reason, nowMs)
      return row.session
    },
    advance(nowMs) {
      settleDue(tables, nowMs)
      const take = (rows: Set<Row>, fits: (session: Session) => boolean): Session[] => {
        const sessions = byAge(rows).map(({ session }) => session)
        rows.clear()
        return sessions.filter(fits)
      }
      return {
        cut: take(tables.cut, ({ state }) => state === 'disconnecting'),
        overdue: take(tables.overdue, ({ state }) => state === 'overdue'),
        recovered: take(tables.recovered, ({ state }) => state === 'current'),
        silent: take(tables.silent, ({ account }) => account !== undefined),
      }
    },
    excuse(untilMs) {
      tables.excusedUntilMs = Math.max(tables.excusedUntilMs, untilMs)
    },
    authorization(row) {
      tables.logs.authorizations.push(row)
    },
    tariffVersion: (tariff, nowMs) => tariffVersion(tables, tariff, nowMs),
    knows: (account) => tables.accounts.has(account),
    adopt: (stored) => adopt(tables, stored),
    meet(account) {
      bookOf(tables, account)
    },
    forget: (nowMs) => forget(tables, options, nowMs),
    drain: () => drain(tables),
  }
}
