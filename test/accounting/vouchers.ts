// Accounts and payments for tests: keys from names, payments signed as a device would.

import { createHash } from 'node:crypto'
import type { VoucherDomain } from '../../accounting/voucher.ts'
import type { Address } from '../../ethereum/address.ts'
import { accountOf, signDigest } from '../../ethereum/signature.ts'
import { payPlaceDomain, voucherDigest } from '../../ethereum/typed-data.ts'

export const keyNamed = (name: string): Buffer => createHash('sha256').update(name).digest()
export const accountNamed = (name: string): Address => accountOf(keyNamed(name))

export const contract = accountNamed('contract')
export const domain: VoucherDomain = {
  ...{ operator: 3, chainId: 31_337n, contract },
  separator: payPlaceDomain(31_337n, contract),
}

export interface SignOptions {
  readonly operator?: number
  readonly separator?: VoucherDomain['separator']
  readonly key?: Buffer
}

/** 65 bytes by the consumer of that name, over what `o` changes. */
export function voucherSignature(name: string, amount: bigint, o: SignOptions = {}): Buffer {
  const { operator = domain.operator, separator = domain.separator, key = keyNamed(name) } = o
  return signDigest(
    voucherDigest(separator, { consumer: accountNamed(name), operator, amount }),
    key,
  )
}

export const hex = (bytes: Uint8Array): string => `0x${Buffer.from(bytes).toString('hex')}`

/** A good payment by the consumer of that name, with anything added or replaced. */
export function paymentBy(name: string, amount: bigint, change: object = {}) {
  return {
    ...{ consumer: accountNamed(name) as string, operator: domain.operator },
    ...{ amount: amount.toString(), signature: hex(voucherSignature(name, amount)) },
    ...change,
  }
}
