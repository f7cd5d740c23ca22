// What a device pays and when: a table of cases, then random histories against an operator that may
// lie. Money rules: one interval at most is at risk, and nothing is paid twice.

import fc from 'fast-check'
import t from 'tap'
import { charge, intervalPrice, type Terms } from '../../device/charge.ts'
import {
  type Decision,
  debtRefusal,
  decide,
  type Knowledge,
  pickSession,
} from '../../device/payer.ts'
import { DEFAULT_POLICY } from '../../device/policy.ts'
import type { SessionView } from '../../device/session-view.ts'
import { EMPTY_BOOK } from '../../device/voucher-book.ts'
import { A, known, pay, START, session, TERMS, wait } from './payer-known.ts'

const B = 'b'.repeat(32)
/** The first missed interval is the last. */
const ONE_CHANCE: Terms = { ...TERMS, missedMax: 1 }

// The access point has counted what the own meter has not.
const MORE = session({ octets: 900_000n, paid: 960n })
const MORE_DUE = { ...MORE, owed: 1_014n, due: 60n }
const CASES: readonly [name: string, knowledge: Knowledge, decision: object][] = [
  ['nothing was asked yet', known(0, { viewAtMs: undefined }), { do: 'ask' }],
  ['no session: ask again in 10 s', known(0, { sessions: [], current: undefined }), wait(10_000)],
  ['the first interval is paid at 60 %, not before', known(35_999), wait(36_000)],
  ['… whole', known(36_000), pay(60n, 'interval')],
  ['on an old view it asks first', known(36_000, { viewAtMs: START }), { do: 'ask' }],
  ['paid: looks again late', known(36_000, { sessions: [session({ paid: 60n })] }), wait(54_000)],
  [
    'paid to the end: the next at 60 % of the next',
    known(54_000, { sessions: [session({ paid: 60n })] }),
    wait(96_000),
  ],
  [
    'a cumulative voucher',
    known(96_000, {
      sessions: [session({ paid: 60n })],
      book: { taken: 500n, signed: 500n, pending: undefined },
    }),
    pay(60n, 'interval', { amount: 560n }),
  ],
  ['behind: at once, also early in an interval', known(61_000), pay(120n, 'behind')],
  ['unmetered volume: asks', known(96_000, { viewAtMs: START, sessions: [MORE] }), { do: 'ask' }],
  ['… and pays what is due', known(114_000, { sessions: [MORE_DUE] }), pay(60n, 'interval')],
  [
    'volume by the own meter',
    known(36_000, { sessions: [session({ octets: 2_000_000n })] }, { octets: 2_000_000n }),
    pay(2_060n + 20n, 'interval'),
  ],
  [
    'volume to come, within 5 % and 1 MB',
    known(
      36_000,
      { sessions: [session({ octets: 1n })], octetsPerSecond: 1_000_000 },
      { octets: 2_000_000n },
    ),
    pay(60n + 3_100n, 'interval'),
  ],
  [
    'half an interval of volume: at once',
    known(
      5_000,
      { sessions: [session({ octets: 1n })], octetsPerSecond: 1_000 },
      { octets: 6_000_000n },
    ),
    pay(60n + 6_112n + 20n, 'volume'),
  ],
  [
    'volume in advance only to an access point that counts: this one has not begun to',
    known(36_000, { octetsPerSecond: 1_000 }, { octets: 6_000_000n }),
    pay(60n, 'interval'),
  ],
  [
    '… but where one missed interval ends the session: paid before it is counted',
    known(
      36_000,
      { sessions: [session({ terms: ONE_CHANCE })] },
      { terms: ONE_CHANCE, octets: 1_000_000n },
    ),
    pay(60n + 1_000n + 20n, 'interval'),
  ],
  [
    'what came after the first payment, late in the interval',
    known(54_000, { sessions: [session({ paid: 60n, octets: 1n })] }, { octets: 1_000n }),
    pay(1n + 20n, 'interval'),
  ],
  [
    'the operator counts a little more: paid',
    known(36_000, { sessions: [session({ octets: 900_000n, owed: 936n, due: 960n })] }),
    pay(960n, 'interval'),
  ],
  [
    'it counts 5 % and 1 MB more, and more',
    known(36_000, { sessions: [session({ octets: 2_000_000n, owed: 2_036n })] }),
    { do: 'leave', why: 'asks-too-much' },
  ],
  [
    'it asks for time before we connected',
    known(60_000, { sessions: [session({ startedAtMs: START - 6_000_000, owed: 6_060n })] }),
    { do: 'leave', why: 'asks-too-much' },
  ],
  [
    'other terms than agreed',
    known(36_000, { sessions: [session({ terms: { ...TERMS, perMinute: 61n } })] }),
    { do: 'leave', why: 'terms-changed' },
  ],
  [
    'dearer than the person allows',
    known(36_000, { policy: { ...DEFAULT_POLICY, perMinuteMax: 59n } }),
    { do: 'leave', why: 'too-dear' },
  ],
  [
    'bad service: no payment',
    known(36_000, { service: 'no-octets' }),
    { do: 'stop', why: 'no-octets', untilMs: START + 38_000 },
  ],
  [
    'a voucher without an answer goes first, whatever service is like',
    known(36_000, {
      service: 'no-octets',
      book: { taken: 0n, signed: 60n, pending: { amount: 60n, session: A } },
    }),
    { do: 'resend', amount: 60n, session: A },
  ],
  ['never above the deposit', known(36_000, { deposit: 59n }), { do: 'stop', why: 'escrow-empty' }],
  [
    '… but a top-up where it is allowed',
    known(36_000, { deposit: 59n, policy: { ...DEFAULT_POLICY, topUp: 10n, topUpBelow: 5n } }),
    { do: 'top-up', amount: 10n },
  ],
  [
    'a top-up in time, when there is nothing to pay',
    known(1_000, { deposit: 4n, policy: { ...DEFAULT_POLICY, topUp: 10n, topUpBelow: 5n } }),
    { do: 'top-up', amount: 10n },
  ],
  [
    'not again right after one failed',
    known(1_000, {
      ...{ deposit: 4n, topUpNotBeforeMs: START + 2_000 },
      policy: { ...DEFAULT_POLICY, topUp: 10n, topUpBelow: 5n },
    }),
    wait(36_000),
  ],
  [
    'an old debt goes first',
    known(36_000, { sessions: [session(), session({ id: B, state: 'closed', due: 7n })] }),
    pay(7n, 'arrears', { session: B }),
  ],
  [
    'a debt above what its terms can add up to does not',
    known(36_000, { sessions: [session(), session({ id: B, state: 'closed', due: 40_000n })] }),
    pay(60n, 'interval'),
  ],
  [
    'put off: nothing more for the future',
    known(36_000, { sessions: [session({ state: 'disconnecting' })] }),
    wait(38_000),
  ],
  [
    'without a meter: what the access point says, up to interval_megabytes an interval',
    known(
      36_000,
      { sessions: [session({ octets: 9_000_000n, owed: 9_036n, due: 9_060n })] },
      { octets: undefined },
    ),
    pay(9_060n + 20n, 'volume'),
  ],
  [
    '… and no more',
    known(
      36_000,
      { sessions: [session({ octets: 11_000_000n, owed: 11_036n })] },
      { octets: undefined },
    ),
    { do: 'leave', why: 'asks-too-much' },
  ],
  [
    'a tariff that costs nothing is not paid',
    known(36_000, {
      sessions: [session({ terms: { ...TERMS, perMinute: 0n, perMegabyte: 0n } })],
      own: new Map(),
    }),
    wait(54_000),
  ],
]

