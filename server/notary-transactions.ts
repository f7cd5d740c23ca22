// What the notary sends to the contract: locks and a block, the end of old locks, challenges of
// shifts. Owns their order and what is sent once only; that it is time for them is notary.ts.
// Called by it.

import { NO_ENTRIES, totalOf } from '../chain/payplace/entries.ts'
import { type Leaf, leavesOf } from '../chain/payplace/leaf.ts'
import { challengeData } from '../chain/payplace-calls.ts'
import type { PayplaceFacts } from '../chain/payplace-facts.ts'
import type { MerchantRecord } from '../chain/payplace-state.ts'
import type { Address } from '../ethereum/address.ts'
import type { DraftBlock, NotaryBlocks } from './notary-blocks.ts'
import type { BlsThread } from './notary-bls.ts'
import {
  batches,
  expelCalls,
  lockCall,
  notarizeCall,
  unlockCall,
  withdrawCall,
} from './notary-calls.ts'
import type { NotaryChain } from './notary-chain.ts'
import { consumersIn } from './notary-credits.ts'
import { oldLocks, planSigners } from './notary-plan.ts'
import type { VoucherBook } from './notary-vouchers.ts'

/** Parts they need. */
export interface NotaryTransactions {
  readonly chain: NotaryChain
  readonly blocks: Pick<NotaryBlocks, 'previous'>
  readonly vouchers: VoucherBook
  readonly bls: BlsThread
  readonly operator: number
}

/** How a block was finished. */
export interface Finished {
  readonly signers: number
  readonly newlyMissing: readonly number[]
  readonly returning: readonly number[]
  /** Who answered with something else than a signature of this block. */
  readonly culprits: readonly number[]
  readonly locked: number
}

/**
 * Adds up the answers, locks what the last block owes to who is newly missing, and notarizes.
 * What was locked before (by a process that was ended) is not locked again. Throws ChainError.
 */
export async function finishBlock(
  deps: NotaryTransactions,
  draft: DraftBlock,
  facts: PayplaceFacts,
  deadlineMs: number,
): Promise<Finished> {
  const { chain, blocks, operator } = deps
  const previous = blocks.previous()
  const collected = await deps.bls.collect(draft.digest, draft.answers.list())
  const { signers, signature, culprits } = collected
  if (signature === undefined) throw new Error('not even our own signature verifies')
  const shardCount = (id: number): number => previous?.places.get(id)?.count ?? 0
  const { k } = facts.block()
  const plan = planSigners(facts.merchants(), new Set(signers), k, shardCount)
  const locks = plan.locks.map(({ merchant, shard }) => {
    if (previous === undefined) throw new Error('there is no block to lock leaves of')
    return lockCall(previous, merchant.id, shard, (consumer) => unseen(deps, facts, consumer))
  })
  const unlocks = plan.unlocks.map(({ leaf }) => unlockCall(operator, leaf))
  for (const data of batches([...unlocks, ...locks])) {
    await chain.send({ data, what: 'lock', deadlineMs })
  }
  const notarize = notarizeCall(draft.block.header, plan, Buffer.from(signature))
  await chain.send({ ...notarize, what: 'notarize', deadlineMs })
  await chain.settled()
  const idsOf = (list: readonly { readonly id: number }[]) => list.map(({ id }) => id)
  return {
    ...{ signers: signers.length, culprits, locked: locks.length },
    ...{ newlyMissing: idsOf(plan.newlyMissing), returning: idsOf(plan.returning) },
  }
}

/** The voucher of a consumer where the contract has seen less. */
function unseen({ vouchers }: NotaryTransactions, facts: PayplaceFacts, consumer: Address) {
  const best = vouchers.best(consumer)
  return best !== undefined && best.amount > facts.channel(consumer).highestVoucher
    ? best
    : undefined
}

/** Drops locks of older blocks of merchants that have signed since; how many. Throws ChainError. */
export async function dropOldLocks(
  { chain, operator }: NotaryTransactions,
  facts: PayplaceFacts,
  deadlineMs: number,
): Promise<number> {
  const { k } = facts.block()
  const old = facts.merchants().flatMap((merchant) => oldLocks(merchant, k))
  for (const data of batches(old.map(({ leaf }) => unlockCall(operator, leaf)))) {
    await chain.send({ data, what: 'unlock', deadlineMs })
  }
  if (old.length > 0) await chain.settled()
  return old.length
}

