// The tables of the durable store, as numbered migrations for both databases, and the `radacct`
// view that lets tools made for FreeRADIUS read the sessions. Text only: store-sqlite.ts and
// store-postgres.ts run it. A migration that was released is never changed; a new one is added.

import { StorageError } from './storage.ts'

/** What the two databases write differently. */
export interface Dialect {
  /** 64 bits, signed. */
  readonly integer: string
  /** uint96 and sums of it, signed: more than 64 bits. */
  readonly money: string
  /** Unsigned 64 bits. */
  readonly octets: string
  /** A number the database gives each row. */
  readonly serial: string
  /** What follows a table's closing parenthesis. */
  readonly end: string
  /** The same for small rows found by a text key alone: kept in its order, with no index beside. */
  readonly endKeyed: string
  /** A column of Unix milliseconds as the type FreeRADIUS's schema has for times. */
  instant(column: string): string
  /** A column of text as the type FreeRADIUS's schema has for addresses; NULL where it is none. */
  inet(column: string): string
  /** NULL as the type FreeRADIUS's schema has for a column this server knows nothing of. */
  unknown(type: 'text' | 'inet' | 'integer'): string
  /** Statements before the first table. */
  readonly before: readonly string[]
}

/** Integers have 64 bits at most here: amounts are decimal text. STRICT keeps the types honest. */
export const SQLITE: Dialect = {
  integer: 'INTEGER',
  money: 'TEXT',
  octets: 'TEXT',
  serial: 'INTEGER PRIMARY KEY',
  end: ' STRICT',
  endKeyed: ' STRICT, WITHOUT ROWID',
  instant: (column) => `datetime(${column} / 1000, 'unixepoch')`,
  inet: (column) => column,
  unknown: (type) => (type === 'inet' ? "''" : 'NULL'),
  before: [],
}

export const POSTGRES: Dialect = {
  integer: 'BIGINT',
  money: 'NUMERIC',
  octets: 'NUMERIC',
  serial: 'BIGSERIAL PRIMARY KEY',
  end: '',
  endKeyed: '',
  instant: (column) => `to_timestamp(${column} / 1000.0)`,
  inet: (column) => `datanet_inet(${column})`,
  unknown: (type) => `NULL::${type === 'integer' ? 'bigint' : type}`,
  // One text that is no address must not make the whole view unreadable, as a plain cast would.
  before: [
    `CREATE OR REPLACE FUNCTION datanet_inet(text) RETURNS inet LANGUAGE plpgsql IMMUTABLE AS $$
      BEGIN RETURN $1::inet; EXCEPTION WHEN OTHERS THEN RETURN NULL; END $$`,
  ],
}

/** RFC 2866 §5.10, and 19-23 of the IANA registry, in the words of FreeRADIUS's dictionary. */
const TERMINATE_CAUSES = [
  ...['User-Request', 'Lost-Carrier', 'Lost-Service', 'Idle-Timeout', 'Session-Timeout'],
  ...['Admin-Reset', 'Admin-Reboot', 'Port-Error', 'NAS-Error', 'NAS-Request', 'NAS-Reboot'],
  ...['Port-Unneeded', 'Port-Preempted', 'Port-Suspended', 'Service-Unavailable', 'Callback'],
  ...['User-Error', 'Host-Request', 'Supplicant-Restart', 'Reauthentication-Failure'],
  ...['Port-Reinit', 'Port-Disabled', 'Lost-Power'],
]

/** What stands there when the session ended without a Stop that tells. */
const ENDS_WITHOUT_CAUSE: readonly (readonly [endedBy: string, word: string])[] = [
  ['session-timeout', 'Session-Timeout'],
  ['nas-restarted', 'NAS-Reboot'],
  ['interims-missed', 'Lost-Carrier'],
  ['replaced', 'Port-Preempted'],
  ['disconnected', 'Admin-Reset'],
  ['escrow-removed', 'Admin-Reset'],
]

const place = `
  nas TEXT NOT NULL, nas_address TEXT NOT NULL, nas_identifier TEXT NOT NULL,
  nas_ip_address TEXT NOT NULL, calling_station_id TEXT NOT NULL, called_station_id TEXT NOT NULL,
  acct_session_id TEXT NOT NULL, acct_multi_session_id TEXT NOT NULL`

