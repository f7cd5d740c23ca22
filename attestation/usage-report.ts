// What a device signs with its metering key: how much of a session it has used, by its own meter.
// Fixed octets with a label, ECDSA on P-256 over their SHA-256, or an App Attest assertion over the
// same hash. Pure. Refuses forged, repeated and shrinking reports and those of another time; what
// a gap or a difference from the access point's records means is decided by server/. Called by
// server/ to check and by device/ to sign.
//
// A report is bound to one operator and account by its session's id, 128 random bits that the
// operator gave: whoever checks takes the metering key of the account that the session is of.

import type { KeyObject } from 'node:crypto'
import { octetsOf } from './evidence.ts'
import { signatureHolds } from './p256.ts'

/** Names the form of what is signed, so that no other signature of the key can be taken for it. */
const LABEL = Buffer.from('datanet usage report v1|', 'ascii')
const VERSION = 1
const SESSION_BYTES = 16
/** Octets of the server's nonce. */
export const REPORT_NONCE_BYTES = 16
/**
 * Version 1, session 16, sequence 4, time 4 (until 2106), inputOctets 8, outputOctets 8, nonce 16;
 * all numbers with the most significant octet first.
 */
export const REPORT_BYTES = 57
const AT = { session: 1, sequence: 17, time: 21, input: 25, output: 33, nonce: 41 } as const

/** Of App Attest: CBOR of a DER signature (72 at most) and 37 octets of authenticator data. */
const ASSERTION_BYTES_MAX = 144
/** How far a device's clock may be from ours. */
export const CLOCK_SKEW_SECONDS = 60

/** What a device reports; counters are since the session's start and never go down. */
export interface UsageReport {
  /** 32 lowercase hex digits. */
  readonly session: string
  /** 1 for the session's first report, then rising. */
  readonly sequence: number
  /** Unix seconds. */
  readonly time: number
  /** What the device sent: input of the access point, as RFC 2866 §5.3 counts. */
  readonly inputOctets: bigint
  /** What the device received (RFC 2866 §5.4). */
  readonly outputOctets: bigint
  /** The last nonce that the server gave this session, 16 octets. */
  readonly nonce: Buffer
}

/** A report as it came, with what its proof is over. */
export interface SignedReport {
  readonly report: UsageReport
  /** Label and octets: what ECDSA with SHA-256 is over. */
  readonly message: Buffer
  readonly proof: { readonly form: 'signature' | 'assertion'; readonly octets: Buffer }
}

/** Evidence of a payment, or a report alone. */
export type ReportEvidence =
  | { readonly report: string; readonly signature: string }
  | { readonly report: string; readonly assertion: string }

/** What is kept of the last report of a session that was taken. */
export type LastReport = Pick<UsageReport, 'sequence' | 'time' | 'inputOctets' | 'outputOctets'>

/** Why a report is refused. Closed: used in answers, log and metrics. */
export type ReportRefusal =
  /** It speaks of a nonce that this session was not given, or no longer has. */
  | 'wrong-nonce'
  /** This sequence, or a later one, was there already. */
  | 'replayed'
  /** A counter went down. */
  | 'rolled-back'
  /** Its time is too far from ours, or before the last report's. */
  | 'clock-skew'

export type ReportVerdict =
  | {
      readonly ok: true
      /** How many reports before it never came: a fact, no reason to refuse. */
      readonly gap: number
    }
  | { readonly ok: false; readonly reason: ReportRefusal }

/** What the server knows when a report comes in. */
export interface ExpectedReport {
  /** The nonces that the session's next report may speak of: receipts may be lost on their way. */
  readonly nonces: readonly Uint8Array[]
  readonly nowSeconds: number
}

/** The 57 octets of a report. Throws a RangeError for what has no such octets. */
export function encodeReport(report: UsageReport): Buffer {
  const { session, sequence, time, inputOctets, outputOctets, nonce } = report
  if (!/^[0-9a-f]{32}$/.test(session)) throw new RangeError('a session id is 32 hex digits')
  if (!Number.isInteger(sequence) || sequence < 1) throw new RangeError('a sequence starts at 1')
  if (!Number.isInteger(time)) throw new RangeError('a time is whole Unix seconds')
  if (nonce.length !== REPORT_NONCE_BYTES) throw new RangeError('a nonce has 16 octets')
  const octets = Buffer.alloc(REPORT_BYTES)
  // What has more bits than its place is refused by the writers themselves, likewise.
  octets[0] = VERSION
  octets.write(session, AT.session, 'hex')
  octets.writeUInt32BE(sequence, AT.sequence)
  octets.writeUInt32BE(time, AT.time)
  octets.writeBigUInt64BE(inputOctets, AT.input)
  octets.writeBigUInt64BE(outputOctets, AT.output)
  nonce.copy(octets, AT.nonce)
  return octets
}