/** What block k owes the operator itself (merchant 1) and was not withdrawn, in leaves. */
export function ownLeaves(
  { blocks }: Pick<NotaryTransactions, 'blocks'>,
  facts: PayplaceFacts,
): Leaf[] {
  const entries = blocks.previous()?.entriesOf(1) ?? NO_ENTRIES
  const { k } = facts.block()
  const { settled } = facts.merchant(1) ?? {}
  return leavesOf({ id: 1, entries }).filter(({ shard, entries }) => {
    const isPaid = settled?.k === k && settled.shards.includes(shard)
    return entries.length > 0 && !isPaid
  })
}

/** Pays the operator what is its own, to its own account; the sum. Throws ChainError. */
export async function withdrawOwn(
  deps: NotaryTransactions,
  facts: PayplaceFacts,
  deadlineMs: number,
): Promise<bigint> {
  const { chain, blocks } = deps
  const previous = blocks.previous()
  const to = facts.operator()?.account
  if (previous === undefined || to === undefined) return 0n
  let total = 0n
  const leaves = ownLeaves(deps, facts)
  await deps.vouchers.load(consumersIn(leaves.map(({ entries }) => entries)))
  for (const { shard, entries } of leaves) {
    const vouchersFor = (consumer: Address) => unseen(deps, facts, consumer)
    const call = withdrawCall(previous, shard, to, vouchersFor)
    await chain.send({ ...call, what: 'withdraw', deadlineMs })
    total += totalOf(entries)
  }
  await chain.settled()
  return total
}

/**
 * Puts a merchant out; what of its locks became credit of its account. Calls that were sent before
 * a failure stand, and the rest is sent the next time. Throws ChainError.
 */
export async function expel(
  { chain, operator }: Pick<NotaryTransactions, 'chain' | 'operator'>,
  merchant: MerchantRecord,
  deadlineMs: number,
): Promise<bigint> {
  for (const call of expelCalls(operator, merchant)) {
    await chain.send({ ...call, what: 'forceExit', deadlineMs })
  }
  return merchant.locks.reduce((sum, { leaf }) => sum + totalOf(leaf.entries), 0n)
}

/** One consumer's shift and when a challenge that failed may be tried again. */
export type Challenges = Map<Address, number>

/** A challenge that was refused (somebody else was faster) is not repeated for so long. */
const RETRY_MS = 30_000

/**
 * Challenges every pending shift that would move away what a voucher has spent; the consumers.
 * `failed` is told what could not be sent.
 */
export async function challengeShifts(
  { chain, vouchers, operator }: NotaryTransactions,
  facts: PayplaceFacts,
  attempts: Challenges,
  o: {
    readonly nowMs: number
    readonly deadlineMs: number
    readonly failed: (consumer: Address, error: unknown) => void
  },
): Promise<Address[]> {
  const pending = facts.shifts()
  for (const consumer of attempts.keys()) {
    if (!pending.some((shift) => shift.consumer === consumer)) attempts.delete(consumer)
  }
  const done: Address[] = []
  for (const { consumer, amount } of pending) {
    if ((attempts.get(consumer) ?? 0) > o.nowMs) continue
    // A payment of this minute counts: it may be all that makes the challenge right.
    vouchers.outdate([consumer])
    await vouchers.load([consumer])
    const best = vouchers.best(consumer)
    const { deposit } = facts.channel(consumer)
    if (best === undefined || best.amount > deposit || amount <= deposit - best.amount) continue
    attempts.set(consumer, o.nowMs + RETRY_MS)
    const data = challengeData(operator, best)
    try {
      await chain.send({ data, what: 'challengeShift', deadlineMs: o.deadlineMs })
      done.push(consumer)
    } catch (error) {
      o.failed(consumer, error)
    }
  }
  if (done.length > 0) await chain.settled()
  return done
}
