import t from 'tap'
import type { Ledger } from '../../accounting/ledger.ts'
import { debtOf, owed, ratedOctets } from '../../accounting/rating.ts'
import type { AttestedUsage } from '../../accounting/session.ts'
import { sameTerms, type UsagePolicy } from '../../accounting/tariff.ts'
import {
  accountOf,
  emptyLedger,
  idOf,
  newSession,
  placeAt,
  tariff,
  usage,
  voucher,
} from './books.ts'

// Two meters, one bill: what the access point counts, what the device signs, and which of them a
// tariff has paid for. At 60 a minute and 1 a megabyte.

const MINUTE = 60_000
const MB = 1_000_000n
type Policy = UsagePolicy['by'] | 'accounting'
const POLICIES: readonly Policy[] = ['accounting', 'attested', 'lower', 'higher']

const termsOf = (by: Policy, trust: UsagePolicy['trust'] = 'hardware') =>
  by === 'accounting' ? tariff : { ...tariff, usage: { by, trust } }

/** Session 1 from time 0, under a policy; and its two sides, in megabytes. */
function opened(by: Policy, trust?: UsagePolicy['trust']) {
  const ledger = emptyLedger()
  ledger.begin(newSession(1, { tariff: termsOf(by, trust) }), 0)
  ledger.confirm(idOf(1), 0)
  let sequence = 0
  const counts = (megabytes: number, atMs: number, how: 'report' | 'stop' = 'report') =>
    ledger[how](
      idOf(1),
      usage({ eventAtMs: atMs, inputOctets: 0n, outputOctets: BigInt(megabytes) * MB }),
      placeAt(),
      atMs,
    )
  const says = (megabytes: number, atMs: number, key: AttestedUsage['trust'] = 'hardware') => {
    sequence += 1
    const octets = { inputOctets: 0n, outputOctets: BigInt(megabytes) * MB }
    const signed = { sequence, time: atMs / 1_000, trust: key, missing: 0, ...octets }
    ledger.attest(idOf(1), signed, atMs)
  }
  return { ledger, counts, says, session: () => sessionOf(ledger) }
}

function sessionOf(ledger: Ledger) {
  const session = ledger.session(idOf(1))
  if (session === undefined) throw new Error('gone')
  return session
}

interface Case {
  readonly name: string
  /** Megabytes that the access point has counted, and that the device has signed. */
  readonly nas: number
  readonly device: number
  readonly key: AttestedUsage['trust']
  /** Megabytes on the bill, by policy. */
  readonly bill: Readonly<Record<Policy, number>>
  readonly isDispute: boolean
}

const CASES: readonly Case[] = [
  {
    ...{ name: 'both say the same', nas: 100, device: 100, key: 'hardware', isDispute: false },
    bill: { accounting: 100, attested: 100, lower: 100, higher: 100 },
  },
  {
    ...{ name: 'within 5 % and 1 MB', nas: 100, device: 95, key: 'hardware', isDispute: false },
    bill: { accounting: 100, attested: 95, lower: 95, higher: 100 },
  },
  {
    name: 'the device under-reports by 30 %',
    ...{ nas: 100, device: 70, key: 'hardware', isDispute: true },
    bill: { accounting: 100, attested: 70, lower: 70, higher: 100 },
  },
  {
    name: 'the access point over-reports by 30 %',
    ...{ nas: 130, device: 100, key: 'hardware', isDispute: true },
    bill: { accounting: 130, attested: 100, lower: 100, higher: 130 },
  },
  {
    name: 'the access point under-reports by 30 %',
    ...{ nas: 70, device: 100, key: 'hardware', isDispute: true },
    bill: { accounting: 70, attested: 100, lower: 70, higher: 100 },
  },
  {
    name: 'a key that nobody vouches for, where hardware is asked for',
    ...{ nas: 100, device: 70, key: 'software', isDispute: true },
    bill: { accounting: 100, attested: 100, lower: 100, higher: 100 },
  },
]

for (const { name, nas, device, key, bill, isDispute } of CASES) {
  t.test(`product terms §10: ${name}`, async (t) => {
    for (const by of POLICIES) {
      const { ledger, counts, says, session } = opened(by)
      says(device, 40_000, key)
      counts(nas, 50_000)
      t.equal(ratedOctets(session()), BigInt(bill[by]) * MB, by)
      t.equal(owed(session(), MINUTE), 60n + BigInt(bill[by]), by)
      const isNas = nas < device
      t.equal(session().disputed, isDispute && isNas, `${by}: more may have flowed since a report`)
      says(device, 55_000, key)
      t.equal(session().disputed, isDispute && isNas, `${by}: and while a report was under way`)
      says(device, 57_000, key)
      const evidence = {
        ...{ session: idOf(1), account: accountOf(1), kind: 'usage-disagreement' },
        ...{ nasOctets: BigInt(nas) * MB, otherOctets: BigInt(device) * MB, trust: key },
        ...(isNas ? { sequence: 1, atMs: 50_000 } : { sequence: 3, atMs: 57_000 }),
      }
      t.same(ledger.drain().disputes, isDispute ? [evidence] : [], by)
      t.equal(ledger.account(accountOf(1))?.disagreements, isDispute ? 1 : 0, by)
      counts(nas, 58_000, 'stop')
      t.same(ledger.drain().disputes, [], 'once a session')
      t.equal(debtOf(session()), 58n + BigInt(bill[by]), `${by}: and at the end`)
    }
  })
}

