// Books, the admission a reconnect meets, and records told to them, for the tests of what nobody
// gets by lying. Called by ledger-abuse.test.ts and ledger-limits.test.ts.

import { type AdmissionRules, affordableReconnect } from '../../accounting/admission.ts'
import { applyReport } from '../../accounting/attribution.ts'
import type { Ledger } from '../../accounting/ledger.ts'
import type { AccountingReport } from '../../accounting/report.ts'
import type { Tariff } from '../../accounting/tariff.ts'
import { accountOf, emptyLedger, idOf, merchant, newSession, placeAt, tariff } from './books.ts'

export const MINUTE = 60_000
export const HOUR = 60 * MINUTE
export const A = accountOf(1)
export const OTHER = accountOf(0xbbbb)
export const ELSEWHERE = placeAt({ nas: 'roof' })
export const NOON = 1_800_000_000_000
export const channel = {
  deposit: 100_000n,
  highestVoucher: 0n,
  pendingShift: 0n,
  depositElsewhere: false,
}
export const rules: AdmissionRules = {
  ...{ perAccount: 4, sessionMaxMs: HOUR, takesDisconnect: true, prepay: 'off' },
  ...{ newcomersPerClient: 20, arrearsWindowMs: 0 },
}

export function some<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('gone')
  return value
}

/** Books with an account whose session 1, at this tariff, was opened at a time. */
export function opened(price: Tariff = tariff, nowMs = NOON) {
  const ledger = emptyLedger()
  ledger.begin(newSession(1, { tariff: price, endsAtMs: nowMs + HOUR }), nowMs)
  ledger.confirm(idOf(1), nowMs)
  return ledger
}

let ids = 5_000
/** One record, with the admission a reconnect meets. */
export function tell(ledger: Ledger, nowMs: number, change: Partial<AccountingReport>) {
  const report = {
    ...{ status: 1, place: placeAt(), classId: undefined, userName: '', wide: true },
    ...{ inputOctets: undefined, outputOctets: undefined, sessionTimeSeconds: undefined },
    ...{ terminateCause: undefined, delaySeconds: 0, eventTimestamp: undefined, ...change },
  }
  return applyReport(report, ledger, {
    ...{ nowMs, merchant, tariff, sessionMaxMs: HOUR, octetsPerSecondMax: 125_000_000n },
    unpaidRoom: true,
    admitReconnect: (account, place, price) =>
      affordableReconnect(
        ledger.standing(account, place, merchant, nowMs),
        channel,
        price,
        rules,
        nowMs,
      ),
    newId() {
      ids += 1
      return idOf(ids)
    },
  })
}
