// The grammar of FreeRADIUS v3 dictionary files, one line at a time: ATTRIBUTE, VALUE, VENDOR,
// BEGIN-/END-VENDOR, BEGIN-/END-TLV, $INCLUDE. Refuses what it does not know with file and line,
// because a flag passed over in silence could send a secret in the clear. Called by dictionary.ts.

import type { DataType } from './data-type.ts'
import type { Definition, Dictionary, Vendor } from './dictionary.ts'
import { RadiusError } from './error.ts'

interface MutableDefinition extends Definition {
  readonly values: Map<string, number>
  readonly valueNames: Map<number, string>
}

interface PendingValue {
  readonly attribute: string
  readonly name: string
  readonly number: number
  readonly where: string
}

/** A block that is open: BEGIN-VENDOR or BEGIN-TLV, and the OID its numbers stand behind. */
interface Block {
  readonly kind: 'VENDOR' | 'TLV'
  readonly name: string
  readonly path: readonly number[]
}

/** A dictionary while it is loaded. */
export interface Builder {
  readonly byName: Map<string, MutableDefinition>
  readonly byPath: Map<string, MutableDefinition>
  readonly vendors: Map<number, Vendor>
  readonly vendorNumbers: Map<string, number>
  readonly blocks: Block[]
  readonly pendingValues: PendingValue[]
}

/** A $INCLUDE line; `optional` for `$INCLUDE-`, which may name a file that is absent. */
export interface Include {
  readonly path: string
  readonly optional: boolean
}

const vendorSpecificType = 26

const dataTypes: ReadonlySet<string> = new Set<DataType>([
  'integer',
  'integer64',
  'signed',
  'byte',
  'short',
  'date',
  'string',
  'octets',
  'abinary',
  'ipaddr',
  'ipv4prefix',
  'ipv6addr',
  'ipv6prefix',
  'combo-ip',
  'ifid',
  'ether',
  'tlv',
  'vsa',
  'evs',
  'extended',
  'long-extended',
])

/** RFC 8044's own names, and FreeRADIUS 4's, for types FreeRADIUS v3 spells otherwise. */
const typeAliases: ReadonlyMap<string, DataType> = new Map([
  ['uint32', 'integer'],
  ['enum', 'integer'],
  ['uint64', 'integer64'],
  ['int32', 'signed'],
  ['uint8', 'byte'],
  ['uint16', 'short'],
  ['time', 'date'],
  ['text', 'string'],
  ['ipv4addr', 'ipaddr'],
])

const isDataType = (name: string): name is DataType => dataTypes.has(name)

/** Flags with no meaning on the wire: several allowed, log policy, only inside FreeRADIUS. */
const idleFlags = new Set(['array', 'secret', 'virtual', 'internal'])

/** An empty builder. */
export function createBuilder(): Builder {
  return {
    byName: new Map(),
    byPath: new Map(),
    vendors: new Map(),
    vendorNumbers: new Map(),
    blocks: [],
    pendingValues: [],
  }
}

const malformed = (where: string, what: string) =>
  new RadiusError('dictionary-malformed', `${where}: ${what}`)

function parseNumber(text: string, where: string): number {
  if (!/^(0x[0-9a-f]+|[0-9]+)$/i.test(text)) throw malformed(where, `"${text}" is no number`)
  const number = Number(text)
  if (!Number.isSafeInteger(number)) throw malformed(where, `${text} is too large`)
  return number
}

function parsePath(text: string, where: string): number[] {
  const path = text.split('.').map((part) => parseNumber(part, where))
  // No vendor number or sub-attribute type has more than 32 bits.
  if (path.some((number) => number > 0xffffffff)) throw malformed(where, `${text} is too large`)
  return path
}

function parseType(text: string, where: string): { type: DataType; length: number | undefined } {
  const match = /^([a-z0-9-]+)(?:\[([0-9]+)\])?$/.exec(text.toLowerCase())
  const name = match?.[1] ?? ''
  const type = isDataType(name) ? name : typeAliases.get(name)
  if (type === undefined) throw malformed(where, `unknown type "${text}"`)
  return { type, length: match?.[2] === undefined ? undefined : Number(match[2]) }
}

function parseFlags(text: string, where: string) {
  const flags = { tagged: false, hidden: 0 as 0 | 1 | 2 | 3, concat: false }
  for (const flag of text.toLowerCase().split(',')) {
    if (flag === '' || idleFlags.has(flag)) continue
    if (flag === 'has_tag') flags.tagged = true
    else if (flag === 'concat') flags.concat = true
    else if (flag === 'encrypt=0') flags.hidden = 0
    else if (flag === 'encrypt=1') flags.hidden = 1
    else if (flag === 'encrypt=2') flags.hidden = 2
    else if (flag === 'encrypt=3') flags.hidden = 3
    else throw malformed(where, `unknown flag "${flag}"`)
  }
  return flags
}

function addAttribute(builder: Builder, words: string[], where: string): void {
  const [name, number, typeText, ...flagWords] = words
  if (name === undefined || number === undefined || typeText === undefined) {
    throw malformed(where, 'ATTRIBUTE needs name, number and type')
  }
  const path = [...(builder.blocks.at(-1)?.path ?? []), ...parsePath(number, where)]
  const { type, length } = parseType(typeText, where)
  const flags = parseFlags(flagWords.join(','), where)
  const key = path.join('.')
  const before = builder.byPath.get(key)
  const again = before !== undefined && before.name === name
  const definition: MutableDefinition = {
    name,
    path,
    type,
    length,
    ...flags,
    // The same attribute again (WiMAX's variants, say) keeps the names its values have.
    values: again ? before.values : new Map(),
    valueNames: again ? before.valueNames : new Map(),
  }
  builder.byName.set(name.toLowerCase(), definition)
  builder.byPath.set(key, definition)
}

