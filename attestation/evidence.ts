// Reading of evidence as it comes in JSON: exact members, base64url of one spelling, limited
// sizes. Pure. Refuses what another parser might read in another way; knows no scheme. The
// verifiers of this room call it first.

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
