// What the contract says, in memory, and how each block changed it, so that a reorg can take blocks
// back. Pure: events in, changes out; fetching is mirror-sync.ts, keeping is mirror-store.ts.
// Answers admission.

import type { Address } from '../ethereum/address.ts'
import type { ChainEvent } from './bindings.ts'

/** An account's escrow with one operator, in token base units (payplace 4.3: w + R <= mu <= D). */
export interface ChannelAmounts {
  /** D. */
  readonly deposit: bigint
  /** R. */
  readonly reserved: bigint
  /** mu: the highest voucher the contract has seen. */
  readonly highestVoucher: bigint
  /** w. */
  readonly withdrawn: bigint
}

/** The same with what the account has asked to move to another operator; 0n: nothing pending. */
export interface Channel extends ChannelAmounts {
  readonly pendingShift: bigint
}

/**
 * An operator's entry; before `spkiChangesAt` (Unix s) both keys are valid, then only the next one.
 */
export interface OperatorRecord {
  readonly account: Address
  readonly serverSpkiSha256: string
  readonly nextServerSpkiSha256?: string
  readonly spkiChangesAt: number
  readonly active: boolean
  readonly metadataUri: string
}

/** What an account said about a TLS key; a key it never spoke of is in no table. */
export type DeviceKeyStatus = 'enabled' | 'disabled'

export interface BlockRef {
  readonly number: number
  readonly hash: string
}

/** One entry's value after a change; undefined: the entry is gone (only a reorg does that). */
export type Change =
  | {
      readonly kind: 'channel'
      readonly operatorId: number
      readonly account: Address
      readonly value: Channel | undefined
    }
  | {
      readonly kind: 'operator'
      readonly operatorId: number
      readonly value: OperatorRecord | undefined
    }
  | {
      readonly kind: 'device-key'
      readonly account: Address
      readonly spkiSha256: string
      readonly value: DeviceKeyStatus | undefined
    }

/** One step forward: a block, or a whole range far below the head. */
interface Step {
  readonly block: BlockRef
  readonly before: BlockRef | undefined
  /** The values the step replaced, oldest first. */
  readonly replaced: readonly Change[]
}

/** Changed only by the functions of this file. */
export interface MirrorState {
  head: BlockRef | undefined
  readonly channels: Map<Address, Map<number, Channel>>
  readonly operators: Map<number, OperatorRecord>
  readonly deviceKeys: Map<Address, Map<string, DeviceKeyStatus>>
  readonly steps: Step[]
}

/**
 * Reorgs reach a few blocks on proof-of-stake chains (finality: 64); deeper ones rebuild the
 * mirror.
 */
export const STEPS_MAX = 256

const NO_CHANNEL: Channel = {
  ...{ deposit: 0n, reserved: 0n, highestVoucher: 0n, withdrawn: 0n, pendingShift: 0n },
}

/** An empty mirror, or one with the entries of a store; a stored one has no steps to take back. */
export function createMirrorState(stored?: {
  readonly head: BlockRef
  readonly entries: Iterable<Change>
}): MirrorState {
  const state: MirrorState = {
    head: stored?.head,
    channels: new Map(),
    operators: new Map(),
    deviceKeys: new Map(),
    steps: [],
  }
  for (const entry of stored?.entries ?? []) write(state, entry)
  return state
}

/**
 * Moves the head to `block` and applies what happened since the old one, in the order of the chain.
 */
export function applyStep(
  state: MirrorState,
  block: BlockRef,
  events: readonly ChainEvent[],
): Change[] {
  const replaced: Change[] = []
  const changes: Change[] = []
  for (const event of events) {
    const change = changeOf(state, event)
    if (change === undefined) continue
    replaced.push(read(state, change))
    write(state, change)
    changes.push(change)
  }
  state.steps.push({ block, before: state.head, replaced })
  if (state.steps.length > STEPS_MAX) state.steps.shift()
  state.head = block
  return changes
}

/** Takes the newest step back; undefined when there is none left to take back. */
export function undoStep(state: MirrorState): Change[] | undefined {
  const step = state.steps.pop()
  if (step === undefined) return undefined
  const changes = step.replaced.toReversed()
  for (const change of changes) write(state, change)
  state.head = step.before
  return changes
}

/** The hash of a processed block; undefined where it is not (any more) among the steps. */
export function hashAt(state: MirrorState, number: number): string | undefined {
  if (state.head?.number === number) return state.head.hash
  for (let i = state.steps.length - 1; i >= 0; i--) {
    const step = state.steps[i]
    if (step?.block.number === number) return step.block.hash
    if (step?.before?.number === number) return step.before.hash
  }
  return undefined
}

