// Follows what the contract says of one operator's blocks, merchants and channels over JSON-RPC,
// and answers as of any recent block. Reads only what a merchant's node gives: headers and logs.
// Owns reorgs and the position in its store. Called by the operator's notary and the merchant's
// agent.

import type { Address } from '../ethereum/address.ts'
import { ChainError } from './error.ts'
import { numberOf, quantity } from './jsonrpc.ts'
import { decodePayplaceEvent, type PayplaceEvent } from './payplace-events.ts'
import {
  type BlockRef,
  factsOf,
  type PayplaceFacts,
  readStored,
  type Step,
  storedEntry,
  storedTail,
  type Tail,
  type ViewStore,
} from './payplace-facts.ts'
import {
  applyChange,
  applyEvent,
  copyState,
  emptyState,
  type PayplaceState,
  type StateChange,
} from './payplace-state.ts'
import type { RpcRequest } from './transactions.ts'

export interface ViewSource {
  readonly rpc: RpcRequest
  readonly contract: Address
  readonly operatorId: number
  /** No event of the contract is older. */
  readonly fromBlock: number
  /** 1: a block counts as soon as it is the head. */
  readonly confirmations?: number
  readonly store?: ViewStore
}

/** A block of the chain; `hash` 0x-hex, `time` Unix seconds. */
export interface ChainBlock extends BlockRef {
  readonly time: number
}

/** What a reading brought. */
export interface Synced {
  /** The newest block that counts. */
  readonly head: ChainBlock
  /** The newest one of all: the same where no confirmations are asked for. */
  readonly latest: ChainBlock
  /** In the order of the chain; with `reread`, all there ever were. */
  readonly events: readonly (PayplaceEvent & { readonly blockNumber: number })[]
  /** Nothing known was on the chain any more: everything was read again. */
  readonly reread: boolean
}

export interface PayplaceView {
  /** Reads to the newest block that counts. Throws ChainError. */
  sync(): Promise<Synced>
  /** As of a block already read, the newest without a number; undefined where it is too old. */
  at(number?: number): PayplaceFacts | undefined
}

/** Public nodes refuse more blocks in one eth_getLogs. */
const RANGE_BLOCKS_MAX = 2_000
/** Blocks with events that can be taken back; finality is 64 blocks. */
const STEPS_MAX = 256
const QUIET_BLOCKS_MAX = 1_000
/** Reorgs during one reading; a chain that changes faster is left to the next one. */
const FORKS_MAX = 5

type BlockEvent = Synced['events'][number]

interface Following {
  state: PayplaceState
  /** Everything up to here is in `state`. */
  position: BlockRef | undefined
  /** Where the oldest step begins. */
  base: BlockRef | undefined
  steps: Step[]
  /** What the store and the caller have not got yet, also after a reading that failed. */
  unsaved: Map<string, Uint8Array | undefined>
  untold: BlockEvent[]
  anew: boolean
  /** Nothing in the store is of use any more. */
  rewrites: boolean
  /** Number of the position that the store has. */
  saved: number
}

function follows(state: PayplaceState, tail: Tail | undefined): Following {
  const { position, base, steps = [] } = tail ?? {}
  const news = { unsaved: new Map(), untold: [], anew: false, rewrites: false }
  return { state, position, base, steps: [...steps], ...news, saved: position?.number ?? -1 }
}

/** Nothing is asked before the first `sync`; what the store holds is there at once. */
export function createPayplaceView(source: ViewSource): PayplaceView {
  const stored = readStored(source.store)
  const following = follows(stored.state, stored.tail)
  let last: Promise<unknown> = Promise.resolve()
  return {
    sync() {
      // One after the other: two readings at once would apply the same events twice.
      const reading = last.then(() => sync(source, following))
      last = reading.catch(() => undefined)
      return reading
    },
    at(number = following.position?.number ?? -1) {
      const { position, base, steps } = following
      if (position === undefined || number > position.number) return undefined
      if (base !== undefined && number < base.number) return undefined
      const state = copyState(following.state)
      for (const step of steps.toReversed()) {
        if (step.block.number <= number) break
        for (const change of step.undo) applyChange(state, change)
      }
      return factsOf(state, number)
    },
  }
}

async function sync(source: ViewSource, following: Following): Promise<Synced> {
  for (let forks = 0; forks < FORKS_MAX; forks++) {
    const latest = await header(source, 'latest')
    const isNew = following.position === undefined
    if (!isNew && !(await rewind(source, following, latest))) {
      Object.assign(following, follows(emptyState(), undefined), { anew: true, rewrites: true })
    }
    const number = latest.number - ((source.confirmations ?? 1) - 1)
    if (!(await follow(source, following, latest, number))) continue
    const { position, untold: events, anew: reread } = following
    if (position === undefined) break
    const head = latest.number === position.number ? latest : await header(source, position.number)
    save(source.store, following, position)
    Object.assign(following, { untold: [], anew: false })
    return { head, latest, events, reread }
  }
  throw new ChainError('node-behind', 'the chain changed faster than it could be read')
}

/**
 * Blocks in which nothing happened are read again rather than noted one by one. The store is a
 * cache: with a full disk the chain is followed all the same, and what is not written yet is kept
 * for the next time.
 */
function save(store: ViewStore | undefined, following: Following, position: BlockRef): void {
  const { base, steps, unsaved, rewrites, saved } = following
  const isNews = unsaved.size > 0 || rewrites || position.number - saved >= QUIET_BLOCKS_MAX
  if (!isNews) return
  try {
    store?.write([...unsaved, storedTail({ position, base, steps })], rewrites)
  } catch {
    return
  }
  Object.assign(following, { unsaved: new Map(), rewrites: false, saved: position.number })
}

