// A metering key that nobody vouches for: the device shows only that it has it, by signing the
// challenge. Pure. Says nothing of where the key lives, so it is not among the schemes of
// verifier.ts; what it is worth is for server/ to decide, which calls it. A device signs with it.

import { octetsOf, refused } from './evidence.ts'
import { POINT_BYTES, publicKeyOf, signatureHolds } from './p256.ts'
import type { Expected, Refused } from './verifier.ts'

/** What the server knows of a key that is to be shown. */
export interface ExpectedKey extends Expected {
  /** The metering key: P-256, 65 octets, uncompressed. */
  readonly publicKey: Buffer
}

/** The key was shown; nobody vouches for it. */
export interface ShownKey {
  readonly ok: true
  readonly publicKey: Buffer
  readonly facts: Readonly<Record<string, string>>
}

/** r and s of 32 octets each. */
const SIGNATURE_BYTES = 64

/** Evidence is `{signature}`: ECDSA with SHA-256 over the challenge, r and s in base64url. */
export function verifySoftware(evidence: unknown, expected: ExpectedKey): ShownKey | Refused {
  if (typeof evidence !== 'object' || evidence === null || Array.isArray(evidence)) {
    return refused('malformed', 'evidence is {signature}')
  }
  const { signature: text, ...others } = evidence as Record<string, unknown>
  const signature = octetsOf(text, SIGNATURE_BYTES)
  if (Object.keys(others).length > 0 || signature?.length !== SIGNATURE_BYTES) {
    return refused('malformed', 'evidence is {signature}: 64 octets in base64url')
  }
  const { publicKey, challenge } = expected
  const key = publicKey.length === POINT_BYTES ? publicKeyOf(publicKey) : undefined
  if (key === undefined) return refused('malformed', 'the key is no point of P-256')
  if (!signatureHolds(key, challenge, signature)) {
    return refused('bad-signature', 'the metering key did not sign the challenge')
  }
  return { ok: true, publicKey, facts: {} }
}
