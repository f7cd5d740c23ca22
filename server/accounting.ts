// An Accounting-Request becomes a record in the books and, once that is on disk, an
// Accounting-Response. Owns the strict door from attributes to values and the order of things: RFC
// 2866 §4.1 forbids a reply to a record that was not stored. Rates nothing and attributes nothing:
// accounting/attribution.ts does. Called by radius.ts.

import {
  type Attributed,
  type AttributionContext,
  applyReport,
  type Wish,
} from '../accounting/attribution.ts'
import type { Committer } from '../accounting/committer.ts'
import type { Ledger } from '../accounting/ledger.ts'
import { type AccountingReport, Status } from '../accounting/report.ts'
import { StorageError } from '../accounting/storage.ts'
import type { Tariff } from '../accounting/tariff.ts'
import type { NasEntry } from '../config/config.ts'
import type { Address } from '../ethereum/address.ts'
import { AttributeType } from '../radius/attribute-type.ts'
import type { VerifiedPacket } from '../radius/authenticator.ts'
import { Code } from '../radius/packet.ts'
import type { Answer } from './access.ts'
import { createEvidenceLimit, createUnpaidLimit } from './accounting-limits.ts'
import type { Log, rateLimited } from './log.ts'
import { placeOfRequest } from './nas-place.ts'
import type { Source } from './socket.ts'
import type { CounterOf } from './tally.ts'

/** What is odd about a request that is counted all the same; one word each in log and metrics. */
export type AccountingFault =
  | 'attribute-length'
  | 'status-missing'
  | 'acct-session-id-missing'
  | 'nas-unidentified'
  | 'attribute-forbidden'

export interface AccountingDeps {
  readonly ledger: Ledger
  readonly committer: Pick<Committer, 'durable' | 'failed'>
  /** Today's tariff of a client entry, with its version. */
  readonly tariffOf: (nas: NasEntry) => Tariff
  /** Who earns at it. */
  readonly merchantOf: (nas: NasEntry) => Address
  readonly sessionMaxMs: () => number
  readonly admitReconnect: AttributionContext['admitReconnect']
  /** Each call gives octets no other call gives. */
  readonly random: (length: number) => Buffer
  readonly now: () => number
  /** A session that its NAS should put off. Told before the commit: waits for it as it likes. */
  readonly onWish: (wish: Wish) => void
  readonly log: Log
  readonly logRate: ReturnType<typeof rateLimited>
  readonly metrics: {
    readonly accountingRecords: CounterOf<{ nas: string; status: string; attribution: string }>
    readonly accountingFaults: CounterOf<{ nas: string; fault: AccountingFault }>
  }
}

export type AnswerAccounting = (
  request: VerifiedPacket,
  nas: NasEntry,
  source: Source,
) => Promise<Answer>

const RESPONSE: Answer = { code: Code.accountingResponse, attributes: [] }
const NOT_STORED: Answer = { drop: 'storage-unavailable' }
/** RFC 2866 §4.1: what was not recorded is not acknowledged. */
const NOT_KEPT: Answer = { drop: 'records-limit' }

/** What a megabit a second is in octets. */
const OCTETS_PER_MEGABIT = 125_000

const STATUS_NAMES: Readonly<Record<number, string>> = {
  [Status.start]: 'start',
  [Status.stop]: 'stop',
  [Status.interimUpdate]: 'interim-update',
  [Status.accountingOn]: 'accounting-on',
  [Status.accountingOff]: 'accounting-off',
}

const CLASS = /^ai:[0-9a-f]{32}$/
const CLASS_PREFIX = 'ai:'
const CLASS_LENGTH = 35

/** A record as values, and what is odd about it. */
export interface ReadReport {
  readonly report: AccountingReport
  readonly faults: readonly AccountingFault[]
}

/** Values as they are collected from the attributes; of one that comes twice the first counts. */
interface Found {
  status: number | undefined
  delay: number | undefined
  inputOctets: number | undefined
  outputOctets: number | undefined
  inputWords: number | undefined
  outputWords: number | undefined
  sessionTime: number | undefined
  terminateCause: number | undefined
  eventTimestamp: number | undefined
  classId: string | undefined
  userName: string | undefined
  isMalformed: boolean
  isForbidden: boolean
}

/** Reads one verified request; `address` is the source of its packet. Throws nothing. */
export function readReport(request: VerifiedPacket, nas: string, address: string): ReadReport {
  const found = collect(request)
  const place = placeOfRequest(request, nas, address)
  const { status = 0, inputWords, outputWords } = found
  const report: AccountingReport = {
    status,
    place,
    classId: found.classId,
    userName: found.userName ?? '',
    inputOctets: octets(found.inputOctets, inputWords),
    outputOctets: octets(found.outputOctets, outputWords),
    wide: inputWords !== undefined || outputWords !== undefined,
    sessionTimeSeconds: found.sessionTime,
    terminateCause: found.terminateCause,
    delaySeconds: found.delay ?? 0,
    eventTimestamp: found.eventTimestamp,
  }
  const faults: AccountingFault[] = []
  if (found.isMalformed) faults.push('attribute-length')
  if (found.isForbidden) faults.push('attribute-forbidden')
  if (status === 0) faults.push('status-missing')
  // RFC 2866 §4.1: both must be there. A record that says less is still a record.
  if (place.acctSessionId === '') faults.push('acct-session-id-missing')
  if (place.nasIdentifier === '' && place.nasIpAddress === '') faults.push('nas-unidentified')
  return { report, faults }
}

