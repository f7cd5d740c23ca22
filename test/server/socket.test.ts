import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import t, { type Test } from 'tap'
import { type Handle, openUdpPort } from '../../server/socket.ts'

/** A port of ours on this host and a peer that sends one datagram and gives the first reply. */
async function open(t: Test, host: string, handle: Handle, inWorkMax = 4) {
  const errors: Error[] = []
  let overflows = 0
  const port = await openUdpPort({ host, port: 0 }, handle, {
    inWorkMax,
    onOverflow: () => {
      overflows += 1
    },
    onError: (error) => errors.push(error),
  })
  const peer = createSocket(host.includes(':') ? 'udp6' : 'udp4')
  t.teardown(async () => {
    peer.close()
    await port.close()
  })
  const send = (text: string) => peer.send(text, port.endpoint.port, host)
  return { port, peer, send, errors, overflows: () => overflows }
}

for (const host of ['127.0.0.1', '::1']) {
  t.test(`${host}: the reply goes to where the datagram came from`, async (t) => {
    const sources: string[] = []
    const { peer, send } = await open(t, host, async (datagram, source) => {
      sources.push(source.address)
      return Buffer.concat([Buffer.from('re: '), datagram])
    })
    send('hello')
    const [reply] = await once(peer, 'message')
    t.equal(String(reply), 're: hello')
    t.same(sources, [host])
  })
}

t.test('a reply that cannot be sent is told, and the next one is sent', async (t) => {
  const { peer, send, errors } = await open(t, '127.0.0.1', async (datagram) =>
    // Over 65,507 octets: EMSGSIZE.
    Buffer.alloc(datagram.length === 1 ? 70_000 : 1),
  )
  send('1')
  send('22')
  await once(peer, 'message')
  t.match(errors, [{ code: 'EMSGSIZE' }])
})

t.test('beyond inWorkMax datagrams are dropped and counted', async (t) => {
  const gate = Promise.withResolvers<void>()
  let worked = 0
  const handle: Handle = async () => {
    worked += 1
    await gate.promise
    return Buffer.from('done')
  }
  const { peer, send, overflows } = await open(t, '127.0.0.1', handle, 2)
  for (let i = 0; i < 5; i++) send('x')
  while (worked + overflows() < 5) await new Promise((resolve) => setTimeout(resolve, 5))
  t.same([worked, overflows()], [2, 3])
  gate.resolve()
  const [reply] = await once(peer, 'message')
  t.equal(String(reply), 'done')
})
