// Entity Attestation Tokens: PSA's (RFC 9783 and the profile before it) and those of other profiles
// (RFC 9711), as CWT or JWT, ES256 only, checked with the keys that the operator endorses. Pure.
// Refuses tokens without a profile, MACs, and keys nobody endorsed. Called by server/.
//
// How a token speaks of the metering key:
// - with a confirmation claim (cnf: RFC 8747, RFC 7800) the attester itself says whose key it is.
//   The nonce is then the challenge.
// - PSA tokens have no such claim. Their nonce is SHA-256(challenge || public key), the key as 65
//   octets, and comes beside the token. What is proven is that the software behind the client id,
//   in a secured device, chose this key; whether that software keeps keys in the secure world is
//   what the operator vouches for by listing its client id.

import { createHash, type KeyObject } from 'node:crypto'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import { decodeStrict, ES256, readSign1, sign1Holds } from './cose.ts'
import { claimsOfCbor, claimsOfJson, type EatClaims } from './eat-claims.ts'
import { octetsOf, refused } from './evidence.ts'
import { POINT_BYTES, type PublicJwk, pointOfJwk, publicKeyOf, signatureHolds } from './p256.ts'
import type { Expected, Refused, Verdict } from './verifier.ts'

/** One key that the operator believes, of one device or of all of a model. */
export interface Endorsement {
  /** What names it in a token: the header's kid, or the claim of the instance (ueid). */
  readonly by: 'key-id' | 'instance-id'
  /** The octets of that, base64url; a kid of a JWT is its UTF-8. */
  readonly id: string
  readonly publicKeyJwk: PublicJwk
  /** For people to read. */
  readonly model: string
  /** Unix seconds after which it is not believed any more. */
  readonly untilSeconds?: number
}

/** What the operator takes. */
export interface EatPolicy {
  readonly endorsed: readonly Endorsement[]
  /** Values of eat_profile; 'PSA_IOT_PROFILE_1' for PSA's old form. */
  readonly profiles: readonly string[]
  /** PSA: the partitions that may ask for a token for a metering key. */
  readonly clientIds: readonly number[]
  /** Other profiles: the names of the software (swname) that may. */
  readonly software: readonly string[]
  /** PSA: who may have signed the device's software, hashes in base64url; undefined: anybody. */
  readonly signers?: readonly string[]
  /** Other profiles: how old a token with a time of issue (iat) may be. */
  readonly maxAgeSeconds: number
}

/** A token whose signature and claims hold; nothing is said of a metering key yet. */
export interface CheckedToken {
  readonly ok: true
  readonly claims: EatClaims
  readonly endorsement: Endorsement
}

/** PSA tokens have some 500 octets, EATs with a few submodules some 2,000. */
const TOKEN_BYTES_MAX = 8192
const TOKEN_CHARACTERS_MAX = Math.ceil((TOKEN_BYTES_MAX * 4) / 3)
/** Clocks of devices may be ahead of ours by this. */
const CLOCK_AHEAD_SECONDS = 60

/** A token of either form, read. */
interface ReadToken {
  readonly keyId: string | undefined
  readonly claims: EatClaims
  readonly isSignedBy: (key: KeyObject) => boolean
}

const base64url = (octets: Uint8Array): string => Buffer.from(octets).toString('base64url')

function readCwt(text: string): ReadToken | Refused {
  const octets = octetsOf(text, TOKEN_BYTES_MAX)
  const message = octets === undefined ? undefined : readSign1(octets)
  if (message === undefined) return refused('malformed', 'no COSE_Sign1 in strict CBOR')
  if (message.algorithm !== ES256) return refused('unsupported', 'not signed with ES256')
  const claims = claimsOfCbor(decodeStrict(message.payload))
  if (claims === undefined) return refused('malformed', 'a claim is missing or not of its type')
  return {
    keyId: message.keyId === undefined ? undefined : base64url(message.keyId),
    claims,
    isSignedBy: (key) => sign1Holds(message, key),
  }
}

