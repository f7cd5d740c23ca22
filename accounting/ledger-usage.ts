// Accounting records and the device's own meter, folded into sessions: who is heard of when, what
// volume counts, what is disputed. Owns no attribution: which session a record is about was decided
// before. Called by the ledger.

import type { Usage } from './ledger.ts'
import { closeRow, draw, markVolume, rateAnew, settle } from './ledger-judge.ts'
import { bookOf, put, putAccount, type Row, type Tables } from './ledger-tables.ts'
import { stateAfter } from './lifecycle.ts'
import { expireKey } from './metering-keys.ts'
import { debtOf, octetsOf, owed } from './rating.ts'
import type { AttestedUsage, Dispute, NasPlace, Session } from './session.ts'
import { baseline, disagrees, type Folded, foldUsage, octetsPossible } from './usage.ts'

/** A NAS that was away for longer keeps no interval that could be told from it. */
const INTERIM_MAX_MS = 3_600_000

/** What was known of a place, and what a later record adds; its station stays as it was. */
function mergePlace(known: NasPlace, told: NasPlace): NasPlace {
  const nasPort = told.nasPort ?? known.nasPort
  const address = told.address || known.address
  const nasIdentifier = told.nasIdentifier || known.nasIdentifier
  const nasIpAddress = told.nasIpAddress || known.nasIpAddress
  const acctSessionId = told.acctSessionId || known.acctSessionId
  const acctMultiSessionId = told.acctMultiSessionId || known.acctMultiSessionId
  const isSame =
    nasPort === known.nasPort &&
    address === known.address &&
    nasIdentifier === known.nasIdentifier &&
    nasIpAddress === known.nasIpAddress &&
    acctSessionId === known.acctSessionId &&
    acctMultiSessionId === known.acctMultiSessionId
  if (isSame) return known
  return {
    ...known,
    ...{ nasPort, address, nasIdentifier, nasIpAddress, acctSessionId, acctMultiSessionId },
  }
}

/** Volume that comes after billing stopped is kept as evidence in the record, and not counted. */
const countsVolume = ({ cutAtMs, tariff }: Session, nowMs: number): boolean =>
  cutAtMs === undefined || nowMs <= cutAtMs + tariff.intervalMs

/**
 * Both clocks of its NAS say that a later record was counted: it can add nothing, and a larger
 * value in it is from before the counters began anew.
 */
const isOvertaken = (session: Session, { sessionTimeSeconds = 0 }: Usage, older: boolean) =>
  older && sessionTimeSeconds > 0 && sessionTimeSeconds < session.sessionTimeSeconds

function fold(session: Session, usage: Usage, older: boolean, nowMs: number): Folded {
  if (!countsVolume(session, nowMs) || isOvertaken(session, usage, older)) {
    return { input: session.input, output: session.output, clamped: 0n }
  }
  const possible = octetsPossible(usage.octetsPerSecondMax, nowMs - session.startedAtMs)
  const { inputOctets, outputOctets, wide } = usage
  const reported = { inputOctets, outputOctets, wide, older }
  const folded = foldUsage(session, reported, possible - octetsOf(session))
  if (session.continues === undefined || session.lastRecord !== '') return folded
  // A reconnect begins with this record: what it counts is from before.
  return { input: baseline(folded.input), output: baseline(folded.output), clamped: 0n }
}

/** So many records of a session are known again in copies of them; about 100 bytes each. */
const OVERTAKEN_MAX = 16

/** A copy of an old record says nothing new: it would only fill the store. Remembers this one. */
function isKnownAgain(row: Row, record: string): boolean {
  const known = row.overtaken ?? []
  if (known.includes(record)) return true
  row.overtaken = [...known.slice(1 - OVERTAKEN_MAX), record]
  return false
}

/**
 * By our own clock, since the stamp of a NAS whose clock is wrong says nothing of when the device
 * spoke. Acct-Delay-Time has whole seconds (RFC 2866 §5.2): it may be up to one older.
 */
const isMadeAfter = ({ sentAtMs }: Usage, atMs: number): boolean => sentAtMs - 1_000 >= atMs

/** Folds a record; its session is brought up to the time first. */
export function report(
  tables: Tables,
  row: Row,
  usage: Usage,
  place: NasPlace,
  nowMs: number,
): 'counted' | 'duplicate' | 'late' {
  settle(tables, row, nowMs)
  const { session } = row
  if (usage.record === session.lastRecord) return 'duplicate'
  const isOver = session.state === 'closed' || session.state === 'reserved'
  const older = usage.eventAtMs < session.eventAtMs
  if ((isOver || older) && isKnownAgain(row, usage.record)) return 'duplicate'
  if (isOver) return 'late'
  const { input, output, clamped } = fold(session, usage, older, nowMs)
  const gapMs = session.eventAtMs === 0 || older ? 0 : usage.eventAtMs - session.eventAtMs
  const seconds = usage.sessionTimeSeconds ?? 0
  put(tables, row, {
    ...session,
    state: stateAfter(session.state, 'heard'),
    place: mergePlace(session.place, place),
    ...{ input, output, heardAtMs: nowMs },
    sessionTimeSeconds: Math.max(session.sessionTimeSeconds, seconds),
    lastRecord: usage.record,
    eventAtMs: older ? session.eventAtMs : usage.eventAtMs,
    interimMs: Math.max(session.interimMs, Math.min(gapMs, INTERIM_MAX_MS)),
  })
  if (clamped > 0n && !row.session.disputed) {
    const otherOctets = input.total + output.total
    const figures = { nasOctets: otherOctets + clamped, otherOctets }
    const sides: Sides = { kind: 'rate-clamped', ...figures, trust: 'none', sequence: undefined }
    dispute(tables, row, sides, nowMs)
  }
  const { attested } = row.session
  // More than was signed may have flowed since; less, in a record made after that, can't be.
  if (attested !== undefined && isMadeAfter(usage, attested.atMs) && !older) {
    const counted = octetsOf(row.session)
    if (counted < attested.inputOctets + attested.outputOctets) {
      reconcile(tables, row, counted, nowMs)
    }
  }
  markVolume(tables, row, nowMs)
  return 'counted'
}

