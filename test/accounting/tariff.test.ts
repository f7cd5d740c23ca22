import fc from 'fast-check'
import t from 'tap'
import {
  affordableMs,
  baseUnits,
  intervalPrice,
  priceTariff,
  reserveOf,
  type TariffTerms,
  timeCharge,
  volumeCharge,
  wholeTokens,
} from '../../accounting/tariff.ts'

const terms: TariffTerms = {
  perMinute: '0.001',
  perMegabyte: '0.004',
  intervalMs: 60_000,
  intervalMegabytes: 10,
  missedMax: 2,
  graceMs: 0,
}
const standard = priceTariff('standard', terms, 18)
const MILLI = 10n ** 15n

t.test('whole tokens to base units and back', async (t) => {
  const cases: [string, number, bigint | undefined][] = [
    ['10', 18, 10n * 10n ** 18n],
    ['0.5', 18, 5n * 10n ** 17n],
    ['0.001', 3, 1n],
    ['0.0010', 3, 1n],
    ['0.0001', 3, undefined],
    ['007', 0, 7n],
    ['0', 18, 0n],
    ['-1', 18, undefined],
    ['1e3', 18, undefined],
    ['1.', 18, undefined],
    ['.5', 18, undefined],
    ['', 18, undefined],
    [' 1', 18, undefined],
    ['1'.repeat(31), 18, undefined],
  ]
  for (const [text, decimals, want] of cases) t.equal(baseUnits(text, decimals), want, `"${text}"`)
  fc.assert(
    fc.property(fc.bigInt(0n, 10n ** 40n), fc.integer({ min: 0, max: 18 }), (units, decimals) => {
      const text = wholeTokens(units, decimals)
      return text.length > 30 || baseUnits(text, decimals) === units
    }),
    { seed: 1 },
  )
})

t.test('charges round up to the next base unit and never down', async (t) => {
  t.equal(timeCharge(standard, 60_000), MILLI)
  t.equal(timeCharge(standard, 1), 16_666_666_667n)
  t.equal(timeCharge(standard, 0), 0n)
  t.equal(volumeCharge(standard, 1_000_000n), 4n * MILLI)
  t.equal(volumeCharge(standard, 1n), 4_000_000_000n)
  const odd = priceTariff('odd', { ...terms, perMegabyte: '0.000000000000000007' }, 18)
  t.equal(volumeCharge(odd, 1n), 1n, '7 / 10^6 of a base unit is charged as one')
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 10 ** 9 }),
      fc.integer({ min: 0, max: 10 ** 9 }),
      (a, b) => {
        const parts = timeCharge(standard, a) + timeCharge(standard, b)
        const whole = timeCharge(standard, a + b)
        return parts >= whole && parts <= whole + 1n
      },
    ),
    { seed: 2 },
  )
})

t.test('interval price, reserve and how long an escrow lasts', async (t) => {
  t.equal(intervalPrice(standard), 41n * MILLI)
  t.equal(reserveOf(standard), 123n * MILLI, 'missed_max + 1 = 3 intervals')
  t.equal(reserveOf({ ...standard, missedMax: 0 }), 82n * MILLI, 'never less than 2 intervals')
  t.equal(affordableMs(standard, 123n * MILLI, 3_600_000), 180_000)
  t.equal(affordableMs(standard, 163n * MILLI, 3_600_000), 180_000, 'whole intervals only')
  t.equal(affordableMs(standard, 10n ** 30n, 3_600_000), 3_600_000, 'at most sessions.max')
  const free = priceTariff('free', { ...terms, perMinute: '0', perMegabyte: '0' }, 18)
  t.equal(reserveOf(free), 0n)
  t.equal(affordableMs(free, 0n, 3_600_000), 3_600_000)
})

t.test('a price finer than the token is refused with its key', async (t) => {
  t.throws(() => priceTariff('standard', terms, 2), /tariffs\.standard\.per_minute.*2 decimals/)
})
