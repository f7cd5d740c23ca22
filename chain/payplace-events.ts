// What the contract tells of one operator's merchants, blocks, channels and shifts, as typed
// values. Decodes logs only; what follows from them is payplace-state.ts. Called by
// payplace-view.ts.

import type { Result } from 'ethers'
import type { Address } from '../ethereum/address.ts'
import { addressOf, datanetInterface, type RawLog, timingOf } from './bindings.ts'
import type { BlockTiming } from './payplace/timing.ts'

/** One event; `entries` are packed words of consumer and amount, ids are merchants'. */
export type PayplaceEvent =
  | {
      readonly type: 'operator-registered'
      readonly account: Address
      readonly timing: BlockTiming
    }
  | { readonly type: 'operator-retired' }
  | {
      readonly type: 'merchant-registered'
      readonly id: number
      readonly account: Address
      /** 128 bytes, EIP-2537. */
      readonly blsKey: Buffer
    }
  | { readonly type: 'merchant-exited'; readonly id: number; readonly forced: boolean }
  | {
      readonly type: 'notarized'
      readonly k: number
      readonly period: number
      readonly root: Buffer
      readonly tau: number
      readonly newlyMissing: readonly number[]
      readonly returning: readonly number[]
    }
  | {
      readonly type: 'locked'
      readonly id: number
      readonly shard: number
      readonly k: number
      readonly lockHash: Buffer
      readonly entries: Buffer
    }
  | { readonly type: 'unlocked'; readonly id: number; readonly shard: number }
  | {
      readonly type: 'withdrawn'
      readonly id: number
      readonly shard: number
      readonly k: number
      readonly total: bigint
      readonly fromLock: boolean
      /** As paid; an entry that was capped to nothing has the amount 0. */
      readonly entries: Buffer
    }
  | {
      readonly type: 'short-paid'
      readonly id: number
      readonly consumer: Address
      readonly due: bigint
      readonly paid: bigint
    }
  | { readonly type: 'deposited'; readonly consumer: Address; readonly deposit: bigint }
  | {
      readonly type: 'channel-updated'
      readonly consumer: Address
      readonly deposit: bigint
      readonly reserved: bigint
      readonly highestVoucher: bigint
      readonly withdrawn: bigint
    }
  | { readonly type: 'voucher-seen'; readonly consumer: Address; readonly amount: bigint }
  | {
      readonly type: 'shift-requested'
      readonly consumer: Address
      readonly to: number
      readonly amount: bigint
      readonly requestedAt: number
      readonly period: number
    }
  | {
      readonly type: 'shift-challenged'
      readonly consumer: Address
      readonly challenger: Address
      /** What the shift is lowered to; 0 ends it. */
      readonly left: bigint
    }
  | { readonly type: 'shift-ended'; readonly consumer: Address }

type Read = (args: Result) => PayplaceEvent

const bytesOf = (value: unknown): Buffer => Buffer.from(String(value).slice(2), 'hex')
const wordsOf = (value: Iterable<unknown>): Buffer => Buffer.concat([...value].map(bytesOf))
const numbersOf = (value: Iterable<unknown>): number[] => [...value].map(Number)

const READERS: ReadonlyMap<string, Read> = new Map<string, Read>([
  [
    'OperatorRegistered',
    (args) => ({
      type: 'operator-registered',
      account: addressOf(args.getValue('account')),
      timing: timingOf(args.getValue('timing')),
    }),
  ],
  ['OperatorRetired', () => ({ type: 'operator-retired' })],
  [
    'MerchantRegistered',
    (args) => ({
      type: 'merchant-registered',
      id: Number(args.getValue('merchant')),
      account: addressOf(args.getValue('account')),
      blsKey: bytesOf(args.getValue('blsKey')),
    }),
  ],
  [
    'MerchantExited',
    (args) => ({
      type: 'merchant-exited',
      id: Number(args.getValue('merchant')),
      forced: args.getValue('forced') === true,
    }),
  ],
  [
    'Notarized',
    (args) => ({
      type: 'notarized',
      k: Number(args.getValue('k')),
      period: Number(args.getValue('period')),
      root: bytesOf(args.getValue('root')),
      tau: Number(args.getValue('tau')),
      newlyMissing: numbersOf(args.getValue('newlyMissing')),
      returning: numbersOf(args.getValue('returning')),
    }),
  ],
  [
    'Locked',
    (args) => ({
      type: 'locked',
      id: Number(args.getValue('merchant')),
      shard: Number(args.getValue('shard')),
      k: Number(args.getValue('k')),
      lockHash: bytesOf(args.getValue('leaf')),
      entries: wordsOf(args.getValue('entries')),
    }),
  ],
  [
    'Unlocked',
    (args) => ({
      type: 'unlocked',
      id: Number(args.getValue('merchant')),
      shard: Number(args.getValue('shard')),
    }),
  ],
  [
    'Withdrawn',
    (args) => ({
      type: 'withdrawn',
      id: Number(args.getValue('merchant')),
      shard: Number(args.getValue('shard')),
      k: Number(args.getValue('k')),
      total: BigInt(args.getValue('total')),
      fromLock: args.getValue('fromLock') === true,
      entries: wordsOf(args.getValue('entries')),
    }),
  ],
  [
    'ShortPaid',
    (args) => ({
      type: 'short-paid',
      id: Number(args.getValue('merchant')),
      consumer: addressOf(args.getValue('consumer')),
      due: BigInt(args.getValue('due')),
      paid: BigInt(args.getValue('paid')),
    }),
  ],
  [
    'Deposited',
    (args) => ({
      type: 'deposited',
      consumer: addressOf(args.getValue('consumer')),
      deposit: BigInt(args.getValue('newDeposit')),
    }),
  ],
  [
    'ChannelUpdated',
    (args) => ({
      type: 'channel-updated',
      consumer: addressOf(args.getValue('consumer')),
      deposit: BigInt(args.getValue('deposit')),
      reserved: BigInt(args.getValue('reserved')),
      highestVoucher: BigInt(args.getValue('highestVoucher')),
      withdrawn: BigInt(args.getValue('withdrawn')),
    }),
  ],
  [
    'VoucherSeen',
    (args) => ({
      type: 'voucher-seen',
      consumer: addressOf(args.getValue('consumer')),
      amount: BigInt(args.getValue('amount')),
    }),
  ],
  [
    'ShiftRequested',
    (args) => ({
      type: 'shift-requested',
      consumer: addressOf(args.getValue('consumer')),
      to: Number(args.getValue('to')),
      amount: BigInt(args.getValue('amount')),
      requestedAt: Number(args.getValue('requestedAt')),
      period: Number(args.getValue('period')),
    }),
  ],
  [
    'ShiftChallenged',
    (args) => ({
      type: 'shift-challenged',
      consumer: addressOf(args.getValue('consumer')),
      challenger: addressOf(args.getValue('challenger')),
      left: BigInt(args.getValue('amountLeft')),
    }),
  ],
  ['ShiftFinalized', (args) => shiftEnded(args)],
  ['ShiftCancelled', (args) => shiftEnded(args)],
])

const shiftEnded: Read = (args) => ({
  type: 'shift-ended',
  consumer: addressOf(args.getValue('consumer')),
})

/** The event of one log of the contract; undefined for those that concern no block or channel. */
export function decodePayplaceEvent(log: RawLog): PayplaceEvent | undefined {
  const parsed = datanetInterface.parseLog({ topics: [...log.topics], data: log.data })
  return parsed === null ? undefined : READERS.get(parsed.name)?.(parsed.args)
}
