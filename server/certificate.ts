// The operator's TLS certificate: made at the first start, renewed with the same key before it
// ends, or read from the files the operator names. Its SPKI is what devices pin on chain, so the
// key never changes by itself. Called by main.ts at start and at reload.

import { createPrivateKey, X509Certificate } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import {
  makeOperatorCertificates,
  renewalDue,
  renewOperatorCertificate,
} from '../certs/operator.ts'
import { isRoot, readServerChain } from '../certs/server-chain.ts'
import type { Config } from '../config/config.ts'
import { type DataPaths, writeDurably } from './data.ts'
import { EXIT_CONFIGURATION, StartError } from './explain.ts'
import { readOcspFile } from './stapling.ts'

/** What EAP-TLS presents and what devices pin. */
export interface OperatorCertificate {
  /** Exactly what goes out in TLS: leaf first, no root. */
  readonly chainPem: string
  readonly privateKeyPem: string
  /** PEM each: [leaf, CA, intermediates]; the leaf alone where the operator brought no CA. */
  readonly certificates: readonly string[]
  readonly serverName: string
  /** SHA-256 of the leaf's SubjectPublicKeyInfo, 64 hex digits. */
  readonly spkiSha256: string
}

const refused = (text: string, cause?: unknown): StartError =>
  new StartError(EXIT_CONFIGURATION, `eap.certificate: ${text}`, { cause })

function readPem(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ENOENT') throw refused(`${path} does not exist; put it back or correct the path`)
    throw refused(`${path} can't be read (${code ?? String(error)})`, error)
  }
}

function parsed<T>(path: string, what: string, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    throw refused(`${path} does not hold ${what} in PEM`, error)
  }
}

interface CertificateDeps {
  readonly now: () => number
  readonly random: (length: number) => Buffer
}

/**
 * The certificate to serve now; may write data/. Throws where files are missing or don't belong
 * together.
 */
export function loadOperatorCertificate(
  config: Config,
  paths: DataPaths,
  { now, random }: CertificateDeps,
): OperatorCertificate {
  const { certificate } = config.eap
  const nowSeconds = Math.floor(now() / 1000)
  if (certificate !== 'auto') {
    const pair = readPair(certificate.cert, certificate.key, nowSeconds)
    checkOcsp(certificate.ocsp, pair)
    return pair
  }
  if (!existsSync(paths.serverCertificate)) {
    const left = [paths.caCertificate, paths.caKey, paths.serverKey].filter((p) => existsSync(p))
    if (left.length > 0) {
      // Another identity would lock out every device that knows this one: never by itself.
      throw refused(`${paths.serverCertificate} is gone: put it back. To begin with a new identity, \
which every device must be enrolled for again, remove ${left.join(', ')} too`)
    }
    const made = makeOperatorCertificates({
      operatorName: config.operator.name,
      nowSeconds,
      random,
    })
    writeDurably(paths.caKey, made.caKeyPem, 0o600)
    writeDurably(paths.caCertificate, made.caCertificatePem, 0o644)
    writeDurably(paths.serverKey, made.keyPem, 0o600)
    // Last: this file says that the set is whole.
    writeDurably(paths.serverCertificate, made.certificatePem, 0o644)
  }
  const caCertificatePem = readPem(paths.caCertificate)
  const certificatePem = readPem(paths.serverCertificate)
  if (renewalDue(certificatePem, nowSeconds)) {
    const caKeyPem = readPem(paths.caKey)
    const issuer = { caCertificatePem, caKeyPem, certificatePem, nowSeconds, random }
    writeDurably(paths.serverCertificate, renewOperatorCertificate(issuer), 0o644)
  }
  return readPair(paths.serverCertificate, paths.serverKey, nowSeconds, caCertificatePem)
}

/** A file that can never be stapled is told now; one that is out of date may be replaced. */
function checkOcsp(path: string | undefined, { certificates }: OperatorCertificate): void {
  if (path === undefined) return
  try {
    readOcspFile(path, certificates[0] ?? '')
  } catch (error) {
    throw refused(error instanceof Error ? error.message : String(error), error)
  }
}

/** The pair in two files, checked before anything is registered on chain for it. */
function readPair(
  certPath: string,
  keyPath: string,
  nowSeconds: number,
  caCertificatePem = '',
): OperatorCertificate {
  const text = readPem(certPath)
  const privateKeyPem = readPem(keyPath)
  const leaf = parsed(certPath, 'a certificate', () => new X509Certificate(text))
  const key = parsed(keyPath, 'an unencrypted private key', () => createPrivateKey(privateKeyPem))
  if (!leaf.checkPrivateKey(key)) {
    throw refused(`${keyPath} is not the key of ${certPath}; name a pair that belongs together`)
  }
  try {
    const chain = readServerChain(`${text}\n${caCertificatePem}`, nowSeconds)
    const { sentPem: chainPem, published: certificates, serverName, spkiSha256 } = chain
    return { chainPem, privateKeyPem, certificates, serverName, spkiSha256 }
  } catch (error) {
    throw refused(`${certPath}: ${error instanceof Error ? error.message : String(error)}`, error)
  }
}

/**
 * What the operator should be told when a certificate comes into force, or in place of `before`:
 * one without a root is pinned whole, so its renewal needs new profiles. Undefined: nothing.
 */
export function certificateWarning(
  { certificates }: OperatorCertificate,
  before?: OperatorCertificate,
): string | undefined {
  if (before?.certificates[0] === certificates[0]) return undefined
  if (before !== undefined && !hasRoot(before)) {
    return 'eap.certificate: devices pinned the old certificate whole, since it had no root CA: \
each needs a new wpa_supplicant.conf now'
  }
  if (hasRoot({ certificates })) return undefined
  return 'eap.certificate: the file does not end with a root CA, so devices pin this very \
certificate, and each needs a new wpa_supplicant.conf when it is renewed: add the root if you can'
}

const hasRoot = ({ certificates: [, ca] }: Pick<OperatorCertificate, 'certificates'>): boolean =>
  ca !== undefined && isRoot(ca)
