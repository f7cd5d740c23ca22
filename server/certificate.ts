// The operator's TLS certificate: made at the first start, renewed with the same key before it
// ends, or read from the files the operator names. Its SPKI is what devices pin on chain, so the
// key never changes by itself. Called by main.ts at start and at reload.

import { createPrivateKey, X509Certificate } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import {
  makeOperatorCertificates,
  renewalDue,
  renewOperatorCertificate,
  spkiSha256Of,
} from '../certs/operator.ts'
import type { Config } from '../config/config.ts'
import { type DataPaths, writeDurably } from './data.ts'
import { EXIT_CONFIGURATION, StartError } from './explain.ts'

/** What EAP-TLS presents and what devices pin. */
export interface OperatorCertificate {
  readonly certificatePem: string
  readonly privateKeyPem: string
  /** Empty where the operator brought a certificate without its CA. */
  readonly caCertificatePem: string
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
  if (certificate !== 'auto') return readOwn(certificate.cert, certificate.key)
  const nowSeconds = Math.floor(now() / 1000)
  if (!existsSync(paths.serverCertificate)) {
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
  return { ...readOwn(paths.serverCertificate, paths.serverKey), caCertificatePem }
}

/** The pair in two files, checked before anything is registered on chain for it. */
function readOwn(certPath: string, keyPath: string): OperatorCertificate {
  const certificatePem = readPem(certPath)
  const privateKeyPem = readPem(keyPath)
  const leaf = parsed(certPath, 'a certificate', () => new X509Certificate(certificatePem))
  const key = parsed(keyPath, 'an unencrypted private key', () => createPrivateKey(privateKeyPem))
  if (!leaf.checkPrivateKey(key)) {
    throw refused(`${keyPath} is not the key of ${certPath}; name a pair that belongs together`)
  }
  const serverName = /(?:^|, )DNS:([a-z0-9.-]+)(?:,|$)/.exec(leaf.subjectAltName ?? '')?.[1]
  if (serverName === undefined) {
    throw refused(`${certPath} has no DNS name in its subjectAltName, and devices match one`)
  }
  const spkiSha256 = spkiSha256Of(certificatePem)
  return { certificatePem, privateKeyPem, caCertificatePem: '', serverName, spkiSha256 }
}