t.test('a key in software is enough where the policy says so', async (t) => {
  const { counts, says, session } = opened('attested', 'software')
  counts(50, 10_000)
  says(40, 20_000, 'software')
  t.equal(ratedOctets(session()), 40n * MB)
  says(41, 30_000, 'hardware')
  t.equal(ratedOctets(session()), 41n * MB, 'a better key all the more')
})

t.test('an access point that is behind is no liar while the session is open', async (t) => {
  const { ledger, counts, says, session } = opened('attested')
  counts(10, 10_000)
  says(90, 59_000)
  t.notOk(session().disputed)
  counts(10, 20_000)
  t.notOk(session().disputed, 'a record of before the report, that came late')
  counts(60, 61_000)
  t.ok(session().disputed, 'a record of after it')
  t.match(ledger.drain().disputes, [{ nasOctets: 60n * MB, otherOctets: 90n * MB }])
})

t.test('after the end there is nothing to wait for', async (t) => {
  const { ledger, counts, says } = opened('attested')
  counts(10, 30_000, 'stop')
  says(90, 31_000)
  t.match(ledger.drain().disputes, [{ nasOctets: 10n * MB, otherOctets: 90n * MB, sequence: 1 }])
})

t.test('one report does not make the rest of a session free', async (t) => {
  const { ledger, counts, says, session } = opened('attested')
  counts(10, 10_000)
  says(9, 11_000)
  counts(20, 2 * MINUTE)
  t.equal(ratedOctets(session()), 9n * MB, 'the next one may still come')
  counts(500, 2 * MINUTE + 11_001)
  t.equal(ratedOctets(session()), 499n * MB, 'what was counted since it fell silent')
  says(490, 2 * MINUTE + 20_000)
  t.equal(ratedOctets(session()), 490n * MB)
  t.same(ledger.account(accountOf(1))?.disagreements, 0, 'it was behind, and said so')
})

t.test('a device whose traffic is fast is no liar between two reports', async (t) => {
  const { ledger, counts, says, session } = opened('attested')
  says(1, 10_000)
  counts(60, 20_000)
  t.notOk(session().disputed, '59 MB may have come in ten seconds')
  says(80, 25_000)
  counts(90, 30_000, 'stop')
  t.notOk(session().disputed, 'the last may have come since')
  says(89, 31_000)
  t.notOk(session().disputed)
  t.same(ledger.drain().disputes, [])
})

t.test('of two reports the second must speak of what was counted at the first', async (t) => {
  const { ledger, counts, says, session } = opened('attested')
  counts(60, 20_000)
  says(2, 20_100)
  t.notOk(session().disputed, 'the record may have come while the report was under way')
  counts(90, 30_000)
  says(30, 35_000)
  t.ok(session().disputed)
  t.match(ledger.drain().disputes, [{ nasOctets: 60n * MB, otherOctets: 30n * MB, sequence: 2 }])
})

t.test('what the end brings out is in dispute as soon as the device has spoken', async (t) => {
  const { ledger, counts, says, session } = opened('accounting')
  says(100, 10_000)
  counts(130, 20_000, 'stop')
  t.notOk(session().disputed)
  says(100, 21_000)
  t.ok(session().disputed)
  t.match(ledger.drain().disputes, [{ nasOctets: 130n * MB, otherOctets: 100n * MB, sequence: 2 }])
})

t.test('a report that lowers the bill lowers what is due, and lifts what was late', async (t) => {
  const { ledger, counts, says, session } = opened('attested')
  counts(400, 10_000)
  t.match(session(), { state: 'overdue', volumeDue: { amount: 410n } })
  ledger.pay(voucher(1, 75n), idOf(1), 20_000)
  t.equal(session().state, 'overdue')
  says(12, 21_000)
  t.match(session(), { state: 'current', volumeDue: undefined })
  t.match(ledger.advance(MINUTE), { overdue: [], cut: [] })
  t.match(session(), { judged: 1, missed: 0, paidIntervals: 1 })
})

