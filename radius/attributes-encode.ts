// Named, typed values to attributes: the reverse of attributes.ts. Refuses unknown names, values
// that do not fit their type, and values too long for an attribute that cannot be continued.

import { AttributeType } from './attribute-type.ts'
import { type HidingKeys, moreFlag, type NamedValue, tagMax } from './attributes.ts'
import { encodeValue, type Value } from './data-type.ts'
import {
  type Definition,
  type Dictionary,
  findByName,
  findByPath,
  standardVendor,
} from './dictionary.ts'
import { RadiusError } from './error.ts'
import { hideAscendSecret, hideTunnelPassword, hideUserPassword } from './hidden.ts'
import { type Attribute, valueLengthMax } from './packet.ts'

/**
 * What hides values: the keys, and 2 random octets for each call of `salt`, different every time.
 */
export interface HidingMeans extends HidingKeys {
  readonly salt: () => Buffer
}

/**
 * Attributes for these values, in order. Throws RadiusError for the first that cannot be written.
 */
export function encodeNamed(
  dictionary: Dictionary,
  values: readonly NamedValue[],
  means?: HidingMeans,
): Attribute[] {
  const attributes: Attribute[] = []
  for (const named of values) {
    const { path, definition } = resolve(dictionary, named.name)
    const octets = encodeOctets(dictionary, named, path, definition, means)
    for (const attribute of wrap(dictionary, path, octets, definition?.concat === true)) {
      attributes.push(attribute)
    }
  }
  return attributes
}

function resolve(
  dictionary: Dictionary,
  name: string,
): { readonly path: readonly number[]; readonly definition: Definition | undefined } {
  const definition = findByName(dictionary, name)
  if (definition !== undefined) return { path: definition.path, definition }
  const match = /^Attr-([0-9]{1,10}(?:\.[0-9]{1,10}){0,9})$/i.exec(name)
  if (match?.[1] === undefined) throw new RadiusError('name-unknown', `no attribute "${name}"`)
  const path = match[1].split('.').map(Number)
  return { path, definition: findByPath(dictionary, path) }
}

function encodeOctets(
  dictionary: Dictionary,
  named: NamedValue,
  path: readonly number[],
  definition: Definition | undefined,
  means: HidingMeans | undefined,
): Buffer {
  const { name, value, tag } = named
  const wrong = (what: string) => new RadiusError('value-malformed', `${name}: ${what}`)
  if (definition === undefined || named.raw === true) {
    if (!Buffer.isBuffer(value)) throw wrong('octets are needed')
    return value
  }
  if (isList(value)) {
    if (definition.type !== 'tlv') throw wrong('it holds no others')
    return Buffer.concat(value.map((child) => encodeTlv(dictionary, path, child, means)))
  }
  if (definition.type === 'tlv') throw wrong('a list of attributes is needed')
  const plain = encodeScalar(definition, value)
  if (definition.length !== undefined && plain.length !== definition.length) {
    throw wrong(`${plain.length} octets, not ${definition.length}`)
  }
  return addTag(definition, hide(definition, plain, means), tag)
}

function isList(value: NamedValue['value']): value is readonly NamedValue[] {
  return Array.isArray(value)
}

function encodeScalar(definition: Definition, value: Value): Buffer {
  // A word for a number: the dictionary's VALUE, in any letter case.
  const number = typeof value === 'string' ? definition.values.get(value.toLowerCase()) : undefined
  if (number === undefined) return encodeValue(definition.type, value)
  switch (definition.type) {
    case 'integer':
    case 'short':
    case 'byte':
    case 'signed':
    case 'date':
      return encodeValue(definition.type, number)
    case 'integer64':
      return encodeValue(definition.type, BigInt(number))
    default:
      return encodeValue(definition.type, value)
  }
}

function encodeTlv(
  dictionary: Dictionary,
  parent: readonly number[],
  child: NamedValue,
  means: HidingMeans | undefined,
): Buffer {
  const { path, definition } = resolve(dictionary, child.name)
  const type = path.at(-1) ?? 0
  const inside = path.length === parent.length + 1 && parent.every((part, i) => part === path[i])
  if (!inside || type > 255) {
    throw new RadiusError('value-malformed', `${child.name} is not inside ${parent.join('.')}`)
  }
  const octets = encodeOctets(dictionary, child, path, definition, means)
  if (octets.length > valueLengthMax) {
    throw new RadiusError('value-too-long', `${child.name}, ${octets.length} octets`)
  }
  return Buffer.concat([Buffer.from([type, 2 + octets.length]), octets])
}

function hide(definition: Definition, plain: Buffer, means: HidingMeans | undefined): Buffer {
  if (definition.hidden === 0) return plain
  if (means === undefined) {
    throw new RadiusError('hidden-malformed', `${definition.name} needs a secret to hide it`)
  }
  const { authenticator, secret } = means
  if (definition.hidden === 1) return hideUserPassword(plain, authenticator, secret)
  if (definition.hidden === 3) return hideAscendSecret(plain, authenticator, secret)
  return hideTunnelPassword(plain, means.salt(), authenticator, secret)
}

