import t from 'tap'
import { decodeNamed, type NamedValue } from '../../radius/attributes.ts'
import { encodeNamed } from '../../radius/attributes-encode.ts'
import { type Dictionary, loadDictionary } from '../../radius/dictionary.ts'
import type { Attribute } from '../../radius/packet.ts'
import { octets, refusalOf, secret, shippedDictionary } from './support.ts'

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')
const keys = { secret, authenticator: octets(16, 'authenticator') }
let salts = 0
const means = { ...keys, salt: () => octets(2, `salt ${salts++}`) }

const extra = `
ATTRIBUTE Vendor-Specific 26 vsa
ATTRIBUTE Fixed 70 octets[16]
ATTRIBUTE Tag-Text 81 string has_tag
ATTRIBUTE Tag-Number 64 integer has_tag
ATTRIBUTE Tag-Secret 69 string has_tag,encrypt=2
ATTRIBUTE Ascend 214 string encrypt=3
ATTRIBUTE Hash-Keys 71 octets[24] encrypt=1
ATTRIBUTE Rules 92 string concat
ATTRIBUTE Big 5 integer64
VALUE Tag-Number VLAN 13
VALUE Big Zero 0
ATTRIBUTE Ext-1 241 extended
ATTRIBUTE Ext-5 245 long-extended
ATTRIBUTE Evs-1 241.26 evs
ATTRIBUTE Evs-5 245.26 evs
ATTRIBUTE Ext-Word 241.1 integer
ATTRIBUTE Ext-Set 241.2 tlv
ATTRIBUTE Ext-Set-A 241.2.1 integer
ATTRIBUTE Ext-Set-B 241.2.2 tlv
ATTRIBUTE Ext-Set-B-C 241.2.2.3 string
ATTRIBUTE Long 245.1 octets
VENDOR Acme 9999
VENDOR Two 10 format=2,1
VENDOR Pair 11 format=2,2
VENDOR Wide 429 format=4,0
VENDOR Bare 12 format=1,0
VENDOR WiMAX 24757 format=1,1,c
BEGIN-VENDOR Acme
ATTRIBUTE Acme-Text 1 string
ATTRIBUTE Acme-Number 2 integer
END-VENDOR Acme
BEGIN-VENDOR Two
ATTRIBUTE Two-Text 258 string
END-VENDOR Two
BEGIN-VENDOR Pair
ATTRIBUTE Pair-Text 259 string
END-VENDOR Pair
BEGIN-VENDOR Wide
ATTRIBUTE Wide-Text 0x9005 string
END-VENDOR Wide
BEGIN-VENDOR Bare
ATTRIBUTE Bare-Text 9 string
END-VENDOR Bare
BEGIN-VENDOR WiMAX
ATTRIBUTE WiMAX-Octets 60 octets
ATTRIBUTE WiMAX-Set 1 tlv
ATTRIBUTE WiMAX-Set-A 1.1 string
END-VENDOR WiMAX
BEGIN-VENDOR Acme parent=Evs-1
ATTRIBUTE Acme-Evs 7 string
END-VENDOR Acme
BEGIN-VENDOR Acme parent=Evs-5
ATTRIBUTE Acme-Long 8 octets
END-VENDOR Acme
`
const dictionary: Dictionary = loadDictionary(() => extra, '/extra')

const encode = (...values: NamedValue[]) => encodeNamed(dictionary, values, means)
const decode = (attributes: readonly Attribute[]) => decodeNamed(dictionary, attributes, keys)
const wire = (attributes: readonly Attribute[]) =>
  attributes.map(({ type, value }) => `${type} ${value.toString('hex')}`)
const raw = (name: string, bytes: string): NamedValue => ({ name, value: hex(bytes), raw: true })

