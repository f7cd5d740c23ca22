// Ways to spoil one good RADIUS packet: its bits, its lengths, its attributes, the EAP inside. Pure
// but for the dice handed in. What can still be signed is signed again by `resign`, which shares no
// code with radius/authenticator.ts. Called by mutations.test.ts.

import { createHmac } from 'node:crypto'
import type { Random } from './random.ts'

const HEADER = 20
const EAP_MESSAGE = 79
const MESSAGE_AUTHENTICATOR = 80
const INTERESTING_TYPES = [1, 2, 3, 12, 24, 25, 26, 31, 33, 70, 79, 80, 89, 102]

interface Attribute {
  readonly type: number
  readonly value: Buffer
}

/** The attributes as far as they can be read. */
function attributesOf(packet: Buffer): Attribute[] {
  const attributes: Attribute[] = []
  for (let at = HEADER; at + 2 <= packet.length; ) {
    const size = packet[at + 1] ?? 0
    if (size < 2 || at + size > packet.length) break
    attributes.push({ type: packet[at] ?? 0, value: packet.subarray(at + 2, at + size) })
    at += size
  }
  return attributes
}

/** All EAP-Message attributes joined, as a reader of RFC 3579 does it. */
export const eapOf = (packet: Buffer): Buffer => Buffer.concat(valuesOf(packet, EAP_MESSAGE))

export const valuesOf = (packet: Buffer, type: number): Buffer[] =>
  attributesOf(lengthCut(packet))
    .filter((attribute) => attribute.type === type)
    .map(({ value }) => value)

const lengthCut = (packet: Buffer): Buffer =>
  packet.length < HEADER ? packet : packet.subarray(0, packet.readUInt16BE(2))

function build(packet: Buffer, attributes: readonly Attribute[]): Buffer {
  const body = attributes.flatMap(({ type, value }) => [
    Buffer.from([type, (2 + value.length) & 0xff]),
    value,
  ])
  return withLength(Buffer.concat([packet.subarray(0, HEADER), ...body]))
}

/** Length made true; writes into `packet`. */
export function withLength(packet: Buffer): Buffer {
  if (packet.length >= 4) packet.writeUInt16BE(packet.length & 0xffff, 2)
  return packet
}

/** The packet with another EAP packet inside, in pieces of `size`, where the old one began. */
function withEap(packet: Buffer, eap: Buffer, size = 253): Buffer {
  const attributes = attributesOf(packet)
  const first = attributes.findIndex(({ type }) => type === EAP_MESSAGE)
  const rest = attributes.filter(({ type }) => type !== EAP_MESSAGE)
  const pieces: Attribute[] = []
  for (let at = 0; at < eap.length || at === 0; at += size) {
    pieces.push({ type: EAP_MESSAGE, value: eap.subarray(at, at + size) })
  }
  const place = first === -1 ? rest.length : first
  return build(packet, [...rest.slice(0, place), ...pieces, ...rest.slice(place)])
}

function flipBits(packet: Buffer, random: Random): Buffer {
  for (let n = random.below(4) + 1; n > 0; n--) {
    const at = random.below(packet.length)
    packet[at] = (packet[at] ?? 0) ^ (1 << random.below(8))
  }
  return packet
}

function spoilAttributes(packet: Buffer, random: Random): Buffer {
  const attributes = attributesOf(packet)
  const at = random.below(attributes.length)
  const chosen = attributes[at]
  if (chosen === undefined) return packet
  const { type, value } = chosen
  switch (random.below(6)) {
    case 0:
      return build(packet, attributes.toSpliced(at, 0, chosen))
    case 1:
      return build(packet, attributes.toSpliced(at, 1))
    case 2: {
      const other = random.below(attributes.length + 1)
      return build(packet, attributes.toSpliced(at, 1).toSpliced(other, 0, chosen))
    }
    case 3:
      return build(packet, attributes.with(at, { type: random.below(256), value }))
    case 4: {
      const length = random.below(254)
      const other = Buffer.concat([value, random.bytes(254)]).subarray(0, length)
      return build(packet, attributes.with(at, { type, value: other }))
    }
    default: {
      const added = { type: random.pick(INTERESTING_TYPES), value: random.bytes(random.below(254)) }
      const copies = random.chance(0.1) ? random.below(70) : 1
      const place = random.below(attributes.length + 1)
      const all = Array.from({ length: copies }, () => added)
      return build(packet, attributes.toSpliced(place, 0, ...all))
    }
  }
}

function spoilEap(packet: Buffer, random: Random): Buffer {
  const eap = Buffer.from(eapOf(packet))
  if (eap.length === 0) return withEap(packet, random.bytes(random.below(20)))
  const lengthen = (bytes: Buffer): Buffer => {
    if (bytes.length >= 4 && random.chance(0.7)) bytes.writeUInt16BE(bytes.length, 2)
    return bytes
  }
  switch (random.below(7)) {
    case 0: // Code, Identifier, Length, Type
      eap[random.below(Math.min(5, eap.length))] = random.below(256)
      return withEap(packet, eap)
    case 1: // Flags and TLS Message Length
      if (eap.length > 5) eap[5] = random.pick([0x20, 0x40, 0x80, 0xc0, 0xe0, 0x1f, 0x60])
      return withEap(packet, eap)
    case 2: {
      const declared = random.bytes(5)
      declared[0] = random.pick([0x80, 0xc0])
      if (random.chance(0.5)) declared.writeUInt32BE(random.below(2 * eap.length), 1)
      return withEap(
        packet,
        lengthen(Buffer.concat([eap.subarray(0, 5), declared, eap.subarray(6)])),
      )
    }
    case 3:
      return withEap(packet, lengthen(Buffer.from(eap.subarray(0, random.below(eap.length)))))
    case 4:
      return withEap(packet, lengthen(Buffer.concat([eap, random.bytes(1 + random.below(300))])))
    case 5: // Other pieces of the same packet change nothing: this one stays good.
      return withEap(packet, eap, 1 + random.below(253))
    default: // Inside TLS
      if (eap.length > 7) eap[6 + random.below(eap.length - 6)] = random.below(256)
      return withEap(packet, eap)
  }
}

/** A spoilt copy of one good packet. */
export function mutate(good: Buffer, random: Random): Buffer {
  const packet = Buffer.from(good)
  switch (random.below(9)) {
    case 0:
      return flipBits(packet, random)
    case 1:
      packet[random.below(HEADER)] = random.below(256)
      return packet
    case 2: {
      const cut = packet.subarray(0, random.below(packet.length))
      return random.chance(0.5) ? cut : withLength(cut)
    }
    case 3: {
      const longer = Buffer.concat([packet, random.bytes(1 + random.below(40))])
      return random.chance(0.3) ? longer : withLength(longer)
    }
    case 4:
      packet.writeUInt16BE(random.chance(0.5) ? random.below(65_536) : random.below(4_200), 2)
      return packet
    case 5:
      return spoilAttributes(packet, random)
    case 6:
      return spoilAttributes(spoilEap(packet, random), random)
    default:
      return spoilEap(packet, random)
  }
}

/** Signs again what has a place for a signature; returns the packet itself. */
export function resign(packet: Buffer, secret: Buffer): Buffer {
  const signed = lengthCut(packet)
  const place = attributesOf(signed).find(
    ({ type, value }) => type === MESSAGE_AUTHENTICATOR && value.length === 16,
  )
  if (place === undefined) return packet
  place.value.fill(0)
  createHmac('md5', secret).update(signed).digest().copy(place.value)
  return packet
}
