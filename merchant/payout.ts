// Which leaves a merchant is paid from, and in which steps: the lock that holds her last
// signature, or the last block. Pure: the contract's facts and her own store's content in, calls
// out. Called by withdraw.ts and by the status verb.

import { amountOf, consumerAt, NO_ENTRIES, totalOf, WORD } from '../chain/payplace/entries.ts'
import { type Leaf, leavesOf } from '../chain/payplace/leaf.ts'
import type { Source } from '../chain/payplace/proposal.ts'
import type { ChannelFacts } from '../chain/payplace-facts.ts'
import type { LockRecord, MerchantRecord } from '../chain/payplace-state.ts'
import type { Address } from '../ethereum/address.ts'
import type { PayoutStep } from './contract.ts'
import type { OwnPart } from './store.ts'

/** What decides over a payment. */
export interface PayoutFacts {
  readonly record: MerchantRecord
  /** The last notarized block's number. */
  readonly k: number
  /** Her part of that block; undefined where she has not got it. */
  readonly own: OwnPart | undefined
  channel(consumer: Address): ChannelFacts
  voucher(consumer: Address): Source | undefined
}

/** What is due, and the transactions that fetch it, each with its steps. */
export interface Payout {
  /** Base units, by what the block or the locks say. */
  readonly due: bigint
  readonly transactions: readonly (readonly PayoutStep[])[]
  /** A block owes her, but her part of it is not at hand. */
  readonly isMissingProof: boolean
  /**
   * Consumers of whom neither the contract nor the store has a voucher that covers the entry. To
   * withdraw all the same gives up what is missing, for good (D29).
   */
  readonly uncovered: readonly Address[]
}

export const NO_PAYOUT: Payout = {
  ...{ due: 0n, transactions: [], isMissingProof: false, uncovered: [] },
}

/** How to be paid now; nothing where there is nothing. */
export function planPayout(facts: PayoutFacts): Payout {
  const { record, own } = facts
  if (record.status === 'exited') return NO_PAYOUT
  const paying = record.locks.filter((lock) => isPaying(facts, lock))
  const stale = record.locks.filter((lock) => !paying.includes(lock))
  const fromLocks = paying.filter(({ leaf }) => leaf.entries.length > 0).map(lockStep)
  const fromBlock = isPaidByBlock(facts) ? blockSteps(facts) : []
  const steps = [...fromLocks, ...fromBlock]
  const due = steps.reduce(
    (sum, step) => sum + (step.step === 'withdraw' ? totalOf(step.leaf.entries) : 0n),
    0n,
  )
  // A lock of an older block keeps the contract from paying the newer leaf, which contains it.
  const unlocks = fromBlock.length === 0 ? [] : stale.map(unlockStep)
  const isMissingProof = isPaidByBlock(facts) && own === undefined
  const transactions = grouped([...unlocks, ...steps])
  const uncovered = fromBlock.flatMap((step) =>
    step.step === 'withdraw' ? uncoveredOf(facts, step.leaf) : [],
  )
  return { due, transactions, isMissingProof, uncovered }
}

const isSettled = ({ record, k }: PayoutFacts, shard: number): boolean =>
  record.settled.k === k && record.settled.shards.includes(shard)

/** Whether the contract pays from this lock: else it is of an older block, and in the way. */
const isPaying = (facts: PayoutFacts, { leaf }: LockRecord): boolean =>
  facts.record.missingSince !== undefined || isSettled(facts, leaf.shard)

/** Who is missing is owed exactly her locks; who joined after the last block, nothing yet. */
const isPaidByBlock = ({ record, k }: PayoutFacts): boolean =>
  record.missingSince === undefined && record.joinedAt <= k

/** So many consumers go into one transaction: a leaf of twice that just fits (64 KB, gas). */
const ENTRIES_TOGETHER_MAX = 200

/** The steps in their order, small ones together. */
function grouped(steps: readonly PayoutStep[]): PayoutStep[][] {
  const groups: PayoutStep[][] = []
  let room = 0
  for (const step of steps) {
    // The exit is cheap, and must not be mined without the withdrawal before it.
    const entries = step.step === 'exit' ? 0 : step.leaf.entries.length / WORD
    const group = groups.at(-1)
    if (group === undefined || entries > room) {
      groups.push([step])
      room = Math.max(0, ENTRIES_TOGETHER_MAX - entries)
    } else {
      group.push(step)
      room -= entries
    }
  }
  return groups
}

