// What of each value goes into which column: the same for both databases (and back: store-read.ts).
// Columns are for those who ask in SQL; what the server reads of a session and a tariff is `body`.
// Text in columns has no NUL, which PostgreSQL can't store and which an attacker may well send.

import type {
  Account,
  AccountingRecord,
  Changes,
  Dispute,
  DynamicAuthorization,
  JournalEntry,
  MeteringKey,
  NasPlace,
  Session,
  TariffVersion,
} from './session.ts'
import { factsBody, tariffBody, usageText } from './store-body.ts'
import type { StoredSessions } from './stored-sessions.ts'

export type Value = string | number | bigint | null

/** One table: its columns in the order of `values`; with a key, a row replaces the earlier one. */
export interface Table<T> {
  readonly name: string
  readonly columns: readonly (readonly [name: string, type: 'text' | 'integer' | 'amount'])[]
  /** Names of columns; none: rows are only ever added. */
  readonly key: readonly string[]
  /** Columns with an index that rarely change once a row is there; none: not worth knowing. */
  readonly indexed: readonly string[]
  keyOf(value: T): string
  values(value: T): Value[]
}

/** The largest value of a signed 64-bit column. */
const INTEGER_MAX = 2n ** 63n - 1n

const text = (value: string): string =>
  value.includes('\0') ? value.replaceAll('\0', '\ufffd') : value
const optionalText = (value: string | undefined): Value =>
  value === undefined ? null : text(value)
const optional = (value: number | undefined): Value => value ?? null
const amount = (value: bigint | undefined): Value => (value === undefined ? null : `${value}`)
const clamped = (value: bigint): Value => (value > INTEGER_MAX ? INTEGER_MAX : value)

type Columns = Table<never>['columns']

const PLACE: Columns = [
  ['nas', 'text'],
  ['nas_address', 'text'],
  ['nas_identifier', 'text'],
  ['nas_ip_address', 'text'],
  ['calling_station_id', 'text'],
  ['called_station_id', 'text'],
  ['acct_session_id', 'text'],
  ['acct_multi_session_id', 'text'],
  ['nas_port', 'integer'],
]

function placeValues(place: NasPlace): Value[] {
  return [
    text(place.nas),
    text(place.address),
    text(place.nasIdentifier),
    text(place.nasIpAddress),
    text(place.callingStationId),
    text(place.calledStationId),
    text(place.acctSessionId),
    text(place.acctMultiSessionId),
    optional(place.nasPort),
  ]
}

/** `debtOf`: what a closed session owes beyond its credit, 0n where it owes nothing. */
export function factsTable(debtOf: (session: Session) => bigint): Table<Session> {
  return {
    name: 'session_facts',
    key: ['id'],
    indexed: ['account', 'started_at', 'closed_at', 'debt'],
    columns: [
      ['id', 'text'],
      ['account', 'text'],
      ['merchant', 'text'],
      ['kind', 'text'],
      ['state', 'text'],
      ...PLACE,
      ['tariff', 'text'],
      ['tariff_version', 'integer'],
      ['started_at', 'integer'],
      ['closed_at', 'integer'],
      ['ended_by', 'text'],
      ['terminate_cause', 'integer'],
      ['credit', 'amount'],
      ['debt', 'amount'],
      ['disputed', 'integer'],
      ['body', 'text'],
    ],
    keyOf: (session) => session.id,
    values: (session) => [
      session.id,
      session.account ?? null,
      session.merchant,
      session.kind,
      session.state,
      ...placeValues(session.place),
      text(session.tariff.name),
      session.tariff.version,
      session.startedAtMs,
      session.state === 'closed' ? (session.endedAtMs ?? session.heardAtMs) : null,
      session.endedBy ?? null,
      optional(session.terminateCause),
      `${session.credit}`,
      session.state === 'closed' ? `${debtOf(session)}` : '0',
      session.disputed ? 1 : 0,
      factsBody(session),
    ],
  }
}

const usageTable: Table<Session> = {
  name: 'session_usage',
  key: ['id'],
  indexed: [],
  columns: [
    ['id', 'text'],
    ['session_time', 'integer'],
    ['input_octets', 'integer'],
    ['output_octets', 'integer'],
    ['heard_at', 'integer'],
    ['counters', 'text'],
  ],
  keyOf: (session) => session.id,
  values: (session) => [
    session.id,
    session.sessionTimeSeconds,
    clamped(session.input.total),
    clamped(session.output.total),
    session.heardAtMs,
    usageText(session),
  ],
}

export const accountTable: Table<Account> = {
  name: 'accounts',
  key: ['account'],
  indexed: [],
  columns: [
    ['account', 'text'],
    ['voucher', 'amount'],
    ['voucher_signature', 'text'],
    ['voucher_at', 'integer'],
    ['credit', 'amount'],
    ['paid_intervals', 'integer'],
    ['missed_intervals', 'integer'],
    ['cuts', 'integer'],
    ['last_cut_at', 'integer'],
    ['last_arrears_at', 'integer'],
    ['last_allowance_at', 'integer'],
    ['disagreements', 'integer'],
  ],
  keyOf: (account) => account.account,
  values: (account) => [
    account.account,
    amount(account.voucher?.amount),
    account.voucher?.signature ?? null,
    optional(account.voucher?.atMs),
    `${account.credit}`,
    account.paidIntervals,
    account.missedIntervals,
    account.cuts,
    optional(account.lastCutAtMs),
    optional(account.lastArrearsAtMs),
    optional(account.lastAllowanceAtMs),
    account.disagreements,
  ],
}

