// What a person allows their device to do with their money: when it pays, how much it accepts, when
// service counts as bad, when it tops up. Owns the defaults. Pure; read from device.json and flags
// by the cli, applied by payer.ts and quality.ts.

/** Amounts in token base units, times in milliseconds. */
export interface Policy {
  /** The part of an interval after which it is paid. */
  readonly payAt: number
  /** Dearest prices to pay; absent: any the operator publishes. */
  readonly perMinuteMax: bigint | undefined
  readonly perMegabyteMax: bigint | undefined
  /** The largest old debt to pay; absent: what the terms can add up to. */
  readonly debtMax: bigint | undefined
  /** Deposit so much when less than `topUpBelow` is left. */
  readonly topUpBelow: bigint | undefined
  readonly topUp: bigint | undefined
  /** Service is bad: sent for so long without receiving anything. */
  readonly silentMs: number
  /** Service is bad: so many probes in a row lost. */
  readonly lostMax: number
  /** Service is bad: the median of the last five round trips is above this. */
  readonly roundTripMaxMs: number
  /** What the certificate carries: nothing, what is owed, or what is owed and a first interval. */
  readonly certificateVoucher: 'off' | 'arrears' | 'prepay'
  /** Whether summaries of what was used are published: never, once a day, and at the end too. */
  readonly activity: 'off' | 'daily' | 'exit'
}

export const DEFAULT_POLICY: Policy = {
  payAt: 0.6,
  perMinuteMax: undefined,
  perMegabyteMax: undefined,
  debtMax: undefined,
  topUpBelow: undefined,
  topUp: undefined,
  silentMs: 30_000,
  lostMax: 5,
  roundTripMaxMs: 5_000,
  certificateVoucher: 'arrears',
  activity: 'daily',
}
