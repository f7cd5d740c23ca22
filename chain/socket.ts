// JSON-RPC over one websocket, with subscriptions. It connects at the first request and again at
// the next request after a loss; when to ask again, and how often, is its caller's to decide
// (mirror.ts).

import { ChainError } from './error.ts'
import { RPC_TIMEOUT_MS, type Rpc, resultOf } from './jsonrpc.ts'

/** What a subscriber hears; all optional. */
export interface SocketHooks {
  /** The connection is up (again): subscriptions of the old one are gone. */
  onOpen?(): void
  onNotification?(method: string): void
  onClose?(): void
}

interface Waiting {
  readonly method: string
  readonly resolve: (value: unknown) => void
  readonly reject: (error: ChainError) => void
  readonly timer: NodeJS.Timeout
}

/**
 * More unanswered requests than this means the node has stopped answering; the sum of all callers
 * is below 100.
 */
const WAITING_MAX = 1_000
const CONNECT_TIMEOUT_MS = 5_000

/** The client for a ws(s):// url. */
export function openSocketRpc(url: string, hooks: SocketHooks): Rpc {
  const { host } = new URL(url)
  const waiting = new Map<number, Waiting>()
  let socket: Promise<WebSocket> | undefined
  let current: WebSocket | undefined
  let lastId = 0
  let closed = false
  const away = (why: string): ChainError =>
    new ChainError('chain-unreachable', `no answer from the Ethereum node at ${host} (${why})`)

  function lost(which: WebSocket): void {
    if (current !== which) return
    current = undefined
    socket = undefined
    for (const one of waiting.values()) {
      clearTimeout(one.timer)
      one.reject(away('the connection was lost'))
    }
    waiting.clear()
    hooks.onClose?.()
  }

  function receive(data: unknown): void {
    const answer = parseObject(data)
    if (typeof answer?.['method'] === 'string') hooks.onNotification?.(answer['method'])
    const one = typeof answer?.['id'] === 'number' ? waiting.get(answer['id']) : undefined
    if (one === undefined || answer === undefined) return
    waiting.delete(answer['id'] as number)
    clearTimeout(one.timer)
    try {
      one.resolve(resultOf(one.method, answer))
    } catch (error) {
      one.reject(error as ChainError)
    }
  }

  function connect(): Promise<WebSocket> {
    return new Promise((resolve, reject) => {
      const opening = new WebSocket(url)
      current = opening
      const fail = (why: string): void => {
        clearTimeout(timer)
        reject(away(why))
        lost(opening)
        opening.close()
      }
      const timer = setTimeout(() => fail('timed out while connecting'), CONNECT_TIMEOUT_MS)
      opening.addEventListener('open', () => {
        clearTimeout(timer)
        resolve(opening)
        hooks.onOpen?.()
      })
      opening.addEventListener('message', (event) => receive(event.data))
      opening.addEventListener('error', () => fail('connection refused or broken'))
      opening.addEventListener('close', () => fail('the connection was closed'))
    })
  }

  async function request(
    method: string,
    params: readonly unknown[],
    timeoutMs = RPC_TIMEOUT_MS,
  ): Promise<unknown> {
    if (closed) throw new ChainError('stopped', 'the RPC client was closed')
    socket ??= connect()
    const open = await socket
    if (waiting.size >= WAITING_MAX) throw away(`${WAITING_MAX} requests are unanswered`)
    return new Promise((resolve, reject) => {
      const id = ++lastId
      const timer = setTimeout(() => {
        waiting.delete(id)
        reject(away(`${method} timed out`))
        // A half-open TCP connection never reports its death: the next request opens a new one.
        lost(open)
        open.close()
      }, timeoutMs)
      waiting.set(id, { method, resolve, reject, timer })
      open.send(JSON.stringify({ jsonrpc: '2.0', id, method, params }))
    })
  }

  return {
    host,
    request,
    batch: (calls, timeoutMs) =>
      Promise.all(calls.map((call) => request(call.method, call.params, timeoutMs))),
    close() {
      closed = true
      const open = current
      if (open !== undefined) lost(open)
      open?.close()
    },
  }
}

function parseObject(data: unknown): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(String(data))
    return typeof value === 'object' && value !== null
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}
