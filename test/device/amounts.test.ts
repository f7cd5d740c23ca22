// AMOUNT as typed and as shown: exact both ways, and everything refused that has no exact meaning.

import fc from 'fast-check'
import t from 'tap'
import { formatAmount, parseAmount } from '../../device/amounts.ts'

t.test('whole tokens become base units exactly', async (t) => {
  const good: [string, number, bigint][] = [
    ['10', 18, 10n * 10n ** 18n],
    ['0.5', 18, 5n * 10n ** 17n],
    ['0.000000000000000001', 18, 1n],
    ['00012.50', 6, 12_500_000n],
    ['7', 0, 7n],
    ['79228162514.264337593543950335', 18, 2n ** 96n - 1n],
  ]
  for (const [text, decimals, amount] of good) t.equal(parseAmount(text, decimals), amount, text)
})

t.test('every other text is refused', async (t) => {
  const bad: [string, number][] = [
    ...['', ' ', '0', '0.0', '-1', '+1', '1.', '.5', '1e3', '0x10', '1,5', '1 000', 'ten', '١'].map(
      (text): [string, number] => [text, 18],
    ),
    ['10\n', 18],
    ['NaN', 18],
    ['Infinity', 18],
    ['1.5', 0],
    ['0.0000001', 6],
    ['79228162514.264337593543950336', 18],
    ['9'.repeat(81), 18],
  ]
  for (const [text, decimals] of bad) {
    t.throws(() => parseAmount(text, decimals), { code: 'usage' }, JSON.stringify(text))
  }
})

t.test('printing and reading are each other’s inverse', async (t) => {
  const inverse = fc.property(
    fc.bigInt(1n, 2n ** 96n - 1n),
    fc.integer({ min: 0, max: 36 }),
    (amount, decimals) => parseAmount(formatAmount(amount, decimals), decimals) === amount,
  )
  t.doesNotThrow(() => fc.assert(inverse, { seed: 1 }))
})

t.test('amounts are shown without trailing zeros', async (t) => {
  t.equal(formatAmount(0n, 18), '0')
  t.equal(formatAmount(15n * 10n ** 17n, 18), '1.5')
  t.equal(formatAmount(-1n, 2), '-0.01')
  t.equal(formatAmount(100n, 0), '100')
})