t.test('a table of cases', async (t) => {
  for (const [name, knowledge, decision] of CASES) t.match(decide(knowledge), decision, name)
})

t.test('flat windows, free time and free volume', async (t) => {
  const flat = { ...TERMS, perMinute: 0n, flat: { price: 50n, windowMs: 3_600_000 } }
  t.equal(charge(flat, 1, 0n), 50n)
  t.equal(charge(flat, 3_600_000, 0n), 50n)
  t.equal(charge(flat, 3_600_001, 0n), 100n)
  const free = { ...TERMS, freeMs: 300_000, freeOctets: 50_000_000n }
  t.equal(charge(free, 300_000, 50_000_000n), 0n)
  t.equal(charge(free, 301_000, 50_000_001n), 2n)
})

t.test('a debt is held to what this device metered', async (t) => {
  const debt = session({ state: 'closed', due: 10_000n, paid: 60n })
  const seen = { connectedAtMs: START, seenAtMs: START + 60_000, isWhole: true }
  const refusal = (octets: bigint | undefined, due: bigint, debtMax?: bigint) =>
    debtRefusal(
      {
        own: new Map([[A, { terms: TERMS, ...seen, octets }]]),
        policy: { ...DEFAULT_POLICY, debtMax },
      },
      { ...debt, due },
    )
  t.equal(refusal(undefined, 30_000n), undefined)
  t.equal(refusal(undefined, 40_000n), 'above-terms')
  t.equal(refusal(0n, 300n), undefined)
  t.equal(refusal(0n, 100n, 99n), 'above-policy')
  const other = { ...TERMS, intervalMegabytes: 0 }
  const own = new Map([[A, { terms: other, ...seen, octets: 0n }]])
  t.equal(debtRefusal({ own, policy: DEFAULT_POLICY }, { ...debt, due: 2_000n }), 'above-meter')
})

