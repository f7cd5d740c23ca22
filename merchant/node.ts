// The node a merchant reads the chain through: the operator's /v1/chain, or one of the merchant's
// own. Has patience with rate limits and takes the long answers that logs are; signs nothing.

import { ChainError } from '../chain/error.ts'
import { resultOf } from '../chain/jsonrpc.ts'
import { openRpc } from '../chain/rpc.ts'
import type { RpcRequest } from '../chain/transactions.ts'
import { DeviceError } from '../device/error.ts'
import { requestJson } from '../device/http.ts'

/** A node; `close` ends what a websocket URL opened. */
export interface Node {
  readonly rpc: RpcRequest
  close(): void
}

/** A proxy shared by many asks to come again: 0.2, 0.4, … 1.6 s, some 9 s in all. */
const BUSY_PAUSES_MS = [200, 400, 800, 1_600, 1_600, 1_600, 1_600, 1_600]
const TOO_MANY_REQUESTS = 429
/** 2,000 blocks of logs, some 20,000 of them. */
const ANSWER_BYTES_MAX = 16 * 1024 * 1024

/** Opens a node's URL; nothing is sent before the first request. Failures are ChainError. */
export function openNode(url: string): Node {
  if (url.startsWith('ws')) {
    const rpc = openRpc(url)
    return { rpc, close: () => rpc.close() }
  }
  return { rpc: { request: (method, params) => request(url, method, params) }, close() {} }
}

async function request(url: string, method: string, params: readonly unknown[]): Promise<unknown> {
  const body = { jsonrpc: '2.0', id: 1, method, params }
  for (const pauseMs of [...BUSY_PAUSES_MS, undefined]) {
    const answer = await requestJson(url, { body, bodyBytesMax: ANSWER_BYTES_MAX }).catch(failed)
    // A request refused for its rate was not carried out, so even a transaction may be sent again.
    if (answer.status !== TOO_MANY_REQUESTS || pauseMs === undefined) {
      return resultOf(method, answer.body)
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
  }
  throw new ChainError('chain-unreachable', 'the node is busy')
}

function failed(error: unknown): never {
  if (!(error instanceof DeviceError)) throw error
  const code = error.code === 'unavailable' ? 'chain-unreachable' : 'answer-too-large'
  throw new ChainError(code, error.message, { cause: error })
}
