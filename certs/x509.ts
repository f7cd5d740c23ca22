// Reads from a certificate's DER what the identity check needs, and nothing from printed text.
// Refuses what has two readings. Verifies no signature: TLS proves the key, the binding proves the
// account. Called by identity.ts (every unknown certificate), device.ts (requests) and the tests.

import { createPublicKey, hash, type KeyObject, verify } from 'node:crypto'
import {
  CertificateError,
  childrenOf,
  contentOf,
  type DerNode,
  DerTag,
  fromDer,
  isContext,
  toDer,
} from './der.ts'

export type Curve = 'P-256' | 'secp256k1'

/** What one certificate says. Times are Unix seconds, both ends inclusive (RFC 5280 §4.1.2.5). */
export interface CertificateFacts {
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Buffer
  /** Undefined for any key but an uncompressed point of the two curves. */
  readonly curve: Curve | undefined
  /** 65 bytes, 0x04 ‖ x ‖ y, where `curve` is known. */
  readonly point: Buffer
  readonly notBefore: number
  readonly notAfter: number
  /** The uniformResourceIdentifier names of subjectAltName, in order, octets as latin1. */
  readonly uris: readonly string[]
  /** The dNSName names of subjectAltName, in order, octets as latin1. */
  readonly dnsNames: readonly string[]
  /** Undefined: no KeyUsage extension. */
  readonly digitalSignature: boolean | undefined
  /** Undefined: no ExtendedKeyUsage extension, or one with anyExtendedKeyUsage. */
  readonly clientAuth: boolean | undefined
  /** A critical extension that is not among those read here. */
  readonly unknownCritical: boolean
}

// Every SPKI of these curves in its one usual form: named curve, uncompressed point. Comparing the
// prefix leaves no algorithm parameters to interpret.
const SPKI_PREFIX: readonly (readonly [Curve, Buffer])[] = [
  ['P-256', Buffer.from('3059301306072a8648ce3d020106082a8648ce3d030107034200', 'hex')],
  ['secp256k1', Buffer.from('3056301006072a8648ce3d020106052b8104000a034200', 'hex')],
]

const POINT_BYTES = 65

// Content octets of the object identifiers, hex.
const Oid = {
  subjectKeyIdentifier: '551d0e',
  keyUsage: '551d0f',
  subjectAltName: '551d11',
  basicConstraints: '551d13',
  authorityKeyIdentifier: '551d23',
  extendedKeyUsage: '551d25',
  anyExtendedKeyUsage: '551d2500',
  clientAuth: '2b06010505070302',
} as const

// RFC 5280 §4.2: a critical extension that is not processed makes the certificate unusable. Whether
// it is a CA certificate is not asked: nothing is ever verified by it, and `openssl req -x509` sets
// the bit.
const UNDERSTOOD: ReadonlySet<string> = new Set([
  Oid.keyUsage,
  Oid.subjectAltName,
  Oid.basicConstraints,
  Oid.extendedKeyUsage,
  Oid.subjectKeyIdentifier,
  Oid.authorityKeyIdentifier,
])

const oidHex = (node: DerNode | undefined): string =>
  contentOf(node, DerTag.oid, 'an object identifier').toString('hex')

/** The SPKI of an uncompressed point, in the only encoding accepted above. */
export function spkiOf(curve: Curve, point: Uint8Array): Buffer {
  const prefix = SPKI_PREFIX.find(([name]) => name === curve)?.[1]
  if (prefix === undefined || point.length !== POINT_BYTES || point[0] !== 4) {
    throw new CertificateError('not an uncompressed point')
  }
  return Buffer.concat([prefix, point])
}

/** The curve of an SPKI in DER, and its point; undefined for any other key or encoding. */
export function curvePoint(spki: Buffer): { curve: Curve; point: Buffer } | undefined {
  for (const [curve, prefix] of SPKI_PREFIX) {
    const point = spki.subarray(prefix.length)
    if (point.length === POINT_BYTES && point[0] === 4 && spki.indexOf(prefix) === 0) {
      return { curve, point }
    }
  }
  return undefined
}

