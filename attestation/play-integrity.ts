// Play Integrity, classic requests under keys of one's own: Google Play says that a certain app,
// as published, runs on a device that passes. Not pure in one thing: jose is asynchronous. It
// attests an app and a device, not a key: which metering key is meant is inside the nonce, and
// that the key is in hardware is not known. Refuses tokens for keys that Google keeps: nobody but
// Google could read them. Called by the server's door for metering keys.
// https://developer.android.com/google/play/integrity/classic

import { createHash, type KeyObject } from 'node:crypto'
import { compactDecrypt, compactVerify, errors } from 'jose'
import type { AndroidApp } from './android-key.ts'
import { membersOf, octetsOf, refused } from './evidence.ts'
import { publicKeyOf } from './p256.ts'
import type { Expected, Refused, Verdict } from './verifier.ts'

export interface PlayIntegrityPolicy {
  /** Response encryption key of the Play Console: 32 octets, a secret. */
  readonly decryptionKey: Uint8Array
  /** Response verification key of the Play Console: the public half, P-256. */
  readonly verificationKey: KeyObject
  readonly apps: readonly AndroidApp[]
  /** The least that the device must meet: MEETS_DEVICE_INTEGRITY or MEETS_STRONG_INTEGRITY. */
  readonly device: 'device' | 'strong'
  readonly ageMaxSeconds: number
}

// Tokens have some 1.5 KB.
const TOKEN_LENGTH_MAX = 16_384
// Google's clock may be ahead of ours by this much.
const SKEW_SECONDS = 60
const NONCE_LABEL = 'datanet play integrity v1|'
const DEVICE_VERDICT = { device: 'MEETS_DEVICE_INTEGRITY', strong: 'MEETS_STRONG_INTEGRITY' }

/**
 * The nonce that the app asks for: SHA-256 of a label, the challenge and the metering key (65
 * octets), base64url. The key is in it, so that a token says which key the app stands for.
 */
export function playNonce(challenge: Buffer, publicKey: Buffer): string {
  const hashing = createHash('sha256').update(NONCE_LABEL).update(challenge).update(publicKey)
  return hashing.digest('base64url')
}

/**
 * `evidence` is `{ token, publicKey }`: what the Play Integrity API gave for playNonce, and the
 * metering key, 65 octets in base64url. The promise is never rejected.
 */
export async function verifyPlayIntegrity(
  evidence: unknown,
  expected: Expected,
  policy: PlayIntegrityPolicy,
): Promise<Verdict> {
  const members = membersOf(evidence, ['token', 'publicKey'])
  const publicKey = octetsOf(members?.publicKey, 65)
  const token = members?.token
  if (typeof token !== 'string' || token.length > TOKEN_LENGTH_MAX || publicKey === undefined) {
    return refused('malformed', 'not a token and a key')
  }
  if (publicKeyOf(publicKey) === undefined) return refused('malformed', 'not a point of P-256')
  const payload = await open(token, policy)
  if ('ok' in payload) return payload
  const statement = readStatement(payload)
  if (statement === undefined) return refused('malformed', 'not the payload of a classic request')
  const { challenge, nowSeconds } = expected
  if (statement.nonce !== playNonce(challenge, publicKey)) {
    return refused('challenge-mismatch', 'asked for another challenge or another key')
  }
  const ageSeconds = nowSeconds - statement.timestampMillis / 1000
  if (!(ageSeconds <= policy.ageMaxSeconds && ageSeconds >= -SKEW_SECONDS)) {
    return refused('too-old', `the token is ${Math.round(ageSeconds)} s old`)
  }
  const wrong = checkApp(statement, policy)
  if (wrong !== undefined) return wrong
  if (!statement.device.includes(DEVICE_VERDICT[policy.device])) {
    return refused('weak-device', `the device meets ${shown(statement.device)}`)
  }
  const facts = {
    app: statement.packageName,
    device: shown(statement.device),
    key: 'named by the app, not attested',
  }
  return { ok: true, scheme: 'play-integrity', publicKey, facts }
}

const shown = (words: readonly string[]): string => words.join(' ').slice(0, 120) || 'nothing'

/** What is inside both envelopes: encrypted for us (A256KW, A256GCM), signed by Google (ES256). */
async function open(token: string, policy: PlayIntegrityPolicy): Promise<Payload | Refused> {
  try {
    const { plaintext } = await compactDecrypt(token, policy.decryptionKey, {
      keyManagementAlgorithms: ['A256KW'],
      contentEncryptionAlgorithms: ['A256GCM'],
      // No compressed tokens: Google makes none, and they could grow without end.
      maxDecompressedLength: 0,
    })
    const signed = await compactVerify(plaintext, policy.verificationKey, { algorithms: ['ES256'] })
    return { json: JSON.parse(Buffer.from(signed.payload).toString()) }
  } catch (error) {
    const forged =
      error instanceof errors.JWEDecryptionFailed ||
      error instanceof errors.JWSSignatureVerificationFailed
    return forged
      ? refused('bad-signature', 'not encrypted to, or not signed by, the keys of the policy')
      : refused('malformed', 'not a signed token inside an encrypted one')
  }
}

interface Payload {
  readonly json: unknown
}

interface Statement {
  readonly nonce: string
  readonly timestampMillis: number
  readonly requestPackageName: string
  readonly verdict: string
  readonly packageName: string
  readonly signers: readonly string[]
  readonly device: readonly string[]
}

/** A member of an object; Google adds members as it likes, and those are left alone. */
const at = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Readonly<Record<string, unknown>>)[name]
    : undefined

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')

const textsOf = (value: unknown): string[] =>
  Array.isArray(value) ? value.slice(0, 16).map(textOf) : []

function readStatement({ json }: Payload): Statement | undefined {
  const request = at(json, 'requestDetails')
  const app = at(json, 'appIntegrity')
  const timestamp = at(request, 'timestampMillis')
  // Written as a string; the samples also have it as a number.
  const millis = typeof timestamp === 'number' ? timestamp : Number(textOf(timestamp) || Number.NaN)
  const nonce = textOf(at(request, 'nonce')).replace(/={1,2}$/, '')
  if (!Number.isSafeInteger(millis) || nonce === '') return undefined
  return {
    nonce,
    timestampMillis: millis,
    requestPackageName: textOf(at(request, 'requestPackageName')),
    verdict: textOf(at(app, 'appRecognitionVerdict')),
    packageName: textOf(at(app, 'packageName')),
    signers: textsOf(at(app, 'certificateSha256Digest')).map((digest) =>
      Buffer.from(digest, 'base64url').toString('hex'),
    ),
    device: textsOf(at(at(json, 'deviceIntegrity'), 'deviceRecognitionVerdict')),
  }
}

/** requestPackageName may be forged by whoever asked; packageName is what Play recognized. */
function checkApp(statement: Statement, { apps }: PlayIntegrityPolicy): Refused | undefined {
  const { verdict, packageName, requestPackageName, signers } = statement
  if (verdict !== 'PLAY_RECOGNIZED') {
    return refused('wrong-app', `the app is ${JSON.stringify(verdict.slice(0, 40))}`)
  }
  const app = apps.find((each) => each.packageName === packageName)
  if (app === undefined || requestPackageName !== packageName) {
    return refused('wrong-app', `app ${JSON.stringify(packageName.slice(0, 120))}`)
  }
  if (signers.length > 0 && signers.every((each) => app.signerSha256.includes(each))) {
    return undefined
  }
  return refused('wrong-app', 'signed by others than the policy names')
}
