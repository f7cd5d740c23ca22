// Signed reports of usage to one operator: enrols the metering key at first contact and again
// before its time is over, and signs what the own meter says with each payment. Owns when to try
// again. Never in the way of a payment: without a key, or where the operator takes none, there is
// just no report. Called by till.ts.

import { createHash } from 'node:crypto'
import { challengeOf } from '../attestation/challenge.ts'
import {
  encodeReport,
  type ReportEvidence,
  reportEvidence,
  reportMessage,
} from '../attestation/usage-report.ts'
import { checksumAddress } from '../ethereum/address.ts'
import { signDigest } from '../ethereum/signature.ts'
import { meteringKeyDigest } from '../ethereum/typed-data.ts'
import { DeviceError } from './error.ts'
import { refusalOf, requestJson } from './http.ts'
import type { MeteringSigner } from './metering-key.ts'
import type { PayingTo } from './operator-api.ts'
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
  /** Enrols the key in the background where that is due; returns at once. */
  prepare(nowMs: number): void
  /** Undefined: no key enrolled yet, or the operator gave no nonce. `nowMs`: by its clock. */
  sign(
    session: SessionView,
    octets: { readonly received: bigint; readonly sent: bigint },
    nowMs: number,
  ): Promise<ReportEvidence | undefined>
  answered(session: string, answer: ReportAnswer): void
}

export interface ReporterDeps {
  readonly to: PayingTo
  readonly openKey: () => Promise<MeteringSigner>
  readonly emit: (event: RunEvent) => void
}

const TIMEOUT_MS = 10_000
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
}

export function createUsageReporter({ to, openKey, emit }: ReporterDeps): UsageReporter {
  let signer: MeteringSigner | undefined
  let enrolAtMs = Number.NEGATIVE_INFINITY
  let running = false
  const last = new Map<string, Last>()

  async function enrol(nowMs: number): Promise<void> {
    const key = await openKey()
    const expiresAtMs = await enrolKey(to, key)
    signer = key
    // Half of a time that is short, as an operator may have it for a test.
    const leftMs = Math.max(0, expiresAtMs - nowMs)
    enrolAtMs = nowMs + Math.max(leftMs / 2, leftMs - RENEW_BEFORE_MS)
  }

  return {
    prepare(nowMs) {
      if (running || nowMs < enrolAtMs) return
      running = true
      enrolAtMs = nowMs + RETRY_MS
      enrol(nowMs)
        .catch((error: unknown) => {
          const message = error instanceof Error ? error.message : String(error)
          emit({ event: 'failed', what: 'metering key', message })
        })
        .finally(() => {
          running = false
        })
    },
    async sign({ id, report }, { received, sent }, nowMs) {
      if (signer === undefined || report === undefined) return undefined
      const known = last.get(id)
      // Of the operator's last two words the later one counts.
      const nonce = known?.view === report && known.nonce !== '' ? known.nonce : report.nonce
      const sequence = Math.max(known?.sequence ?? 0, report.sequence) + 1
      last.delete(id)
      last.set(id, { view: report, nonce, sequence })
      const [oldest] = last.keys()
      if (last.size > SESSIONS_MAX && oldest !== undefined) last.delete(oldest)
      const octets = encodeReport({
        ...{ session: id, sequence, time: Math.floor(nowMs / 1_000) },
        // What the device sent is the access point's input (RFC 2866 §5.3).
        ...{ inputOctets: sent, outputOctets: received },
        nonce: Buffer.from(nonce, 'base64url'),
      })
      const signature = await signer.sign(reportMessage(octets))
      return reportEvidence(octets, { form: 'signature', octets: signature })
    },
    answered(session, { accepted, reason, nonce }) {
      const known = last.get(session)
      if (known !== undefined) known.nonce = nonce
      if (accepted) return
      emit({ event: 'report-refused', session, why: reason })
      const isUnknown = reason === 'no-key' || reason === 'key-expired'
      if (isUnknown || reason === 'bad-signature') enrolAtMs = Number.NEGATIVE_INFINITY
    },
  }
}

/** Shows the key to the operator; when that has to be done again, Unix ms. */
async function enrolKey(to: PayingTo, key: MeteringSigner): Promise<number> {
  const { url, account, accountKey, operatorId: operator, domain } = to
  const consumer = checksumAddress(account)
  const ask = async (path: string, body: object): Promise<Record<string, unknown>> => {
    const answer = await requestJson(`${url}${path}`, { body, timeoutMs: TIMEOUT_MS })
    if (answer.status === 200) return answer.body as Record<string, unknown>
    throw new DeviceError('refused', `the operator does not take it: ${refusalOf(answer)}`)
  }
  const { nonce: text } = await ask('/v1/metering-keys/challenge', { consumer })
  const nonce = Buffer.from(typeof text === 'string' ? text : '', 'base64url')
  if (nonce.length !== 32) throw new DeviceError('refused', "the operator's nonce is malformed")
  const keyHash = createHash('sha256').update(key.publicKey).digest()
  const digest = meteringKeyDigest(domain, { consumer: account, operator, keyHash, nonce })
  const { expiresAt } = await ask('/v1/metering-keys', {
    ...{ consumer, scheme: key.scheme, publicKey: key.publicKey.toString('base64url') },
    evidence: await key.evidence(challengeOf(nonce, account, operator)),
    signature: `0x${signDigest(digest, accountKey).toString('hex')}`,
  })
  if (typeof expiresAt !== 'number') throw new DeviceError('refused', 'no expiresAt in the answer')
  return expiresAt * 1_000
}
