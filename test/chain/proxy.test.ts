// The policy of /v1/chain, as a table of what passes, what is refused and what is hidden.

import fc from 'fast-check'
import t from 'tap'
import {
  countCalls,
  PROXY_ANSWER_BYTES_MAX,
  type ProxyAnswer,
  type ProxyPolicy,
  planProxy,
} from '../../chain/proxy.ts'
import { account } from './fakechain.ts'

const ours = account(0xc0ffee)
const token = account(0x70cce)
const other = account(0xbad)
const hash = `0x${'ab'.repeat(32)}`
const policy: ProxyPolicy = {
  chainId: 31_337n,
  contracts: { contract: ours, token },
  durableBlock: 100,
  nearlyFull: false,
}

const plan = (method: string, params: readonly unknown[] = []) =>
  planProxy({ jsonrpc: '2.0', id: 7, method, params }, policy)

interface Reply {
  readonly id: unknown
  readonly result?: unknown
  readonly error?: { readonly code: number; readonly message: string }
}

/** The reply when the node answers `result`. */
function replyTo(method: string, params: readonly unknown[], result?: unknown): Reply {
  const planned = plan(method, params)
  const answers: ProxyAnswer[] = planned.forward.map(() => ({ result }))
  return planned.complete(answers) as Reply
}

t.test('product §11: what is forwarded, and with which parameters', (t) => {
  const call = { to: ours, data: '0x1234' }
  const capped = { ...call, gas: '0x989680' }
  const passing: [string, unknown[], unknown[]][] = [
    ['eth_chainId', [], []],
    ['net_version', [], []],
    ['eth_gasPrice', [], []],
    ['eth_maxPriorityFeePerGas', [], []],
    ['eth_getBalance', [other, 'latest'], [other, '0x64']],
    ['eth_getBalance', [other], [other, '0x64']],
    ['eth_getBalance', [other, '0x5'], [other, '0x5']],
    ['eth_getCode', [ours, 'finalized'], [ours, '0x64']],
    ['eth_getTransactionCount', [other, 'latest'], [other, '0x64']],
    ['eth_getTransactionCount', [other, 'pending'], [other, 'pending']],
    ['eth_call', [call, 'latest'], [capped, '0x64']],
    ['eth_call', [{ ...call, gas: '0xffffffff' }, 'earliest'], [capped, '0x0']],
    ['eth_call', [{ ...call, gas: '0x10' }], [{ ...call, gas: '0x10' }, '0x64']],
    ['eth_estimateGas', [{ ...call, from: other }], [{ ...capped, from: other }, '0x64']],
    ['eth_getTransactionReceipt', [hash], [hash]],
    ['eth_getTransactionByHash', [hash], [hash]],
    ['eth_getBlockByNumber', ['latest', false], ['0x64', false]],
    ['eth_getBlockByNumber', ['0x1', true], ['0x1', true]],
    ['eth_feeHistory', ['0x4', 'latest', [25, 75]], ['0x4', '0x64', [25, 75]]],
    ['eth_feeHistory', [1, 'pending', []], ['0x1', '0x64', []]],
    [
      'eth_getLogs',
      [{ fromBlock: '0x0', toBlock: 'latest' }],
      [{ address: [ours, token], topics: [], fromBlock: '0x0', toBlock: '0x64' }],
    ],
    [
      'eth_getLogs',
      [{ address: ours, topics: [hash, null, [hash]], fromBlock: '0x63', toBlock: '0xffff' }],
      [{ address: [ours], topics: [hash, null, [hash]], fromBlock: '0x63', toBlock: '0x64' }],
    ],
    [
      'eth_getLogs',
      [{ blockHash: hash }],
      [{ address: [ours, token], topics: [], blockHash: hash }],
    ],
  ]
  for (const [method, params, forwarded] of passing) {
    const name = `${method} ${JSON.stringify(params)}`
    t.strictSame(plan(method, params).forward, [{ method, params: forwarded }], name)
  }
  t.end()
})

