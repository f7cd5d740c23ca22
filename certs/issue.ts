// Writes X.509 version 3 certificates and EC keys. Owns field order and extension forms; signs with
// node:crypto, so secp256k1 works too (WebCrypto has no such curve). Decides nothing about who may
// have which certificate: device.ts and operator.ts do. Pure: serial numbers, times and keys are
// arguments.

import {
  createECDH,
  createPrivateKey,
  createPublicKey,
  hash,
  type KeyObject,
  sign,
} from 'node:crypto'
import { p256 } from '@noble/curves/nist.js'
import {
  bitString,
  CertificateError,
  context,
  contextBytes,
  type DerNode,
  fromDer,
  integer,
  octetString,
  oid,
  sequence,
  setOf,
  time,
  toDer,
  trueValue,
  utf8String,
} from './der.ts'
import { type Curve, curvePoint, toPem } from './x509.ts'

/** ecdsa-with-SHA256 (RFC 5758 §3.2). */
export const ECDSA_WITH_SHA256 = '1.2.840.10045.4.3.2'
const COMMON_NAME = '2.5.4.3'
// RFC 5280 appendix A.1, ub-common-name.
const COMMON_NAME_MAX = 64

/**
 * Distinguished name of one commonName; throws CertificateError unless it is 1 to 64 characters.
 */
function nameOf(commonName: string): DerNode {
  const length = [...commonName].length
  if (length === 0 || length > COMMON_NAME_MAX) {
    throw new CertificateError(`a certificate name is 1 to ${COMMON_NAME_MAX} characters`)
  }
  return sequence(setOf(sequence(oid(COMMON_NAME), utf8String(commonName))))
}

function extension(id: string, critical: boolean, value: DerNode): DerNode {
  const octets = octetString(toDer(value))
  return critical ? sequence(oid(id), trueValue(), octets) : sequence(oid(id), octets)
}

/** The extensions this project writes, each in its one form (RFC 5280 §4.2.1). */
export const Extension = {
  endEntity: (): DerNode => extension('2.5.29.19', true, sequence()),
  /** A CA that signs leaves only (pathLenConstraint 0). */
  authority: (): DerNode =>
    extension('2.5.29.19', true, sequence(trueValue(), integer(Buffer.alloc(1)))),
  digitalSignature: (): DerNode => extension('2.5.29.15', true, bitString(Buffer.from([0x80]), 7)),
  /** keyCertSign and cRLSign. */
  certificateSigning: (): DerNode =>
    extension('2.5.29.15', true, bitString(Buffer.from([0x06]), 1)),
  /** The same and digitalSignature, which other signatures of a CA ask for: OCSP responses. */
  statusSigning: (): DerNode => extension('2.5.29.15', true, bitString(Buffer.from([0x86]), 1)),
  clientAuth: (): DerNode => extension('2.5.29.37', false, sequence(oid('1.3.6.1.5.5.7.3.2'))),
  serverAuth: (): DerNode => extension('2.5.29.37', false, sequence(oid('1.3.6.1.5.5.7.3.1'))),
  uriNames: (uris: readonly string[]): DerNode =>
    extension('2.5.29.17', false, sequence(...uris.map((uri) => generalName(6, uri)))),
  dnsName: (name: string): DerNode => extension('2.5.29.17', false, sequence(generalName(2, name))),
  subjectKey: (spki: Buffer): DerNode =>
    extension('2.5.29.14', false, octetString(keyIdentifier(spki))),
  authorityKey: (spki: Buffer): DerNode =>
    extension('2.5.29.35', false, sequence(contextBytes(0, keyIdentifier(spki)))),
  /** NameConstraints: DNS names under `suffix` only, and no IP address at all. */
  onlyNamesUnder: (suffix: string): DerNode =>
    extension(
      '2.5.29.30',
      false,
      sequence(
        context(0, sequence(generalName(2, suffix))),
        context(
          1,
          sequence(contextBytes(7, Buffer.alloc(8))),
          sequence(contextBytes(7, Buffer.alloc(32))),
        ),
      ),
    ),
} as const

