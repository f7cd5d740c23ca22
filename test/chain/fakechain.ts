// A chain in memory that answers the four questions the mirror asks, can be rewritten at any
// moment, and refuses to answer on demand. For tests of mirror-sync.ts; random only by the function
// it is given.

import { createHash } from 'node:crypto'
import { datanetInterface } from '../../chain/bindings.ts'
import { ChainError } from '../../chain/error.ts'
import type { Rpc, RpcCall } from '../../chain/jsonrpc.ts'
import type { Address } from '../../ethereum/address.ts'

export const CONTRACT = `0x${'c0'.repeat(20)}` as Address

export interface FakeLog {
  readonly name: string
  readonly args: readonly unknown[]
}

export interface FakeBlock {
  readonly hash: string
  readonly parentHash: string
  readonly logs: readonly FakeLog[]
  readonly encoded: readonly { topics: string[]; data: string }[]
}

export interface FakeChain {
  readonly blocks: FakeBlock[]
  readonly rpc: Pick<Rpc, 'request' | 'batch'>
  /** Called before each question; may rewrite the chain or throw. */
  before: (call: RpcCall) => void
  /** How many questions were asked, by method. */
  readonly asked: Map<string, number>
  mine(logs?: readonly FakeLog[]): void
  /** Drops the newest blocks. */
  drop(count: number): void
}

/** The account with this small number. */
export function account(number: number): Address {
  return `0x${number.toString(16).padStart(40, '0')}` as Address
}

export function deposited(operatorId: number, of: Address, total: bigint): FakeLog {
  return { name: 'Deposited', args: [operatorId, of, 1n, total] }
}

/** An empty chain with a genesis block. */
export function createFakeChain(): FakeChain {
  let mined = 0
  const blocks: FakeBlock[] = []
  const asked = new Map<string, number>()
  const chain: FakeChain = {
    blocks,
    asked,
    before: () => undefined,
    mine(logs = []) {
      // Every block ever mined has a hash of its own, also at the same height.
      const hash = `0x${createHash('sha256').update(`${++mined}`).digest('hex')}`
      const encoded = logs.map(({ name, args }) => datanetInterface.encodeEventLog(name, [...args]))
      blocks.push({ hash, parentHash: blocks.at(-1)?.hash ?? '0x', logs, encoded })
    },
    drop(count) {
      blocks.splice(Math.max(1, blocks.length - count))
    },
    rpc: {
      request: async (method, params) => answer(chain, { method, params }),
      batch: async (calls) => calls.map((call) => answer(chain, call)),
    },
  }
  chain.mine()
  return chain
}

function answer(chain: FakeChain, call: RpcCall): unknown {
  chain.asked.set(call.method, (chain.asked.get(call.method) ?? 0) + 1)
  chain.before(call)
  const { blocks } = chain
  if (call.method === 'eth_getBlockByNumber') {
    const number = call.params[0] === 'latest' ? blocks.length - 1 : Number(call.params[0])
    const block = blocks[number]
    if (block === undefined) return null
    return { number: `0x${number.toString(16)}`, hash: block.hash, parentHash: block.parentHash }
  }
  const filter = call.params[0] as { blockHash?: string; fromBlock?: string; toBlock?: string }
  if (filter.blockHash !== undefined) {
    const number = blocks.findIndex((block) => block.hash === filter.blockHash)
    if (number < 0) throw new ChainError('rpc-error', 'eth_getLogs: unknown block')
    return logsOf(chain, number, number)
  }
  return logsOf(chain, Number(filter.fromBlock), Number(filter.toBlock)).reverse()
}

function logsOf(chain: FakeChain, from: number, to: number): object[] {
  return chain.blocks.slice(from, to + 1).flatMap((block, i) =>
    block.encoded.map((log, index) => ({
      ...log,
      blockNumber: `0x${(from + i).toString(16)}`,
      logIndex: `0x${index.toString(16)}`,
    })),
  )
}

/** What a node says when it won't answer. */
export function refusal(): ChainError {
  return new ChainError('rpc-error', 'eth_getLogs: query returned more than 10000 results')
}

/** A seeded generator of numbers in [0, 1): mulberry32. */
export function mulberry(seed: number): () => number {
  let a = seed
  return () => {
    a = (a + 0x6d2b79f5) | 0
    let mixed = Math.imul(a ^ (a >>> 15), 1 | a)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
