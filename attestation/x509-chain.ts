// Chains of certificates that device makers issue: read strictly, then checked up to a root that
// is pinned here. Pure; the time is an argument. Owns RFC 5280 §6.1 as far as these chains use it;
// no names, no policies, no revocation. The verifiers of this room call it.

import { type KeyObject, X509Certificate } from 'node:crypto'
import asn1, { type Asn1 } from 'node-forge/lib/asn1.js'
import { refused } from './evidence.ts'
import type { Refused } from './verifier.ts'

/** A certificate and its extensions: dotted OID to the octets inside the OCTET STRING. */
export interface Certificate {
  readonly x509: X509Certificate
  readonly extensions: ReadonlyMap<string, Buffer>
  /** Those of the extensions that are marked critical. */
  readonly critical: readonly string[]
  /** How many authorities may stand between it and the leaf; undefined: any number. */
  readonly pathLength: number | undefined
}

const TAG = { boolean: 1, integer: 2, octetString: 4, oid: 6, sequence: 16, set: 17 } as const
const CONTEXT = 0x80
// Certificates nest about 10 deep; hostile input must not exhaust the stack.
const DEPTH_MAX = 32
const BASIC_CONSTRAINTS = '2.5.29.19'
const KEY_USAGE = '2.5.29.15'
/** RFC 5280 §4.2: what is critical and not understood makes a certificate useless. */
const UNDERSTOOD = [BASIC_CONSTRAINTS, KEY_USAGE]

/** One DER value that is all of `octets`, in its only spelling; throws otherwise. */
export function derOf(octets: Buffer): Asn1 {
  const text = octets.toString('latin1')
  const options = {
    strict: true,
    parseAllBytes: true,
    decodeBitStrings: false,
    maxDepth: DEPTH_MAX,
  }
  const node = asn1.fromDer(text, options)
  if (asn1.toDer(node).getBytes() !== text) throw new TypeError('not canonical DER')
  return node
}

/** The parts of a SEQUENCE, of a SET, or of [n]; throws for anything else. */
export function partsOf(
  node: Asn1 | undefined,
  kind: 'sequence' | 'set' | number = 'sequence',
): readonly Asn1[] {
  const [tagClass, type] = typeof kind === 'number' ? [CONTEXT, kind] : [0, TAG[kind]]
  const fits = node?.tagClass === tagClass && node.type === type
  if (!fits || typeof node.value === 'string') throw new TypeError('not constructed')
  return node.value
}

/** The content of a primitive value of a universal type; throws for anything else. */
export function contentOf(node: Asn1 | undefined, type: keyof typeof TAG): Buffer {
  if (node?.tagClass !== 0 || node.type !== TAG[type] || typeof node.value !== 'string') {
    throw new TypeError(`no ${type}`)
  }
  return Buffer.from(node.value, 'latin1')
}

/** Dotted form of an OID's content (X.690 §8.19); throws where an arc is cut or too large. */
function dottedOf(content: Buffer): string {
  const arcs: number[] = []
  let arc = 0
  for (const [index, octet] of content.entries()) {
    arc = arc * 128 + (octet & 0x7f)
    if (arc > Number.MAX_SAFE_INTEGER / 128) throw new RangeError('an arc too large')
    if ((octet & 0x80) !== 0 && index === content.length - 1) throw new RangeError('a cut arc')
    if ((octet & 0x80) !== 0) continue
    if (arcs.length === 0) arcs.push(Math.min(2, Math.floor(arc / 40)))
    arcs.push(arcs.length === 1 && arcs[0] !== undefined ? arc - 40 * arcs[0] : arc)
    arc = 0
  }
  return arcs.join('.')
}

type Extensions = Pick<Certificate, 'extensions' | 'critical'>

function extensionsOf(der: Buffer): Extensions {
  const [tbs] = partsOf(derOf(der))
  const extensions = new Map<string, Buffer>()
  const critical: string[] = []
  const wrapped = partsOf(tbs).find((part) => part.tagClass === CONTEXT && part.type === 3)
  if (wrapped === undefined) return { extensions, critical }
  for (const extension of partsOf(partsOf(wrapped, 3)[0])) {
    const parts = partsOf(extension)
    const oid = dottedOf(contentOf(parts[0], 'oid'))
    // RFC 5280 §4.2: not more than one of a kind, or two readers may each take another.
    if (extensions.has(oid)) throw new TypeError('an extension twice')
    if (parts.length === 3 && contentOf(parts[1], 'boolean')[0] !== 0) critical.push(oid)
    extensions.set(oid, contentOf(parts.at(-1), 'octetString'))
  }
  return { extensions, critical }
}

function pathLengthOf(basicConstraints: Buffer | undefined): number | undefined {
  if (basicConstraints === undefined) return undefined
  const length = partsOf(derOf(basicConstraints)).find(({ type }) => type === TAG.integer)
  // One octet holds every depth that a chain here can have; a longer one is not believed.
  return length === undefined ? undefined : contentOf(length, 'integer').readUInt8()
}

