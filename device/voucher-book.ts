// What this device promised each operator: one cumulative amount, which only grows, and the one
// voucher whose answer is not known. Pure transitions; vouchers-file.ts makes each durable before
// the voucher leaves, so no crash and no lost answer makes the device pay twice.

/** What one operator was promised; amounts in token base units. */
export interface VoucherBook {
  /** The highest voucher the operator is known to have: by receipt, or by showing it. */
  readonly taken: bigint
  /** The highest this device ever signed: what it said itself needs no proof. */
  readonly signed: bigint
  /** Signed and perhaps sent, its answer unknown: sent again before anything higher is signed. */
  readonly pending: Pending | undefined
}

/** A voucher that was signed; `session` is what it names. */
export interface Pending {
  readonly amount: bigint
  readonly session: string
}

export const EMPTY_BOOK: VoucherBook = { taken: 0n, signed: 0n, pending: undefined }

/** Notes a voucher that is about to be sent. Throws RangeError unless it is the next one. */
export function promise(book: VoucherBook, amount: bigint, session: string): VoucherBook {
  const { pending } = book
  if (pending !== undefined && (pending.amount !== amount || pending.session !== session)) {
    throw new RangeError('a voucher is out whose answer is not known')
  }
  if (amount <= book.taken) throw new RangeError('a voucher never lowers what was promised')
  return { ...signedFor(book, amount), pending: { amount, session } }
}

/** The operator has `amount`, proven by its receipt or by our own signature. */
export function taken(book: VoucherBook, amount: bigint): VoucherBook {
  const highest = amount > book.taken ? amount : book.taken
  const { pending } = book
  const settled = pending === undefined || pending.amount <= highest
  const base = signedFor(book, highest)
  return { ...base, taken: highest, pending: settled ? undefined : pending }
}

/** Notes an amount that was signed for a certificate: the operator may take it at any join. */
export function signedFor(book: VoucherBook, amount: bigint): VoucherBook {
  return amount > book.signed ? { ...book, signed: amount } : book
}

/** The operator refused the pending voucher for good: it changed nothing there. */
export const dropped = (book: VoucherBook): VoucherBook => ({ ...book, pending: undefined })
