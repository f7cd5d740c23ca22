// POST /v1/chain: carries what the proxy's policy lets through to the embedded chain, and its
// answers back. The policy itself is chain/proxy.ts. Called by http-public.ts.

import type { EmbeddedChain } from '../chain/embedded.ts'
import { ChainError } from '../chain/error.ts'
import type { Rpc } from '../chain/jsonrpc.ts'
import { type ProxyAnswer, planProxy } from '../chain/proxy.ts'
import type { Address } from '../ethereum/address.ts'
import { HttpError } from './http-error.ts'

/** JSON-RPC's "internal error", for a failure whose own error object is not known. */
const INTERNAL_ERROR = -32603

/** What the proxy needs of the chain. */
export interface ChainProxyDeps {
  readonly chain: Pick<EmbeddedChain, 'chainId' | 'durableBlock'>
  readonly rpc: Pick<Rpc, 'request'>
  readonly contracts: readonly Address[]
}

/** Answers one JSON-RPC body, single or batch; throws HttpError 503 where the node is away. */
export async function answerChain(
  body: unknown,
  { chain, rpc, contracts }: ChainProxyDeps,
): Promise<unknown> {
  const plan = planProxy(body, {
    chainId: chain.chainId,
    contracts,
    durableBlock: chain.durableBlock(),
  })
  const ask = async ({ method, params }: (typeof plan.forward)[number]): Promise<ProxyAnswer> => {
    try {
      return { result: await rpc.request(method, params) }
    } catch (error) {
      if (error instanceof ChainError && error.code === 'rpc-error')
        return { error: errorOf(error) }
      throw new HttpError(503, 'chain-unavailable', 'the embedded chain does not answer')
    }
  }
  return plan.complete(await Promise.all(plan.forward.map(ask)))
}

/**
 * The node's own error object (a revert carries its reason in it), else one made of the message.
 */
function errorOf(error: ChainError): { code: number; message: string; data?: unknown } {
  const { cause } = error
  if (typeof cause === 'object' && cause !== null && 'code' in cause && 'message' in cause) {
    const data = 'data' in cause ? { data: cause.data } : {}
    return { code: Number(cause.code), message: String(cause.message), ...data }
  }
  return { code: INTERNAL_ERROR, message: error.message }
}
