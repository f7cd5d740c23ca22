// How a session begins: decided on and reserved, then confirmed with its Accept, or told by a Start
// that came without one. Owns no decision: admission made it. Called by the ledger.

import type { Address } from '../ethereum/address.ts'
import { mayHaveArrears } from './admission.ts'
import type { NewSession } from './ledger.ts'
import { closeRow, draw, settle } from './ledger-judge.ts'
import { addRow, bookOf, placeOf, put, putAccount, type Row, type Tables } from './ledger-tables.ts'
import { stateAfter } from './lifecycle.ts'
import type { Account, Session } from './session.ts'
import { hasAllowance, intervalPrice, type Tariff, withoutAllowance } from './tariff.ts'
import { baseline, zeroCounter } from './usage.ts'

/** RFC 2869 §5.16: no interim interval is shorter; what an access point keeps if asked for less. */
const INTERIM_MIN_MS = 60_000

const fresh = (o: NewSession, merchant: Address, startedAtMs: number): Session => ({
  ...{ id: o.id, kind: o.kind, state: 'reserved', continues: undefined, account: o.account },
  ...{ merchant, place: o.place, tariff: o.tariff, reserve: o.reserve, startedAtMs },
  endsAtMs: o.endsAtMs,
  ...{ endedAtMs: undefined, closedAtMs: undefined, endedBy: undefined },
  ...{ terminateCause: undefined, credit: 0n },
  ...{ input: zeroCounter, output: zeroCounter, sessionTimeSeconds: 0 },
  ...{ heardAtMs: startedAtMs, lastRecord: '', eventAtMs: 0 },
  interimMs: Math.max(INTERIM_MIN_MS, o.tariff.intervalMs),
  ...{ judged: 0, missed: 0, paidIntervals: 0, endsOwed: [], volumeDue: undefined },
  ...{ cutAtMs: undefined, cutReason: undefined, disputed: false, attested: undefined },
})

/** Takes the reserve of a session that was decided on. */
export function begin(
  tables: Tables,
  session: NewSession,
  operator: Address,
  nowMs: number,
): Session {
  if (tables.rows.has(session.id)) throw new RangeError(`session ${session.id} is there already`)
  return addRow(tables, fresh(session, session.merchant ?? operator, nowMs)).session
}

/** Opens it: what is stored and paid for begins here. */
export function confirm(tables: Tables, id: string, nowMs: number): Session | undefined {
  const row = tables.open.get(id)
  if (row === undefined) return undefined
  settle(tables, row, nowMs)
  const { session } = row
  if (session.state === 'closed' || !tables.open.has(id)) return undefined
  if (session.state !== 'reserved') return session
  const tariff = noteUses(tables, session, nowMs)
  if (tariff === undefined) return void closeRow(tables, row, 'abandoned', nowMs)
  const earlier = replaceEarlier(tables, row, nowMs)
  put(tables, row, {
    ...{ ...session, tariff, state: stateAfter(session.state, 'confirmed'), startedAtMs: nowMs },
    endsAtMs: nowMs + (session.endsAtMs - session.startedAtMs),
    heardAtMs: nowMs,
    input: earlier === undefined ? zeroCounter : baseline(earlier.input),
    output: earlier === undefined ? zeroCounter : baseline(earlier.output),
  })
  return enter(tables, row, nowMs)
}

const DAY_MS = 24 * 3_600_000

/** Free minutes and megabytes are there once a day. */
export const mayHaveAllowance = ({ lastAllowanceAtMs }: Account, nowMs: number): boolean =>
  lastAllowanceAtMs === undefined || nowMs >= lastAllowanceAtMs + DAY_MS

/**
 * What an account has only now and then is used up by a session that begins, not by a conversation
 * that comes to nothing. Its terms where two were decided on at once; undefined: it had its window.
 */
function noteUses(tables: Tables, session: Session, nowMs: number): Tariff | undefined {
  const { kind, tariff } = session
  if (session.account === undefined) return tariff
  const book = bookOf(tables, session.account)
  if (kind === 'arrears') {
    if (!mayHaveArrears(book.account, nowMs)) return undefined
    putAccount(tables, book, { lastArrearsAtMs: nowMs })
  }
  if (!hasAllowance(tariff)) return tariff
  if (!mayHaveAllowance(book.account, nowMs)) return withoutAllowance(tariff)
  putAccount(tables, book, { lastAllowanceAtMs: nowMs })
  return tariff
}

/** An account with a session has a row in the store, and pays ahead what it left here. */
function enter(tables: Tables, row: Row, nowMs: number): Session {
  const { account, tariff } = row.session
  if (account !== undefined) {
    putAccount(tables, bookOf(tables, account), {})
    draw(tables, row, intervalPrice(tariff), nowMs)
  }
  return row.session
}

/**
 * Ends what the account has at the same place. Returns it where its NAS only authenticated the
 * station again: the accounting session goes on, and its octets are not counted a second time.
 */
function replaceEarlier(tables: Tables, row: Row, nowMs: number): Session | undefined {
  const { session } = row
  if (session.account === undefined) return undefined
  let same: Session | undefined
  for (const other of bookOf(tables, session.account).places.get(placeOf(session)) ?? []) {
    if (other === row) continue
    settle(tables, other, nowMs)
    if (other.session.state === 'closed') continue
    const { state, place } = other.session
    const ended = closeRow(tables, other, 'replaced', nowMs)
    const { acctSessionId, acctMultiSessionId } = session.place
    const goesOn =
      state !== 'reserved' &&
      acctSessionId !== '' &&
      place.acctSessionId === acctSessionId &&
      place.acctMultiSessionId === acctMultiSessionId
    if (goesOn) same = ended
  }
  return same
}

/** A session whose Accept was for another, or for none of ours; it is heard of as it begins. */
export function beginByStart(
  tables: Tables,
  o: NewSession,
  of: string | undefined,
  operator: Address,
  startedAtMs: number,
): Session {
  if (tables.rows.has(o.id)) throw new RangeError(`session ${o.id} is there already`)
  const before = of === undefined ? undefined : tables.rows.get(of)?.session
  const row = addRow(tables, {
    ...fresh(o, o.merchant ?? operator, startedAtMs),
    continues: before?.continues ?? of,
  })
  if (o.kind === 'pmksa' && o.account !== undefined) {
    bookOf(tables, o.account).reconnects.set(o.place.nas, startedAtMs)
  }
  replaceEarlier(tables, row, startedAtMs)
  const opened = stateAfter(stateAfter(row.session.state, 'confirmed'), 'heard')
  put(tables, row, { ...row.session, state: opened })
  return enter(tables, row, startedAtMs)
}
