// The policy of POST /v1/chain: which JSON-RPC a stranger may have of the embedded chain, and that
// nobody sees a block before it is durable. Pure: a body in, what to forward and how to answer out;
// the HTTP server forwards. Everything not named here is refused, above all anvil's own methods.

import { type Address, parseAddress } from '../ethereum/address.ts'
import { numberOf, quantity } from './jsonrpc.ts'
import { limitsAt, readRawTransaction, type TransactionPolicy } from './raw-transaction.ts'

/** What the policy depends on. */
export interface ProxyPolicy extends TransactionPolicy {
  /** The newest block that may be shown. */
  readonly durableBlock: number
  /** No more transactions: the chain's state is close to what can be saved. */
  readonly nearlyFull: boolean
}

/** What to ask the node, in order, and how its answers become the body of the reply. */
export interface ProxyPlan {
  /** Calls for the node, at most 20; may be empty. */
  readonly forward: readonly ProxyCall[]
  /** `answers[i]` belongs to `forward[i]`: its result, or the error to pass on. */
  complete(answers: readonly ProxyAnswer[]): unknown
}

/** One call for the node. */
export interface ProxyCall {
  readonly method: string
  readonly params: readonly unknown[]
  /** Asked first; where `refusal` gives an error for its result, that is the call's answer. */
  readonly before?: {
    readonly method: string
    readonly params: readonly unknown[]
    /** Throws ChainError 'rpc-error' for a result that is none. */
    refusal(result: unknown): ProxyError | undefined
  }
}

export type ProxyAnswer = { readonly result: unknown } | { readonly error: ProxyError }

export interface ProxyError {
  readonly code: number
  readonly message: string
  readonly data?: unknown
}

/** The limits of this interface. */
export const PROXY_BATCH_MAX = 20
const CALL_GAS_MAX = 10_000_000n
const LOG_BLOCKS_MAX = 2_000
/** A gap in the nonces fills the node's pool: each account may fill this much of it. */
const NONCE_AHEAD_MAX = 16
const LOG_ADDRESSES_MAX = 20
/** EIP-1474 "limit exceeded". */
export const LIMIT_EXCEEDED = -32005
/** One HTTP answer, and what is read of the node for it: some 1,300 logs of ours. */
export const PROXY_ANSWER_BYTES_MAX = 1024 * 1024
/** A fee history is asked for a few blocks; anvil computes each. */
const FEE_BLOCKS_MAX = 20

type Params = readonly unknown[]

/** A request that passed: what to forward, and which answers may be shown. */
interface Allowed {
  readonly params: Params
  readonly before?: ProxyCall['before']
  /** Hides what is of a block that is not durable yet. */
  readonly show?: (result: unknown) => unknown
}

/** Thrown inside this file only: becomes a JSON-RPC error object. */
interface Refusal {
  readonly code: number
  readonly message: string
}

const refuse = (message: string, code = -32602): Refusal => ({ code, message })
const isRefusal = (value: object): value is Refusal => 'message' in value

/** How many calls a body holds, for rate limits that count calls; at least 1. */
export function countCalls(body: unknown): number {
  return Array.isArray(body) ? Math.max(1, Math.min(body.length, PROXY_BATCH_MAX)) : 1
}

/** Applies the policy to a parsed JSON body; whatever that holds, it does not throw. */
export function planProxy(body: unknown, policy: ProxyPolicy): ProxyPlan {
  if (!Array.isArray(body)) return planCalls([body], policy, (replies) => replies[0])
  if (body.length === 0 || body.length > PROXY_BATCH_MAX) {
    const error = refuse(`a batch has 1 to ${PROXY_BATCH_MAX} calls`, -32600)
    return { forward: [], complete: () => ({ jsonrpc: '2.0', id: null, error }) }
  }
  return planCalls(body, policy, (replies) => replies)
}

