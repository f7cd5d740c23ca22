// Vouchers of a block in their packed form: each is found again, nobody else is.

import t from 'tap'
import { packSources, sourceIn } from '../../server/block-sources.ts'
import { addressOf } from '../accounting/store-fixtures.ts'

const source = (n: number) => ({
  ...{ consumer: addressOf(n), amount: 2n ** 96n - BigInt(n) },
  signature: Buffer.alloc(65, n),
})

t.test('every voucher is found, in whatever order they came', async (t) => {
  for (const count of [0, 1, 2, 7, 64]) {
    const sources = Array.from({ length: count }, (_, i) => source(2 * ((i * 37) % count) + 1))
    const packed = packSources(sources)
    t.equal(packed.length, count * 97)
    for (const one of sources) t.same(sourceIn(packed, one.consumer), one)
    for (const n of [0, 2, 2 * count, 2 * count + 2]) {
      t.equal(sourceIn(packed, addressOf(n)), undefined, `${n} of ${count}`)
    }
  }
})
