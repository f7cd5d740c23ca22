// From payments to signed receipts: the one door through which a voucher enters the ledger, over
// HTTP or inside a certificate. Owns the order of the checks, the limit of each consumer, and that
// nothing is answered before it is durable. Called by http-payments.ts and by admission.

import type { Credited, Ledger } from '../accounting/ledger.ts'
import { StorageError } from '../accounting/storage.ts'
import {
  type FormRefusal,
  isSigned,
  type Payment,
  type RefusedPayment,
  readPayment,
  signatureText,
  type VoucherDomain,
} from '../accounting/voucher.ts'
import type { Mirror } from '../chain/mirror.ts'
import type { Channel } from '../chain/mirror-state.ts'
import { type Address, checksumAddress } from '../ethereum/address.ts'
import { type Receipt, receiptDigest } from '../ethereum/typed-data.ts'
import type { VoucherUri } from '../ethereum/voucher-uri.ts'
import { createBuckets } from './buckets.ts'
import { createTurns } from './turns.ts'
import type { UsageAnswer, UsageReports } from './usage-reports.ts'

export type PaymentRefusal =
  | FormRefusal
  | 'bad-signature'
  | 'unknown-consumer'
  | 'unknown-session'
  | 'not-higher'
  | 'over-deposit'
  | 'too-many-requests'
  | 'storage-unavailable'
  | 'chain-unavailable'

/** A refused payment changed nothing; but see `storage-unavailable` at `answer`. */
export interface Refused extends RefusedPayment<PaymentRefusal> {
  /** With `not-higher`: a device whose answer was lost can go on from there. */
  readonly best?: BestVoucher
  /** With `too-many-requests`: whole seconds. */
  readonly retryAfterSeconds?: number
}

/** The highest voucher known of a consumer. */
interface BestVoucher {
  readonly amount: bigint
  /** Its own signature, 0x-hex, which makes it more than our word; not kept by us where only the
   * chain has seen that voucher. */
  readonly signature: string | undefined
}

/** The answer to one payment: a receipt in JSON with its signature, or a refusal. */
export type PaymentAnswer = { readonly paid: string } | Refused

/** What the door needs from the rest of the server. */
export interface PaymentDeps {
  readonly domain: VoucherDomain
  readonly ledger: Ledger
  readonly committer: {
    durable(): Promise<void>
    failed(): StorageError | undefined
  }
  readonly mirror: Pick<Mirror, 'channel' | 'connected' | 'heardAtMs' | 'refresh'>
  readonly staleAfterMs: () => number
  readonly reports: Pick<UsageReports, 'take'>
  /** Brings an account's books into memory; rejects with StorageError. */
  readonly ensureAccount: (account: Address) => Promise<void>
  /** The operator account's signature over a 32-byte digest, 65 bytes. */
  readonly sign: (digest: Buffer) => Buffer
  /** The clock of the books. */
  readonly now: () => number
  /** The time of day, which the mirror and receipts are dated by. */
  readonly wallNow: () => number
  /** Told of every outcome, for the metrics. */
  readonly count: (outcome: 'paid' | PaymentRefusal) => void
}

export interface Payments {
  /** One payment; `body` is parsed JSON of unknown shape. */
  pay(body: unknown): Promise<PaymentAnswer>
  /** Many, answered in their order; what they change becomes durable in one transaction. */
  payAll(bodies: readonly unknown[]): Promise<PaymentAnswer[]>
  /**
   * The voucher in a certificate, at once: the caller made sure that the mirror is current and the
   * account in memory, and awaits the committer before it tells anyone.
   */
  payVoucherUri(voucher: VoucherUri, account: Address): Credited | Refused
}

/** How long one RPC may hold a request when the mirror is stale. */
const REFRESH_TIMEOUT_MS = 500
/**
 * Accepted payments of one consumer: a hundred sessions that pay every 10 s. Only accepted ones
 * count, since anybody can send what is refused in another's name.
 */
const CONSUMER_LIMIT = { burst: 100, perSecond: 10, entriesMax: 50_000 }
const NO_SESSION = '0'.repeat(32)
const NO_MERCHANT = `0x${'0'.repeat(40)}` as Address

interface Accepted {
  readonly payment: Payment
  readonly credited: Credited
  /** The time of day, Unix ms. */
  readonly atMs: number
  /** Of its report of usage, where it has one. */
  readonly usage: UsageAnswer | undefined
}
type Step<Good> = Good | Refused

const refuse = (refusal: PaymentRefusal, message: string): Refused => ({ refusal, message })
const isRefused = <Good extends object>(step: Step<Good>): step is Refused => 'refusal' in step