t.test('product §11: what is refused', (t) => {
  const wide = { fromBlock: '0x0', toBlock: '0x7d0' }
  const refused: [string, unknown[], number][] = [
    ...['anvil_setBalance', 'evm_mine', 'eth_sendTransaction', 'eth_accounts', 'debug_x', ''].map(
      (method): [string, unknown[], number] => [method, [], -32601],
    ),
    ['toString', [], -32601],
    ['eth_subscribe', ['newHeads'], -32601],
    ['eth_chainId', [1], -32602],
    ['eth_getBalance', ['0x12', 'latest'], -32602],
    ['eth_getBalance', [other, 'newest'], -32602],
    ['eth_getBalance', [other, '0x65'], -32000],
    ['eth_getBalance', [other, { blockHash: hash }], -32602],
    ['eth_getTransactionCount', [other, 'pending', 1], -32602],
    ['eth_call', [{ to: ours }, 'latest', { [ours]: {} }], -32602],
    ['eth_call', [{ to: ours, blobs: [] }, 'latest'], -32602],
    ['eth_call', [{ to: ours, data: 'ff' }, 'latest'], -32602],
    ['eth_call', [{ to: ours, gas: 5 }, 'latest'], -32602],
    ['eth_call', [{ to: ours, accessList: [{}] }], -32602],
    ['eth_call', [{ to: other, data: '0x12345678' }], -32602],
    ['eth_call', [{ data: '0x6001' }], -32602],
    ['eth_estimateGas', [{ to: other }], -32602],
    ['eth_estimateGas', [{ data: '0x6001' }], -32602],
    ['eth_call', ['0x'], -32602],
    ['eth_call', [], -32602],
    ['eth_getTransactionReceipt', ['0x12'], -32602],
    ['eth_getTransactionReceipt', [], -32602],
    ['eth_getBlockByNumber', ['latest', 1], -32602],
    ['eth_getBlockByNumber', [-1, false], -32602],
    ['eth_feeHistory', [21, 'latest', []], -32602],
    ['eth_feeHistory', [0, 'latest', []], -32602],
    ['eth_feeHistory', [1, 'latest', ['x']], -32602],
    ['eth_getLogs', [{ address: other }], -32602],
    ['eth_getLogs', [{ address: [ours, other] }], -32602],
    ['eth_getLogs', [{ address: [] }], -32602],
    ['eth_getLogs', [{ address: Array.from({ length: 21 }, () => ours) }], -32602],
    ['eth_getLogs', [{ topics: { length: 0 } }], -32602],
    ['eth_getLogs', [{ blockHash: hash, toBlock: '0x1' }], -32602],
    ['eth_getLogs', [{ topics: ['0x1'] }], -32602],
    ['eth_getLogs', [{ topics: [null, null, null, null, null] }], -32602],
    ['eth_getLogs', [{ limit: 5 }], -32602],
    ['eth_getLogs', [], -32602],
  ]
  for (const [method, params, code] of refused) {
    const name = `${method} ${JSON.stringify(params)}`
    t.strictSame(plan(method, params).forward, [], `${name} is not forwarded`)
    t.equal(replyTo(method, params).error?.code, code, name)
  }
  const far: ProxyPolicy = { ...policy, durableBlock: 5_000 }
  const body = (filter: object): object => ({ id: 1, method: 'eth_getLogs', params: [filter] })
  t.equal(planProxy(body(wide), far).forward.length, 0, '2,001 blocks')
  t.equal(planProxy(body({ ...wide, toBlock: '0x7cf' }), far).forward.length, 1, '2,000 blocks')
  t.end()
})

t.test('product §12: nothing above the durable block is shown', (t) => {
  const at = (blockNumber: string | null): object => ({ blockNumber, status: '0x1' })
  const shown: [string, unknown[], unknown, unknown][] = [
    ['eth_getTransactionReceipt', [hash], at('0x64'), at('0x64')],
    ['eth_getTransactionReceipt', [hash], at('0x65'), null],
    ['eth_getTransactionReceipt', [hash], null, null],
    ['eth_getTransactionByHash', [hash], at('0x65'), null],
    ['eth_getTransactionByHash', [hash], at(null), at(null)],
    ['eth_getBlockByNumber', ['0x65', false], { number: '0x65' }, null],
    ['eth_getLogs', [{ blockHash: hash }], [at('0x64'), at('0x65')], [at('0x64')]],
    ['eth_getLogs', [{ fromBlock: '0x65', toBlock: '0x70' }], undefined, []],
    ['eth_blockNumber', [], undefined, '0x64'],
    ['eth_call', [{ to: ours }], '0x01', '0x01'],
  ]
  for (const [method, params, result, expected] of shown) {
    const reply = { jsonrpc: '2.0', id: 7, result: expected }
    const name = `${method} ${JSON.stringify([params, result])}`
    t.strictSame(replyTo(method, params, result), reply, name)
  }
  t.end()
})

