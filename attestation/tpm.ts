// The second step of a TPM's enrolment: the secret of tpm-credential.ts came back, so this
// attestation key lives in that TPM; and the attestation key says of the metering key what the TPM
// knows of it (TPM2_Certify), over our challenge. Where the policy asks for it, also in which state
// the device was started (TPM2_Quote). Pure. Called by server/.

import { timingSafeEqual, verify } from 'node:crypto'
import { refused } from './evidence.ts'
import {
  hasAttributes,
  keyOfPublic,
  PUBLIC_OCTETS_MAX,
  type TpmKept,
  type TpmPolicy,
} from './tpm-credential.ts'
import { fieldsOf, octetsOf } from './tpm-fields.ts'
import {
  OBJECT,
  readAttest,
  readEcdsaSignature,
  readTpm2bPublic,
  type TpmAttest,
  type TpmPublic,
  type TpmQuote,
} from './tpm-structures.ts'
import type { Expected, Refused, Verdict } from './verifier.ts'

/** What the server knows at the second step. */
export interface TpmExpected extends Expected {
  /** Of makeTpmCredential, for this enrolment. */
  readonly kept: TpmKept
}

// An attestation has some 150 octets, a quote of every bank 40 more; a signature has 72.
const ATTEST_OCTETS_MAX = 512
const SIGNATURE_OCTETS_MAX = 128
// TPM_ALG_SHA256: the bank of registers that policies speak of.
const SHA256_BANK = 0x000b

interface Evidence {
  readonly secret: Buffer
  readonly meteringKey: TpmPublic
  readonly certify: Signed
  readonly quote: Signed | undefined
}

interface Signed {
  readonly attest: TpmAttest
  readonly octets: Buffer
  readonly signature: Buffer
}

function signedOf(value: unknown): Signed | undefined {
  const fields = fieldsOf(value, ['attest', 'signature'])
  const octets = octetsOf(fields?.['attest'], ATTEST_OCTETS_MAX)
  const attest = octets === undefined ? undefined : readAttest(octets)
  const tagged = octetsOf(fields?.['signature'], SIGNATURE_OCTETS_MAX)
  const signature = tagged === undefined ? undefined : readEcdsaSignature(tagged)
  if (octets === undefined || attest === undefined || signature === undefined) return undefined
  return { attest, octets, signature }
}

function evidenceOf(value: unknown): Evidence | string {
  const fields = fieldsOf(value, ['secret', 'meteringPublic', 'certify'], ['quote'])
  if (fields === undefined) return 'secret, meteringPublic, certify and at most quote'
  const secret = octetsOf(fields['secret'], 32)
  if (secret?.length !== 32) return 'secret has 32 octets'
  const area = octetsOf(fields['meteringPublic'], PUBLIC_OCTETS_MAX)
  const meteringKey = area === undefined ? undefined : readTpm2bPublic(area)
  if (meteringKey === undefined || keyOfPublic(meteringKey) === undefined) {
    return 'meteringPublic cannot be read'
  }
  const certify = signedOf(fields['certify'])
  if (certify === undefined) return 'certify cannot be read, or no TPM made it'
  const quote = fields['quote'] === undefined ? undefined : signedOf(fields['quote'])
  if (quote === undefined && 'quote' in fields) return 'quote cannot be read, or no TPM made it'
  return { secret, meteringKey, certify, quote }
}

/** Born in the TPM, never to leave it, signs the digests that its owner gives it. */
function isMeteringKey(area: TpmPublic): boolean {
  const needed =
    OBJECT.fixedTpm |
    OBJECT.fixedParent |
    OBJECT.sensitiveDataOrigin |
    OBJECT.userWithAuth |
    OBJECT.sign
  const banned = OBJECT.restricted | OBJECT.decrypt
  const { unique, isEcdsa, nameAlg } = area
  const isP256 = unique.type === 'ecc' && unique.curve === 'P-256'
  return isP256 && isEcdsa && nameAlg === 'sha256' && hasAttributes(area, needed, banned)
}

