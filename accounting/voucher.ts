// The strict door of one payment: a JSON value becomes a Payment, or is refused with its one code.
// Owns the payment's form and the check of its signature; knows nothing of deposits, sessions or
// what was paid before (server/payments.ts does). Pure. Called by server/payments.ts.

import { type Address, checksumAddress, parseAddress } from '../ethereum/address.ts'
import { recoverAddress } from '../ethereum/signature.ts'
import { type Domain, voucherDigest } from '../ethereum/typed-data.ts'
import { AMOUNT_MAX } from '../ethereum/voucher-uri.ts'

/** What every voucher we take must have been signed for. */
export interface VoucherDomain {
  readonly operator: number
  readonly chainId: bigint
  readonly contract: Address
  readonly separator: Domain
}

/** A voucher with its signature, in its one form; that the consumer signed is not yet checked. */
export interface SignedVoucher {
  readonly consumer: Address
  /** Cumulative, token base units, 1 … 2^96 − 1. */
  readonly amount: bigint
  /** 65 bytes r ‖ s ‖ v. */
  readonly signature: Buffer
}

/** One payment as a device sends it. */
export interface Payment extends SignedVoucher {
  /** The session to credit first: an unsigned hint. */
  readonly session: string | undefined
  /** What the device metered since that session began, octets both ways. */
  readonly octets: bigint | undefined
  /** What goes with a signed report of usage; judged by whoever knows its keys. */
  readonly evidence: unknown
}

export type FormRefusal = 'malformed' | 'too-large' | 'wrong-domain' | 'wrong-operator'

/** One refusal; `message` holds no text chosen by the peer. */
export interface RefusedPayment<Code extends string = FormRefusal> {
  readonly refusal: Code
  readonly message: string
}

/** A report of usage takes under 300 characters of JSON; what is much longer is none. */
export const EVIDENCE_CHARACTERS_MAX = 8_192

const OCTETS_MAX = 2n ** 64n - 1n
const FIELDS = new Set([
  ...['consumer', 'operator', 'amount', 'signature', 'session', 'usage', 'evidence'],
  ...['chainId', 'contract'],
])
const AMOUNT = /^[1-9][0-9]{0,28}$/
const SIGNATURE = /^0x[0-9a-fA-F]{130}$/
const SESSION = /^[0-9a-f]{32}$/
const OCTETS = /^(?:0|[1-9][0-9]{0,19})$/

const refuse = (refusal: FormRefusal, message: string): RefusedPayment => ({ refusal, message })
const malformed = (message: string): RefusedPayment => refuse('malformed', message)

/** A JSON object: neither null nor a list. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * An account in any letter case, but where the cases differ they must be those of EIP-55: a digit
 * typed wrong would pay from a stranger's account.
 */
export function readAccount(value: unknown): Address | undefined {
  if (typeof value !== 'string') return undefined
  const address = parseAddress(value)
  if (address === undefined) return undefined
  const digits = value.slice(2)
  const plain = digits === digits.toLowerCase() || digits === digits.toUpperCase()
  return plain || checksumAddress(address) === value ? address : undefined
}

/** The 65 bytes of a 0x-hex signature; the 64 bytes of the compact form are not taken. */
export function readSignature(value: unknown): Buffer | undefined {
  if (typeof value !== 'string' || !SIGNATURE.test(value)) return undefined
  return Buffer.from(value.slice(2), 'hex')
}

/** Reads one flat payment; the first fault found decides, form before domain before operator. */
export function readPayment(body: unknown, domain: VoucherDomain): Payment | RefusedPayment {
  if (!isRecord(body)) return malformed('a payment is a JSON object')
  for (const name of Object.keys(body)) {
    if (!FIELDS.has(name)) return malformed('a payment has a field that is not known')
  }
  const consumer = readAccount(body['consumer'])
  if (consumer === undefined) return malformed('consumer: 0x and 40 hex digits, EIP-55 if mixed')
  const operator = body['operator']
  if (!isUint32(operator)) return malformed('operator: an integer of 32 bits is expected')
  const amountText = body['amount']
  const amount =
    typeof amountText === 'string' && AMOUNT.test(amountText) ? BigInt(amountText) : undefined
  if (amount === undefined || amount > AMOUNT_MAX) {
    return malformed('amount: decimal text of base units, 1 to 2^96 - 1, no leading zeros')
  }
  const signature = readSignature(body['signature'])
  if (signature === undefined) return malformed('signature: 0x and 65 bytes in hex are expected')
  const { session } = body
  if (session !== undefined && (typeof session !== 'string' || !SESSION.test(session))) {
    return malformed('session: 32 lowercase hex digits are expected')
  }
  const octets = body['usage'] === undefined ? undefined : octetsOf(body['usage'])
  if (octets === 'malformed') {
    return malformed('usage: inputOctets and outputOctets as decimal text of 64 bits')
  }
  if (!evidenceFits(body['evidence'])) {
    return refuse('too-large', `evidence: at most ${EVIDENCE_CHARACTERS_MAX} characters of JSON`)
  }
  const otherDomain = checkDomain(body, domain)
  if (otherDomain !== undefined) return otherDomain
  if (operator !== domain.operator) {
    return refuse('wrong-operator', `the voucher is for another operator than ${domain.operator}`)
  }
  return { consumer, amount, signature, session, octets, evidence: body['evidence'] }
}

const isUint32 = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 32

function octetsOf(usage: unknown): bigint | 'malformed' {
  if (!isRecord(usage) || Object.keys(usage).length !== 2) return 'malformed'
  let sum = 0n
  for (const octets of [usage['inputOctets'], usage['outputOctets']]) {
    if (typeof octets !== 'string' || !OCTETS.test(octets)) return 'malformed'
    const count = BigInt(octets)
    if (count > OCTETS_MAX) return 'malformed'
    sum += count
  }
  return sum
}

function evidenceFits(evidence: unknown): boolean {
  return evidence === undefined || JSON.stringify(evidence).length <= EVIDENCE_CHARACTERS_MAX
}

/** A device may say what it signed for: a moved operator is then told from a broken signature. */
function checkDomain(
  { chainId, contract }: Record<string, unknown>,
  domain: VoucherDomain,
): RefusedPayment | undefined {
  if (chainId !== undefined) {
    if (!Number.isSafeInteger(chainId)) return malformed('chainId: an integer is expected')
    if (BigInt(chainId as number) !== domain.chainId) {
      return refuse('wrong-domain', `this operator is on chain ${domain.chainId}`)
    }
  }
  if (contract !== undefined) {
    const address = readAccount(contract)
    if (address === undefined) return malformed('contract: 0x and 40 hex digits are expected')
    if (address !== domain.contract) {
      return refuse('wrong-domain', `the contract is ${checksumAddress(domain.contract)}`)
    }
  }
  return undefined
}

/**
 * Whether the consumer signed this voucher, v included. The key is recovered each time, not kept
 * and verified with: (r, s) that verify say nothing about v, yet ecrecover on chain needs the right
 * one, and finding it costs a recovery. A known key would save 10 of the 155 µs that a payment in a
 * batch takes (docs/decisions/0008-curves.md).
 */
export function isSigned(voucher: SignedVoucher, domain: VoucherDomain): boolean {
  const { consumer, amount, signature } = voucher
  const digest = voucherDigest(domain.separator, { consumer, operator: domain.operator, amount })
  return recoverAddress(digest, signature) === consumer
}

/** The one text form in which a signature is stored. */
export function signatureText(signature: Buffer): string {
  return `0x${signature.toString('hex')}`
}
