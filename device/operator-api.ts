// The two questions a payer has for an operator: what are my sessions, and take this voucher. Signs
// both, reads both answers strictly, and tells apart what is final, what is temporary and what is
// unknown. Called by run.ts and pay.ts, which see to it that a voucher is durable first.

import type { ReportEvidence } from '../attestation/usage-report.ts'
import { type Address, checksumAddress, parseAddress } from '../ethereum/address.ts'
import { recoverAddress, signDigest } from '../ethereum/signature.ts'
import {
  type Domain,
  type Receipt,
  receiptDigest,
  sessionQueryDigest,
  voucherDigest,
} from '../ethereum/typed-data.ts'
import { DeviceError } from './error.ts'
import { type JsonAnswer, refusalOf, requestJson } from './http.ts'
import { amount, count, readSessions, type SessionView } from './session-view.ts'
import type { ReportAnswer } from './usage-reporter.ts'

/** One operator, and the account that pays it. */
export interface PayingTo {
  readonly url: string
  readonly operatorId: number
  /** Who signs receipts. */
  readonly operatorAccount: Address
  readonly account: Address
  readonly accountKey: Buffer
  readonly domain: Domain
}

/** A receipt whose signature is the operator's. */
export interface SignedReceipt extends Receipt {
  /** 65 bytes, 0x-hex. */
  readonly signature: string
}

/** How a payment ended. */
export type PaymentOutcome =
  | {
      readonly kind: 'paid'
      readonly receipt: SignedReceipt
      /** What it says of the report that came with the payment. */
      readonly report?: ReportAnswer
    }
  /** The operator has this or more: `best`, and whether it showed our own signature for that. */
  | { readonly kind: 'not-higher'; readonly best: bigint; readonly isShown: boolean }
  /** Nothing was changed, and the same voucher will not do better: `code` says why. */
  | { readonly kind: 'refused'; readonly code: string; readonly message: string }
  /** Nothing is known to have changed; the same voucher is to be sent again. */
  | { readonly kind: 'later'; readonly message: string; readonly afterMs: number | undefined }

/** Answers about sessions, with the operator's clock (undefined where it does not say). */
export interface SessionsAnswer {
  readonly sessions: readonly SessionView[]
  readonly clockMs: number | undefined
  /** It told nothing: the time of the question was not its own. */
  readonly isRefusedForTime: boolean
}

/** Which codes of a refusal are about the voucher itself; all others may pass with time. */
const FINAL = new Set([400, 401, 404, 413, 422])

/**
 * Asks for the account's sessions. Throws DeviceError 'unavailable' where nobody answers or not
 * now, 'refused' where the answer is not what it should be.
 */
export async function askSessions(
  to: PayingTo,
  nowSeconds: number,
  timeoutMs: number,
): Promise<SessionsAnswer> {
  const { url, operatorId: operator, account: consumer, accountKey, domain } = to
  const asked = { consumer, operator, time: nowSeconds }
  const signature = hex(signDigest(sessionQueryDigest(domain, asked), accountKey))
  const body = { consumer: checksumAddress(consumer), time: nowSeconds, signature }
  const answer = await requestJson(`${url}/v1/sessions/query`, { body, timeoutMs })
  if (answer.status === 200) {
    const sessions = readSessions(answer.body)
    return { sessions, clockMs: answer.dateMs, isRefusedForTime: false }
  }
  // A clock that is off is put right by the answer itself, and the question put again.
  if (codeOf(answer) === 'wrong-time') {
    return { sessions: [], clockMs: answer.dateMs, isRefusedForTime: true }
  }
  throw new DeviceError(
    FINAL.has(answer.status) ? 'refused' : 'unavailable',
    `${url} does not tell of sessions: ${refusalOf(answer)}`,
  )
}

/** Sends one voucher. Throws nothing: an answer that did not come is an outcome, too. */
export async function sendVoucher(
  to: PayingTo,
  o: {
    readonly amount: bigint
    readonly session: string
    /** The own meter; absent without one. */
    readonly usage: { readonly received: bigint; readonly sent: bigint } | undefined
    /** The own meter's figures, signed. */
    readonly evidence?: ReportEvidence | undefined
    readonly timeoutMs: number
  },
): Promise<PaymentOutcome> {
  const { url, operatorId: operator, account: consumer, accountKey, domain } = to
  const digest = voucherDigest(domain, { consumer, operator, amount: o.amount })
  const body = {
    consumer: checksumAddress(consumer),
    operator,
    amount: o.amount.toString(),
    signature: hex(signDigest(digest, accountKey)),
    session: o.session,
    ...(o.usage === undefined
      ? {}
      : {
          usage: {
            inputOctets: o.usage.sent.toString(),
            outputOctets: o.usage.received.toString(),
          },
        }),
    ...(o.evidence !== undefined && { evidence: o.evidence }),
  }
  try {
    const answer = await requestJson(`${url}/v1/payments`, { body, timeoutMs: o.timeoutMs })
    return outcomeOf(to, o.amount, o.session, answer)
  } catch (error) {
    if (!(error instanceof DeviceError)) throw error
    return { kind: 'later', message: error.message, afterMs: undefined }
  }
}