/** A certificate in DER; undefined where it is not exactly one, or its key is of no known kind. */
export function readCertificate(der: Buffer): Certificate | undefined {
  try {
    const x509 = new X509Certificate(der)
    if (x509.publicKey.type !== 'public') return undefined
    // RFC 5280 §4.1.2.2: serial numbers are positive.
    if (!/^[0-9A-F]+$/.test(x509.serialNumber)) return undefined
    // OpenSSL reads PEM, past trailing octets and odd spellings as well: extensionsOf does not.
    const { extensions, critical } = extensionsOf(der)
    const pathLength = pathLengthOf(extensions.get(BASIC_CONSTRAINTS))
    return { x509, extensions, critical, pathLength }
  } catch {
    return undefined
  }
}

const spkiOf = (key: KeyObject): Buffer => key.export({ type: 'spki', format: 'der' })

/** The point of a P-256 key, 65 octets, uncompressed; undefined for any other key. */
export function p256PointOf(key: KeyObject): Buffer | undefined {
  if (key.asymmetricKeyType !== 'ec') return undefined
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') return undefined
  const { x, y } = key.export({ format: 'jwk' })
  if (x === undefined || y === undefined) return undefined
  return Buffer.concat([Buffer.of(4), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')])
}

const signed = (subject: X509Certificate, issuer: X509Certificate): boolean => {
  try {
    return subject.verify(issuer.publicKey)
  } catch {
    return false
  }
}

const isValidAt = (x509: X509Certificate, seconds: number): boolean =>
  x509.validFromDate.getTime() <= seconds * 1000 && seconds * 1000 <= x509.validToDate.getTime()

/**
 * The chain without the root that was sent along. What counts is the pinned key: makers issue new
 * certificates for it, and a device goes on sending the one that it was made with.
 */
function withoutRoot(
  chain: readonly Certificate[],
  roots: readonly X509Certificate[],
): readonly Certificate[] | Refused {
  const top = chain.at(-1)?.x509
  if (top === undefined || top.subject !== top.issuer) return chain
  if (!roots.some((root) => spkiOf(root.publicKey).equals(spkiOf(top.publicKey)))) {
    return refused('unpinned-root', `a root that is not pinned: ${nameOf(top)}`)
  }
  if (!signed(top, top)) return refused('bad-signature', 'the root did not sign itself')
  return chain.slice(0, -1)
}

/** A subject on one line, bounded: it goes into a log. */
const nameOf = (x509: X509Certificate): string => JSON.stringify(x509.subject ?? '').slice(0, 120)

function checkIssuer(certificate: Certificate, issuer: Certificate, below: number) {
  // checkIssued compares names and key identifiers, and wants keyCertSign in KeyUsage.
  if (!certificate.x509.checkIssued(issuer.x509) || !issuer.x509.ca) {
    return refused(
      'bad-chain',
      `not an issuer of the certificate before it: ${nameOf(issuer.x509)}`,
    )
  }
  if ((issuer.pathLength ?? below) < below) {
    return refused('bad-chain', 'more certificates below an issuer than it may have')
  }
  if (!signed(certificate.x509, issuer.x509)) {
    return refused('bad-signature', `not signed by ${nameOf(issuer.x509)}`)
  }
  return undefined
}

/**
 * RFC 5280 §6.1 from the leaf, which comes first, to one of `roots`; the root itself may be sent
 * along or not. Undefined where everything holds at this time, in Unix seconds.
 */
export function checkChain(
  sent: readonly Certificate[],
  roots: readonly X509Certificate[],
  nowSeconds: number,
): Refused | undefined {
  const chain = withoutRoot(sent, roots)
  if ('ok' in chain) return chain
  const top = chain.at(-1)
  if (top === undefined) return refused('bad-chain', 'nothing but a root')
  const named = roots.filter((root) => top.x509.issuer === root.subject)
  if (named.length === 0) {
    return refused('unpinned-root', `its issuer is not pinned: ${nameOf(top.x509)}`)
  }
  const anchors = named.filter((root) => signed(top.x509, root))
  if (anchors.length === 0) {
    return refused('bad-signature', `not signed by the root it names: ${nameOf(top.x509)}`)
  }
  for (const [index, certificate] of chain.entries()) {
    if (certificate.critical.some((oid) => !UNDERSTOOD.includes(oid))) {
      return refused('bad-chain', 'a critical extension that is not understood')
    }
    const issuer = chain[index + 1]
    const wrong = issuer === undefined ? undefined : checkIssuer(certificate, issuer, index)
    if (wrong !== undefined) return wrong
  }
  if (chain[0]?.x509.ca === true) return refused('bad-chain', 'the first one may issue others')
  const dated = chain.find(({ x509 }) => !isValidAt(x509, nowSeconds))?.x509
  if (dated !== undefined) return refused('expired', `not valid at this time: ${nameOf(dated)}`)
  if (anchors.some((root) => isValidAt(root, nowSeconds))) return undefined
  return refused('expired', 'the pinned root is not valid at this time')
}
