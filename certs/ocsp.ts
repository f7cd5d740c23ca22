// OCSP responses (RFC 6960) for the one certificate that a server presents: made with the key of
// our own CA, or read from what another CA has signed, as far as a server must know it. Verifies no
// signature: the peer it is stapled for does. Pure: time and keys are arguments. Called by
// server/stapling.ts.

import { createHash, createPrivateKey, sign, X509Certificate } from 'node:crypto'
import {
  bitString,
  CertificateError,
  childrenOf,
  contentOf,
  context,
  contextBytes,
  type DerNode,
  DerTag,
  enumerated,
  fromDer,
  generalizedTime,
  integer,
  isContext,
  nullValue,
  octetString,
  oid,
  sequence,
  toDer,
} from './der.ts'
import { ECDSA_WITH_SHA256, spkiOfKey } from './issue.ts'
import { readTime } from './x509.ts'

const DAY = 86_400
/** How long a response of our own says that it holds. */
export const OCSP_VALIDITY_SECONDS = 7 * DAY
/** As for certificates: device clocks without a battery run days behind until they are online. */
const BACKDATE_SECONDS = 2 * DAY
/** What eap/native/ocsp.h takes, and OpenSSL's clients. */
export const OCSP_BYTES_MAX = 16_380

const BASIC_RESPONSE = '1.3.6.1.5.5.7.48.1.1'
const SHA1 = '1.3.14.3.2.26'
/** Content octets of the object identifiers in hex, and the names of their hashes. */
const HASHES: ReadonlyMap<string, string> = new Map([
  ['2b0e03021a', 'sha1'],
  ['608648016503040201', 'sha256'],
  ['608648016503040202', 'sha384'],
  ['608648016503040203', 'sha512'],
])

/** What a response says of the certificate. Times are Unix seconds. */
export interface OcspResponse {
  readonly der: Buffer
  readonly status: 'good' | 'revoked' | 'unknown'
  readonly thisUpdate: number
  /** Undefined: newer information may be there at any time, and this does not expire. */
  readonly nextUpdate: number | undefined
}

/** What a CertID names a certificate by: the issuer's name and the serial number. */
interface CertificateName {
  readonly issuerDer: Buffer
  /** Content octets of the INTEGER. */
  readonly serial: Buffer
}

function nameOf(certificatePem: string): CertificateName {
  const { raw } = new X509Certificate(certificatePem)
  const fields = childrenOf(childrenOf(fromDer(raw), 'the certificate')[0], 'tbsCertificate')
  childrenOf(fields[3], 'issuer')
  return {
    issuerDer: toDer(fields[3] as DerNode),
    serial: contentOf(fields[1], DerTag.integer, 'serialNumber'),
  }
}

const digest = (algorithm: string, bytes: Uint8Array): Buffer =>
  createHash(algorithm).update(bytes).digest()

/**
 * A response, DER, that says "good" of the leaf, signed by the CA that has issued it: it needs no
 * certificate of a responder. SHA-1 names the issuer in it, as RFC 5019 §2.1.1 has it and every
 * peer reads it; the signature is by SHA-256.
 */
export function makeOcspResponse(o: {
  caCertificatePem: string
  /** An EC key. */
  caKeyPem: string
  certificatePem: string
  nowSeconds: number
}): Buffer {
  const ca = new X509Certificate(o.caCertificatePem)
  const leaf = new X509Certificate(o.certificatePem)
  const { issuerDer, serial } = nameOf(o.certificatePem)
  const keyBits = childrenOf(fromDer(spkiOfKey(ca.publicKey)), 'subjectPublicKeyInfo')[1]
  const keyHash = digest('sha1', contentOf(keyBits, DerTag.bitString, 'the key').subarray(1))
  const certificateId = sequence(
    sequence(oid(SHA1), nullValue()),
    octetString(digest('sha1', issuerDer)),
    octetString(keyHash),
    integer(serial),
  )
  const issuedSeconds = Math.floor(leaf.validFromDate.getTime() / 1000)
  const single = sequence(
    certificateId,
    contextBytes(0, Buffer.alloc(0)),
    generalizedTime(Math.max(issuedSeconds, o.nowSeconds - BACKDATE_SECONDS)),
    context(0, generalizedTime(o.nowSeconds + OCSP_VALIDITY_SECONDS)),
  )
  const data = sequence(
    context(2, octetString(keyHash)),
    generalizedTime(o.nowSeconds),
    sequence(single),
  )
  const key = createPrivateKey(o.caKeyPem)
  if (!ca.checkPrivateKey(key)) throw new CertificateError('the CA key is not that of the CA')
  const signature = sign('sha256', toDer(data), { key, dsaEncoding: 'der' })
  const basic = sequence(data, sequence(oid(ECDSA_WITH_SHA256)), bitString(signature))
  const bytes = sequence(oid(BASIC_RESPONSE), octetString(toDer(basic)))
  return toDer(sequence(enumerated(0), context(0, bytes)))
}