t.test('which session is ours', async (t) => {
  const old = session({ id: A, startedAtMs: START - 1_000_000 })
  const young = session({ id: B, startedAtMs: START })
  const pick = (o: Partial<Parameters<typeof pickSession>[1]>, sessions = [old, young]) =>
    pickSession(sessions, {
      before: undefined,
      connectedAtMs: undefined,
      left: new Set(),
      isWatched: true,
      ...o,
    })
  t.equal(pick({}), B, 'the newest')
  t.equal(pick({ before: A }), A, 'the one it was')
  t.equal(pick({ before: A }, [{ ...old, state: 'disconnecting' }, young]), B)
  t.equal(pick({ connectedAtMs: START + 1_000 }), B)
  t.equal(pick({ connectedAtMs: START + 1_000 }, [old]), undefined, 'another device’s')
  t.equal(pick({ before: A, connectedAtMs: START + 60_000 }, [old]), A, 'after a short break')
  t.equal(pick({ before: A, connectedAtMs: START + 60_000 }), A, '… not another device’s')
  t.equal(pick({ before: A, connectedAtMs: START + 1_000 }), B, 'another access point’s')
  t.equal(pick({ left: new Set([B]) }), A)
  const unwatched = { before: A, isWatched: false }
  t.equal(pick(unwatched), B, 'nobody watches the link: the newest, though the old one is open')
  t.equal(pick({ ...unwatched, before: B }), B, '… and never back')
  const alike = session({ id: A, startedAtMs: START })
  t.equal(pick(unwatched, [alike, young]), A, 'of two of one second the one it was')
  t.equal(pick({ ...unwatched, before: B }, [alike, young]), B)
  t.equal(pick(unwatched, [old, { ...young, state: 'reserved' }]), A, 'not before it is admitted')
  t.equal(pick({ ...unwatched, before: B }, [old]), A, 'the newest is over: the one before it')
  t.equal(pick({}, [session({ state: 'closed', due: 1n })]), undefined)
})

interface History {
  readonly intervals: number
  /** Octets that flow in each 5 s, again and again. */
  readonly octets: readonly number[]
  /** Which answers to payments are lost, again and again. */
  readonly lose: readonly boolean[]
}

const octetsOf = ({ octets }: History, nowMs: number): bigint =>
  BigInt(octets[Math.floor((nowMs - START) / 5_000) % octets.length] ?? 0)

function least(a: bigint, b: bigint): bigint {
  if (a < b) return a
  return b
}