function readJwt(text: string): ReadToken | Refused {
  const parts = text.split('.')
  const [head = '', payload = '', last = ''] = parts
  const signature = octetsOf(last, 64)
  const isCanonical = [head, payload].every((part) => octetsOf(part, TOKEN_BYTES_MAX))
  if (parts.length !== 3 || signature === undefined || !isCanonical) {
    return refused('malformed', 'no JWS in compact form')
  }
  try {
    const header = decodeProtectedHeader(text)
    if (header.alg !== 'ES256') return refused('unsupported', 'not signed with ES256')
    // RFC 7515 §4.1.11: we know no extension that may be critical.
    if ('crit' in header) return refused('malformed', 'a critical header')
    const { kid } = header
    if (kid !== undefined && typeof kid !== 'string') return refused('malformed', 'kid is no text')
    const claims = claimsOfJson(decodeJwt(text))
    if (claims === undefined) return refused('malformed', 'a claim is missing or not of its type')
    return {
      keyId: kid === undefined ? undefined : base64url(Buffer.from(kid)),
      claims,
      isSignedBy: (key) => signatureHolds(key, Buffer.from(`${head}.${payload}`), signature),
    }
  } catch {
    return refused('malformed', 'header or claims are no JSON objects')
  }
}

/** A key is made from its JWK once: that costs more than checking a signature with it. */
const keys = new WeakMap<PublicJwk, KeyObject>()

function keyOf(jwk: PublicJwk): KeyObject | undefined {
  const known = keys.get(jwk)
  if (known !== undefined) return known
  const point = pointOfJwk(jwk)
  const key = point === undefined ? undefined : publicKeyOf(point)
  if (key !== undefined) keys.set(jwk, key)
  return key
}

function endorsementOf(token: ReadToken, policy: EatPolicy): Endorsement | undefined {
  const { instance } = token.claims
  const instanceId = instance === undefined ? undefined : base64url(instance)
  return policy.endorsed.find(
    ({ by, id }) => id === (by === 'key-id' ? token.keyId : instanceId) && id !== undefined,
  )
}

/** What the claims are worth once the signature holds. */
function claimsProblem(
  claims: EatClaims,
  nowSeconds: number,
  policy: EatPolicy,
): Refused | undefined {
  if (!claims.isSecured) return refused('weak-device', claims.lifecycle)
  const { app, signers, expiresAt, notBefore, issuedAt } = claims
  const isOurs =
    typeof app === 'number'
      ? policy.clientIds.includes(app)
      : app !== undefined && policy.software.includes(app)
  if (!isOurs) return refused('wrong-app', `${app ?? 'no name of the software'}`.slice(0, 64))
  if (policy.signers !== undefined && signers !== undefined) {
    const allowed = new Set(policy.signers)
    // A device that measures nothing shows no signer at all, which is no signer we take.
    const isVouched =
      signers.length > 0 && signers.every((signer) => allowed.has(base64url(signer)))
    if (!isVouched) return refused('weak-device', 'software of another signer')
  }
  if (expiresAt !== undefined && nowSeconds >= expiresAt) return refused('expired', 'exp')
  if (notBefore !== undefined && nowSeconds + CLOCK_AHEAD_SECONDS < notBefore) {
    return refused('expired', 'nbf is ahead')
  }
  if (issuedAt === undefined) return undefined
  if (nowSeconds + CLOCK_AHEAD_SECONDS < issuedAt) return refused('expired', 'iat is ahead')
  return nowSeconds - issuedAt > policy.maxAgeSeconds ? refused('too-old', 'iat') : undefined
}

function checkRead(
  token: ReadToken,
  nowSeconds: number,
  policy: EatPolicy,
): CheckedToken | Refused {
  const { claims } = token
  if (!policy.profiles.includes(claims.profile)) {
    return refused('unsupported', `profile ${claims.profile.slice(0, 64)}`)
  }
  const endorsement = endorsementOf(token, policy)
  const key = endorsement === undefined ? undefined : keyOf(endorsement.publicKeyJwk)
  if (endorsement === undefined || key === undefined) {
    return refused('unpinned-root', 'no endorsed key of this name')
  }
  if (!token.isSignedBy(key)) return refused('bad-signature', 'by the endorsed key')
  if (endorsement.untilSeconds !== undefined && nowSeconds > endorsement.untilSeconds) {
    return refused('expired', 'the endorsement of its key')
  }
  const problem = claimsProblem(claims, nowSeconds, policy)
  return problem ?? { ok: true, claims, endorsement }
}

