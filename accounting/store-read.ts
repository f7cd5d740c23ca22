// From rows of the store to values, and every question the store answers, in SQL that both
// databases understand. Refuses to guess: a row that can't be one of ours ends the question with an
// error. Called by store-sqlite.ts and store-postgres.ts, which run the SQL.

import { type Address, parseAddress } from '../ethereum/address.ts'
import { closedTotals } from './closed-totals.ts'
import type {
  Account,
  AccountingRecord,
  Dispute,
  DynamicAuthorization,
  JournalEntry,
  MeteringKey,
  Session,
  TariffVersion,
} from './session.ts'
import type { MerchantCredit, Page, Storage } from './storage.ts'
import { sessionOf, tariffOf } from './store-body.ts'
import type { Tariff } from './tariff.ts'

/** One row, as the database's driver gives it. */
export type Row = Readonly<Record<string, unknown>>
/** Runs a query whose parameters are `?`. */
export type Query = (sql: string, parameters: readonly (string | number)[]) => Promise<Row[]>

/** What is listed at once at most: a page is held in memory, and sent, whole. */
const PAGE_MAX = 10_000
/** Entries that are looked through for one merchant's: the journal has no index by merchant. */
const SCAN_MAX = 50_000
const CREDITS_PAGE = 1_000
/**
 * Sessions of one account that count as disputed at one client entry: a device that lies signs as
 * many short ones as it likes, and would ruin who serves it; accounts cost a deposit each.
 */
const DISPUTES_EACH = 5

const asText = (value: unknown): string | undefined => (value === null ? undefined : String(value))
const asNumber = (value: unknown): number | undefined =>
  value === null ? undefined : Number(value)
const asBigint = (value: unknown): bigint | undefined =>
  value === null ? undefined : BigInt(String(value))

function asAddress(value: unknown): Address | undefined {
  if (value === null) return undefined
  const address = parseAddress(String(value))
  if (address === undefined) throw new Error(`the store holds "${value}" where an account belongs`)
  return address
}

function mustAddress(value: unknown): Address {
  const address = asAddress(value)
  if (address === undefined) throw new Error('the store holds a row without its account')
  return address
}

/** Rows of `body` and `counters` to sessions; equal tariffs become one object. */
function readSessions(rows: readonly Row[]): Session[] {
  const tariffs = new Map<string, Tariff>()
  return rows.map((row) => sessionOf(String(row['body']), String(row['counters']), tariffs))
}

function readAccount(row: Row): Account {
  const voucher = asBigint(row['voucher'])
  const signature = String(row['voucher_signature'])
  return {
    account: mustAddress(row['account']),
    voucher:
      voucher === undefined
        ? undefined
        : { amount: voucher, signature, atMs: Number(row['voucher_at']) },
    credit: BigInt(String(row['credit'])),
    paidIntervals: Number(row['paid_intervals']),
    missedIntervals: Number(row['missed_intervals']),
    disagreements: Number(row['disagreements']),
    cuts: Number(row['cuts']),
    lastCutAtMs: asNumber(row['last_cut_at']),
    lastArrearsAtMs: asNumber(row['last_arrears_at']),
    lastAllowanceAtMs: asNumber(row['last_allowance_at']),
  }
}

/** An account that has sessions, and never paid or missed anything. */
function blankAccount(account: Address): Account {
  return {
    account,
    voucher: undefined,
    credit: 0n,
    paidIntervals: 0,
    missedIntervals: 0,
    disagreements: 0,
    cuts: 0,
    lastCutAtMs: undefined,
    lastArrearsAtMs: undefined,
    lastAllowanceAtMs: undefined,
  }
}

function readJournal(row: Row): JournalEntry {
  return {
    atMs: Number(row['at']),
    account: mustAddress(row['account']),
    session: asText(row['session']),
    merchant: asAddress(row['merchant']),
    amount: BigInt(String(row['amount'])),
    voucher: BigInt(String(row['voucher'])),
  }
}

/** Entries that name a session name its merchant; those of the account's own credit do neither. */
const CREDITS = `SELECT number, at, merchant, account, session, amount FROM journal
  WHERE merchant IS NOT NULL AND session IS NOT NULL`

function readCredit(row: Row): MerchantCredit {
  return {
    number: Number(row['number']),
    atMs: Number(row['at']),
    merchant: mustAddress(row['merchant']),
    account: mustAddress(row['account']),
    session: String(row['session']),
    amount: BigInt(String(row['amount'])),
  }
}

