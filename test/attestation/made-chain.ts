// Chains of certificates made for the tests, over a root of their own: what no maker would sign.
// Tests of this room read the vectors with it too.

import { hash, type KeyObject, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { type DerNode, fromDer } from '../../certs/der.ts'
import { Extension, issueCertificate, p256KeyFrom, spkiOfKey } from '../../certs/issue.ts'

/** A key that is the same in every run. */
export const keyOf = (label: string): KeyObject => p256KeyFrom(hash('sha384', label, 'buffer'))

/** One TLV; `tag` is the identifier's octets in hex. */
export function tlv(tag: string, ...content: (Buffer | string)[]): Buffer {
  const body = Buffer.concat(content.map((each) => Buffer.from(each)))
  const size = body.length
  const length = size < 128 ? [size] : size < 256 ? [0x81, size] : [0x82, size >> 8, size & 0xff]
  return Buffer.concat([Buffer.from(tag, 'hex'), Buffer.from(length), body])
}

/** An extension from its OID's octets in hex. */
export const extension = (oid: string, value: Buffer, critical = false): DerNode =>
  fromDer(
    tlv(
      '30',
      tlv('06', Buffer.from(oid, 'hex')),
      ...(critical ? [Buffer.from('0101ff', 'hex')] : []),
      tlv('04', value),
    ),
  )

/** BasicConstraints of an authority that may have any number below it. */
export const anyAuthority = (): DerNode =>
  extension('551d13', tlv('30', Buffer.from('0101ff', 'hex')), true)

/** 2026-11-23, when these certificates are valid. */
export const NOW = 1_795_392_000
export const DAY = 86_400

export interface Made {
  readonly name: string
  readonly key: KeyObject
  readonly extensions: readonly DerNode[]
  readonly notBefore?: number
  readonly notAfter?: number
}

/** Certificates in DER, from the leaf to the last; the last one signs itself. */
export function madeChain(...made: readonly Made[]): Buffer[] {
  return made.map((one, index) => {
    const issuer = made[index + 1] ?? one
    return issueCertificate({
      serial: hash('sha256', `${one.name}${index}`, 'buffer').subarray(0, 16),
      issuer: issuer.name,
      subject: one.name,
      notBefore: one.notBefore ?? NOW - DAY,
      notAfter: one.notAfter ?? NOW + DAY,
      spki: spkiOfKey(one.key),
      extensions: one.extensions,
      signingKey: issuer.key,
    })
  })
}

const ROOT: Made = { name: 'Root', key: keyOf('root'), extensions: [anyAuthority()] }

/** The usual three: leaf, an authority that signs leaves only, and the root. */
export const usual = (leaf: Partial<Made>, middle: Partial<Made> = {}): Made[] => [
  { name: 'Leaf', key: keyOf('leaf'), extensions: [], ...leaf },
  {
    name: 'Middle',
    key: keyOf('middle'),
    extensions: [Extension.authority(), Extension.certificateSigning()],
    ...middle,
  },
  ROOT,
]

export const rootOf = (chain: readonly Buffer[]): X509Certificate =>
  new X509Certificate(chain.at(-1) ?? Buffer.alloc(0))

export const vector = (path: string): string =>
  readFileSync(new URL(`../vectors/attestation/${path}`, import.meta.url), 'utf8')

/** The certificates of a PEM file, in DER. */
export const pemChain = (path: string): Buffer[] =>
  [...vector(path).matchAll(/-----BEGIN CERTIFICATE-----([^-]+)-----END/g)].map((match) =>
    Buffer.from(match[1] ?? '', 'base64'),
  )
