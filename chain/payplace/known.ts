// What builder and checker know of a block: its tree, where each merchant's leaves stand, what each
// consumer owes in it; and how the next block's index comes of it with only changed leaves hashed.
// Owns the rule what no later block may take away again. Pure. Called by build.ts and check.ts.

import { maxEntries, NO_ENTRIES, subtractEntries } from './entries.ts'
import { type Leaf, leafHash, leafHashes, type MerchantEntries, shardCountOf } from './leaf.ts'
import { createTotals, type Totals } from './totals.ts'
import { createTreeBuilder, hashOfLeaf, replaceLeaves, rootOf, type Tree } from './tree.ts'

/** Leaves of one merchant: the first one's index in the tree, and how many. */
export interface LeafPlace {
  readonly first: number
  readonly count: number
}

/** All of a block but the entries themselves; some 100 bytes a leaf and 60 a consumer. */
export interface BlockIndex {
  /** 32 bytes. */
  readonly root: Buffer
  readonly tree: Tree
  /** By merchant id, ascending. */
  readonly places: ReadonlyMap<number, LeafPlace>
  readonly totals: Totals
}

/** A block whose entries can be had merchant by merchant, from memory or from a store. */
export interface KnownBlock extends BlockIndex {
  /**
   * Packed entries, the same that the index was made of (indexBlock checks what others send);
   * undefined where the block has no leaf of the merchant.
   */
  entriesOf(id: number): Buffer | undefined
}

/** A live lock of one shard, with the hash that the contract holds of it. */
export interface LockFact {
  readonly leaf: Leaf
  /** 32 bytes. */
  readonly lockHash: Buffer
}

/** One Active merchant as the contract has it at the snapshot. */
export interface MerchantFacts {
  readonly id: number
  /** Live locks, of missing and present merchants alike. */
  readonly locks: readonly LockFact[]
  /**
   * Entries of the leaves or locks with which she was paid since block k was notarized, whole also
   * where a payment was capped (D29: the rest is lost); empty where none.
   */
  readonly withdrawn: Buffer
}

/** The entries of all live locks; undefined where one does not match the contract's hash. */
export function lockedEntries(operator: number, facts: MerchantFacts): Buffer | undefined {
  const parts = facts.locks.map(({ leaf, lockHash }) => {
    const named = leaf.id === facts.id && leafHash(operator, leaf).equals(lockHash)
    return named ? leaf.entries : undefined
  })
  return parts.reduce<Buffer | undefined>(
    (all, part) => (all === undefined || part === undefined ? undefined : maxEntries(all, part)),
    NO_ENTRIES,
  )
}

/**
 * The least that the next block must have for a merchant: what block k has and was not paid since
 * (D7, D14), and what is locked (4.6: stale locks as well). The fixed Alg. 5 starts from it: so a
 * merchant who withdraws her old lock keeps what later blocks added to it.
 */
export function floorOf(previous: Buffer, withdrawn: Buffer, locked: Buffer): Buffer {
  return maxEntries(subtractEntries(previous, withdrawn), locked)
}

/** Takes the merchants of a new block in ascending order and ends in its index. */
export interface Assembly {
  /** A merchant whose leaves are those of the previous block; its totals stay. */
  keep(id: number): void
  /** A merchant with other entries; `before` is what the previous block has, empty if nothing. */
  change(merchant: MerchantEntries, before: Buffer): void
  /** A merchant of the previous block who is not in the new one. */
  drop(before: Buffer): void
  finish(): BlockIndex
}

/** Above this share of changed leaves hashing the whole tree is as cheap as replacing. */
const REPLACE_SHARE = 8

/** Begins the index of the block after `previous`, which stays as it is. */
export function assemble(
  operator: number,
  previous: BlockIndex | undefined,
  seed: number,
): Assembly {
  const builder = createTreeBuilder()
  const places = new Map<number, LeafPlace>()
  const changes = new Map<number, Buffer>()
  const totals = previous?.totals.copy() ?? createTotals(seed)
  let end = 0
  let inPlace = true
  const place = (id: number, count: number): void => {
    const old = previous?.places.get(id)
    if (old?.first !== end || old.count !== count) inPlace = false
    places.set(id, { first: end, count })
    end += count
  }
  return {
    keep(id) {
      const old = previous?.places.get(id)
      if (previous === undefined || old === undefined) {
        throw new RangeError(`merchant ${id} has no leaf to keep`)
      }
      for (let i = 0; i < old.count; i++) builder.add(hashOfLeaf(previous.tree, old.first + i))
      place(id, old.count)
    },
    change(merchant, before) {
      const hashes = leafHashes(operator, merchant)
      const count = shardCountOf(merchant.entries.length)
      for (let i = 0; i < count; i++) changes.set(end + i, hashes.subarray(i * 32, (i + 1) * 32))
      builder.add(hashes)
      place(merchant.id, count)
      totals.subtract(before)
      totals.add(merchant.entries)
    },
    drop(before) {
      inPlace = false
      totals.subtract(before)
    },
    finish() {
      const sameShape = inPlace && previous?.tree.leafCount === end
      const few = changes.size * REPLACE_SHARE < end
      const tree =
        sameShape && few && previous !== undefined
          ? replaceLeaves(previous.tree, changes)
          : builder.finish()
      return { root: rootOf(tree), tree, places, totals }
    },
  }
}

/** The index of a block from all its entries, merchants in ascending order. */
export function indexBlock(
  operator: number,
  merchants: Iterable<MerchantEntries>,
  seed: number,
): BlockIndex {
  const assembly = assemble(operator, undefined, seed)
  for (const merchant of merchants) assembly.change(merchant, NO_ENTRIES)
  return assembly.finish()
}
