// A server certificate with its chain, whoever issued it: what a file of the operator holds, which
// part goes out in TLS, what devices are given to pin, and the device's own check of the same.
// Pure: text and time are arguments. Called by the server (certificate.ts) and the device's program
// (operator.ts); operator.ts of this room makes the certificates that nobody brought.

import { type KeyObject, X509Certificate } from 'node:crypto'
import { CertificateError } from './der.ts'
import { spkiOfKey } from './issue.ts'
import { readCertificate, sha256, toPem } from './x509.ts'

/** Leaf, four intermediates and a root; public CAs need three. Each one costs every join 1-2 KB. */
export const CHAIN_MAX = 6
/** What OpenSSL takes at its default security level, on the server and in supplicants. */
const RSA_BITS_MIN = 2048
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1'
/** The signature algorithms that eap/tls.ts offers have no other curve. */
const CURVES: ReadonlySet<string> = new Set(['prime256v1', 'secp384r1'])
// Devices write the name into supplicants' files, so nothing but labels passes; a wildcard is no
// name that `domain_match` could compare.
const SERVER_NAME = /^[a-z0-9-]+(\.[a-z0-9-]+)+$/
const DNS_NAME_MAX = 253

/** A server certificate that can be served. */
export interface ServerChain {
  /** PEM, leaf first, no root: a peer that trusts the root has it (RFC 8446 §4.4.2). */
  readonly sentPem: string
  /** PEM each: [leaf, CA, intermediates, the leaf's issuer first]; the leaf alone without a CA. */
  readonly published: readonly string[]
  /** The leaf's first full DNS name, lowercase. */
  readonly serverName: string
  /** SHA-256 of the leaf's SubjectPublicKeyInfo, 64 hex digits. */
  readonly spkiSha256: string
}

const pemOf = (certificate: X509Certificate): string => toPem('CERTIFICATE', certificate.raw)

/**
 * Reads PEM text: the leaf first, then each one's issuer, as far as the operator has them. Other
 * PEM blocks are passed over. Throws CertificateError with the reason why it can't be served.
 */
export function readServerChain(text: string, nowSeconds: number): ServerChain {
  const path = parsePath(blocksOf(text))
  const [leaf, ...issuers] = path
  const problem = pathProblem(path, nowSeconds) ?? leafProblem(leaf)
  if (problem !== undefined) throw new CertificateError(problem)
  const serverName = nameOf(leaf)
  if (serverName === undefined) {
    const why = 'and devices match one (a wildcard is none)'
    throw new CertificateError(
      `the server certificate has no full DNS name in its subjectAltName, ${why}`,
    )
  }
  const intermediates = issuers.slice(0, -1)
  const sent = [leaf, ...issuers.filter((issuer) => !isSelfSigned(issuer))]
  return {
    sentPem: sent.map(pemOf).join(''),
    published: [leaf, ...issuers.slice(-1), ...intermediates].map(pemOf),
    serverName,
    spkiSha256: sha256(spkiOfKey(leaf.publicKey)).toString('hex'),
  }
}

/**
 * What a device checks before it trusts a server certificate: signed by the CA it came with (if
 * any) over the intermediates, all in their validity, made for servers, and for this name in
 * subjectAltName. The reason why not, or undefined. The caller compares the leaf's SPKI with the
 * contract; that, not this, says whose server it is.
 */
export function verifyServerCertificate(o: {
  /** As `published` above. */
  certificates: readonly string[]
  serverName: string
  nowSeconds: number
}): string | undefined {
  const [leafPem, caPem, ...intermediates] = o.certificates
  const inOrder = [leafPem, ...intermediates, caPem].filter((pem) => pem !== undefined)
  let path: Path
  try {
    path = parsePath(inOrder)
  } catch {
    return 'it or its CA is not a certificate in PEM'
  }
  const [leaf] = path
  const problem = pathProblem(path, o.nowSeconds) ?? leafProblem(leaf)
  if (problem !== undefined) return problem
  const matched = leaf.checkHost(o.serverName, { subject: 'never', wildcards: false })
  return matched === undefined ? `the server certificate is not for ${o.serverName}` : undefined
}

