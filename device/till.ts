// One operator as a payer deals with it: the latest word about sessions, the book of vouchers, the
// escrow. Owns the order that makes paying safe: durable, then sent, then noted. Decides nothing
// (payer.ts does). Called by run.ts and pay.ts.

import type { UsageTerms } from './charge.ts'
import { DeviceError } from './error.ts'
import { type EscrowOf, readEscrow } from './escrow.ts'
import {
  askSessions,
  type PayingTo,
  type PaymentOutcome,
  type SignedReceipt,
  sendUsage,
  sendVoucher,
} from './operator-api.ts'
import { keepReceipt } from './receipts.ts'
import type { SessionView } from './session-view.ts'
import { isOfKey, type UsageReporter } from './usage-reporter.ts'
import { dropped, promise, signedFor, taken, type VoucherBook } from './voucher-book.ts'
import type { VouchersFile } from './vouchers-file.ts'

/** What a till is made of; `now` in Unix ms by the own clock. */
export interface TillDeps {
  readonly to: PayingTo
  readonly escrow: EscrowOf
  readonly directory: string
  readonly vouchers: VouchersFile
  readonly now: () => number
  /** Absent: usage is not reported. */
  readonly reporter?: UsageReporter | undefined
}

/** How a payment ended, with the receipt where there is one. */
export type Paid =
  | { readonly kind: 'paid'; readonly receipt: SignedReceipt }
  | Exclude<PaymentOutcome, { kind: 'paid' | 'not-higher' }>
  /** The operator had it already, or another device paid in between: ask before paying on. */
  | { readonly kind: 'known' }
  /** It claims more than this device ever signed, and does not show it. */
  | { readonly kind: 'unproven'; readonly claimed: bigint }

/** One operator's side of the counter; times are by the operator's clock. */
export interface Till {
  readonly operatorId: number
  readonly sessions: readonly SessionView[]
  readonly viewAtMs: number | undefined
  readonly book: VoucherBook
  /** What a voucher may reach: the deposit less what a shift waits to move away. */
  readonly deposit: bigint | undefined
  /** What the key is worth here that signs usage; undefined: none does. */
  readonly trust: UsageTerms['trust'] | undefined
  now(): number
  /**
   * How long ago a session began, at most: from the answer that told of it, whose times are whole
   * seconds of one clock. Undefined where the answer had no time.
   */
  ageMostMs(session: SessionView): number | undefined
  /** Asks for the sessions; resolves with the round trip in ms. Throws as askSessions. */
  ask(timeoutMs: number): Promise<number>
  /** The next decision has to ask first. */
  outdate(): void
  pay(session: string, amount: bigint, usage: Usage | undefined, timeoutMs: number): Promise<Paid>
  /**
   * Reports the own meter's figures without money. `over`: it is too late, or nobody takes reports;
   * `no-key`: the key has to be shown first; `again`: nobody answered, or this one is not taken.
   */
  report(session: string, usage: Usage, timeoutMs: number): Promise<Reported>
  /** Notes what is signed for a certificate, before it is written there. */
  signed(amount: bigint): Promise<void>
  /** Reads the escrow; keeps the last value where the chain does not answer. */
  readDeposit(timeoutMs: number): Promise<void>
}

/** What became of a report without money. */
export type Reported = 'taken' | 'over' | 'no-key' | 'again'

/** What the own meter saw, since the session began. */
export interface Usage {
  readonly received: bigint
  readonly sent: bigint
}

/** What is told in whole seconds may be so much more. */
const SECOND_MS = 1_000
/** Clocks this close are taken as equal: the operator tells its own in whole seconds. */
const CLOCKS_ALIKE_MS = 2_000

