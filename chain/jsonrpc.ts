// JSON-RPC 2.0 as values: what a node can be asked, how its answers and numbers read. Sends nothing
// (rpc.ts does over HTTP, socket.ts over a websocket); an odd answer is a ChainError 'rpc-error'.

import { ChainError } from './error.ts'

/** One call of a batch. */
export interface RpcCall {
  readonly method: string
  readonly params: readonly unknown[]
}

/**
 * A node that answers JSON-RPC. Every failure is a ChainError: chain-unreachable, rpc-error or
 * answer-too-large.
 */
export interface Rpc {
  /** The node's host and port, for messages: never the path or credentials of the url. */
  readonly host: string
  request(method: string, params: readonly unknown[], timeoutMs?: number): Promise<unknown>
  /** All results in order; throws the first error. */
  batch(calls: readonly RpcCall[], timeoutMs?: number): Promise<readonly unknown[]>
  close(): void
}

/**
 * A node that does not answer within this is as good as away; public nodes answer in well under 1
 * s.
 */
export const RPC_TIMEOUT_MS = 10_000

/** The `result` of one JSON-RPC answer, or its error thrown as ChainError 'rpc-error'. */
export function resultOf(method: string, answer: unknown): unknown {
  if (typeof answer === 'object' && answer !== null && 'result' in answer) return answer.result
  throw rpcError(method, answer)
}

/**
 * An error answer, or something that is no answer, as a ChainError; its `cause` keeps code and
 * revert data.
 */
export function rpcError(method: string, answer: unknown): ChainError {
  const error = (answer as { error?: { code?: unknown; message?: unknown } } | null)?.error
  const text = typeof error?.message === 'string' ? error.message.slice(0, 300) : 'no result'
  return new ChainError('rpc-error', `${method}: ${text}`, { cause: error })
}

/** A JSON-RPC quantity ("0x1f") as a number; throws where it is none or too large to count with. */
export function numberOf(quantity: unknown): number {
  const value =
    typeof quantity === 'string' && /^0x[0-9a-f]+$/i.test(quantity) ? Number(quantity) : Number.NaN
  if (!Number.isSafeInteger(value)) {
    throw new ChainError('rpc-error', `the node answered ${JSON.stringify(quantity)} for a number`)
  }
  return value
}

/** A JSON-RPC quantity as a bigint. */
export function bigintOf(quantity: unknown): bigint {
  if (typeof quantity !== 'string' || !/^0x[0-9a-f]+$/i.test(quantity)) {
    throw new ChainError('rpc-error', `the node answered ${JSON.stringify(quantity)} for a number`)
  }
  return BigInt(quantity)
}

/** A number as a JSON-RPC quantity. */
export function quantity(value: number | bigint): string {
  return `0x${value.toString(16)}`
}
