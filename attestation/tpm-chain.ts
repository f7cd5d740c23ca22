// From the certificate of a TPM's endorsement key to a root that the operator trusts: issuers,
// signatures, dates, purposes. Pure: fetches no issuer and no revocation list. The issuers that the
// device sends only lead to a pinned one; what it sends beyond that is not looked at. What is
// critical in such certificates (the TPM's model as a name, TCG EK Credential Profile §3.2) is no
// matter here, so no extension is refused for being unknown. Called by tpm-credential.ts.

import { X509Certificate } from 'node:crypto'
import { refused } from './evidence.ts'
import type { Refused } from './verifier.ts'
import { readCertificate } from './x509-chain.ts'

// TCG EK Credential Profile §3.2: tcg-kp-EKCertificate.
const EK_PURPOSE = '2.23.133.8.1'
// RSA and ECDSA with SHA-256, SHA-384 or SHA-512 (RFC 4055 §5, RFC 5758 §3.2): SHA-1 can be forged.
const SIGNATURES = [
  '1.2.840.113549.1.1.11',
  '1.2.840.113549.1.1.12',
  '1.2.840.113549.1.1.13',
  '1.2.840.10045.4.3.2',
  '1.2.840.10045.4.3.3',
  '1.2.840.10045.4.3.4',
]
/** A TPM's certificate and its issuers: vendors have two of them, Intel's chains four. */
export const CHAIN_CERTIFICATES_MAX = 6
/** An endorsement certificate takes 1 to 1.5 KB, an issuer's up to 2 KB. */
export const CERTIFICATE_OCTETS_MAX = 4096
// Far above the roots and intermediates of all vendors together.
const ROOTS_MAX = 2000
const PEM = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]{1,12000}-----END CERTIFICATE-----/g

export interface ChainPolicy {
  /** Certificates at which a chain may end: roots, or the vendor's intermediates. */
  readonly roots: readonly X509Certificate[]
  /** SHA-256 of certificates (lowercase hex) that must not be in a chain. */
  readonly revoked?: ReadonlySet<string>
}

/** A certificate of exactly these octets; undefined where they are something else. */
function certificateOf(der: Buffer): X509Certificate | undefined {
  try {
    const certificate = new X509Certificate(der)
    return certificate.raw.equals(der) ? certificate : undefined
  } catch {
    return undefined
  }
}

/**
 * The certificates of files in which an operator keeps its vendors' (PEM, one or many, or DER).
 * A file that holds none, or one that is no issuer's, is named instead.
 */
export function readTpmRoots(
  files: readonly { readonly name: string; readonly content: Buffer }[],
): { readonly roots: readonly X509Certificate[]; readonly wrong: readonly string[] } {
  const roots: X509Certificate[] = []
  const wrong: string[] = []
  for (const { name, content } of files) {
    const blocks = content.toString('latin1').match(PEM) ?? []
    const ders = blocks.map((block) => Buffer.from(block.replace(/-----[^-]+-----/g, ''), 'base64'))
    const found = (ders.length > 0 ? ders : [content]).map(certificateOf)
    const issuers = found.filter((one) => one?.ca === true)
    if (issuers.length !== found.length || roots.length + issuers.length > ROOTS_MAX) {
      wrong.push(name)
    } else for (const issuer of issuers) if (issuer !== undefined) roots.push(issuer)
  }
  return { roots, wrong }
}

/** Whether `issuer` has signed this; 'no' also where it is merely called like who has. */
function signedBy(certificate: X509Certificate, issuer: X509Certificate): 'yes' | 'no' | 'other' {
  if (!certificate.checkIssued(issuer)) return 'other'
  try {
    return certificate.verify(issuer.publicKey) ? 'yes' : 'no'
  } catch {
    return 'no'
  }
}

const hashOf = ({ fingerprint256 }: X509Certificate): string =>
  fingerprint256.replaceAll(':', '').toLowerCase()

