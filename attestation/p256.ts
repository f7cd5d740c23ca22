// P-256 public keys in the three forms that evidence has them in, and ECDSA over SHA-256 with r and
// s side by side. Pure. Refuses points that are not on the curve and keys that carry their private
// half. Called by the verifiers of this room and by usage-report.ts.

import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { octetsOf } from './evidence.ts'

/** Octets of an uncompressed point: 4, x, y. */
export const POINT_BYTES = 65

/** A public key as RFC 7517 writes it; what else is in a key set's entry is not ours. */
export interface PublicJwk {
  readonly kty: 'EC'
  readonly crv: 'P-256'
  readonly x: string
  readonly y: string
}

/** For node:crypto; undefined where the octets are no point of the curve. */
export function publicKeyOf(point: Uint8Array): KeyObject | undefined {
  if (point.length !== POINT_BYTES || point[0] !== 4) return undefined
  const x = Buffer.from(point.subarray(1, 33)).toString('base64url')
  const y = Buffer.from(point.subarray(33)).toString('base64url')
  try {
    return createPublicKey({ key: { kty: 'EC', crv: 'P-256', x, y }, format: 'jwk' })
  } catch {
    return undefined
  }
}

/** The point of two coordinates of 32 octets; undefined where it is not on the curve. */
export function pointOf(x: Uint8Array | undefined, y: Uint8Array | undefined): Buffer | undefined {
  if (x?.length !== 32 || y?.length !== 32) return undefined
  const point = Buffer.concat([Buffer.of(4), x, y])
  return publicKeyOf(point) === undefined ? undefined : point
}

/** The point of a JWK (RFC 7518 §6.2.1); undefined for another curve, type or a private key. */
export function pointOfJwk(jwk: unknown): Buffer | undefined {
  if (typeof jwk !== 'object' || jwk === null || 'd' in jwk) return undefined
  const { kty, crv, x, y } = jwk as Readonly<Record<string, unknown>>
  if (kty !== 'EC' || crv !== 'P-256') return undefined
  return pointOf(octetsOf(x, 32), octetsOf(y, 32))
}

/** ECDSA with SHA-256 over the data; `signature` is r and s, 64 octets (RFC 9053 §2.1). */
export function signatureHolds(key: KeyObject, data: Uint8Array, signature: Uint8Array): boolean {
  if (signature.length !== 64) return false
  return verify('sha256', data, { key, dsaEncoding: 'ieee-p1363' }, signature)
}
