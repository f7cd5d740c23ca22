// A payer and the operator's own books in one clock: steady flows under every policy of volume, at
// access points that count often, seldom or never. No interval is missed, and few payments do.

import t from 'tap'
import { priceTariff, type Tariff } from '../../accounting/tariff.ts'
import { type Decision, decide } from '../../device/payer.ts'
import { DEFAULT_POLICY } from '../../device/policy.ts'
import { rateAfter } from '../../device/run-state.ts'
import { readSessions } from '../../device/session-view.ts'
import { EMPTY_BOOK } from '../../device/voucher-book.ts'
import { sessionJson } from '../../server/session-json.ts'
import {
  accountOf,
  emptyLedger,
  idOf,
  newSession,
  placeAt,
  usage,
  voucher,
} from '../accounting/books.ts'

const POLICIES = ['accounting', 'attested', 'lower', 'higher'] as const

interface Flow {
  readonly by: (typeof POLICIES)[number]
  /** How often the access point tells what it has counted; 0: never. */
  readonly countsMs: number
  readonly octetsPerSecond: number
  readonly intervalMs: number
  readonly intervalMegabytes: number
}

/** The device is told the second alone: its intervals end up to one before the operator's. */
const START_MS = 1_700_000_000_730
const STEP_MS = 5
const EXCHANGE_MS = 20
/** What one request and its answer put on the line. */
const EXCHANGE_OCTETS = 2_000
const SAMPLE_MS = 5_000
const INTERVALS = 6
const ID = idOf(1)

/** The default tariff, of that interval and policy. */
function tariffOf({ by, intervalMs, intervalMegabytes }: Flow): Tariff {
  const prices = { perMinute: '0.001', perMegabyte: '0.004' }
  const terms = { ...prices, intervalMs, intervalMegabytes, missedMax: 2, graceMs: 0 }
  const tariff = { ...priceTariff('standard', terms, 18), version: 1 }
  return by === 'accounting' ? tariff : { ...tariff, usage: { by, trust: 'software' } }
}

/** The operator's side: one session, and the clock. */
function openBooks(o: Flow) {
  const ledger = emptyLedger()
  const endsAtMs = START_MS + 3_600_000
  ledger.begin(newSession(1, { tariff: tariffOf(o), endsAtMs }), START_MS)
  ledger.confirm(ID, START_MS)
  let [nowMs, countedAtMs, exchanged] = [START_MS, START_MS, 0]
  /** Both ways, in packets. */
  const carried = (): bigint =>
    BigInt(Math.floor((o.octetsPerSecond * (nowMs - START_MS)) / 1_500_000) * 1_500 + exchanged)
  const session = () => {
    const one = ledger.session(ID)
    if (one === undefined) throw new Error('gone')
    return one
  }
  function pass(ms: number): void {
    for (const untilMs = nowMs + ms; nowMs < untilMs; ) {
      nowMs += STEP_MS
      if (o.countsMs > 0 && nowMs - countedAtMs >= o.countsMs) {
        countedAtMs = nowMs
        const counted = { eventAtMs: nowMs, inputOctets: 0n, outputOctets: carried(), wide: true }
        ledger.report(ID, usage(counted), placeAt(), nowMs)
      }
      ledger.advance(nowMs)
    }
  }
  function exchange(): void {
    exchanged += EXCHANGE_OCTETS
    pass(EXCHANGE_MS)
  }
  return {
    ...{ ledger, session, carried, pass },
    now: () => nowMs,
    ask() {
      exchange()
      return readSessions({ sessions: [sessionJson(session(), nowMs)] })
    },
    /** Credits first, then takes the report, as server/payments.ts does; what it has credited. */
    pay(amount: bigint, octets: bigint, sequence: number): bigint {
      exchange()
      const before = session().credit
      ledger.pay(voucher(1, amount), ID, nowMs)
      const after = session().credit
      const signed = { inputOctets: 0n, outputOctets: octets, trust: 'software' as const }
      const time = Math.floor(nowMs / 1_000)
      ledger.attest(ID, { ...signed, sequence, time, missing: 0 }, nowMs)
      return after - before
    },
  }
}

