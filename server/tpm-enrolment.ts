// The scheme `tpm`, whose device needs two requests: the first is answered with a secret that only
// its TPM opens, the second brings it back with the evidence (attestation/tpm-credential.ts and
// tpm.ts, which decide). Owns what has to be remembered between them: sealed into a ticket that the
// device keeps, since anybody may ask in another's name and no table could be filled or emptied so.
// Called by attestation.ts.

import { createCipheriv, createDecipheriv } from 'node:crypto'
import { octetsOf, refused } from '../attestation/evidence.ts'
import type { ExpectedKey } from '../attestation/software.ts'
import { verifyTpm } from '../attestation/tpm.ts'
import {
  CREDENTIAL_RANDOM_OCTETS,
  makeTpmCredential,
  type TpmKept,
  type TpmPolicy,
} from '../attestation/tpm-credential.ts'
import type { Expected, Refused, Verdict } from '../attestation/verifier.ts'

/** What the device is told first; octets are base64url. */
export interface TpmBegun {
  readonly ok: true
  readonly answer: {
    readonly credential: { readonly idObject: string; readonly encryptedSecret: string }
    readonly ticket: string
    /** Registers of the SHA-256 bank that the evidence must quote. */
    readonly pcrs?: readonly number[]
  }
}

export interface TpmEnrolment {
  begin(request: unknown, expected: Expected, policy: TpmPolicy): TpmBegun | Refused
  /** Evidence is that of verifyTpm, and `ticket` as it was given. */
  verify(evidence: unknown, expected: ExpectedKey, policy: TpmPolicy): Verdict
}

const KEY_BYTES = 32
const IV_BYTES = 12
const TAG_BYTES = 16
/** A public area of 514 octets at most, a secret, a hash, a few letters: in JSON below 1,000. */
const TICKET_BYTES_MAX = 1_536

/** Its tickets are good for as long as it lives, as the nonces are that they belong to. */
export function createTpmEnrolment(random: (length: number) => Buffer): TpmEnrolment {
  const key = random(KEY_BYTES)

  // The challenge speaks of nonce, account and operator: a ticket fits no other enrolment.
  function seal({ secret, akPublic, ...names }: TpmKept, challenge: Buffer): string {
    const iv = random(IV_BYTES)
    const sealing = createCipheriv('aes-256-gcm', key, iv).setAAD(challenge)
    const kept = { secret: secret.toString('hex'), akPublic: akPublic.toString('hex'), ...names }
    const sealed = Buffer.concat([sealing.update(JSON.stringify(kept)), sealing.final()])
    return Buffer.concat([iv, sealing.getAuthTag(), sealed]).toString('base64url')
  }

  function open(ticket: Buffer, challenge: Buffer): TpmKept | undefined {
    const iv = ticket.subarray(0, IV_BYTES)
    const tag = ticket.subarray(IV_BYTES, IV_BYTES + TAG_BYTES)
    if (tag.length !== TAG_BYTES) return undefined
    const options = { authTagLength: TAG_BYTES }
    const opening = createDecipheriv('aes-256-gcm', key, iv, options).setAAD(challenge)
    opening.setAuthTag(tag)
    try {
      const sealed = ticket.subarray(IV_BYTES + TAG_BYTES)
      const text = Buffer.concat([opening.update(sealed), opening.final()]).toString()
      const { secret, akPublic, ...names } = JSON.parse(text) as Record<keyof TpmKept, string>
      return {
        ...{ secret: Buffer.from(secret, 'hex'), akPublic: Buffer.from(akPublic, 'hex') },
        ...names,
      }
    } catch {
      return undefined
    }
  }

  return {
    begin(request, { challenge, nowSeconds }, policy) {
      const made = makeTpmCredential(request, random(CREDENTIAL_RANDOM_OCTETS), policy, nowSeconds)
      if (!made.ok) return made
      const { credential, kept } = made
      const ticket = seal(kept, challenge)
      const { pcrs } = policy
      const asked = pcrs === undefined ? {} : { pcrs: pcrs.registers }
      return { ok: true, answer: { credential, ticket, ...asked } }
    },
    verify(evidence, expected, policy) {
      if (typeof evidence !== 'object' || evidence === null || Array.isArray(evidence)) {
        return refused('malformed', 'evidence is an object with a ticket')
      }
      const { ticket: text, ...shown } = evidence as Record<string, unknown>
      const ticket = octetsOf(text, TICKET_BYTES_MAX)
      if (ticket === undefined) return refused('malformed', 'ticket: as the challenge gave it')
      const kept = open(ticket, expected.challenge)
      if (kept === undefined) {
        return refused('challenge-mismatch', 'the ticket is not one of this nonce')
      }
      return verifyTpm(shown, { ...expected, kept }, policy)
    },
  }
}