export const sha256 = (bytes: Uint8Array): Buffer => hash('sha256', bytes, 'buffer')

/** Unix seconds; throws CertificateError for a time in any other form, or of no day. */
export function readTime(node: DerNode | undefined): number {
  const utc = node?.type === DerTag.utcTime
  const tag = utc ? DerTag.utcTime : DerTag.generalizedTime
  const text = contentOf(node, tag, 'a validity time').toString('latin1')
  if (!(utc ? /^\d{12}Z$/ : /^\d{14}Z$/).test(text)) {
    throw new CertificateError('a validity time is not in the form of RFC 5280 §4.1.2.5')
  }
  const full = utc ? `${text < '5' ? '20' : '19'}${text}` : text
  const iso = full.replace(/^(....)(..)(..)(..)(..)(..)Z$/, '$1-$2-$3T$4:$5:$6.000Z')
  const milliseconds = Date.parse(iso)
  // Date.parse would turn 30 February into 2 March: only a date that prints as itself is one.
  if (!(milliseconds >= 0) || new Date(milliseconds).toISOString() !== iso) {
    throw new CertificateError('a validity time is no date since 1970')
  }
  return milliseconds / 1000
}

interface Extension {
  readonly critical: boolean
  readonly value: Buffer
}

function readExtensions(list: DerNode | undefined): Map<string, Extension> {
  const extensions = new Map<string, Extension>()
  if (list === undefined) return extensions
  const wrapped = childrenOf(list, 'extensions', 3)
  if (wrapped.length !== 1) throw new CertificateError('extensions are not one list')
  for (const node of childrenOf(wrapped[0], 'extensions')) {
    const fields = childrenOf(node, 'an extension')
    const critical = fields.length === 3
    if (fields.length < 2 || fields.length > 3) throw new CertificateError('an extension is odd')
    if (critical && contentOf(fields[1], DerTag.boolean, 'critical')[0] !== 0xff) {
      throw new CertificateError('critical is not a DER TRUE')
    }
    const id = oidHex(fields[0])
    // RFC 5280 §4.2: not more than one instance of an extension.
    if (extensions.has(id)) throw new CertificateError('an extension appears twice')
    const value = contentOf(fields[fields.length - 1], DerTag.octetString, 'an extension value')
    extensions.set(id, { critical, value })
  }
  return extensions
}

// GeneralName tags (RFC 5280 §4.2.1.6).
const DNS_NAME = 2
const URI_NAME = 6

function readNames(extension: Extension | undefined): { uris: string[]; dnsNames: string[] } {
  const uris: string[] = []
  const dnsNames: string[] = []
  if (extension === undefined) return { uris, dnsNames }
  for (const name of childrenOf(fromDer(extension.value), 'subjectAltName')) {
    const isUri = isContext(name, URI_NAME)
    if (!isUri && !isContext(name, DNS_NAME)) continue
    if (typeof name.value !== 'string') {
      throw new CertificateError(`a ${isUri ? 'URI' : 'DNS name'} is not primitive`)
    }
    ;(isUri ? uris : dnsNames).push(name.value)
  }
  return { uris, dnsNames }
}

function readKeyUsage(extension: Extension | undefined): boolean | undefined {
  if (extension === undefined) return undefined
  const bits = contentOf(fromDer(extension.value), DerTag.bitString, 'keyUsage')
  return ((bits[1] ?? 0) & 0x80) !== 0
}

function readClientAuth(extension: Extension | undefined): boolean | undefined {
  if (extension === undefined) return undefined
  const purposes = childrenOf(fromDer(extension.value), 'extendedKeyUsage').map(oidHex)
  return purposes.includes(Oid.anyExtendedKeyUsage) ? undefined : purposes.includes(Oid.clientAuth)
}

/**
 * Reads one certificate; throws CertificateError where it is not exactly a version 3 certificate in
 * DER.
 */