const generalName = (tag: number, text: string): DerNode =>
  contextBytes(tag, Buffer.from(text, 'ascii'))

/** RFC 7093 §2, method 1: the leftmost 160 bits of the SHA-256 of the public key. */
function keyIdentifier(spki: Buffer): Buffer {
  const key = curvePoint(spki)
  return hash('sha256', key?.point ?? spki, 'buffer').subarray(0, 20)
}

/**
 * Fixes the top bits of random octets: positive, non-zero, no leading zero octet (RFC 5280
 * §4.1.2.2).
 */
function serialNumber(octets: Buffer): DerNode {
  const [first] = octets
  if (first === undefined || octets.length < 8 || octets.length > 20) {
    throw new CertificateError('a serial number is 8 to 20 octets')
  }
  return integer(Buffer.concat([Buffer.from([(first & 0x3f) | 0x40]), octets.subarray(1)]))
}

export interface CertificateRequest {
  /** 8 to 20 random octets. */
  readonly serial: Buffer
  readonly issuer: string
  readonly subject: string
  /** Unix seconds, inclusive. */
  readonly notBefore: number
  readonly notAfter: number
  readonly spki: Buffer
  readonly extensions: readonly DerNode[]
  /** An EC key of any curve; signs with ECDSA and SHA-256. */
  readonly signingKey: KeyObject
}

/** Makes one certificate, DER. */
export function issueCertificate(o: CertificateRequest): Buffer {
  const algorithm = sequence(oid(ECDSA_WITH_SHA256))
  const tbs = sequence(
    context(0, integer(Buffer.from([2]))),
    serialNumber(o.serial),
    algorithm,
    nameOf(o.issuer),
    sequence(time(o.notBefore), time(o.notAfter)),
    nameOf(o.subject),
    fromDer(o.spki),
    context(3, sequence(...o.extensions)),
  )
  const signature = sign('sha256', toDer(tbs), { key: o.signingKey, dsaEncoding: 'der' })
  return toDer(sequence(tbs, algorithm, bitString(signature)))
}

export const certificatePem = (der: Buffer): string => toPem('CERTIFICATE', der)

/** The SPKI, DER, of a private or public key. */
export function spkiOfKey(key: KeyObject): Buffer {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key
  return publicKey.export({ type: 'spki', format: 'der' })
}

/** An EC private key from its 32-byte scalar; throws on one outside 1..n-1. */
export function privateKeyOf(curve: Curve, scalar: Buffer): KeyObject {
  const ecdh = createECDH(curve === 'P-256' ? 'prime256v1' : 'secp256k1')
  ecdh.setPrivateKey(scalar)
  const point = ecdh.getPublicKey()
  return createPrivateKey({
    format: 'jwk',
    key: {
      kty: 'EC',
      crv: curve,
      d: scalar.toString('base64url'),
      x: point.toString('base64url', 1, 33),
      y: point.toString('base64url', 33, 65),
    },
  })
}

/** PKCS#8 PEM, unencrypted. */
export const keyPem = (key: KeyObject): string =>
  key.export({ type: 'pkcs8', format: 'pem' }).toString()

/** Octets that make a P-256 key of negligible bias: 32, and 16 extra. */
export const KEY_SEED_BYTES = 48

/** FIPS 186-5 A.2.1 (extra random bits): d = (c mod (n - 1)) + 1, for 48 octets c. */
export function p256KeyFrom(seed: Buffer): KeyObject {
  if (seed.length !== KEY_SEED_BYTES) throw new CertificateError('a key seed is 48 octets')
  const scalar = (BigInt(`0x${seed.toString('hex')}`) % (p256.Point.Fn.ORDER - 1n)) + 1n
  return privateKeyOf('P-256', Buffer.from(scalar.toString(16).padStart(64, '0'), 'hex'))
}