/** Sends one signed report alone; undefined where nobody took or answered it. */
export async function sendUsage(
  { url, account }: PayingTo,
  o: {
    readonly session: string
    readonly evidence: ReportEvidence
    readonly timeoutMs: number
  },
): Promise<ReportAnswer | undefined> {
  const { session, evidence, timeoutMs } = o
  const body = { consumer: checksumAddress(account), session, evidence }
  try {
    const answer = await requestJson(`${url}/v1/usage`, { body, timeoutMs })
    return answer.status === 200 ? readReportAnswer(answer.body).report : undefined
  } catch (error) {
    if (!(error instanceof DeviceError)) throw error
    return undefined
  }
}

function outcomeOf(
  to: PayingTo,
  sent: bigint,
  session: string,
  answer: JsonAnswer,
): PaymentOutcome {
  const { status, body, retryAfterSeconds } = answer
  if (status === 200) {
    const receipt = readReceipt(to, body)
    const fits = receipt !== undefined && receipt.amount === sent && receipt.session === session
    if (fits) return { kind: 'paid', receipt, ...readReportAnswer(body) }
    const message = 'the receipt is not one that the operator signed for this voucher'
    return { kind: 'refused', code: 'receipt-invalid', message }
  }
  if (status === 409) return bestOf(to, sent, body)
  const message = refusalOf(answer)
  if (FINAL.has(status)) return { kind: 'refused', code: codeOf(answer) ?? 'refused', message }
  const afterMs = retryAfterSeconds === undefined ? undefined : retryAfterSeconds * 1000
  return { kind: 'later', message, afterMs }
}

/** Nobody signs it, and no money hangs on it. */
function readReportAnswer(body: unknown): { readonly report?: ReportAnswer } {
  const { usage } = body as { usage?: Record<string, unknown> | null }
  if (typeof usage !== 'object' || usage === null) return {}
  const word = (value: unknown, form: RegExp): string =>
    typeof value === 'string' && form.test(value) ? value : ''
  const nonce = word(usage['nonce'], /^[\w-]{22}$/)
  const reason = word(usage['reason'], /^[a-z-]{1,40}$/)
  return { report: { accepted: usage['accepted'] === true, reason, nonce } }
}

/** A receipt of `POST /v1/payments`; undefined where the operator's account did not sign it. */
function readReceipt(
  to: Pick<PayingTo, 'account' | 'operatorId' | 'operatorAccount' | 'domain'>,
  body: unknown,
): SignedReceipt | undefined {
  try {
    const { receipt: from, signature } = body as { receipt: unknown; signature: unknown }
    if (typeof signature !== 'string' || !/^0x[0-9a-f]{130}$/i.test(signature)) return undefined
    const { session, merchant } = from as { session: unknown; merchant: unknown }
    const earns = typeof merchant === 'string' ? parseAddress(merchant) : undefined
    if (typeof session !== 'string' || earns === undefined) return undefined
    const receipt: Receipt = {
      ...{ consumer: to.account, operator: to.operatorId, session, merchant: earns },
      amount: amount(from, 'amount'),
      credited: amount(from, 'credited'),
      time: count(from, 'time'),
    }
    const bytes = Buffer.from(signature.slice(2), 'hex')
    const signer = recoverAddress(receiptDigest(to.domain, receipt), bytes)
    return signer === to.operatorAccount ? { ...receipt, signature } : undefined
  } catch {
    return undefined
  }
}

/**
 * What the operator says is its best voucher. Without our signature it is only a claim, and taking
 * a claim over would make the device promise whatever a liar names.
 */
function bestOf(to: PayingTo, sent: bigint, body: unknown): PaymentOutcome {
  try {
    const { error } = body as { error: { signature?: unknown } }
    const best = amount(error, 'amount')
    if (best < sent) throw new RangeError('lower')
    return { kind: 'not-higher', best, isShown: isOurs(to, best, error.signature) }
  } catch {
    return { kind: 'not-higher', best: sent, isShown: false }
  }
}

function isOurs(to: PayingTo, best: bigint, signature: unknown): boolean {
  if (typeof signature !== 'string' || !/^0x[0-9a-f]{130}$/i.test(signature)) return false
  const { operatorId: operator, account: consumer, domain } = to
  const digest = voucherDigest(domain, { consumer, operator, amount: best })
  return recoverAddress(digest, Buffer.from(signature.slice(2), 'hex')) === consumer
}

const hex = (bytes: Buffer): string => `0x${bytes.toString('hex')}`

function codeOf(answer: JsonAnswer): string | undefined {
  const code = (answer.body as { error?: { code?: unknown } } | null)?.error?.code
  return typeof code === 'string' && /^[a-z-]{1,40}$/.test(code) ? code : undefined
}
