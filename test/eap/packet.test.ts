// eap/packet.ts: the header of RFC 3748 §4, Nak and Identity.

import t from 'tap'
import {
  decodeEap,
  EapCode,
  encodeEap,
  encodeResult,
  identityText,
  nakTypes,
} from '../../eap/packet.ts'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

t.test(
  'RFC 3748 §4: what is written is read back; prefixes and extra octets are refused',
  async (t) => {
    const packet = encodeEap(EapCode.response, 200, 13, Buffer.from([0x80]), Buffer.from('abc'))
    t.equal(packet.toString('hex'), '02c800090d80616263')
    t.match(decodeEap(packet), {
      code: 2,
      identifier: 200,
      type: 13,
      data: Buffer.from('\x80abc', 'latin1'),
    })
    for (let length = 0; length < packet.length; length++) {
      t.equal(decodeEap(packet.subarray(0, length)), undefined, `prefix of ${length}`)
    }
    t.equal(decodeEap(Buffer.concat([packet, Buffer.from([0])])), undefined)
    t.equal(encodeResult(EapCode.success, 9).toString('hex'), '03090004')
    t.equal(encodeResult(EapCode.failure, 255).toString('hex'), '04ff0004')
    t.match(decodeEap(hex('03090004')), { code: 3, identifier: 9 })
  },
)

t.test('RFC 3748 §4: headers that are refused', async (t) => {
  const cases = {
    'code 0': '0001000501',
    'code 5': '0501000501',
    'length above the octets': '0201000601',
    'length below the octets': '0201000401',
    'length 0': '0201000001',
    'a response without a type': '02010004',
    'a success with data': '0301000500',
  }
  for (const [name, bytes] of Object.entries(cases)) {
    t.equal(decodeEap(hex(bytes)), undefined, name)
  }
})

t.test('E9 RFC 3748 §5.3: Nak and expanded Nak', async (t) => {
  const cases: [string, string, readonly number[] | undefined][] = [
    ['Nak for PEAP and TTLS', '02010007 03 19 15', [25, 21]],
    ['Nak with nothing to offer', '02010006 03 00', [0]],
    ['Nak without the mandatory octet', '02010005 03', undefined],
    ['expanded Nak for PEAP', '02010014 fe 000000 00000003 fe 000000 00000019', [25]],
    ['expanded Nak for a vendor only', '02010014 fe 000000 00000003 fe 00372a 00000001', []],
    ['expanded Nak with half a type', '02010010 fe 000000 00000003 fe 000000', undefined],
    [
      'expanded Nak that lists a legacy type',
      '02010014 fe 000000 00000003 19 000000 00000019',
      undefined,
    ],
    ['expanded type of a vendor', '0201000c fe 00372a 00000001', undefined],
    ['expanded, cut in its header', '02010009 fe 000000 00', undefined],
    ['EAP-TLS', '02010006 0d 00', undefined],
  ]
  for (const [name, bytes, wanted] of cases) {
    const packet = decodeEap(hex(bytes))
    if (packet === undefined) throw new Error(name)
    t.same(nakTypes(packet), wanted, name)
  }
})

t.test(
  'L13 RFC 3748 §5.1: the identity is text for logs, cut at NUL and at 253 octets',
  async (t) => {
    t.equal(identityText(Buffer.from('@example.org')), '@example.org')
    t.equal(identityText(Buffer.from('ä@bücher.example')), 'ä@bücher.example')
    t.equal(identityText(Buffer.from('a\0networkid=x')), 'a')
    t.equal(identityText(Buffer.alloc(0)), '')
    t.equal(identityText(Buffer.alloc(1000, 97)).length, 253)
  },
)
