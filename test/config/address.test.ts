// Addresses, networks and the lookup that chooses a shared secret by a packet's source.

import fc from 'fast-check'
import t from 'tap'
import { type Cidr, cidrKey, isLoopback, parseCidr, parseIpAddress } from '../../config/address.ts'
import { nasLookup } from '../../config/clients.ts'

function cidr(text: string): Cidr {
  const parsed = parseCidr(text)
  if (typeof parsed === 'string') throw new Error(`${text} ${parsed}`)
  return parsed
}

t.test('RFC 4291 §2.2: the spellings of one IPv6 address are one value', async (t) => {
  const spellings = ['2001:db8::1', '2001:0db8:0:0:0:0:0:1', '2001:DB8:0::0:1', '2001:db8::0.0.0.1']
  for (const text of spellings) {
    t.same(parseIpAddress(text), { family: 6, value: 0x20010db8000000000000000000000001n }, text)
  }
  t.same(parseIpAddress('fe80::1%eth0'), parseIpAddress('fe80::1'), 'a zone is ignored')
  for (const text of ['::ffff:192.0.2.1', '::FFFF:c000:201', '0:0:0:0:0:ffff:192.0.2.1']) {
    t.same(parseIpAddress(text), { family: 4, value: 0xc0000201n }, text)
  }
})

t.test('what is no address is none', async (t) => {
  const texts = [
    '',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.256',
    '01.2.3.4',
    '1.2.3.4 ',
    '0x1.2.3.4',
    ':',
    ':::',
  ]
  const more = [
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7::8',
    '12345::',
    'g::',
  ]
  const tails = ['::1.2.3', '1.2.3.4::', '::1.2.3.4:5', 'localhost']
  for (const text of [...texts, ...more, ...tails]) t.equal(parseIpAddress(text), undefined, text)
})

t.test('networks: prefix in range, no bits after it, one key for one network', async (t) => {
  t.match(cidr('192.0.2.0/24'), { family: 4, network: 0xc0000200n, prefix: 24 })
  t.match(cidr('::ffff:192.0.2.0/120'), { family: 4, network: 0xc0000200n, prefix: 24 })
  t.equal(cidrKey(cidr('::1/128')), cidrKey(cidr('0:0::1')))
  t.not(cidrKey(cidr('0.0.0.0/0')), cidrKey(cidr('::/0')))
  const refused = ['1.2.3.4/33', '1.2.3.4/24', '::/129', '1.2.3.4/', '1.2.3.4/8/8', '::ffff:0:0/95']
  for (const text of [...refused, 'fe80::1%eth0', '1.2.3.4/-1', '/8']) {
    t.type(parseCidr(text), 'string', text)
  }
  for (const text of ['127.0.0.1', '127.0.0.0/8', '127.1.2.0/24', '::1', '::ffff:127.0.0.1']) {
    t.equal(isLoopback(cidr(text)), true, text)
  }
  for (const text of ['126.0.0.0/7', '0.0.0.0/0', '::/127', '::2', '192.0.2.1']) {
    t.equal(isLoopback(cidr(text)), false, text)
  }
})

t.test('RFC 2865 §3: the longest network of the source address chooses the entry', async (t) => {
  const texts = [
    '0.0.0.0/0',
    '10.0.0.0/8',
    '10.1.0.0/16',
    '10.1.2.3',
    '2001:db8::/32',
    '2001:db8::7',
  ]
  const lookup = nasLookup(texts.map((text) => ({ ipaddr: cidr(text) })))
  const expected: Record<string, string | undefined> = {
    '10.1.2.3': '10.1.2.3',
    '::ffff:10.1.2.3': '10.1.2.3',
    '10.1.2.4': '10.1.0.0/16',
    '10.2.0.0': '10.0.0.0/8',
    '11.0.0.0': '0.0.0.0/0',
    '2001:db8::7': '2001:db8::7',
    '2001:0db8:0::7': '2001:db8::7',
    '2001:db8::8': '2001:db8::/32',
    '2001:db9::7': undefined,
    '::': undefined,
    nonsense: undefined,
  }
  for (const [source, entry] of Object.entries(expected)) {
    t.equal(lookup(source)?.ipaddr.text, entry, source)
  }
  t.equal(nasLookup([])('127.0.0.1'), undefined)
})

t.test('the lookup agrees with a plain scan over every entry', async (t) => {
  const dotted = (value: number) => [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join('.')
  const network = fc.tuple(fc.nat(0x3ff), fc.integer({ min: 22, max: 32 })).map(([low, prefix]) => {
    const mask = prefix === 32 ? -1 : ~(0xffffffff >>> prefix)
    return cidr(`${dotted((0x0a000000 | low) & mask)}/${prefix}`)
  })
  const entries = fc.uniqueArray(network, { maxLength: 12, selector: cidrKey })
  const holds = ({ network, prefix }: Cidr, value: bigint) =>
    value >> BigInt(32 - prefix) === network >> BigInt(32 - prefix)
  const agrees = fc.property(entries, fc.nat(0x7ff), (list, low) => {
    const value = 0x0a000000 | low
    const best = list
      .filter((entry) => holds(entry, BigInt(value)))
      .sort((a, b) => b.prefix - a.prefix)[0]
    const found = nasLookup(list.map((ipaddr) => ({ ipaddr })))(dotted(value))
    return found?.ipaddr === best
  })
  t.doesNotThrow(() => fc.assert(agrees, { seed: 2865, numRuns: 500 }))
})
