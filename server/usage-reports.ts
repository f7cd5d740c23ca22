// The door of signed reports of usage: which session and whose key one is of, whether it may be
// believed, and what becomes of it in the books. Owns the nonces that reports answer and the cache
// of keys. Refuses without a word to the money: a payment with a bad report is a payment. Called by
// payments.ts and http-payments.ts.

import { createHmac, type KeyObject } from 'node:crypto'
import type { Ledger } from '../accounting/ledger.ts'
import { lastReportUntilMs } from '../accounting/rating.ts'
import type { MeteringKey, Trust } from '../accounting/session.ts'
import { type AppAttestPolicy, verifyAssertion } from '../attestation/app-attest.ts'
import { publicKeyOf } from '../attestation/p256.ts'
import {
  checkReport,
  isSignedBy,
  REPORT_NONCE_BYTES,
  type ReportRefusal,
  readReport,
  type SignedReport,
} from '../attestation/usage-report.ts'
import type { Address } from '../ethereum/address.ts'

/** Why a report counts for nothing. Closed: used in answers and metrics. */
export type UsageRefusal =
  | ReportRefusal
  /** Not of the form of a report. */
  | 'malformed'
  /** None of the account's keys has signed it. */
  | 'bad-signature'
  /** The account has enrolled no key. */
  | 'no-key'
  /** The key must be shown anew first. */
  | 'key-expired'
  /** An App Attest assertion that is no newer than the last. */
  | 'counter'
  /** Not the account's, not the one the payment names, or not begun. */
  | 'unknown-session'
  /** It ended too long ago. */
  | 'session-over'

/** The answer to one report; `nonce` is for the next one, 16 octets in base64url. */
export type UsageAnswer =
  | { readonly accepted: true; readonly trust: Trust; readonly nonce: string }
  | { readonly accepted: false; readonly reason: UsageRefusal; readonly nonce?: string }

export interface UsageReports {
  /** `session`: the one a payment names. The account is in memory; the caller makes it durable. */
  take(account: Address, session: string | undefined, evidence: unknown): UsageAnswer
  /** What the next report of a session answers. */
  nonceOf(session: string): string
}

export interface UsageReportsDeps {
  readonly ledger: Pick<Ledger, 'session' | 'meteringKeys' | 'attest' | 'raiseCounter'>
  /** Which apps may have made assertions now; undefined: none. */
  readonly appAttest: () => AppAttestPolicy | undefined
  /** 32 octets that nobody else has; new ones void the nonces that are out. */
  readonly secret: Buffer
  /** The clock of the books. */
  readonly now: () => number
  /** The time of day, which reports and keys are dated by. */
  readonly wallNow: () => number
  /** Told of every outcome, for the metrics. */
  readonly count: (outcome: 'accepted' | UsageRefusal) => void
}

/**
 * A nonce is made from session and quarter of an hour, so none is kept; the last quarter's is taken
 * too. Within it a report is told from its copy by its sequence.
 */
const NONCE_PERIOD_MS = 900_000

/** The scheme whose keys sign nothing but assertions. */
export const APP_ATTEST = 'app-attest'

/** The key that made a report's proof; with an assertion, its counter. */
interface Proven {
  readonly key: MeteringKey
  readonly counter: number | 'not above' | undefined
}

const refuse = (reason: UsageRefusal, nonce?: string): UsageAnswer => ({
  ...{ accepted: false, reason },
  ...(nonce !== undefined && { nonce }),
})

/**
 * The one that signed the session's last report, then the newest first: a device that has shown its
 * key anew uses that, and a key that is tried costs as much as one that has signed.
 */
const inTurn = (keys: readonly MeteringKey[], slot: number | undefined): MeteringKey[] =>
  keys.toSorted(
    (a, b) => Number(b.slot === slot) - Number(a.slot === slot) || b.enrolledAtMs - a.enrolledAtMs,
  )

export function createUsageReports(deps: UsageReportsDeps): UsageReports {
  const { ledger } = deps
  // As many as the ledger holds: a key that it drops goes with it.
  const keyObjects = new WeakMap<MeteringKey, KeyObject>()

  function nonceAt(session: string, period: number): Buffer {
    const mac = createHmac('sha256', deps.secret).update(`${session} ${period}`).digest()
    return mac.subarray(0, REPORT_NONCE_BYTES)
  }
  const period = (): number => Math.floor(deps.wallNow() / NONCE_PERIOD_MS)
  const nonceOf = (session: string): string => nonceAt(session, period()).toString('base64url')

  function hasSigned(key: MeteringKey, signed: SignedReport): boolean {
    const known = keyObjects.get(key) ?? publicKeyOf(Buffer.from(key.publicKey, 'base64url'))
    if (known === undefined) return false
    keyObjects.set(key, known)
    return isSignedBy(known, signed)
  }

  /** Whose proof it is; keys of App Attest make assertions, all others sign, and none does both. */
  function proven(keys: readonly MeteringKey[], signed: SignedReport): Proven | undefined {
    const { message, proof } = signed
    if (proof.form === 'signature') {
      const key = keys.find((one) => one.scheme !== APP_ATTEST && hasSigned(one, signed))
      return key && { key, counter: undefined }
    }
    const policy = deps.appAttest()
    if (policy === undefined) return undefined
    for (const key of keys.filter(({ scheme }) => scheme === APP_ATTEST)) {
      const publicKey = Buffer.from(key.publicKey, 'base64url')
      const expected = { publicKey, clientData: message, counter: key.counter }
      const verdict = verifyAssertion(proof.octets, expected, policy)
      if (verdict.ok) return { key, counter: verdict.counter }
      // Said after the signature held: it is this key's.
      if (verdict.reason === 'counter') return { key, counter: 'not above' }
    }
    return undefined
  }

  function take(account: Address, named: string | undefined, evidence: unknown): UsageAnswer {
    const signed = readReport(evidence)
    if (signed === undefined) return refuse('malformed')
    const { report } = signed
    const session = ledger.session(report.session)
    if (session?.account !== account || session.state === 'reserved') {
      return refuse('unknown-session')
    }
    if (named !== undefined && named !== session.id) return refuse('unknown-session')
    const keys = inTurn(ledger.meteringKeys(account), session.attested?.slot)
    if (keys.length === 0) return refuse('no-key')
    const by = proven(keys, signed)
    if (by === undefined) return refuse('bad-signature')
    const { key, counter } = by
    const nonce = nonceOf(session.id)
    if (counter === 'not above') return refuse('counter', nonce)
    if (deps.now() > lastReportUntilMs(session)) return refuse('session-over')
    if (key.expiresAtMs <= deps.wallNow()) return refuse('key-expired', nonce)
    const last = session.attested
    const verdict = checkReport(report, last, {
      nonces: [nonceAt(session.id, period()), nonceAt(session.id, period() - 1)],
      nowSeconds: Math.floor(deps.wallNow() / 1_000),
    })
    if (!verdict.ok) return refuse(verdict.reason, nonce)
    const { sequence, time, inputOctets, outputOctets } = report
    const { trust, scheme, slot } = key
    const missing = (last?.missing ?? 0) + verdict.gap
    // Before the report is taken, which may end that the key counts at all.
    if (counter !== undefined) ledger.raiseCounter(account, key.publicKey, counter)
    ledger.attest(
      session.id,
      { sequence, time, inputOctets, outputOctets, trust, scheme, slot, missing },
      deps.now(),
    )
    return { accepted: true, trust, nonce }
  }

  return {
    nonceOf,
    take(...request) {
      const answer = take(...request)
      deps.count(answer.accepted ? 'accepted' : answer.reason)
      return answer
    },
  }
}
