// From the journal to credits of a block: sums, the commission, and what waits.

import fc from 'fast-check'
import t from 'tap'
import type { MerchantCredit } from '../../accounting/storage.ts'
import { addEntries, amountOf, NO_ENTRIES, packEntries } from '../../chain/payplace/entries.ts'
import {
  addToWaiting,
  commissionOf,
  creditsById,
  stillWaiting,
  waitingTotal,
} from '../../server/notary-credits.ts'
import { addressOf } from '../accounting/store-fixtures.ts'

const operator = addressOf(900)
const [lobby, bar] = [addressOf(901), addressOf(902)]
const terms = { operatorAccount: operator, commissionPpm: 25_000 }
let number = 0
const credit = (merchant: typeof lobby, consumer: number, amount: bigint): MerchantCredit => {
  number += 1
  const account = addressOf(consumer)
  return { number, atMs: 0, merchant, account, session: '00'.repeat(16), amount }
}

t.test('the commission: rounded down, none of what is the operator’s own', async (t) => {
  const rows: [amount: bigint, ppm: number, fee: bigint][] = [
    [1_000n, 25_000, 25n],
    [39n, 25_000, 0n],
    [40n, 25_000, 1n],
    [1n, 1_000_000, 1n],
    [2n ** 96n - 1n, 0, 0n],
  ]
  for (const [amount, ppm, fee] of rows) t.equal(commissionOf(amount, ppm), fee, `${amount} ${ppm}`)
  const waiting = addToWaiting(
    new Map(),
    [credit(lobby, 1, 1_000n), credit(operator, 1, 7n), credit(lobby, 1, 1_000n)],
    terms,
  )
  t.equal(amountOf(waiting.get(lobby) ?? NO_ENTRIES, addressOf(1)), 1_950n)
  t.equal(amountOf(waiting.get(operator) ?? NO_ENTRIES, addressOf(1)), 57n)
})

t.test('nothing is lost or made: any credits, any commission, in any portions', async (t) => {
  const anyCredit = fc.tuple(
    fc.constantFrom(operator, lobby, bar),
    fc.integer({ min: 1, max: 5 }),
    fc.bigInt({ min: 1n, max: 10n ** 20n }),
  )
  fc.assert(
    fc.property(
      fc.array(anyCredit, { maxLength: 30 }),
      fc.nat({ max: 1_000_000 }),
      fc.nat({ max: 30 }),
      (rows, commissionPpm, cut) => {
        const credits = rows.map(([merchant, n, amount]) => credit(merchant, n, amount))
        const at = { operatorAccount: operator, commissionPpm }
        const whole = addToWaiting(new Map(), credits, at)
        const first = addToWaiting(new Map(), credits.slice(0, cut), at)
        const parts = addToWaiting(first, credits.slice(cut), at)
        const sum = rows.reduce((total, [, , amount]) => total + amount, 0n)
        t.equal(waitingTotal(whole), sum)
        for (const account of [operator, lobby, bar]) {
          t.same(parts.get(account) ?? NO_ENTRIES, whole.get(account) ?? NO_ENTRIES)
        }
      },
    ),
    { numRuns: 60, seed: 20_260_101 },
  )
})

t.test('who is not registered waits, and so does what a block held back', async (t) => {
  const waiting = addToWaiting(
    new Map(),
    [credit(lobby, 1, 100n), credit(bar, 1, 60n), credit(bar, 2, 40n)],
    { ...terms, commissionPpm: 0 },
  )
  const merchants = [
    { id: 1, account: operator },
    { id: 2, account: bar },
  ]
  const given = creditsById(waiting, merchants)
  t.same([...given.keys()], [2])
  const held = new Map([[2, packEntries([{ consumer: addressOf(2), amount: 40n }])]])
  const left = stillWaiting(waiting, merchants, given, held)
  t.equal(waitingTotal(left), 140n)
  t.equal(amountOf(left.get(lobby) ?? NO_ENTRIES, addressOf(1)), 100n)
  t.same(stillWaiting(waiting, merchants, given, new Map()).get(bar), undefined)
  const again = addEntries(
    left.get(bar) ?? NO_ENTRIES,
    packEntries([{ consumer: addressOf(2), amount: 1n }]),
  )
  t.equal(amountOf(again, addressOf(2)), 41n)
})
