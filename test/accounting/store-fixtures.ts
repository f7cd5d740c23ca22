// Sessions, accounts and log entries for the tests of the store: plain ones.

import type {
  Account,
  AccountingRecord,
  Changes,
  JournalEntry,
  MeteringKey,
  NasPlace,
  Session,
} from '../../accounting/session.ts'
import type { Tariff } from '../../accounting/tariff.ts'
import { type Address, parseAddress } from '../../ethereum/address.ts'

export const UINT96_MAX = 2n ** 96n - 1n
export const UINT64_MAX = 2n ** 64n - 1n
/** Unix ms that the tests count from. */
export const NOON = 1_800_000_000_000

export const EMPTY: Changes = {
  sessions: [],
  accounts: [],
  journal: [],
  records: [],
  disputes: [],
  authorizations: [],
  tariffs: [],
  meteringKeys: [],
}

export function addressOf(n: number): Address {
  const address = parseAddress(`0x${n.toString(16).padStart(40, '0')}`)
  if (address === undefined) throw new Error(`no address: ${n}`)
  return address
}

export const sessionId = (n: number): string => n.toString(16).padStart(32, '0')

export const TARIFF: Tariff = {
  name: 'standard',
  version: 3,
  perMinute: 60_000n,
  perMegabyte: 1_000_000n,
  intervalMs: 60_000,
  intervalMegabytes: 10,
  missedMax: 2,
  graceMs: 5_000,
  freeMs: 0,
  freeOctets: 0n,
}

export const PLACE: NasPlace = {
  nas: 'loopback',
  address: '127.0.0.1',
  nasIdentifier: 'ap-17',
  nasIpAddress: '10.0.0.17',
  nasPort: 4,
  callingStationId: '02-00-00-00-01-00',
  calledStationId: '02-00-00-00-00-00:Interop',
  acctSessionId: '5F2E1A2B00000001',
  acctMultiSessionId: '1122334455667788',
}

/** Open, current, a minute old per default. */
export function sessionNumber(n: number, over: Partial<Session> = {}): Session {
  return {
    id: sessionId(n),
    kind: 'normal',
    state: 'current',
    continues: undefined,
    account: addressOf(n),
    merchant: addressOf(0xfee),
    place: PLACE,
    tariff: TARIFF,
    reserve: 3n,
    startedAtMs: NOON + n,
    endsAtMs: NOON + n + 3_600_000,
    endedAtMs: undefined,
    closedAtMs: undefined,
    endedBy: undefined,
    terminateCause: undefined,
    credit: 0n,
    input: { raw: 0n, total: 0n, wide: false },
    output: { raw: 0n, total: 0n, wide: false },
    sessionTimeSeconds: 0,
    heardAtMs: NOON + n,
    lastRecord: '',
    eventAtMs: 0,
    interimMs: 60_000,
    judged: 0,
    missed: 0,
    paidIntervals: 0,
    endsOwed: [],
    volumeDue: undefined,
    cutAtMs: undefined,
    cutReason: undefined,
    disputed: false,
    attested: undefined,
    ...over,
  }
}

/** The same one, stopped after `minutes`: owes 60,000 for each that `credit` doesn't cover. */
export function closedNumber(n: number, minutes: number, over: Partial<Session> = {}): Session {
  return sessionNumber(n, {
    state: 'closed',
    endedAtMs: NOON + n + minutes * 60_000,
    endedBy: 'stopped',
    terminateCause: 1,
    ...over,
  })
}

export function accountNumber(n: number, over: Partial<Account> = {}): Account {
  return {
    account: addressOf(n),
    voucher: { amount: UINT96_MAX, signature: `0x${'ab'.repeat(65)}`, atMs: NOON },
    credit: 0n,
    paidIntervals: 7,
    missedIntervals: 1,
    disagreements: 2,
    cuts: 1,
    lastCutAtMs: NOON - 1,
    lastArrearsAtMs: undefined,
    lastAllowanceAtMs: NOON - 2,
    ...over,
  }
}

export function meteringKey(n: number, slot: number, over: Partial<MeteringKey> = {}): MeteringKey {
  return {
    ...{ account: addressOf(n), slot, publicKey: `BEtleQ-_${n}-${slot}`, scheme: 'software' },
    ...{ trust: 'software', enrolledAtMs: NOON + slot, expiresAtMs: NOON + 86_400_000 },
    counter: slot === 0 ? 0 : 2 ** 32 - slot,
    ...over,
  }
}

export function entryNumber(n: number, over: Partial<JournalEntry> = {}): JournalEntry {
  return {
    atMs: NOON + n,
    account: addressOf(1),
    session: sessionId(n),
    merchant: addressOf(0xfee),
    amount: BigInt(n),
    voucher: BigInt(n),
    ...over,
  }
}

export function recordNumber(n: number, over: Partial<AccountingRecord> = {}): AccountingRecord {
  return {
    receivedAtMs: NOON + n,
    eventAtMs: NOON + n - 1,
    status: 3,
    place: PLACE,
    userName: addressOf(1),
    session: sessionId(1),
    attribution: 'session',
    inputOctets: UINT64_MAX,
    outputOctets: 0n,
    sessionTimeSeconds: 60,
    terminateCause: undefined,
    ...over,
  }
}
