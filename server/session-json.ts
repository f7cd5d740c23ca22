// A session as HTTP shows it, to the device that pays for it and to the operator: the one place
// where amounts become decimal text and times Unix seconds. Called by http-payments.ts and
// http-admin.ts.

import { dueOf, owed } from '../accounting/rating.ts'
import type { Session, SessionState } from '../accounting/session.ts'
import type { Tariff } from '../accounting/tariff.ts'
import { checksumAddress } from '../ethereum/address.ts'

/** The terms a session keeps; prices in token base units as decimal text. */
export interface TermsJson {
  readonly perMinute: string
  readonly perMegabyte: string
  readonly intervalSeconds: number
  readonly intervalMegabytes: number
  readonly missedMax: number
  readonly graceSeconds: number
  readonly flat?: { readonly price: string; readonly windowSeconds: number }
  readonly freeMinutes?: number
  readonly freeMegabytes?: number
  /** Whose figures of volume are rated; absent: the access point's. */
  readonly usage?: Tariff['usage']
}

/** Amounts are decimal text of token base units, times whole Unix seconds. */
export interface SessionJson {
  readonly id: string
  /** Null where nobody pays. */
  readonly account: string | null
  /** The name of the client entry. */
  readonly client: string
  readonly merchant: string
  readonly state: SessionState
  readonly tariff: string
  readonly tariffVersion: number
  readonly terms: TermsJson
  readonly startedAt: number
  readonly inputOctets: string
  readonly outputOctets: string
  /** Cumulative, now. */
  readonly owed: string
  readonly paid: string
  /** Missing at the end of the running interval; of an ended session, what is left. */
  readonly due: string
  readonly dueAt: number
}

const seconds = (ms: number): number => Math.floor(ms / 1_000)

/** Prices in base units as decimal text, times in seconds. */
export function termsJson(tariff: Tariff): TermsJson {
  const { flat, freeMs, freeOctets } = tariff
  return {
    perMinute: tariff.perMinute.toString(),
    perMegabyte: tariff.perMegabyte.toString(),
    intervalSeconds: tariff.intervalMs / 1_000,
    intervalMegabytes: tariff.intervalMegabytes,
    missedMax: tariff.missedMax,
    graceSeconds: tariff.graceMs / 1_000,
    ...(flat !== undefined && {
      flat: { price: flat.price.toString(), windowSeconds: flat.windowMs / 1_000 },
    }),
    ...(freeMs > 0 && { freeMinutes: freeMs / 60_000 }),
    ...(freeOctets > 0n && { freeMegabytes: Number(freeOctets) / 1_000_000 }),
    ...(tariff.usage !== undefined && { usage: tariff.usage }),
  }
}

/**
 * The session as it is at a time (Unix ms, by the clock of the books); its times are told by a
 * clock that is `aheadMs` ahead of that one.
 */
export function sessionJson(session: Session, nowMs: number, aheadMs = 0): SessionJson {
  const { account, tariff } = session
  const due = dueOf(session, nowMs)
  return {
    id: session.id,
    account: account === undefined ? null : checksumAddress(account),
    client: session.place.nas,
    merchant: checksumAddress(session.merchant),
    state: session.state,
    tariff: tariff.name,
    tariffVersion: tariff.version,
    terms: termsJson(tariff),
    startedAt: seconds(session.startedAtMs + aheadMs),
    inputOctets: session.input.total.toString(),
    outputOctets: session.output.total.toString(),
    owed: owed(session, nowMs).toString(),
    paid: session.credit.toString(),
    due: due.amount.toString(),
    dueAt: seconds(due.atMs + aheadMs),
  }
}
