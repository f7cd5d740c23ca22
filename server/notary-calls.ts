// The contract's functions as the notary calls them: locks and their end, a block, a challenge.
// Encodes only; what is called when is decided elsewhere. Called by the notary's parts.

import { datanetInterface } from '../chain/bindings.ts'
import type { BlockHeader } from '../chain/payplace/block.ts'
import { eachEntry, NO_ENTRIES, WORD } from '../chain/payplace/entries.ts'
import { type Leaf, leavesOf } from '../chain/payplace/leaf.ts'
import type { Source } from '../chain/payplace/proposal.ts'
import { proofOf } from '../chain/payplace/tree.ts'
import {
  hex,
  type LeafPayment,
  leafArgument,
  leafGas,
  unlockData,
  voucherArgument,
  withdrawData,
} from '../chain/payplace-calls.ts'
import type { MerchantRecord } from '../chain/payplace-state.ts'
import { limitedGas } from '../chain/transactions.ts'
import { type Address, checksumAddress } from '../ethereum/address.ts'
import type { StoredBlock } from './block-files.ts'
import type { SignerPlan } from './notary-plan.ts'

/** One call of the contract, and how many entries and vouchers it carries. */
export interface EncodedCall {
  readonly data: string
  readonly weight: number
}

/**
 * Entries and vouchers in one transaction: some 25,000 gas each, so 10 of the 16.7 million that
 * EIP-7825 allows. A single leaf may have more and stands alone.
 */
const BATCH_WEIGHT_MAX = 400
/** Where the way to the chain bounds calls, it takes larger ones as multicall. */
const ALONE_WEIGHT_MAX = 20
/** What a call costs beside its entries, in the same units. */
const CALL_WEIGHT = 5
/** A notarization takes 200,000; 20,000 for each merchant that is named, and some to spare. */
const NOTARIZE_GAS = 500_000n
const NAMED_GAS = 40_000n

/** A leaf with its proof, and the vouchers that raise what the contract has seen. */
function paymentOf(
  block: StoredBlock,
  id: number,
  shard: number,
  vouchersFor: (consumer: Address) => Source | undefined,
): LeafPayment {
  const leaf = leavesOf({ id, entries: block.entriesOf(id) ?? Buffer.alloc(0) })[shard]
  const place = block.places.get(id)
  if (leaf === undefined || place === undefined) {
    throw new RangeError(`block ${block.header.k} has no leaf ${shard} of merchant ${id}`)
  }
  const vouchers = [...eachEntry(leaf.entries)]
    .map(({ consumer }) => vouchersFor(consumer))
    .filter((source) => source !== undefined)
  return { leaf, vouchers, proof: proofOf(block.tree, place.first + shard) }
}

/** What locks one leaf of a block. */
export function lockCall(
  block: StoredBlock,
  id: number,
  shard: number,
  vouchersFor: (consumer: Address) => Source | undefined,
): EncodedCall {
  const { leaf, proof, vouchers } = paymentOf(block, id, shard, vouchersFor)
  const shown = vouchers.map(voucherArgument)
  const args = [leafArgument(block.header.operator, leaf), proof.map(hex), shown]
  return {
    data: datanetInterface.encodeFunctionData('lock', args),
    weight: CALL_WEIGHT + leaf.entries.length / WORD + vouchers.length,
  }
}

/** What drops an old lock. */
export function unlockCall(operator: number, leaf: Leaf): EncodedCall {
  return {
    data: unlockData(operator, leaf),
    weight: CALL_WEIGHT + leaf.entries.length / WORD,
  }
}

/** The calls in as few transactions as their gas allows, in their order. */
export function batches(calls: readonly EncodedCall[]): string[] {
  const groups: EncodedCall[][] = []
  let weight = Number.POSITIVE_INFINITY
  for (const call of calls) {
    if (weight + call.weight > BATCH_WEIGHT_MAX) {
      groups.push([])
      weight = 0
    }
    groups.at(-1)?.push(call)
    weight += call.weight
  }
  return groups.map((group) => {
    const [only] = group
    if (group.length === 1 && only !== undefined && only.weight <= ALONE_WEIGHT_MAX) {
      return only.data
    }
    return datanetInterface.encodeFunctionData('multicall', [group.map(({ data }) => data)])
  })
}

/** What notarizes a block that everybody but the missing has signed, with its gas. */
export function notarizeCall(
  { operator, root, tau }: BlockHeader,
  { newlyMissing, returning }: Pick<SignerPlan, 'newlyMissing' | 'returning'>,
  signature: Buffer,
): { readonly data: string; readonly gas: bigint } {
  const ids = (list: SignerPlan['newlyMissing']): number[] => list.map(({ id }) => id)
  const named = [...newlyMissing, ...returning]
  const keys = Buffer.concat(named.map(({ blsKey }) => blsKey))
  const args = [operator, hex(root), tau, ids(newlyMissing), ids(returning), hex(keys)]
  return {
    data: datanetInterface.encodeFunctionData('notarize', [...args, hex(signature)]),
    gas: NOTARIZE_GAS + NAMED_GAS * BigInt(named.length),
  }
}

/** What pays the operator one of its own leaves. */
export function withdrawCall(
  block: StoredBlock,
  shard: number,
  to: Address,
  vouchersFor: (consumer: Address) => Source | undefined,
): { readonly data: string; readonly gas: bigint } {
  const payment = paymentOf(block, 1, shard, vouchersFor)
  return {
    data: withdrawData(block.header.operator, payment, to),
    gas: limitedGas(leafGas(payment.leaf)),
  }
}

/**
 * What puts a merchant out, one call for each of its locks; the last one ends its membership. Gas
 * as for a withdrawal: the same storage is written, a credit instead of a transfer.
 */
export function expelCalls(
  operator: number,
  { id, account, locks }: Pick<MerchantRecord, 'id' | 'account' | 'locks'>,
): { readonly data: string; readonly gas: bigint }[] {
  const none: Leaf = { id, shard: 0, shardCount: 1, entries: NO_ENTRIES }
  const leaves = locks.length === 0 ? [none] : locks.map(({ leaf }) => leaf)
  return leaves.map((leaf) => {
    const args = [leafArgument(operator, leaf), checksumAddress(account)]
    return {
      data: datanetInterface.encodeFunctionData('forceExit', args),
      gas: limitedGas(leafGas(leaf)),
    }
  })
}