/**
 * A session is two rows: the terms and the money, and the counters, which every accounting record
 * changes and which are a tenth as long.
 */
const SESSIONS = `CREATE VIEW sessions AS
  SELECT f.*, u.session_time, u.input_octets, u.output_octets, u.heard_at, u.counters
  FROM session_facts f LEFT JOIN session_usage u ON u.id = f.id`

function tables({ integer, money, octets, serial, end, endKeyed }: Dialect): string[] {
  return [
    `CREATE TABLE tariffs (
      name TEXT NOT NULL, version ${integer} NOT NULL, since ${integer} NOT NULL,
      body TEXT NOT NULL, PRIMARY KEY (name, version)
    )${end}`,
    `CREATE TABLE accounts (
      account TEXT PRIMARY KEY, voucher ${money}, voucher_signature TEXT, voucher_at ${integer},
      credit ${money} NOT NULL, paid_intervals ${integer} NOT NULL,
      missed_intervals ${integer} NOT NULL, cuts ${integer} NOT NULL, last_cut_at ${integer},
      last_arrears_at ${integer}, last_allowance_at ${integer}
    )${end}`,
    `CREATE TABLE session_facts (
      number ${serial}, id TEXT NOT NULL UNIQUE, account TEXT, merchant TEXT NOT NULL,
      kind TEXT NOT NULL, state TEXT NOT NULL, ${place}, nas_port ${integer},
      tariff TEXT NOT NULL, tariff_version ${integer} NOT NULL, started_at ${integer} NOT NULL,
      closed_at ${integer}, ended_by TEXT, terminate_cause ${integer},
      credit ${money} NOT NULL, debt ${money} NOT NULL, disputed ${integer} NOT NULL,
      body TEXT NOT NULL
    )${end}`,
    'CREATE INDEX sessions_started ON session_facts (started_at)',
    'CREATE INDEX sessions_account ON session_facts (account, started_at)',
    'CREATE INDEX sessions_closed ON session_facts (closed_at)',
    `CREATE INDEX sessions_debt ON session_facts (account) WHERE debt <> '0'`,
    `CREATE TABLE session_usage (
      id TEXT PRIMARY KEY, session_time ${integer} NOT NULL, input_octets ${integer} NOT NULL,
      output_octets ${integer} NOT NULL, heard_at ${integer} NOT NULL, counters TEXT NOT NULL
    )${endKeyed}`,
    SESSIONS,
    `CREATE TABLE journal (
      number ${serial}, at ${integer} NOT NULL, account TEXT NOT NULL, session TEXT,
      merchant TEXT, amount ${money} NOT NULL, voucher ${money} NOT NULL
    )${end}`,
    'CREATE INDEX journal_at ON journal (at)',
    'CREATE INDEX journal_account ON journal (account, at)',
    `CREATE TABLE records (
      number ${serial}, received_at ${integer} NOT NULL, event_at ${integer} NOT NULL,
      status ${integer} NOT NULL, ${place}, nas_port ${integer}, user_name TEXT NOT NULL,
      session TEXT, attribution TEXT NOT NULL, input_octets ${octets}, output_octets ${octets},
      session_time ${integer}, terminate_cause ${integer}
    )${end}`,
    'CREATE INDEX records_received ON records (received_at)',
    `CREATE TABLE disputes (
      number ${serial}, at ${integer} NOT NULL, session TEXT NOT NULL, account TEXT,
      kind TEXT NOT NULL, nas_octets ${octets} NOT NULL, other_octets ${octets} NOT NULL
    )${end}`,
    'CREATE INDEX disputes_at ON disputes (at)',
    `CREATE TABLE authorizations (
      number ${serial}, id TEXT NOT NULL UNIQUE, session TEXT NOT NULL, kind TEXT NOT NULL,
      reason TEXT NOT NULL, at ${integer} NOT NULL, ended_at ${integer}, result TEXT NOT NULL,
      attempts ${integer} NOT NULL
    )${end}`,
    'CREATE INDEX authorizations_at ON authorizations (at)',
    `CREATE TABLE store_head (commits ${integer} NOT NULL, writer TEXT NOT NULL)${end}`,
    `INSERT INTO store_head VALUES (0, '')`,
  ]
}