/** What ECDSA with SHA-256 is over. */
export const reportMessage = (octets: Buffer): Buffer => Buffer.concat([LABEL, octets])

/** The evidence of a report; `octets` are those of encodeReport. */
export function reportEvidence(
  octets: Buffer,
  proof: { readonly form: 'signature' | 'assertion'; readonly octets: Buffer },
): ReportEvidence {
  const [report, text] = [octets.toString('base64url'), proof.octets.toString('base64url')]
  return proof.form === 'signature' ? { report, signature: text } : { report, assertion: text }
}

function decodeReport(octets: Buffer): UsageReport | undefined {
  const sequence = octets.readUInt32BE(AT.sequence)
  if (octets[0] !== VERSION || sequence === 0) return undefined
  return {
    session: octets.toString('hex', AT.session, AT.session + SESSION_BYTES),
    sequence,
    time: octets.readUInt32BE(AT.time),
    inputOctets: octets.readBigUInt64BE(AT.input),
    outputOctets: octets.readBigUInt64BE(AT.output),
    nonce: octets.subarray(AT.nonce),
  }
}

/** A report out of a request's `evidence`, not yet checked; undefined where it is malformed. */
export function readReport(evidence: unknown): SignedReport | undefined {
  if (typeof evidence !== 'object' || evidence === null) return undefined
  const { report: text, signature, assertion, ...others } = evidence as Record<string, unknown>
  if (Object.keys(others).length > 0) return undefined
  if ((signature === undefined) === (assertion === undefined)) return undefined
  const octets = octetsOf(text, REPORT_BYTES)
  const form = signature === undefined ? 'assertion' : 'signature'
  const proof = octetsOf(signature ?? assertion, ASSERTION_BYTES_MAX)
  if (octets?.length !== REPORT_BYTES || proof === undefined) return undefined
  if (form === 'signature' && proof.length !== 64) return undefined
  const report = decodeReport(octets)
  if (report === undefined) return undefined
  return { report, message: reportMessage(octets), proof: { form, octets: proof } }
}

/**
 * For a metering key that signs itself: TPM, Android, PSA, software. A key of App Attest asserts
 * instead: app-attest.ts, over the octets of `message`.
 */
export const isSignedBy = (meteringKey: KeyObject, { message, proof }: SignedReport): boolean =>
  proof.form === 'signature' && signatureHolds(meteringKey, message, proof.octets)

function problemOf(
  report: UsageReport,
  last: LastReport | undefined,
  { nonces, nowSeconds }: ExpectedReport,
): ReportRefusal | undefined {
  if (!nonces.some((nonce) => report.nonce.equals(nonce))) return 'wrong-nonce'
  if (last !== undefined) {
    if (report.sequence <= last.sequence) return 'replayed'
    if (report.inputOctets < last.inputOctets) return 'rolled-back'
    if (report.outputOctets < last.outputOctets) return 'rolled-back'
    // A last one of a time to come: our clock was set back since, and that refuses nobody.
    const isLastToCome = last.time - nowSeconds > CLOCK_SKEW_SECONDS
    if (report.time < last.time && !isLastToCome) return 'clock-skew'
  }
  return Math.abs(report.time - nowSeconds) > CLOCK_SKEW_SECONDS ? 'clock-skew' : undefined
}

/**
 * A report whose proof holds: that is shown first, so that whoever can't sign learns nothing of the
 * session. `last`: the last report of its session that was taken.
 */
export function checkReport(
  report: UsageReport,
  last: LastReport | undefined,
  expected: ExpectedReport,
): ReportVerdict {
  const reason = problemOf(report, last, expected)
  if (reason !== undefined) return { ok: false, reason }
  return { ok: true, gap: report.sequence - 1 - (last?.sequence ?? 0) }
}
