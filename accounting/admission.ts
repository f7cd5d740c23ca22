// May this account start a session now? Pure: takes what the chain mirror and the open sessions
// say, gives a reserve and a time, or one reason. Called in the same synchronous step that takes
// the reserve, so that many joins at once can't use one escrow twice.

import type { Address } from '../ethereum/address.ts'
import { affordableMs, intervalsAtRisk, reserveOf, type Tariff } from './tariff.ts'

/**
 * Why an account with a good certificate is refused; one word each in logs, metrics and answers.
 */
export type AdmissionRefusal =
  | 'no-escrow'
  | 'escrow-with-another-operator'
  | 'insufficient-escrow'
  | 'too-many-sessions'
  | 'chain-unavailable'

/** What is known of an account when it asks; amounts in token base units. */
export interface AccountFacts {
  readonly account: Address
  /** D of Channel[operator][account]. */
  readonly deposit: bigint
  /** The highest cumulative voucher known, on chain (mu) or in the ledger. */
  readonly highestVoucher: bigint
  /** The sum of the reserves of this account's open sessions. */
  readonly reserved: bigint
  readonly openSessions: number
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
}

/** Either the reserve to take and the Session-Timeout to send, or one reason with its numbers. */
export type Admission =
  | { readonly admit: true; readonly reserve: bigint; readonly timeoutMs: number }
  | { readonly admit: false; readonly reason: AdmissionRefusal; readonly detail: string }

/** D − max(mu, best voucher) − reserves of open sessions; never below zero. */
export function spendableOf(facts: AccountFacts): bigint {
  const rest = facts.deposit - facts.highestVoucher - facts.reserved
  return rest > 0n ? rest : 0n
}

const refuse = (reason: AdmissionRefusal, detail: string): Admission => ({
  admit: false,
  reason,
  detail,
})

/** Decides on one account under one tariff (product terms: admission 2 and 4). */
export function decideAdmission(
  facts: AccountFacts,
  tariff: Tariff,
  rules: AdmissionRules,
): Admission {
  if (facts.deposit === 0n) {
    return facts.depositElsewhere
      ? refuse(
          'escrow-with-another-operator',
          'the account has a deposit, but not with this operator',
        )
      : refuse('no-escrow', 'the account has no deposit with this operator')
  }
  if (facts.openSessions >= rules.perAccount) {
    return refuse(
      'too-many-sessions',
      `${facts.openSessions} sessions are open, ${rules.perAccount} allowed`,
    )
  }
  const spendable = spendableOf(facts)
  const reserve = reserveOf(tariff)
  if (spendable < reserve) {
    return refuse('insufficient-escrow', `spendable ${spendable}, a session reserves ${reserve}`)
  }
  const limitMs = rules.takesDisconnect
    ? rules.sessionMaxMs
    : Math.min(rules.sessionMaxMs, intervalsAtRisk(tariff) * tariff.intervalMs)
  return { admit: true, reserve, timeoutMs: affordableMs(tariff, spendable, limitMs) }
}