/**
 * Signature, endorsement and claims of one token, but neither its nonce nor a metering key.
 * `text` is base64url of a tagged COSE_Sign1, or a JWS in compact form.
 */
export function checkToken(
  form: 'cwt' | 'jwt',
  text: string,
  nowSeconds: number,
  policy: EatPolicy,
): CheckedToken | Refused {
  const token = form === 'cwt' ? readCwt(text) : readJwt(text)
  return 'ok' in token ? token : checkRead(token, nowSeconds, policy)
}

interface EatEvidence {
  readonly form: 'cwt' | 'jwt'
  readonly token: string
  readonly publicKey: Buffer | undefined
}

function readEvidence(evidence: unknown): EatEvidence | undefined {
  if (typeof evidence !== 'object' || evidence === null || Array.isArray(evidence)) return undefined
  const { form, token, publicKey, ...others } = evidence as Readonly<Record<string, unknown>>
  if (Object.keys(others).length > 0 || (form !== 'cwt' && form !== 'jwt')) return undefined
  if (typeof token !== 'string' || token.length > TOKEN_CHARACTERS_MAX) return undefined
  if (publicKey === undefined) return { form, token, publicKey }
  const point = octetsOf(publicKey, POINT_BYTES)
  return point === undefined || publicKeyOf(point) === undefined
    ? undefined
    : { form, token, publicKey: point }
}

/** The nonce of a PSA token: 32 octets. `publicKey` is the metering key, 65 octets. */
export function boundNonce(challenge: Buffer, publicKey: Buffer): Buffer {
  return createHash('sha256').update(challenge).update(publicKey).digest()
}

/** The metering key that the token speaks of, or why there is none. */
function meteringKey(
  claims: EatClaims,
  publicKey: Buffer | undefined,
  challenge: Buffer,
): Buffer | Refused {
  const nonce = Buffer.from(claims.nonce)
  if (!claims.isPsa) {
    if (publicKey !== undefined) return refused('malformed', 'publicKey is for PSA tokens only')
    if (!nonce.equals(challenge)) return refused('challenge-mismatch', 'eat_nonce')
    if (claims.confirmed === undefined) return refused('key-mismatch', 'no confirmation claim')
    return claims.confirmed === 'other'
      ? refused('weak-key', 'cnf is not one public key on P-256')
      : claims.confirmed
  }
  if (publicKey === undefined) return refused('malformed', 'a PSA token needs publicKey beside it')
  if (nonce.equals(challenge)) return refused('key-mismatch', 'the nonce speaks of no key')
  return nonce.equals(boundNonce(challenge, publicKey))
    ? publicKey
    : refused('challenge-mismatch', 'nonce of challenge and key')
}

/** `evidence`: {form: 'cwt' | 'jwt', token, publicKey?}; publicKey is base64url of 65 octets. */
export function verifyEat(evidence: unknown, expected: Expected, policy: EatPolicy): Verdict {
  const read = readEvidence(evidence)
  if (read === undefined) return refused('malformed', 'no {form, token, publicKey}')
  const checked = checkToken(read.form, read.token, expected.nowSeconds, policy)
  if (!checked.ok) return checked
  const { claims, endorsement } = checked
  const publicKey = meteringKey(claims, read.publicKey, expected.challenge)
  if (!Buffer.isBuffer(publicKey)) return publicKey
  return {
    ...{ ok: true, scheme: 'eat', publicKey },
    facts: {
      form: read.form,
      profile: claims.profile,
      model: endorsement.model,
      instance: claims.instance === undefined ? '' : base64url(claims.instance),
      lifecycle: claims.lifecycle,
      app: `${claims.app ?? ''}`,
    },
  }
}
