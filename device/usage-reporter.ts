// Signed reports of usage to one operator: has the metering key enrolled at first contact and again
// before its time is over, and signs what the own meter says with each payment. Owns when to try
// again, and says which key it is. Never in the way of a payment: without a key, or where the
// operator takes none, there is just no report. Called by till.ts.

import {
  encodeReport,
  type ReportEvidence,
  reportEvidence,
  reportMessage,
} from '../attestation/usage-report.ts'
import type { EnrolledKey } from './metering-enrolment.ts'
import type { RunEvent } from './run-events.ts'
import type { SessionView } from './session-view.ts'

/** What the operator said of a report. */
export interface ReportAnswer {
  readonly accepted: boolean
  readonly reason: string
  /** For the next one; empty where it gave none. */
  readonly nonce: string
}

export interface UsageReporter {
  /** What the key is worth to the operator; undefined: none is enrolled. */
  trust(): EnrolledKey['trust'] | undefined
  /** Enrols the key in the background where that is due; returns at once. */
  prepare(nowMs: number): void
  /** Undefined: no key that counts now, or the operator gave no nonce. `nowMs`: by its clock. */
  sign(
    session: SessionView,
    octets: { readonly received: bigint; readonly sent: bigint },
    nowMs: number,
  ): Promise<ReportEvidence | undefined>
  answered(session: string, answer: ReportAnswer): void
}

/** The operator refuses what the key signs until it is shown anew. */
export const isOfKey = (reason: string): boolean =>
  reason === 'no-key' || reason === 'key-expired' || reason === 'bad-signature'

export interface ReporterDeps {
  /** Throws where no key came to count with this operator. */
  readonly enrol: () => Promise<EnrolledKey>
  readonly emit: (event: RunEvent) => void
}

/** An operator that does not take the key now may do so after an update, or never. */
const RETRY_MS = 60_000
/** Before it ends, so that no report falls between. */
const RENEW_BEFORE_MS = 600_000
/** Sessions whose last nonce and sequence are kept; more than one runs seldom. */
const SESSIONS_MAX = 16

/** Of one session: what was signed, and what the operator has said since. */
interface Last {
  readonly view: SessionView['report']
  nonce: string
  readonly sequence: number
  /** Why the last one was not taken; undefined where it was. */
  refusedFor: string | undefined
}

export function createUsageReporter({ enrol, emit }: ReporterDeps): UsageReporter {
  let key: EnrolledKey | undefined
  let enrolAtMs = Number.NEGATIVE_INFINITY
  let running = false
  /** The operator has said that the key does not count: what it signs would be refused. */
  let isRefused = false
  const last = new Map<string, Last>()
  const failed = (error: unknown): void => {
    const problem = error instanceof Error ? error.message : String(error)
    const message = key === undefined ? `${problem}; nothing is signed, tried again soon` : problem
    emit({ event: 'failed', what: 'metering key', message })
  }

  async function renew(nowMs: number): Promise<void> {
    const before = key
    key = await enrol()
    isRefused = false
    const { scheme } = key.signer
    const { trust, why } = key
    if (before?.signer.scheme !== scheme || before.trust !== trust || before.why !== why) {
      emit({ event: 'metering-key', scheme, trust, ...(why !== undefined && { why }) })
    }
    // Half of a time that is short, as an operator may have it for a test.
    const leftMs = Math.max(0, key.expiresAtMs - nowMs)
    enrolAtMs = nowMs + Math.max(leftMs / 2, leftMs - RENEW_BEFORE_MS)
  }

  return {
    trust: () => (isRefused ? undefined : key?.trust),
    prepare(nowMs) {
      if (running || nowMs < enrolAtMs) return
      running = true
      enrolAtMs = nowMs + RETRY_MS
      renew(nowMs)
        .catch(failed)
        .finally(() => {
          running = false
        })
    },
    async sign({ id, report }, { received, sent }, nowMs) {
      if (key === undefined || isRefused || report === undefined) return undefined
      const known = last.get(id)
      // Of the operator's last two words the later one counts.
      const nonce = known?.view === report && known.nonce !== '' ? known.nonce : report.nonce
      const sequence = Math.max(known?.sequence ?? 0, report.sequence) + 1
      last.delete(id)
      last.set(id, { view: report, nonce, sequence, refusedFor: known?.refusedFor })
      const [oldest] = last.keys()
      if (last.size > SESSIONS_MAX && oldest !== undefined) last.delete(oldest)
      const octets = encodeReport({
        ...{ session: id, sequence, time: Math.floor(nowMs / 1_000) },
        // What the device sent is the access point's input (RFC 2866 §5.3).
        ...{ inputOctets: sent, outputOctets: received },
        nonce: Buffer.from(nonce, 'base64url'),
      })
      try {
        const signature = await key.signer.sign(reportMessage(octets))
        return reportEvidence(octets, { form: 'signature', octets: signature })
      } catch (error) {
        failed(error)
        // A TPM that was cleared has no key any more; another is made, or another way is taken.
        key = undefined
        enrolAtMs = Number.NEGATIVE_INFINITY
        return undefined
      }
    },
    answered(session, { accepted, reason, nonce }) {
      const known = last.get(session)
      if (known !== undefined) known.nonce = nonce
      if (accepted) {
        if (known !== undefined) known.refusedFor = undefined
        return
      }
      // A payment in each moment would say the same each time.
      if (known?.refusedFor !== reason) emit({ event: 'report-refused', session, why: reason })
      if (known !== undefined) known.refusedFor = reason
      if (!isOfKey(reason)) return
      isRefused = true
      enrolAtMs = Number.NEGATIVE_INFINITY
    },
  }
}