function planCalls(
  calls: readonly unknown[],
  policy: ProxyPolicy,
  wrap: (replies: readonly unknown[]) => unknown,
): ProxyPlan {
  const forward: ProxyCall[] = []
  const replies = calls.map((call): ((answers: readonly ProxyAnswer[]) => unknown) => {
    const { id, method, params } = readCall(call)
    const reply = (answer: object): unknown => ({ jsonrpc: '2.0', id, ...answer })
    if (method === undefined) {
      return () => reply({ error: refuse('not a JSON-RPC 2.0 call', -32600) })
    }
    const rule = RULES.get(method)
    if (rule === undefined) {
      return () =>
        reply({ error: refuse(`the method ${method.slice(0, 60)} is not available`, -32601) })
    }
    const verdict = rule(params, policy)
    if (isRefusal(verdict)) return () => reply({ error: verdict })
    if ('answer' in verdict) return () => reply({ result: verdict.answer })
    const before = verdict.before === undefined ? {} : { before: verdict.before }
    const index = forward.push({ method, params: verdict.params, ...before }) - 1
    return (answers) => {
      const answer = answers[index] ?? { error: refuse('no answer from the node', -32603) }
      if ('error' in answer) return reply({ error: answer.error })
      return reply({
        result: verdict.show?.(answer.result) ?? (verdict.show ? null : answer.result),
      })
    }
  })
  return {
    forward,
    complete: (answers) => wrap(bounded(replies.map((reply) => reply(answers)))),
  }
}

/** The replies that fit into one answer; the others are replaced by an error of a few bytes. */
function bounded(replies: readonly unknown[]): unknown[] {
  let bytes = 0
  return replies.map((reply) => {
    bytes += JSON.stringify(reply).length
    if (bytes <= PROXY_ANSWER_BYTES_MAX) return reply
    const { id } = reply as { id: unknown }
    return { jsonrpc: '2.0', id, error: refuse('the answer is too large', LIMIT_EXCEEDED) }
  })
}

function readCall(call: unknown): { id: unknown; method?: string; params: Params } {
  const { id, method, params = [] } = (isObject(call) ? call : {}) as Record<string, unknown>
  const echoed = typeof id === 'string' || typeof id === 'number' ? id : null
  if (typeof method !== 'string' || !Array.isArray(params)) return { id: echoed, params: [] }
  return { id: echoed, method, params }
}

type Rule = (params: Params, policy: ProxyPolicy) => Allowed | Refusal | { answer: unknown }

const noParams: Rule = (params) => (params.length === 0 ? { params: [] } : refuse('no parameters'))

/** Only a string is read: String() of a stranger's object may throw. */
const addressIn = (value: unknown): Address | undefined =>
  typeof value === 'string' ? parseAddress(value) : undefined

const isOurs = (value: unknown, { contracts }: ProxyPolicy): boolean =>
  limitsAt(addressIn(value), contracts) !== undefined

/** Methods of (address, block). */
const accountAtBlock: Rule = ([address, block = 'latest', ...rest], policy) => {
  const account = addressIn(address)
  if (account === undefined || rest.length > 0) return refuse('parameters: address, block')
  return atBlock(block, policy, (tag) => [account, tag])
}

/** The nonce for the next transaction counts those in blocks that are not durable yet. */
const transactionCount: Rule = (params, policy) => {
  const account = addressIn(params[0])
  const pending = params.length === 2 && params[1] === 'pending' && account !== undefined
  return pending ? { params: [account, 'pending'] } : accountAtBlock(params, policy)
}

/** eth_call and eth_estimateGas: (transaction, block), without overrides of state or block. */
const callAtBlock: Rule = ([transaction, block = 'latest', ...rest], policy) => {
  if (rest.length > 0) return refuse('overrides are not available')
  const call = readTransaction(transaction)
  if (isRefusal(call)) return call
  // Elsewhere there is nothing of ours to ask, and code of strangers may burn all its gas.
  if (!isOurs(call.transaction['to'], policy)) return refuse('calls of our contracts only')
  return atBlock(block, policy, (tag) => [call.transaction, tag])
}

const byHash: Rule = ([hash, ...rest], policy) => {
  if (typeof hash !== 'string' || !/^0x[0-9a-fA-F]{64}$/.test(hash) || rest.length > 0) {
    return refuse('parameters: a 32-byte hash')
  }
  return { params: [hash], show: (result) => (isShown(result, policy) ? result : null) }
}

