// Attribute lists as named, typed values: what the dictionary says about each attribute, applied.
// Reading never fails: what a definition does not fit is an "invalid attribute" and keeps its
// octets (RFC 6929 §2.8). Writing is attributes-encode.ts's. For logs, configured replies and
// tools; the authentication path reads its few attributes by number.

import { AttributeType } from './attribute-type.ts'
import { decodeValue, type Value } from './data-type.ts'
import { type Definition, type Dictionary, findByPath, standardVendor } from './dictionary.ts'
import { RadiusError } from './error.ts'
import { revealAscendSecret, revealTunnelPassword, revealUserPassword } from './hidden.ts'
import type { Attribute } from './packet.ts'

/**
 * One attribute with its name. `Attr-26.9.250` names one the dictionary does not know, by its OID.
 */
export interface NamedValue {
  readonly name: string
  readonly value: Value | readonly NamedValue[]
  /** RFC 2868 tag, 0..31; absent where the attribute has none. */
  readonly tag?: number
  /** `value` is the octets as on the wire: no definition, or the octets do not fit it. */
  readonly raw?: true
}

/** What opens hidden values. For a reply, `authenticator` is the one of the request it answers. */
export interface HidingKeys {
  readonly secret: Buffer
  readonly authenticator: Buffer
}

/** A piece of a value that goes on in the next attribute of the same path (M flag, WiMAX's C). */
interface Piece {
  readonly path: readonly number[]
  readonly value: Buffer
  readonly more: boolean
}

/** Flag octet of long-extended attributes (RFC 6929 §2.2) and continuation octet of WiMAX. */
export const moreFlag = 0x80
/** Tags over 31 are the first octet of a value without tag (RFC 2868 §3.1). */
export const tagMax = 0x1f

/**
 * Names and types every attribute, in order. Pieces of one value are put together. Without `keys`,
 * hidden attributes stay raw.
 */
export function decodeNamed(
  dictionary: Dictionary,
  attributes: readonly Attribute[],
  keys?: HidingKeys,
): NamedValue[] {
  const named: NamedValue[] = []
  const pieces = attributes.map((attribute) => splitOuter(dictionary, attribute))
  let i = 0
  while (i < pieces.length) {
    const group = pieces[i]
    const first = group?.[0]
    if (group === undefined || first === undefined) break
    const joined = group.length === 1 ? joinPieces(dictionary, pieces, i) : undefined
    if (joined === undefined) {
      for (const piece of group) named.push(decodeOne(dictionary, piece.path, piece.value, keys))
      i++
    } else if (joined.complete) {
      named.push(decodeOne(dictionary, first.path, joined.value, keys))
      i += joined.count
    } else {
      // RFC 6929 §2.8: a value whose end never came is invalid; its pieces stay as they were.
      for (const { type, value } of attributes.slice(i, i + joined.count)) {
        named.push(rawValue(dictionary, [type], value))
      }
      i += joined.count
    }
  }
  return named
}

/** Joins the run of pieces that begins at `start`; undefined where the piece stands alone. */
function joinPieces(
  dictionary: Dictionary,
  pieces: readonly (readonly Piece[])[],
  start: number,
): { readonly value: Buffer; readonly count: number; readonly complete: boolean } | undefined {
  const first = pieces[start]?.[0]
  if (first === undefined) return undefined
  const concat = findByPath(dictionary, first.path)?.concat === true
  if (!first.more && !concat) return undefined
  const key = first.path.join('.')
  const values: Buffer[] = []
  let more = true
  for (let i = start; i < pieces.length && more; i++) {
    const group = pieces[i]
    const piece = group?.[0]
    if (piece === undefined || group?.length !== 1 || piece.path.join('.') !== key) break
    values.push(piece.value)
    more = piece.more || concat
  }
  return { value: Buffer.concat(values), count: values.length, complete: concat || !more }
}

/** The attributes inside one on the wire: more than one only in a Vendor-Specific. Never empty. */
function splitOuter(dictionary: Dictionary, { type, value }: Attribute): readonly Piece[] {
  const whole = [{ path: [type], value, more: false }]
  const definition = findByPath(dictionary, [type])
  if (type === AttributeType.vendorSpecific) return splitVendor(dictionary, value) ?? whole
  const headLength = definition?.type === 'extended' ? 1 : 2
  if (definition?.type !== 'extended' && definition?.type !== 'long-extended') return whole
  // RFC 6929 §2.1, §2.2: an extended type, a flags octet in the long form, and at least one more.
  if (value.length <= headLength) return whole
  const more = headLength === 2 && (value.readUInt8(1) & moreFlag) !== 0
  return [{ path: [type, value.readUInt8(0)], value: value.subarray(headLength), more }]
}

