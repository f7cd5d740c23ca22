import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import { decodeNamed } from '../../radius/attributes.ts'
import { encodeNamed } from '../../radius/attributes-encode.ts'
import { findByName, loadDictionaries, loadDictionary } from '../../radius/dictionary.ts'

// Every dictionary FreeRADIUS 3.2 installs, parsed unchanged (Debian package freeradius-common).

const folder = '/usr/share/freeradius'
const root = `${folder}/dictionary`
if (!existsSync(root)) {
  throw new Error(`${root} is absent: install the Debian package freeradius-common`)
}
const readFile = (path: string) => readFileSync(path, 'utf8')

t.test('the whole tree', async (t) => {
  const dictionary = loadDictionary(readFile, root)
  t.ok(dictionary.byName.size > 7_000, `${dictionary.byName.size} names`)
  t.ok(dictionary.vendors.size > 150, `${dictionary.vendors.size} vendors`)
  const attributes = readdirSync(folder)
    .map((file) => readFile(`${folder}/${file}`).match(/^ATTRIBUTE\s/gm)?.length ?? 0)
    .reduce((sum, count) => sum + count, 0)
  t.ok(attributes > dictionary.byPath.size, `${attributes} ATTRIBUTE lines in all files`)
  t.same(findByName(dictionary, '3GPP-IMSI')?.path, [26, 10_415, 1])
  t.same(findByName(dictionary, 'WiMAX-Release')?.path, [26, 24_757, 1, 1])
  t.match(findByName(dictionary, 'FreeRADIUS-Statistics-Type')?.path, [26, 11_344, 127])
  t.match(dictionary.vendors.get(429), { name: 'USR', typeLength: 4, lengthLength: 0 })
})

t.test('the files the tree does not include, on top of it', async (t) => {
  // Version 3.2.1 installs one broken file, which no other includes: its VALUE has no ATTRIBUTE.
  const broken = 'dictionary.freedhcp'
  const files = readdirSync(folder).filter((file) => file !== broken)
  const paths = files.map((file) => `${folder}/${file}`)
  const dictionary = loadDictionaries(readFile, [root, ...paths])
  t.ok(dictionary.byName.size > 7_400, `${dictionary.byName.size} names in ${files.length} files`)
  const load = () => loadDictionaries(readFile, [root, `${folder}/${broken}`])
  t.throws(load, /VALUE of unknown FreeDHCP-Opcode/)
})

t.test('a value of every attribute survives encoding and decoding', async (t) => {
  const dictionary = loadDictionary(readFile, root)
  const means = {
    secret: Buffer.from('secret'),
    authenticator: Buffer.alloc(16, 1),
    salt: () => Buffer.from([1, 2]),
  }
  const text: Record<string, string> = {
    string: 'text',
    ipaddr: '192.0.2.1',
    'combo-ip': '2001:db8::1',
    ipv6addr: '2001:db8::1',
    ipv6prefix: '2001:db8::/32',
    ipv4prefix: '192.0.2.0/24',
    ifid: '0011:2233:4455:6677',
    ether: '02:00:00:00:00:01',
  }
  let tested = 0
  for (const { name, type, path, length } of dictionary.byPath.values()) {
    const { 0: outer = 0, length: depth } = path
    // Numbers over 255 exist inside FreeRADIUS only; deeper ones are written inside their tlv.
    if (outer > 255 || (depth === 2 && outer < 241) || depth > (outer === 26 ? 3 : depth)) continue
    if (outer >= 241 && depth > 2 && path[1] !== 26) continue
    if (['vsa', 'evs', 'tlv', 'extended', 'long-extended'].includes(type)) continue
    const bytes = Buffer.alloc(length ?? 5, 7)
    const value =
      type === 'integer64'
        ? 5n
        : type === 'octets' || type === 'abinary'
          ? bytes
          : (text[type] ?? 5)
    const attributes = encodeNamed(dictionary, [{ name, value }], means)
    const [back] = decodeNamed(dictionary, attributes, means)
    // One assertion each would be thousands of lines of output.
    if (!isDeepStrictEqual(back?.value, value)) t.same(back?.value, value, `${name} ${path}`)
    tested++
  }
  t.ok(tested > 6_000, `${tested} attributes`)
})
