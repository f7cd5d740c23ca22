// A server that will be killed: starts metering-process.ts, puts a load on it, ends it with
// SIGKILL, and looks for everything it told in the store it left behind. Called by the storage
// tests.

import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Ports, Receipt, Told } from './paying-load.ts'
import { root, waitFor } from './server.ts'

const folder = join(root, 'test', 'interop')
const READY_MS = 30_000

export interface Doomed {
  readonly child: ChildProcess
  /** Its ports once it is ready; undefined where it ended before. */
  readonly ready: Promise<Ports | undefined>
  /** What it said on standard error. */
  errors(): string
  /** Stops it where it is; resolves when no call of it is on its way in the kernel. */
  freeze(): Promise<void>
  /** Ends it with SIGKILL; resolves when it is gone. */
  kill(): Promise<void>
}

/** Starts it on the store at `path`; `sabotage`: a safeguard to take out (sabotage.ts). */
export function startDoomed(path: string, payers: number, sabotage?: string): Doomed {
  const preload = sabotage === undefined ? [] : ['--import', join(folder, 'sabotage.ts')]
  const program = join(folder, 'metering-process.ts')
  const child = spawn(process.execPath, [...preload, program, path, `${payers}`], {
    env: {
      ...process.env,
      // What it loads is compiled once, not at each of many starts.
      NODE_COMPILE_CACHE: join(root, 'node_modules', '.cache', 'compiled'),
      ...(sabotage === undefined ? {} : { SABOTAGE: sabotage }),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  let errors = ''
  child.stdout.on('data', (bytes: Buffer) => {
    said += bytes.toString()
  })
  child.stderr.on('data', (bytes: Buffer) => {
    errors += bytes.toString()
  })
  let isGone = false
  const gone = new Promise<void>((resolve) => {
    child.once('close', () => {
      isGone = true
      resolve()
    })
  })
  const ready = (async () => {
    await waitFor(
      () => said.endsWith('\n') || isGone,
      READY_MS,
      () => `not ready: ${errors}`,
    )
    const [, accounting, http] = /^ready (\d+) (\d+)\n$/.exec(said) ?? []
    if (accounting === undefined || http === undefined) return undefined
    return { accounting: Number(accounting), http: Number(http) }
  })()
  return {
    ...{ child, ready, errors: () => errors },
    async freeze() {
      child.kill('SIGSTOP')
      await waitFor(
        () => isGone || threadStates(child.pid ?? 0).every((state) => state === 'T'),
        READY_MS,
        () => 'it can not be stopped',
      )
    },
    async kill() {
      child.kill('SIGKILL')
      await gone
    },
  }
}

/** One letter each, as in proc_pid_stat(5). */
function threadStates(pid: number): string[] {
  const tasks = `/proc/${pid}/task`
  return readdirSync(tasks).map((thread) => {
    const stat = readFileSync(join(tasks, thread, 'stat'), 'utf8')
    return stat.charAt(stat.lastIndexOf(')') + 2)
  })
}

type Column = string | number | bigint | null

/** Rows as `a b c` with how often each is there. */
function counted(database: DatabaseSync, sql: string): Map<string, number> {
  const rows = database.prepare(sql).all() as Record<string, Column>[]
  const counts = new Map<string, number>()
  for (const row of rows) {
    const text = Object.values(row).join(' ')
    counts.set(text, (counts.get(text) ?? 0) + 1)
  }
  return counts
}

function recordsMissing(database: DatabaseSync, records: Iterable<string>): string[] {
  const stored = counted(
    database,
    `SELECT session, input_octets FROM records WHERE attribution = 'session'`,
  )
  const missing = [...records].filter((record) => !stored.has(record))
  const twice = [...stored].filter(([, count]) => count > 1).map(([record]) => record)
  return [
    ...missing.map((record) => `answered, and not stored: record ${record}`),
    ...twice.map((record) => `stored twice: record ${record}`),
  ]
}

/** What of each voucher went to each session. */
function receiptsMissing(database: DatabaseSync, receipts: readonly Receipt[]): string[] {
  const credited = new Map<string, bigint>()
  const vouchers = new Set<string>()
  const rows = database.prepare('SELECT account, session, voucher, amount FROM journal').all()
  for (const { account, session, voucher, amount } of rows) {
    const name = `${account} ${session} ${voucher}`
    credited.set(name, (credited.get(name) ?? 0n) + BigInt(String(amount)))
    vouchers.add(`${account} ${voucher}`)
  }
  const isThere = ({ account, session, amount, credited: part }: Receipt): boolean =>
    (credited.get(`${account} ${session} ${amount}`) ?? 0n) >= part &&
    vouchers.has(`${account} ${amount}`)
  return receipts
    .filter((receipt) => !isThere(receipt))
    .map(({ account, amount }) => `a receipt, and not stored: ${account} up to ${amount}`)
}

/** Sums the journal by a column and compares with what another table says. */
function unequalSums(database: DatabaseSync, by: string, claimed: string): string[] {
  const sums = new Map<unknown, bigint>()
  for (const row of database.prepare(`SELECT ${by} AS name, amount FROM journal`).all()) {
    sums.set(row['name'], (sums.get(row['name']) ?? 0n) + BigInt(String(row['amount'])))
  }
  const claims = database.prepare(claimed).all()
  return claims
    .filter(({ name, total }) => (sums.get(name) ?? 0n) !== BigInt(String(total ?? 0)))
    .map(({ name, total }) => `${by} ${name} has ${total}, the journal ${sums.get(name)}`)
}

/** Sessions whose counter is below what was answered. */
function countersBehind(database: DatabaseSync, records: Iterable<string>): string[] {
  const told = new Map<string, number>()
  for (const record of records) {
    const [session = '', octets] = record.split(' ')
    told.set(session, Math.max(told.get(session) ?? 0, Number(octets)))
  }
  const counters = database.prepare('SELECT id, input_octets AS octets FROM sessions').all()
  return counters
    .filter(({ id, octets }) => Number(octets) < (told.get(String(id)) ?? 0))
    .map(({ id, octets }) => `session ${id} has ${octets}, it was told ${told.get(String(id))}`)
}

/** What was told and is not in the store at `path`, in words; empty: all of it is there, once. */
export function lost(path: string, told: Told): string[] {
  const isEmpty = told.records.size + told.receipts.length === 0
  if (!existsSync(path)) return isEmpty ? [] : ['there is no store']
  const database = new DatabaseSync(path)
  try {
    const tables = database.prepare(`SELECT name FROM sqlite_schema WHERE name = 'journal'`).all()
    if (tables.length === 0) return isEmpty ? [] : ['the store is empty']
    return [
      ...recordsMissing(database, told.records),
      ...receiptsMissing(database, told.receipts),
      ...countersBehind(database, told.records),
      ...unequalSums(database, 'account', 'SELECT account AS name, voucher AS total FROM accounts'),
      ...unequalSums(database, 'session', 'SELECT id AS name, credit AS total FROM sessions'),
    ]
  } finally {
    database.close()
  }
}

/** The database's own check of itself: `ok`. */
export function integrity(path: string): unknown {
  const database = new DatabaseSync(path)
  try {
    return database.prepare('PRAGMA integrity_check').get()?.['integrity_check']
  } finally {
    database.close()
  }
}