/** Every entry, as changes that would make it. */
export function* entriesOf(state: MirrorState): Generator<Change> {
  for (const [operatorId, value] of state.operators) yield { kind: 'operator', operatorId, value }
  for (const [account, channels] of state.channels) {
    for (const [operatorId, value] of channels)
      yield { kind: 'channel', operatorId, account, value }
  }
  for (const [account, keys] of state.deviceKeys) {
    for (const [spkiSha256, value] of keys) yield { kind: 'device-key', account, spkiSha256, value }
  }
}

/** The accounts whose admission a change may alter. */
export function accountsOf(changes: Iterable<Change>): Set<Address> {
  const accounts = new Set<Address>()
  for (const change of changes) if (change.kind !== 'operator') accounts.add(change.account)
  return accounts
}

/** The operators with which an account has a deposit above zero, ascending. */
export function operatorsWithDeposit(state: MirrorState, account: Address): number[] {
  const found: number[] = []
  for (const [operatorId, channel] of state.channels.get(account) ?? []) {
    if (channel.deposit > 0n) found.push(operatorId)
  }
  return found.sort((a, b) => a - b)
}

/** The operator's record as it holds at `nowSeconds`: an announced key takes over at its time. */
export function operatorAt(
  state: MirrorState,
  operatorId: number,
  nowSeconds: number,
): OperatorRecord | undefined {
  const found = state.operators.get(operatorId)
  const next = found?.nextServerSpkiSha256
  if (found === undefined || next === undefined || nowSeconds < found.spkiChangesAt) return found
  const { account, active, metadataUri, spkiChangesAt } = found
  return { account, active, metadataUri, spkiChangesAt, serverSpkiSha256: next }
}

function changeOf(state: MirrorState, event: ChainEvent): Change | undefined {
  switch (event.type) {
    case 'operator-registered': {
      const { account, serverSpkiSha256, metadataUri } = event
      const value = { account, serverSpkiSha256, metadataUri, spkiChangesAt: 0, active: true }
      return { kind: 'operator', operatorId: event.operatorId, value }
    }
    case 'operator-updated': {
      const known = state.operators.get(event.operatorId)
      if (known === undefined) return undefined
      const { type: _, operatorId, ...updated } = event
      const { account, active } = known
      return { kind: 'operator', operatorId, value: { account, active, ...updated } }
    }
    case 'operator-retired': {
      const known = state.operators.get(event.operatorId)
      if (known === undefined) return undefined
      const value = { ...known, active: false }
      return { kind: 'operator', operatorId: event.operatorId, value }
    }
    case 'device-key-set': {
      const value = event.enabled ? 'enabled' : 'disabled'
      const { account, spkiSha256 } = event
      return { kind: 'device-key', account, spkiSha256, value }
    }
    case 'deposited':
    case 'channel-updated':
    case 'voucher-seen':
    case 'shift-changed':
      return channelChange(state, event)
  }
}

type ChannelEvent = Extract<
  ChainEvent,
  { type: 'deposited' | 'channel-updated' | 'voucher-seen' | 'shift-changed' }
>

function channelChange(state: MirrorState, event: ChannelEvent): Change {
  const { operatorId, account } = event
  const before = state.channels.get(account)?.get(operatorId) ?? NO_CHANNEL
  const change = (value: Channel): Change => ({ kind: 'channel', operatorId, account, value })
  if (event.type === 'deposited') return change({ ...before, deposit: event.deposit })
  if (event.type === 'voucher-seen') return change({ ...before, highestVoucher: event.amount })
  if (event.type === 'shift-changed') return change({ ...before, pendingShift: event.pending })
  const { deposit, reserved, highestVoucher, withdrawn } = event
  return change({ ...before, deposit, reserved, highestVoucher, withdrawn })
}

/** The present value of the entry that `change` names. */
function read(state: MirrorState, change: Change): Change {
  switch (change.kind) {
    case 'channel':
      return { ...change, value: state.channels.get(change.account)?.get(change.operatorId) }
    case 'operator':
      return { ...change, value: state.operators.get(change.operatorId) }
    case 'device-key':
      return { ...change, value: state.deviceKeys.get(change.account)?.get(change.spkiSha256) }
  }
}

function write(state: MirrorState, change: Change): void {
  switch (change.kind) {
    case 'channel':
      put(state.channels, change.account, change.operatorId, change.value)
      break
    case 'operator':
      if (change.value === undefined) state.operators.delete(change.operatorId)
      else state.operators.set(change.operatorId, change.value)
      break
    case 'device-key':
      put(state.deviceKeys, change.account, change.spkiSha256, change.value)
      break
  }
}

/**
 * Sets or removes an entry of an account; an account without entries leaves no empty map behind.
 */
function put<Name, Value>(
  table: Map<Address, Map<Name, Value>>,
  account: Address,
  name: Name,
  value: Value | undefined,
): void {
  const own = table.get(account) ?? new Map<Name, Value>()
  if (value === undefined) own.delete(name)
  else own.set(name, value)
  if (own.size === 0) table.delete(account)
  else table.set(account, own)
}
