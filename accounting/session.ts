// What a session is: the values every part of metering and money agrees on. Owns the types and the
// pure questions one can ask of a session; changes to it are made by ledger.ts alone.

import type { Address } from '../ethereum/address.ts'
import type { Tariff } from './tariff.ts'
import type { Counter } from './usage.ts'

/**
 * `reserved`: decided on, Accept not sent. `opened`: Accept sent, nothing heard and nothing paid
 * yet. `current`: nothing missed. `overdue`: the last interval was missed, or volume beyond its
 * limit is unpaid. `disconnecting`: decided to put it off. `closed`: over; what it owes stays.
 */
export type SessionState =
  | 'reserved'
  | 'opened'
  | 'current'
  | 'overdue'
  | 'disconnecting'
  | 'closed'

/** Why a session ended. */
export type SessionEnd =
  | 'abandoned'
  | 'replaced'
  | 'stopped'
  | 'session-timeout'
  | 'escrow-removed'
  | 'nas-restarted'
  | 'interims-missed'
  | 'disconnected'

/** Why a session is put off. */
export type CutReason =
  | 'intervals-missed'
  | 'volume-unpaid'
  | 'escrow-removed'
  | 'arrears-unpaid'
  | 'not-admitted'
  | 'operator'

/**
 * `normal`: opened by our Accept. `arrears`: a short one, to pay old debts in. `pmksa`: a Start
 * without an Access-Request, by a key the NAS had cached, while no voucher has named it: only its
 * NAS says that the device is there. `foreign`: our Class, from another client entry.
 * `unattributed`: not opened by us. The last two have no payer and cost nothing.
 */
export type SessionKind = 'normal' | 'arrears' | 'pmksa' | 'foreign' | 'unattributed'

/**
 * Where a device is, as the NAS tells; what a Disconnect-Request needs to find it. Empty: unknown.
 */
export interface NasPlace {
  /** The name of the client entry. */
  readonly nas: string
  /** Source address of the NAS's packets. */
  readonly address: string
  readonly nasIdentifier: string
  /** NAS-IP-Address or NAS-IPv6-Address as text. */
  readonly nasIpAddress: string
  readonly nasPort: number | undefined
  readonly callingStationId: string
  readonly calledStationId: string
  readonly acctSessionId: string
  readonly acctMultiSessionId: string
}

/** One device at one NAS; amounts in token base units, times in Unix milliseconds. */
export interface Session {
  /** 16 random bytes as 32 lowercase hex: Class is `ai:` + id. */
  readonly id: string
  readonly kind: SessionKind
  readonly state: SessionState
  /** `pmksa`: the session whose Access-Accept its key is from; Class names that one. */
  readonly continues: string | undefined
  /** Who pays; undefined for foreign and unattributed ones. */
  readonly account: Address | undefined
  /** Who earns. */
  readonly merchant: Address
  readonly place: NasPlace
  /** The version the device agreed to; it never changes under the session. */
  readonly tariff: Tariff
  /** Escrow set aside while it is open. */
  readonly reserve: bigint
  /** Access-Accept (for `pmksa`: Start). */
  readonly startedAtMs: number
  /** When the NAS ends it by itself: start + Session-Timeout. */
  readonly endsAtMs: number
  /** Billing stops here; undefined while it runs. */
  readonly endedAtMs: number | undefined
  /** When the books closed it, by silence long after that; absent in older ones. */
  readonly closedAtMs: number | undefined
  readonly endedBy: SessionEnd | undefined
  readonly terminateCause: number | undefined
  /** Vouchers credited to it. */
  readonly credit: bigint
  readonly input: Counter
  readonly output: Counter
  /** The NAS's latest Acct-Session-Time, seconds. */
  readonly sessionTimeSeconds: number
  /** When accounting or a payment last told that it lives. */
  readonly heardAtMs: number
  /** Identity of the latest accounting record, to know it again when the NAS repeats it. */
  readonly lastRecord: string
  /** The latest event time of its accounting records, by the NAS's clock; 0 before the first. */
  readonly eventAtMs: number
  /** The longest the NAS has let pass between two records. */
  readonly interimMs: number
  /** Whole intervals judged so far: the ends of 1 … judged are paid or missed. */
  readonly judged: number
  /** Consecutive missed intervals. */
  readonly missed: number
  readonly paidIntervals: number
  /** What was owed at the ends of the intervals judged + 1, …, whose grace still runs. */
  readonly endsOwed: readonly bigint[]
  /** Volume beyond interval_megabytes: what must be credited by when. */
  readonly volumeDue: { readonly amount: bigint; readonly atMs: number } | undefined
  readonly cutAtMs: number | undefined
  readonly cutReason: CutReason | undefined
  /** Counters were clamped or contradicted by the device: its debt blocks only at that merchant. */
  readonly disputed: boolean
  /** The last report of usage that the device has signed. */
  readonly attested: Attested | undefined
}

/** How far a device's own figures are to be believed: its maker vouches, it signs, or neither. */
export type Trust = 'none' | 'software' | 'hardware'

