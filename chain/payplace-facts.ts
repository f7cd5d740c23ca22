// The contract of one operator as of one block, as its readers ask for it, and how its entries
// stand in a store between two runs. Pure but for node:v8's coding. Called by payplace-view.ts.

import { deserialize, serialize } from 'node:v8'
import { type Address, parseAddress } from '../ethereum/address.ts'
import {
  applyChange,
  type ChannelRecord,
  channelOf,
  emptyState,
  type MerchantRecord,
  type NotarizedFacts,
  type OperatorFacts,
  type PayplaceState,
  type PendingShift,
  type StateChange,
} from './payplace-state.ts'

/** Keeps entries by name between runs; what it holds is read again from the chain if it is lost. */
export interface ViewStore {
  load(): Iterable<readonly [name: string, value: Uint8Array]>
  /**
   * Undefined takes an entry away; `anew` empties the store first. One transaction. A store that
   * programs share writes nothing where another one wrote since `load`.
   */
  write(entries: Iterable<readonly [string, Uint8Array | undefined]>, anew: boolean): void
}

/** A consumer's channel as signers need it. */
export interface ChannelFacts extends ChannelRecord {
  /** The amount of the shift that is under way, 0 without one. */
  readonly pendingShift: bigint
}

/** The contract as of one block; does not change any more. */
export interface PayplaceFacts {
  readonly number: number
  /** Undefined where the operator was not registered yet. */
  operator(): OperatorFacts | undefined
  block(): NotarizedFacts
  /** Active merchants, ascending by id. */
  merchants(): MerchantRecord[]
  /** Of any status. */
  merchant(id: number): MerchantRecord | undefined
  /** The newest record of an account. */
  merchantOf(account: Address): MerchantRecord | undefined
  channel(consumer: Address): ChannelFacts
  shifts(): (PendingShift & { readonly consumer: Address })[]
}

/** The answers of a state that nobody changes any more. */
export function factsOf(state: PayplaceState, number: number): PayplaceFacts {
  return {
    number,
    operator: () => state.operator,
    block: () => state.block,
    // Ids are given in ascending order, and a map keeps the order of its first writes.
    merchants: () =>
      [...state.merchants.values()]
        .filter(({ status }) => status === 'active')
        .sort((a, b) => a.id - b.id),
    merchant: (id) => state.merchants.get(id),
    merchantOf: (account) =>
      [...state.merchants.values()]
        .filter((record) => record.account === account)
        .sort((a, b) => b.id - a.id)[0],
    channel(consumer) {
      const channel = channelOf(state, consumer)
      return { ...channel, pendingShift: channel.shift?.amount ?? 0n }
    },
    shifts: () =>
      [...state.channels].flatMap(([consumer, { shift }]) =>
        shift === undefined ? [] : [{ ...shift, consumer }],
      ),
  }
}

/** A block by number and 0x-hex hash. */
export interface BlockRef {
  readonly number: number
  readonly hash: string
}

/** The events of one block, taken back by `undo`. */
export interface Step {
  readonly block: BlockRef
  readonly undo: readonly StateChange[]
}

/** How far a state goes, and how far back it can be taken. */
export interface Tail {
  /** Everything up to here is in the state. */
  readonly position: BlockRef
  /** Where the oldest step begins; undefined: with nothing. */
  readonly base: BlockRef | undefined
  readonly steps: readonly Step[]
}

const TAIL = 'tail'
/** Reads as of some seconds ago and reorgs before finality (64 blocks) work after a restart. */
const STORED_STEPS_MAX = 64

/** A changed entry as the store takes it. */
export function storedEntry(change: StateChange): [string, Uint8Array | undefined] {
  const { value } = change
  return [nameOf(change), value === undefined ? undefined : serialize(value)]
}

/** The newest steps and the position, as the store takes them. */
export function storedTail({ position, base, steps }: Tail): [string, Uint8Array] {
  const left = steps.slice(-STORED_STEPS_MAX)
  const dropped = steps[steps.length - left.length - 1]
  return [TAIL, serialize({ position, base: dropped?.block ?? base, steps: left })]
}

function nameOf(change: StateChange): string {
  switch (change.kind) {
    case 'merchant':
      return `merchant ${change.id}`
    case 'channel':
      return `channel ${change.consumer}`
    default:
      return change.kind
  }
}

/** What a store holds; its tail is undefined where it is empty. */
export function readStored(store: ViewStore | undefined): {
  readonly state: PayplaceState
  readonly tail: Tail | undefined
} {
  const state = emptyState()
  let tail: Tail | undefined
  for (const [name, bytes] of store?.load() ?? []) {
    const value: unknown = deserialize(bytes)
    const [kind, key = ''] = name.split(' ')
    const consumer = parseAddress(key)
    if (kind === TAIL) tail = value as Tail
    if (kind === 'operator') applyChange(state, { kind, value: value as OperatorFacts })
    if (kind === 'block') applyChange(state, { kind, value: value as NotarizedFacts })
    if (kind === 'merchant') {
      applyChange(state, { kind, id: Number(key), value: value as MerchantRecord })
    }
    if (kind === 'channel' && consumer !== undefined) {
      applyChange(state, { kind, consumer, value: value as ChannelRecord })
    }
  }
  return { state, tail }
}
