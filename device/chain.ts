// The chain as a device sees it: a few reads of the contract and the token through the operator's
// RPC URL. Bounded answers, patience with rate limits; signs and sends nothing (funds.ts does).

import { addressOf, datanetInterface, hexOf, tokenInterface } from '../chain/bindings.ts'
import { ChainError } from '../chain/error.ts'
import { bigintOf, resultOf } from '../chain/jsonrpc.ts'
import { openRpc } from '../chain/rpc.ts'
import { type RpcRequest, readContract } from '../chain/transactions.ts'
import type { Address } from '../ethereum/address.ts'
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
  /** Undefined where there is no such contract. */
  token(): Promise<Address | undefined>
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
  const view = (name: string, args: readonly unknown[]): Promise<string> =>
    readContract(rpc, contract, datanetInterface.encodeFunctionData(name, [...args]))

  return {
    async chainId() {
      return bigintOf(await rpc.request('eth_chainId', []))
    },
    async operator(operatorId) {
      const answer = await view('operator', [operatorId]).catch(revertAsNothing)
      if (isNothing(answer)) return undefined
      const record = decode('operator', answer)
      return {
        account: addressOf(record.getValue('account')),
        active: record.getValue('active') === true,
      }
    },
    async isServerKey(operatorId, spkiSha256) {
      const answer = await view('isServerKey', [operatorId, `0x${spkiSha256}`])
      return !isNothing(answer) && BigInt(answer) === 1n
    },
    async token() {
      const answer = await view('token', [])
      return isNothing(answer) ? undefined : addressOf(`0x${hexOf(answer).slice(24)}`)
    },
    async escrow(operatorId, account) {
      const record = decode('channel', await view('channel', [operatorId, account]))
      const amount = (name: string): bigint => BigInt(record.getValue(name))
      return {
        deposit: amount('deposit'),
        reserved: amount('reserved'),
        highestVoucher: amount('highestVoucher'),
        withdrawn: amount('withdrawn'),
      }
    },
    async deviceKey(account, spkiSha256) {
      const found = bigintOf(await view('deviceKey', [account, `0x${spkiSha256}`]))
      return found === 0n ? 'unset' : found === 1n ? 'enabled' : 'disabled'
    },
    async tokenBalance(token, account) {
      const data = tokenInterface.encodeFunctionData('balanceOf', [account])
      return bigintOf(await readContract(rpc, token, data))
    },
    async gasBalance(account) {
      return bigintOf(await rpc.request('eth_getBalance', [account, 'latest']))
    },
  }
}

/** An address without code answers every call with nothing. */
const isNothing = (answer: string): boolean => answer === '0x'

function revertAsNothing(error: unknown): string {
  if (error instanceof ChainError && error.code === 'rpc-error') return '0x'
  throw error
}

interface Struct {
  getValue(name: string): unknown
}

function decode(name: string, answer: string): { getValue(name: string): string | boolean } {
  try {
    const [struct] = datanetInterface.decodeFunctionResult(name, answer)
    return struct as Struct as { getValue(name: string): string | boolean }
  } catch (error) {
    const text = 'the contract answers with something else than this program knows'
    throw new ChainError('contract-mismatch', text, { cause: error })
  }
}
