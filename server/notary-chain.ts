// The chain as the notary uses it: what the contract says in a block that stays, and transactions
// of the operator's account. Owns the connection. What the embedded chain shows is in a durable
// snapshot already, so nothing a merchant is shown can be taken back. Called by the notary.

import { datanetInterface } from '../chain/bindings.ts'
import { ChainError } from '../chain/error.ts'
import { numberOf, quantity } from '../chain/jsonrpc.ts'
import type { PayplaceFacts } from '../chain/payplace-facts.ts'
import { createPayplaceView } from '../chain/payplace-view.ts'
import { openRpc } from '../chain/rpc.ts'
import { openTimelySender, type TimelyCall } from '../chain/timely-sender.ts'
import type { Address } from '../ethereum/address.ts'
import type { OpenViewStore } from './view-store.ts'

/** The contract as of one block, and which one. */
export interface Reading {
  readonly facts: PayplaceFacts
  readonly number: number
  /** 32 bytes. */
  readonly hash: Buffer
  /** Unix seconds. */
  readonly time: number
}

export interface NotaryChain {
  /** As of the newest block that counts. Throws ChainError. */
  read(): Promise<Reading>
  /** A block counts only when others follow it: one that is caused is not read at once. */
  readonly lags: boolean
  /** Makes a block of now, to be read: some chains have blocks with transactions only. */
  causeBlock(deadlineMs: number): Promise<void>
  /** Resolves when it is in a block. Throws ChainError. */
  send(call: Omit<TimelyCall, 'to'>): Promise<void>
  /** Resolves when what was sent is in a block that stays. */
  settled(): Promise<void>
  close(): void
}

/** What the server knows of its own chain; undefined on any other. */
export interface OwnChain {
  durableBlock(): number
  saved(): Promise<void>
}

export interface NotaryChainOptions {
  readonly url: string
  readonly chainId: bigint
  readonly contract: Address
  readonly operatorId: number
  readonly deployBlock: number
  readonly confirmations: number
  readonly operatorKey: Uint8Array
  readonly own: OwnChain | undefined
  /** Where the events that were read are kept; without one they are read anew at each start. */
  readonly store: OpenViewStore | undefined
  readonly now: () => number
  /** Told what of ours was refused or not mined in time. */
  readonly onFailed: (what: string) => void
}

/** Nothing is asked before the first call. */
export function openNotaryChain(o: NotaryChainOptions): NotaryChain {
  const rpc = openRpc(o.url)
  const { contract, operatorId, deployBlock: fromBlock, confirmations, own } = o
  const view = createPayplaceView({
    ...{ rpc, contract, operatorId, fromBlock, confirmations },
    ...(o.store === undefined ? {} : { store: o.store }),
  })
  const sender = openTimelySender({
    ...{ rpc, chainId: o.chainId, privateKey: o.operatorKey, now: o.now },
  })
  const send = async (call: TimelyCall): Promise<void> => {
    try {
      await sender.send(call)
    } catch (error) {
      o.onFailed(call.what)
      throw error
    }
  }
  return {
    lags: confirmations > 1,
    async read() {
      const { head } = await view.sync()
      const number = Math.min(head.number, own?.durableBlock() ?? head.number)
      const facts = view.at(number)
      const block = (await rpc.request('eth_getBlockByNumber', [quantity(number), false])) as {
        hash?: unknown
        timestamp?: unknown
      } | null
      if (facts === undefined || typeof block?.hash !== 'string') {
        throw new ChainError('node-behind', `the node does not have block ${number} any more`)
      }
      const hash = Buffer.from(block.hash.slice(2), 'hex')
      return { facts, number, hash, time: numberOf(block.timestamp) }
    },
    async causeBlock(deadlineMs) {
      if (own === undefined) {
        const data = datanetInterface.encodeFunctionData('multicall', [[]])
        return send({ to: contract, data, what: 'an empty call', deadlineMs })
      }
      await rpc.request('evm_mine', [])
      await own.saved()
    },
    send: (call) => send({ ...call, to: contract }),
    async settled() {
      await own?.saved()
    },
    close() {
      rpc.close()
      o.store?.close()
    },
  }
}
