import t from 'tap'
import {
  allAttributes,
  attributesLength,
  decodePacket,
  firstAttribute,
} from '../../radius/packet.ts'
import { accessRequest, attribute, octets, rawPacket, refusalOf } from './support.ts'

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')

t.test('B1, B4 RFC 2865 §3, §5: every structural refusal', async (t) => {
  const cases: [string, string, Buffer][] = [
    ['nothing', 'packet-too-short', Buffer.alloc(0)],
    ['19 octets', 'packet-too-short', rawPacket(1, Buffer.alloc(0)).subarray(0, 19)],
    [
      '4097 octets',
      'packet-too-long',
      Buffer.concat([rawPacket(1, Buffer.alloc(0)), Buffer.alloc(4077)]),
    ],
    ['Length 19', 'length-too-small', rawPacket(1, Buffer.alloc(0), 19)],
    ['Length 0', 'length-too-small', rawPacket(1, Buffer.alloc(0), 0)],
    ['Length 4097', 'length-too-large', rawPacket(1, Buffer.alloc(0), 4097)],
    ['Length one more than received', 'length-beyond-packet', rawPacket(1, hex('0103ff'), 24)],
    ['code 0', 'code-unknown', rawPacket(0, Buffer.alloc(0))],
    ['code 6', 'code-unknown', rawPacket(6, Buffer.alloc(0))],
    ['code 13', 'code-unknown', rawPacket(13, Buffer.alloc(0))],
    ['code 255', 'code-unknown', rawPacket(255, Buffer.alloc(0))],
    ['one octet of attribute', 'attribute-truncated', rawPacket(1, hex('01'))],
    ['one octet left over', 'attribute-truncated', rawPacket(1, hex('0103ff 01'))],
    ['attribute length 0', 'attribute-too-short', rawPacket(1, hex('0100'))],
    ['attribute length 1', 'attribute-too-short', rawPacket(1, hex('0101'))],
    ['attribute past the end', 'attribute-past-end', rawPacket(1, hex('0104ff'))],
    [
      'attribute past Length, inside padding',
      'attribute-past-end',
      rawPacket(1, hex('0104ffff'), 23),
    ],
    ['attribute type 0', 'attribute-type-zero', rawPacket(1, hex('0003ff'))],
    ['201 attributes', 'attributes-too-many', rawPacket(1, Buffer.alloc(402, hex('0102')))],
    [
      'Message-Authenticator of 15',
      'message-authenticator-length',
      rawPacket(1, hex(`5011${'00'.repeat(15)}`)),
    ],
    [
      'Message-Authenticator of 17',
      'message-authenticator-length',
      rawPacket(1, hex(`5013${'00'.repeat(17)}`)),
    ],
    ['Message-Authenticator of 0', 'message-authenticator-length', rawPacket(1, hex('5002'))],
    [
      'two Message-Authenticators',
      'message-authenticator-repeated',
      rawPacket(1, hex(`5012${'00'.repeat(16)}`.repeat(2))),
    ],
  ]
  for (const [name, code, bytes] of cases) {
    t.equal(
      refusalOf(() => decodePacket(bytes)),
      code,
      name,
    )
  }
})

t.test('RFC 2865 §3: what is accepted at the edges', async (t) => {
  t.same(decodePacket(rawPacket(1, Buffer.alloc(0))).attributes, [])
  t.equal(decodePacket(rawPacket(1, Buffer.alloc(400, hex('0102')))).attributes.length, 200)
  const padded = decodePacket(Buffer.concat([rawPacket(1, hex('0103ff')), hex('00deadbeef')]))
  t.same(padded.attributes, [attribute(1, hex('ff'))], 'octets behind Length are padding')
  const whole = rawPacket(4, Buffer.alloc(4076, Buffer.concat([hex('1aff'), Buffer.alloc(253)])))
  t.equal(
    refusalOf(() => decodePacket(whole)),
    'attribute-past-end',
    '4096 octets, last one cut',
  )
  const full = Buffer.concat([
    ...Array(15).fill(hex(`1aff${'11'.repeat(253)}`)),
    hex(`1afb${'11'.repeat(249)}`),
  ])
  t.equal(decodePacket(rawPacket(4, full)).attributes.length, 16, '4096 octets exactly')
})

t.test('B8: order is kept, lookups find first and all', async (t) => {
  const packet = decodePacket(rawPacket(1, hex('210301 0103ff 210302 c803ee 210303')))
  t.same(
    packet.attributes.map(({ type }) => type),
    [33, 1, 33, 200, 33],
  )
  t.same(allAttributes(packet, 33), [hex('01'), hex('02'), hex('03')])
  t.same(firstAttribute(packet, 33), hex('01'))
  t.equal(firstAttribute(packet, 2), undefined)
  t.same(allAttributes(packet, 2), [])
})

t.test('every prefix of a valid packet is refused', async (t) => {
  const whole = accessRequest(600)
  for (let length = 0; length < whole.length; length++) {
    const refusal = refusalOf(() => decodePacket(whole.subarray(0, length)))
    t.match(refusal, /^(packet-too-short|length-beyond-packet)$/, `${length} octets`)
  }
})

t.test('B17: attributes that cannot be written', async (t) => {
  t.equal(attributesLength([attribute(1, octets(253, 'a')), attribute(2, '')]), 257)
  const long = [attribute(1, octets(254, 'a'))]
  t.equal(
    refusalOf(() => attributesLength(long)),
    'value-too-long',
  )
  for (const type of [0, -1, 256, 1.5, Number.NaN]) {
    const wrong = [attribute(type, 'a')]
    t.equal(
      refusalOf(() => attributesLength(wrong)),
      'attribute-type-invalid',
      `type ${type}`,
    )
  }
})
