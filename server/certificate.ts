// The operator's TLS certificate: made at the first start, renewed with the same key before it
// ends, or read from the files the operator names. Its SPKI is what devices pin on chain, so the
// key never changes by itself. Called by main.ts at start and at reload.

import { X509Certificate } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import {
  makeOperatorCertificates,
  renewalDue,
  renewOperatorCertificate,
  spkiSha256Of,
} from '../certs/operator.ts'
import type { Config } from '../config/config.ts'
import { type DataPaths, writeDurably } from './data.ts'

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
  const caCertificatePem = readFileSync(paths.caCertificate, 'utf8')
  const certificatePem = readFileSync(paths.serverCertificate, 'utf8')
  if (renewalDue(certificatePem, nowSeconds)) {
    const caKeyPem = readFileSync(paths.caKey, 'utf8')
    const issuer = { caCertificatePem, caKeyPem, certificatePem, nowSeconds, random }
    writeDurably(paths.serverCertificate, renewOperatorCertificate(issuer), 0o644)
  }
  return { ...readOwn(paths.serverCertificate, paths.serverKey), caCertificatePem }
}

function readOwn(certPath: string, keyPath: string): OperatorCertificate {
  const certificatePem = readFileSync(certPath, 'utf8')
  const privateKeyPem = readFileSync(keyPath, 'utf8')
  const leaf = new X509Certificate(certificatePem)
  const serverName = /(?:^|, )DNS:([a-z0-9.-]+)(?:,|$)/.exec(leaf.subjectAltName ?? '')?.[1]
  if (serverName === undefined) {
    throw new Error(`${certPath} has no DNS name in its subjectAltName; devices match one`)
  }
  const spkiSha256 = spkiSha256Of(certificatePem)
  return { certificatePem, privateKeyPem, caCertificatePem: '', serverName, spkiSha256 }
}
