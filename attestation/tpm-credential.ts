// The first step of a TPM's enrolment: a secret that only the TPM with a certain endorsement key
// opens, and only while it holds a certain attestation key (TCG TPM 2.0 Library, Part 1 §24:
// TPM2_MakeCredential, done here in software). Refuses endorsement keys that no pinned root has
// signed, and attestation keys that would sign whatever they are given. Pure; OpenSSL draws the
// padding of RSA-OAEP and the one-time key of ECDH itself. Called by server/; tpm.ts is what
// follows.

import {
  constants,
  createCipheriv,
  createECDH,
  createHash,
  createHmac,
  createPublicKey,
  type KeyObject,
  publicEncrypt,
  X509Certificate,
} from 'node:crypto'
import { refused } from './evidence.ts'
import {
  CERTIFICATE_OCTETS_MAX,
  CHAIN_CERTIFICATES_MAX,
  type ChainPolicy,
  endorsedBy,
} from './tpm-chain.ts'
import { fieldsOf, octetsOf } from './tpm-fields.ts'
import { OBJECT, readTpm2bPublic, type TpmPublic } from './tpm-structures.ts'
import type { Refused } from './verifier.ts'

/** A public area with its length: an RSA-2048 key's has some 320 octets. */
export const PUBLIC_OCTETS_MAX = 512
/** 32 octets are the secret, 32 more what its encryption starts from. */
export const CREDENTIAL_RANDOM_OCTETS = 64

export interface TpmPolicy extends ChainPolicy {
  /**
   * SHA-256 (lowercase hex) of the SubjectPublicKeyInfo of endorsement keys that the operator knows
   * itself: TPMs whose maker gave them no certificate.
   */
  readonly endorsementKeys?: ReadonlySet<string>
  /** Asked for: a quote of these registers of the SHA-256 bank, with one of these digests. */
  readonly pcrs?: { readonly registers: readonly number[]; readonly digests: readonly Buffer[] }
}

/** What the server keeps of the first step until the second. Never to be logged. */
export interface TpmKept {
  /** 32 octets; they come back in the second step. */
  readonly secret: Buffer
  /** TPM2B_PUBLIC of the attestation key. */
  readonly akPublic: Buffer
  /** SHA-256 (hex) of the endorsement key's SubjectPublicKeyInfo: the same for all of a TPM. */
  readonly endorsementKey: string
  /** The manufacturer's letters, else its number in hex; '' where no certificate says. */
  readonly manufacturer: string
}

export interface TpmCredential {
  readonly ok: true
  /** For the device, base64url: a TPM2B_ID_OBJECT and a TPM2B_ENCRYPTED_SECRET. */
  readonly credential: { readonly idObject: string; readonly encryptedSecret: string }
  readonly kept: TpmKept
}

/** An endorsement key and the algorithms of its template (TCG EK Credential Profile, annex B). */
interface Endorsement {
  readonly key: KeyObject
  readonly hash: 'sha256' | 'sha384'
  readonly aesBits: 128 | 256
}

/** Undefined: of a kind that OpenSSL does not know. */
function keyOfCertificate(certificate: X509Certificate): KeyObject | undefined {
  try {
    return certificate.publicKey
  } catch {
    return undefined
  }
}

/** Undefined: a kind of key that none of the templates we know has. */
function endorsementOf(key: KeyObject | undefined): Endorsement | undefined {
  if (key === undefined) return undefined
  const { modulusLength, publicExponent, namedCurve } = key.asymmetricKeyDetails ?? {}
  if (key.asymmetricKeyType === 'rsa') {
    const isTemplate = modulusLength === 2048 && publicExponent === 65_537n
    return isTemplate ? { key, hash: 'sha256', aesBits: 128 } : undefined
  }
  if (namedCurve === 'prime256v1') return { key, hash: 'sha256', aesBits: 128 }
  return namedCurve === 'secp384r1' ? { key, hash: 'sha384', aesBits: 256 } : undefined
}

/** The key of a public area; undefined where its point is not on the curve. */
export function keyOfPublic({ unique }: TpmPublic): KeyObject | undefined {
  const text = (octets: Buffer) => octets.toString('base64url')
  try {
    if (unique.type === 'ecc') {
      const key = { kty: 'EC', crv: unique.curve, x: text(unique.x), y: text(unique.y) }
      return createPublicKey({ format: 'jwk', key })
    }
    const e = Buffer.alloc(4)
    e.writeUInt32BE(unique.exponent)
    const key = {
      kty: 'RSA',
      n: text(unique.modulus),
      e: text(e.subarray(e.findIndex((o) => o !== 0))),
    }
    return createPublicKey({ format: 'jwk', key })
  } catch {
    return undefined
  }
}

