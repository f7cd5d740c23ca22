// Certificates that are good in everything but what a refusal test asks for: certs/device.ts reads
// back what it makes and so cannot make these. Also the one private key that fits a certificate for
// OpenSSL and is not its key. Called by refusals.test.ts.

import {
  createECDH,
  createHash,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto'
import type { DerNode } from '../../certs/der.ts'
import {
  certificatePem,
  Extension,
  issueCertificate,
  keyPem,
  privateKeyOf,
  spkiOfKey,
} from '../../certs/issue.ts'
import { curvePoint, toPem } from '../../certs/x509.ts'
import type { Address } from '../../ethereum/address.ts'
import { accountOf, signDigest } from '../../ethereum/signature.ts'
import { deviceCertificateDigest, payPlaceDomain } from '../../ethereum/typed-data.ts'

/** What a peer presents, PEM both. */
export interface Credential {
  readonly certificatePem: string
  readonly keyPem: string
}

/** The contract that an untouched certificate is bound for. */
export interface Place {
  readonly chainId: bigint
  readonly contract: Address
}

/**
 * A certificate of `accountKey` for `tlsKey`, but for what else is given. Times are Unix seconds.
 */
export interface Forgery {
  readonly accountKey: Buffer
  readonly tlsKey?: KeyObject
  /** The account the URI names and the signature is over; default: that of `accountKey`. */
  readonly consumer?: Address
  /** What the URIs name. */
  readonly named?: Partial<Place>
  /** The domain the signature is over. */
  readonly signedFor?: Partial<Place>
  readonly notBefore?: number
  readonly notAfter?: number
  /** Changes the 65 bytes r, s, v. */
  readonly alter?: (signature: Buffer) => Buffer
  /** Changes the two URIs: account, binding. */
  readonly uris?: (uris: string[]) => string[]
  readonly extensions?: readonly DerNode[]
  /** Issuer and its key; default: self-signed. */
  readonly issuer?: { readonly name: string; readonly key: KeyObject }
}

const DAY = 86_400

export const newP256 = (): KeyObject =>
  generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey

/** Makes forged certificates for one contract, as of `nowSeconds`. */
export function forger(place: Place, nowSeconds: number): (o: Forgery) => Credential {
  return (o) => {
    const tlsKey = o.tlsKey ?? newP256()
    const spki = spkiOfKey(tlsKey)
    const consumer = o.consumer ?? accountOf(o.accountKey)
    const named = { ...place, ...o.named }
    const signedFor = { ...named, ...o.signedFor }
    const notBefore = o.notBefore ?? nowSeconds - 600
    const notAfter = o.notAfter ?? nowSeconds + 29 * DAY
    const spkiHash = createHash('sha256').update(spki).digest()
    const digest = deviceCertificateDigest(payPlaceDomain(signedFor.chainId, signedFor.contract), {
      ...{ consumer, spkiHash, notBefore, notAfter },
    })
    const signature = signDigest(digest, o.accountKey)
    const altered = o.alter === undefined ? signature : o.alter(Buffer.from(signature))
    const uris = [
      `did:pkh:eip155:${named.chainId}:${consumer}`,
      `datanet:binding/1/${named.contract}/${altered.toString('base64url')}`,
    ]
    const der = issueCertificate({
      serial: randomBytes(16),
      issuer: o.issuer?.name ?? 'device',
      subject: 'device',
      ...{ notBefore, notAfter, spki },
      extensions: [
        Extension.endEntity(),
        Extension.digitalSignature(),
        ...(o.extensions ?? [Extension.clientAuth()]),
        ...namesOf(o.uris === undefined ? uris : o.uris(uris)),
      ],
      signingKey: o.issuer?.key ?? (tlsKey.asymmetricKeyType === 'ec' ? tlsKey : newP256()),
    })
    return { certificatePem: certificatePem(der), keyPem: keyPem(tlsKey) }
  }
}

/** An empty SubjectAltName would be no certificate at all (RFC 5280 §4.2.1.6). */
const namesOf = (uris: string[]): DerNode[] =>
  uris.length === 0 ? [Extension.dnsName('laptop.corp.example')] : [Extension.uriNames(uris)]

/** The order of secp256k1. */
const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n

/**
 * The other signature of the same account over the same digest: n - s, the other v (EIP-2 forbids
 * it).
 */
export function highS(signature: Buffer): Buffer {
  const s = ORDER - BigInt(`0x${signature.toString('hex', 32, 64)}`)
  const half = Buffer.from(s.toString(16).padStart(64, '0'), 'hex')
  return Buffer.concat([signature.subarray(0, 32), half, Buffer.of(55 - (signature[64] ?? 0))])
}

/**
 * A private key file whose public half is that of `owner` and whose secret is another one. OpenSSL
 * compares public halves only when it loads a certificate with its key, so a peer presents the
 * certificate and signs the handshake with a key that is not its own: what a thief of a certificate
 * can do, and no more.
 */
export function thiefsKey(owner: KeyObject): string {
  const point = curvePoint(spkiOfKey(owner))?.point
  if (point === undefined) throw new Error('the stolen certificate is of a P-256 key')
  const ecdh = createECDH('prime256v1')
  ecdh.generateKeys()
  const secret = Buffer.from(ecdh.getPrivateKey('hex').padStart(64, '0'), 'hex')
  // RFC 5915: ECPrivateKey { version 1, privateKey, [0] prime256v1, [1] publicKey }.
  const der = Buffer.concat([
    Buffer.from('30770201010420', 'hex'),
    secret,
    Buffer.from('a00a06082a8648ce3d030107a144034200', 'hex'),
    point,
  ])
  return toPem('EC PRIVATE KEY', der)
}

/** The account's own key as TLS key (`direct`): no URI, no binding. */
export function directCredential(
  forge: (o: Forgery) => Credential,
  accountKey: Buffer,
): Credential {
  return forge({ accountKey, tlsKey: privateKeyOf('secp256k1', accountKey), uris: () => [] })
}
