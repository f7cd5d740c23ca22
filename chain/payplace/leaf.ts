// A merchant's leaves: its packed entries cut into shards, and the hash that the contract computes
// of each (Types.sol, LEAF_TYPEHASH). One content has exactly one set of leaves (D10), so messages
// carry merchants, not leaves. Pure. Called by builder, checker, codec and whoever withdraws.

import { keccak256 } from '../../ethereum/keccak.ts'
import { WORD } from './entries.ts'

/** Entries of one leaf; a lock of so many must fit one transaction (EIP-7825, 2^24 gas). */
export const MAX_ENTRIES = 400
/** Every shard but a merchant's last has exactly these. */
const SHARD_BYTES = MAX_ENTRIES * WORD
/** The bits that the contract has for a merchant's shards (Leaves.sol); 16,000 consumers. */
export const SHARDS_MAX = 40
/** Bytes of the largest set of entries. */
export const ENTRIES_BYTES_MAX = SHARDS_MAX * SHARD_BYTES

/** One leaf of a block. */
export interface Leaf {
  /** Merchant id, uint32, 1 is the operator. */
  readonly id: number
  /** 0 … shardCount − 1. */
  readonly shard: number
  readonly shardCount: number
  /** Packed entries. */
  readonly entries: Buffer
}

/** All that one merchant has in a block. */
export interface MerchantEntries {
  readonly id: number
  readonly entries: Buffer
}

/** Leaves that a set of entries of this many bytes takes; nothing due is one empty leaf. */
export function shardCountOf(entriesBytes: number): number {
  return Math.max(1, Math.ceil(entriesBytes / SHARD_BYTES))
}

/** The part of the entries that stands in this shard; it shares their memory. */
export function shardEntries(entries: Buffer, shard: number): Buffer {
  return entries.subarray(shard * SHARD_BYTES, (shard + 1) * SHARD_BYTES)
}

/** The leaves of one merchant, each full but the last. Throws RangeError above SHARDS_MAX. */
export function leavesOf({ id, entries }: MerchantEntries): Leaf[] {
  const shardCount = shardCountOf(entries.length)
  if (shardCount > SHARDS_MAX) throw new RangeError(`merchant ${id} has ${shardCount} leaves`)
  return Array.from({ length: shardCount }, (_, shard) => {
    return { id, shard, shardCount, entries: shardEntries(entries, shard) }
  })
}

const LEAF_TYPE = keccak256(
  Buffer.from(
    'Leaf(uint32 operator,uint32 merchant,uint16 shard,uint16 shardCount,bytes32 entriesHash)',
    'ascii',
  ),
)
// Leaves are hashed by the ten thousand: their words are written into one buffer that stays.
// Nothing is awaited between writing and hashing.
const words = Buffer.alloc(6 * WORD)
LEAF_TYPE.copy(words)

/**
 * The 32 bytes that stand in the tree: keccak(keccak(abi.encode(type, operator, id, shard,
 * shardCount, keccak(entries)))). Hashed twice, so that no inner node passes for a leaf.
 */
export function leafHash(operator: number, leaf: Leaf): Buffer {
  words.writeUInt32BE(operator, 2 * WORD - 4)
  words.writeUInt32BE(leaf.id, 3 * WORD - 4)
  words.writeUInt16BE(leaf.shard, 4 * WORD - 2)
  words.writeUInt16BE(leaf.shardCount, 5 * WORD - 2)
  keccak256(leaf.entries).copy(words, 5 * WORD)
  return keccak256(keccak256(words))
}

/** The hashes of all leaves of one merchant, 32 bytes each, one after the other. */
export function leafHashes(operator: number, merchant: MerchantEntries): Buffer {
  const [first, ...others] = leavesOf(merchant)
  if (first === undefined) return Buffer.alloc(0)
  const hash = leafHash(operator, first)
  if (others.length === 0) return hash
  return Buffer.concat([hash, ...others.map((leaf) => leafHash(operator, leaf))])
}