/** Folds a Stop and closes: at its own time, but not before the session was last heard of. */
export function stop(
  tables: Tables,
  row: Row,
  usage: Usage,
  place: NasPlace,
  nowMs: number,
): 'counted' | 'duplicate' | 'late' {
  const { heardAtMs } = row.session
  const outcome = report(tables, row, usage, place, nowMs)
  if (outcome !== 'counted') return outcome
  put(tables, row, { ...row.session, terminateCause: usage.terminateCause })
  const overAtMs = usage.overAtMs ?? usage.eventAtMs
  closeRow(tables, row, 'stopped', Math.min(nowMs, Math.max(overAtMs, heardAtMs)), nowMs)
  return outcome
}

/** Both sides of a disagreement; `trust` and `sequence` as in a Dispute. */
type Sides = Pick<Dispute, 'kind' | 'nasOctets' | 'otherOctets' | 'trust' | 'sequence'>

/** Notes a disagreement: with the session's debt, and where meters disagree with its account. */
function dispute(tables: Tables, row: Row, sides: Sides, atMs: number): void {
  const { session } = row
  const { id, account, disputed, kind } = session
  tables.logs.disputes.push({ atMs, session: id, account, ...sides })
  if (disputed) return
  put(tables, row, { ...session, disputed: true })
  // What only its NAS speaks of is held against nobody's account.
  if (sides.kind === 'rate-clamped' || account === undefined || kind === 'pmksa') return
  const book = bookOf(tables, account)
  putAccount(tables, book, { disagreements: book.account.disagreements + 1 })
}

/**
 * Compares what a device says without a signature with what the NAS says, once a session. While a
 * session is open the NAS is behind by up to an interim interval, so only a device that measured
 * less disagrees.
 */
export function compareMeters(tables: Tables, row: Row, octets: bigint, nowMs: number): void {
  const { session } = row
  const counted = octetsOf(session)
  if (session.disputed || session.state === 'reserved' || !disagrees(counted, octets)) return
  if (octets > counted && session.state !== 'closed') return
  const figures = { nasOctets: counted, otherOctets: octets }
  const sides: Sides = {
    kind: 'usage-disagreement',
    ...figures,
    trust: 'none',
    sequence: undefined,
  }
  dispute(tables, row, sides, nowMs)
}

/** The same with a signed report, and what the NAS had `counted` by then. */
function reconcile(tables: Tables, row: Row, counted: bigint, nowMs: number): void {
  const { attested, ...rest } = row.session
  if (attested === undefined || attested.disagrees) return
  const octets = attested.inputOctets + attested.outputOctets
  if (!disagrees(counted, octets)) return
  const { trust, sequence, slot } = attested
  const figures = { nasOctets: counted, otherOctets: octets }
  dispute(tables, row, { kind: 'usage-disagreement', ...figures, trust, sequence }, nowMs)
  const { disputed, account, kind } = row.session
  put(tables, row, { ...rest, disputed, attested: { ...attested, disagrees: true } })
  if (account === undefined || slot === undefined || kind === 'pmksa') return
  if (octets < counted) expireKey(tables, account, slot)
}

/** Takes the device's signed report in; its session is brought up to the time first. */
export function attest(tables: Tables, row: Row, report: AttestedUsage, nowMs: number): void {
  settle(tables, row, nowMs)
  const { session } = row
  const disagrees = session.attested?.disagrees ?? false
  const attested = { ...report, atMs: nowMs, countedOctets: octetsOf(session), disagrees }
  const before = owed(session, nowMs)
  put(tables, row, { ...session, attested })
  // While it is open, a record of now may speak of later than the report, which was under way: what
  // was counted at the report before was counted before the device read its meter for this one.
  const isOver = session.state === 'closed'
  const counted = isOver ? octetsOf(session) : (session.attested?.countedOctets ?? 0n)
  if (isOver || counted > report.inputOctets + report.outputOctets) {
    reconcile(tables, row, counted, nowMs)
  }
  if (owed(row.session, nowMs) < before) rateAnew(tables, row, nowMs)
  else markVolume(tables, row, nowMs)
  // As at its end: what its account has paid already is no debt.
  if (row.session.state === 'closed') draw(tables, row, debtOf(row.session), nowMs)
}
