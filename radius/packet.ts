// The header and the attribute list of a RADIUS packet (RFC 2865 §3, §5), bytes to values and back:
//
//   code 1 | identifier 1 | length 2 | authenticator 16 | { type 1 | length 1 | value 0..253 } ...
//
// Structure only: nothing here has checked an authenticator, so the server calls authenticator.ts,
// which calls this. Values are views into the datagram, which the caller must not reuse.

import { RadiusError } from './error.ts'

/** Packet codes we send or take (RFC 2865 §3, 2866, 5176 §2, 5997, 7930 §4). */
export const Code = {
  accessRequest: 1,
  accessAccept: 2,
  accessReject: 3,
  accountingRequest: 4,
  accountingResponse: 5,
  accessChallenge: 11,
  statusServer: 12,
  disconnectRequest: 40,
  disconnectAck: 41,
  disconnectNak: 42,
  coaRequest: 43,
  coaAck: 44,
  coaNak: 45,
  protocolError: 52,
} as const

/** One attribute as on the wire: type 1..255, value 0..253 octets. */
export interface Attribute {
  readonly type: number
  readonly value: Buffer
}

/** A decoded packet whose authenticators nobody has checked. `attributes` keep their order. */
export interface Packet {
  readonly code: number
  readonly identifier: number
  readonly authenticator: Buffer
  readonly attributes: readonly Attribute[]
}

export const headerLength = 20
/** RFC 2865 §3: the maximum length of a packet. */
export const packetLengthMax = 4096
/** 255 octets of attribute less its type and length. */
export const valueLengthMax = 253
/** FreeRADIUS ships the same limit; the longest real Access-Requests carry about 60. */
export const attributesMax = 200

const knownCode = new Uint8Array(256)
for (const code of Object.values(Code)) knownCode[code] = 1

const messageAuthenticator = 80
const messageAuthenticatorLength = 16

/** The value of the Length field after every check of RFC 2865 §3; octets behind it are padding. */
export function packetLength(datagram: Buffer): number {
  const received = datagram.length
  if (received < headerLength) throw new RadiusError('packet-too-short', `${received} octets`)
  if (received > packetLengthMax) throw new RadiusError('packet-too-long', `${received} octets`)
  const length = datagram.readUInt16BE(2)
  if (length < headerLength) throw new RadiusError('length-too-small', `Length is ${length}`)
  if (length > packetLengthMax) throw new RadiusError('length-too-large', `Length is ${length}`)
  if (length > received) {
    throw new RadiusError('length-beyond-packet', `Length is ${length}, received ${received}`)
  }
  return length
}

/** Reads header and attribute list. Throws RadiusError on the first structural fault. */
export function decodePacket(datagram: Buffer): Packet {
  const length = packetLength(datagram)
  const code = datagram.readUInt8(0)
  if (knownCode[code] !== 1) throw new RadiusError('code-unknown', `code ${code}`)
  return {
    code,
    identifier: datagram.readUInt8(1),
    authenticator: datagram.subarray(4, headerLength),
    attributes: decodeAttributes(datagram, length),
  }
}

function decodeAttributes(datagram: Buffer, length: number): Attribute[] {
  const attributes: Attribute[] = []
  let messageAuthenticators = 0
  let at = headerLength
  while (at < length) {
    // RFC 2865 §5: a fault in any attribute makes the whole packet invalid.
    if (at + 2 > length) throw new RadiusError('attribute-truncated', `one octet left at ${at}`)
    const type = datagram.readUInt8(at)
    const size = datagram.readUInt8(at + 1)
    if (type === 0) throw new RadiusError('attribute-type-zero', `at ${at}`)
    if (size < 2) throw new RadiusError('attribute-too-short', `type ${type}, length ${size}`)
    if (at + size > length) {
      throw new RadiusError('attribute-past-end', `type ${type}, ${at} + ${size} > ${length}`)
    }
    if (attributes.length === attributesMax) {
      throw new RadiusError('attributes-too-many', `more than ${attributesMax}`)
    }
    if (type === messageAuthenticator) {
      if (size !== 2 + messageAuthenticatorLength) {
        throw new RadiusError('message-authenticator-length', `${size - 2} octets`)
      }
      // RFC 3579 §3.3: at most one; with two, which one was checked would be ambiguous.
      if (++messageAuthenticators > 1)
        throw new RadiusError('message-authenticator-repeated', 'two')
    }
    attributes.push({ type, value: datagram.subarray(at + 2, at + size) })
    at += size
  }
  return attributes
}

/** The octets the attributes take on the wire. Throws RadiusError where one cannot be written. */
export function attributesLength(attributes: readonly Attribute[]): number {
  let length = 0
  for (const { type, value } of attributes) {
    if (!Number.isInteger(type) || type < 1 || type > 255) {
      throw new RadiusError('attribute-type-invalid', `type ${type}`)
    }
    if (value.length > valueLengthMax) {
      throw new RadiusError('value-too-long', `type ${type}, ${value.length} octets`)
    }
    length += 2 + value.length
  }
  return length
}

/** Writes the attributes at `at`, where the caller has made room, and returns the offset behind. */
export function writeAttributes(target: Buffer, at: number, attributes: readonly Attribute[]) {
  for (const { type, value } of attributes) {
    target[at] = type
    target[at + 1] = 2 + value.length
    target.set(value, at + 2)
    at += 2 + value.length
  }
  return at
}

/** Writes code, identifier, length and authenticator into the first 20 octets. */
export function writeHeader(
  target: Buffer,
  code: number,
  identifier: number,
  authenticator: Uint8Array,
): void {
  if (target.length > packetLengthMax) {
    throw new RadiusError('packet-too-long', `${target.length} octets`)
  }
  if (authenticator.length !== 16) {
    throw new RadiusError('authenticator-length', `${authenticator.length} octets`)
  }
  target.writeUInt8(code, 0)
  target.writeUInt8(identifier, 1)
  target.writeUInt16BE(target.length, 2)
  target.set(authenticator, 4)
}

/** The value of the first attribute of this type. */
export function firstAttribute(packet: Packet, type: number): Buffer | undefined {
  for (const attribute of packet.attributes) {
    if (attribute.type === type) return attribute.value
  }
  return undefined
}

/** The values of all attributes of this type, in order. */
export function allAttributes(packet: Packet, type: number): Buffer[] {
  const values: Buffer[] = []
  for (const attribute of packet.attributes) {
    if (attribute.type === type) values.push(attribute.value)
  }
  return values
}
