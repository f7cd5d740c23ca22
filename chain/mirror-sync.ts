// Brings a MirrorState to the head of the chain over JSON-RPC: finds the fork point after a reorg,
// takes steps back, fetches blocks and logs forward. No timers, no retries (mirror.ts); believes no
// log whose block it has not seen linked to the block before it.

import type { Address } from '../ethereum/address.ts'
import { type ChainEvent, decodeEvent } from './bindings.ts'
import { ChainError } from './error.ts'
import { numberOf, quantity, type Rpc } from './jsonrpc.ts'
import {
  applyStep,
  type BlockRef,
  type Change,
  hashAt,
  type MirrorState,
  undoStep,
} from './mirror-state.ts'

/** Which chain is mirrored, and how. */
export interface SyncSource {
  readonly rpc: Pick<Rpc, 'request' | 'batch'>
  readonly contract: Address
  readonly deployBlock: number
  /** 1: a block counts as soon as it is the head. */
  readonly confirmations: number
  /** No block above this is looked at (embedded chain: the durable one). */
  readonly visibleBlock: () => number
  /** Called after every advance, with reorgs already made good. */
  readonly onChanges: (changes: readonly Change[]) => void
  /** The node answered what its head is. */
  readonly onHead: () => void
}

/**
 * at-head: nothing is missing. behind: the node's head is an older block of ours (one of several
 * nodes behind one url, or a rollback). lost: none of our blocks is on the chain any more, rebuild.
 */
export type SyncOutcome = 'at-head' | 'behind' | 'lost'

interface Header extends BlockRef {
  readonly parentHash: string
}

/** The most blocks one eth_getLogs covers: public nodes refuse more. */
const RANGE_BLOCKS_MAX = 2_000
const RANGE_BLOCKS_MIN = 16
/** The newest blocks are taken one by one, so that a reorg takes back no more than it must. */
const DETAIL_BLOCKS = 64
/** Blocks per batch: public nodes take 20 calls. */
const BATCH_BLOCKS = 16
/** Reorgs during one sync; a chain that changes faster than we read it is left to the next run. */
const FORKS_MAX = 5
const TIMEOUT_MS = 5_000

/** One catching up. `rollBack` takes a node at its word whose head is an older block of ours. */
export async function syncMirror(
  state: MirrorState,
  source: SyncSource,
  rollBack: boolean,
): Promise<SyncOutcome> {
  for (let forks = 0; forks < FORKS_MAX; forks++) {
    const latest = await header(source, 'latest')
    source.onHead()
    if (isBehind(state, latest, rollBack)) return 'behind'
    const fork = await findFork(state, source, latest)
    if (fork === undefined) return 'lost'
    const target = Math.min(latest.number - (source.confirmations - 1), source.visibleBlock())
    if (await follow(state, source, fork, target)) return 'at-head'
  }
  throw new ChainError('node-behind', 'the chain changed faster than it could be read')
}

/** The node's head is a block of ours, or so low that nothing of ours can be compared with it. */
function isBehind(state: MirrorState, latest: Header, rollBack: boolean): boolean {
  if (state.head === undefined || state.head.number <= latest.number) return false
  const ours = hashAt(state, latest.number)
  // A mirror fresh from its store has no steps to compare; it can only be read anew.
  if (ours === undefined) return !(rollBack && state.steps.length === 0)
  return ours === latest.hash && !rollBack
}

/**
 * Where our blocks and the chain that ends in `latest` part; undefined when they have none in
 * common.
 */
interface Fork {
  /** How many of our steps are not on the chain. */
  readonly undo: number
  /** The last block of ours that is; undefined before the first. */
  readonly block: BlockRef | undefined
}

async function findFork(
  state: MirrorState,
  source: SyncSource,
  latest: Header,
): Promise<Fork | undefined> {
  let block = state.head
  for (let undo = 0; ; undo++) {
    if (block === undefined || (await isOnChain(source, block, latest))) return { undo, block }
    const step = state.steps.at(-1 - undo)
    if (step === undefined) return undefined
    block = step.before
  }
}

async function isOnChain(source: SyncSource, block: BlockRef, latest: Header): Promise<boolean> {
  if (block.number >= latest.number) {
    return block.number === latest.number && block.hash === latest.hash
  }
  if (block.number === latest.number - 1) return block.hash === latest.parentHash
  return (await header(source, block.number)).hash === block.hash
}

/** A block, or the last of a range, and what happened up to it. */
interface Fetched {
  readonly block: BlockRef
  readonly events: readonly ChainEvent[]
}

/**
 * From the fork to `target`; false when the chain changed meanwhile. Blocks are taken back only
 * together with applying those that replace them: a deposit that is on both branches is never seen
 * to vanish.
 */