function setValue(definition: MutableDefinition, name: string, number: number): void {
  definition.values.set(name.toLowerCase(), number)
  definition.valueNames.set(number, name)
}

function addValue(builder: Builder, words: string[], where: string): void {
  const [attribute, name, text] = words
  if (attribute === undefined || name === undefined || text === undefined) {
    throw malformed(where, 'VALUE needs attribute, name and number')
  }
  const number = parseNumber(text, where)
  const definition = builder.byName.get(attribute.toLowerCase())
  if (definition !== undefined) setValue(definition, name, number)
  else builder.pendingValues.push({ attribute, name, number, where })
}

function addVendor(builder: Builder, words: string[], where: string): void {
  const [name, text, format = 'format=1,1'] = words
  if (name === undefined || text === undefined) throw malformed(where, 'VENDOR needs name, number')
  const match = /^format=([124]),([012])(,c)?$/.exec(format)
  if (match === null) throw malformed(where, `unknown "${format}"`)
  const number = parsePath(text, where)[0] ?? 0
  builder.vendorNumbers.set(name.toLowerCase(), number)
  builder.vendors.set(number, {
    name,
    number,
    typeLength: Number(match[1]) as Vendor['typeLength'],
    lengthLength: Number(match[2]) as Vendor['lengthLength'],
    continuation: match[3] !== undefined,
  })
}

function beginVendor(builder: Builder, words: string[], where: string): void {
  const [name, option] = words
  const number = builder.vendorNumbers.get((name ?? '').toLowerCase())
  if (name === undefined || number === undefined) throw malformed(where, `no VENDOR ${name}`)
  let parent: readonly number[] = [vendorSpecificType]
  if (option !== undefined) {
    // `parent=` and, in older files, `format=` name the evs attribute the vendor's space hangs in.
    const match = /^(?:parent|format)=(.+)$/.exec(option)
    const definition = builder.byName.get((match?.[1] ?? '').toLowerCase())
    if (definition === undefined || (definition.type !== 'evs' && definition.type !== 'vsa')) {
      throw malformed(where, `"${option}" names no evs attribute`)
    }
    parent = definition.path
  }
  builder.blocks.push({ kind: 'VENDOR', name, path: [...parent, number] })
}

function beginTlv(builder: Builder, words: string[], where: string): void {
  const name = words[0] ?? ''
  const definition = builder.byName.get(name.toLowerCase())
  if (definition?.type !== 'tlv') throw malformed(where, `${name} is no tlv`)
  builder.blocks.push({ kind: 'TLV', name, path: definition.path })
}

function endBlock(builder: Builder, kind: Block['kind'], name: string, where: string): void {
  const block = builder.blocks.pop()
  if (block?.kind !== kind || block.name.toLowerCase() !== name.toLowerCase()) {
    throw malformed(where, `END-${kind} ${name} closes no such block`)
  }
}

type Keyword = (builder: Builder, words: string[], where: string) => void

const keywords: Readonly<Record<string, Keyword>> = {
  ATTRIBUTE: addAttribute,
  VALUE: addValue,
  VENDOR: addVendor,
  'BEGIN-VENDOR': beginVendor,
  'END-VENDOR': (builder, words, where) => endBlock(builder, 'VENDOR', words[0] ?? '', where),
  'BEGIN-TLV': beginTlv,
  'END-TLV': (builder, words, where) => endBlock(builder, 'TLV', words[0] ?? '', where),
  // Structures of v4 have no counterpart here; their octets are read as octets.
  STRUCT: () => undefined,
  MEMBER: () => undefined,
}

/** Takes in one line; a $INCLUDE is returned for the caller to follow. */
export function parseLine(builder: Builder, line: string, where: string): Include | undefined {
  const comment = line.indexOf('#')
  const words = (comment === -1 ? line : line.slice(0, comment)).split(/\s+/).filter(Boolean)
  const keyword = words.shift()?.toUpperCase()
  if (keyword === undefined) return undefined
  if (keyword === '$INCLUDE' || keyword === '$INCLUDE-') {
    const path = words[0]
    if (path === undefined) throw malformed(where, '$INCLUDE needs a path')
    return { path, optional: keyword === '$INCLUDE-' }
  }
  const handle = Object.hasOwn(keywords, keyword) ? keywords[keyword] : undefined
  if (handle === undefined) throw malformed(where, `unknown keyword "${keyword}"`)
  handle(builder, words, where)
  return undefined
}

/** The finished dictionary; values whose attribute never came, and open blocks, are refused. */
export function finishBuilder(builder: Builder): Dictionary {
  const open = builder.blocks.at(-1)
  if (open !== undefined) throw malformed('end', `BEGIN-${open.kind} ${open.name} never ends`)
  for (const { attribute, name, number, where } of builder.pendingValues) {
    const definition = builder.byName.get(attribute.toLowerCase())
    if (definition === undefined) throw malformed(where, `VALUE of unknown ${attribute}`)
    setValue(definition, name, number)
  }
  return { byName: builder.byName, byPath: builder.byPath, vendors: builder.vendors }
}