const blockByNumber: Rule = ([block, full = false, ...rest], policy) => {
  if (typeof full !== 'boolean' || rest.length > 0) return refuse('parameters: block, boolean')
  const number = blockNumber(block, policy)
  if (number === undefined) return refuse('a block is a number or a tag')
  if (number > policy.durableBlock) return { answer: null }
  return { params: [quantity(number), full] }
}

const feeHistory: Rule = ([count, newest = 'latest', percentiles = [], ...rest], policy) => {
  const blocks = typeof count === 'number' ? count : blockNumber(count, policy)
  const valid = blocks !== undefined && Number.isInteger(blocks) && blocks >= 1
  if (!valid || blocks > FEE_BLOCKS_MAX || !Array.isArray(percentiles) || rest.length > 0) {
    return refuse(`parameters: 1 to ${FEE_BLOCKS_MAX} blocks, newest block, percentiles`)
  }
  const numbers = percentiles.filter((one) => typeof one === 'number' && one >= 0 && one <= 100)
  if (numbers.length !== percentiles.length || numbers.length > FEE_BLOCKS_MAX) {
    return refuse('percentiles are numbers from 0 to 100')
  }
  return atBlock(newest, policy, (tag) => [quantity(blocks), tag, numbers])
}

const logs: Rule = ([filter, ...rest], policy) => {
  if (!isObject(filter) || rest.length > 0) return refuse('parameters: a filter')
  const { contract, token } = policy.contracts
  const {
    address = [contract, token],
    topics = [],
    fromBlock,
    toBlock,
    blockHash,
    ...more
  } = filter
  if (Object.keys(more).length > 0) return refuse('a filter has address, topics and blocks')
  const listed = Array.isArray(address) ? address : [address]
  if (listed.length > LOG_ADDRESSES_MAX) return refuse(`at most ${LOG_ADDRESSES_MAX} addresses`)
  const ours = listed.every((one) => isOurs(one, policy))
  if (!ours || listed.length === 0) return refuse('logs of our contracts only')
  const addresses = listed.map(addressIn)
  if (!areTopics(topics)) return refuse('topics are up to four hashes, lists of hashes or nulls')
  const show = (result: unknown): unknown =>
    Array.isArray(result) ? result.filter((log) => isShown(log, policy)) : []
  if (blockHash !== undefined) {
    const valid = typeof blockHash === 'string' && /^0x[0-9a-fA-F]{64}$/.test(blockHash)
    if (!valid || fromBlock !== undefined || toBlock !== undefined) return refuse('blockHash alone')
    return { params: [{ address: addresses, topics, blockHash }], show }
  }
  const from = blockNumber(fromBlock ?? 'latest', policy)
  const asked = blockNumber(toBlock ?? 'latest', policy)
  if (from === undefined || asked === undefined) return refuse('a block is a number or a tag')
  const to = Math.min(asked, policy.durableBlock)
  if (to - from >= LOG_BLOCKS_MAX) return refuse(`logs of at most ${LOG_BLOCKS_MAX} blocks`)
  if (from > to) return { answer: [] }
  const range = { fromBlock: quantity(from), toBlock: quantity(to) }
  return { params: [{ address: addresses, topics, ...range }], show }
}

const sendRaw: Rule = ([raw, ...rest], policy) => {
  if (rest.length > 0) return refuse('parameters: a signed transaction')
  if (policy.nearlyFull) {
    return refuse('this embedded chain is nearly full and takes no more transactions', -32000)
  }
  const signed = readRawTransaction(raw, policy)
  if (typeof signed === 'string') return refuse(signed)
  const { account, nonce } = signed
  return {
    params: [raw],
    before: {
      ...{ method: 'eth_getTransactionCount', params: [account, 'pending'] },
      refusal(result) {
        const next = numberOf(result)
        if (nonce <= next + NONCE_AHEAD_MAX) return undefined
        return refuse(`nonce ${nonce} is too far ahead of the account's next one, ${next}`, -32000)
      },
    },
  }
}

