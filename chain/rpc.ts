// JSON-RPC to one Ethereum node: request, batch, time limit, coded errors. HTTP here, websockets in
// socket.ts, one interface for both. It never retries: the callers know what may be sent twice.

import { ChainError, reasonOf } from './error.ts'
import { RPC_TIMEOUT_MS, type Rpc, resultOf, rpcError } from './jsonrpc.ts'
import { openSocketRpc } from './socket.ts'

/** 2,000 blocks of logs, or the dump of an embedded chain of 50,000 blocks, stay below this. */
export const ANSWER_BYTES_MAX = 128 * 1024 * 1024

/**
 * The client for an http(s):// or ws(s):// url; nothing is sent before the first request. An
 * answer above `answerBytesMax` (HTTP only) is a ChainError 'answer-too-large'.
 */
export function openRpc(url: string, answerBytesMax = ANSWER_BYTES_MAX): Rpc {
  const { protocol, host } = new URL(url)
  if (protocol === 'http:' || protocol === 'https:') return openHttpRpc(url, host, answerBytesMax)
  if (protocol === 'ws:' || protocol === 'wss:') return openSocketRpc(url, {})
  throw new ChainError(
    'chain-unreachable',
    `an RPC url is http(s):// or ws(s)://, not ${protocol}//`,
  )
}

function openHttpRpc(url: string, host: string, answerBytesMax: number): Rpc {
  const stopping = new AbortController()
  let lastId = 0

  async function post(body: unknown, timeoutMs: number): Promise<unknown> {
    const signal = AbortSignal.any([stopping.signal, AbortSignal.timeout(timeoutMs)])
    try {
      const headers = { 'content-type': 'application/json' }
      const answer = await fetch(url, {
        method: 'POST',
        headers,
        body: JSON.stringify(body),
        signal,
      })
      const text = await readBounded(answer, answerBytesMax)
      if (!answer.ok) throw new Error(`HTTP status ${answer.status}`)
      return JSON.parse(text)
    } catch (cause) {
      if (cause instanceof ChainError && cause.code === 'answer-too-large') throw cause
      const text = `no answer from the Ethereum node at ${host} (${reasonOf(cause)})`
      throw new ChainError('chain-unreachable', text, { cause })
    }
  }

  return {
    host,
    async request(method, params, timeoutMs = RPC_TIMEOUT_MS) {
      const id = ++lastId
      return resultOf(method, await post({ jsonrpc: '2.0', id, method, params }, timeoutMs))
    },
    async batch(calls, timeoutMs = RPC_TIMEOUT_MS) {
      if (calls.length === 0) return []
      const first = lastId + 1
      lastId += calls.length
      const body = calls.map((call, i) => ({ jsonrpc: '2.0', id: first + i, ...call }))
      const answer = await post(body, timeoutMs)
      // A node that refuses the whole batch answers with one error object instead of an array.
      if (!Array.isArray(answer)) throw rpcError('batch', answer)
      const byId = new Map(answer.map((one) => [(one as { id?: unknown }).id, one]))
      return calls.map((call, i) => resultOf(call.method, byId.get(first + i)))
    },
    close() {
      stopping.abort(new ChainError('stopped', 'the RPC client was closed'))
    },
  }
}

async function readBounded(answer: Response, bytesMax: number): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of answer.body ?? []) {
    bytes += chunk.length
    if (bytes > bytesMax) {
      throw new ChainError('answer-too-large', `the node's answer is above ${bytesMax} bytes`)
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