/** What a device has signed of its own meter; octets since the session began, never less. */
export interface AttestedUsage {
  /** The number of this report. */
  readonly sequence: number
  /** By the device's clock, Unix seconds. */
  readonly time: number
  /** From the device, as the NAS counts. */
  readonly inputOctets: bigint
  readonly outputOctets: bigint
  /** That of the key that signed it. */
  readonly trust: Trust
  /** How that key was shown; absent in sessions that are older than this member. */
  readonly scheme?: string
  /** Which of its account's keys that was; absent as above. */
  readonly slot?: number
  /** How many reports of the session never came. */
  readonly missing: number
}

/** The last such report of a session, and what was known when it came. */
export interface Attested extends AttestedUsage {
  readonly atMs: number
  /** What the NAS had counted by then, both ways. */
  readonly countedOctets: bigint
  /** It, or one before it, was found to disagree with the NAS. */
  readonly disagrees: boolean
}

/** A key that signs reports of usage for an account; it was shown to be what `trust` says. */
export interface MeteringKey {
  readonly account: Address
  /** Which of the account's few, from 0; a new key takes the place of the oldest. */
  readonly slot: number
  /** P-256, 65 octets, uncompressed, in base64url. */
  readonly publicKey: string
  /** How it was shown. */
  readonly scheme: string
  readonly trust: Exclude<Trust, 'none'>
  readonly enrolledAtMs: number
  /** From then on its reports count for nothing until it is shown anew; 0: at once. */
  readonly expiresAtMs: number
  /** Of the last App Attest assertion that was taken, which the next must be above; else 0. */
  readonly counter: number
}

/** What is known of an account apart from its sessions. */
export interface Account {
  readonly account: Address
  /** The highest voucher; its signature as 65 bytes 0x-hex. */
  readonly voucher:
    | { readonly amount: bigint; readonly signature: string; readonly atMs: number }
    | undefined
  /** Paid, and not yet assigned to a session. */
  readonly credit: bigint
  readonly paidIntervals: number
  readonly missedIntervals: number
  /** Sessions in which its meter and the NAS's said too different things. */
  readonly disagreements: number
  /** Times it was put off for debt since it last paid everything. */
  readonly cuts: number
  readonly lastCutAtMs: number | undefined
  readonly lastArrearsAtMs: number | undefined
  /** When it last got the free allowance of a tariff. */
  readonly lastAllowanceAtMs: number | undefined
}

/**
 * One movement of a consumer's money: from a voucher's increase, or from the account's unassigned
 * credit, to a session's merchant. The sum over an account is its best voucher; over a session, its
 * credit. Without a session: the account's unassigned credit.
 */
export interface JournalEntry {
  readonly atMs: number
  readonly account: Address
  readonly session: string | undefined
  readonly merchant: Address | undefined
  /**
   * Negative only where unassigned credit is drawn, and where a session gives back what it drew,
   * since its Accept never went out.
   */
  readonly amount: bigint
  /** The cumulative voucher that stands behind it. */
  readonly voucher: bigint
}

/** One accounting record as it was acknowledged. */
export interface AccountingRecord {
  readonly receivedAtMs: number
  /** Event-Timestamp less Acct-Delay-Time, or the time of receipt less Acct-Delay-Time. */
  readonly eventAtMs: number
  readonly status: number
  readonly place: NasPlace
  readonly userName: string
  /** The session it was counted for; undefined for Accounting-On/Off and Failed. */
  readonly session: string | undefined
  readonly attribution: 'session' | 'late' | 'foreign' | 'unattributed' | 'nas'
  readonly inputOctets: bigint | undefined
  readonly outputOctets: bigint | undefined
  readonly sessionTimeSeconds: number | undefined
  readonly terminateCause: number | undefined
}

/** A disagreement, with its evidence, for the operator to look at. */
export interface Dispute {
  readonly atMs: number
  readonly session: string
  readonly account: Address | undefined
  readonly kind: 'rate-clamped' | 'usage-disagreement'
  /** What each side says, octets both ways. */
  readonly nasOctets: bigint
  readonly otherOctets: bigint
  /** Of a device's figure: what the key is worth that signed it; `none`: nothing did. */
  readonly trust: Trust
  /** The number of the signed report. */
  readonly sequence: number | undefined
}

/** One attempt to put a session off or to change its rate, with how it ended. */
export interface DynamicAuthorization {
  /** Unique: session id and a counter. */
  readonly id: string
  readonly session: string
  readonly kind: 'disconnect' | 'throttle' | 'restore'
  readonly reason: CutReason
  readonly atMs: number
  readonly endedAtMs: number | undefined
  /** `ack`, `nak-503`, `timeout`, `no-coa`, … */
  readonly result: string
  readonly attempts: number
}

/** A tariff as it was from some moment on. */
export interface TariffVersion {
  readonly tariff: Tariff
  readonly sinceMs: number
}

/** Everything that changed and is not durable yet: whole values of rows, new entries of logs. */
export interface Changes {
  readonly sessions: readonly Session[]
  readonly accounts: readonly Account[]
  readonly journal: readonly JournalEntry[]
  readonly records: readonly AccountingRecord[]
  readonly disputes: readonly Dispute[]
  readonly authorizations: readonly DynamicAuthorization[]
  readonly tariffs: readonly TariffVersion[]
  readonly meteringKeys: readonly MeteringKey[]
}
