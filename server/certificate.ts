// The operator's TLS certificate: made at the first start, renewed with the same key before it ends, or
// read from the files the operator names. Its SPKI is what devices pin on chain, so the key never
// changes by itself. Called by main.ts at start and at reload.

import { X509Certificate } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import {
  makeOperatorCertificates,
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

/** Renewal starts this long before the end, so that a server restarted once a month never serves an expired one. */
const RENEW_BEFORE_MS = 60 * 86_400_000

/** The certificate to serve now; may write data/. Throws where files are missing or don't belong together. */
export async function loadOperatorCertificate(
  config: Config,
  paths: DataPaths,
  deps: CertificateDeps,
): Promise<OperatorCertificate> {
  const { certificate } = config.eap
  if (certificate !== 'auto') return readOwn(certificate.cert, certificate.key)
  if (!existsSync(paths.serverCertificate)) await makeAuto(config, paths, deps)
  const leaf = new X509Certificate(readFileSync(paths.serverCertificate))
  if (Date.parse(leaf.validTo) - deps.now() < RENEW_BEFORE_MS) await renewAuto(config, paths, deps)
  return {
    ...readOwn(paths.serverCertificate, paths.serverKey),
    caCertificatePem: readFileSync(paths.caCertificate, 'utf8'),
  }
}

async function makeAuto(
  config: Config,
  paths: DataPaths,
  deps: CertificateDeps,
): Promise<void> {
  const made = await makeOperatorCertificates({
    operatorName: config.operator.name,
    nowSeconds: Math.floor(deps.now() / 1000),
    random: deps.random,
  })
  writeDurably(paths.caKey, made.caKeyPem, 0o600)
  writeDurably(paths.caCertificate, made.caCertificatePem, 0o644)
  writeDurably(paths.serverKey, made.keyPem, 0o600)
  // Last: this file says that the set is whole.
  writeDurably(paths.serverCertificate, made.certificatePem, 0o644)
}

async function renewAuto(
  config: Config,
  paths: DataPaths,
  deps: CertificateDeps,
): Promise<void> {
  const renewed = await renewOperatorCertificate({
    operatorName: config.operator.name,
    nowSeconds: Math.floor(deps.now() / 1000),
    random: deps.random,
    caCertificatePem: readFileSync(paths.caCertificate, 'utf8'),
    caKeyPem: readFileSync(paths.caKey, 'utf8'),
    keyPem: readFileSync(paths.serverKey, 'utf8'),
  })
  writeDurably(paths.serverCertificate, renewed, 0o644)
}

function readOwn(certPath: string, keyPath: string): OperatorCertificate {
  const certificatePem = readFileSync(certPath, 'utf8')
  const privateKeyPem = readFileSync(keyPath, 'utf8')
  const leaf = new X509Certificate(certificatePem)
  const serverName = /(?:^|, )DNS:([a-z0-9.-]+)(?:,|$)/.exec(leaf.subjectAltName ?? '')?.[1]
  if (serverName === undefined) {
    throw new Error(`${certPath} has no DNS name in its subjectAltName; devices match one`)
  }
  return {
    certificatePem,
    privateKeyPem,
    caCertificatePem: '',
    serverName,
    spkiSha256: spkiSha256Of(certificatePem),
  }
}