/** Whether all of `needed` are set and none of `banned`. */
export function hasAttributes(area: TpmPublic, needed: number, banned: number): boolean {
  return (area.attributes & needed) === needed && (area.attributes & banned) === 0
}

const BORN_HERE = OBJECT.fixedTpm | OBJECT.fixedParent | OBJECT.sensitiveDataOrigin

/** Born in this TPM, never to leave it, signs only what the TPM itself has made. */
function isAttestationKey(area: TpmPublic): boolean {
  const { unique, isEcdsa, nameAlg } = area
  const isP256 = unique.type === 'ecc' && unique.curve === 'P-256'
  const needed = BORN_HERE | OBJECT.restricted | OBJECT.sign
  return isP256 && isEcdsa && nameAlg === 'sha256' && hasAttributes(area, needed, OBJECT.decrypt)
}

function isEndorsementKey(area: TpmPublic, endorsement: Endorsement): boolean {
  const needed = BORN_HERE | OBJECT.restricted | OBJECT.decrypt
  const asTemplate = area.nameAlg === endorsement.hash && area.aesBits === endorsement.aesBits
  return asTemplate && hasAttributes(area, needed, OBJECT.sign)
}

const label = (text: string) => Buffer.from(`${text}\0`, 'latin1')

function word(value: number): Buffer {
  const octets = Buffer.alloc(4)
  octets.writeUInt32BE(value)
  return octets
}

function sized(octets: Buffer): Buffer {
  const length = Buffer.alloc(2)
  length.writeUInt16BE(octets.length)
  return Buffer.concat([length, octets])
}

/** Part 1 §11.4.10.2, for at most one digest's length: SP 800-108 in counter mode over HMAC. */
function kdfa(hash: string, key: Buffer, use: string, context: Buffer, bits: number): Buffer {
  const parts = [word(1), label(use), context, word(bits)]
  const mac = createHmac(hash, key).update(Buffer.concat(parts)).digest()
  return mac.subarray(0, bits / 8)
}

/**
 * The seed, and how it travels (Part 1 annex B.10.4 for RSA, C.6.4 for ECC: ECDH with a one-time
 * key, then KDFe, §11.4.10.3).
 */
function seedFor({ key, hash }: Endorsement, random: Buffer): { seed: Buffer; wrapped: Buffer } {
  if (key.asymmetricKeyType === 'rsa') {
    const padding = constants.RSA_PKCS1_OAEP_PADDING
    const oaep = { key, padding, oaepHash: hash, oaepLabel: label('IDENTITY') }
    return { seed: random, wrapped: publicEncrypt(oaep, random) }
  }
  const is384 = hash === 'sha384'
  const { x = '', y = '' } = key.export({ format: 'jwk' })
  const theirX = Buffer.from(x, 'base64url')
  const theirs = Buffer.concat([Buffer.of(4), theirX, Buffer.from(y, 'base64url')])
  const ecdh = createECDH(is384 ? 'secp384r1' : 'prime256v1')
  const ours = ecdh.generateKeys()
  const middle = 1 + theirX.length
  const ourX = ours.subarray(1, middle)
  const parts = [word(1), ecdh.computeSecret(theirs), label('IDENTITY'), ourX, theirX]
  const seed = createHash(hash).update(Buffer.concat(parts)).digest()
  return { seed, wrapped: Buffer.concat([sized(ourX), sized(ours.subarray(middle))]) }
}

/** Part 1 §24.5: encrypted with a key for this name, and a MAC over both. */
function makeCredential(endorsement: Endorsement, name: Buffer, secret: Buffer, random: Buffer) {
  const { hash, aesBits } = endorsement
  const { seed, wrapped } = seedFor(endorsement, random)
  const storage = kdfa(hash, seed, 'STORAGE', name, aesBits)
  const cipher = createCipheriv(`aes-${aesBits}-cfb`, storage, Buffer.alloc(16))
  const identity = Buffer.concat([cipher.update(sized(secret)), cipher.final()])
  const macBits = hash === 'sha256' ? 256 : 384
  const macKey = kdfa(hash, seed, 'INTEGRITY', Buffer.alloc(0), macBits)
  const mac = createHmac(hash, macKey).update(identity).update(name).digest()
  return {
    idObject: sized(Buffer.concat([sized(mac), identity])).toString('base64url'),
    encryptedSecret: sized(wrapped).toString('base64url'),
  }
}

interface Endorsed {
  readonly endorsement: Endorsement
  readonly hash: string
  readonly manufacturer: string
}

