// The best vouchers: from memory or the store, never one that this contract would not take.

import t from 'tap'
import type { Address } from '../../ethereum/address.ts'
import { payPlaceDomain } from '../../ethereum/typed-data.ts'
import { createVoucherBook } from '../../server/notary-vouchers.ts'
import { accountNumber, addressOf } from '../accounting/store-fixtures.ts'
import {
  accountNamed,
  domain,
  hex,
  type SignOptions,
  voucherSignature,
} from '../accounting/vouchers.ts'

const alice = accountNamed('alice')
const voucherBy = (name: string, amount: bigint, o: SignOptions = {}) =>
  hex(voucherSignature(name, amount, o))
const voucher = (amount: bigint, signature = voucherBy('alice', amount)) => {
  return { amount, signature, atMs: 0 }
}

function book() {
  const memory = new Map<Address, ReturnType<typeof voucher>>()
  const stored = new Map<Address, ReturnType<typeof voucher>>()
  let asked = 0
  const vouchers = createVoucherBook({
    ledger: {
      account: (account) => {
        const found = memory.get(account)
        return found === undefined ? undefined : accountNumber(1, { account, voucher: found })
      },
    },
    storage: {
      async account(account) {
        asked += 1
        const found = stored.get(account)
        if (found === undefined) return undefined
        return {
          account: accountNumber(1, { account, voucher: found }),
          sessions: [],
          meteringKeys: [],
        }
      },
    },
    ...{ domain: domain.separator, operator: domain.operator },
  })
  return { memory, stored, vouchers, asked: () => asked }
}

t.test('from memory, else from the store, which is asked once', async (t) => {
  const { memory, stored, vouchers, asked } = book()
  t.equal(vouchers.best(alice), undefined)
  stored.set(alice, voucher(7n))
  await vouchers.load([alice])
  t.match(vouchers.best(alice), { consumer: alice, amount: 7n })
  await vouchers.load([alice])
  t.equal(asked(), 1)
  memory.set(alice, voucher(9n))
  t.equal(vouchers.best(alice)?.amount, 7n, 'as of the last load')
  await vouchers.load([alice])
  t.equal(vouchers.best(alice)?.amount, 9n)
  memory.delete(alice)
  stored.set(alice, voucher(11n))
  await vouchers.load([alice])
  t.equal(vouchers.best(alice)?.amount, 9n)
  vouchers.outdate([alice])
  await vouchers.load([alice, addressOf(5)])
  t.equal(vouchers.best(alice)?.amount, 11n, 'the journal told of a payment')
  t.equal(vouchers.best(addressOf(5)), undefined)
})

t.test('a voucher for another contract, or by nobody, covers nothing', async (t) => {
  const { memory, vouchers } = book()
  const separator = payPlaceDomain(31_337n, addressOf(99))
  const elsewhere = voucherBy('alice', 7n, { separator })
  for (const signature of [elsewhere, `0x${'11'.repeat(65)}`, '0x', voucherBy('alice', 8n)]) {
    memory.set(alice, voucher(7n, signature))
    await vouchers.load([alice])
    t.equal(vouchers.best(alice), undefined, signature)
  }
})