/**
 * A session of so many intervals with an operator that asks `factor` times what is fair, and counts
 * octets or not. It credits a session at most what that owes and one interval, as ours does.
 */
function play(o: History & { readonly factor: bigint; readonly counts: boolean }) {
  let [nowMs, sent, octets, paid, best] = [START, 0, 0n, 0n, 0n]
  let book = EMPTY_BOOK
  let viewAtMs: number | undefined
  let view: SessionView[] = []
  const rated = (ms: number) => charge(TERMS, ms, o.counts ? octets : 0n) * o.factor
  const endMs = START + o.intervals * TERMS.intervalMs
  const result = (left: boolean) => {
    return {
      promised: best,
      fair: charge(TERMS, nowMs - START, octets),
      owed: rated(nowMs - START),
      left,
    }
  }
  while (nowMs < endMs) {
    const seen = { terms: TERMS, connectedAtMs: START, seenAtMs: nowMs, octets, isWhole: true }
    const own = new Map([[A, seen]])
    const octetsPerSecond = Number(octetsOf(o, nowMs)) / 5
    const decision: Decision = decide(
      known(0, { nowMs, viewAtMs, sessions: view, own, book, octetsPerSecond }),
    )
    if (decision.do === 'leave') return result(true)
    if (decision.do === 'ask') {
      const owed = rated(nowMs - START)
      const told = o.counts ? octets : 0n
      const atEnd = rated((Math.floor((nowMs - START) / TERMS.intervalMs) + 1) * TERMS.intervalMs)
      view = [session({ octets: told, owed, paid, due: atEnd > paid ? atEnd - paid : 0n })]
      viewAtMs = nowMs
    } else if (decision.do === 'pay' || decision.do === 'resend') {
      const { amount } = decision
      book = { ...book, signed: amount, pending: { amount, session: A } }
      if (amount > best) {
        // A lost answer: the operator has the voucher all the same.
        const room = rated(nowMs - START) + intervalPrice(TERMS) - paid
        paid += least(amount - best, room)
        best = amount
      }
      if (o.lose[sent++ % o.lose.length] === true) continue
      book = { ...book, taken: amount, pending: undefined }
      viewAtMs = undefined
    } else if (decision.do === 'wait') {
      nowMs += Math.max(1, Math.min(decision.untilMs - nowMs, 5_000))
      octets += octetsOf(o, nowMs)
    } else return result(false)
    nowMs += 1
  }
  return result(false)
}

const history = fc.record({
  intervals: fc.integer({ min: 1, max: 8 }),
  octets: fc.array(fc.integer({ min: 0, max: 800_000 }), { minLength: 1, maxLength: 10 }),
  lose: fc.array(fc.boolean(), { minLength: 1, maxLength: 5 }).filter((all) => all.includes(false)),
})

const HISTORIES: readonly [name: string, holds: (o: History) => boolean][] = [
  [
    'honest: what is owed but for the last 15 s of volume, and an interval ahead at most',
    (o) => {
      const { promised, owed, left } = play({ ...o, factor: 1n, counts: true })
      return !left && promised <= owed + 2n * intervalPrice(TERMS) && promised + 2_460n >= owed
    },
  ],
  [
    'an access point that counts nothing: the time of the running interval, and no volume',
    (o) => {
      const { promised, owed, left } = play({ ...o, factor: 1n, counts: false })
      return !left && promised <= owed + TERMS.perMinute
    },
  ],
  [
    'an operator that asks a hundred times too much: the own count stretched, and an interval',
    (o) => {
      const { promised, fair } = play({ ...o, factor: 100n, counts: true })
      return promised <= (fair * 105n) / 100n + 1_000n + 2n * intervalPrice(TERMS)
    },
  ],
]

for (const [name, holds] of HISTORIES) {
  t.test(name, async (t) => {
    const run = fc.check(fc.property(history, holds), { seed: 7, numRuns: 150 })
    t.notOk(run.failed, JSON.stringify(run.counterexample))
  })
}
