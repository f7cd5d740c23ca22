import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import {
  type Dictionary,
  findByName,
  findByPath,
  loadDictionaries,
  loadDictionary,
} from '../../radius/dictionary.ts'
import { RadiusError } from '../../radius/error.ts'
import { shippedDictionary } from './support.ts'

class Absent extends Error {
  readonly code = 'ENOENT'
}

/** Loads `/d/main` from a table of files. */
function load(files: Record<string, string>): Dictionary {
  return loadDictionary((path) => {
    const content = files[path]
    if (content === undefined) throw new Absent(path)
    return content
  }, '/d/main')
}

t.test('ATTRIBUTE, VALUE and flags', async (t) => {
  const dictionary = load({
    '/d/main': [
      '# a comment',
      'attribute\tUser-Name\t1\tstring',
      'ATTRIBUTE Later-Type 0x06 integer # hex',
      'ATTRIBUTE Secret-Text 69 String has_tag,encrypt=2',
      'ATTRIBUTE Fixed 70 octets[16]',
      'ATTRIBUTE Long 79 octets concat',
      'ATTRIBUTE Ext 241 extended',
      'ATTRIBUTE Inner 241.7 tlv',
      'ATTRIBUTE Deep 241.7.2 uint16 array',
      'VALUE Later-Type One 0x01',
      'VALUE After-All Two 2',
      'ATTRIBUTE After-All 9 integer virtual',
      '',
    ].join('\r\n'),
  })
  t.match(findByName(dictionary, 'USER-name'), { name: 'User-Name', path: [1], type: 'string' })
  t.match(findByPath(dictionary, [69]), { type: 'string', tagged: true, hidden: 2 })
  t.match(findByPath(dictionary, [70]), { type: 'octets', length: 16 })
  t.match(findByPath(dictionary, [79]), { concat: true, tagged: false, hidden: 0 })
  t.match(findByPath(dictionary, [241, 7, 2]), { name: 'Deep', type: 'short' })
  t.equal(findByPath(dictionary, [6])?.values.get('one'), 1)
  t.equal(findByPath(dictionary, [6])?.valueNames.get(1), 'One')
  t.equal(findByName(dictionary, 'After-All')?.values.get('two'), 2, 'a VALUE before its ATTRIBUTE')
  t.equal(findByName(dictionary, 'Nothing'), undefined)
})

t.test('vendors: formats, blocks, TLVs, spaces inside evs', async (t) => {
  const dictionary = load({
    '/d/main': [
      'ATTRIBUTE Extended-5 245 long-extended',
      'ATTRIBUTE Extended-Vendor-Specific-5 245.26 evs',
      'VENDOR Acme 9999',
      'VENDOR Wide 429 format=4,0',
      'VENDOR WiMAX 24757 format=1,1,c',
      'BEGIN-VENDOR Acme',
      'ATTRIBUTE 3Acme-Name 1 string',
      'ATTRIBUTE Acme-Set 2 tlv',
      'BEGIN-TLV Acme-Set',
      'ATTRIBUTE Acme-Inner 1 integer',
      'END-TLV Acme-Set',
      'ATTRIBUTE Acme-Other 2.5 byte',
      'END-VENDOR Acme',
      'BEGIN-VENDOR WiMAX',
      'ATTRIBUTE WiMAX-Thing 60 octets',
      'END-VENDOR WiMAX',
      'BEGIN-VENDOR Acme parent=Extended-Vendor-Specific-5',
      'ATTRIBUTE Acme-New 1 integer64',
      'END-VENDOR Acme',
      'BEGIN-VENDOR Wide format=Extended-Vendor-Specific-5',
      'ATTRIBUTE Wide-New 3 octets',
      'END-VENDOR Wide',
      'ATTRIBUTE Plain 200 octets',
    ].join('\n'),
  })
  const paths: [string, number[]][] = [
    ['3Acme-Name', [26, 9999, 1]],
    ['Acme-Inner', [26, 9999, 2, 1]],
    ['Acme-Other', [26, 9999, 2, 5]],
    ['WiMAX-Thing', [26, 24_757, 60]],
    ['Acme-New', [245, 26, 9999, 1]],
    ['Wide-New', [245, 26, 429, 3]],
    ['Plain', [200]],
  ]
  for (const [name, path] of paths) {
    t.same(findByName(dictionary, name)?.path, path, name)
    t.equal(findByPath(dictionary, path)?.name, name)
  }
  t.match(dictionary.vendors.get(429), { typeLength: 4, lengthLength: 0, continuation: false })
  t.match(dictionary.vendors.get(24_757), { typeLength: 1, lengthLength: 1, continuation: true })
})

