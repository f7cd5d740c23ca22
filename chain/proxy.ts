// The policy of POST /v1/chain: which JSON-RPC a stranger may have of the embedded chain, and that
// nobody sees a block before it is durable. Pure: a body in, what to forward and how to answer out;
// the HTTP server forwards. Everything not named here is refused, above all anvil's own methods.

import { Transaction } from 'ethers'
import { type Address, parseAddress } from '../ethereum/address.ts'
import { quantity } from './jsonrpc.ts'
import { TRANSACTION_GAS_MAX } from './transactions.ts'

/** What the policy depends on. */
export interface ProxyPolicy {
  readonly chainId: bigint
  /** The contracts transactions may go to and logs may be read of: Datanet and its token. */
  readonly contracts: readonly Address[]
  /** The newest block that may be shown. */
  readonly durableBlock: number
}

/** What to ask the node, in order, and how its answers become the body of the reply. */
export interface ProxyPlan {
  /** Calls for the node, at most 20; may be empty. */
  readonly forward: readonly { readonly method: string; readonly params: readonly unknown[] }[]
  /** `answers[i]` belongs to `forward[i]`: its result, or the error to pass on. */
  complete(answers: readonly ProxyAnswer[]): unknown
}

export type ProxyAnswer =
  | { readonly result: unknown }
  | { readonly error: { readonly code: number; readonly message: string; readonly data?: unknown } }

/** The limits of this interface. */
export const PROXY_BATCH_MAX = 20
const CALL_GAS_MAX = 10_000_000n
const LOG_BLOCKS_MAX = 2_000
const RAW_BYTES_MAX = 64 * 1024
/** A fee history is asked for a few blocks; anvil computes each. */
const FEE_BLOCKS_MAX = 20

type Params = readonly unknown[]

/** A request that passed: what to forward, and which answers may be shown. */
interface Allowed {
  readonly params: Params
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

/** Applies the policy to a parsed JSON body. */
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
  const forward: { method: string; params: Params }[] = []
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
    const index = forward.push({ method, params: verdict.params }) - 1
    return (answers) => {
      const answer = answers[index] ?? { error: refuse('no answer from the node', -32603) }
      if ('error' in answer) return reply({ error: answer.error })
      return reply({
        result: verdict.show?.(answer.result) ?? (verdict.show ? null : answer.result),
      })
    }
  })
  return { forward, complete: (answers) => wrap(replies.map((reply) => reply(answers))) }
}

function readCall(call: unknown): { id: unknown; method?: string; params: Params } {
  const { id, method, params = [] } = (isObject(call) ? call : {}) as Record<string, unknown>
  const echoed = typeof id === 'string' || typeof id === 'number' ? id : null
  if (typeof method !== 'string' || !Array.isArray(params)) return { id: echoed, params: [] }
  return { id: echoed, method, params }
}

type Rule = (params: Params, policy: ProxyPolicy) => Allowed | Refusal | { answer: unknown }

const noParams: Rule = (params) => (params.length === 0 ? { params: [] } : refuse('no parameters'))

/** Methods of (address, block). */
const accountAtBlock: Rule = ([address, block = 'latest', ...rest], policy) => {
  const account = parseAddress(String(address))
  if (account === undefined || rest.length > 0) return refuse('parameters: address, block')
  return atBlock(block, policy, (tag) => [account, tag])
}

/** The nonce for the next transaction counts those in blocks that are not durable yet. */
const transactionCount: Rule = (params, policy) => {
  const account = parseAddress(String(params[0]))
  const pending = params.length === 2 && params[1] === 'pending' && account !== undefined
  return pending ? { params: [account, 'pending'] } : accountAtBlock(params, policy)
}

/** eth_call and eth_estimateGas: (transaction, block), without overrides of state or block. */
const callAtBlock: Rule = ([transaction, block = 'latest', ...rest], policy) => {
  if (rest.length > 0) return refuse('overrides are not available')
  const call = readTransaction(transaction)
  if (isRefusal(call)) return call
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
  const { address = policy.contracts, topics = [], fromBlock, toBlock, blockHash, ...more } = filter
  if (Object.keys(more).length > 0) return refuse('a filter has address, topics and blocks')
  const addresses = (Array.isArray(address) ? address : [address]).map((one) =>
    parseAddress(`${one}`),
  )
  const ours = addresses.every((one) => one !== undefined && policy.contracts.includes(one))
  if (!ours || addresses.length === 0) return refuse('logs of our contracts only')
  if (!areTopics(topics)) return refuse('topics are up to four hashes, lists of hashes or nulls')
  const show = (result: unknown): unknown =>
    Array.isArray(result) ? result.filter((log) => isShown(log, policy)) : []
  if (blockHash !== undefined) {
    const valid = /^0x[0-9a-fA-F]{64}$/.test(String(blockHash))
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
  if (typeof raw !== 'string' || !/^0x([0-9a-fA-F]{2})+$/.test(raw) || rest.length > 0) {
    return refuse('parameters: a signed transaction')
  }
  if (raw.length > 2 + 2 * RAW_BYTES_MAX) return refuse(`at most ${RAW_BYTES_MAX} bytes`)
  let transaction: Transaction
  try {
    transaction = Transaction.from(raw)
  } catch {
    return refuse('not a signed transaction')
  }
  // Blobs (3) and code delegations (4) have no use here, so they get no chance to have one.
  if (transaction.type === null || transaction.type > 2) return refuse('transaction type 0, 1 or 2')
  if (transaction.chainId !== policy.chainId)
    return refuse(`transactions of chain ${policy.chainId}`)
  if (transaction.from === null) return refuse('the transaction is not signed')
  const to = parseAddress(transaction.to ?? '')
  if (to === undefined || !policy.contracts.includes(to)) {
    return refuse('transactions to our contracts only')
  }
  if (transaction.gasLimit > TRANSACTION_GAS_MAX) return refuse(`gas above ${TRANSACTION_GAS_MAX}`)
  return { params: [raw] }
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
function readTransaction(value: unknown): { transaction: object } | Refusal {
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