export function openTill(deps: TillDeps): Till {
  const { to, vouchers } = deps
  const { operatorId } = to
  let sessions: readonly SessionView[] = []
  let viewAtMs: number | undefined
  let deposit: bigint | undefined
  let offsetMs = 0
  /** The last answer's time, and when it was asked for by the own clock. */
  let answered: { readonly clockMs: number; readonly askedAtMs: number } | undefined
  const now = (): number => deps.now() + offsetMs
  const note = (book: VoucherBook): Promise<void> => vouchers.write(operatorId, book)

  const settle = async (outcome: PaymentOutcome, session: string): Promise<Paid> => {
    const book = vouchers.book(operatorId)
    if (outcome.kind === 'later') return outcome
    if (outcome.kind === 'paid') {
      const { receipt, report } = outcome
      if (report !== undefined) deps.reporter?.answered(session, report)
      await keepReceipt(deps.directory, receipt)
      await note(taken(book, receipt.amount))
      sessions = sessions.map((one) => (one.id === session ? credited(one, receipt) : one))
      // What the report has done to the bill, only the operator knows.
      const isBilled = sessions.some(({ id, terms }) => id === session && terms.usage !== undefined)
      if (report?.accepted === true && isBilled) viewAtMs = undefined
      return outcome
    }
    viewAtMs = undefined
    if (outcome.kind === 'refused') {
      await note(dropped(book))
      return outcome
    }
    const isKnown = outcome.isShown || outcome.best <= book.signed
    // Of an unproven claim this much is certain: what was sent is not higher, so it adds nothing.
    await note(isKnown ? taken(book, outcome.best) : dropped(book))
    return isKnown ? { kind: 'known' } : { kind: 'unproven', claimed: outcome.best }
  }

  const evidenceOf = async (session: string, usage: Usage | undefined) => {
    const view = sessions.find(({ id }) => id === session)
    if (view === undefined || usage === undefined) return undefined
    // A chip that fails must not keep the money back.
    return deps.reporter?.sign(view, usage, now()).catch(() => undefined)
  }

  return {
    operatorId,
    get sessions() {
      return sessions
    },
    get viewAtMs() {
      return viewAtMs
    },
    get book() {
      return vouchers.book(operatorId)
    },
    get deposit() {
      return deposit
    },
    get trust() {
      return deps.reporter?.trust()
    },
    now,
    ageMostMs({ startedAtMs }) {
      if (answered === undefined) return undefined
      const { clockMs, askedAtMs } = answered
      return clockMs + SECOND_MS - startedAtMs + (deps.now() - askedAtMs)
    },
    async ask(timeoutMs) {
      const startedAtMs = deps.now()
      const asked = await askSessions(to, Math.floor(now() / 1000), timeoutMs)
      const endedAtMs = deps.now()
      const { clockMs } = asked
      answered = clockMs === undefined ? undefined : { clockMs, askedAtMs: startedAtMs }
      const before = offsetMs
      offsetMs = offsetOf(clockMs, (startedAtMs + endedAtMs) / 2) ?? offsetMs
      if (asked.isRefusedForTime && Math.abs(offsetMs - before) < CLOCKS_ALIKE_MS) {
        throw new DeviceError('refused', `${to.url} says that the time of this device is wrong`)
      }
      sessions = asked.sessions
      viewAtMs = asked.isRefusedForTime ? undefined : startedAtMs + offsetMs
      if (sessions.length > 0) deps.reporter?.prepare(now())
      return endedAtMs - startedAtMs
    },
    outdate() {
      viewAtMs = undefined
    },
    async pay(session, amount, usage, timeoutMs) {
      await note(promise(vouchers.book(operatorId), amount, session))
      const evidence = await evidenceOf(session, usage)
      const sent = { amount, session, usage, evidence, timeoutMs }
      return settle(await sendVoucher(to, sent), session)
    },
    async report(session, usage, timeoutMs) {
      if (deps.reporter === undefined) return 'over'
      deps.reporter.prepare(now())
      const evidence = await evidenceOf(session, usage)
      if (evidence === undefined) return 'no-key'
      const answer = await sendUsage(to, { session, evidence, timeoutMs })
      if (answer === undefined) return 'again'
      deps.reporter.answered(session, answer)
      if (answer.accepted) return 'taken'
      if (isOfKey(answer.reason)) return 'no-key'
      return answer.reason === 'session-over' ? 'over' : 'again'
    },
    signed: (amount) => note(signedFor(vouchers.book(operatorId), amount)),
    async readDeposit(timeoutMs) {
      const read = await readEscrow(deps.escrow, timeoutMs).catch((error) => {
        if (error instanceof DeviceError) return undefined
        throw error
      })
      if (read === undefined) return
      // What is asked to move to another operator is not this one's to be paid with.
      deposit = read.deposit - read.pendingShift
      const book = vouchers.book(operatorId)
      // What was settled on chain the operator must have; more than we signed is a node's lie.
      const { highestVoucher } = read
      if (highestVoucher > book.taken && highestVoucher <= book.signed) {
        await note(taken(book, highestVoucher))
      }
    },
  }
}

/** The operator's clock less ours; 0 where they agree as far as whole seconds can tell. */
function offsetOf(clockMs: number | undefined, atMs: number): number | undefined {
  if (clockMs === undefined) return undefined
  const offsetMs = clockMs + 500 - atMs
  return Math.abs(offsetMs) < CLOCKS_ALIKE_MS ? 0 : Math.round(offsetMs)
}

function credited(session: SessionView, { credited: sum }: SignedReceipt): SessionView {
  const due = session.due > sum ? session.due - sum : 0n
  return { ...session, paid: session.paid + sum, due }
}
