import t from 'tap'
import {
  type AccountFacts,
  type AdmissionRules,
  decideAdmission,
} from '../../accounting/admission.ts'
import { priceTariff } from '../../accounting/tariff.ts'
import { parseAddress } from '../../ethereum/address.ts'

const account = parseAddress(`0x${'a1'.repeat(20)}`)
if (account === undefined) throw new Error('account')
const terms = { intervalMs: 60_000, intervalMegabytes: 10, missedMax: 2, graceMs: 0 }
// One interval costs 1 + 10 = 11 units, so a session reserves 33.
const tariff = priceTariff('t', { ...terms, perMinute: '1', perMegabyte: '1' }, 0)
const rules: AdmissionRules = { perAccount: 4, sessionMaxMs: 3_600_000, takesDisconnect: true }
const facts: AccountFacts = {
  account,
  deposit: 1_000n,
  highestVoucher: 0n,
  reserved: 0n,
  openSessions: 0,
  depositElsewhere: false,
}

const cases: [string, Partial<AccountFacts>, Partial<AdmissionRules>, string | number][] = [
  ['plenty of escrow', {}, {}, 3_600_000],
  ['no deposit at all', { deposit: 0n }, {}, 'no-escrow'],
  [
    'deposit elsewhere only',
    { deposit: 0n, depositElsewhere: true },
    {},
    'escrow-with-another-operator',
  ],
  ['deposit here and elsewhere', { depositElsewhere: true }, {}, 3_600_000],
  ['exactly the reserve', { deposit: 33n }, {}, 180_000],
  ['one unit short', { deposit: 32n }, {}, 'insufficient-escrow'],
  ['spent by vouchers', { highestVoucher: 968n }, {}, 'insufficient-escrow'],
  ['one unit less spent', { highestVoucher: 967n }, {}, 180_000],
  ['reserved by other sessions', { reserved: 968n }, {}, 'insufficient-escrow'],
  [
    'voucher and reserve together',
    { highestVoucher: 500n, reserved: 468n },
    {},
    'insufficient-escrow',
  ],
  ['voucher above the deposit', { highestVoucher: 2_000n }, {}, 'insufficient-escrow'],
  ['sessions per account reached', { openSessions: 4 }, {}, 'too-many-sessions'],
  ['one session below the limit', { openSessions: 3 }, {}, 3_600_000],
  ['NAS takes no Disconnect: 3 intervals', {}, { takesDisconnect: false }, 180_000],
  ['sessions.max shorter than that', {}, { takesDisconnect: false, sessionMaxMs: 90_000 }, 90_000],
]

t.test('admission: table of cases', async (t) => {
  for (const [name, factsChange, rulesChange, want] of cases) {
    const decision = decideAdmission({ ...facts, ...factsChange }, tariff, {
      ...rules,
      ...rulesChange,
    })
    if (typeof want === 'string') {
      t.match(decision, { admit: false, reason: want }, name)
    } else {
      t.same(decision, { admit: true, reserve: 33n, timeoutMs: want }, name)
    }
  }
})
