// Two small rules beside the model's contract: how one deposit is split over operators, and which
// voucher the operator takes for a payment. With the thesis's originals to switch back to.

import { type Contract, deposit, type OldRules } from './payplace-model.ts'

/** Deposits parts with several operators; `tokens` is all that the contract received for it. */
export function depositSplit(
  parts: readonly (readonly [Contract, number])[],
  consumer: string,
  tokens: number,
  old: OldRules,
): boolean {
  const sum = parts.reduce((all, [, amount]) => all + amount, 0)
  // D33: D is one number that every operator reads.
  if (!old.has('D33') && sum !== tokens) return false
  return parts.every(([contract, amount]) => deposit(contract, consumer, amount))
}

/** What an operator holds of one consumer. */
export interface VoucherBook {
  readonly deposit: number
  best: number
  /** What was credited to merchants because of vouchers. */
  credited: number
  readonly seen: Set<string>
}

/** Takes a voucher for a payment of `price`; whether it counts. */
export function takeVoucher(
  book: VoucherBook,
  voucher: { readonly amount: number; readonly signature: string },
  price: number,
  old: OldRules,
): boolean {
  const { amount, signature } = voucher
  const isNew = old.has('D34') ? !book.seen.has(signature) : amount - book.best >= price
  const isEnough = old.has('D35') ? amount >= book.best : isNew
  if (!isEnough || (amount > book.deposit && !old.has('D35'))) return false
  book.seen.add(signature)
  book.best = Math.max(book.best, amount)
  book.credited += price
  return true
}