/** Whether a certificate is a root: signed by its own key. Throws on bad PEM. */
export const isRoot = (pem: string): boolean => isSelfSigned(new X509Certificate(pem))

type Path = readonly [X509Certificate, ...X509Certificate[]]

const blocksOf = (text: string): string[] =>
  text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []

function parsePath(blocks: readonly string[]): Path {
  if (blocks.length > CHAIN_MAX) {
    throw new CertificateError(`there are more than ${CHAIN_MAX} certificates`)
  }
  const [leaf, ...issuers] = blocks.map((block) => {
    try {
      return new X509Certificate(block)
    } catch {
      throw new CertificateError('there is a certificate that can not be read')
    }
  })
  if (leaf === undefined) throw new CertificateError('there is no certificate in PEM')
  return [leaf, ...issuers]
}

/** RFC 5280 §6.1, as far as it concerns who signed what; supplicants check constraints too. */
function pathProblem(path: Path, nowSeconds: number): string | undefined {
  const called = (i: number): string => {
    if (i === 0) return 'the server certificate'
    return i === path.length - 1 ? 'the CA' : `intermediate certificate ${i}`
  }
  for (const [i, issuer] of path.entries()) {
    const subject = path[i - 1]
    if (subject === undefined) continue
    if (!issuer.ca) return `${called(i)} is not a CA certificate`
    if (!subject.checkIssued(issuer) || !verifiedBy(subject, issuer.publicKey)) {
      return `${called(i - 1)} is not signed by ${called(i)}`
    }
  }
  const now = nowSeconds * 1000
  for (const [i, certificate] of [...path.entries()].reverse()) {
    if (now < certificate.validFromDate.getTime()) {
      return `${called(i)} is not valid yet, or the clock here is wrong`
    }
    if (now > certificate.validToDate.getTime()) return `${called(i)} has expired`
    const { asymmetricKeyDetails } = certificate.publicKey
    const bits = asymmetricKeyDetails?.modulusLength
    if (bits !== undefined && bits < RSA_BITS_MIN) {
      return `${called(i)} has an RSA key of ${bits} bits; TLS here takes ${RSA_BITS_MIN} or more`
    }
  }
  return undefined
}

function leafProblem(leaf: X509Certificate): string | undefined {
  // RFC 5216 §5.3: only a certificate made for servers may stand for one. Node's keyUsage holds
  // the OIDs of extendedKeyUsage.
  if (!leaf.keyUsage?.includes(SERVER_AUTH)) {
    return 'the server certificate is not for TLS servers (no serverAuth in extendedKeyUsage)'
  }
  if (leaf.ca) return 'the server certificate is a CA certificate itself (basicConstraints CA:TRUE)'
  const { asymmetricKeyType, asymmetricKeyDetails } = leaf.publicKey
  const isUsable =
    asymmetricKeyType === 'ec'
      ? CURVES.has(asymmetricKeyDetails?.namedCurve ?? '')
      : ['rsa', 'rsa-pss', 'ed25519'].includes(asymmetricKeyType ?? '')
  if (!isUsable) return 'the server certificate has no RSA, P-256, P-384 or Ed25519 key'
  // The key signs the handshake in every cipher suite we offer.
  if (factsOf(leaf).digitalSignature === false) {
    return 'the server certificate is not for signatures (no digitalSignature in keyUsage)'
  }
  return undefined
}

function factsOf(leaf: X509Certificate) {
  try {
    return readCertificate(leaf.raw)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new CertificateError(`the server certificate is malformed: ${why}`)
  }
}

const nameOf = (leaf: X509Certificate): string | undefined =>
  factsOf(leaf)
    .dnsNames.map((name) => name.toLowerCase())
    .find((name) => name.length <= DNS_NAME_MAX && SERVER_NAME.test(name))

const isSelfSigned = (certificate: X509Certificate): boolean =>
  certificate.checkIssued(certificate) && verifiedBy(certificate, certificate.publicKey)

function verifiedBy(certificate: X509Certificate, key: KeyObject): boolean {
  try {
    return certificate.verify(key)
  } catch {
    return false
  }
}