function addTag(definition: Definition, octets: Buffer, tag: number | undefined): Buffer {
  if (!definition.tagged && tag === undefined) return octets
  const wrong = (what: string) => new RadiusError('value-malformed', `${definition.name}: ${what}`)
  if (!definition.tagged) throw wrong('it has no tag')
  if (tag !== undefined && !(Number.isInteger(tag) && tag >= 0 && tag <= tagMax)) {
    throw wrong(`tag ${tag}`)
  }
  if (definition.type === 'integer') {
    // RFC 2868 §3.1: the tag takes the top octet, so values have 24 bits where there is one.
    if (tag === undefined) return octets
    if (octets[0] !== 0) throw wrong('over 24 bits beside a tag')
    octets[0] = tag
    return octets
  }
  // RFC 2868 §3.5: Tunnel-Password always has the octet. Elsewhere a value whose first octet would
  // be taken for a tag gets the tag 0, which means "unused".
  const needed = definition.hidden === 2 || (octets[0] ?? tagMax + 1) <= tagMax
  if (tag === undefined && !needed) return octets
  return Buffer.concat([Buffer.from([tag ?? 0]), octets])
}

/**
 * Puts a value behind the heads its OID asks for, outermost last, in pieces where that is allowed.
 */
function wrap(
  dictionary: Dictionary,
  path: readonly number[],
  octets: Buffer,
  concat: boolean,
): Attribute[] {
  const [type = 0, second, third, ...deeper] = path
  if (type < 1 || type > 255) {
    throw new RadiusError('attribute-type-invalid', `${path.join('.')} is not for the wire`)
  }
  if (second === undefined) return wrapPieces(type, octets, concat ? valueLengthMax : 0, noHead)
  const outer = findByPath(dictionary, [type])?.type
  if (type === AttributeType.vendorSpecific && third !== undefined && deeper.length === 0) {
    return wrapVendor(dictionary, second, third, octets)
  }
  const evs = findByPath(dictionary, [type, second])?.type === 'evs'
  const vendorType = deeper.length === 1 ? deeper[0] : undefined
  let content = octets
  if (evs && third !== undefined && vendorType !== undefined && vendorType <= 255) {
    const head = Buffer.alloc(5)
    head.writeUInt32BE(third)
    head.writeUInt8(vendorType, 4)
    content = Buffer.concat([head, octets])
  } else if (third !== undefined) {
    throw new RadiusError('attribute-type-invalid', `${path.join('.')} stands inside another`)
  }
  if (outer === 'extended') return wrapPieces(type, content, 0, () => Buffer.from([second]))
  if (outer !== 'long-extended') {
    throw new RadiusError('attribute-type-invalid', `${path.join('.')} has no such form`)
  }
  const head = (more: boolean) => Buffer.from([second, more ? moreFlag : 0])
  return wrapPieces(type, content, valueLengthMax - 2, head)
}

function wrapVendor(
  dictionary: Dictionary,
  vendor: number,
  type: number,
  octets: Buffer,
): Attribute[] {
  const { typeLength, lengthLength, continuation } =
    dictionary.vendors.get(vendor) ?? standardVendor
  if (vendor > 0xffffffff || type >= 2 ** (8 * typeLength)) {
    throw new RadiusError('attribute-type-invalid', `26.${vendor}.${type}`)
  }
  const headLength = typeLength + lengthLength + (continuation ? 1 : 0)
  const head = (more: boolean, length: number) => {
    const bytes = Buffer.alloc(4 + headLength)
    bytes.writeUInt32BE(vendor)
    bytes.writeUIntBE(type, 4, typeLength)
    if (lengthLength > 0) bytes.writeUIntBE(headLength + length, 4 + typeLength, lengthLength)
    if (more) bytes.writeUInt8(moreFlag, 4 + headLength - 1)
    return bytes
  }
  const room = continuation ? valueLengthMax - 4 - headLength : 0
  return wrapPieces(AttributeType.vendorSpecific, octets, room, head)
}

const noHead = (): Buffer => Buffer.alloc(0)

/** One attribute, or pieces of at most `room` octets behind their heads; room 0 forbids pieces. */
function wrapPieces(
  type: number,
  octets: Buffer,
  room: number,
  head: (more: boolean, length: number) => Buffer,
): Attribute[] {
  const attributes: Attribute[] = []
  let at = 0
  do {
    const piece = room === 0 ? octets : octets.subarray(at, at + room)
    at += piece.length
    const value = Buffer.concat([head(at < octets.length, piece.length), piece])
    // RFC 2865 §5: 253 octets is all an attribute holds.
    if (value.length > valueLengthMax) {
      throw new RadiusError('value-too-long', `type ${type}, ${value.length} octets`)
    }
    attributes.push({ type, value })
  } while (at < octets.length)
  return attributes
}
