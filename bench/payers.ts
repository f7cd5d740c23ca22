// Who pays in the payment benchmark, and what each sends: names, sessions and vouchers signed
// before any clock runs. Pure. Called by payments.ts and payments-server.ts.

import { keyNamed, paymentBy } from '../test/accounting/vouchers.ts'

export const payerName = (n: number): string => `payer ${n}`

/** The session of a payer: 32 hex digits. */
export const sessionOf = (n: number): string =>
  keyNamed(`session of ${payerName(n)}`).toString('hex', 0, 16)

/** About a minute of the standard price. */
const STEP = 41_000_000_000_000_000n

/** One payment of a payer as it is sent; `turn` is how many it sent before. */
export function paymentOf(n: number, turn: number): object {
  const usage = { inputOctets: `${turn * 9_000_000}`, outputOctets: `${turn * 800_000}` }
  return paymentBy(payerName(n), STEP * BigInt(turn + 1), { session: sessionOf(n), usage })
}

/** Payments of all payers in turn, JSON text each; every payer's amounts rise. */
export function* paymentTexts(payers: number): Generator<string, never> {
  for (let turn = 0; ; turn++) {
    for (let n = 0; n < payers; n++) yield JSON.stringify(paymentOf(n, turn))
  }
}