const UNKNOWN_CONSUMER = refuse('unknown-consumer', 'the account has no deposit with this operator')
const UNKNOWN_SESSION = refuse('unknown-session', 'the account has no such session')
const CHAIN_AWAY = refuse('chain-unavailable', 'the chain was not heard for too long; try again')
const STORAGE_AWAY = refuse('storage-unavailable', 'payments cannot be stored now; try again')
const BAD_SIGNATURE = refuse('bad-signature', 'the consumer did not sign this voucher')

export function createPayments(deps: PaymentDeps): Payments {
  const { domain, ledger, mirror } = deps
  const consumers = createBuckets(CONSUMER_LIMIT)
  const forEachInTurns = createTurns()

  /** Whether the mirror can be believed now; asks the node once, briefly, where it can't. */
  async function chainIsCurrent(): Promise<boolean> {
    if (deps.wallNow() - mirror.heardAtMs() < deps.staleAfterMs()) return true
    return mirror.refresh(REFRESH_TIMEOUT_MS)
  }

  /** Everything that needs neither the books nor a wait; the cheap checks before the signature. */
  function check(body: unknown): Step<Payment> {
    const payment = readPayment(body, domain)
    if ('refusal' in payment) return payment
    if (mirror.channel(domain.operator, payment.consumer) === undefined) {
      return mirror.connected() ? UNKNOWN_CONSUMER : CHAIN_AWAY
    }
    return isSigned(payment, domain) ? payment : BAD_SIGNATURE
  }

  /** Brings the books of all payers into memory, all questions to the store at once. */
  async function ensureAll(steps: readonly Step<Payment>[]): Promise<boolean> {
    const missing = new Set<Address>()
    for (const step of steps) {
      if (!isRefused(step) && !ledger.knows(step.consumer)) missing.add(step.consumer)
    }
    if (missing.size === 0) return true
    try {
      await Promise.all(Array.from(missing, deps.ensureAccount))
      return true
    } catch (error) {
      if (error instanceof StorageError) return false
      throw error
    }
  }

  /** Decision and change in one step, on what holds at this moment: nothing is awaited in it. */
  function credit(payment: Payment): Step<Accepted> {
    const { consumer, amount, session, octets, evidence } = payment
    // A failed store is told of before the ledger changes, or a refusal would have changed it.
    if (deps.committer.failed() !== undefined || !ledger.knows(consumer)) return STORAGE_AWAY
    const channel = mirror.channel(domain.operator, consumer)
    if (channel === undefined) return UNKNOWN_CONSUMER
    if (session !== undefined && ledger.session(session)?.account !== consumer) {
      return UNKNOWN_SESSION
    }
    const refused = checkAmount(amount, bestOf(ledger, consumer, channel), channel)
    if (refused !== undefined) return refused
    const atMs = deps.now()
    const retryAfterSeconds = consumers.take(consumer, 1, atMs)
    if (retryAfterSeconds > 0) {
      const message = 'this account pays too often'
      return { ...refuse('too-many-requests', message), retryAfterSeconds }
    }
    const signature = signatureText(payment.signature)
    const voucher = { account: consumer, amount, signature, settled: channel.highestVoucher }
    const credited = ledger.pay(voucher, session, atMs)
    if (credited === undefined) return notHigher(bestOf(ledger, consumer, channel))
    // Whatever the report is worth, the money is good.
    const usage =
      evidence === undefined ? undefined : deps.reports.take(consumer, session, evidence)
    // What it has signed says the same, and says it better.
    const isSigned = usage?.accepted === true
    if (session !== undefined && octets !== undefined && !isSigned) {
      ledger.deviceReport(session, octets, atMs)
    }
    return { payment, credited, atMs: deps.wallNow(), usage }
  }

  function receiptOf({ payment, credited, atMs, usage }: Accepted): PaymentAnswer {
    const receipt: Receipt = {
      consumer: payment.consumer,
      operator: domain.operator,
      session: payment.session ?? NO_SESSION,
      merchant: credited.merchant ?? NO_MERCHANT,
      amount: payment.amount,
      credited: credited.named,
      time: Math.floor(atMs / 1_000),
    }
    const signature = deps.sign(receiptDigest(domain.separator, receipt))
    return { paid: receiptJson(receipt, signatureText(signature), usage) }
  }

  async function answerAll(bodies: readonly unknown[]): Promise<PaymentAnswer[]> {
    if (deps.committer.failed() !== undefined) return bodies.map(() => STORAGE_AWAY)
    if (!(await chainIsCurrent())) return bodies.map(() => CHAIN_AWAY)
    const steps: Step<Payment>[] = []
    await forEachInTurns(bodies, (body) => {
      steps.push(check(body))
    })
    await recheckUnknown(steps, bodies)
    const ensured = await ensureAll(steps)
    const settled: Step<Accepted>[] = []
    await forEachInTurns(steps, (step) => {
      if (isRefused(step)) settled.push(step)
      else settled.push(ensured ? credit(step) : STORAGE_AWAY)
    })
    const durable = await makeDurable(settled)
    const answers: PaymentAnswer[] = []
    await forEachInTurns(settled, (step) => {
      if (!durable && toldOfTheBooks(step)) answers.push(STORAGE_AWAY)
      else answers.push(isRefused(step) ? step : receiptOf(step))
    })
    return answers
  }

  /** Of an account the mirror does not know it can't say "no deposit" while it is cut off. */
  async function recheckUnknown(steps: Step<Payment>[], bodies: readonly unknown[]): Promise<void> {
    if (!steps.includes(CHAIN_AWAY) || !(await mirror.refresh(REFRESH_TIMEOUT_MS))) return
    await forEachInTurns(bodies, (body, index) => {
      if (steps[index] === CHAIN_AWAY) steps[index] = check(body)
    })
  }

  /** A best voucher told with a refusal must be as durable as one told with a receipt. */
  async function makeDurable(settled: readonly Step<Accepted>[]): Promise<boolean> {
    if (!settled.some(toldOfTheBooks)) return true
    try {
      await deps.committer.durable()
      return true
    } catch (error) {
      if (error instanceof StorageError) return false
      throw error
    }
  }

  /** The same voucher comes with every join: that it is not higher is found before its signer. */
  function creditUri(payment: Payment, operator: number): Step<Accepted> {
    if (operator !== domain.operator) {
      return refuse('wrong-operator', `the voucher is for another operator than ${domain.operator}`)
    }
    const channel = mirror.channel(domain.operator, payment.consumer)
    if (channel === undefined) return UNKNOWN_CONSUMER
    const best = bestOf(ledger, payment.consumer, channel)
    const refused = checkAmount(payment.amount, best, channel)
    if (refused !== undefined) return refused
    return isSigned(payment, domain) ? credit(payment) : BAD_SIGNATURE
  }

  async function payAll(bodies: readonly unknown[]): Promise<PaymentAnswer[]> {
    const answers = await answerAll(bodies)
    for (const answer of answers) deps.count('paid' in answer ? 'paid' : answer.refusal)
    return answers
  }

  return {
    async pay(body) {
      const [answer = STORAGE_AWAY] = await payAll([body])
      return answer
    },
    payAll,
    payVoucherUri(voucher, account) {
      const { operator, amount, signature } = voucher
      const named = { session: undefined, octets: undefined, evidence: undefined }
      const step = creditUri({ consumer: account, amount, signature, ...named }, operator)
      deps.count(isRefused(step) ? step.refusal : 'paid')
      return isRefused(step) ? step : step.credited
    },
  }
}

