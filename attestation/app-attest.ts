// Apple App Attest: once an attestation that a P-256 key lives in the Secure Enclave of an iPhone
// running a certain app, then an assertion by that key over each usage report. Pure. Refuses other
// apps, the development environment unless it is taken, counters that stand still. The receipt
// inside an attestation is not read: only Apple's servers make something of it. Called by the
// server's doors for metering keys and for reports.
// https://developer.apple.com/documentation/devicecheck/validating-apps-that-connect-to-your-server

import { createHash, verify, type X509Certificate } from 'node:crypto'
import { decode } from 'cborg'
import { membersOf, octetsOf, refused } from './evidence.ts'
import { publicKeyOf } from './p256.ts'
import { APPLE_ROOTS } from './roots/apple.ts'
import type { Expected, Refused, Verdict } from './verifier.ts'
import { type Certificate, checkChain, p256PointOf, readCertificate } from './x509-chain.ts'

export type AppleEnvironment = 'production' | 'development'

export interface AppAttestPolicy {
  /** `TEAMID.bundle.identifier` of each app that is taken. */
  readonly appIds: readonly string[]
  readonly environments: readonly AppleEnvironment[]
  /** Instead of the pinned one, for tests. */
  readonly roots?: readonly X509Certificate[]
}

// Attestations have 5.4 KB, 3.7 of them a receipt; assertions 141 octets.
const ATTESTATION_OCTETS_MAX = 16_384
const ASSERTION_OCTETS_MAX = 512
const CERTIFICATES_MAX = 4
const NONCE_EXTENSION = '1.2.840.113635.100.8.2'
/** SEQUENCE { [1] { OCTET STRING of 32 } }, up to the content. */
const NONCE_HEAD = Buffer.from('3024a1220420', 'hex')
/** CBOR of a COSE_Key { 1: 2, 3: -7, -1: 1, -2: x, -3: y } (RFC 9053 §7.1.1), around x and y. */
const COSE_HEAD = Buffer.from('a5010203262001215820', 'hex')
const COSE_MIDDLE = Buffer.from('225820', 'hex')
const ENVIRONMENTS: Readonly<Record<string, AppleEnvironment>> = {
  'appattest\0\0\0\0\0\0\0': 'production',
  appattestdevelop: 'development',
}
/** Authenticator data (WebAuthn §6.1): hash of the app id, flags, counter; then credential data. */
const AT = { flags: 32, counter: 33, aaguid: 37, idLength: 53, id: 55, coseKey: 87 } as const
/** Flag that credential data follows. */
const CREDENTIAL_DATA = 0x40

const sha256 = (...parts: Uint8Array[]): Buffer => {
  const hashing = createHash('sha256')
  for (const part of parts) hashing.update(part)
  return hashing.digest()
}

/** One CBOR map with text keys that is exactly these; undefined for all else (RFC 8949 §4.2.1). */
function mapOf(octets: Uint8Array, keys: readonly string[]): Map<unknown, unknown> | undefined {
  const options = {
    strict: true,
    allowIndefinite: false,
    allowUndefined: false,
    allowInfinity: false,
    allowNaN: false,
    rejectDuplicateMapKeys: true,
    useMaps: true,
  }
  try {
    return withKeys(decode(octets, options), keys)
  } catch {
    return undefined
  }
}

function withKeys(value: unknown, keys: readonly string[]): Map<unknown, unknown> | undefined {
  if (!(value instanceof Map) || value.size !== keys.length) return undefined
  return keys.every((key) => value.has(key)) ? value : undefined
}

const bytesOf = (value: unknown): Buffer | undefined =>
  value instanceof Uint8Array ? Buffer.from(value) : undefined

interface Attestation {
  readonly keyId: Buffer
  readonly chain: readonly Certificate[]
  readonly authData: Buffer
}

function readAttestation(evidence: unknown): Attestation | undefined {
  const members = membersOf(evidence, ['keyId', 'attestation'])
  const keyId = octetsOf(members?.keyId, 32)
  const octets = octetsOf(members?.attestation, ATTESTATION_OCTETS_MAX)
  const whole = octets && mapOf(octets, ['fmt', 'attStmt', 'authData'])
  const authData = bytesOf(whole?.get('authData'))
  const statement = withKeys(whole?.get('attStmt'), ['x5c', 'receipt'])
  const x5c: unknown = statement?.get('x5c')
  if (whole?.get('fmt') !== 'apple-appattest' || !Array.isArray(x5c)) return undefined
  if (bytesOf(statement?.get('receipt')) === undefined || x5c.length > CERTIFICATES_MAX) {
    return undefined
  }
  const chain = x5c.flatMap((each) => readCertificate(bytesOf(each) ?? Buffer.alloc(0)) ?? [])
  if (chain.length === 0 || chain.length !== x5c.length) return undefined
  return keyId && authData && { keyId, chain, authData }
}

/**
 * `evidence` is `{ keyId, attestation }`: what generateKey and attestKey gave the app, base64url;
 * the app calls attestKey with the SHA-256 of the challenge. Certificates must be valid at
 * `expected.nowSeconds`.
 */