/** RFC 6960 §4.2.1: the other values of OCSPResponseStatus. */
const FAILURES: ReadonlyMap<number, string> = new Map([
  [1, 'malformedRequest'],
  [2, 'internalError'],
  [3, 'tryLater'],
  [5, 'sigRequired'],
  [6, 'unauthorized'],
])

/** The list of SingleResponse of a successful response. */
function answersOf(der: Buffer): readonly DerNode[] {
  const [status, wrapped] = childrenOf(fromDer(der), 'the OCSP response')
  const code = contentOf(status, DerTag.enumerated, 'responseStatus')[0] ?? 0
  if (code !== 0) {
    const name = FAILURES.get(code) ?? String(code)
    throw new CertificateError(`the responder gave no answer but an error (${name})`)
  }
  const [bytes] = childrenOf(wrapped, 'responseBytes', 0)
  const [type, octets] = childrenOf(bytes, 'responseBytes')
  if (
    toDer(oid(BASIC_RESPONSE))
      .subarray(2)
      .compare(contentOf(type, DerTag.oid, 'type')) !== 0
  ) {
    throw new CertificateError('the OCSP response is not a basic one')
  }
  const basic = fromDer(contentOf(octets, DerTag.octetString, 'the basic response'))
  const [data, algorithm, signature] = childrenOf(basic, 'the basic response')
  childrenOf(algorithm, 'signatureAlgorithm')
  contentOf(signature, DerTag.bitString, 'signature')
  // version [0] is there where it is not 1; responderID is [1] or [2].
  const fields = childrenOf(data, 'responseData').filter((field) => !isContext(field, 0))
  return childrenOf(fields[2], 'responses')
}

function isFor(id: DerNode | undefined, { issuerDer, serial }: CertificateName): boolean {
  const [algorithm, issuerHash, , number] = childrenOf(id, 'certID')
  const hash = contentOf(childrenOf(algorithm, 'hashAlgorithm')[0], DerTag.oid, 'hashAlgorithm')
  const name = HASHES.get(hash.toString('hex'))
  if (name === undefined) return false
  return (
    contentOf(number, DerTag.integer, 'serialNumber').equals(serial) &&
    contentOf(issuerHash, DerTag.octetString, 'issuerNameHash').equals(digest(name, issuerDer))
  )
}

function statusOf(node: DerNode | undefined): OcspResponse['status'] {
  if (isContext(node, 0)) return 'good'
  return isContext(node, 1) ? 'revoked' : 'unknown'
}

/**
 * What the response says of this certificate. Throws CertificateError where it is none, holds no
 * answer, or one for another certificate. The caller judges status and times.
 */
export function readOcspResponse(der: Buffer, certificatePem: string): OcspResponse {
  if (der.length > OCSP_BYTES_MAX) {
    throw new CertificateError(`an OCSP response here is at most ${OCSP_BYTES_MAX} octets`)
  }
  const name = nameOf(certificatePem)
  for (const answer of answersOf(der)) {
    const [id, status, thisUpdate, next] = childrenOf(answer, 'an answer')
    if (!isFor(id, name)) continue
    return {
      der,
      status: statusOf(status),
      thisUpdate: readTime(thisUpdate),
      nextUpdate: isContext(next, 0) ? readTime(childrenOf(next, 'nextUpdate', 0)[0]) : undefined,
    }
  }
  throw new CertificateError('the OCSP response is for another certificate')
}