t.test('$INCLUDE: beside the file, absolute, optional, and never in a circle', async (t) => {
  const dictionary = load({
    '/d/main': '$INCLUDE sub/one\n$INCLUDE /e/two\n$INCLUDE- absent\n$INCLUDE sub/one',
    '/d/sub/one': '$INCLUDE three',
    '/d/sub/three': 'ATTRIBUTE Three 3 octets',
    '/e/two': 'ATTRIBUTE Two 2 octets',
  })
  t.equal(dictionary.byName.size, 2)
  t.throws(() => load({ '/d/main': '$INCLUDE absent' }), { code: 'ENOENT' })
  t.throws(() => load({ '/d/main': '$INCLUDE main' }), { code: 'dictionary-malformed' })
  const circle = { '/d/main': '$INCLUDE one', '/d/one': '$INCLUDE /d/main' }
  t.throws(() => load(circle), { message: /\/d\/one:1: \/d\/main includes itself/ })
})

t.test('lines that are refused, with file and line', async (t) => {
  const cases = [
    'ATTRIBUTE Name 1',
    'ATTRIBUTE Name one string',
    'ATTRIBUTE Name 1.x string',
    'ATTRIBUTE Name -1 string',
    'ATTRIBUTE Name 4294967296 string',
    'ATTRIBUTE Name 1 unheard-of',
    'ATTRIBUTE Name 1 octets[x]',
    'ATTRIBUTE Name 1 string encrypt=4',
    'ATTRIBUTE Name 1 string has_tags',
    'ATTRIBUTE Name 1 constructor',
    'VALUE Name One',
    'VALUE Known One one',
    'VALUE Unknown One 1',
    'VALUE Known One 99999999999999999999',
    'VENDOR Acme',
    'VENDOR Acme 1 format=3,1',
    'VENDOR Acme 1 format=1,1,d',
    'BEGIN-VENDOR Acme',
    'END-VENDOR Acme',
    'BEGIN-TLV Known',
    'END-TLV Known',
    'VENDOR Acme 1\nBEGIN-VENDOR Acme parent=Known',
    'VENDOR Acme 1\nBEGIN-VENDOR Acme\nEND-VENDOR Other',
    'VENDOR Acme 1\nBEGIN-VENDOR Acme\nEND-TLV Acme',
    '$INCLUDE',
    'constructor x',
    'FROBNICATE x',
  ]
  for (const line of cases) {
    try {
      load({ '/d/main': `ATTRIBUTE Known 9 integer\n${line}` })
      t.fail(`accepted: ${line}`)
    } catch (error) {
      if (!(error instanceof RadiusError)) throw error
      t.equal(error.code, 'dictionary-malformed', line)
      t.match(error.message, /\/d\/main:[234]: /, line)
    }
  }
  t.throws(() => load({ '/d/main': 'VENDOR Acme 1\nBEGIN-VENDOR Acme' }), /never ends/)
})

t.test('the shipped files: licence headers, and the attributes we use', async (t) => {
  const folder = new URL('../../radius/dictionaries/', import.meta.url)
  const own = new Set(['README.md', 'dictionary', 'dictionary.supplement'])
  const root = readFileSync(new URL('dictionary', folder), 'utf8')
  for (const file of readdirSync(folder)) {
    if (own.has(file)) continue
    const content = readFileSync(new URL(file, folder), 'utf8')
    t.match(content, 'CC-BY version 4.0', `${file} carries its licence`)
    t.match(root, `$INCLUDE ${file}\n`, `${file} is included`)
  }
  const dictionary = shippedDictionary()
  const known: [string, string, string][] = [
    ['User-Name', '1', 'string'],
    ['EAP-Message', '79', 'octets'],
    ['Message-Authenticator', '80', 'octets'],
    ['Event-Timestamp', '55', 'date'],
    ['NAS-IPv6-Address', '95', 'ipv6addr'],
    ['Chargeable-User-Identity', '89', 'octets'],
    ['Operator-Name', '126', 'string'],
    ['WLAN-AKM-Suite', '188', 'integer'],
    ['MS-MPPE-Recv-Key', '26.311.17', 'octets'],
    ['WISPr-Bandwidth-Max-Down', '26.14122.8', 'integer'],
    ['WBA-Linear-Volume-Rate', '26.14122.15', 'string'],
    ['Mikrotik-Rate-Limit', '26.14988.8', 'string'],
    ['TPLink-Recv-limit', '26.11863.1', 'integer'],
    ['Cisco-AVPair', '26.9.1', 'string'],
    ['HS20-AP-Version', '26.40808.2', 'byte'],
  ]
  for (const [name, path, type] of known) {
    const definition = findByName(dictionary, name)
    if (definition === undefined) t.fail(`no ${name}`)
    else t.match({ path: definition.path.join('.'), type: definition.type }, { path, type }, name)
  }
})

t.test('more dictionaries on top', async (t) => {
  const files: Record<string, string> = {
    '/a': 'ATTRIBUTE Name 1 string',
    '/b': 'VALUE Other One 1\nATTRIBUTE Other 2 integer\nATTRIBUTE Renamed 1 octets',
  }
  const dictionary = loadDictionaries((path) => files[path] ?? '', ['/a', '/b'])
  t.equal(findByPath(dictionary, [1])?.name, 'Renamed')
  t.same(findByName(dictionary, 'Name')?.path, [1])
})
