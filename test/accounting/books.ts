// Values for the tests of the ledger: accounts, places, tariffs, sessions, records.

import type { NewSession, Usage } from '../../accounting/ledger.ts'
import { createLedger, type LedgerOptions } from '../../accounting/ledger.ts'
import type { NasPlace } from '../../accounting/session.ts'
import { priceTariff, type Tariff, type TariffTerms } from '../../accounting/tariff.ts'
import { type Address, parseAddress } from '../../ethereum/address.ts'

export const accountOf = (n: number): Address => {
  const account = parseAddress(`0x${n.toString(16).padStart(40, '0')}`)
  if (account === undefined) throw new Error('account')
  return account
}
export const operator = accountOf(0xffff)
export const merchant = accountOf(0xaaaa)

/** 1 unit a second, 1 unit a megabyte: an interval of a minute with 10 MB costs 70. */
export const terms: TariffTerms = {
  ...{ perMinute: '60', perMegabyte: '1', intervalMs: 60_000, intervalMegabytes: 10 },
  ...{ missedMax: 2, graceMs: 0 },
}
export const tariffWith = (change: Partial<TariffTerms> = {}): Tariff => ({
  ...priceTariff('standard', { ...terms, ...change }, 0),
  version: 1,
})
export const tariff = tariffWith()

export const placeAt = (change: Partial<NasPlace> = {}): NasPlace => ({
  ...{ nas: 'lobby', address: '192.0.2.10', nasIdentifier: 'ap1', nasIpAddress: '192.0.2.10' },
  ...{ nasPort: undefined, callingStationId: '02-00-00-00-00-01', calledStationId: 'ap:net' },
  ...{ acctSessionId: 'A1', acctMultiSessionId: 'M1' },
  ...change,
})

export const idOf = (n: number): string => n.toString(16).padStart(32, '0')

export const newSession = (n: number, change: Partial<NewSession> = {}): NewSession => ({
  ...{ id: idOf(n), kind: 'normal', account: accountOf(1), merchant, place: placeAt(), tariff },
  ...{ reserve: 210n, endsAtMs: 3_600_000 },
  ...change,
})

export const usage = (change: Partial<Usage> = {}): Usage => ({
  ...{
    eventAtMs: 0,
    sentAtMs: change.eventAtMs ?? 0,
    inputOctets: undefined,
    outputOctets: undefined,
    wide: false,
  },
  ...{ sessionTimeSeconds: undefined, terminateCause: undefined, record: `${change.eventAtMs}` },
  octetsPerSecondMax: 125_000_000n,
  ...change,
})

export const limits: LedgerOptions = {
  ...{ sessionsMax: 1000, rememberedMax: 1000, accountsMax: 1000, operatorAccount: operator },
}
export const emptyLedger = (change: Partial<LedgerOptions> = {}) =>
  createLedger({ ...limits, ...change })

export const voucher = (n: number, amount: bigint, settled = 0n) => ({
  ...{ account: accountOf(n), amount, settled },
  signature: `0x${'00'.repeat(65)}`,
})
