// JSON-RPC over one websocket, with subscriptions. It connects at the first request and again at
// the next request after a loss; when to ask again, and how often, is its caller's to decide
// (mirror.ts).

import { ChainError } from './error.ts'
import { RPC_TIMEOUT_MS, type Rpc, resultOf } from './jsonrpc.ts'

/** What a subscriber hears; all optional. */
export interface SocketHooks {
  /** The connection is up (again): subscriptions of the old one are gone. */
  onOpen?(): void
  /** Something subscribed to happened. */
  onNotification?(): void
  onClose?(): void
}

interface Waiting {
  readonly method: string
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
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
  const pending = createPending()
  let opening: Promise<WebSocket> | undefined
  let current: WebSocket | undefined
  let closed = false

  function lost(which: WebSocket): void {
    which.close()
    if (current !== which) return
    current = undefined
    opening = undefined
    pending.rejectAll(away(host, 'the connection was lost'))
    hooks.onClose?.()
  }

  function connect(): Promise<WebSocket> {
    const socket = new WebSocket(url)
    current = socket
    socket.addEventListener('message', (event) => {
      const message = parseObject(event.data)
      if (typeof message?.['method'] === 'string') hooks.onNotification?.()
      else if (message !== undefined) pending.settle(message)
    })
    return opened(socket, host, {
      onOpen: () => hooks.onOpen?.(),
      onEnd: () => lost(socket),
    })
  }

  async function request(
    method: string,
    params: readonly unknown[],
    timeoutMs = RPC_TIMEOUT_MS,
  ): Promise<unknown> {
    if (closed) throw new ChainError('stopped', 'the RPC client was closed')
    opening ??= connect()
    const socket = await opening
    const late = (): void => {
      // A half-open TCP connection never reports its death: the next request opens a new one.
      lost(socket)
    }
    const { id, answer } = pending.add(method, timeoutMs, away(host, `${method} timed out`), late)
    socket.send(JSON.stringify({ jsonrpc: '2.0', id, method, params }))
    return answer
  }

  return {
    host,
    request,
    batch: (calls, timeoutMs) =>
      Promise.all(calls.map((call) => request(call.method, call.params, timeoutMs))),
    close() {
      closed = true
      if (current !== undefined) lost(current)
    },
  }
}

function away(host: string, why: string): ChainError {
  return new ChainError('chain-unreachable', `no answer from the Ethereum node at ${host} (${why})`)
}

/**
 * Resolves with the socket once it is open; `onEnd` is called when it fails or closes, early or
 * late.
 */
function opened(
  socket: WebSocket,
  host: string,
  on: { readonly onOpen: () => void; readonly onEnd: () => void },
): Promise<WebSocket> {
  return new Promise((resolve, reject) => {
    const end = (why: string): void => {
      clearTimeout(timer)
      reject(away(host, why))
      on.onEnd()
    }
    const timer = setTimeout(() => end('timed out while connecting'), CONNECT_TIMEOUT_MS)
    socket.addEventListener('open', () => {
      clearTimeout(timer)
      resolve(socket)
      on.onOpen()
    })
    socket.addEventListener('error', () => end('connection refused or broken'))
    socket.addEventListener('close', () => end('the connection was closed'))
  })
}

interface Pending {
  /** Throws when too many requests are unanswered; `onLate` is called when this one times out. */
  add(
    method: string,
    timeoutMs: number,
    timedOut: ChainError,
    onLate: () => void,
  ): { id: number; answer: Promise<unknown> }
  settle(message: Readonly<Record<string, unknown>>): void
  rejectAll(error: ChainError): void
}

/** The requests that wait for their answers, by id. */
function createPending(): Pending {
  const waiting = new Map<unknown, Waiting>()
  let lastId = 0
  return {
    add(method, timeoutMs, timedOut, onLate) {
      if (waiting.size >= WAITING_MAX) throw timedOut
      const id = ++lastId
      const { promise: answer, resolve, reject } = Promise.withResolvers<unknown>()
      const timer = setTimeout(() => {
        waiting.delete(id)
        reject(timedOut)
        onLate()
      }, timeoutMs)
      waiting.set(id, { method, resolve, reject, timer })
      return { id, answer }
    },
    settle(message) {
      const one = waiting.get(message['id'])
      if (one === undefined) return
      waiting.delete(message['id'])
      clearTimeout(one.timer)
      try {
        one.resolve(resultOf(one.method, message))
      } catch (error) {
        one.reject(error)
      }
    },
    rejectAll(error) {
      for (const one of waiting.values()) {
        clearTimeout(one.timer)
        one.reject(error)
      }
      waiting.clear()
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
