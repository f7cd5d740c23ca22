// The voucher URI that a bound certificate may carry: `datanet:voucher/1/`, operator id, amount and
// base64url of a 65-byte signature. Owns its one spelling; says nothing about who signed it. Pure.
// Called by certs/ (form), server/ (value) and device/ (writing it).

export const VOUCHER_URI = 'datanet:voucher/1/'
/** Amounts are uint96 in the contract. */
export const AMOUNT_MAX = 2n ** 96n - 1n
const OPERATOR_MAX = 2 ** 32 - 1

/** What such a URI says; the consumer is the account of the certificate it stands in. */
export interface VoucherUri {
  /** uint32. */
  readonly operator: number
  /** Cumulative, token base units, 1 … 2^96 − 1. */
  readonly amount: bigint
  /** 65 bytes r ‖ s ‖ v. */
  readonly signature: Buffer
}

// No leading zeros; 87 base64url characters hold 65 bytes.
const FORM = /^datanet:voucher\/1\/(0|[1-9][0-9]{0,9})\/([1-9][0-9]{0,28})\/([\w-]{87})$/

/** Reads one; undefined where it is not in its one form or a number is out of its range. */
export function parseVoucherUri(uri: string): VoucherUri | undefined {
  const [, operatorText, amountText, signatureText] = FORM.exec(uri) ?? []
  if (operatorText === undefined || amountText === undefined || signatureText === undefined) {
    return undefined
  }
  const operator = Number(operatorText)
  const amount = BigInt(amountText)
  const signature = Buffer.from(signatureText, 'base64url')
  if (operator > OPERATOR_MAX || amount > AMOUNT_MAX) return undefined
  // 87 characters have two spare bits: only zeros there, or one voucher would have four spellings.
  return signature.toString('base64url') === signatureText
    ? { operator, amount, signature }
    : undefined
}

/** Writes one; throws RangeError where the reader would refuse it. */
export function formatVoucherUri({ operator, amount, signature }: VoucherUri): string {
  const uri = `${VOUCHER_URI}${operator}/${amount}/${signature.toString('base64url')}`
  if (parseVoucherUri(uri) === undefined) {
    throw new RangeError('a voucher URI takes a uint32, a uint96 above zero and 65 bytes')
  }
  return uri
}
