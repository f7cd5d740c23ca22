// POST /v1/chain: carries what the proxy's policy lets through to the embedded chain, and its
// answers back, a few calls at a time for everybody together. The policy itself is chain/proxy.ts.
// Called by http-public.ts.

import type { EmbeddedChain } from '../chain/embedded.ts'
import { ChainError } from '../chain/error.ts'
import type { Rpc } from '../chain/jsonrpc.ts'
import {
  LIMIT_EXCEEDED,
  type ProxyAnswer,
  type ProxyCall,
  type ProxyError,
  type ProxyPolicy,
  planProxy,
} from '../chain/proxy.ts'
import { HttpError } from './http-error.ts'

/** JSON-RPC's "internal error", for a failure whose own error object is not known. */
const INTERNAL_ERROR = -32603
/** The node works on one at a time; more under way would only delay the server's own calls. */
const UNDER_WAY_MAX = 8
/** Five full batches. */
const WAITING_MAX = 100
/** Half of what a device waits for an answer. */
const WAIT_MAX_MS = 5_000

/** What the proxy needs of the chain. */
export interface ChainProxyDeps {
  readonly chain: Pick<EmbeddedChain, 'chainId' | 'durableBlock' | 'nearlyFull'>
  /** Reads at most PROXY_ANSWER_BYTES_MAX of an answer. */
  readonly rpc: Pick<Rpc, 'request'>
  readonly contracts: ProxyPolicy['contracts']
}

/**
 * The function that answers one JSON-RPC body, single or batch; it throws HttpError 503 where the
 * node is away.
 */
export function openChainProxy(o: ChainProxyDeps): (body: unknown) => Promise<unknown> {
  const turns = createTurns()

  async function ask(call: ProxyCall): Promise<ProxyAnswer> {
    if (!(await turns.take())) {
      return { error: { code: LIMIT_EXCEEDED, message: 'the chain is busy; try again' } }
    }
    try {
      const refusal = call.before && (await refusalBefore(call.before))
      if (refusal !== undefined) return { error: refusal }
      return { result: await o.rpc.request(call.method, call.params) }
    } catch (error) {
      if (error instanceof ChainError && error.code === 'rpc-error')
        return { error: errorOf(error) }
      if (error instanceof ChainError && error.code === 'answer-too-large') {
        return { error: { code: LIMIT_EXCEEDED, message: 'the answer is too large' } }
      }
      throw new HttpError(503, 'chain-unavailable', 'the embedded chain does not answer')
    } finally {
      turns.give()
    }
  }

  async function refusalBefore(
    before: NonNullable<ProxyCall['before']>,
  ): Promise<ProxyError | undefined> {
    return before.refusal(await o.rpc.request(before.method, before.params))
  }

  return async (body) => {
    const plan = planProxy(body, {
      chainId: o.chain.chainId,
      contracts: o.contracts,
      durableBlock: o.chain.durableBlock(),
      nearlyFull: o.chain.nearlyFull(),
    })
    return plan.complete(await Promise.all(plan.forward.map(ask)))
  }
}

/** Turns for UNDER_WAY_MAX calls at once; `take` is false where too many wait, or for too long. */
function createTurns(): { take(): Promise<boolean>; give(): void } {
  let free = UNDER_WAY_MAX
  const waiting = new Set<(granted: boolean) => void>()
  return {
    async take() {
      if (free > 0) {
        free -= 1
        return true
      }
      if (waiting.size >= WAITING_MAX) return false
      const { promise, resolve } = Promise.withResolvers<boolean>()
      waiting.add(resolve)
      const late = setTimeout(() => {
        waiting.delete(resolve)
        resolve(false)
      }, WAIT_MAX_MS)
      return promise.finally(() => clearTimeout(late))
    },
    give() {
      const [next] = waiting
      if (next === undefined) {
        free += 1
        return
      }
      waiting.delete(next)
      next(true)
    },
  }
}

/**
 * The node's own error object (a revert carries its reason in it), else one made of the message.
 */
function errorOf(error: ChainError): ProxyError {
  const { cause } = error
  if (typeof cause === 'object' && cause !== null && 'code' in cause && 'message' in cause) {
    const data = 'data' in cause ? { data: cause.data } : {}
    return { code: Number(cause.code), message: String(cause.message), ...data }
  }
  return { code: INTERNAL_ERROR, message: error.message }
}
