// Which schemes this server takes for metering keys, and what each is worth. Owns the list: a few
// lines a scheme. Refuses what is not in it, and what the operator has no policy for. Called by
// enrolment.ts.

import type { MeteringKey } from '../accounting/session.ts'
import { type AndroidKeyPolicy, verifyAndroidKey } from '../attestation/android-key.ts'
import { type AppAttestPolicy, verifyAppAttest } from '../attestation/app-attest.ts'
import { type EatPolicy, verifyEat } from '../attestation/eat.ts'
import { refused } from '../attestation/evidence.ts'
import { type PlayIntegrityPolicy, verifyPlayIntegrity } from '../attestation/play-integrity.ts'
import { type ExpectedKey, type ShownKey, verifySoftware } from '../attestation/software.ts'
import type { TpmPolicy } from '../attestation/tpm-credential.ts'
import { refuseScheme } from '../attestation/unsupported.ts'
import { EVIDENCE_BYTES_MAX, type Expected, type Refused } from '../attestation/verifier.ts'
import { createTpmEnrolment, type TpmBegun, type TpmEnrolment } from './tpm-enrolment.ts'

/** What the operator takes, read from the configuration: a scheme without a policy is refused. */
export interface Policies {
  readonly tpm?: TpmPolicy | undefined
  readonly androidKey?: AndroidKeyPolicy | undefined
  readonly appAttest?: AppAttestPolicy | undefined
  readonly eat?: EatPolicy | undefined
  readonly playIntegrity?: PlayIntegrityPolicy | undefined
}

/** One scheme: its verifier with the policy of the operator, and what a key of it is worth. */
export interface Verifier {
  readonly trust: MeteringKey['trust']
  verify(evidence: unknown, expected: ExpectedKey): ShownKey | Refused | Promise<ShownKey | Refused>
  /** For a scheme whose device must be told something before it can make its evidence. */
  begin?(request: unknown, expected: Expected): TpmBegun | Refused
}

/** By the name a device says; undefined: not taken. */
export interface Verifiers {
  get(scheme: string): Verifier | undefined
}

/** Where the section of each scheme is in the configuration. */
const SECTIONS: ReadonlyMap<string, string> = new Map([
  ['tpm', 'attestation.tpm'],
  ['android-key', 'attestation.android_key'],
  ['app-attest', 'attestation.app_attest'],
  ['eat', 'attestation.eat'],
  ['play-integrity', 'attestation.play_integrity'],
])

/** Names that metrics may have as a label. */
export const isKnownScheme = (scheme: string): boolean =>
  scheme === 'software' || SECTIONS.has(scheme)

/** Both steps of a TPM, which share what they seal. */
const tpmVerifier = (twoSteps: TpmEnrolment, policy: TpmPolicy): Verifier => ({
  trust: 'hardware',
  begin: (request, expected) => twoSteps.begin(request, expected, policy),
  verify: (evidence, expected) => twoSteps.verify(evidence, expected, policy),
})

function verifierOf(
  scheme: string,
  { tpm, androidKey, appAttest, eat, playIntegrity }: Policies,
  twoSteps: TpmEnrolment,
): Verifier | undefined {
  const trust = 'hardware'
  switch (scheme) {
    case 'software':
      return { trust: 'software', verify: verifySoftware }
    case 'tpm':
      return tpm && tpmVerifier(twoSteps, tpm)
    case 'android-key':
      return (
        androidKey && { trust, verify: (e, expected) => verifyAndroidKey(e, expected, androidKey) }
      )
    case 'app-attest':
      return (
        appAttest && { trust, verify: (e, expected) => verifyAppAttest(e, expected, appAttest) }
      )
    case 'eat':
      return eat && { trust, verify: (e, expected) => verifyEat(e, expected, eat) }
    case 'play-integrity':
      return (
        playIntegrity && {
          // It vouches for app and device, and says nothing of where the key lives.
          trust: 'software',
          verify: (e, expected) => verifyPlayIntegrity(e, expected, playIntegrity),
        }
      )
    default:
      return undefined
  }
}

/** All that this server takes now; `policies` are those of the configuration in force. */
export function createVerifiers(
  policies: () => Policies,
  random: (length: number) => Buffer,
): Verifiers {
  const twoSteps = createTpmEnrolment(random)
  return { get: (scheme) => verifierOf(scheme, policies(), twoSteps) }
}

function notTaken(scheme: string): Refused {
  const section = SECTIONS.get(scheme)
  if (section === undefined) return refuseScheme(scheme)
  return refused('unsupported', `this operator does not take ${scheme}: it has no ${section}`)
}

/** The first step of a key in a TPM, the one scheme that has two. */
export function beginTpmKey(
  verifiers: Verifiers,
  request: unknown,
  expected: Expected,
): TpmBegun | Refused {
  return verifiers.get('tpm')?.begin?.(request, expected) ?? notTaken('tpm')
}

/** Asks the scheme's verifier; the key it speaks of must be the one that is to be enrolled. */
export async function showKey(
  verifiers: Verifiers,
  scheme: string,
  evidence: unknown,
  expected: ExpectedKey,
): Promise<(ShownKey & { readonly trust: MeteringKey['trust'] }) | Refused> {
  const verifier = verifiers.get(scheme)
  if (verifier === undefined) return notTaken(scheme)
  if ((JSON.stringify(evidence) ?? '').length > EVIDENCE_BYTES_MAX) {
    return refused('malformed', `evidence: at most ${EVIDENCE_BYTES_MAX} characters of JSON`)
  }
  const shown = await verifier.verify(evidence, expected)
  if (!shown.ok) return shown
  if (!shown.publicKey.equals(expected.publicKey)) {
    return refused('key-mismatch', 'the evidence is for another key than the one to be enrolled')
  }
  return { ...shown, trust: verifier.trust }
}