function dates(certificate: X509Certificate, nowSeconds: number): Refused | undefined {
  const now = nowSeconds * 1000
  const from = certificate.validFromDate.getTime()
  const to = certificate.validToDate.getTime()
  // A date that cannot be read is NaN, which is neither.
  if (now >= from && now <= to) return undefined
  return refused('expired', `certificate ${hashOf(certificate)} is not valid now`)
}

/** A name out of a certificate that nobody has vouched for, fit for a log and a terminal. */
const issuerOf = ({ issuer }: X509Certificate): string =>
  issuer
    .replaceAll('\n', ', ')
    .replaceAll(/[^ !#-~]/g, '?')
    .slice(0, 200)

/** `below`: how many authorities (RFC 5280 §4.2.1.9, pathLenConstraint). */
function authority(certificate: X509Certificate, below: number): Refused | undefined {
  if (!certificate.ca) return refused('bad-chain', 'an issuer is no authority')
  const issuer = readCertificate(certificate.raw)
  if (issuer === undefined) return refused('malformed', 'an issuer cannot be read')
  if ((issuer.pathLength ?? below) >= below) return undefined
  return refused('bad-chain', 'more authorities below an issuer than it may have')
}

/** What each certificate of a chain must be by itself; `index`: how many are below it. */
function alone(
  certificate: X509Certificate,
  index: number,
  policy: ChainPolicy,
  nowSeconds: number,
): Refused | undefined {
  const hash = hashOf(certificate)
  if (policy.revoked?.has(hash)) return refused('revoked', `certificate ${hash}`)
  if (!SIGNATURES.includes(certificate.signatureAlgorithmOid)) {
    return refused('bad-chain', `signature algorithm ${certificate.signatureAlgorithmOid}`)
  }
  if (index > 0) return authority(certificate, index - 1) ?? dates(certificate, nowSeconds)
  if (certificate.ca || !certificate.keyUsage?.includes(EK_PURPOSE)) {
    return refused('bad-chain', 'the certificate is not one of an endorsement key')
  }
  return dates(certificate, nowSeconds)
}

/** Whether a pinned certificate has signed this one: 'good', what is wrong, undefined: none has. */
function pinned(
  certificate: X509Certificate,
  { roots, revoked }: ChainPolicy,
  nowSeconds: number,
): 'good' | Refused | undefined {
  let named = false
  for (const root of roots) {
    const signed = signedBy(certificate, root)
    if (signed === 'yes') {
      const hash = hashOf(root)
      if (revoked?.has(hash)) return refused('revoked', `certificate ${hash}`)
      return dates(root, nowSeconds) ?? 'good'
    }
    if (signed === 'no') named = true
  }
  return named ? refused('bad-signature', 'of a certificate, by a pinned root') : undefined
}

/**
 * The first certificate of `chain` (DER, each signed by the next, the pinned one itself may be
 * absent), if it is an endorsement key's and leads to one of `policy.roots`.
 */
export function endorsedBy(
  chain: readonly Buffer[],
  policy: ChainPolicy,
  nowSeconds: number,
): X509Certificate | Refused {
  const certificates: X509Certificate[] = []
  for (const der of chain) {
    const certificate = certificateOf(der)
    if (certificate === undefined) return refused('malformed', 'a certificate cannot be read')
    certificates.push(certificate)
  }
  const [first] = certificates
  if (first === undefined) return refused('malformed', 'no certificate')
  for (const [index, certificate] of certificates.entries()) {
    const wrong = alone(certificate, index, policy, nowSeconds)
    if (wrong !== undefined) return wrong
    const end = pinned(certificate, policy, nowSeconds)
    if (end === 'good') return first
    if (end !== undefined) return end
    const next = certificates[index + 1]
    if (next === undefined) break
    const signed = signedBy(certificate, next)
    if (signed === 'other') return refused('bad-chain', 'a certificate is not of the next one')
    if (signed === 'no') return refused('bad-signature', 'of a certificate')
  }
  const missing = issuerOf(certificates.at(-1) ?? first)
  const way = 'the operator can put its certificate into a file under attestation.tpm.roots'
  return refused('unpinned-root', `the issuer "${missing}" is not pinned here: ${way}`)
}
