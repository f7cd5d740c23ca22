// DER in and out, over node-forge's ASN.1 (docs/decisions/0004-x509-library.md). Owns the
// strictness it lacks: a value is taken only where its canonical encoding is the very bytes read,
// so that one certificate has one reading. Knows no certificate; x509.ts reads with it, issue.ts
// and PKCS#12 write.

import asn1, { type Asn1 } from 'node-forge/lib/asn1.js'

export type DerNode = Asn1

/**
 * Bytes that are not what a certificate, request or key must be; the message names the part, never
 * its content.
 */
export class CertificateError extends Error {
  override readonly name = 'CertificateError'
}

/** Tag numbers of the universal class (X.680 §8.6). */
export const DerTag = {
  boolean: 1,
  integer: 2,
  bitString: 3,
  octetString: 4,
  nullValue: 5,
  oid: 6,
  enumerated: 10,
  utf8String: 12,
  sequence: 16,
  set: 17,
  ia5String: 22,
  utcTime: 23,
  generalizedTime: 24,
  bmpString: 30,
} as const

const UNIVERSAL = 0x00
const CONTEXT = 0x80
// A certificate nests about 10 deep; without a limit hostile input could exhaust the stack.
const DEPTH_MAX = 32

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')

/**
 * Reads exactly one DER value spanning all of `bytes`; throws CertificateError where BER would be
 * more lenient.
 */
export function fromDer(bytes: Buffer): DerNode {
  const text = bytes.toString('latin1')
  let node: DerNode
  let canonical: string
  try {
    node = asn1.fromDer(text, {
      strict: true,
      parseAllBytes: true,
      decodeBitStrings: false,
      maxDepth: DEPTH_MAX,
    })
    canonical = asn1.toDer(node).getBytes()
  } catch {
    throw new CertificateError('not ASN.1')
  }
  // X.690 §10: long lengths, indefinite lengths and padded integers are other spellings of the same
  // value.
  if (canonical !== text) throw new CertificateError('not canonical DER')
  return node
}

export function toDer(node: DerNode): Buffer {
  return Buffer.from(asn1.toDer(node).getBytes(), 'latin1')
}

/** The children of a SEQUENCE, or of [n] where `contextTag` is given. */
export function childrenOf(
  node: DerNode | undefined,
  what: string,
  contextTag?: number,
): readonly DerNode[] {
  const matches =
    node !== undefined &&
    (contextTag === undefined
      ? node.tagClass === UNIVERSAL && node.type === DerTag.sequence
      : node.tagClass === CONTEXT && node.type === contextTag)
  if (!matches || !node.constructed || typeof node.value === 'string') {
    throw new CertificateError(`${what} is not constructed as it must be`)
  }
  return node.value
}

/** The content octets of a primitive value of this universal tag. */
export function contentOf(node: DerNode | undefined, tag: number, what: string): Buffer {
  if (node === undefined || node.tagClass !== UNIVERSAL || node.type !== tag) {
    throw new CertificateError(`${what} has the wrong type`)
  }
  if (node.constructed || typeof node.value !== 'string') {
    throw new CertificateError(`${what} is not primitive`)
  }
  return Buffer.from(node.value, 'latin1')
}

/** Whether the node is [n] of the context class. */
export function isContext(node: DerNode | undefined, tag: number): node is DerNode {
  return node !== undefined && node.tagClass === CONTEXT && node.type === tag
}

const primitive = (tag: number, content: string): DerNode =>
  asn1.create(UNIVERSAL, tag, false, content)

export const sequence = (...children: DerNode[]): DerNode =>
  asn1.create(UNIVERSAL, DerTag.sequence, true, children)

export const setOf = (...children: DerNode[]): DerNode =>
  asn1.create(UNIVERSAL, DerTag.set, true, children)

/** [n] EXPLICIT, or IMPLICIT of a constructed value: both hold children. */
export const context = (tag: number, ...children: DerNode[]): DerNode =>
  asn1.create(CONTEXT, tag, true, children)

/** [n] IMPLICIT of a primitive value. */
export const contextBytes = (tag: number, content: Uint8Array): DerNode =>
  asn1.create(CONTEXT, tag, false, latin1(content))

export const oid = (dotted: string): DerNode =>
  primitive(DerTag.oid, asn1.oidToDer(dotted).getBytes())

/** An unsigned integer from its big-endian octets. */
export function integer(octets: Uint8Array): DerNode {
  const significant = Buffer.from(octets)
    .toString('hex')
    .replace(/^(00)+(?=..)/, '')
  const bytes = Buffer.from(significant, 'hex')
  const sign = (bytes[0] ?? 0) >= 0x80 ? Buffer.alloc(1) : Buffer.alloc(0)
  return primitive(DerTag.integer, latin1(Buffer.concat([sign, bytes])))
}

/** An ENUMERATED value of 0 to 127. */
export const enumerated = (value: number): DerNode =>
  primitive(DerTag.enumerated, String.fromCharCode(value))

export const trueValue = (): DerNode => primitive(DerTag.boolean, '\xff')
export const nullValue = (): DerNode => primitive(DerTag.nullValue, '')
export const octetString = (bytes: Uint8Array): DerNode =>
  primitive(DerTag.octetString, latin1(bytes))
export const utf8String = (text: string): DerNode =>
  primitive(DerTag.utf8String, latin1(Buffer.from(text, 'utf8')))
/** Each UTF-16 unit of `text` is written as two octets. */
export const bmpString = (text: string): DerNode => primitive(DerTag.bmpString, text)

export function bitString(bytes: Uint8Array, unusedBits = 0): DerNode {
  return primitive(DerTag.bitString, latin1(Buffer.concat([Buffer.from([unusedBits]), bytes])))
}

const digitsOf = (unixSeconds: number): string =>
  new Date(unixSeconds * 1000).toISOString().replace(/[-:T]|\.\d+/g, '')

/** A time in Unix seconds as RFC 6960 writes all of them. */
export const generalizedTime = (unixSeconds: number): DerNode =>
  primitive(DerTag.generalizedTime, digitsOf(unixSeconds))

/**
 * A certificate time in Unix seconds: UTCTime through 2049, GeneralizedTime after (RFC 5280
 * §4.1.2.5).
 */
export function time(unixSeconds: number): DerNode {
  const digits = digitsOf(unixSeconds)
  return digits < '2050' ? primitive(DerTag.utcTime, digits.slice(2)) : generalizedTime(unixSeconds)
}