const RULES: ReadonlyMap<string, Rule> = new Map<string, Rule>([
  ['eth_chainId', noParams],
  ['net_version', noParams],
  ['eth_gasPrice', noParams],
  ['eth_maxPriorityFeePerGas', noParams],
  ['eth_blockNumber', (_, policy) => ({ answer: quantity(policy.durableBlock) })],
  ['eth_getBalance', accountAtBlock],
  ['eth_getCode', accountAtBlock],
  ['eth_getTransactionCount', transactionCount],
  ['eth_call', callAtBlock],
  ['eth_estimateGas', callAtBlock],
  ['eth_getTransactionReceipt', byHash],
  ['eth_getTransactionByHash', byHash],
  ['eth_getBlockByNumber', blockByNumber],
  ['eth_feeHistory', feeHistory],
  ['eth_getLogs', logs],
  ['eth_sendRawTransaction', sendRaw],
])

/** A block parameter resolved to a number that may be shown, put into the call's parameters. */
function atBlock(
  block: unknown,
  policy: ProxyPolicy,
  params: (tag: string) => Params,
): Allowed | Refusal {
  const number = blockNumber(block, policy)
  if (number === undefined) return refuse('a block is a number or a tag')
  if (number > policy.durableBlock) return refuse('there is no such block yet', -32000)
  return { params: params(quantity(number)) }
}

/** Every tag for the newest block means the newest durable one. */
function blockNumber(block: unknown, policy: ProxyPolicy): number | undefined {
  if (block === 'earliest') return 0
  if (['latest', 'pending', 'safe', 'finalized'].includes(block as string))
    return policy.durableBlock
  if (typeof block !== 'string' || !/^0x[0-9a-fA-F]{1,13}$/.test(block)) return undefined
  const number = Number(block)
  return Number.isSafeInteger(number) ? number : undefined
}

const TRANSACTION_KEYS: ReadonlySet<string> = new Set([
  ...['data', 'input', 'value', 'gasPrice', 'maxFeePerGas'],
  ...['from', 'to', 'gas', 'maxPriorityFeePerGas', 'nonce', 'type', 'chainId', 'accessList'],
])

/** A call's transaction with its gas capped; unknown members are refused, not passed on. */
function readTransaction(value: unknown): { transaction: Record<string, unknown> } | Refusal {
  if (!isObject(value)) return refuse('a transaction is an object')
  for (const [name, member] of Object.entries(value)) {
    if (!TRANSACTION_KEYS.has(name)) return refuse(`unknown member ${name.slice(0, 30)}`)
    const isHex = typeof member === 'string' && /^0x[0-9a-fA-F]*$/.test(member)
    if (name !== 'accessList' && !isHex) return refuse(`${name} is 0x-hex`)
  }
  const { accessList = [], gas, ...rest } = value
  // An access list only makes a call dearer; an empty one is what libraries send along.
  if (!Array.isArray(accessList) || accessList.length > 0) return refuse('no access list')
  const asked = gas === undefined || gas === '0x' ? CALL_GAS_MAX : BigInt(gas as string)
  const capped = asked < CALL_GAS_MAX ? asked : CALL_GAS_MAX
  return { transaction: { ...rest, gas: quantity(capped) } }
}

function areTopics(topics: unknown): boolean {
  const isHash = (one: unknown): boolean =>
    one === null || (typeof one === 'string' && /^0x[0-9a-fA-F]{64}$/.test(one))
  if (!Array.isArray(topics) || topics.length > 4) return false
  return topics.every((one) =>
    Array.isArray(one) ? one.length <= PROXY_BATCH_MAX && one.every(isHash) : isHash(one),
  )
}

/** Receipts, transactions and logs carry their block; pending transactions have none yet. */
function isShown(result: unknown, policy: ProxyPolicy): boolean {
  if (!isObject(result)) return false
  const number = result['blockNumber']
  if (number === null || number === undefined) return true
  return typeof number === 'string' && Number(number) <= policy.durableBlock
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