export const journalTable: Table<JournalEntry> = {
  name: 'journal',
  key: [],
  indexed: [],
  columns: [
    ['at', 'integer'],
    ['account', 'text'],
    ['session', 'text'],
    ['merchant', 'text'],
    ['amount', 'amount'],
    ['voucher', 'amount'],
  ],
  keyOf: () => '',
  values: (entry) => [
    entry.atMs,
    entry.account,
    entry.session ?? null,
    entry.merchant ?? null,
    `${entry.amount}`,
    `${entry.voucher}`,
  ],
}

export const recordTable: Table<AccountingRecord> = {
  name: 'records',
  key: [],
  indexed: [],
  columns: [
    ['received_at', 'integer'],
    ['event_at', 'integer'],
    ['status', 'integer'],
    ...PLACE,
    ['user_name', 'text'],
    ['session', 'text'],
    ['attribution', 'text'],
    ['input_octets', 'amount'],
    ['output_octets', 'amount'],
    ['session_time', 'integer'],
    ['terminate_cause', 'integer'],
  ],
  keyOf: () => '',
  values: (record) => [
    record.receivedAtMs,
    record.eventAtMs,
    record.status,
    ...placeValues(record.place),
    text(record.userName),
    optionalText(record.session),
    record.attribution,
    amount(record.inputOctets),
    amount(record.outputOctets),
    optional(record.sessionTimeSeconds),
    optional(record.terminateCause),
  ],
}

export const disputeTable: Table<Dispute> = {
  name: 'disputes',
  key: [],
  indexed: [],
  columns: [
    ['at', 'integer'],
    ['session', 'text'],
    ['account', 'text'],
    ['kind', 'text'],
    ['nas_octets', 'amount'],
    ['other_octets', 'amount'],
    ['trust', 'text'],
    ['sequence', 'integer'],
  ],
  keyOf: () => '',
  values: (dispute) => [
    dispute.atMs,
    dispute.session,
    dispute.account ?? null,
    dispute.kind,
    `${dispute.nasOctets}`,
    `${dispute.otherOctets}`,
    dispute.trust,
    optional(dispute.sequence),
  ],
}

export const authorizationTable: Table<DynamicAuthorization> = {
  name: 'authorizations',
  key: ['id'],
  indexed: [],
  columns: [
    ['id', 'text'],
    ['session', 'text'],
    ['kind', 'text'],
    ['reason', 'text'],
    ['at', 'integer'],
    ['ended_at', 'integer'],
    ['result', 'text'],
    ['attempts', 'integer'],
  ],
  keyOf: (row) => row.id,
  values: (row) => [
    row.id,
    row.session,
    row.kind,
    row.reason,
    row.atMs,
    optional(row.endedAtMs),
    text(row.result),
    row.attempts,
  ],
}

export const tariffTable: Table<TariffVersion> = {
  name: 'tariffs',
  key: ['name', 'version'],
  indexed: [],
  columns: [
    ['name', 'text'],
    ['version', 'integer'],
    ['since', 'integer'],
    ['body', 'text'],
  ],
  keyOf: ({ tariff }) => `${tariff.version} ${tariff.name}`,
  values: ({ tariff, sinceMs }) => [text(tariff.name), tariff.version, sinceMs, tariffBody(tariff)],
}

export const meteringKeyTable: Table<MeteringKey> = {
  name: 'metering_keys',
  key: ['account', 'slot'],
  indexed: [],
  columns: [
    ['account', 'text'],
    ['slot', 'integer'],
    ['public_key', 'text'],
    ['scheme', 'text'],
    ['trust', 'text'],
    ['enrolled_at', 'integer'],
    ['expires_at', 'integer'],
    ['counter', 'integer'],
  ],
  keyOf: (key) => `${key.slot} ${key.account}`,
  values: (key) => [
    key.account,
    key.slot,
    key.publicKey,
    key.scheme,
    key.trust,
    key.enrolledAtMs,
    key.expiresAtMs,
    key.counter,
  ],
}

/** The rows of one table in a commit. */
export interface TableRows {
  readonly table: Omit<Table<never>, 'keyOf' | 'values'>
  readonly rows: readonly Value[][]
}

function rowsOf<T>(table: Table<T>, values: readonly T[]): TableRows {
  // A row that comes twice in a batch is written once, as it was last.
  const rows = table.key.length === 0 ? values : lastOfEach(table, values)
  return { table, rows: rows.map(table.values) }
}

function lastOfEach<T>(table: Table<T>, values: readonly T[]): readonly T[] {
  const latest = new Map(values.map((value) => [table.keyOf(value), value]))
  return latest.size === values.length ? values : [...latest.values()]
}

/** All rows of a commit, table by table; empty ones are left out. */
export function commitRows(
  changes: Changes,
  facts: Table<Session>,
  stored: StoredSessions,
): TableRows[] {
  const sessions = lastOfEach(facts, changes.sessions)
  return [
    rowsOf(tariffTable, changes.tariffs),
    rowsOf(accountTable, changes.accounts),
    rowsOf(meteringKeyTable, changes.meteringKeys),
    rowsOf(
      facts,
      sessions.filter((session) => !stored.hasFacts(session)),
    ),
    rowsOf(usageTable, sessions),
    rowsOf(journalTable, changes.journal),
    rowsOf(recordTable, changes.records),
    rowsOf(disputeTable, changes.disputes),
    rowsOf(authorizationTable, changes.authorizations),
  ].filter(({ rows }) => rows.length > 0)
}
