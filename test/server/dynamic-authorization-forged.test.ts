import { createSocket, type Socket } from 'node:dgram'
import t from 'tap'
import { AttributeType } from '../../radius/attribute-type.ts'
import { sealReply } from '../../radius/authenticator.ts'
import { Code } from '../../radius/packet.ts'
import {
  cause,
  client,
  nasAt,
  nasDouble,
  type Received,
  START_MS,
  session,
  stamp,
} from './nas-double.ts'

/** Every way to answer wrongly; each is followed by the right answer. */
const FORGERIES: readonly [string, string, (r: Received, stranger: Socket) => void][] = [
  ['another port', 'source-unknown', (r, other) => r.reply(r.answer(Code.disconnectAck), other)],
  [
    'another secret',
    'message-authenticator-wrong',
    ({ request, reply }) =>
      reply(sealReply(request, Code.disconnectAck, [], Buffer.from('another secret'))),
  ],
  [
    'another Response Authenticator',
    'authenticator-wrong',
    ({ reply, answer }) => {
      const bytes = answer(Code.disconnectAck)
      bytes[4] = (bytes[4] ?? 0) ^ 1
      reply(bytes)
    },
  ],
  [
    'another Message-Authenticator',
    'message-authenticator-wrong',
    ({ reply, answer }) => {
      const bytes = answer(Code.disconnectAck)
      bytes[22] = (bytes[22] ?? 0) ^ 1
      reply(bytes)
    },
  ],
  [
    'another Identifier',
    'identifier-unknown',
    ({ reply, answer }) => {
      const bytes = answer(Code.disconnectAck)
      bytes[1] = (bytes[1] ?? 0) ^ 0x80
      reply(bytes)
    },
  ],
  [
    'a NAK made an ACK',
    'message-authenticator-wrong',
    ({ reply, answer }) => {
      const bytes = answer(Code.disconnectNak, [cause(503)])
      bytes[0] = Code.disconnectAck
      reply(bytes)
    },
  ],
  [
    'a CoA-ACK',
    'code-unexpected',
    ({ reply, answer }) => {
      const bytes = answer(Code.disconnectAck)
      bytes[0] = Code.coaAck
      reply(bytes)
    },
  ],
  [
    'an Access-Accept',
    'code-unexpected',
    ({ reply, answer }) => {
      const bytes = answer(Code.disconnectAck)
      bytes[0] = Code.accessAccept
      reply(bytes)
    },
  ],
  ['the request itself', 'code-unexpected', ({ reply, datagram }) => reply(datagram)],
  ['nothing', 'identifier-unknown', ({ reply }) => reply(Buffer.alloc(0))],
  [
    '19 octets',
    'packet-too-short',
    ({ reply, answer }) => reply(answer(Code.disconnectAck).subarray(0, 19)),
  ],
  [
    'half',
    'length-beyond-packet',
    ({ reply, answer }) => reply(answer(Code.disconnectAck).subarray(0, 30)),
  ],
  [
    'an Event-Timestamp of the past',
    'event-timestamp-stale',
    ({ reply, answer }) => reply(answer(Code.disconnectAck, [stamp(START_MS / 1000 - 301)])),
  ],
  [
    'an Event-Timestamp of the future',
    'event-timestamp-stale',
    ({ reply, answer }) => reply(answer(Code.disconnectAck, [stamp(START_MS / 1000 + 301)])),
  ],
]

for (const [name, reason, forge] of FORGERIES) {
  t.test(`C4 RFC 5176 §2.3, §6.3: ${name} for an answer is dropped`, async (t) => {
    const stranger = createSocket('udp4')
    t.teardown(() => stranger.close())
    let received: Received | undefined
    const nas = await nasDouble(t, (r) => {
      received = r
      forge(r, stranger)
    })
    const { client: dynamic, drops, refused } = client(t)
    const outcome = dynamic.disconnect(nasAt(nas.port), session('a'))
    await refused(1)
    t.same(drops, [reason])
    t.equal(dynamic.pending(), 1, 'it goes on waiting')
    received?.reply(received.answer(Code.disconnectNak, [cause(503), stamp(START_MS / 1000)]))
    t.match(await outcome, { result: 'nak-503', attempts: 1 })
  })
}

t.test('an Error-Cause that is not 4 octets is a NAK without one', async (t) => {
  const odd = { type: AttributeType.errorCause, value: Buffer.from([1, 247]) }
  const nas = await nasDouble(t, ({ reply, answer }) => reply(answer(Code.disconnectNak, [odd])))
  const { client: dynamic } = client(t)
  const outcome = await dynamic.disconnect(nasAt(nas.port), session('a'))
  t.match(outcome, { result: 'nak', gone: false, attempts: 3 })
})

t.test('second and late answers change nothing', async (t) => {
  let first: Received | undefined
  const nas = await nasDouble(t, (received) => {
    first = received
  })
  const { client: dynamic, drops, refused, time } = client(t)
  const late = dynamic.disconnect(nasAt(nas.port), session('late'))
  await nas.got(1)
  const nak = first?.answer(Code.disconnectNak, [cause(504)]) ?? Buffer.alloc(0)
  first?.reply(nak)
  t.match(await late, { result: 'nak-504' })
  first?.reply(nak)
  await refused(1)
  first?.reply(first.answer(Code.disconnectAck))
  await refused(2)
  t.same(drops, ['identifier-unknown', 'identifier-unknown'])
  t.same([dynamic.pending(), time.timers()], [0, 0])
})