/** Plays it: the payments of each interval, and what the books hold against the device. */
function play(o: Flow) {
  const books = openBooks(o)
  const payments = Array.from({ length: INTERVALS }, () => 0)
  let [viewAtMs, paidAtMs]: (number | undefined)[] = []
  let [view, book, own, sequence] = [readSessions({ sessions: [] }), EMPTY_BOOK, 0n, 0]
  let rate = { octetsPerSecond: 0, unrated: 0n, sampledAtMs: 0 }
  const next = (nowMs: number): Decision => {
    const more = books.carried() - own
    own += more
    rate = rateAfter(rate, more, nowMs)
    const seen = { connectedAtMs: undefined, seenAtMs: nowMs, octets: own, isWhole: true }
    return decide({
      ...{ nowMs, viewAtMs, sessions: view, current: ID, paidAtMs, trust: 'software', book },
      own: new Map(view.map(({ terms }) => [ID, { ...seen, terms }])),
      octetsPerSecond: rate.octetsPerSecond,
      ...{ deposit: 10n ** 24n, service: undefined, topUpNotBeforeMs: 0, policy: DEFAULT_POLICY },
    })
  }
  for (;;) {
    const nowMs = books.now()
    const interval = Math.floor((nowMs - START_MS) / o.intervalMs)
    if (interval >= INTERVALS || books.session().state === 'disconnecting') break
    const decision = next(nowMs)
    if (decision.do === 'ask') {
      view = books.ask()
      viewAtMs = nowMs
    } else if (decision.do === 'pay') {
      const { amount } = decision
      sequence += 1
      const credited = books.pay(amount, own, sequence)
      payments[interval] = (payments[interval] ?? 0) + 1
      book = { taken: amount, signed: amount, pending: undefined }
      const left = (due: bigint): bigint => (due > credited ? due - credited : 0n)
      view = view.map((one) => ({ ...one, paid: one.paid + credited, due: left(one.due) }))
      paidAtMs = books.now()
      if (o.by !== 'accounting') viewAtMs = undefined
    } else if (decision.do === 'wait') {
      books.pass(Math.min(SAMPLE_MS, Math.max(STEP_MS, decision.untilMs - nowMs)))
    } else throw new Error(JSON.stringify(decision))
  }
  const missed = books.ledger.account(accountOf(1))?.missedIntervals
  return { payments, missed, state: books.session().state }
}

/**
 * How often it counts, and interval_megabytes: no further ahead of its count does the operator
 * credit, so where it counts often that must be more than the volume of a few seconds.
 */
const COUNTS: readonly [countsMs: number, intervalMegabytes: number][] = [
  [0, 10],
  [2_000, 100],
  [13_000, 200],
  [60_000, 10],
]

// Above interval_megabytes an interval the first ones are the dearest: the own meter's 5 % are few.
const RATES: readonly [octetsPerSecond: number, paymentsMax: number][] = [
  [0, 2],
  [300, 2],
  [10_000, 2],
  [100_000, 2],
  [10_000_000, 9],
]

for (const by of POLICIES) {
  t.test(`billed by ${by}: no interval is missed, and few payments do`, async (t) => {
    for (const [countsMs, intervalMegabytes] of COUNTS) {
      for (const intervalMs of [2_000, 10_000, 60_000]) {
        for (const [octetsPerSecond, paymentsMax] of RATES) {
          const name = `${octetsPerSecond} octets/s, ${intervalMs} ms, counted each ${countsMs} ms`
          const rates = { countsMs, octetsPerSecond, intervalMs, intervalMegabytes }
          const { payments, missed } = play({ by, ...rates })
          t.equal(missed, 0, name)
          t.ok(Math.max(...payments) <= paymentsMax, `${name}: ${payments.join(' ')} payments`)
        }
      }
    }
  })
}
