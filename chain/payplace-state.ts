// What the contract has of one operator, folded from its events: its blocks, merchants with their
// locks, channels with their shifts; and each step backwards. Pure: events in, changed entries out.
// Fetching and keeping are payplace-view.ts.

import type { Address } from '../ethereum/address.ts'
import { NO_ROOT } from './payplace/block.ts'
import {
  addEntries,
  combineEntries,
  eachEntry,
  NO_ENTRIES,
  packEntries,
} from './payplace/entries.ts'
import type { LockFact, MerchantFacts } from './payplace/known.ts'
import { type Leaf, leafHash } from './payplace/leaf.ts'
import type { BlockTiming } from './payplace/timing.ts'
import type { PayplaceEvent } from './payplace-events.ts'

export interface OperatorFacts {
  readonly account: Address
  readonly active: boolean
  readonly timing: BlockTiming
}

/** The last notarized block; k is 0 before the first, and root is zeros. */
export interface NotarizedFacts {
  readonly k: number
  readonly root: Buffer
  readonly lastPeriod: number
  readonly tau: number
}

/** A live lock, with the block it was made in. */
export interface LockRecord extends LockFact {
  readonly k: number
}

/** One merchant as the contract has it. Block numbers count from 1. */
export interface MerchantRecord extends MerchantFacts {
  readonly account: Address
  /** 128 bytes, EIP-2537. */
  readonly blsKey: Buffer
  readonly status: 'active' | 'exited'
  /** The last block before it left, and whether the operator put it out; undefined while Active. */
  readonly left?: { readonly k: number; readonly forced: boolean }
  /** The first block that owes the merchant anything. */
  readonly joinedAt: number
  /** The first block in a row that it did not sign; undefined while none is missed. */
  readonly missingSince: number | undefined
  /** Shards that were locked or withdrawn in block k of this field. */
  readonly settled: { readonly k: number; readonly shards: readonly number[] }
  readonly locks: readonly LockRecord[]
  /** What ShortPaid said since the last Withdrawn: the whole of capped entries, packed. */
  readonly capped: Buffer
}

export interface PendingShift {
  readonly to: number
  readonly amount: bigint
  /** Unix seconds. */
  readonly requestedAt: number
  readonly period: number
}

/** D, R, mu, w in base units, and the shift that is under way. */
export interface ChannelRecord {
  readonly deposit: bigint
  readonly reserved: bigint
  readonly highestVoucher: bigint
  readonly withdrawn: bigint
  readonly shift: PendingShift | undefined
}

/** One entry's new value; undefined takes it away. */
export type StateChange =
  | { readonly kind: 'operator'; readonly value: OperatorFacts | undefined }
  | { readonly kind: 'block'; readonly value: NotarizedFacts }
  | { readonly kind: 'merchant'; readonly id: number; readonly value: MerchantRecord | undefined }
  | {
      readonly kind: 'channel'
      readonly consumer: Address
      readonly value: ChannelRecord | undefined
    }

/** Changed by `applyEvent` and `applyChange` only; records are never changed in place. */
export interface PayplaceState {
  operator: OperatorFacts | undefined
  block: NotarizedFacts
  readonly merchants: Map<number, MerchantRecord>
  readonly channels: Map<Address, ChannelRecord>
}

const NO_CHANNEL: ChannelRecord = {
  ...{ deposit: 0n, reserved: 0n, highestVoucher: 0n, withdrawn: 0n },
  shift: undefined,
}
export const NO_BLOCK: NotarizedFacts = { k: 0, root: NO_ROOT, lastPeriod: 0, tau: 0 }
/** A merchant's record in the contract has fewer bits for shards. */
const SHARD_COUNT_MAX = 48

export function emptyState(): PayplaceState {
  return { operator: undefined, block: NO_BLOCK, merchants: new Map(), channels: new Map() }
}

/** An independent copy; records are shared. */
export function copyState(state: PayplaceState): PayplaceState {
  const { operator, block, merchants, channels } = state
  return { operator, block, merchants: new Map(merchants), channels: new Map(channels) }
}

/** What a consumer has; all zero where nothing was ever deposited. */
export function channelOf(state: PayplaceState, consumer: Address): ChannelRecord {
  return state.channels.get(consumer) ?? NO_CHANNEL
}

