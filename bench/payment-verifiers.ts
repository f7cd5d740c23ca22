// The same vouchers read and verified by the payment door's own code, and by what else could do
// it: the key known and merely verified with, noble, ethers. CPU of this process alone. Called by
// payments.ts.

import { createRequire } from 'node:module'
import { verifyTypedData } from 'ethers'
import { isSigned, type Payment, readPayment } from '../accounting/voucher.ts'
import { checksumAddress } from '../ethereum/address.ts'
import { curveName, nobleCurve, publicKeyOf, recoverAddress } from '../ethereum/signature.ts'
import { voucherDigest } from '../ethereum/typed-data.ts'
import { domain, keyNamed } from '../test/accounting/vouchers.ts'
import { payerName, paymentOf } from './payers.ts'
import { figure, median, table } from './table.ts'

/** What this machine could do but the server does not use: it says nothing about v. */
interface Verifying {
  ecdsaVerify(signature: Uint8Array, digest: Uint8Array, publicKey: Uint8Array): boolean
}

interface Sample {
  readonly body: object
  readonly payment: Payment
  readonly publicKey: Buffer
}

const ROUNDS = 5
const { operator, contract } = domain
const ETHERS_DOMAIN = {
  ...{ name: 'PayPlace', version: '1' },
  ...{ chainId: domain.chainId, verifyingContract: contract },
}
const ETHERS_TYPES = {
  Voucher: [
    { name: 'consumer', type: 'address' },
    { name: 'operator', type: 'uint32' },
    { name: 'amount', type: 'uint96' },
  ],
}

function sampleOf(n: number): Sample {
  const body = paymentOf(n, n)
  const payment = readPayment(body, domain)
  if ('refusal' in payment) throw new Error(payment.message)
  return { body, payment, publicKey: publicKeyOf(keyNamed(payerName(n))) }
}

const digestOf = ({ consumer, amount }: Payment): Buffer =>
  voucherDigest(domain.separator, { consumer, operator, amount })

function byOurs({ body }: Sample): boolean {
  const payment = readPayment(body, domain)
  return !('refusal' in payment) && isSigned(payment, domain)
}

/** Needs the native curve; undefined where there is none. */
function byKnownKey(): ((sample: Sample) => boolean) | undefined {
  if (curveName !== 'native') return undefined
  const native = createRequire(import.meta.url)('secp256k1/bindings.js') as Verifying
  return ({ body, publicKey }) => {
    const payment = readPayment(body, domain)
    if ('refusal' in payment) return false
    return native.ecdsaVerify(payment.signature.subarray(0, 64), digestOf(payment), publicKey)
  }
}

const byNoble = ({ payment }: Sample): boolean =>
  recoverAddress(digestOf(payment), payment.signature, nobleCurve) === payment.consumer

function byEthers({ payment: { consumer, amount, signature } }: Sample): boolean {
  const text = `0x${signature.toString('hex')}`
  const voucher = { consumer, operator, amount }
  return verifyTypedData(ETHERS_DOMAIN, ETHERS_TYPES, voucher, text) === checksumAddress(consumer)
}

/** Microseconds for each call. */
function cpuEach(samples: readonly Sample[], verify: (sample: Sample) => boolean): number {
  const before = process.cpuUsage()
  for (const sample of samples) {
    if (!verify(sample)) throw new Error('a good signature was refused')
  }
  const used = process.cpuUsage(before)
  return (used.user + used.system) / samples.length
}

/** A table of all; `count` vouchers a round for the slow ones, ten times as many for the others. */
export function compareVerifiers(count: number): string {
  const many = Array.from({ length: count * 10 }, (_, n) => sampleOf(n))
  const few = many.slice(0, count)
  const known = byKnownKey()
  const contestants: [string, readonly Sample[], (sample: Sample) => boolean][] = [
    [`ours (${curveName}, key recovered)`, many, byOurs],
    ...(known === undefined
      ? []
      : [['native, key known, v unchecked', many, known] satisfies (typeof contestants)[number]]),
    ['our digest, noble', few, byNoble],
    ['ethers', few, byEthers],
  ]
  const figures = new Map<string, number[]>(contestants.map(([name]) => [name, []]))
  for (const [, , verify] of contestants) cpuEach(few, verify)
  // In turns, since a machine with neighbours changes its speed for seconds at a time.
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, samples, verify] of contestants) {
      figures.get(name)?.push(cpuEach(samples, verify))
    }
  }
  const medians = contestants.map(([name]) => [name, median(figures.get(name) ?? [])] as const)
  const ours = medians[0]?.[1] ?? Number.NaN
  return table('One voucher read and verified', [
    ['by', 'CPU us', 'times ours'],
    ...medians.map(([name, us]) => [name, figure(us, 1), figure(us / ours, 2)]),
  ])
}
