// May this account start a session now? Pure: takes what the books and the chain mirror say, gives
// a reserve and a time, or one reason. Called in the same synchronous step that takes the reserve,
// so that many joins at once can't use one escrow twice. Money and refusals never rest on a MAC
// address alone: where a station counts, only fresh accounts wait for it.

import type { Standing } from './ledger.ts'
import type { Account, SessionKind } from './session.ts'
import { affordableMs, intervalPrice, intervalsAtRisk, reserveOf, type Tariff } from './tariff.ts'

/**
 * Why an account with a good certificate is refused; one word each in logs, metrics and answers.
 */
export type AdmissionRefusal =
  | 'no-escrow'
  | 'escrow-with-another-operator'
  | 'insufficient-escrow'
  | 'too-many-sessions'
  | 'chain-unavailable'
  | 'debt'
  | 'too-many-newcomers'
  | 'prepay-required'
  | 'station-backoff'

/** What the chain says of an account; amounts in token base units. */
export interface ChannelFacts {
  /** D of Channel[operator][account]. */
  readonly deposit: bigint
  /** mu: the highest voucher the contract has seen. */
  readonly highestVoucher: bigint
  /** What it has asked to move to another operator; 0n where nothing is pending. */
  readonly pendingShift: bigint
  /** The account has a deposit with some other operator of the same contract. */
  readonly depositElsewhere: boolean
}

/** The operator's rules that bear on the decision. */
export interface AdmissionRules {
  readonly perAccount: number
  readonly sessionMaxMs: number
  /**
   * Whether the NAS takes a Disconnect-Request; one that doesn't gets a Session-Timeout that cuts
   * by itself.
   */
  readonly takesDisconnect: boolean
  /** Who must have an interval paid before a session begins. */
  readonly prepay: 'off' | 'newcomers' | 'always'
  /** Open sessions of newcomers at one client entry. */
  readonly newcomersPerClient: number
  /** How long a device in debt gets to pay in; 0: not at all. */
  readonly arrearsWindowMs: number
}

/** Either the reserve to take and the Session-Timeout to send, or one reason with its numbers. */
export type Admission =
  | {
      readonly admit: true
      readonly kind: Extract<SessionKind, 'normal' | 'arrears'>
      readonly reserve: bigint
      readonly timeoutMs: number
    }
  | { readonly admit: false; readonly reason: AdmissionRefusal; readonly detail: string }

/** What spendable is told from, beside the channel. */
type Claims = Pick<Standing, 'account' | 'reserved' | 'openDebt' | 'oldDebt'>

/** A device in debt gets its window once in this time, … */
const ARREARS_EVERY_MS = 600_000
/** … and never at once after the cut, or coming straight back would be a way to go on. */
const ARREARS_AFTER_CUT_MS = 60_000

/** Whether an account in debt has a window to pay in again. */
export const mayHaveArrears = (
  { lastArrearsAtMs }: Pick<Account, 'lastArrearsAtMs'>,
  nowMs: number,
): boolean => lastArrearsAtMs === undefined || nowMs >= lastArrearsAtMs + ARREARS_EVERY_MS

const noLess = (amount: bigint): bigint => (amount > 0n ? amount : 0n)

/**
 * D − max(mu, best voucher) − pending shift − open and old debt − reserves of open sessions; never
 * below zero. Debt that unassigned credit covers is in the best voucher already.
 */
export function spendableOf(
  channel: Omit<ChannelFacts, 'depositElsewhere'>,
  claims: Claims,
): bigint {
  const { deposit, highestVoucher, pendingShift } = channel
  const { account, reserved, openDebt, oldDebt } = claims
  const best = account.voucher?.amount ?? 0n
  const spent = best > highestVoucher ? best : highestVoucher
  const debt = noLess(openDebt + oldDebt - account.credit)
  return noLess(deposit - spent - pendingShift - debt - reserved)
}

const refuse = (reason: AdmissionRefusal, detail: string): Admission => ({
  admit: false,
  reason,
  detail,
})