/** Applies one event of operator `operatorId`; the result undoes it, in its order. */
export function applyEvent(
  state: PayplaceState,
  operatorId: number,
  event: PayplaceEvent,
): { readonly changes: StateChange[]; readonly undo: StateChange[] } {
  const changes = changesOf(state, operatorId, event)
  const undo: StateChange[] = []
  for (const change of changes) {
    undo.unshift(before(state, change))
    applyChange(state, change)
  }
  return { changes, undo }
}

/** Sets or removes one entry. */
export function applyChange(state: PayplaceState, change: StateChange): void {
  switch (change.kind) {
    case 'operator':
      state.operator = change.value
      break
    case 'block':
      state.block = change.value
      break
    case 'merchant':
      if (change.value === undefined) state.merchants.delete(change.id)
      else state.merchants.set(change.id, change.value)
      break
    case 'channel':
      if (change.value === undefined) state.channels.delete(change.consumer)
      else state.channels.set(change.consumer, change.value)
  }
}

function before(state: PayplaceState, change: StateChange): StateChange {
  switch (change.kind) {
    case 'operator':
      return { kind: 'operator', value: state.operator }
    case 'block':
      return { kind: 'block', value: state.block }
    case 'merchant':
      return { ...change, value: state.merchants.get(change.id) }
    case 'channel':
      return { ...change, value: state.channels.get(change.consumer) }
  }
}

function changesOf(state: PayplaceState, operatorId: number, event: PayplaceEvent): StateChange[] {
  switch (event.type) {
    case 'operator-registered': {
      const { account, timing } = event
      return [{ kind: 'operator', value: { account, timing, active: true } }]
    }
    case 'operator-retired':
      return state.operator === undefined
        ? []
        : [{ kind: 'operator', value: { ...state.operator, active: false } }]
    case 'notarized':
      return notarized(state, event)
    case 'merchant-registered':
      return [registered(state, event)]
    case 'merchant-exited':
    case 'short-paid':
    case 'locked':
    case 'unlocked':
    case 'withdrawn':
      return merchantChanges(state, operatorId, event)
    default:
      return [channelChange(state, event)]
  }
}

type Event<Type extends PayplaceEvent['type']> = Extract<PayplaceEvent, { readonly type: Type }>

function registered(state: PayplaceState, event: Event<'merchant-registered'>): StateChange {
  const { id, account, blsKey } = event
  const value: MerchantRecord = {
    ...{ id, account, blsKey, status: 'active', joinedAt: state.block.k + 1 },
    ...{ missingSince: undefined, locks: [], withdrawn: NO_ENTRIES, capped: NO_ENTRIES },
    settled: { k: 0, shards: [] },
  }
  return { kind: 'merchant', id, value }
}

function notarized(state: PayplaceState, event: Event<'notarized'>): StateChange[] {
  const { k, period, root, tau } = event
  const changes: StateChange[] = [{ kind: 'block', value: { k, root, lastPeriod: period, tau } }]
  const missing = new Set(event.newlyMissing)
  const returning = new Set(event.returning)
  for (const [id, record] of state.merchants) {
    const isNamed = missing.has(id) || returning.has(id)
    if (!isNamed && record.withdrawn.length === 0) continue
    let { missingSince } = record
    if (missing.has(id)) missingSince = k
    if (returning.has(id)) missingSince = undefined
    const value = { ...record, missingSince, withdrawn: NO_ENTRIES }
    changes.push({ kind: 'merchant', id, value })
  }
  return changes
}