/** RFC 2865 §5.26: vendor number, then attributes framed as the vendor does. */
function splitVendor(dictionary: Dictionary, value: Buffer): Piece[] | undefined {
  if (value.length < 4) return undefined
  const vendor = value.readUInt32BE(0)
  const { typeLength, lengthLength, continuation } =
    dictionary.vendors.get(vendor) ?? standardVendor
  const headLength = typeLength + lengthLength + (continuation ? 1 : 0)
  const pieces: Piece[] = []
  let at = 4
  do {
    const left = value.length - at
    if (left < headLength) return undefined
    const length = lengthLength === 0 ? left : value.readUIntBE(at + typeLength, lengthLength)
    if (length < headLength || length > left) return undefined
    const more = continuation && (value.readUInt8(at + headLength - 1) & moreFlag) !== 0
    pieces.push({
      path: [AttributeType.vendorSpecific, vendor, value.readUIntBE(at, typeLength)],
      value: value.subarray(at + headLength, at + length),
      more,
    })
    at += length
  } while (at < value.length)
  // WiMAX packs one attribute into one Vendor-Specific; a continued one among others has no order.
  return pieces.length > 1 && pieces.some(({ more }) => more) ? undefined : pieces
}

function rawValue(
  dictionary: Dictionary,
  path: readonly number[],
  value: Buffer,
  definition = findByPath(dictionary, path),
): NamedValue {
  return { name: definition?.name ?? `Attr-${path.join('.')}`, value, raw: true }
}

function decodeOne(
  dictionary: Dictionary,
  path: readonly number[],
  octets: Buffer,
  keys: HidingKeys | undefined,
): NamedValue {
  const definition = findByPath(dictionary, path)
  const raw = () => rawValue(dictionary, path, octets, definition)
  if (definition === undefined) return raw()
  const { name, type } = definition
  if (type === 'evs') {
    // RFC 6929 §2.4: vendor number, vendor's own type, at least one octet.
    if (octets.length < 6) return raw()
    const inner = [...path, octets.readUInt32BE(0), octets.readUInt8(4)]
    return decodeOne(dictionary, inner, octets.subarray(5), keys)
  }
  if (type === 'vsa' || type === 'extended' || type === 'long-extended') return raw()
  if (type === 'tlv') {
    const inner = decodeTlvs(dictionary, path, octets, keys)
    return inner === undefined ? raw() : { name, value: inner }
  }
  const { tag, rest } = splitTag(definition, octets)
  const plain = reveal(definition, rest, keys)
  if (plain === undefined) return raw()
  if (definition.length !== undefined && plain.length !== definition.length) return raw()
  const value = decodeValue(type, plain)
  if (value === undefined) return raw()
  return tag === undefined ? { name, value } : { name, value, tag }
}

/** Inner attributes of a tlv (RFC 6929 §2.3); undefined where they do not fill it exactly. */
function decodeTlvs(
  dictionary: Dictionary,
  path: readonly number[],
  octets: Buffer,
  keys: HidingKeys | undefined,
): NamedValue[] | undefined {
  const inner: NamedValue[] = []
  let at = 0
  while (at < octets.length) {
    const length = at + 2 <= octets.length ? octets.readUInt8(at + 1) : 0
    if (length < 2 || at + length > octets.length) return undefined
    const value = octets.subarray(at + 2, at + length)
    // Each level takes two octets and needs a definition, so the dictionary bounds the depth.
    inner.push(decodeOne(dictionary, [...path, octets.readUInt8(at)], value, keys))
    at += length
  }
  return inner
}

/** Takes the tag off; for integers it is the top octet of four (RFC 2868 §3.1). */
function splitTag({ tagged, type }: Definition, octets: Buffer): { tag?: number; rest: Buffer } {
  const tag = octets[0]
  if (!tagged || tag === undefined || tag > tagMax) return { rest: octets }
  if (type !== 'integer') return { tag, rest: octets.subarray(1) }
  const rest = Buffer.from(octets)
  rest[0] = 0
  return { tag, rest }
}

function reveal(
  { hidden, length }: Definition,
  octets: Buffer,
  keys: HidingKeys | undefined,
): Buffer | undefined {
  if (hidden === 0) return octets
  if (keys === undefined) return undefined
  try {
    if (hidden === 2) return revealTunnelPassword(octets, keys.authenticator, keys.secret)
    const undo = hidden === 1 ? revealUserPassword : revealAscendSecret
    const plain = undo(octets, keys.authenticator, keys.secret)
    // Padding and a value's own trailing zeros look alike; a fixed length tells them apart.
    if (length === undefined || plain.length >= length) return plain
    return Buffer.concat([plain, Buffer.alloc(length - plain.length)])
  } catch (error) {
    if (error instanceof RadiusError) return undefined
    throw error
  }
}
