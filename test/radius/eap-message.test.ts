import t from 'tap'
import { joinEapMessage, splitEapMessage } from '../../radius/eap-message.ts'
import { decodePacket, type Packet } from '../../radius/packet.ts'
import { attribute, octets, rawPacket, refusalOf } from './support.ts'

const packet = (...types: [number, Buffer][]): Packet => ({
  code: 1,
  identifier: 0,
  authenticator: Buffer.alloc(16),
  attributes: types.map(([type, value]) => ({ type, value })),
})

t.test('B17 RFC 3579 §3.1: any length survives split and join', async (t) => {
  for (const length of [0, 1, 4, 252, 253, 254, 505, 506, 507, 1300, 4000]) {
    const eap = octets(length, 'eap')
    const parts = splitEapMessage(eap)
    t.equal(parts.length, Math.max(1, Math.ceil(length / 253)), `${length} octets`)
    t.ok(parts.every(({ type, value }) => type === 79 && value.length <= 253))
    t.same(joinEapMessage({ ...packet(), attributes: [attribute(1, 'u'), ...parts] }), eap)
  }
})

t.test('E2: order kept, pieces of any size, none is undefined, EAP-Start is empty', async (t) => {
  t.equal(joinEapMessage(packet([1, Buffer.from('a')])), undefined)
  t.same(joinEapMessage(decodePacket(rawPacket(1, Buffer.from('4f02', 'hex')))), Buffer.alloc(0))
  const pieces = packet(
    [79, Buffer.from('a')],
    [79, Buffer.alloc(0)],
    [79, Buffer.from('bc')],
    [24, Buffer.from('s')],
  )
  t.same(joinEapMessage(pieces), Buffer.from('abc'))
})

t.test('E2 RFC 3579 §3.1: EAP-Message attributes with others between', async (t) => {
  const part: [number, Buffer] = [79, Buffer.from('a')]
  for (const gap of [1, 24, 80]) {
    const scattered = packet(part, [gap, Buffer.from('b')], part)
    t.equal(
      refusalOf(() => joinEapMessage(scattered)),
      'eap-message-scattered',
      `gap ${gap}`,
    )
  }
})