/** max(mu on chain, the best voucher in the books). */
function bestOf(ledger: Ledger, consumer: Address, { highestVoucher }: Channel): BestVoucher {
  const known = ledger.account(consumer)?.voucher
  return known !== undefined && known.amount >= highestVoucher
    ? known
    : { amount: highestVoucher, signature: undefined }
}

function notHigher(best: BestVoucher): Refused {
  return { ...refuse('not-higher', 'a voucher of this amount or more is known'), best }
}

/** What is asked to move to another operator can't be promised: a challenge would come too late. */
function checkAmount(amount: bigint, best: BestVoucher, channel: Channel): Refused | undefined {
  const { deposit, pendingShift } = channel
  if (amount <= best.amount) return notHigher(best)
  if (amount <= deposit - pendingShift) return undefined
  const moving = pendingShift === 0n ? '' : `, ${pendingShift} of it is asked to move elsewhere`
  return refuse('over-deposit', `the deposit is ${deposit}${moving}`)
}

const toldOfTheBooks = (step: Step<Accepted>): boolean =>
  !isRefused(step) || step.refusal === 'not-higher'

/** Written by hand: every value is digits, hex or a number, and it is done for each payment. */
function receiptJson(receipt: Receipt, signature: string, usage?: UsageAnswer): string {
  const answer = usage === undefined ? '' : `,"usage":${JSON.stringify(usage)}`
  const { operator, session, amount, credited, time } = receipt
  const consumer = checksumAddress(receipt.consumer)
  const merchant =
    receipt.merchant === NO_MERCHANT ? NO_MERCHANT : checksumAddress(receipt.merchant)
  return (
    `{"receipt":{"consumer":"${consumer}","operator":${operator},"session":"${session}",` +
    `"merchant":"${merchant}","amount":"${amount}","credited":"${credited}","time":${time}},` +
    `"signature":"${signature}"${answer}}`
  )
}
