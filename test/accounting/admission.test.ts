import t from 'tap'
import {
  type AdmissionRules,
  affordableReconnect,
  type ChannelFacts,
  decideAdmission,
  spendableOf,
} from '../../accounting/admission.ts'
import type { Standing } from '../../accounting/ledger.ts'
import type { Account } from '../../accounting/session.ts'
import { accountOf, tariffWith } from './books.ts'

// One interval costs 1 + 10 = 11 units, so a session reserves 33.
const tariff = tariffWith({ perMinute: '1' })
const NOW = 10_000_000
const rules: AdmissionRules = {
  ...{ perAccount: 4, sessionMaxMs: 3_600_000, takesDisconnect: true },
  ...{ prepay: 'off', newcomersPerClient: 20, arrearsWindowMs: 20_000 },
}
const account: Account = {
  ...{ account: accountOf(1), voucher: undefined, credit: 0n, paidIntervals: 20 },
  ...{
    missedIntervals: 0,
    disagreements: 0,
    cuts: 0,
    lastCutAtMs: undefined,
    lastArrearsAtMs: undefined,
  },
  lastAllowanceAtMs: undefined,
}
const standing: Standing = {
  ...{ account, reserved: 0n, openSessions: 0, openDebt: 0n, oldDebt: 0n, barring: 0n },
  ...{ newcomer: false, newcomersHere: 0, stationBarredUntilMs: undefined },
}
const channel: ChannelFacts = {
  ...{ deposit: 1_000n, highestVoucher: 0n, pendingShift: 0n, depositElsewhere: false },
}
const paid = (amount: bigint) => ({ amount, signature: '0x', atMs: 0 })
const withAccount = (change: Partial<Account>) => ({ account: { ...account, ...change } })
const inDebt = { oldDebt: 100n, barring: 100n }