t.test('batches and bodies', (t) => {
  const call = (id: unknown, method = 'eth_blockNumber'): object => ({ jsonrpc: '2.0', id, method })
  const twenty = planProxy(
    Array.from({ length: 20 }, (_, i) => call(i, i % 2 ? 'eth_chainId' : 'eth_blockNumber')),
    policy,
  )
  t.equal(twenty.forward.length, 10)
  const replies = twenty.complete(
    twenty.forward.map((_, i) => ({ result: `answer ${i}` })),
  ) as Reply[]
  t.strictSame(
    replies.map(({ id, result }) => [id, result]),
    Array.from({ length: 20 }, (_, i) => [i, i % 2 ? `answer ${(i - 1) / 2}` : '0x64']),
  )
  for (const body of [[], Array.from({ length: 21 }, (_, i) => call(i))]) {
    const refused = planProxy(body, policy)
    t.strictSame(refused.forward, [])
    t.equal((refused.complete([]) as Reply).error?.code, -32600, `${body.length} calls`)
  }
  for (const body of [null, 5, 'x', {}, { method: 5 }, { method: 'eth_chainId', params: {} }]) {
    const reply = planProxy(body, policy).complete([]) as Reply
    t.equal(reply.error?.code, -32600, JSON.stringify(body))
  }
  const error = { code: 3, message: 'execution reverted', data: '0x08c379a0' }
  const failed = plan('eth_call', [{ to: ours }]).complete([{ error }])
  t.strictSame(failed, { jsonrpc: '2.0', id: 7, error })
  t.equal((plan('eth_chainId').complete([]) as Reply).error?.code, -32603, 'the node is away')
  const echoed = planProxy({ ...call({ evil: 1 }) }, policy).complete([]) as Reply
  t.equal(echoed.id, null, 'an id is a number or a string')
  t.end()
})

t.test('one answer has at most 1 MB; what does not fit is an error of its own', (t) => {
  const half = 'x'.repeat(PROXY_ANSWER_BYTES_MAX / 2 - 100)
  const body = [1, 2, 3].map((id) => ({ id, method: 'eth_chainId' }))
  const planned = planProxy(body, policy)
  const replies = planned.complete(body.map(() => ({ result: half }))) as Reply[]
  t.strictSame(
    replies.map(({ id, result, error }) => [id, result?.toString().length, error?.code]),
    [
      [1, half.length, undefined],
      [2, half.length, undefined],
      [3, undefined, -32005],
    ],
  )
  const alone = plan('eth_chainId').complete([{ result: half + half + half }])
  t.match(alone, { id: 7, error: { code: -32005 } })
  t.end()
})

t.test('the calls of a body, for limits that count calls', (t) => {
  const bodies: [unknown, number][] = [
    [{ method: 'eth_chainId' }, 1],
    [[{}, {}, {}], 3],
    [[], 1],
    ['x', 1],
    [null, 1],
    [Array.from({ length: 5_000 }, () => null), 20],
  ]
  for (const [body, calls] of bodies)
    t.equal(countCalls(body), calls, JSON.stringify(body)?.slice(0, 30))
  t.end()
})

t.test('hostile JSON never makes the policy throw', (t) => {
  const methods = [
    ...['eth_chainId', 'eth_getBalance', 'eth_getCode', 'eth_getTransactionCount', 'eth_call'],
    ...['eth_estimateGas', 'eth_getTransactionReceipt', 'eth_getBlockByNumber', 'eth_feeHistory'],
    ...['eth_getLogs', 'eth_sendRawTransaction', 'eth_blockNumber'],
  ]
  const survives = (body: unknown): boolean => {
    const planned = planProxy(body, policy)
    planned.complete(planned.forward.map(() => ({ result: null })))
    return true
  }
  const hostile: unknown[] = [
    { toString: 1 },
    { valueOf: null, toString: null },
    [[{ toString: 1 }]],
  ]
  for (const method of methods) {
    for (const one of hostile) {
      const shapes: unknown[][] = [[one], [one, one], [{ address: one }], [{ address: [one] }]]
      shapes.push([{ blockHash: one }], [{ topics: one }], [{ to: one }], [{ to: ours, gas: one }])
      for (const params of shapes) {
        t.ok(survives({ id: 1, method, params }), `${method} ${JSON.stringify(params)}`)
      }
    }
  }
  const anything = fc.anything({ withNullPrototype: true })
  const member = fc.constantFrom('address', 'topics', 'blockHash', 'fromBlock', 'to', 'data', 'gas')
  const param = fc.oneof(anything, fc.dictionary(member, anything), fc.constant(ours))
  const call = fc.record({
    id: anything,
    method: fc.constantFrom(...methods),
    params: fc.array(param, { maxLength: 4 }),
  })
  const body = fc.oneof(anything, call, fc.array(fc.oneof(call, anything), { maxLength: 25 }))
  fc.assert(fc.property(body, survives), { numRuns: 1_000, seed: 11 })
  t.end()
})

t.test('contracts beside the escrow contract are ours, too', async (t) => {
  const activity = { activities: account(0xa1), attestors: account(0xa2), devices: account(0xa3) }
  const wider = { ...policy, contracts: { ...policy.contracts, activity } }
  for (const to of Object.values(activity)) {
    const call = { jsonrpc: '2.0', id: 1, method: 'eth_call', params: [{ to, data: '0x' }] }
    t.equal(planProxy(call, wider).forward.length, 1)
    t.equal(planProxy(call, policy).forward.length, 0, 'not where they are not known')
    const logs = { ...call, method: 'eth_getLogs', params: [{ address: to, fromBlock: '0x1' }] }
    t.equal(planProxy(logs, wider).forward.length, 1)
  }
})
