// Who a device certificate is: the account it is tied to, or the one reason why it is refused.
// Pure, the clock is an argument. Does not look at escrow or revocation (the server does), nor at
// the certificate's own signature: TLS proves possession of the key, the account's signature binds
// that key.

import { type Address, addressOfPublicKey, parseAddress } from '../ethereum/address.ts'
import { recoverAddress } from '../ethereum/signature.ts'
import { type Domain, deviceCertificateDigest, payPlaceDomain } from '../ethereum/typed-data.ts'
import { parseVoucherUri, VOUCHER_URI, type VoucherUri } from '../ethereum/voucher-uri.ts'
import { CertificateError } from './der.ts'
import { type CertificateFacts, readCertificate, sha256 } from './x509.ts'

export type CertificateRefusal =
  | 'certificate-too-large'
  | 'certificate-malformed'
  | 'certificate-critical-extension'
  | 'certificate-usage'
  | 'certificate-key-unsupported'
  | 'certificate-validity-too-long'
  | 'certificate-expired'
  | 'certificate-not-yet-valid'
  | 'binding-missing'
  | 'binding-duplicate'
  | 'binding-malformed'
  | 'binding-chain'
  | 'binding-contract'
  | 'binding-signature-malformed'
  | 'binding-signature-mismatch'
  | 'voucher-duplicate'
  | 'voucher-malformed'

/**
 * One refusal; `detail` is for the log and holds no text chosen by the peer but digits and
 * addresses.
 */
export interface Refused {
  readonly refusal: CertificateRefusal
  readonly detail: string
}

declare const identityBrand: unique symbol

/**
 * A verified tie between a TLS key and an account. Only `readIdentity` makes one; time is not yet
 * checked.
 */
export interface DeviceIdentity {
  readonly kind: 'bound' | 'direct'
  readonly account: Address
  /** SHA-256 of the SubjectPublicKeyInfo in DER, 64 lowercase hex digits. */
  readonly spkiSha256: string
  /** Unix seconds; the certificate is valid from here … */
  readonly notBefore: number
  /** … to here, inclusive. */
  readonly notAfter: number
  /** Paid when the device joins; its form is checked here, its signature not. */
  readonly voucher?: VoucherUri
  readonly [identityBrand]: true
}

/** The contract a binding must be for. */
export interface IdentityDomain {
  readonly chainId: bigint
  readonly contract: Address
  readonly separator: Domain
}

/** 30 days, plus the 10 minutes by which devices backdate notBefore for clocks that differ. */
export const VALIDITY_MAX_SECONDS = 30 * 86_400 + 600

/**
 * Ours take about 700 bytes and RSA-4096 ones of public CAs 2.5 KB; nothing that could pass is
 * larger.
 */
export const CERTIFICATE_BYTES_MAX = 4096

export const ACCOUNT_URI = 'did:pkh:eip155:'
export const BINDING_URI = 'datanet:binding/1/'

// One spelling each: no leading zeros, lowercase hex. 20 digits hold any uint64 chain id.
const ACCOUNT = /^did:pkh:eip155:([1-9][0-9]{0,19}):(0x[0-9a-f]{40})$/
const BINDING = /^datanet:binding\/1\/(0x[0-9a-f]{40})\/([^/]*)$/

export function identityDomain(chainId: bigint, contract: Address): IdentityDomain {
  return { chainId, contract, separator: payPlaceDomain(chainId, contract) }
}

export const isRefused = (result: DeviceIdentity | Refused): result is Refused =>
  'refusal' in result

const refuse = (refusal: CertificateRefusal, detail: string): Refused => ({ refusal, detail })

interface DatanetUris {
  readonly account: string[]
  readonly binding: string[]
  readonly voucher: string[]
}

/**
 * Sorts the URIs that concern us; a `did:` or `datanet:` one that is none of the three kinds is
 * refused.
 */
