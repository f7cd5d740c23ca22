// The chain as a device sees it: a few reads of the contract and the token through the operator's
// RPC URL. Bounded answers, patience with rate limits; signs and sends nothing (funds.ts does).

import { addressOf, datanetInterface } from '../chain/bindings.ts'
import {
  isServerKey,
  readChannel,
  readDeviceKey,
  readOperator,
  tokenBalance,
} from '../chain/calls.ts'
import { ChainError } from '../chain/error.ts'
import { bigintOf, resultOf } from '../chain/jsonrpc.ts'
import { openRpc } from '../chain/rpc.ts'
import { type RpcRequest, readContract } from '../chain/transactions.ts'
import type { Address } from '../ethereum/address.ts'
import { DeviceError } from './error.ts'
import { requestJson } from './http.ts'

/** A device's escrow with one operator, in base units (D, mu, w of chain/contracts/Types.sol). */
export interface Escrow {
  readonly deposit: bigint
  readonly reserved: bigint
  readonly highestVoucher: bigint
  readonly withdrawn: bigint
}

/** What the registry says of an operator. */
export interface RegisteredOperator {
  readonly account: Address
  readonly active: boolean
}

/** Reads of one contract. Failures are ChainError or DeviceError 'unavailable'. */
export interface ChainReader {
  chainId(): Promise<bigint>
  /** Undefined where the contract knows no such operator, or there is no such contract. */
  operator(operatorId: number): Promise<RegisteredOperator | undefined>
  /** Whether a server with this key (64 hex digits of SHA-256) may speak for the operator now. */
  isServerKey(operatorId: number, spkiSha256: string): Promise<boolean>
  token(): Promise<Address>
  escrow(operatorId: number, account: Address): Promise<Escrow>
  deviceKey(account: Address, spkiSha256: string): Promise<'unset' | 'enabled' | 'disabled'>
  tokenBalance(token: Address, account: Address): Promise<bigint>
  /** In wei. */
  gasBalance(account: Address): Promise<bigint>
}

/** A node reached over `url`; `close` ends what a websocket URL opened. */
export interface ChainLink {
  readonly rpc: RpcRequest
  close(): void
}

/**
 * Waits when the operator's proxy says "too many requests": 0.2, 0.4, … 1.6 s, about 12 s in
 * all.
 */
const BUSY_PAUSES_MS = [200, 400, 800, 1600, 1600, 1600, 1600, 1600, 1600, 1600]
const TOO_MANY_REQUESTS = 429

/** Opens a node's URL; nothing is sent before the first request. */
export function openChain(url: string): ChainLink {
  if (url.startsWith('ws')) {
    const rpc = openRpc(url)
    return { rpc, close: () => rpc.close() }
  }
  return { rpc: { request: (method, params) => requestHttp(url, method, params) }, close() {} }
}

async function requestHttp(
  url: string,
  method: string,
  params: readonly unknown[],
): Promise<unknown> {
  const body = { jsonrpc: '2.0', id: 1, method, params }
  for (const pauseMs of [...BUSY_PAUSES_MS, undefined]) {
    const answer = await requestJson(url, { body })
    // A request refused for its rate was not carried out, so even a transaction may be sent again.
    if (answer.status !== TOO_MANY_REQUESTS || pauseMs === undefined) {
      return resultOf(method, answer.body)
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
  }
  throw new ChainError('chain-unreachable', 'the node is busy')
}

/** Reads the contract at `contract` through a node. */
export function readChain(rpc: RpcRequest, contract: Address): ChainReader {
  const access = { rpc, contract }
  return {
    async chainId() {
      return bigintOf(await rpc.request('eth_chainId', []))
    },
    async operator(operatorId) {
      try {
        return await readOperator(access, operatorId)
      } catch (error) {
        // A revert (no such id) and an answer that is no record (no such contract) mean the same.
        if (isAnswer(error)) return undefined
        throw error
      }
    },
    isServerKey: (operatorId, spkiSha256) => isServerKey(access, operatorId, spkiSha256),
    async token() {
      const data = datanetInterface.encodeFunctionData('token')
      const [token] = datanetInterface.decodeFunctionResult(
        'token',
        await readContract(rpc, contract, data),
      )
      return addressOf(token)
    },
    escrow: (operatorId, account) => readChannel(access, operatorId, account),
    deviceKey: (account, spkiSha256) => readDeviceKey(access, account, spkiSha256),
    tokenBalance: (token, account) => tokenBalance({ rpc, token }, account),
    async gasBalance(account) {
      return bigintOf(await rpc.request('eth_getBalance', [account, 'latest']))
    },
  }
}

const isAnswer = (error: unknown): boolean =>
  error instanceof ChainError ? error.code === 'rpc-error' : !(error instanceof DeviceError)
