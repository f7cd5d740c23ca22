// Which schemes this server takes for metering keys, and what each is worth. Owns the list: one
// line a scheme. Refuses what is not in it. Called by enrolment.ts.

import type { MeteringKey } from '../accounting/session.ts'
import { refused } from '../attestation/evidence.ts'
import { type ExpectedKey, type ShownKey, verifySoftware } from '../attestation/software.ts'
import { refuseScheme } from '../attestation/unsupported.ts'
import { EVIDENCE_BYTES_MAX, type Refused } from '../attestation/verifier.ts'

/** One scheme: its verifier with the policy of the operator, and what a key of it is worth. */
export interface Verifier {
  readonly trust: MeteringKey['trust']
  verify(evidence: unknown, expected: ExpectedKey): ShownKey | Refused
}

/** By the name a device says. */
export type Verifiers = ReadonlyMap<string, Verifier>

/** All that this server takes. */
export const createVerifiers = (): Verifiers =>
  new Map<string, Verifier>([['software', { trust: 'software', verify: verifySoftware }]])

/** Asks the scheme's verifier; the key it speaks of must be the one that is to be enrolled. */
export function showKey(
  verifiers: Verifiers,
  scheme: string,
  evidence: unknown,
  expected: ExpectedKey,
): (ShownKey & { readonly trust: MeteringKey['trust'] }) | Refused {
  const verifier = verifiers.get(scheme)
  if (verifier === undefined) return refuseScheme(scheme)
  if ((JSON.stringify(evidence) ?? '').length > EVIDENCE_BYTES_MAX) {
    return refused('malformed', `evidence: at most ${EVIDENCE_BYTES_MAX} characters of JSON`)
  }
  const shown = verifier.verify(evidence, expected)
  if (!shown.ok) return shown
  if (!shown.publicKey.equals(expected.publicKey)) {
    return refused('key-mismatch', 'the evidence is for another key than the one to be enrolled')
  }
  return { ...shown, trust: verifier.trust }
}