function sortUris(uris: readonly string[]): DatanetUris | Refused {
  const sorted: DatanetUris = { account: [], binding: [], voucher: [] }
  for (const uri of uris) {
    // Schemes are case-insensitive (RFC 3986 §3.1): another spelling must not pass as a foreign
    // URI.
    if (!/^(did|datanet):/i.test(uri)) continue
    if (uri.startsWith(ACCOUNT_URI)) sorted.account.push(uri)
    else if (uri.startsWith(BINDING_URI)) sorted.binding.push(uri)
    else if (uri.startsWith(VOUCHER_URI)) sorted.voucher.push(uri)
    else return refuse('binding-malformed', 'a did: or datanet: URI of no known kind')
  }
  if (sorted.account.length > 1 || sorted.binding.length > 1) {
    return refuse('binding-duplicate', 'more than one account or binding URI')
  }
  if (sorted.voucher.length > 1) return refuse('voucher-duplicate', 'more than one voucher URI')
  return sorted
}

function checkUse(certificate: CertificateFacts): Refused | undefined {
  // RFC 5216 §5.3: no ExtendedKeyUsage, or any, or clientAuth.
  if (certificate.clientAuth === false) {
    return refuse('certificate-usage', 'extendedKeyUsage does not name clientAuth')
  }
  // RFC 8446 §4.4.2.2: the key signs the handshake.
  if (certificate.digitalSignature === false) {
    return refuse('certificate-usage', 'keyUsage does not name digitalSignature')
  }
  if (certificate.unknownCritical) {
    return refuse('certificate-critical-extension', 'a critical extension is not understood')
  }
  const seconds = certificate.notAfter - certificate.notBefore
  if (seconds > VALIDITY_MAX_SECONDS) {
    return refuse('certificate-validity-too-long', `valid for ${seconds} s, more than 30 days`)
  }
  return undefined
}

function signatureOf(text: string): Buffer | undefined {
  const signature = Buffer.from(text, 'base64url')
  // Writing it back finds padding, foreign characters and non-zero spare bits alike.
  return signature.length === 65 && signature.toString('base64url') === text ? signature : undefined
}

function boundAccount(
  certificate: CertificateFacts,
  spkiHash: Buffer,
  uris: DatanetUris,
  domain: IdentityDomain,
): Address | Refused {
  const [accountUri] = uris.account
  const [bindingUri] = uris.binding
  if (accountUri === undefined || bindingUri === undefined) {
    return refuse('binding-missing', 'the certificate names no account and binding')
  }
  const [, chainId, accountText] = ACCOUNT.exec(accountUri) ?? []
  const [, contract, signatureText] = BINDING.exec(bindingUri) ?? []
  const account = parseAddress(accountText ?? '')
  if (chainId === undefined || account === undefined || signatureText === undefined) {
    return refuse('binding-malformed', 'the account or binding URI is not in its one form')
  }
  if (certificate.curve !== 'P-256') {
    return refuse('certificate-key-unsupported', 'a bound key is an uncompressed P-256 point')
  }
  const misuse = checkUse(certificate)
  if (misuse !== undefined) return misuse
  if (chainId !== domain.chainId.toString()) {
    return refuse('binding-chain', `bound on chain ${chainId}, not ${domain.chainId}`)
  }
  if (contract !== domain.contract) {
    return refuse('binding-contract', `bound for contract ${contract}, not ${domain.contract}`)
  }
  const signature = signatureOf(signatureText)
  if (signature === undefined) {
    return refuse('binding-signature-malformed', 'not the base64url of 65 bytes')
  }
  const { notBefore, notAfter } = certificate
  const signed = { consumer: account, spkiHash, notBefore, notAfter }
  const signer = recoverAddress(deviceCertificateDigest(domain.separator, signed), signature)
  if (signer === undefined) {
    return refuse('binding-signature-malformed', 'v is not 27 or 28, s is high, or no key fits')
  }
  if (signer !== account) {
    return refuse(
      'binding-signature-mismatch',
      `not signed by ${account} for this key and validity`,
    )
  }
  return account
}