function collect({ attributes }: VerifiedPacket): Found {
  const found: Found = {
    ...{ status: undefined, delay: undefined, inputOctets: undefined, outputOctets: undefined },
    ...{ inputWords: undefined, outputWords: undefined, sessionTime: undefined },
    ...{ terminateCause: undefined, eventTimestamp: undefined, classId: undefined },
    ...{ userName: undefined, isMalformed: false, isForbidden: false },
  }
  for (const { type, value } of attributes) {
    switch (type) {
      case AttributeType.acctStatusType:
        found.status = uint32(found, found.status, value)
        break
      case AttributeType.acctDelayTime:
        found.delay = uint32(found, found.delay, value)
        break
      case AttributeType.acctInputOctets:
        found.inputOctets = uint32(found, found.inputOctets, value)
        break
      case AttributeType.acctOutputOctets:
        found.outputOctets = uint32(found, found.outputOctets, value)
        break
      case AttributeType.acctInputGigawords:
        found.inputWords = uint32(found, found.inputWords, value)
        break
      case AttributeType.acctOutputGigawords:
        found.outputWords = uint32(found, found.outputWords, value)
        break
      case AttributeType.acctSessionTime:
        found.sessionTime = uint32(found, found.sessionTime, value)
        break
      case AttributeType.acctTerminateCause:
        found.terminateCause = uint32(found, found.terminateCause, value)
        break
      case AttributeType.eventTimestamp:
        found.eventTimestamp = uint32(found, found.eventTimestamp, value)
        break
      case AttributeType.class:
        found.classId ??= classIdOf(value)
        break
      case AttributeType.userName:
        found.userName ??= value.toString('latin1')
        break
      case AttributeType.userPassword:
      case AttributeType.chapPassword:
      case AttributeType.replyMessage:
      case AttributeType.state:
        found.isForbidden = true
        break
    }
  }
  return found
}

/** A 32-bit number, or what was known of it before. */
function uint32(found: Found, known: number | undefined, value: Buffer): number | undefined {
  if (value.length !== 4) {
    found.isMalformed = true
    return known
  }
  return known ?? value.readUInt32BE(0)
}

/** A NAS may echo more than one Class (RFC 2865 §5.25); ours has a form of its own. */
function classIdOf(value: Buffer): string | undefined {
  if (value.length !== CLASS_LENGTH || !CLASS.test(value.toString('latin1'))) return undefined
  return value.toString('latin1', CLASS_PREFIX.length)
}

/** RFC 2869 §5.1: Gigawords count how often the 32-bit counter has wrapped. */
const octets = (low: number | undefined, high: number | undefined): bigint | undefined =>
  low === undefined ? undefined : (BigInt(high ?? 0) << 32n) | BigInt(low)

/** The door of the accounting port. */
export function createAccounting(deps: AccountingDeps): AnswerAccounting {
  const { ledger, committer, metrics } = deps
  const unpaid = createUnpaidLimit(ledger)
  const evidence = createEvidenceLimit()

  const tell = (nas: NasEntry, fault: AccountingFault, nowMs: number): void => {
    metrics.accountingFaults.inc({ nas: nas.name, fault })
    deps.logRate(`${fault} ${nas.name}`, nowMs, (suppressed) => {
      deps.log.warn(
        { nas: nas.name, fault, ...(suppressed > 0 ? { suppressed } : {}) },
        `Accounting-Request from client ${nas.name} is taken, but ${fault}`,
      )
    })
  }

  const apply = (report: AccountingReport, nas: NasEntry, nowMs: number): Attributed =>
    applyReport(report, ledger, {
      nowMs,
      merchant: deps.merchantOf(nas),
      tariff: deps.tariffOf(nas),
      sessionMaxMs: deps.sessionMaxMs(),
      octetsPerSecondMax: BigInt(Math.ceil(nas.maxMbps * OCTETS_PER_MEGABIT)),
      unpaidRoom: unpaid.hasRoom(nas.name, nowMs),
      evidenceFull: evidence.isFull(nas.name, nowMs),
      admitReconnect: deps.admitReconnect,
      newId: () => deps.random(16).toString('hex'),
    })

  return async (request, nas, source) => {
    // Nothing may change in memory that can't be stored: the NAS asks again.
    if (committer.failed() !== undefined) return NOT_STORED
    const nowMs = deps.now()
    const { report, faults } = readReport(request, nas.name, source.address)
    for (const fault of faults) tell(nas, fault, nowMs)
    const outcome = apply(report, nas, nowMs)
    if (outcome.refused) return NOT_KEPT
    evidence.kept(nas.name, outcome, nowMs)
    if (outcome.openedUnpaid && outcome.session !== undefined) {
      unpaid.opened(nas.name, outcome.session.id)
    }
    const status = STATUS_NAMES[report.status] ?? 'other'
    metrics.accountingRecords.inc({ nas: nas.name, status, attribution: outcome.attribution })
    logOutcome(deps, nas, status, outcome)
    // Before the commit, which may fail: the NAS's repetition is a duplicate, and wishes nothing.
    if (outcome.wish !== undefined) deps.onWish(outcome.wish)
    try {
      await committer.durable()
    } catch (error) {
      if (!(error instanceof StorageError)) throw error
      return NOT_STORED
    }
    return RESPONSE
  }
}

/** One line where something began, ended or is odd; an Interim-Update that fits has none. */
function logOutcome(
  { log }: AccountingDeps,
  nas: NasEntry,
  status: string,
  { attribution, session, ended, wish }: Attributed,
): void {
  for (const { id, account } of ended) {
    log.info({ session: id, account, nas: nas.name, why: 'nas-restarted' }, 'session ended')
  }
  const facts = { session: session?.id, account: session?.account, nas: nas.name, attribution }
  if (wish !== undefined) log.warn({ ...facts, why: wish.detail }, 'session not admitted')
  const isOrdinary = status === 'interim-update' || attribution === 'duplicate'
  log[isOrdinary ? 'debug' : 'info'](facts, `accounting ${status}`)
}