/** Whether the attestation key has signed this over our challenge. */
function attested(what: string, signed: Signed, ak: TpmPublic, o: Expected): Refused | undefined {
  const key = keyOfPublic(ak)
  if (key === undefined) return refused('malformed', 'the attestation key cannot be read')
  const options = { key, dsaEncoding: 'ieee-p1363' } as const
  if (!verify('sha256', signed.octets, options, signed.signature)) {
    return refused('bad-signature', `of ${what}`)
  }
  if (!signed.attest.extraData.equals(o.challenge)) {
    return refused('challenge-mismatch', `${what} is over something else`)
  }
  return undefined
}

function registersAsAsked({ selections, digest }: TpmQuote, policy: TpmPolicy): boolean {
  const { pcrs } = policy
  if (pcrs === undefined) return true
  // A bank of which nothing is selected adds nothing to the digest (Part 3 §18.4).
  const banks = selections.filter(({ registers }) => registers.length > 0)
  const [bank] = banks
  const asked = [...new Set(pcrs.registers)].sort((a, b) => a - b)
  const isAsked = banks.length === 1 && bank?.hash === SHA256_BANK
  if (!isAsked || bank.registers.join() !== asked.join()) return false
  return pcrs.digests.some((allowed) => allowed.equals(digest))
}

function checkQuote(
  quote: Signed | undefined,
  ak: TpmPublic,
  expected: TpmExpected,
  policy: TpmPolicy,
): Refused | undefined {
  if (quote === undefined) {
    return policy.pcrs === undefined ? undefined : refused('weak-device', 'a quote is asked for')
  }
  const wrong = attested('quote', quote, ak, expected)
  if (wrong !== undefined) return wrong
  if (quote.attest.type !== 'quote') return refused('malformed', 'quote is of something else')
  if (registersAsAsked(quote.attest, policy)) return undefined
  return refused('weak-device', 'other registers, or other values in them')
}

/**
 * Evidence is `{secret, meteringPublic, certify: {attest, signature}, quote?: {attest, signature}}`
 * in base64url: what TPM2_ActivateCredential opened, a TPM2B_PUBLIC, and each time a TPMS_ATTEST
 * (no length in front) with its TPMT_SIGNATURE.
 */
export function verifyTpm(evidence: unknown, expected: TpmExpected, policy: TpmPolicy): Verdict {
  const read = evidenceOf(evidence)
  if (typeof read === 'string') return refused('malformed', read)
  const { kept } = expected
  const ak = readTpm2bPublic(kept.akPublic)
  if (ak === undefined) return refused('malformed', 'the attestation key cannot be read')
  if (!timingSafeEqual(read.secret, kept.secret)) {
    return refused('challenge-mismatch', 'the TPM has not opened the secret')
  }
  const wrong = attested('certify', read.certify, ak, expected)
  if (wrong !== undefined) return wrong
  const { attest } = read.certify
  if (attest.type !== 'certify') return refused('malformed', 'certify is of something else')
  const { meteringKey } = read
  if (!attest.name.equals(meteringKey.name)) {
    return refused('key-mismatch', 'another key is certified')
  }
  if (!isMeteringKey(meteringKey)) {
    return refused('weak-key', 'the metering key could be known outside the TPM, or is restricted')
  }
  const badQuote = checkQuote(read.quote, ak, expected, policy)
  if (badQuote !== undefined) return badQuote
  const { unique } = meteringKey
  if (unique.type !== 'ecc') return refused('weak-key', 'the metering key is not P-256')
  const publicKey = Buffer.concat([Buffer.of(4), unique.x, unique.y])
  const { endorsementKey, manufacturer } = kept
  const registers =
    read.quote?.attest.type === 'quote' ? { pcrs: read.quote.attest.digest.toString('hex') } : {}
  return {
    ok: true,
    scheme: 'tpm',
    publicKey,
    facts: { manufacturer, endorsementKey, ...registers },
  }
}