const lockStep = ({ leaf }: LockRecord): PayoutStep => {
  return { step: 'withdraw', leaf, proof: [], vouchers: [] }
}
const unlockStep = ({ leaf }: LockRecord): PayoutStep => ({ step: 'unlock', leaf })

const withdrawStep = (facts: PayoutFacts, leaf: Leaf): PayoutStep => {
  const proof = facts.own?.proofs[leaf.shard] ?? []
  return { step: 'withdraw', leaf, proof, vouchers: usableVouchers(facts, leaf) }
}

function blockSteps(facts: PayoutFacts): PayoutStep[] {
  const { record, own } = facts
  return leavesOf({ id: record.id, entries: own?.entries ?? NO_ENTRIES })
    .filter(({ shard, entries }) => entries.length > 0 && !isSettled(facts, shard))
    .map((leaf) => withdrawStep(facts, leaf))
}

/** The voucher that may be handed in: higher than what was seen, within the deposit. */
function usable({ channel, voucher }: PayoutFacts, consumer: Address): Source | undefined {
  const { deposit, highestVoucher } = channel(consumer)
  const best = voucher(consumer)
  const isUsable = best !== undefined && best.amount > highestVoucher && best.amount <= deposit
  return isUsable ? best : undefined
}

/** Whether vouchers up to `seen` pay an entry in full; a stale lock of hers is dropped first. */
function isCovered(facts: PayoutFacts, leaf: Leaf, consumer: Address, seen: bigint): boolean {
  const { reserved, withdrawn } = facts.channel(consumer)
  const own = facts.record.locks.reduce(
    (sum, lock) => sum + amountOf(lock.leaf.entries, consumer),
    0n,
  )
  return seen - withdrawn - (reserved - own) >= amountOf(leaf.entries, consumer)
}

/**
 * Every voucher that may be handed in, needed by now or not: other merchants are paid from the same
 * consumers in the same window, and what was covered before them is not covered after (D29).
 */
function usableVouchers(facts: PayoutFacts, leaf: Leaf): Source[] {
  return consumersOf(leaf).flatMap((consumer) => usable(facts, consumer) ?? [])
}

function uncoveredOf(facts: PayoutFacts, leaf: Leaf): Address[] {
  return consumersOf(leaf).filter((consumer) => {
    const seen = usable(facts, consumer)?.amount ?? facts.channel(consumer).highestVoucher
    return !isCovered(facts, leaf, consumer, seen)
  })
}

function consumersOf({ entries }: Leaf): Address[] {
  return Array.from({ length: entries.length / WORD }, (_, i) => consumerAt(entries, i * WORD))
}

/**
 * Leaving: everything that is due first, the exit at the end. A leaf of the last block goes with
 * it even where it is empty: after a newer block the contract refuses both, so a transaction that
 * is mined late does not give up what that block owes.
 */
export function planExit(facts: PayoutFacts): Payout {
  const { record, own } = facts
  if (record.status === 'exited') return NO_PAYOUT
  const payout = planPayout(facts)
  const exit: PayoutStep = { step: 'exit', id: record.id, blsKey: record.blsKey }
  const paid = payout.transactions.flat()
  // The contract keeps whoever has a lock left: empty locks go first.
  const left = record.locks
    .filter(({ leaf }) => !paid.some((step) => step.step !== 'exit' && step.leaf === leaf))
    .map((lock) => (isPaying(facts, lock) ? lockStep(lock) : unlockStep(lock)))
  const isUnsettled = isPaidByBlock(facts) && !isSettled(facts, 0)
  const empty =
    isUnsettled && own?.entries.length === 0
      ? leavesOf({ id: record.id, entries: own.entries })
      : []
  const last = empty.map((leaf) => withdrawStep(facts, leaf))
  return { ...payout, transactions: grouped([...left, ...paid, ...last, exit]) }
}
