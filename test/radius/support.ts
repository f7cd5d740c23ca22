// What the tests of this room share: the shipped dictionary, seeded octets, a full EAP
// Access-Request, and an independent HMAC to hold ours against. No test of its own.

import { createHash, createHmac } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { type RequestPolicy, sealRequest } from '../../radius/authenticator.ts'
import { type Dictionary, loadDictionary } from '../../radius/dictionary.ts'
import { RadiusError, type RadiusErrorCode } from '../../radius/error.ts'
import type { Attribute } from '../../radius/packet.ts'

export const secret = Buffer.from('xyzzy5461')
export const strict: RequestPolicy = { requireMessageAuthenticator: true, limitProxyState: true }
export const lenient: RequestPolicy = { requireMessageAuthenticator: false, limitProxyState: false }

export function shippedDictionary(): Dictionary {
  const root = new URL('../../radius/dictionaries/dictionary', import.meta.url).pathname
  return loadDictionary((path) => readFileSync(path, 'utf8'), root)
}

/** `length` octets that depend on `seed` alone. */
export function octets(length: number, seed: string): Buffer {
  const blocks = Array.from({ length: Math.ceil(length / 32) }, (_, i) =>
    createHash('sha256').update(`${seed} ${i}`).digest(),
  )
  return Buffer.concat(blocks).subarray(0, length)
}

/** A generator of numbers in [0, 1) from a seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let z = Math.imul(state ^ (state >>> 15), 1 | state)
    z = (z + Math.imul(z ^ (z >>> 7), 61 | z)) ^ z
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32
  }
}

export const attribute = (type: number, value: string | Buffer): Attribute => ({
  type,
  value: Buffer.from(value),
})

/** What hostapd sends with an EAP-Response of `eapLength` octets. */
export function accessRequest(eapLength: number): Buffer {
  const eap = octets(eapLength, 'eap')
  const attributes = [
    attribute(1, 'anonymous'),
    attribute(4, Buffer.from([192, 0, 2, 1])),
    attribute(30, '02-00-00-00-00-00:Datanet'),
    attribute(31, '02-00-00-00-00-01'),
    attribute(12, Buffer.from([0, 0, 5, 120])),
    attribute(61, Buffer.from([0, 0, 0, 19])),
    attribute(77, 'CONNECT 11Mbps 802.11b'),
    attribute(24, octets(16, 'state')),
  ]
  for (let at = 0; at < eapLength; at += 253) {
    attributes.push(attribute(79, eap.subarray(at, at + 253)))
  }
  const authenticator = octets(16, 'authenticator')
  return sealRequest({ code: 1, identifier: 7, attributes, authenticator }, secret)
}

/** A packet from parts, without any check: header with these bytes, then these bytes. */
export function rawPacket(
  code: number,
  attributes: Buffer,
  length = 20 + attributes.length,
): Buffer {
  const header = Buffer.alloc(20)
  header.writeUInt8(code, 0)
  header.writeUInt16BE(length, 2)
  return Buffer.concat([header, attributes])
}

/** Fills a zeroed Message-Authenticator at `at`, with `field` in the place of the authenticator. */
export function signWith(packet: Buffer, at: number, field: Buffer, key: Buffer): Buffer {
  const copy = Buffer.from(packet)
  copy.set(field, 4)
  copy.fill(0, at, at + 16)
  const signed = Buffer.from(packet)
  signed.set(createHmac('md5', key).update(copy).digest(), at)
  return signed
}

/** Fills the authenticator field with MD5 over the packet with `field` in its place. */
export function hashWith(packet: Buffer, field: Buffer, key: Buffer): Buffer {
  const copy = Buffer.from(packet)
  copy.set(field, 4)
  const hashed = Buffer.from(packet)
  hashed.set(createHash('md5').update(copy).update(key).digest(), 4)
  return hashed
}

/** The refusal's code, or what else happened in words. */
export function refusalOf(run: () => unknown): RadiusErrorCode | 'accepted' {
  try {
    run()
    return 'accepted'
  } catch (error) {
    if (error instanceof RadiusError) return error.code
    throw error
  }
}
