// From the voucher journal to what the next block may have: who earned how much since the last one,
// less the operator's commission. Owns that arithmetic and what waits where a block can't carry it.
// Pure. Called by the notary when it builds a block.

import type { MerchantCredit } from '../accounting/storage.ts'
import type { Credits } from '../chain/payplace/build.ts'
import { addEntries, eachEntry, NO_ENTRIES, packEntries } from '../chain/payplace/entries.ts'
import type { Address } from '../ethereum/address.ts'
import type { Waiting } from './block-files.ts'

const MILLION = 1_000_000n

/** What the operator keeps of one credit: rounded down, in base units. */
export function commissionOf(amount: bigint, commissionPpm: number): bigint {
  return (amount * BigInt(commissionPpm)) / MILLION
}

/** Who earns, and what share of it the operator keeps. */
export interface CreditTerms {
  /** Payee 1: earns where no merchant is named, and every commission. */
  readonly operatorAccount: Address
  /** Parts of a million. */
  readonly commissionPpm: number
}

/** What waits, and what was credited after it. */
export function addToWaiting(
  waiting: Waiting,
  credits: readonly MerchantCredit[],
  { operatorAccount, commissionPpm }: CreditTerms,
): Waiting {
  const sums = new Map<Address, Map<Address, bigint>>()
  const add = (merchant: Address, consumer: Address, amount: bigint): void => {
    if (amount === 0n) return
    let ofMerchant = sums.get(merchant)
    if (ofMerchant === undefined) {
      ofMerchant = new Map()
      sums.set(merchant, ofMerchant)
    }
    ofMerchant.set(consumer, (ofMerchant.get(consumer) ?? 0n) + amount)
  }
  for (const { merchant, account, amount } of credits) {
    const fee = merchant === operatorAccount ? 0n : commissionOf(amount, commissionPpm)
    add(merchant, account, amount - fee)
    add(operatorAccount, account, fee)
  }
  const together = new Map(waiting)
  for (const [merchant, amounts] of sums) {
    const more = packEntries([...amounts].map(([consumer, amount]) => ({ consumer, amount })))
    together.set(merchant, addEntries(together.get(merchant) ?? NO_ENTRIES, more))
  }
  return together
}

/** A merchant of the operator, as far as credits go. */
export interface Earner {
  readonly id: number
  readonly account: Address
}

/** What waits for Active merchants, by their ids; how much of it fits is the builder's. */
export function creditsById(waiting: Waiting, merchants: readonly Earner[]): Credits {
  const credits = new Map<number, Buffer>()
  for (const { id, account } of merchants) {
    const entries = waiting.get(account)
    if (entries !== undefined && entries.length > 0) credits.set(id, entries)
  }
  return credits
}

/** What still waits once a block has `given` less what it `heldBack`. */
export function stillWaiting(
  waiting: Waiting,
  merchants: readonly Earner[],
  given: Credits,
  heldBack: Credits,
): Waiting {
  const left = new Map(waiting)
  for (const { id, account } of merchants) {
    if (!given.has(id)) continue
    const rest = heldBack.get(id)
    if (rest === undefined) left.delete(account)
    else left.set(account, rest)
  }
  return left
}

/** A merchant that has left, and what block k has for it that it can't withdraw any more. */
export interface Leaver {
  readonly account: Address
  readonly entries: Buffer
}

/**
 * What was credited to merchants while they were absent stands in blocks they never signed, and is
 * paid by none of their locks. Where one leaves, or is put out, it waits for the account again.
 */
export function withUnpaid(waiting: Waiting, leavers: readonly Leaver[]): Waiting {
  const together = new Map(waiting)
  for (const { account, entries } of leavers) {
    if (entries.length === 0) continue
    together.set(account, addEntries(together.get(account) ?? NO_ENTRIES, entries))
  }
  return together
}

/** The sum of everything that waits. */
export function waitingTotal(waiting: Waiting): bigint {
  let total = 0n
  for (const entries of waiting.values()) {
    for (const { amount } of eachEntry(entries)) total += amount
  }
  return total
}

/** All consumers of some sets of entries, each once. */
export function consumersIn(sets: Iterable<Buffer>): Set<Address> {
  const consumers = new Set<Address>()
  for (const entries of sets) for (const { consumer } of eachEntry(entries)) consumers.add(consumer)
  return consumers
}
