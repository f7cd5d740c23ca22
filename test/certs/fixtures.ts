// Certificates for the tests of certs/: one good device, and any part of its certificate replaced.

import { createHash, createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto'
import type { DerNode } from '../../certs/der.ts'
import { deriveDeviceKey } from '../../certs/device.ts'
import { identityDomain } from '../../certs/identity.ts'
import { Extension, issueCertificate, spkiOfKey } from '../../certs/issue.ts'
import { type Address, parseAddress } from '../../ethereum/address.ts'
import { accountOf, signDigest } from '../../ethereum/signature.ts'
import { deviceCertificateDigest, payPlaceDomain } from '../../ethereum/typed-data.ts'

export const bytesOf = (seed: string, length = 32): Buffer =>
  createHash('shake256', { outputLength: length }).update(seed).digest()

export function address(text: string): Address {
  const parsed = parseAddress(text)
  if (parsed === undefined) throw new Error(`${text} is no address`)
  return parsed
}

export const chainId = 31337n
export const contract = address('0x5fbdb2315678afecb367f032d93f642f64180aa3')
export const otherContract = address('0x00000000000000000000000000000000000000aa')
export const domain = identityDomain(chainId, contract)
export const accountKey = bytesOf('account')
export const account = accountOf(accountKey)
export const now = 1_790_000_000
export const notBefore = now - 600
export const notAfter = now + 30 * 86_400

export const deviceKeyPem = deriveDeviceKey({ accountKey, chainId, contract, name: 'alice' })
export const deviceKey = createPrivateKey(deviceKeyPem)
export const devicePublicPem = createPublicKey(deviceKey)
  .export({ type: 'spki', format: 'pem' })
  .toString()
export const deviceSpki = spkiOfKey(deviceKey)

export interface Altered {
  readonly signerKey?: Buffer
  readonly consumer?: Address
  readonly chainId?: bigint
  readonly contract?: Address
  readonly spki?: Buffer
  /** What the account signs, where it differs from what the certificate holds. */
  readonly signedSpki?: Buffer
  readonly signedNotAfter?: number
  readonly notBefore?: number
  readonly notAfter?: number
}

/** The account's 65-byte signature, of the good device unless altered. */
export function bindingSignature(o: Altered = {}): Buffer {
  const separator = payPlaceDomain(o.chainId ?? chainId, o.contract ?? contract)
  const digest = deviceCertificateDigest(separator, {
    consumer: o.consumer ?? account,
    spkiHash: createHash('sha256')
      .update(o.signedSpki ?? o.spki ?? deviceSpki)
      .digest(),
    notBefore: o.notBefore ?? notBefore,
    notAfter: o.signedNotAfter ?? o.notAfter ?? notAfter,
  })
  return signDigest(digest, o.signerKey ?? accountKey)
}

export const accountUri = (o: Altered = {}): string =>
  `did:pkh:eip155:${o.chainId ?? chainId}:${o.consumer ?? account}`

export const bindingUri = (o: Altered = {}, signature = bindingSignature(o)): string =>
  `datanet:binding/1/${o.contract ?? contract}/${signature.toString('base64url')}`

/** URIs and extensions as a good device has them. */
export const goodExtensions = (uris: readonly string[]): DerNode[] => [
  Extension.endEntity(),
  Extension.digitalSignature(),
  Extension.clientAuth(),
  Extension.uriNames(uris),
]

/** A certificate, DER: the good device's, but for what is given. */
export function certificateWith(
  o: Altered & {
    readonly uris?: readonly string[]
    readonly extensions?: readonly DerNode[]
  } = {},
): Buffer {
  return issueCertificate({
    serial: bytesOf('serial', 16),
    issuer: 'alice',
    subject: 'alice',
    notBefore: o.notBefore ?? notBefore,
    notAfter: o.notAfter ?? notAfter,
    spki: o.spki ?? deviceSpki,
    extensions: o.extensions ?? goodExtensions(o.uris ?? [accountUri(o), bindingUri(o)]),
    signingKey: deviceKey,
  })
}

export const derOf = (pem: string): Buffer => new X509Certificate(pem).raw
