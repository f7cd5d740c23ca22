// Reading of evidence as it comes in JSON: exact members, base64url of one spelling, limited
// sizes. Pure. Refuses what another parser might read in another way; knows no scheme. The
// verifiers of this room call it first.

import { createPublicKey, type KeyObject } from 'node:crypto'
import type { AttestationRefusal, Refused } from './verifier.ts'

export function refused(reason: AttestationRefusal, detail: string): Refused {
  return { ok: false, reason, detail }
}

/** The value as an object that has these members and no other; undefined where it is not one. */
export function membersOf<Name extends string>(
  value: unknown,
  names: readonly Name[],
): Readonly<Record<Name, unknown>> | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const keys = Object.keys(value)
  if (keys.length !== names.length) return undefined
  return names.every((name) => Object.hasOwn(value, name))
    ? (value as Readonly<Record<Name, unknown>>)
    : undefined
}

/**
 * The octets of a base64url text without padding, 1 to `octetsMax` of them. A text that encodes
 * the same octets in another way (padding, spaces, spare bits) is undefined.
 */
export function octetsOf(value: unknown, octetsMax: number): Buffer | undefined {
  // Four characters hold three octets: a longer text is not decoded at all.
  if (typeof value !== 'string' || value.length > Math.ceil((octetsMax * 4) / 3)) return undefined
  const octets = Buffer.from(value, 'base64url')
  if (octets.length === 0 || octets.toString('base64url') !== value) return undefined
  return octets
}

/** SubjectPublicKeyInfo of a P-256 key, up to the point (RFC 5480 §2). */
const SPKI_HEAD = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d030107034200', 'hex')

/** The key of 65 octets; undefined where they are no point of P-256, uncompressed. */
export function p256KeyOf(point: Uint8Array): KeyObject | undefined {
  if (point.length !== 65 || point[0] !== 4) return undefined
  const key = Buffer.concat([SPKI_HEAD, point])
  try {
    return createPublicKey({ key, format: 'der', type: 'spki' })
  } catch {
    return undefined
  }
}
