// The Merkle tree over leaf hashes: keccak of sorted pairs, laid out as OpenZeppelin's merkle-tree
// library does it, its MerkleProof.sol verifies the proofs. 64 bytes a leaf, nothing else is kept.
// Pure. Called by the builder, the checker and whoever needs a proof.

import { keccak256 } from '../../ethereum/keccak.ts'
import { LimitError } from './entries.ts'

const HASH = 32
/** 26,000 merchants with all their shards, or a million small ones; 67 MB. */
export const LEAVES_MAX = 2 ** 20

/**
 * A complete binary tree of 2n − 1 nodes in one buffer: node 0 is the root, node i has the children
 * 2i + 1 and 2i + 2, leaf j is node 2n − 2 − j.
 */
export interface Tree {
  readonly leafCount: number
  readonly nodes: Buffer
}

/** Takes leaf hashes (32 bytes, or several joined) as they come and ends in their tree. */
export interface TreeBuilder {
  /** Throws LimitError above LEAVES_MAX leaves. */
  add(hashes: Buffer): void
  /** Throws RangeError where nothing was added. */
  finish(): Tree
}

const FIRST_CAPACITY = 64

/** Collects hashes in one growing buffer; only `finish` hashes. */
export function createTreeBuilder(): TreeBuilder {
  let collected = Buffer.alloc(FIRST_CAPACITY * HASH)
  let end = 0
  return {
    add(hashes) {
      if (end + hashes.length > LEAVES_MAX * HASH) {
        throw new LimitError(`a tree has at most ${LEAVES_MAX} leaves`)
      }
      if (end + hashes.length > collected.length) {
        const larger = Buffer.alloc(Math.max(collected.length * 2, end + hashes.length))
        collected.copy(larger, 0, 0, end)
        collected = larger
      }
      end += hashes.copy(collected, end)
    },
    finish: () => treeOf(collected.subarray(0, end)),
  }
}

/** The tree over joined leaf hashes. Throws RangeError where there are none. */
export function treeOf(hashes: Buffer): Tree {
  const leafCount = hashes.length / HASH
  if (leafCount < 1) throw new RangeError('a tree has at least one leaf')
  const nodes = Buffer.alloc((2 * leafCount - 1) * HASH)
  for (let leaf = 0; leaf < leafCount; leaf++) {
    hashes.copy(nodes, nodeOf(leafCount, leaf) * HASH, leaf * HASH, (leaf + 1) * HASH)
  }
  for (let node = leafCount - 2; node >= 0; node--) hashNode(nodes, node)
  return { leafCount, nodes }
}

const nodeOf = (leafCount: number, leaf: number): number => 2 * leafCount - 2 - leaf

const pair = Buffer.alloc(2 * HASH)

function hashNode(nodes: Buffer, node: number): void {
  const left = (2 * node + 1) * HASH
  // Children lie side by side; only their order by value is not given.
  const inOrder = nodes.compare(nodes, left, left + HASH, left + HASH, left + 2 * HASH) >= 0
  if (inOrder) {
    keccak256(nodes.subarray(left, left + 2 * HASH)).copy(nodes, node * HASH)
    return
  }
  nodes.copy(pair, 0, left + HASH, left + 2 * HASH)
  nodes.copy(pair, HASH, left, left + HASH)
  keccak256(pair).copy(nodes, node * HASH)
}

/** The root, 32 bytes of its own. */
export function rootOf(tree: Tree): Buffer {
  return Buffer.from(tree.nodes.subarray(0, HASH))
}

/** The hash of one leaf; it shares the tree's memory. */
export function hashOfLeaf(tree: Tree, leaf: number): Buffer {
  const at = nodeOf(tree.leafCount, leaf) * HASH
  return tree.nodes.subarray(at, at + HASH)
}

/**
 * The tree with some leaves' hashes replaced (by leaf index): only their ancestors are hashed
 * again. The given tree stays as it is. Throws RangeError on an index outside it.
 */
export function replaceLeaves(tree: Tree, changes: ReadonlyMap<number, Buffer>): Tree {
  const { leafCount } = tree
  const nodes = Buffer.from(tree.nodes)
  let level: number[] = []
  for (const [leaf, hash] of changes) {
    if (!Number.isInteger(leaf) || leaf < 0 || leaf >= leafCount) {
      throw new RangeError(`the tree has no leaf ${leaf}`)
    }
    const node = nodeOf(leafCount, leaf)
    hash.copy(nodes, node * HASH)
    level.push(node)
  }
  // Leaves stand on two neighbouring levels; the deeper ones climb first.
  const deepest = depthOf(2 * leafCount - 2)
  const waiting = level.filter((node) => depthOf(node) < deepest)
  level = level.filter((node) => depthOf(node) === deepest)
  for (let depth = deepest; depth > 0; depth--) {
    const parents = new Set(level.map((node) => (node - 1) >> 1))
    for (const parent of parents) hashNode(nodes, parent)
    level = [...parents]
    if (depth === deepest) level.push(...waiting)
  }
  return { leafCount, nodes }
}

const depthOf = (node: number): number => 31 - Math.clz32(node + 1)

/** The siblings from a leaf up to the root, for MerkleProof.sol. RangeError on a foreign index. */
export function proofOf(tree: Tree, leaf: number): Buffer[] {
  if (!Number.isInteger(leaf) || leaf < 0 || leaf >= tree.leafCount) {
    throw new RangeError(`the tree has no leaf ${leaf}`)
  }
  const proof: Buffer[] = []
  for (let node = nodeOf(tree.leafCount, leaf); node > 0; node = (node - 1) >> 1) {
    const sibling = (node % 2 === 1 ? node + 1 : node - 1) * HASH
    proof.push(Buffer.from(tree.nodes.subarray(sibling, sibling + HASH)))
  }
  return proof
}

/** Whether the proof leads from the leaf's hash to the root, as MerkleProof.sol computes it. */
export function isProven(root: Buffer, hash: Buffer, proof: readonly Buffer[]): boolean {
  const reached = proof.reduce((node, sibling) => {
    const ordered = Buffer.compare(node, sibling) <= 0 ? [node, sibling] : [sibling, node]
    return keccak256(Buffer.concat(ordered))
  }, hash)
  return reached.equals(root)
}