const hashOf = (key: KeyObject): string =>
  createHash('sha256')
    .update(key.export({ format: 'der', type: 'spki' }))
    .digest('hex')

/**
 * TCG EK Credential Profile §3.2: id: and four octets in hex. OpenSSL prints the attribute by its
 * name or, where it is older, by its number.
 */
function manufacturerOf({ subjectAltName = '' }: X509Certificate): string {
  const attribute = /(?:tcg-at-tpmManufacturer|2\.23\.133\.2\.1)=id:([0-9A-Fa-f]{8})/
  const octets = Buffer.from(attribute.exec(subjectAltName)?.[1] ?? '', 'hex')
  const letters = octets.toString('latin1').replaceAll('\0', ' ').trim()
  return /^[!-~ ]*$/.test(letters) ? letters : octets.toString('hex')
}

function endorsedByChain(
  chain: readonly Buffer[],
  policy: TpmPolicy,
  nowSeconds: number,
): Endorsed | Refused {
  const certificate = endorsedBy(chain, policy, nowSeconds)
  if (!(certificate instanceof X509Certificate)) return certificate
  const endorsement = endorsementOf(keyOfCertificate(certificate))
  if (endorsement === undefined)
    return refused('bad-chain', 'the endorsement key is of no template')
  const { key } = endorsement
  return { endorsement, hash: hashOf(key), manufacturer: manufacturerOf(certificate) }
}

function endorsedByOperator(octets: Buffer, policy: TpmPolicy): Endorsed | Refused {
  const area = readTpm2bPublic(octets)
  const key = area === undefined ? undefined : keyOfPublic(area)
  const endorsement = endorsementOf(key)
  if (area === undefined || endorsement === undefined) {
    return refused('malformed', 'the endorsement key cannot be read')
  }
  if (!isEndorsementKey(area, endorsement)) return refused('weak-key', 'no endorsement key')
  const hash = hashOf(endorsement.key)
  if (!policy.endorsementKeys?.has(hash)) {
    const way = 'the operator can list it under attestation.tpm.endorsement_keys'
    return refused('unpinned-root', `endorsement key ${hash} has no certificate: ${way}`)
  }
  return { endorsement, hash, manufacturer: '' }
}

function endorsed(evidence: unknown, policy: TpmPolicy, nowSeconds: number): Endorsed | Refused {
  const bad = refused('malformed', 'ekCertificates or ekPublic, and akPublic')
  const byOperator = fieldsOf(evidence, ['ekPublic', 'akPublic'])
  if (byOperator !== undefined) {
    const octets = octetsOf(byOperator['ekPublic'], PUBLIC_OCTETS_MAX)
    return octets === undefined ? bad : endorsedByOperator(octets, policy)
  }
  const chain = fieldsOf(evidence, ['ekCertificates', 'akPublic'])?.['ekCertificates']
  if (!Array.isArray(chain) || chain.length > CHAIN_CERTIFICATES_MAX) return bad
  const ders = chain.map((text: unknown) => octetsOf(text, CERTIFICATE_OCTETS_MAX))
  const read = ders.filter((der) => der !== undefined)
  return read.length === chain.length ? endorsedByChain(read, policy, nowSeconds) : bad
}

/**
 * Evidence is `{ekCertificates: [DER, …], akPublic}` or `{ekPublic, akPublic}`, in base64url; the
 * certificates go from the endorsement key's upwards, public areas are TPM2B_PUBLIC. `random` are
 * CREDENTIAL_RANDOM_OCTETS, never used before.
 */
export function makeTpmCredential(
  evidence: unknown,
  random: Buffer,
  policy: TpmPolicy,
  nowSeconds: number,
): TpmCredential | Refused {
  if (random.length !== CREDENTIAL_RANDOM_OCTETS) throw new RangeError('64 octets of randomness')
  const found = endorsed(evidence, policy, nowSeconds)
  if ('reason' in found) return found
  const akPublic = octetsOf((evidence as { akPublic: unknown }).akPublic, PUBLIC_OCTETS_MAX)
  const area = akPublic === undefined ? undefined : readTpm2bPublic(akPublic)
  if (akPublic === undefined || area === undefined || keyOfPublic(area) === undefined) {
    return refused('malformed', 'the attestation key cannot be read')
  }
  if (!isAttestationKey(area)) {
    return refused('weak-key', 'the attestation key is not a restricted one of a TPM')
  }
  const secret = Buffer.from(random.subarray(0, 32))
  const credential = makeCredential(found.endorsement, area.name, secret, random.subarray(32))
  const { hash: endorsementKey, manufacturer } = found
  return { ok: true, credential, kept: { secret, akPublic, endorsementKey, manufacturer } }
}
