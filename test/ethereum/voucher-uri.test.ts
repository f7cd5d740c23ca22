import fc from 'fast-check'
import t from 'tap'
import { formatVoucherUri, parseVoucherUri } from '../../ethereum/voucher-uri.ts'

const signature = Buffer.alloc(65, 0xa5)
const text = signature.toString('base64url')

t.test('what is written is read back', async (t) => {
  const roundTrip = fc.property(
    fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    fc.bigInt({ min: 1n, max: 2n ** 96n - 1n }),
    fc.uint8Array({ minLength: 65, maxLength: 65 }),
    (operator, amount, bytes) => {
      const value = { operator, amount, signature: Buffer.from(bytes) }
      const read = parseVoucherUri(formatVoucherUri(value))
      return read?.operator === operator && read.amount === amount && read.signature.equals(bytes)
    },
  )
  t.doesNotThrow(() => fc.assert(roundTrip, { seed: 4 }))
})

t.test('a URI has one spelling and its numbers fit the contract', async (t) => {
  const good = `datanet:voucher/1/7/12/${text}`
  t.same(parseVoucherUri(good), { operator: 7, amount: 12n, signature })
  const wrong: Record<string, string> = {
    'another version': good.replace('/1/', '/2/'),
    'another scheme spelling': good.replace('datanet', 'Datanet'),
    'operator with a leading zero': good.replace('/7/', '/07/'),
    'operator 2^32': good.replace('/7/', '/4294967296/'),
    'amount zero': good.replace('/12/', '/0/'),
    'amount with a leading zero': good.replace('/12/', '/012/'),
    'amount 2^96': good.replace('/12/', `/${2n ** 96n}/`),
    'negative amount': good.replace('/12/', '/-12/'),
    'signature cut': good.slice(0, -1),
    'signature longer': `${good}A`,
    padding: `${good}=`,
    'spare bits': `${good.slice(0, -1)}${good.endsWith('U') ? 'V' : 'X'}`,
    'one more part': `${good}/`,
    'a line break': `${good}\n`,
    empty: '',
  }
  for (const [name, uri] of Object.entries(wrong)) t.equal(parseVoucherUri(uri), undefined, name)
  t.throws(() => formatVoucherUri({ operator: 1, amount: 0n, signature }), RangeError)
  t.throws(() => formatVoucherUri({ operator: -1, amount: 1n, signature }), RangeError)
  const short = signature.subarray(1)
  t.throws(() => formatVoucherUri({ operator: 1, amount: 1n, signature: short }), RangeError)
})