async function creditsOf(query: Query, merchant: Address, before: number | undefined) {
  const [newest] = await query('SELECT max(number) AS number FROM journal', [])
  const top = before ?? (asNumber(newest?.['number'] ?? null) ?? 0) + 1
  const from = Math.max(0, top - SCAN_MAX)
  const rows = await query(
    `${CREDITS} AND merchant = ? AND number >= ? AND number < ? ORDER BY number DESC LIMIT ?`,
    [merchant, from, top, CREDITS_PAGE],
  )
  const credits = rows.map(readCredit)
  const reached = rows.length < CREDITS_PAGE ? from : (credits.at(-1)?.number ?? from)
  return { credits, next: reached > 0 ? reached : undefined }
}

function readRecord(row: Row): AccountingRecord {
  return {
    receivedAtMs: Number(row['received_at']),
    eventAtMs: Number(row['event_at']),
    status: Number(row['status']),
    place: {
      nas: String(row['nas']),
      address: String(row['nas_address']),
      nasIdentifier: String(row['nas_identifier']),
      nasIpAddress: String(row['nas_ip_address']),
      nasPort: asNumber(row['nas_port']),
      callingStationId: String(row['calling_station_id']),
      calledStationId: String(row['called_station_id']),
      acctSessionId: String(row['acct_session_id']),
      acctMultiSessionId: String(row['acct_multi_session_id']),
    },
    userName: String(row['user_name']),
    session: asText(row['session']),
    attribution: String(row['attribution']) as AccountingRecord['attribution'],
    inputOctets: asBigint(row['input_octets']),
    outputOctets: asBigint(row['output_octets']),
    sessionTimeSeconds: asNumber(row['session_time']),
    terminateCause: asNumber(row['terminate_cause']),
  }
}

function readDispute(row: Row): Dispute {
  return {
    atMs: Number(row['at']),
    session: String(row['session']),
    account: asAddress(row['account']),
    kind: String(row['kind']) as Dispute['kind'],
    nasOctets: BigInt(String(row['nas_octets'])),
    otherOctets: BigInt(String(row['other_octets'])),
    trust: String(row['trust']) as Dispute['trust'],
    sequence: asNumber(row['sequence']),
  }
}

function readAuthorization(row: Row): DynamicAuthorization {
  return {
    id: String(row['id']),
    session: String(row['session']),
    kind: String(row['kind']) as DynamicAuthorization['kind'],
    reason: String(row['reason']) as DynamicAuthorization['reason'],
    atMs: Number(row['at']),
    endedAtMs: asNumber(row['ended_at']),
    result: String(row['result']),
    attempts: Number(row['attempts']),
  }
}

function readTariff(row: Row): TariffVersion {
  return { tariff: tariffOf(String(row['body'])), sinceMs: Number(row['since']) }
}

function readMeteringKey(row: Row): MeteringKey {
  return {
    account: mustAddress(row['account']),
    slot: Number(row['slot']),
    publicKey: String(row['public_key']),
    scheme: String(row['scheme']),
    trust: String(row['trust']) as MeteringKey['trust'],
    enrolledAtMs: Number(row['enrolled_at']),
    expiresAtMs: Number(row['expires_at']),
    counter: Number(row['counter']),
  }
}

const KEYS = 'SELECT * FROM metering_keys WHERE account'

/** Amounts are text in one database and numbers in the other: this compares with both. */
const OWING = "debt <> '0'"

/** The accounts of these sessions, also those nothing else is known of. */
function accountsOf(sessions: readonly Session[], rows: readonly Row[]): Account[] {
  const accounts = new Map(rows.map(readAccount).map((account) => [account.account, account]))
  for (const { account } of sessions) {
    if (account !== undefined && !accounts.has(account))
      accounts.set(account, blankAccount(account))
  }
  return [...accounts.values()]
}

/**
 * Records have no index by session: it would cost each of them a page of its own to write. None is
 * older than its session; and a day after its end the ledger knows the session no more.
 */
function ofSession(session: string): (readonly [condition: string, value: string])[] {
  return [
    ['session = ?', session],
    ['received_at >= (SELECT started_at FROM sessions WHERE id = ?)', session],
    [
      'received_at < (SELECT coalesce(closed_at + 86400000, 9e15) FROM sessions WHERE id = ?)',
      session,
    ],
  ]
}

/**
 * A page of a table, newest first: `limit` rows, and those of the same moment as the last of them,
 * which the next page (older than that moment) would leave out.
 */