export function readCertificate(der: Buffer): CertificateFacts {
  const outer = childrenOf(fromDer(der), 'the certificate')
  const [tbs, algorithm, signature] = outer
  if (outer.length !== 3) throw new CertificateError('the certificate is not three fields')
  childrenOf(algorithm, 'signatureAlgorithm')
  contentOf(signature, DerTag.bitString, 'signatureValue')

  const fields = childrenOf(tbs, 'tbsCertificate')
  const version = childrenOf(fields[0], 'version', 0)
  if (contentOf(version[0], DerTag.integer, 'version').toString('hex') !== '02') {
    throw new CertificateError('not a version 3 certificate')
  }
  contentOf(fields[1], DerTag.integer, 'serialNumber')
  childrenOf(fields[2], 'signature')
  childrenOf(fields[3], 'issuer')
  const validity = childrenOf(fields[4], 'validity')
  childrenOf(fields[5], 'subject')
  childrenOf(fields[6], 'subjectPublicKeyInfo')
  // issuerUniqueID [1] and subjectUniqueID [2] may stand between the key and the extensions [3].
  const rest = fields.slice(7)
  const tags = rest.map((node) => node.type)
  if (rest.some((node) => !isContext(node, node.type)) || !/^1?2?3?$/.test(tags.join(''))) {
    throw new CertificateError('tbsCertificate has unexpected fields')
  }

  const notBefore = readTime(validity[0])
  const notAfter = readTime(validity[1])
  if (validity.length !== 2 || notAfter < notBefore) {
    throw new CertificateError('validity is not a period')
  }
  const spki = toDer(fields[6] as DerNode)
  const key = curvePoint(spki)
  const extensions = readExtensions(rest.find((node) => node.type === 3))
  let unknownCritical = false
  for (const [id, extension] of extensions) {
    if (extension.critical && !UNDERSTOOD.has(id)) unknownCritical = true
  }
  return {
    spki,
    curve: key?.curve,
    point: key?.point ?? Buffer.alloc(0),
    notBefore,
    notAfter,
    ...readNames(extensions.get(Oid.subjectAltName)),
    digitalSignature: readKeyUsage(extensions.get(Oid.keyUsage)),
    clientAuth: readClientAuth(extensions.get(Oid.extendedKeyUsage)),
    unknownCritical,
  }
}

// RFC 5758 §3.2: ecdsa-with-SHA256, -SHA384, -SHA512.
const REQUEST_HASH: ReadonlyMap<string, string> = new Map([
  ['2a8648ce3d040302', 'sha256'],
  ['2a8648ce3d040303', 'sha384'],
  ['2a8648ce3d040304', 'sha512'],
])

/** The bytes of the one PEM block with this label; undefined where the text holds none. */
export function pemBlock(pem: string, label: string): Buffer | undefined {
  const found = pem.match(`-----BEGIN ${label}-----([A-Za-z0-9+/=\\s]+)-----END ${label}-----`)
  return found?.[1] === undefined ? undefined : Buffer.from(found[1], 'base64')
}

export function toPem(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}

/**
 * The SPKI a PKCS#10 request asks for, its own signature verified (RFC 2986 §3: proof of
 * possession).
 */
export function readRequest(der: Buffer): Buffer {
  const [info, algorithm, signature] = childrenOf(fromDer(der), 'the request')
  const spki = childrenOf(info, 'certificationRequestInfo')[2]
  childrenOf(spki, 'subjectPKInfo')
  const digest = REQUEST_HASH.get(oidHex(childrenOf(algorithm, 'signatureAlgorithm')[0]))
  const bits = contentOf(signature, DerTag.bitString, 'signature')
  if (digest === undefined) throw new CertificateError('the request is not signed with ECDSA')
  const spkiDer = toDer(spki as DerNode)
  let key: KeyObject
  try {
    key = createPublicKey({ key: spkiDer, format: 'der', type: 'spki' })
  } catch {
    throw new CertificateError('the request holds no readable key')
  }
  if (!verify(digest, toDer(info as DerNode), { key, dsaEncoding: 'der' }, bits.subarray(1))) {
    throw new CertificateError('the request is not signed by its own key')
  }
  return spkiDer
}
