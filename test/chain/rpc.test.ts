// JSON-RPC over HTTP against a server of the test's own that misbehaves in every way a node can.

import { createServer, type ServerResponse } from 'node:http'
import t from 'tap'
import { bigintOf, numberOf, type Rpc } from '../../chain/jsonrpc.ts'
import { openRpc } from '../../chain/rpc.ts'

let behave: (body: string, response: ServerResponse) => void = () => undefined
const server = createServer(async (request, response) => {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  behave(Buffer.concat(chunks).toString('utf8'), response)
})
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
const address = server.address()
const host = `127.0.0.1:${typeof address === 'object' ? address?.port : 0}`
t.teardown(() => {
  server.closeAllConnections()
  server.close()
})

function client(): Rpc {
  const rpc = openRpc(`http://${host}/v3/SECRET-API-KEY?token=SECRET-API-KEY`)
  t.teardown(() => rpc.close())
  return rpc
}

/** Answers every call of the body by `result`, in reverse order. */
const answering =
  (result: (method: string) => object) => (body: string, response: ServerResponse) => {
    const calls = JSON.parse(body)
    const answer = (call: { id: number; method: string }): object => ({
      id: call.id,
      ...result(call.method),
    })
    response.end(JSON.stringify(Array.isArray(calls) ? calls.map(answer).reverse() : answer(calls)))
  }

t.test('requests and batches, whatever order the answers have', async (t) => {
  behave = answering((method) => ({ result: `of ${method}` }))
  const rpc = client()
  t.equal(await rpc.request('a', []), 'of a')
  const calls = ['x', 'y', 'z'].map((method) => ({ method, params: [] }))
  t.strictSame(await rpc.batch(calls), ['of x', 'of y', 'of z'])
  t.strictSame(await rpc.batch([]), [])
})

t.test('every failure is coded, and no text holds the url', async (t) => {
  const text =
    (answer: string, status = 200) =>
    (_: string, response: ServerResponse) => {
      response.statusCode = status
      response.end(answer)
    }
  const failures: [string, typeof behave, string][] = [
    [
      'an error object',
      answering(() => ({ error: { code: 3, message: 'reverted' } })),
      'rpc-error',
    ],
    ['neither result nor error', answering(() => ({})), 'rpc-error'],
    ['null', text('null'), 'rpc-error'],
    ['no JSON', text('<html>'), 'chain-unreachable'],
    ['status 429', text('{"result":1}', 429), 'chain-unreachable'],
    ['a broken connection', (_, response) => response.destroy(), 'chain-unreachable'],
    ['silence', () => undefined, 'chain-unreachable'],
  ]
  for (const [name, behaviour, code] of failures) {
    behave = behaviour
    const error = await client()
      .request('eth_call', [], 150)
      .then(
        () => undefined,
        (thrown: Error) => thrown,
      )
    t.match(error, { name: 'ChainError', code }, name)
    t.notMatch(`${error?.stack} ${error?.message}`, /SECRET/, name)
  }
  behave = text('{"error":{"code":-32600,"message":"batch too large"}}')
  await t.rejects(client().batch([{ method: 'a', params: [] }]), { code: 'rpc-error' })
})

t.test('an answer above the limit is no silence: it has its own code', async (t) => {
  behave = answering(() => ({ result: 'x'.repeat(2_000) }))
  const rpc = openRpc(`http://${host}/`, 1_000)
  t.teardown(() => rpc.close())
  await t.rejects(rpc.request('anvil_dumpState', []), { code: 'answer-too-large' })
  behave = answering(() => ({ result: 'x' }))
  t.equal(await rpc.request('a', []), 'x')
})

t.test('nobody listens; another scheme; closed', async (t) => {
  await t.rejects(openRpc('http://127.0.0.1:1').request('a', []), { code: 'chain-unreachable' })
  t.throws(() => openRpc('ftp://127.0.0.1'), { code: 'chain-unreachable' })
  const rpc = client()
  rpc.close()
  await t.rejects(rpc.request('a', []), { name: 'ChainError' })
})

t.test('quantities', (t) => {
  t.equal(numberOf('0x1f'), 31)
  t.equal(bigintOf('0xffffffffffffffffffff'), 2n ** 80n - 1n)
  for (const bad of ['', '0x', '1f', 5, null, undefined, '0xzz', '0x1ffffffffffffffff']) {
    t.throws(() => numberOf(bad), { code: 'rpc-error' }, JSON.stringify(bad))
  }
  t.throws(() => bigintOf('12'), { code: 'rpc-error' })
  t.end()
})
