// Makes tokens and evidence as devices would, for the tests of attestation/eat.ts and for the
// benchmark: signed with a key given, over claims given.

import { createPrivateKey, type KeyObject, sign } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { encode, Tagged } from 'cborg'
import type { PublicJwk } from '../../attestation/p256.ts'

export interface PrivateJwk extends PublicJwk {
  readonly d: string
}

/** A published token of PSA with all that its publisher says of it. */
export interface PsaVector {
  readonly token: string
  readonly privateKeyJwk: PrivateJwk
  readonly profile: string
  readonly instance: string
  readonly nonce: string
  readonly clientId: number
}

const FOLDER = new URL('../vectors/attestation/eat/', import.meta.url)

/** A file of the vectors; the caller says of what shape. */
export const vector = <Shape>(name: string): Shape =>
  JSON.parse(readFileSync(new URL(name, FOLDER), 'utf8')) as Shape

export const publicOf = ({ kty, crv, x, y }: PublicJwk): PublicJwk => ({ kty, crv, x, y })

export const pointOfVector = ({ x, y }: PublicJwk): Buffer =>
  Buffer.concat([Buffer.of(4), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')])

export const privateKey = ({ kty, crv, x, y, d }: PrivateJwk): KeyObject =>
  createPrivateKey({ key: { kty, crv, x, y, d }, format: 'jwk' })

const es256 = (key: KeyObject, data: Uint8Array): Buffer =>
  sign('sha256', data, { key, dsaEncoding: 'ieee-p1363' })

export interface CwtParts {
  readonly header?: ReadonlyMap<number, unknown>
  readonly unprotected?: ReadonlyMap<number, unknown>
  /** Octets instead of claims: a payload that is not what it should be. */
  readonly payload?: Uint8Array
  readonly tags?: readonly number[]
}

/** A CWT in base64url, signed with ES256. */
export function makeCwt(
  claims: ReadonlyMap<number, unknown>,
  key: KeyObject,
  parts: CwtParts = {},
): string {
  const header = encode(parts.header ?? new Map([[1, -7]]))
  const payload = parts.payload ?? encode(claims)
  const signature = es256(key, encode(['Signature1', header, new Uint8Array(0), payload]))
  const message = [header, parts.unprotected ?? new Map(), payload, signature]
  const tagged = (parts.tags ?? [18]).reduceRight<unknown>(
    (value, tag) => new Tagged(tag, value),
    message,
  )
  return Buffer.from(encode(tagged)).toString('base64url')
}

const json64 = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

/** A JWT in compact form, signed with ES256. */
export function makeJwt(
  claims: unknown,
  key: KeyObject,
  header: Readonly<Record<string, unknown>> = { alg: 'ES256' },
): string {
  const signed = `${json64(header)}.${json64(claims)}`
  return `${signed}.${es256(key, Buffer.from(signed)).toString('base64url')}`
}