type Want = number | string | readonly ['arrears', number]
const cases: [string, Partial<Standing>, Partial<ChannelFacts>, Partial<AdmissionRules>, Want][] = [
  ['plenty of escrow', {}, {}, {}, 3_600_000],
  ['no deposit at all', {}, { deposit: 0n }, {}, 'no-escrow'],
  [
    'deposit elsewhere only',
    {},
    { deposit: 0n, depositElsewhere: true },
    {},
    'escrow-with-another-operator',
  ],
  ['deposit here and elsewhere', {}, { depositElsewhere: true }, {}, 3_600_000],
  ['exactly the reserve', {}, { deposit: 33n }, {}, 180_000],
  ['one unit short', {}, { deposit: 32n }, {}, 'insufficient-escrow'],
  ['spent on chain', {}, { highestVoucher: 968n }, {}, 'insufficient-escrow'],
  ['one unit less spent', {}, { highestVoucher: 967n }, {}, 180_000],
  ['spent here', withAccount({ voucher: paid(968n) }), {}, {}, 'insufficient-escrow'],
  [
    'the higher of both counts',
    withAccount({ voucher: paid(900n) }),
    { highestVoucher: 967n },
    {},
    180_000,
  ],
  ['reserved by other sessions', { reserved: 968n }, {}, {}, 'insufficient-escrow'],
  [
    'voucher and reserve together',
    { reserved: 468n },
    { highestVoucher: 500n },
    {},
    'insufficient-escrow',
  ],
  ['voucher above the deposit', {}, { highestVoucher: 2_000n }, {}, 'insufficient-escrow'],
  ['owed on open sessions', { openDebt: 968n }, {}, {}, 'insufficient-escrow'],
  ['owed, and not due yet', { oldDebt: 968n }, {}, {}, 'insufficient-escrow'],
  ['owed by one unit less', { oldDebt: 500n, openDebt: 467n }, {}, {}, 180_000],
  [
    'what is paid ahead is not owed twice',
    { ...withAccount({ credit: 500n, voucher: paid(500n) }), openDebt: 400n },
    {},
    {},
    2_700_000,
  ],
  ['sessions per account reached', { openSessions: 4 }, {}, {}, 'too-many-sessions'],
  ['one session below the limit', { openSessions: 3 }, {}, {}, 3_600_000],
  ['newcomers reached', { newcomer: true, newcomersHere: 20 }, {}, {}, 'too-many-newcomers'],
  ['one newcomer below', { newcomer: true, newcomersHere: 19 }, {}, {}, 3_600_000],
  ['newcomers reached, not one itself', { newcomersHere: 20 }, {}, {}, 3_600_000],
  [
    'fresh account at a station in back-off',
    { newcomer: true, stationBarredUntilMs: NOW + 1 },
    {},
    {},
    'station-backoff',
  ],
  ['known account there', { stationBarredUntilMs: NOW + 1 }, {}, {}, 3_600_000],
  ['prepay always, nothing paid', {}, {}, { prepay: 'always' }, 'prepay-required'],
  [
    'prepay: one unit short',
    withAccount({ credit: 10n }),
    {},
    { prepay: 'always' },
    'prepay-required',
  ],
  ['prepay: an interval', withAccount({ credit: 11n }), {}, { prepay: 'always' }, 3_600_000],
  ['prepay of newcomers', { newcomer: true }, {}, { prepay: 'newcomers' }, 'prepay-required'],
  ['prepay of newcomers, not one', {}, {}, { prepay: 'newcomers' }, 3_600_000],
  ['a shift is pending', {}, { pendingShift: 1n }, {}, 'prepay-required'],
  ['a shift, paid ahead', withAccount({ credit: 11n }), { pendingShift: 1n }, {}, 3_600_000],
  [
    'a shift of nearly all, paid ahead',
    withAccount({ credit: 11n }),
    { pendingShift: 968n },
    {},
    'insufficient-escrow',
  ],
  ['debt: a window', inDebt, {}, {}, ['arrears', 20_000]],
  ['debt: window longer than sessions', inDebt, {}, { sessionMaxMs: 5_000 }, ['arrears', 5_000]],
  ['debt: no window configured', inDebt, {}, { arrearsWindowMs: 0 }, 'debt'],
  ['debt: escrow covers both', inDebt, { deposit: 133n }, {}, ['arrears', 20_000]],
  ['debt: escrow one unit short', inDebt, { deposit: 132n }, {}, 'debt'],
  ['debt: a shift is pending', inDebt, { pendingShift: 1n }, {}, 'debt'],
  ['debt: too many sessions', { ...inDebt, openSessions: 4 }, {}, {}, 'debt'],
  [
    'debt: within the first minute',
    { ...inDebt, ...withAccount({ lastCutAtMs: NOW - 59_999 }) },
    {},
    {},
    'debt',
  ],
  [
    'debt: after a minute',
    { ...inDebt, ...withAccount({ lastCutAtMs: NOW - 60_000 }) },
    {},
    {},
    ['arrears', 20_000],
  ],
  [
    'debt: a window nine minutes ago',
    { ...inDebt, ...withAccount({ lastArrearsAtMs: NOW - 599_999 }) },
    {},
    {},
    'debt',
  ],
  [
    'debt: a window ten minutes ago',
    { ...inDebt, ...withAccount({ lastArrearsAtMs: NOW - 600_000 }) },
    {},
    {},
    ['arrears', 20_000],
  ],
  ['NAS takes no Disconnect: 3 intervals', {}, {}, { takesDisconnect: false }, 180_000],
  [
    'sessions.max shorter than that',
    {},
    {},
    { takesDisconnect: false, sessionMaxMs: 90_000 },
    90_000,
  ],
]

t.test('admission: table of cases', async (t) => {
  for (const [name, standingChange, channelChange, rulesChange, want] of cases) {
    const facts = { ...standing, ...standingChange }
    const chain = { ...channel, ...channelChange }
    const decision = decideAdmission(facts, chain, tariff, { ...rules, ...rulesChange }, NOW)
    if (typeof want === 'string') {
      t.match(decision, { admit: false, reason: want }, name)
    } else {
      const [kind, timeoutMs] = typeof want === 'number' ? ['normal', want] : want
      t.same(decision, { admit: true, kind, reserve: 33n, timeoutMs }, name)
    }
  }
})

t.test('a reconnect by a cached key gets what a new session would, but no window', async (t) => {
  const ask = (change: Partial<Standing>) =>
    affordableReconnect({ ...standing, ...change }, channel, tariff, rules, NOW)
  t.same(ask({}), { reserve: 33n, endsAtMs: NOW + 3_600_000 })
  t.match(ask(inDebt), { refused: /^debt: owes 100/ })
  t.match(ask({ reserved: 1_000n }), { refused: /^insufficient-escrow/ })
})

t.test('spendable is never negative', async (t) => {
  t.equal(spendableOf({ ...channel, deposit: 5n }, { ...standing, reserved: 6n }), 0n)
})