function terminateCause(): string {
  const given = TERMINATE_CAUSES.map((word, index) => `WHEN ${index + 1} THEN '${word}'`)
  const ends = ENDS_WITHOUT_CAUSE.map(([endedBy, word]) => `WHEN '${endedBy}' THEN '${word}'`)
  return `CASE WHEN terminate_cause IS NOT NULL THEN
      CASE terminate_cause ${given.join(' ')} ELSE '' END
    ELSE CASE ended_by ${ends.join(' ')} ELSE '' END END`
}

/** The columns of FreeRADIUS 3's radacct, one row a session that a device really had. */
function radacct({ instant, inet, unknown }: Dialect): string {
  return `CREATE VIEW radacct AS SELECT
    number AS radacctid, acct_session_id AS acctsessionid, id AS acctuniqueid,
    coalesce(account, '') AS username, '' AS realm,
    ${inet(`coalesce(nullif(nas_ip_address, ''), nas_address)`)} AS nasipaddress,
    CAST(nas_port AS text) AS nasportid, ${unknown('text')} AS nasporttype,
    ${instant('started_at')} AS acctstarttime, ${instant('heard_at')} AS acctupdatetime,
    ${instant('closed_at')} AS acctstoptime, ${unknown('integer')} AS acctinterval,
    session_time AS acctsessiontime,
    CASE WHEN account IS NULL THEN NULL ELSE 'RADIUS' END AS acctauthentic,
    ${unknown('text')} AS connectinfo_start, ${unknown('text')} AS connectinfo_stop,
    input_octets AS acctinputoctets, output_octets AS acctoutputoctets,
    called_station_id AS calledstationid, calling_station_id AS callingstationid,
    ${terminateCause()} AS acctterminatecause,
    ${unknown('text')} AS servicetype, ${unknown('text')} AS framedprotocol,
    ${unknown('inet')} AS framedipaddress, ${unknown('inet')} AS framedipv6address,
    ${unknown('inet')} AS framedipv6prefix,
    ${unknown('text')} AS framedinterfaceid, ${unknown('inet')} AS delegatedipv6prefix,
    'ai:' || id AS class
    FROM sessions
    WHERE state <> 'reserved' AND (ended_by IS NULL OR ended_by <> 'abandoned')`
}

/** What devices attest. */
const attested = ({ integer, endKeyed }: Dialect): string[] => [
  `CREATE TABLE metering_keys (
    account TEXT NOT NULL, slot ${integer} NOT NULL, public_key TEXT NOT NULL,
    scheme TEXT NOT NULL, trust TEXT NOT NULL, enrolled_at ${integer} NOT NULL,
    expires_at ${integer} NOT NULL, PRIMARY KEY (account, slot)
  )${endKeyed}`,
  `ALTER TABLE accounts ADD COLUMN disagreements ${integer} NOT NULL DEFAULT 0`,
  `ALTER TABLE disputes ADD COLUMN trust TEXT NOT NULL DEFAULT 'none'`,
  `ALTER TABLE disputes ADD COLUMN sequence ${integer}`,
]

/** App Attest: an assertion must have a higher counter than the last. */
const counters = ({ integer }: Dialect): string[] => [
  `ALTER TABLE metering_keys ADD COLUMN counter ${integer} NOT NULL DEFAULT 0`,
]

/** Migration n is at index n - 1: the statements that bring version n - 1 to version n. */
export function migrations(dialect: Dialect): readonly (readonly string[])[] {
  const first = [...dialect.before, ...tables(dialect), radacct(dialect)]
  return [first, attested(dialect), counters(dialect)]
}

/** The table that says which migrations have run. */
export const VERSION_TABLE = 'CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)'

/** The store was written by a later version of this program. */
export function newerSchema(store: string, found: number, known: number): StorageError {
  const text = `${store} has schema ${found}, this program knows ${known}: run the newer program`
  return new StorageError('failed', text)
}