t.test('bytes of every form, both ways', async (t) => {
  const cases: [NamedValue, string[]][] = [
    [{ name: 'Tag-Text', value: '20', tag: 1 }, ['81 013230']],
    [{ name: 'Tag-Text', value: '20' }, ['81 3230']],
    [{ name: 'Tag-Text', value: '', tag: 0 }, ['81 00']],
    [{ name: 'Tag-Text', value: '' }, ['81 ']],
    [{ name: 'Tag-Number', value: 13, tag: 31 }, ['64 1f00000d']],
    [{ name: 'Ext-Word', value: 5 }, ['241 0100000005']],
    [{ name: 'Acme-Text', value: 'hi' }, ['26 0000270f01046869']],
    [{ name: 'Two-Text', value: 'hi' }, ['26 0000000a0102056869']],
    [{ name: 'Pair-Text', value: 'hi' }, ['26 0000000b010300066869']],
    [{ name: 'Wide-Text', value: 'hi' }, ['26 000001ad000090056869']],
    [{ name: 'Bare-Text', value: 'hi' }, ['26 0000000c096869']],
    [{ name: 'WiMAX-Octets', value: hex('aa') }, ['26 000060b53c0400aa']],
    [
      { name: 'WiMAX-Set', value: [{ name: 'WiMAX-Set-A', value: 'hi' }] },
      ['26 000060b5010700 01046869'],
    ],
    [{ name: 'Acme-Evs', value: 'hi' }, ['241 1a0000270f076869']],
    [{ name: 'Acme-Long', value: hex('aa') }, ['245 1a000000270f08aa']],
    [{ name: 'Long', value: hex('aa') }, ['245 0100aa']],
    [
      {
        name: 'Ext-Set',
        value: [
          { name: 'Ext-Set-A', value: 5 },
          { name: 'Ext-Set-B', value: [{ name: 'Ext-Set-B-C', value: 'x' }] },
        ],
      },
      ['241 02 010600000005 0205 030378'],
    ],
    [raw('Attr-200', 'aabb'), ['200 aabb']],
    [raw('Attr-241.77', 'aa'), ['241 4daa']],
    [raw('Attr-26.9999.77', 'aa'), ['26 0000270f4d03aa']],
    [raw('Attr-26.77777.5', ''), ['26 00012fd10502']],
    [raw('Attr-241.26.77777.5', 'aa'), ['241 1a00012fd105aa']],
    [raw('Vendor-Specific', '0000'), ['26 0000']],
    [raw('Ext-1', '01'), ['241 01']],
    [raw('Fixed', 'aa'), ['70 aa']],
  ]
  for (const [named, bytes] of cases) {
    const attributes = encode(named)
    t.same(
      wire(attributes),
      bytes.map((text) => text.replace(/(?<=.{4}) /g, '').replace(/^(\d+) /, '$1 ')),
      named.name,
    )
    t.same(decode(attributes), [named], `${named.name} back`)
  }
})

t.test('words for numbers, in any letter case', async (t) => {
  t.same(wire(encode({ name: 'tag-number', value: 'vlan', tag: 0 })), ['64 0000000d'])
  t.same(wire(encode({ name: 'Big', value: 'zero' })), ['5 0000000000000000'])
  t.equal(
    refusalOf(() => encode({ name: 'Tag-Number', value: 'none' })),
    'value-malformed',
  )
})

t.test('RFC 2868 §3.1: tags over 31 are part of the value', async (t) => {
  t.same(decode([{ type: 81, value: hex('203230') }]), [{ name: 'Tag-Text', value: ' 20' }])
  t.same(decode([{ type: 64, value: hex('2000000d') }]), [
    { name: 'Tag-Number', value: 0x2000_000d },
  ])
  t.same(wire(encode({ name: 'Tag-Text', value: '\u0001a' })), ['81 000161'], 'not taken for a tag')
  for (const [name, value, tag] of [
    ['Tag-Text', 'x', 32],
    ['Tag-Text', 'x', -1],
    ['Tag-Text', 'x', 1.5],
    ['Acme-Text', 'x', 1],
    ['Tag-Number', 2 ** 24, 1],
  ] as const) {
    t.equal(
      refusalOf(() => encode({ name, value, tag })),
      'value-malformed',
      `${name} tag ${tag}`,
    )
  }
})

t.test('hidden attributes, with and without the keys', async (t) => {
  const values: NamedValue[] = [
    { name: 'Tag-Secret', value: 'tunnel', tag: 0 },
    { name: 'Ascend', value: 'ascend' },
    { name: 'Hash-Keys', value: Buffer.concat([octets(20, 'keys'), Buffer.alloc(4)]) },
  ]
  const attributes = encode(...values)
  t.same(decode(attributes), values)
  const sealed = decodeNamed(dictionary, attributes)
  t.ok(sealed.every(({ raw, value }) => raw === true && Buffer.isBuffer(value)))
  t.same(wire(encode(...sealed)), wire(attributes), 'raw values go back as they came')
  t.equal(
    refusalOf(() => encodeNamed(dictionary, values)),
    'hidden-malformed',
    'nothing to hide with',
  )
  t.same(decode([{ type: 69, value: hex('01 8001 aabb') }]), [raw('Tag-Secret', '018001aabb')])
})