async function page(
  query: Query,
  table: string,
  time: string,
  { limit, beforeMs, ...equal }: Page & { session?: string },
): Promise<Row[]> {
  const bySession = `session IN (SELECT id FROM sessions WHERE account = ?)`
  const hasAccount = /^(sessions|journal|disputes)$/.test(table)
  const conditions = [
    ...(beforeMs === undefined ? [] : [[`${time} < ?`, beforeMs] as const]),
    ...(equal.session === undefined ? [] : ofSession(equal.session)),
    ...(equal.account === undefined
      ? []
      : [[hasAccount ? 'account = ?' : bySession, equal.account] as const]),
  ]
  const parameters = conditions.map(([, value]) => value)
  const where = conditions.map(([condition]) => condition)
  const rows = Math.max(1, Math.min(limit, PAGE_MAX))
  const select = `SELECT * FROM ${table}`
  const order = `ORDER BY ${time} DESC, number DESC LIMIT ?`
  const first = await query(
    `${select} ${where.length === 0 ? '' : `WHERE ${where.join(' AND ')}`} ${order}`,
    [...parameters, rows],
  )
  const last = first.at(-1)
  if (last === undefined || first.length < rows) return first
  const ties = [...where, `${time} = ?`, 'number < ?'].join(' AND ')
  const more = [...parameters, Number(last[time]), Number(last['number']), PAGE_MAX]
  return [...first, ...(await query(`${select} WHERE ${ties} ${order}`, more))]
}

/** The reading half of a Storage. */
export function storeReader(query: Query): Omit<Storage, 'commit' | 'prune' | 'close'> {
  const bodies = async (where: string, parameters: (string | number)[]) =>
    readSessions(
      // The plus keeps SQLite from reading all there ever were in the order of their numbers.
      await query(
        `SELECT body, counters FROM sessions WHERE ${where} ORDER BY +number`,
        parameters,
      ),
    )
  return {
    async load(closedSinceMs) {
      // Each by an index of its own: together by OR they would have none.
      const conditions = ['closed_at IS NULL', 'closed_at >= ?', OWING] as const
      const open = await bodies(conditions[0], [])
      const sessions = [...open, ...(await bodies(conditions[1], [closedSinceMs]))]
      const debts = await bodies(conditions[2], [])
      const theirs = conditions.map((where) => `SELECT account FROM sessions WHERE ${where}`)
      const accounts = await query(
        `SELECT * FROM accounts WHERE account IN (${theirs.join(' UNION ALL ')})`,
        [closedSinceMs],
      )
      const keys = await query(`${KEYS} IN (${theirs.join(' UNION ALL ')})`, [closedSinceMs])
      const tariffs = await query('SELECT * FROM tariffs ORDER BY name, version', [])
      return {
        ...{ sessions, debts, accounts: accountsOf([...sessions, ...debts], accounts) },
        tariffs: tariffs.map(readTariff),
        meteringKeys: keys.map(readMeteringKey),
      }
    },
    async account(account) {
      const [row] = await query('SELECT * FROM accounts WHERE account = ?', [account])
      const sessions = await bodies(`account = ? AND (closed_at IS NULL OR ${OWING})`, [account])
      if (row === undefined && sessions.length === 0) return undefined
      const meteringKeys = (await query(`${KEYS} = ?`, [account])).map(readMeteringKey)
      const read = row === undefined ? blankAccount(account) : readAccount(row)
      return { account: read, sessions, meteringKeys }
    },
    sessions: async (o) => readSessions(await page(query, 'sessions', 'started_at', o)),
    journal: async (o) => (await page(query, 'journal', 'at', o)).map(readJournal),
    async creditsSince(number, limit) {
      const most = Math.max(1, Math.min(limit, PAGE_MAX))
      const sql = `${CREDITS} AND number > ? ORDER BY number LIMIT ?`
      return (await query(sql, [number, most])).map(readCredit)
    },
    creditsOf: (merchant, before) => creditsOf(query, merchant, before),
    closedTotals: (account, endedBeforeMs) => closedTotals(query, account, endedBeforeMs),
    disputes: async (o) => (await page(query, 'disputes', 'at', o)).map(readDispute),
    authorizations: async (o) =>
      (await page(query, 'authorizations', 'at', o)).map(readAuthorization),
    async histories(endedSinceMs) {
      const rows = await query(
        `SELECT nas, sum(sessions) AS sessions, sum(lost) AS lost,
            sum(CASE WHEN disputed > ${DISPUTES_EACH} THEN ${DISPUTES_EACH} ELSE disputed END)
              AS disputed
          FROM (SELECT nas, count(*) AS sessions, sum(disputed) AS disputed,
              sum(CASE WHEN ended_by IN ('nas-restarted', 'interims-missed') THEN 1 ELSE 0 END) AS lost
            FROM sessions
            WHERE closed_at >= ? AND account IS NOT NULL AND ended_by <> 'abandoned'
            GROUP BY nas, account) AS accounts
          GROUP BY nas ORDER BY nas`,
        [endedSinceMs],
      )
      return rows.map((row) => ({
        nas: String(row['nas']),
        sessions: Number(row['sessions']),
        lost: Number(row['lost']),
        disputed: Number(row['disputed']),
      }))
    },
    records: async (o) => (await page(query, 'records', 'received_at', o)).map(readRecord),
  }
}