function directAccount(certificate: CertificateFacts, uris: DatanetUris): Address | Refused {
  if (uris.account.length + uris.binding.length > 0) {
    // Two ways to name the account would need a rule for when they differ.
    return refuse('binding-malformed', 'a secp256k1 certificate names its account by its key alone')
  }
  return checkUse(certificate) ?? addressOfPublicKey(certificate.point)
}

/**
 * Everything about a certificate (DER) that does not depend on time. One reason per refusal, in a
 * fixed order; a cold call costs about 0.2 ms, nearly all of it the recovery of the account's
 * signature.
 */
export function readIdentity(der: Buffer, domain: IdentityDomain): DeviceIdentity | Refused {
  if (der.length > CERTIFICATE_BYTES_MAX) {
    return refuse('certificate-too-large', `${der.length} bytes, at most ${CERTIFICATE_BYTES_MAX}`)
  }
  let certificate: CertificateFacts
  try {
    certificate = readCertificate(der)
  } catch (error) {
    if (!(error instanceof CertificateError)) throw error
    return refuse('certificate-malformed', error.message)
  }
  const uris = sortUris(certificate.uris)
  if ('refusal' in uris) return uris
  const [voucherUri] = uris.voucher
  const voucher = voucherUri === undefined ? undefined : parseVoucherUri(voucherUri)
  if (voucherUri !== undefined && voucher === undefined) {
    return refuse('voucher-malformed', 'the voucher URI is not operator/amount/signature')
  }
  const kind = certificate.curve === 'secp256k1' ? 'direct' : 'bound'
  const spkiHash = sha256(certificate.spki)
  const account =
    kind === 'direct'
      ? directAccount(certificate, uris)
      : boundAccount(certificate, spkiHash, uris, domain)
  if (typeof account !== 'string') return account
  return {
    kind,
    account,
    spkiSha256: spkiHash.toString('hex'),
    notBefore: certificate.notBefore,
    notAfter: certificate.notAfter,
    ...(voucher === undefined ? {} : { voucher }),
  } as DeviceIdentity
}

/**
 * The part of the check that depends on the clock; undefined where the certificate is in its
 * validity.
 */
export function checkValidity(identity: DeviceIdentity, nowSeconds: number): Refused | undefined {
  const { notBefore, notAfter } = identity
  if (nowSeconds < notBefore) {
    return refuse('certificate-not-yet-valid', `valid from ${notBefore}, now ${nowSeconds}`)
  }
  if (nowSeconds > notAfter) {
    return refuse('certificate-expired', `valid until ${notAfter}, now ${nowSeconds}`)
  }
  return undefined
}

/**
 * `readIdentity` with a memory: a certificate seen before costs one SHA-256 and one lookup. Only
 * identities are kept, so what is refused cannot push them out; whoever makes accounts to fill it
 * finds the bound (`entriesMax`, about 1 KB each), past which the least recently used is dropped
 * and would be read again.
 */
export function identityReader(
  domain: IdentityDomain,
  entriesMax: number,
): (der: Buffer) => DeviceIdentity | Refused {
  const known = new Map<string, DeviceIdentity>()
  return (der) => {
    if (der.length > CERTIFICATE_BYTES_MAX) return readIdentity(der, domain)
    const digest = sha256(der).toString('latin1')
    const cached = known.get(digest)
    if (cached !== undefined) {
      known.delete(digest)
      known.set(digest, cached)
      return cached
    }
    const result = readIdentity(der, domain)
    if (isRefused(result)) return result
    known.set(digest, result)
    if (known.size > entriesMax) {
      const [oldest] = known.keys()
      if (oldest !== undefined) known.delete(oldest)
    }
    return result
  }
}