t.test('B17 values over 253 octets: split where allowed, refused elsewhere', async (t) => {
  for (const length of [250, 251, 252, 253, 254, 500, 506, 1300, 3800]) {
    const rules = 'r'.repeat(length)
    const bytes = octets(length, 'long')
    for (const named of [
      { name: 'Rules', value: rules },
      { name: 'Long', value: bytes },
      { name: 'Acme-Long', value: bytes },
      { name: 'WiMAX-Octets', value: bytes },
    ]) {
      const attributes = encode(named)
      t.ok(
        attributes.every(({ value }) => value.length <= 253),
        `${named.name} of ${length}`,
      )
      t.same(decode([...attributes, { type: 200, value: hex('aa') }]), [
        named,
        raw('Attr-200', 'aa'),
      ])
    }
  }
  const set: NamedValue = { name: 'Ext-Set-A', value: 1 }
  const tooLong: [NamedValue, string][] = [
    [{ name: 'Tag-Text', value: 'x'.repeat(253), tag: 1 }, 'tag and 253'],
    [{ name: 'Acme-Text', value: 'x'.repeat(248) }, 'vendor head and 248'],
    [{ name: 'Ext-Set', value: Array.from({ length: 43 }, () => set) }, 'extended'],
    [raw('Attr-200', 'aa'.repeat(254)), 'unknown'],
    [
      {
        name: 'Ext-Set',
        value: [{ name: 'Ext-Set-B', value: [{ name: 'Ext-Set-B-C', value: 'x'.repeat(254) }] }],
      },
      'inner',
    ],
  ]
  for (const [named, what] of tooLong)
    t.equal(
      refusalOf(() => encode(named)),
      'value-too-long',
      what,
    )
  t.equal(encode({ name: 'Acme-Text', value: 'x'.repeat(247) }).length, 1)
})

t.test(
  'B15 RFC 6929 §2.8: malformed attributes keep their octets, the others their meaning',
  async (t) => {
    const good: Attribute = { type: 241, value: hex('0100000005') }
    const word: NamedValue = { name: 'Ext-Word', value: 5 }
    const cases: [Attribute, NamedValue][] = [
      [{ type: 241, value: hex('') }, raw('Ext-1', '')],
      [{ type: 241, value: hex('01') }, raw('Ext-1', '01')],
      [{ type: 241, value: hex('010005') }, raw('Ext-Word', '0005')],
      [{ type: 245, value: hex('0100') }, raw('Ext-5', '0100')],
      [{ type: 245, value: hex('0180aa') }, raw('Ext-5', '0180aa')],
      [{ type: 241, value: hex('1a0000270f07') }, raw('Evs-1', '0000270f07')],
      [{ type: 241, value: hex('02 0106000000') }, raw('Ext-Set', '0106000000')],
      [{ type: 241, value: hex('02 01') }, raw('Ext-Set', '01')],
      [{ type: 241, value: hex('02 0100') }, raw('Ext-Set', '0100')],
      [{ type: 241, value: hex('02 0101') }, raw('Ext-Set', '0101')],
      [{ type: 26, value: hex('') }, raw('Vendor-Specific', '')],
      [{ type: 26, value: hex('000027') }, raw('Vendor-Specific', '000027')],
      [{ type: 26, value: hex('0000270f') }, raw('Vendor-Specific', '0000270f')],
      [{ type: 26, value: hex('0000270f 01') }, raw('Vendor-Specific', '0000270f01')],
      [{ type: 26, value: hex('0000270f 0100') }, raw('Vendor-Specific', '0000270f0100')],
      [{ type: 26, value: hex('0000270f 0104ff') }, raw('Vendor-Specific', '0000270f0104ff')],
      [{ type: 26, value: hex('ff00270f 0103ff') }, raw('Attr-26.4278200079.1', 'ff')],
      [{ type: 26, value: hex('000060b5 3c02') }, raw('Vendor-Specific', '000060b53c02')],
      [{ type: 26, value: hex('000060b5 3c0380') }, raw('Vendor-Specific', '000060b53c0380')],
      [{ type: 5, value: hex('0000000005') }, raw('Big', '0000000005')],
    ]
    for (const [attribute, named] of cases) {
      t.same(decode([good, attribute, good]), [word, named, word], attribute.value.toString('hex'))
    }
  },
)

t.test('several attributes in one Vendor-Specific', async (t) => {
  const value = hex('0000270f 010461 62 02060000000a 4d03aa')
  t.same(decode([{ type: 26, value }]), [
    { name: 'Acme-Text', value: 'ab' },
    { name: 'Acme-Number', value: 10 },
    raw('Attr-26.9999.77', 'aa'),
  ])
})

t.test('pieces of another value, or another kind, end a continuation', async (t) => {
  const piece = hex('0180aa')
  const last = hex('0100bb')
  const long = (bytes: string): NamedValue => ({ name: 'Long', value: hex(bytes) })
  const at = (...values: Buffer[]) => decode(values.map((value) => ({ type: 245, value })))
  t.same(at(piece, piece, last, last), [long('aaaabb'), long('bb')])
  t.same(at(piece, hex('0200bb')), [raw('Ext-5', '0180aa'), raw('Attr-245.2', 'bb')])
  t.same(at(piece, piece), [raw('Ext-5', '0180aa'), raw('Ext-5', '0180aa')])
  t.same(at(last, piece), [long('bb'), raw('Ext-5', '0180aa')])
})

