// The operator's own CA and server certificate: made at first start, renewed with the same key (the
// contract pins the key's SHA-256). Pure: the clock and the randomness are arguments. Called by the
// server; server-chain.ts checks what comes out, as it checks what operators bring themselves.

import { createPrivateKey, hash, type KeyObject, X509Certificate } from 'node:crypto'
import {
  certificatePem,
  Extension,
  issueCertificate,
  KEY_SEED_BYTES,
  keyPem,
  p256KeyFrom,
  spkiOfKey,
} from './issue.ts'
import { sha256 } from './x509.ts'

const DAY = 86_400
/** CA: 10 years. */
export const CA_VALIDITY_SECONDS = 3652 * DAY
/** Leaf: Apple's limit for any server certificate is 825 days, backdating included. */
export const LEAF_VALIDITY_SECONDS = 820 * DAY
// Device clocks without a battery run days behind until they are online.
const BACKDATE_SECONDS = 2 * DAY
const SERIAL_BYTES = 16
const SLUG_MAX = 40
const DOMAIN = 'datanet.invalid'

type Random = (length: number) => Buffer

/**
 * The DNS label of an operator: the ASCII letters and digits of its name, at most 40, hyphens for
 * the rest; for a name without any, `op-` and 8 hex digits of its SHA-256, so that it is never
 * empty.
 */
export function slugOf(operatorName: string): string {
  const slug = operatorName
    .normalize('NFKD')
    .replace(/\p{M}+/gu, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+/, '')
    .slice(0, SLUG_MAX)
    .replace(/-+$/, '')
  return slug === '' ? `op-${hash('sha256', operatorName, 'hex').slice(0, 8)}` : slug
}

/** The realm of outer identities, `<slug>.datanet.invalid` (RFC 2606: never a real domain). */
export const realmOf = (operatorName: string): string => `${slugOf(operatorName)}.${DOMAIN}`

/**
 * The one DNS name of the server certificate, which devices match: `radius.<slug>.datanet.invalid`.
 */
export const serverNameOf = (operatorName: string): string => `radius.${realmOf(operatorName)}`

export interface OperatorCertificates {
  readonly caCertificatePem: string
  readonly caKeyPem: string
  readonly certificatePem: string
  readonly keyPem: string
  readonly serverName: string
}

function makeLeaf(o: {
  caName: string
  caKey: KeyObject
  caNotAfter: number
  publicKey: KeyObject
  serverName: string
  nowSeconds: number
  random: Random
}): string {
  const notBefore = o.nowSeconds - BACKDATE_SECONDS
  const spki = spkiOfKey(o.publicKey)
  const der = issueCertificate({
    serial: o.random(SERIAL_BYTES),
    issuer: o.caName,
    subject: o.serverName,
    notBefore,
    notAfter: Math.min(notBefore + LEAF_VALIDITY_SECONDS, o.caNotAfter),
    spki,
    extensions: [
      Extension.endEntity(),
      Extension.digitalSignature(),
      Extension.serverAuth(),
      Extension.dnsName(o.serverName),
      Extension.subjectKey(spki),
      Extension.authorityKey(spkiOfKey(o.caKey)),
    ],
    signingKey: o.caKey,
  })
  return certificatePem(der)
}

/** A new CA and a leaf under it; `random(n)` gives n unpredictable bytes. */
export function makeOperatorCertificates(o: {
  operatorName: string
  nowSeconds: number
  random: Random
}): OperatorCertificates {
  const caKey = p256KeyFrom(o.random(KEY_SEED_BYTES))
  const key = p256KeyFrom(o.random(KEY_SEED_BYTES))
  const serverName = serverNameOf(o.operatorName)
  const caName = `Datanet CA ${slugOf(o.operatorName)}`
  const notBefore = o.nowSeconds - BACKDATE_SECONDS
  const caNotAfter = notBefore + CA_VALIDITY_SECONDS
  const spki = spkiOfKey(caKey)
  const caDer = issueCertificate({
    serial: o.random(SERIAL_BYTES),
    issuer: caName,
    subject: caName,
    notBefore,
    notAfter: caNotAfter,
    spki,
    extensions: [
      Extension.authority(),
      Extension.statusSigning(),
      // People install this CA in their phones: it must be of no use against any other name. Not
      // critical, since small TLS stacks (mbedTLS) refuse a critical extension they do not know.
      Extension.onlyNamesUnder(DOMAIN),
      Extension.subjectKey(spki),
    ],
    signingKey: caKey,
  })
  return {
    caCertificatePem: certificatePem(caDer),
    caKeyPem: keyPem(caKey),
    certificatePem: makeLeaf({
      caName,
      caKey,
      caNotAfter,
      publicKey: key,
      serverName,
      nowSeconds: o.nowSeconds,
      random: o.random,
    }),
    keyPem: keyPem(key),
    serverName,
  }
}

const secondsOf = (date: Date): number => Math.floor(date.getTime() / 1000)

/** A new leaf for the key in use, under the CA in use; its name is the old leaf's. */
export function renewOperatorCertificate(o: {
  caCertificatePem: string
  caKeyPem: string
  certificatePem: string
  nowSeconds: number
  random: Random
}): string {
  const ca = new X509Certificate(o.caCertificatePem)
  const leaf = new X509Certificate(o.certificatePem)
  return makeLeaf({
    caName: commonName(ca),
    caKey: createPrivateKey(o.caKeyPem),
    caNotAfter: secondsOf(ca.validToDate),
    publicKey: leaf.publicKey,
    serverName: commonName(leaf),
    nowSeconds: o.nowSeconds,
    random: o.random,
  })
}

/** Our own certificates have exactly one name field, CN, of plain ASCII. */
const commonName = (certificate: X509Certificate): string => certificate.subject.replace(/^CN=/, '')

/**
 * Whether a certificate should be renewed: two thirds of its life are used up, or it is not valid
 * yet, since a clock that ran ahead made it.
 */
export function renewalDue(certificatePem: string, nowSeconds: number): boolean {
  const certificate = new X509Certificate(certificatePem)
  const from = secondsOf(certificate.validFromDate)
  const until = secondsOf(certificate.validToDate)
  return nowSeconds < from || nowSeconds >= from + ((until - from) * 2) / 3
}

/**
 * SHA-256 of the SubjectPublicKeyInfo in DER, 64 lowercase hex digits; any key type. Throws on bad
 * PEM.
 */
export function spkiSha256Of(certificatePem: string): string {
  return sha256(spkiOfKey(new X509Certificate(certificatePem).publicKey)).toString('hex')
}
