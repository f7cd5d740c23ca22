// POST /v1/chain between HTTP and the node: how many calls at once and a second, what a node that
// is away or answers too much becomes.

import fastify from 'fastify'
import t, { type Test } from 'tap'
import { ChainError } from '../../chain/error.ts'
import { type Address, parseAddress } from '../../ethereum/address.ts'
import { openChainProxy } from '../../server/chain-proxy.ts'
import { HttpError } from '../../server/http-error.ts'
import { type PublicDeps, publicRoutes } from '../../server/http-public.ts'

const addressOf = (byte: string): Address => parseAddress(`0x${byte.repeat(20)}`) as Address
const contracts = { contract: addressOf('cc'), token: addressOf('dd') }
const chain = { chainId: 31_337n, durableBlock: () => 7, nearlyFull: () => false }
const batch = (calls: number): object[] =>
  Array.from({ length: calls }, (_, id) => ({ jsonrpc: '2.0', id, method: 'eth_gasPrice' }))

/** A proxy whose node answers when told to. */
function rig(answer: () => Promise<unknown>) {
  const counts = { now: 0, most: 0 }
  const request = async (): Promise<unknown> => {
    counts.now += 1
    counts.most = Math.max(counts.most, counts.now)
    return answer().finally(() => {
      counts.now -= 1
    })
  }
  return { counts, proxy: openChainProxy({ chain, rpc: { request }, contracts }) }
}

t.test('8 calls at once for everybody; some wait, more are told that it is busy', async (t) => {
  const open = Promise.withResolvers<void>()
  const { counts, proxy } = rig(() => open.promise.then(() => '0x1'))
  const all = Array.from({ length: 6 }, () => proxy(batch(20)))
  await new Promise((resolve) => setTimeout(resolve, 20))
  t.equal(counts.now, 8)
  open.resolve()
  const replies = (await Promise.all(all)).flat() as { error?: { code: number } }[]
  t.equal(counts.most, 8)
  t.equal(replies.filter(({ error }) => error === undefined).length, 108, '8 and 100 that waited')
  t.equal(replies.filter(({ error }) => error?.code === -32005).length, 12)
  t.match(await proxy(batch(1)[0]), { result: '0x1' }, 'and its turns are all given back')
})

t.test(
  'too large an answer is the error of its call; a node that is away ends the body',
  async (t) => {
    const large = rig(() => Promise.reject(new ChainError('answer-too-large', 'above')))
    t.match(await large.proxy(batch(1)[0]), { id: 0, error: { code: -32005 } })
    const away = rig(() => Promise.reject(new ChainError('chain-unreachable', 'no answer')))
    for (let i = 0; i < 3; i++) {
      await t.rejects(away.proxy(batch(20)), { statusCode: 503, code: 'chain-unavailable' })
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
    t.equal(away.counts.now, 0, 'none is left behind')
  },
)

t.test('a refusal has no stack trace to fill a log with', (t) => {
  t.equal(new HttpError(503, 'chain-unavailable', 'away').stack, 'HttpError: away')
  t.end()
})

async function routes(t: Test, now: () => number) {
  const app = fastify()
  t.teardown(() => app.close())
  const embedded = { fund: async () => '', proxy: async () => 'answered' }
  await app.register(async (one) => publicRoutes(one, { embedded, now } as unknown as PublicDeps))
  return (payload: object, remoteAddress = '192.0.2.1') =>
    app.inject({ method: 'POST', url: '/v1/chain', payload, remoteAddress })
}

t.test('product §11: 20 calls a second from an address, each of a batch counted', async (t) => {
  let nowMs = 1_000_000
  const post = await routes(t, () => nowMs)
  t.equal((await post(batch(15))).statusCode, 200)
  const refused = await post(batch(6))
  t.equal(refused.statusCode, 429)
  t.equal(refused.headers['retry-after'], '1')
  t.equal((await post(batch(5))).statusCode, 200, 'a refused batch takes nothing')
  t.equal((await post({ method: 'eth_chainId' })).statusCode, 429)
  t.equal((await post(batch(20), '192.0.2.2')).statusCode, 200, 'another address')
  nowMs += 999
  t.equal((await post(batch(1))).statusCode, 429)
  nowMs += 1
  t.equal((await post(batch(20))).statusCode, 200, 'the next second')
  nowMs -= 3_600_000
  t.equal((await post(batch(20))).statusCode, 200, 'a clock that was set back')
})