async function follow(
  state: MirrorState,
  source: SyncSource,
  fork: Fork,
  target: number,
): Promise<boolean> {
  let undo = fork.undo
  let position = fork.block
  let held: Fetched[] = []
  const commit = (): void => {
    const changes: Change[] = []
    for (; undo > 0; undo--) changes.push(...(undoStep(state) ?? []))
    for (const { block, events } of held) changes.push(...applyStep(state, block, events))
    held = []
    source.onChanges(changes)
  }
  for (;;) {
    const from = position === undefined ? source.deployBlock : position.number + 1
    if (from > target) break
    const fetched = await forward(source, position, from, target)
    if (fetched === undefined) return false
    held.push(...fetched)
    position = held.at(-1)?.block
    if (undo === 0) commit()
  }
  if (undo > 0) commit()
  return true
}

/**
 * Some blocks after `position`; undefined when they don't continue it, or ceased to be the chain.
 */
function forward(
  source: SyncSource,
  position: BlockRef | undefined,
  from: number,
  target: number,
): Promise<Fetched[] | undefined> {
  const far = target - DETAIL_BLOCKS - from + 1
  return far >= RANGE_BLOCKS_MIN
    ? forwardRange(source, position, from, from + Math.min(far, RANGE_BLOCKS_MAX) - 1)
    : forwardBlocks(source, position, from, Math.min(target, from + BATCH_BLOCKS - 1))
}

async function forwardBlocks(
  source: SyncSource,
  position: BlockRef | undefined,
  from: number,
  to: number,
): Promise<Fetched[] | undefined> {
  const calls = Array.from({ length: to - from + 1 }, (_, i) => ({
    method: 'eth_getBlockByNumber',
    params: [quantity(from + i), false],
  }))
  const headers = (await source.rpc.batch(calls, TIMEOUT_MS)).map(headerOf)
  let before = position?.hash
  for (const one of headers) {
    if (before !== undefined && one.parentHash !== before) return undefined
    before = one.hash
  }
  // By block hash: a node that does not have this very block says so, instead of "no logs".
  const filters = headers.map((one) => ({ address: source.contract, blockHash: one.hash }))
  const answers = await source.rpc.batch(
    filters.map((filter) => ({ method: 'eth_getLogs', params: [filter] })),
    TIMEOUT_MS,
  )
  return headers.map((one, i) => ({
    block: { number: one.number, hash: one.hash },
    events: eventsOf(answers[i]),
  }))
}

async function forwardRange(
  source: SyncSource,
  position: BlockRef | undefined,
  from: number,
  to: number,
): Promise<Fetched[] | undefined> {
  const last = await header(source, to)
  const filter = { address: source.contract, fromBlock: quantity(from), toBlock: quantity(to) }
  let logs: unknown
  try {
    logs = await source.rpc.request('eth_getLogs', [filter], TIMEOUT_MS)
  } catch (error) {
    // Some nodes refuse by number of results: half the range has about half of them.
    const blocks = to - from + 1
    const tooMuch = error instanceof ChainError && error.code === 'rpc-error'
    if (!tooMuch || blocks <= RANGE_BLOCKS_MIN) throw error
    return forwardRange(source, position, from, from + Math.floor(blocks / 2) - 1)
  }
  // A range has no hash to ask by; the same blocks at both its ends afterwards mean the same chain.
  const [lastAfter, before] = await Promise.all([
    header(source, to),
    position === undefined ? undefined : header(source, position.number),
  ])
  if (lastAfter.hash !== last.hash || before?.hash !== position?.hash) return undefined
  return [{ block: { number: to, hash: last.hash }, events: eventsOf(logs) }]
}

/** The header of a block by number, or of the head. */
async function header(source: SyncSource, block: number | 'latest'): Promise<Header> {
  const tag = block === 'latest' ? block : quantity(block)
  return headerOf(await source.rpc.request('eth_getBlockByNumber', [tag, false], TIMEOUT_MS))
}

function headerOf(answer: unknown): Header {
  const block = answer as { number?: unknown; hash?: unknown; parentHash?: unknown } | null
  if (typeof block?.hash !== 'string' || typeof block.parentHash !== 'string') {
    throw new ChainError('node-behind', 'the node does not have a block it should have')
  }
  return { number: numberOf(block.number), hash: block.hash, parentHash: block.parentHash }
}

/** The events of a list of logs, in the order of the chain. */
function eventsOf(logs: unknown): ChainEvent[] {
  if (!Array.isArray(logs)) throw new ChainError('rpc-error', 'eth_getLogs answered no list')
  return logs
    .map((log) => {
      const { topics, data, blockNumber, logIndex } = log
      return { topics, data, block: numberOf(blockNumber), index: numberOf(logIndex) }
    })
    .sort((a, b) => a.block - b.block || a.index - b.index)
    .map(decodeEvent)
    .filter((event) => event !== undefined)
}