t.test('with grace: the end of an interval asks for no more than is owed by now', async (t) => {
  const ledger = emptyLedger()
  const terms = { ...termsOf('attested'), graceMs: 30_000, intervalMegabytes: 1_000 }
  ledger.begin(newSession(1, { tariff: terms }), 0)
  ledger.confirm(idOf(1), 0)
  const record = usage({ eventAtMs: 50_000, outputOctets: 300n * MB, inputOctets: 0n })
  ledger.report(idOf(1), record, placeAt(), 50_000)
  ledger.advance(MINUTE)
  t.same(ledger.session(idOf(1))?.endsOwed, [360n])
  const octets = { inputOctets: 0n, outputOctets: 200n * MB }
  ledger.attest(
    idOf(1),
    { sequence: 1, time: 61, trust: 'hardware', missing: 0, ...octets },
    61_000,
  )
  t.same(ledger.session(idOf(1))?.endsOwed, [260n])
  ledger.pay(voucher(1, 261n), idOf(1), 62_000)
  ledger.advance(90_000)
  t.match(ledger.session(idOf(1)), { judged: 1, missed: 0 })
})

t.test('of an account that is not in memory nothing is taken', async (t) => {
  const ledger = emptyLedger({ accountsMax: 0 })
  ledger.begin(newSession(1), 0)
  ledger.confirm(idOf(1), 0)
  ledger.pay(voucher(1, 60n), idOf(1), 1)
  ledger.close(idOf(1), 'stopped', 10_000)
  ledger.drain()
  ledger.drain()
  ledger.forget(10_000)
  t.notOk(ledger.knows(accountOf(1)))
  const octets = { inputOctets: 0n, outputOctets: 90n * MB }
  const signed = { sequence: 1, time: 10, trust: 'hardware' as const, missing: 0, ...octets }
  ledger.attest(idOf(1), signed, 11_000)
  t.notOk(ledger.knows(accountOf(1)), 'or its books would begin anew, without its vouchers')
  t.same(ledger.drain().accounts, [])
})

t.test('the debt of a session in dispute bars at its own merchant alone', async (t) => {
  const { ledger, counts, says } = opened('accounting')
  says(10, 10_000)
  counts(400, 20_000, 'stop')
  says(10, 21_000)
  const elsewhere = ledger.standing(accountOf(1), placeAt(), accountOf(0xbbbb), 3 * MINUTE)
  const here = ledger.standing(accountOf(1), placeAt(), sessionOf(ledger).merchant, 3 * MINUTE)
  t.equal(here.barring, 420n)
  t.equal(elsewhere.oldDebt, 20n, 'elsewhere its time counts')
})

t.test('another policy is another version of a tariff', async (t) => {
  t.notOk(sameTerms(termsOf('attested'), tariff))
  t.notOk(sameTerms(termsOf('attested'), termsOf('lower')))
  t.notOk(sameTerms(termsOf('attested'), termsOf('attested', 'software')))
  t.ok(sameTerms(termsOf('attested'), termsOf('attested')))
})

t.test('a report of nothing at the start does not make a short session free', async (t) => {
  for (const by of ['attested', 'lower'] as const) {
    const { counts, says, session } = opened(by)
    says(0, 1_000)
    counts(50, 30_000)
    t.equal(ratedOctets(session()), 0n, `${by}: the next one may still come`)
    counts(100, MINUTE, 'stop')
    t.equal(debtOf(session()), 160n, `${by}: none came`)
  }
  const { counts, says, session } = opened('attested')
  says(0, 1_000)
  counts(100, MINUTE, 'stop')
  says(95, MINUTE + 1_000)
  t.equal(debtOf(session()), 155n, 'the last word after the end is one')
})

t.test('what was signed before its access point told of it is on no bill twice', async (t) => {
  for (const by of POLICIES) {
    const { ledger, counts, says, session } = opened(by)
    ledger.pay(voucher(1, 1_000n), idOf(1), 1)
    says(100, MINUTE)
    counts(101, 3 * MINUTE + 1)
    t.equal(ratedOctets(session()), 101n * MB, `${by}: silent`)
    counts(102, 3 * MINUTE + 2, 'stop')
    t.equal(ratedOctets(session()), 102n * MB, `${by}: over`)
  }
})

t.test('what a last report adds is paid by what its account has paid already', async (t) => {
  const { ledger, counts, says, session } = opened('attested')
  says(5, 10_000)
  counts(5, 11_000)
  ledger.pay(voucher(1, 500n), undefined, 12_000)
  counts(5, 30_000, 'stop')
  t.same(ledger.debtsOf(accountOf(1)), [])
  says(6, 31_000)
  t.equal(debtOf(session()), 0n)
  t.equal(session().credit + (ledger.account(accountOf(1))?.credit ?? 0n), 500n)
  t.same(ledger.debtsOf(accountOf(1)), [])
})