function merchantChanges(
  state: PayplaceState,
  operatorId: number,
  event: Event<'merchant-exited' | 'short-paid' | 'locked' | 'unlocked' | 'withdrawn'>,
): StateChange[] {
  const record = state.merchants.get(event.id)
  if (record === undefined) return []
  const { id } = record
  const change = (value: MerchantRecord): StateChange => ({ kind: 'merchant', id, value })
  const without = (shard: number) => record.locks.filter(({ leaf }) => leaf.shard !== shard)
  switch (event.type) {
    case 'merchant-exited':
      return [
        change({ ...record, status: 'exited', left: { k: state.block.k, forced: event.forced } }),
      ]
    case 'short-paid': {
      const whole = packEntries([{ consumer: event.consumer, amount: event.due }])
      return [change({ ...record, capped: addEntries(record.capped, whole) })]
    }
    case 'locked': {
      const lock = lockOf(operatorId, event)
      const locks = [...without(event.shard), lock]
      const settled = settledWith(record, event)
      return [
        change({ ...record, locks, settled }),
        ...moves(state, event.entries, { reserved: 1n }),
      ]
    }
    case 'unlocked': {
      const lock = record.locks.find(({ leaf }) => leaf.shard === event.shard)
      const entries = lock?.leaf.entries ?? NO_ENTRIES
      return [
        change({ ...record, locks: without(event.shard) }),
        ...moves(state, entries, { reserved: -1n }),
      ]
    }
    case 'withdrawn': {
      const locks = event.fromLock ? without(event.shard) : record.locks
      const withdrawn = addEntries(record.withdrawn, wholeOf(event.entries, record.capped))
      const settled = settledWith(record, event)
      const reserved = event.fromLock ? -1n : 0n
      return [
        change({ ...record, locks, settled, withdrawn, capped: NO_ENTRIES }),
        ...moves(state, event.entries, { withdrawn: 1n, reserved }),
      ]
    }
  }
}

function settledWith(
  { settled }: MerchantRecord,
  { k, shard }: { readonly k: number; readonly shard: number },
): MerchantRecord['settled'] {
  const shards = settled.k === k ? settled.shards : []
  return { k, shards: shards.includes(shard) ? shards : [...shards, shard] }
}

/** The event does not say how many shards there were; the hash does. */
function lockOf(operatorId: number, event: Event<'locked'>): LockRecord {
  const { id, shard, k, lockHash, entries } = event
  let leaf: Leaf = { id, shard, shardCount: shard + 1, entries }
  for (let shardCount = shard + 1; shardCount <= SHARD_COUNT_MAX; shardCount++) {
    leaf = { id, shard, shardCount, entries }
    if (leafHash(operatorId, leaf).equals(lockHash)) break
  }
  return { leaf, lockHash, k }
}

/** The entries that were due: those that were capped stand in `capped` with their whole amount. */
function wholeOf(paid: Buffer, capped: Buffer): Buffer {
  const some = [...eachEntry(paid)].filter(({ amount }) => amount > 0n)
  return combineEntries(packEntries(some), capped, (amount, due) => (due > 0n ? due : amount))
}

/** Adds each entry's amount, times 1, 0 or −1, to two numbers of its channel. */
function moves(
  state: PayplaceState,
  entries: Buffer,
  by: { readonly reserved?: bigint; readonly withdrawn?: bigint },
): StateChange[] {
  return [...eachEntry(entries)].map(({ consumer, amount }) => {
    const channel = channelOf(state, consumer)
    const reserved = channel.reserved + (by.reserved ?? 0n) * amount
    const withdrawn = channel.withdrawn + (by.withdrawn ?? 0n) * amount
    return { kind: 'channel', consumer, value: { ...channel, reserved, withdrawn } }
  })
}

function channelChange(
  state: PayplaceState,
  event: Event<
    | 'deposited'
    | 'channel-updated'
    | 'voucher-seen'
    | 'shift-requested'
    | 'shift-challenged'
    | 'shift-ended'
  >,
): StateChange {
  const { consumer } = event
  const channel = channelOf(state, consumer)
  const change = (more: Partial<ChannelRecord>): StateChange => {
    return { kind: 'channel', consumer, value: { ...channel, ...more } }
  }
  switch (event.type) {
    case 'deposited':
      return change({ deposit: event.deposit })
    case 'voucher-seen':
      return change({ highestVoucher: event.amount })
    case 'channel-updated': {
      const { deposit, reserved, highestVoucher, withdrawn } = event
      return change({ deposit, reserved, highestVoucher, withdrawn })
    }
    case 'shift-requested': {
      const { to, amount, requestedAt, period } = event
      return change({ shift: { to, amount, requestedAt, period } })
    }
    case 'shift-challenged': {
      const { shift } = channel
      const left = event.left > 0n && shift !== undefined
      return change({ shift: left ? { ...shift, amount: event.left } : undefined })
    }
    case 'shift-ended':
      return change({ shift: undefined })
  }
}
