// Makes a device's TLS key and its certificates, bound and direct. Refuses to make one that the
// server would refuse: each is read back through readIdentity. Pure: times and serial numbers are
// arguments, nothing is written anywhere. Called by the device's program.

import { createPrivateKey, hkdfSync, type KeyObject } from 'node:crypto'
import type { Address } from '../ethereum/address.ts'
import { accountOf, signDigest } from '../ethereum/signature.ts'
import { deviceCertificateDigest } from '../ethereum/typed-data.ts'
import { CertificateError } from './der.ts'
import {
  ACCOUNT_URI,
  BINDING_URI,
  type IdentityDomain,
  identityDomain,
  isRefused,
  readIdentity,
} from './identity.ts'
import {
  certificatePem,
  Extension,
  issueCertificate,
  KEY_SEED_BYTES,
  keyPem,
  p256KeyFrom,
  privateKeyOf,
  spkiOfKey,
} from './issue.ts'
import { curvePoint, pemBlock, readRequest, sha256 } from './x509.ts'

/** Which device of which account: what a derived key depends on. */
export interface DeviceKeyInput {
  /** The account's secp256k1 private key, 32 bytes. */
  readonly accountKey: Buffer
  readonly chainId: bigint
  readonly contract: Address
  readonly name: string
}

function derive(label: string, o: DeviceKeyInput): KeyObject {
  if (o.accountKey.length !== 32) throw new CertificateError('an account key is 32 bytes')
  // NFC: two systems may spell the same typed name in different code points.
  const info = `${label}|${o.chainId}|${o.contract}|${o.name.normalize('NFC')}`
  const seed = hkdfSync('sha256', o.accountKey, '', Buffer.from(info, 'utf8'), KEY_SEED_BYTES)
  return p256KeyFrom(Buffer.from(seed))
}

/**
 * The device's P-256 key as PKCS#8 PEM: the same wallet, chain, contract and name give the same
 * key.
 */
export function deriveDeviceKey(o: DeviceKeyInput): string {
  return keyPem(derive('datanet eap-tls p256 v1', o))
}

/**
 * The P-256 SPKI (DER) in a PEM `PUBLIC KEY` or PKCS#10 `CERTIFICATE REQUEST`, for a key that lives
 * elsewhere; throws CertificateError on anything else, and on a request its own key did not sign.
 */
export function readPublicKey(pem: string): Buffer {
  const request = pemBlock(pem, 'CERTIFICATE REQUEST') ?? pemBlock(pem, 'NEW CERTIFICATE REQUEST')
  const spki = request === undefined ? pemBlock(pem, 'PUBLIC KEY') : readRequest(request)
  if (spki === undefined) throw new CertificateError('no PUBLIC KEY or CERTIFICATE REQUEST in PEM')
  if (curvePoint(spki)?.curve !== 'P-256') {
    throw new CertificateError('the device key is not an uncompressed P-256 point')
  }
  return spki
}

export interface BoundCertificateInput extends DeviceKeyInput {
  /** PEM, SPKI or certificate request; see `readPublicKey`. */
  readonly publicKey: string
  /** The private key of `publicKey` where we have it. */
  readonly signingKeyPem?: string
  /** Unix seconds; the caller backdates notBefore. At most 30 days and 10 minutes apart. */
  readonly notBefore: number
  readonly notAfter: number
  /** 8 to 20 random octets. */
  readonly serial: Buffer
  readonly voucherUri?: string
}

/**
 * A bound certificate, PEM. With `signingKeyPem` it is self-signed. A key that lives elsewhere
 * cannot sign it: then the issuer is the account, with a signing key derived from it. No one
 * verifies that signature; what ties key and account is the binding, which is signed by the account
 * in both cases.
 */
export function makeBoundCertificate(o: BoundCertificateInput): string {
  const domain = identityDomain(o.chainId, o.contract)
  const account = accountOf(o.accountKey)
  const spki = readPublicKey(o.publicKey)
  const signed = {
    consumer: account,
    spkiHash: sha256(spki),
    notBefore: o.notBefore,
    notAfter: o.notAfter,
  }
  const binding = signDigest(deviceCertificateDigest(domain.separator, signed), o.accountKey)
  const uris = [
    `${ACCOUNT_URI}${o.chainId}:${account}`,
    `${BINDING_URI}${o.contract}/${binding.toString('base64url')}`,
    ...(o.voucherUri === undefined ? [] : [o.voucherUri]),
  ]
  const ownKey = o.signingKeyPem === undefined ? undefined : createPrivateKey(o.signingKeyPem)
  if (ownKey !== undefined && !spkiOfKey(ownKey).equals(spki)) {
    throw new CertificateError('the signing key is not the key to certify')
  }
  const der = issueCertificate({
    serial: o.serial,
    // An issuer named like the subject would claim to be self-signed and fail where that is
    // verified.
    issuer: ownKey === undefined ? account : o.name,
    subject: o.name,
    notBefore: o.notBefore,
    notAfter: o.notAfter,
    spki,
    extensions: [
      Extension.endEntity(),
      Extension.digitalSignature(),
      Extension.clientAuth(),
      Extension.uriNames(uris),
    ],
    signingKey: ownKey ?? derive('datanet eap-tls issuer v1', o),
  })
  return readBack(der, domain, account)
}

export interface DirectCertificateInput {
  /** The account's key, which becomes the TLS key. */
  readonly accountKey: Buffer
  readonly name: string
  readonly notBefore: number
  readonly notAfter: number
  readonly serial: Buffer
}

/**
 * A self-signed secp256k1 certificate (TLS 1.2 only) and its key, which is the account's key, as
 * PKCS#8 PEM.
 */
export function makeDirectCertificate(o: DirectCertificateInput): {
  certificatePem: string
  keyPem: string
} {
  const signingKey = privateKeyOf('secp256k1', o.accountKey)
  const der = issueCertificate({
    serial: o.serial,
    issuer: o.name,
    subject: o.name,
    notBefore: o.notBefore,
    notAfter: o.notAfter,
    spki: spkiOfKey(signingKey),
    extensions: [Extension.endEntity(), Extension.digitalSignature(), Extension.clientAuth()],
    signingKey,
  })
  const account = accountOf(o.accountKey)
  // A direct certificate is for every chain and contract: any domain reads it back alike.
  const certificate = readBack(der, identityDomain(1n, account), account)
  return { certificatePem: certificate, keyPem: keyPem(signingKey) }
}

function readBack(der: Buffer, domain: IdentityDomain, account: Address): string {
  const identity = readIdentity(der, domain)
  if (isRefused(identity)) throw new CertificateError(`${identity.refusal}: ${identity.detail}`)
  if (identity.account !== account) throw new CertificateError('read back as another account')
  return certificatePem(der)
}