export function verifyAppAttest(
  evidence: unknown,
  expected: Expected,
  policy: AppAttestPolicy,
): Verdict {
  const attestation = readAttestation(evidence)
  const leaf = attestation?.chain[0]
  if (attestation === undefined || leaf === undefined) {
    return refused('malformed', 'not an attestation object of apple-appattest')
  }
  const { keyId, chain, authData } = attestation
  const wrong =
    checkChain(chain, policy.roots ?? APPLE_ROOTS, expected.nowSeconds) ??
    checkNonce(leaf, authData, expected.challenge)
  if (wrong !== undefined) return wrong
  const publicKey = p256PointOf(leaf.x509.publicKey)
  if (publicKey === undefined) return refused('weak-key', 'not a key on P-256')
  if (authData.length < AT.coseKey || ((authData[AT.flags] ?? 0) & CREDENTIAL_DATA) === 0) {
    return refused('malformed', 'no credential in the authenticator data')
  }
  const other = checkKey(authData, keyId, publicKey)
  if (other !== undefined) return other
  const app = appOf(authData, policy)
  if (app === undefined) return refused('wrong-app', 'another app than those of the policy')
  if (authData.readUInt32BE(AT.counter) !== 0) return refused('counter', 'a key used before')
  const environment = ENVIRONMENTS[authData.toString('latin1', AT.aaguid, AT.idLength)]
  if (environment === undefined) return refused('malformed', 'an unknown aaguid')
  if (!policy.environments.includes(environment)) {
    return refused('wrong-app', `attested in the ${environment} environment`)
  }
  return { ok: true, scheme: 'app-attest', publicKey, facts: { app, environment } }
}

/** The certificate was made for this authenticator data and this challenge. */
function checkNonce(leaf: Certificate, authData: Buffer, challenge: Buffer): Refused | undefined {
  const value = leaf.extensions.get(NONCE_EXTENSION)
  if (value?.length !== NONCE_HEAD.length + 32 || value.indexOf(NONCE_HEAD) !== 0) {
    return refused('malformed', 'no readable nonce in the certificate')
  }
  if (value.subarray(NONCE_HEAD.length).equals(sha256(authData, sha256(challenge)))) {
    return undefined
  }
  return refused('challenge-mismatch', 'made for another challenge or other authenticator data')
}

/** The key of the certificate, of the authenticator data and of the identifier are one. */
function checkKey(authData: Buffer, keyId: Buffer, publicKey: Buffer): Refused | undefined {
  const id = sha256(publicKey)
  const cose = [COSE_HEAD, publicKey.subarray(1, 33), COSE_MIDDLE, publicKey.subarray(33)]
  const credential = Buffer.concat([Buffer.of(0, 32), id, ...cose])
  if (keyId.equals(id) && authData.subarray(AT.idLength).equals(credential)) return undefined
  return refused('key-mismatch', 'key identifier, credential and certificate differ')
}

const appOf = (authData: Buffer, policy: AppAttestPolicy): string | undefined =>
  policy.appIds.find((appId) => authData.subarray(0, AT.flags).equals(sha256(Buffer.from(appId))))

/** What the server knows of an attested key when an assertion by it comes in. */
export interface AssertionExpected {
  /** The key that was attested: 65 octets. */
  readonly publicKey: Buffer
  /** What the app passed the SHA-256 of to generateAssertion: the octets of the report. */
  readonly clientData: Uint8Array
  /** The counter of the last assertion that was taken; 0 after the attestation. */
  readonly counter: number
}

/** Taken, with the counter to store before the report is acknowledged; or not. */
export type AssertionVerdict = { readonly ok: true; readonly counter: number } | Refused

/**
 * An assertion, CBOR as generateAssertion made it. Gaps between counters are no fault: an app asks
 * for assertions that it then doesn't send. Any 65 octets that are no key refuse everything.
 */
export function verifyAssertion(
  assertion: Uint8Array,
  expected: AssertionExpected,
  policy: AppAttestPolicy,
): AssertionVerdict {
  const map =
    assertion.length <= ASSERTION_OCTETS_MAX
      ? mapOf(assertion, ['signature', 'authenticatorData'])
      : undefined
  const signature = bytesOf(map?.get('signature'))
  const authData = bytesOf(map?.get('authenticatorData'))
  if (signature === undefined || authData?.length !== AT.aaguid) {
    return refused('malformed', 'not an assertion')
  }
  const nonce = sha256(authData, sha256(expected.clientData))
  if (!isSigned(nonce, signature, expected.publicKey)) {
    return refused('bad-signature', 'not signed by the metering key')
  }
  if (appOf(authData, policy) === undefined) {
    return refused('wrong-app', 'another app than those of the policy')
  }
  const counter = authData.readUInt32BE(AT.counter)
  if (counter > expected.counter) return { ok: true, counter }
  return refused('counter', `counter ${counter} after ${expected.counter}`)
}

function isSigned(nonce: Buffer, signature: Buffer, point: Buffer): boolean {
  const key = publicKeyOf(point)
  return key !== undefined && verify('sha256', nonce, key, signature)
}