/** Applies a change that is to reach the store as well. */
function change(following: Following, change: StateChange): void {
  applyChange(following.state, change)
  const [name, value] = storedEntry(change)
  following.unsaved.set(name, value)
}

/** Takes back what is not on the chain any more; false where nothing known is on it. */
async function rewind(
  source: ViewSource,
  following: Following,
  latest: ChainBlock,
): Promise<boolean> {
  const { steps, base } = following
  while (following.position !== undefined) {
    const { position } = following
    if (await isOnChain(source, position, latest)) return true
    const newest = steps.at(-1)
    if (newest !== undefined && newest.block.hash !== position.hash) {
      // Blocks without events lie between: the newest one with any may still be there.
      following.position = newest.block
    } else if (newest !== undefined) {
      steps.pop()
      for (const undone of newest.undo) change(following, undone)
      following.position = steps.at(-1)?.block ?? base
    } else if (base !== undefined && base.hash !== position.hash) following.position = base
    else return false
  }
  return false
}

async function isOnChain(
  source: ViewSource,
  block: BlockRef,
  latest: ChainBlock,
): Promise<boolean> {
  if (block.number > latest.number) return false
  if (block.number === latest.number) return block.hash === latest.hash
  return (await header(source, block.number)).hash === block.hash
}

/** Reads forward to block `number`; false where the chain changed meanwhile. */
async function follow(
  source: ViewSource,
  following: Following,
  latest: ChainBlock,
  number: number,
): Promise<boolean> {
  let range = RANGE_BLOCKS_MAX
  for (;;) {
    const { position } = following
    const from = position === undefined ? source.fromBlock : position.number + 1
    if (from > number) {
      if (position === undefined) await standAt(source, following, number)
      return true
    }
    const to = Math.min(from + range - 1, number)
    const last = to === latest.number ? latest : await header(source, to)
    const logs = await logsOf(source, from, to)
    if (logs === 'too-many') {
      range = Math.max(1, range >> 1)
      continue
    }
    // The same blocks at both ends afterwards mean the same chain between them.
    if ((await header(source, to)).hash !== last.hash) return false
    if (position !== undefined && !(await isOnChain(source, position, latest))) return false
    for (const { block, found } of logs) step(source, following, block, found)
    following.position = { number: to, hash: last.hash }
  }
}

function step(
  source: ViewSource,
  following: Following,
  block: BlockRef,
  found: readonly PayplaceEvent[],
): void {
  const { steps, state, unsaved, untold } = following
  const undo: StateChange[] = []
  for (const event of found) {
    const applied = applyEvent(state, source.operatorId, event)
    for (const [name, value] of applied.changes.map(storedEntry)) unsaved.set(name, value)
    undo.unshift(...applied.undo)
    untold.push({ ...event, blockNumber: block.number })
  }
  steps.push({ block, undo })
  if (steps.length > STEPS_MAX) following.base = steps.shift()?.block ?? following.base
}

/** Before the contract's first block there is nothing to read, but a place to stand. */
async function standAt(source: ViewSource, following: Following, number: number): Promise<void> {
  const { hash } = await header(source, Math.max(0, number))
  following.position = { number: Math.max(0, number), hash }
}

interface BlockLogs {
  readonly block: BlockRef
  readonly found: readonly PayplaceEvent[]
}

async function logsOf(
  source: ViewSource,
  from: number,
  to: number,
): Promise<BlockLogs[] | 'too-many'> {
  const operator = `0x${source.operatorId.toString(16).padStart(64, '0')}`
  const filter = {
    address: source.contract,
    topics: [null, operator],
    ...{ fromBlock: quantity(from), toBlock: quantity(to) },
  }
  let answer: unknown
  try {
    answer = await source.rpc.request('eth_getLogs', [filter])
  } catch (error) {
    // Nodes refuse by number of results or bytes, each in its own words; half has about half.
    const mayBeSize =
      error instanceof ChainError && ['rpc-error', 'answer-too-large'].includes(error.code)
    if (mayBeSize && to > from) return 'too-many'
    throw error
  }
  if (!Array.isArray(answer)) throw new ChainError('rpc-error', 'eth_getLogs answered no list')
  const logs = answer
    .map((log) => {
      const { topics, data, blockHash } = log
      const place = { number: numberOf(log.blockNumber), index: numberOf(log.logIndex) }
      return { topics, data, blockHash: String(blockHash), ...place }
    })
    .sort((a, b) => a.number - b.number || a.index - b.index)
  const blocks = new Map<string, { block: BlockRef; found: PayplaceEvent[] }>()
  for (const log of logs) {
    const event = decodePayplaceEvent(log)
    if (event === undefined) continue
    const { number, blockHash: hash } = log
    const entry = blocks.get(hash) ?? { block: { number, hash }, found: [] }
    entry.found.push(event)
    blocks.set(hash, entry)
  }
  return [...blocks.values()]
}

async function header(source: ViewSource, block: number | 'latest'): Promise<ChainBlock> {
  const found = await readBlock(source.rpc, block)
  if (found !== undefined) return found
  throw new ChainError('node-behind', 'the node does not have a block it should have')
}

/** A block's number, hash and time; undefined where the node has none such. */
export async function readBlock(
  rpc: RpcRequest,
  block: number | 'latest',
): Promise<ChainBlock | undefined> {
  const tag = block === 'latest' ? block : quantity(block)
  const answer = (await rpc.request('eth_getBlockByNumber', [tag, false])) as {
    number?: unknown
    hash?: unknown
    timestamp?: unknown
  } | null
  if (typeof answer?.hash !== 'string') return undefined
  return {
    number: numberOf(answer.number),
    hash: answer.hash.toLowerCase(),
    time: numberOf(answer.timestamp),
  }
}
