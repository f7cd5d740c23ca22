// JSON-RPC over a websocket that the test plays by hand: answers out of order, notifications,
// silence, and connections that end. The server side is the few bytes of RFC 6455 this needs.

import { createHash } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { Duplex } from 'node:stream'
import t, { type Test } from 'tap'
import type { Rpc } from '../../chain/jsonrpc.ts'
import { openSocketRpc, type SocketHooks } from '../../chain/socket.ts'

interface Call {
  readonly id: number
  readonly method: string
}

/** A websocket server; `onCall` gets each request and a function that sends any text back. */
async function serve(
  t: Test,
  onCall: (call: Call, send: (message: object) => void, socket: Duplex) => void,
): Promise<{ url: string; server: Server; sockets: Duplex[] }> {
  const sockets: Duplex[] = []
  const server = createServer()
  server.on('upgrade', (request, socket) => {
    sockets.push(socket)
    socket.on('error', () => undefined)
    const magic = `${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`
    const accept = createHash('sha1').update(magic).digest('base64')
    const head = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
    socket.write(`${head}Sec-WebSocket-Accept: ${accept}\r\n\r\n`)
    const send = (message: object): void => {
      const text = Buffer.from(JSON.stringify(message))
      socket.write(Buffer.concat([Buffer.from([0x81, text.length]), text]))
    }
    let buffered = Buffer.alloc(0)
    socket.on('data', (bytes) => {
      buffered = Buffer.concat([buffered, bytes])
      // Short masked text frames only: opcode 1, a 7-bit length, four mask bytes.
      while (buffered.length >= 6 && buffered.length >= 6 + ((buffered[1] ?? 0) & 127)) {
        const length = (buffered[1] ?? 0) & 127
        const mask = buffered.subarray(2, 6)
        const text = buffered.subarray(6, 6 + length).map((byte, i) => byte ^ (mask[i % 4] ?? 0))
        if (buffered[0] === 0x81) onCall(JSON.parse(Buffer.from(text).toString()), send, socket)
        buffered = buffered.subarray(6 + length)
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const address = server.address()
  const url = `ws://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/SECRET`
  return { url, server, sockets }
}

function client(t: Test, url: string, hooks: SocketHooks = {}): Rpc {
  const rpc = openSocketRpc(url, hooks)
  t.teardown(() => rpc.close())
  return rpc
}

t.test('answers in any order, errors, notifications', async (t) => {
  const held: (() => void)[] = []
  const { url } = await serve(t, ({ id, method }, send) => {
    send({ method: 'eth_subscription', params: {} })
    if (method === 'bad') return send({ id, error: { code: 3, message: 'reverted' } })
    held.push(() => send({ id, result: method }))
    if (held.length === 3) for (const answer of held.reverse()) answer()
  })
  let notified = 0
  let opened = 0
  const rpc = client(t, url, { onNotification: () => (notified += 1), onOpen: () => (opened += 1) })
  await t.rejects(rpc.request('bad', []), { code: 'rpc-error' })
  const calls = ['a', 'b', 'c'].map((method) => ({ method, params: [] }))
  t.strictSame(await rpc.batch(calls), ['a', 'b', 'c'])
  t.strictSame([notified, opened], [4, 1])
})

t.test('a lost connection fails what waits; the next request connects anew', async (t) => {
  const { url, sockets } = await serve(t, ({ id, method }, send, socket) => {
    if (method === 'die') socket.destroy()
    else if (method !== 'wait') send({ id, result: method })
  })
  let closes = 0
  const rpc = client(t, url, { onClose: () => (closes += 1) })
  const waiting = rpc.request('wait', [])
  const dying = rpc.request('die', [])
  await t.rejects(waiting, { code: 'chain-unreachable' })
  await t.rejects(dying, { code: 'chain-unreachable' })
  t.equal(await rpc.request('again', []), 'again')
  t.strictSame([closes, sockets.length], [1, 2])
})

t.test('silence: the request fails in time and the connection is given up', async (t) => {
  const { url, sockets } = await serve(t, ({ id, method }, send) => {
    if (method !== 'wait') send({ id, result: method })
  })
  const rpc = client(t, url)
  const error = await rpc.request('wait', [], 50).catch((thrown: Error) => thrown)
  t.match(error, { code: 'chain-unreachable', message: /wait timed out/ })
  t.notMatch((error as Error).message, /SECRET/)
  t.equal(await rpc.request('again', []), 'again')
  t.equal(sockets.length, 2)
})

t.test('nobody there, and closed', async (t) => {
  const rpc = client(t, 'ws://127.0.0.1:1/SECRET')
  await t.rejects(rpc.request('a', []), { code: 'chain-unreachable' })
  await t.rejects(rpc.request('a', []), { code: 'chain-unreachable' }, 'and again')
  rpc.close()
  await t.rejects(rpc.request('a', []), { code: 'stopped' })
})