t.test('2017-10978 ff: WiMAX continuations that never end, or mix', async (t) => {
  const piece: Attribute = { type: 26, value: hex('000060b5 3c0580aabb') }
  const bomb = decode(Array.from({ length: 200 }, () => piece))
  t.equal(bomb.length, 200)
  t.ok(bomb.every(({ name, raw }) => name === 'Vendor-Specific' && raw === true))
  const mixed = hex('000060b5 3c0580aabb 3c0400cc')
  t.same(decode([{ type: 26, value: mixed }]), [raw('Vendor-Specific', mixed.toString('hex'))])
  const end: Attribute = { type: 26, value: hex('000060b5 3c0400cc') }
  t.same(decode([piece, piece, end]), [{ name: 'WiMAX-Octets', value: hex('aabbaabbcc') }])
})

t.test('nested TLV bombs end where the dictionary does', async (t) => {
  const lines = ['VENDOR WiMAX 24757 format=1,1,c', 'BEGIN-VENDOR WiMAX']
  for (let depth = 1; depth <= 400; depth++) {
    lines.push(`ATTRIBUTE Deep-${depth} ${Array(depth).fill('1').join('.')} tlv`)
  }
  lines.push('END-VENDOR WiMAX')
  const deep = loadDictionary(() => lines.join('\n'), '/deep')
  let value = Buffer.alloc(0)
  while (value.length + 2 <= 246) value = Buffer.concat([Buffer.from([1, value.length + 2]), value])
  const head = hex('000060b5 01f900')
  head.writeUInt8(3 + value.length, 5)
  let [level]: NamedValue[] = decodeNamed(deep, [{ type: 26, value: Buffer.concat([head, value]) }])
  let depth = 0
  while (level !== undefined && Array.isArray(level.value)) {
    depth++
    level = level.value[0]
  }
  t.equal(depth, 124, 'one level for each two octets')
  const wide = Buffer.alloc(246, hex('0102'))
  const flat = decodeNamed(deep, [
    { type: 26, value: Buffer.concat([hex('000060b5 01f900'), wide]) },
  ])
  t.equal(Array.isArray(flat[0]?.value) ? flat[0].value.length : 0, 123)
})

t.test('June 2026: a long well-formed NAS-Filter-Rule', async (t) => {
  const shipped = shippedDictionary()
  const rule = 'permit in tcp from any to any 80\0'.repeat(120)
  const attributes = encodeNamed(shipped, [{ name: 'NAS-Filter-Rule', value: rule }])
  t.equal(attributes.length, Math.ceil(rule.length / 253))
  t.same(decodeNamed(shipped, attributes), [{ name: 'NAS-Filter-Rule', value: rule }])
  const empty = Array.from({ length: 200 }, () => ({ type: 92, value: Buffer.alloc(0) }))
  t.same(decodeNamed(shipped, empty), [{ name: 'NAS-Filter-Rule', value: '' }])
})

t.test('names and values that cannot be written', async (t) => {
  const cases: [string, NamedValue][] = [
    ['name-unknown', { name: 'Nobody', value: 'x' }],
    ['name-unknown', { name: 'Attr-', value: hex('aa') }],
    ['name-unknown', { name: 'Attr-99999999999', value: hex('aa') }],
    ['attribute-type-invalid', raw('Attr-0', 'aa')],
    ['attribute-type-invalid', raw('Attr-256', 'aa')],
    ['attribute-type-invalid', raw('Attr-1.2', 'aa')],
    ['attribute-type-invalid', raw('Attr-241.1.2', 'aa')],
    ['attribute-type-invalid', raw('Attr-26.9999.256', 'aa')],
    ['attribute-type-invalid', raw('Attr-26.4294967296.1', 'aa')],
    ['attribute-type-invalid', { name: 'Ext-Set-A', value: 5 }],
    ['value-malformed', { name: 'Attr-200', value: 'text' }],
    ['value-malformed', { name: 'Fixed', value: octets(15, 'x') }],
    ['value-malformed', { name: 'Ext-Set', value: hex('0102') }],
    ['value-malformed', { name: 'Ext-Set', value: [{ name: 'Ext-Word', value: 5 }] }],
    ['value-malformed', { name: 'Ext-Word', value: [{ name: 'Ext-Set-A', value: 5 }] }],
    ['value-malformed', { name: 'Big', value: 5 }],
  ]
  for (const [code, named] of cases)
    t.equal(
      refusalOf(() => encode(named)),
      code,
      named.name,
    )
})
