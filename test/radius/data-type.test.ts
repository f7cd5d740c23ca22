import t from 'tap'
import { type DataType, decodeValue, encodeValue, type Value } from '../../radius/data-type.ts'
import { formatIpv6, parseIpv6 } from '../../radius/ip-text.ts'
import { octets, refusalOf, seeded } from './support.ts'

const hex = (text: string) => Buffer.from(text, 'hex')

t.test('B16 RFC 8044 §3: every type both ways', async (t) => {
  const cases: [DataType, Value, string][] = [
    ['integer', 0, '00000000'],
    ['integer', 4_294_967_295, 'ffffffff'],
    ['short', 65_535, 'ffff'],
    ['byte', 255, 'ff'],
    ['signed', -1, 'ffffffff'],
    ['signed', -2_147_483_648, '80000000'],
    ['integer64', 0xffff_ffff_ffff_ffffn, 'ffffffffffffffff'],
    ['date', 1_700_000_000, '6553f100'],
    ['string', 'grüße', '6772c3bcc39f65'],
    ['string', '', ''],
    ['string', hex('ff61'), 'ff61'],
    ['octets', hex('00ff'), '00ff'],
    ['abinary', hex('01'), '01'],
    ['ipaddr', '192.0.2.1', 'c0000201'],
    ['ipv4prefix', '192.0.2.0/24', '0018c0000200'],
    ['ipv4prefix', '0.0.0.0/0', '000000000000'],
    ['ipv4prefix', '192.0.2.1/32', '0020c0000201'],
    ['ipv6addr', '2001:db8::1', '20010db8000000000000000000000001'],
    ['ipv6prefix', '2001:db8::/32', '002020010db8'],
    ['ipv6prefix', '2001:db8:80::/41', '002920010db80080'],
    ['ipv6prefix', '::/0', '0000'],
    ['combo-ip', '192.0.2.1', 'c0000201'],
    ['combo-ip', '::1', '00000000000000000000000000000001'],
    ['ifid', '0011:2233:4455:6677', '0011223344556677'],
    ['ether', '02:00:5e:10:00:ff', '02005e1000ff'],
  ]
  for (const [type, value, bytes] of cases) {
    t.equal(encodeValue(type, value).toString('hex'), bytes, `${type} ${value}`)
    t.same(decodeValue(type, hex(bytes)), value, `${type} ${bytes}`)
  }
  t.equal(
    decodeValue('ipv6prefix', hex('002020010db80000')),
    '2001:db8::/32',
    'more octets than needed',
  )
})

t.test('B15 RFC 6929 §2.8: octets that are no value of their type', async (t) => {
  const lengths: [DataType, number[]][] = [
    ['integer', [4]],
    ['short', [2]],
    ['byte', [1]],
    ['signed', [4]],
    ['date', [4]],
    ['integer64', [8]],
    ['ipaddr', [4]],
    ['ipv6addr', [16]],
    ['combo-ip', [4, 16]],
    ['ifid', [8]],
    ['ether', [6]],
    ['ipv4prefix', [6]],
    ['ipv6prefix', Array.from({ length: 17 }, (_, i) => i + 2)],
  ]
  for (const [type, good] of lengths) {
    for (let length = 0; length <= 30; length++) {
      const found = decodeValue(type, Buffer.alloc(length)) !== undefined
      if (found !== good.includes(length)) t.fail(`${type} of ${length} octets`)
    }
  }
  const invalid: [DataType, string][] = [
    ['ipv4prefix', '0021c0000201'],
    ['ipv4prefix', '0018c0000201'],
    ['ipv6prefix', `0081${'00'.repeat(16)}`],
    ['ipv6prefix', '002120010db8'],
    ['ipv6prefix', '001f20010db9'],
  ]
  for (const [type, bytes] of invalid) t.equal(decodeValue(type, hex(bytes)), undefined, bytes)
})

t.test('values that do not fit their type are refused', async (t) => {
  const cases: [DataType, Value][] = [
    ['integer', -1],
    ['integer', 2 ** 32],
    ['integer', 1.5],
    ['integer', Number.NaN],
    ['integer', '5'],
    ['integer', 5n],
    ['short', 65_536],
    ['byte', 256],
    ['signed', 2 ** 31],
    ['signed', -(2 ** 31) - 1],
    ['integer64', 5],
    ['integer64', -1n],
    ['integer64', 1n << 64n],
    ['string', 5],
    ['octets', 'text'],
    ['ipaddr', '192.0.2'],
    ['ipaddr', '192.0.2.256'],
    ['ipaddr', '192.0.2.01'],
    ['ipaddr', '192.0.2.1 '],
    ['ipaddr', hex('c0000201')],
    ['ipv4prefix', '192.0.2.1/24'],
    ['ipv4prefix', '192.0.2.0'],
    ['ipv4prefix', '192.0.2.0/33'],
    ['ipv4prefix', '192.0.2.0/024'],
    ['ipv6addr', '::1::'],
    ['ipv6addr', '1:2:3:4:5:6:7'],
    ['ipv6addr', '1:2:3:4:5:6:7:8:9'],
    ['ipv6addr', '1:2:3:4::5:6:7:8'],
    ['ipv6addr', 'fe80::1%eth0'],
    ['ipv6addr', '1.2.3.4::'],
    ['ipv6addr', '12345::'],
    ['ipv6addr', ''],
    ['ipv6prefix', '2001:db8::1/32'],
    ['ipv6prefix', '2001:db8::/129'],
    ['ifid', '1:2:3'],
    ['ether', '02:00:5e:10:00'],
  ]
  for (const [type, value] of cases) {
    t.equal(
      refusalOf(() => encodeValue(type, value)),
      'value-malformed',
      `${type} ${value}`,
    )
  }
})

t.test('RFC 5952 spelling, as the URL standard writes it', async (t) => {
  const random = seeded(5952)
  for (let i = 0; i < 2_000; i++) {
    const address = octets(16, `${i}`).map((octet) => (random() < 0.6 ? 0 : octet))
    const bytes = Buffer.from(address)
    const text = formatIpv6(bytes)
    if (new URL(`http://[${text}]/`).hostname !== `[${text}]`) t.fail(text)
    if (parseIpv6(text)?.equals(bytes) !== true) t.fail(`${text} does not read back`)
  }
  t.same(parseIpv6('::ffff:192.0.2.1'), hex('00000000000000000000ffffc0000201'))
  t.equal(formatIpv6(Buffer.alloc(16)), '::')
  t.equal(formatIpv6(hex('00010000000200030004000500060007')), '1:0:2:3:4:5:6:7', 'one zero stays')
})
