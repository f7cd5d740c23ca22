// What a payer may know, for tests of its decisions: one session A, looked at any moment of it.
// Called by payer.test.ts and payer-billed.test.ts.

import type { Terms } from '../../device/charge.ts'
import type { Knowledge, OwnSession } from '../../device/payer.ts'
import { DEFAULT_POLICY } from '../../device/policy.ts'
import type { SessionView } from '../../device/session-view.ts'
import { EMPTY_BOOK } from '../../device/voucher-book.ts'

export const START = 1_000_000_000_000
export const A = 'a'.repeat(32)
/** 1 a second, 1,000 a megabyte, 60 s, 10 MB. */
export const TERMS: Terms = {
  perMinute: 60n,
  perMegabyte: 1_000n,
  intervalMs: 60_000,
  intervalMegabytes: 10,
  missedMax: 2,
  graceMs: 0,
  flat: undefined,
  freeMs: 0,
  freeOctets: 0n,
}

export function session(o: Partial<SessionView> = {}): SessionView {
  return {
    ...{ id: A, state: 'current', tariff: 'standard', tariffVersion: 1, terms: TERMS },
    ...{ startedAtMs: START, octets: 0n, owed: 0n, paid: 0n, due: 0n, dueAtMs: START + 60_000 },
    ...o,
  }
}

/** Knowledge `ms` into session A, asked for just now, with a meter that counted nothing. */
export function known(
  ms: number,
  o: Partial<Knowledge> = {},
  own: Partial<OwnSession> = {},
): Knowledge {
  const counted = { octets: 0n, isWhole: true }
  const seen = { terms: TERMS, connectedAtMs: START, seenAtMs: START + ms, ...counted, ...own }
  return {
    nowMs: START + ms,
    viewAtMs: START + ms,
    sessions: [session()],
    current: A,
    own: new Map([[A, seen]]),
    octetsPerSecond: 0,
    ...{ paidAtMs: undefined, trust: undefined },
    book: EMPTY_BOOK,
    deposit: 1_000_000n,
    service: undefined,
    topUpNotBeforeMs: 0,
    policy: DEFAULT_POLICY,
    ...o,
  }
}

/** Of each payment with volume, 20 are for what itself moves. */
export const pay = (increase: bigint, why: string, o: object = {}) => ({
  ...{ do: 'pay', session: A, amount: increase, increase, why },
  ...o,
})
export const wait = (ms: number) => ({ do: 'wait', untilMs: START + ms })