/** What is refused whatever the account could pay; undefined: nothing stands against it. */
function refusal(
  standing: Standing,
  channel: ChannelFacts,
  tariff: Tariff,
  rules: AdmissionRules,
): Admission | undefined {
  const { account, openSessions, newcomer, newcomersHere, stationBarredUntilMs } = standing
  if (newcomer && stationBarredUntilMs !== undefined) {
    const until = new Date(stationBarredUntilMs).toISOString()
    return refuse('station-backoff', `another account was cut for debt at this station; ${until}`)
  }
  if (openSessions >= rules.perAccount) {
    return refuse(
      'too-many-sessions',
      `${openSessions} sessions are open, ${rules.perAccount} allowed`,
    )
  }
  if (newcomer && newcomersHere >= rules.newcomersPerClient) {
    return refuse(
      'too-many-newcomers',
      `${newcomersHere} sessions of new accounts are open here, ${rules.newcomersPerClient} allowed`,
    )
  }
  const isPending = channel.pendingShift > 0n
  const mustPrepay = rules.prepay === 'always' || (rules.prepay === 'newcomers' && newcomer)
  const price = intervalPrice(tariff)
  if ((mustPrepay || isPending) && account.credit < price) {
    const why = isPending ? 'a shift is pending' : `prepay is ${rules.prepay}`
    return refuse(
      'prepay-required',
      `${why}: an interval costs ${price}, ${account.credit} is paid ahead`,
    )
  }
  return undefined
}

/** Decides on one account under one tariff (product terms: admission 2 to 4). */
export function decideAdmission(
  standing: Standing,
  channel: ChannelFacts,
  tariff: Tariff,
  rules: AdmissionRules,
  nowMs: number,
): Admission {
  if (channel.deposit === 0n) {
    return channel.depositElsewhere
      ? refuse(
          'escrow-with-another-operator',
          'the account has a deposit, but not with this operator',
        )
      : refuse('no-escrow', 'the account has no deposit with this operator')
  }
  if (standing.barring > 0n) return decideArrears(standing, channel, tariff, rules, nowMs)
  const refused = refusal(standing, channel, tariff, rules)
  if (refused !== undefined) return refused
  const spendable = spendableOf(channel, standing)
  const reserve = reserveOf(tariff)
  if (spendable < reserve) {
    return refuse('insufficient-escrow', `spendable ${spendable}, a session reserves ${reserve}`)
  }
  const limitMs = rules.takesDisconnect
    ? rules.sessionMaxMs
    : Math.min(rules.sessionMaxMs, intervalsAtRisk(tariff) * tariff.intervalMs)
  const timeoutMs = affordableMs(tariff, spendable, limitMs)
  return { admit: true, kind: 'normal', reserve, timeoutMs }
}

/**
 * Debt rejects, but for a short window to pay in, where the escrow could cover debt and reserve.
 */
function decideArrears(
  standing: Standing,
  channel: ChannelFacts,
  tariff: Tariff,
  rules: AdmissionRules,
  nowMs: number,
): Admission {
  const { barring, account, openSessions } = standing
  const debt = (why: string): Admission => refuse('debt', `owes ${barring}: ${why}`)
  if (rules.arrearsWindowMs === 0) return debt('there is no window to pay in')
  if (channel.pendingShift > 0n) return debt('a shift of its escrow is pending')
  if (openSessions >= rules.perAccount) return debt('too many sessions are open')
  const { lastCutAtMs } = account
  if (lastCutAtMs !== undefined && nowMs < lastCutAtMs + ARREARS_AFTER_CUT_MS) {
    return debt('it was cut less than a minute ago')
  }
  if (!mayHaveArrears(account, nowMs)) {
    return debt('it had its window to pay in less than ten minutes ago')
  }
  const reserve = reserveOf(tariff)
  const spendable = spendableOf(channel, standing)
  if (spendable < reserve) {
    return debt(`spendable beside it ${spendable}, a session reserves ${reserve}`)
  }
  const timeoutMs = Math.min(rules.arrearsWindowMs, rules.sessionMaxMs)
  return { admit: true, kind: 'arrears', reserve, timeoutMs }
}

/**
 * The same for a station that came back by a cached key: there is no Accept to send a window or a
 * Session-Timeout in, so it is either as good as a new session or put off.
 */
export function affordableReconnect(
  standing: Standing,
  channel: ChannelFacts,
  tariff: Tariff,
  rules: AdmissionRules,
  nowMs: number,
): { readonly reserve: bigint; readonly endsAtMs: number } | { readonly refused: string } {
  const decision = decideAdmission(standing, channel, tariff, rules, nowMs)
  if (!decision.admit) return { refused: `${decision.reason}: ${decision.detail}` }
  if (decision.kind === 'arrears') return { refused: `debt: owes ${standing.barring}` }
  return { reserve: decision.reserve, endsAtMs: nowMs + decision.timeoutMs }
}
