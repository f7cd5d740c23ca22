// Android Key Attestation: a certificate over a key in the keystore, with an extension in which the
// secure hardware says what the key is, which app asked and how the device was started. Pure.
// Refuses keys in software, keys that may do more than sign, unlocked devices, other apps.
// Called with the body of a request by the server's door for metering keys.
// https://source.android.com/docs/security/features/keystore/attestation

import type { X509Certificate } from 'node:crypto'
import {
  type AuthorizationList,
  id_ce_keyDescription,
  KeyMintKeyDescription,
  VerifiedBootState,
} from '@peculiar/asn1-android'
import { AsnParser } from '@peculiar/asn1-schema'
import type { Asn1 } from 'node-forge/lib/asn1.js'
import { checkRevocation, type RevocationList } from './android-revocation.ts'
import { membersOf, octetsOf, refused } from './evidence.ts'
import { GOOGLE_ROOTS } from './roots/google.ts'
import type { Expected, Refused, Verdict } from './verifier.ts'
import {
  type Certificate,
  checkChain,
  contentOf,
  derOf,
  p256PointOf,
  partsOf,
  readCertificate,
} from './x509-chain.ts'

export interface AndroidApp {
  readonly packageName: string
  /** SHA-256 of the certificates that it may be signed with, lowercase hex. */
  readonly signerSha256: readonly string[]
}

export interface AndroidKeyPolicy {
  readonly apps: readonly AndroidApp[]
  /** The least that must hold the key: any secure environment, or a chip of its own. */
  readonly level: 'tee' | 'strongbox'
  /**
   * Verified-boot keys (SHA-256, lowercase hex) of systems that their owner signed and that are
   * taken all the same, when the device is locked. A maker's own system needs no entry.
   */
  readonly bootKeys: readonly string[]
  readonly revocation: RevocationList
  /** An older list is not believed, and nobody is attested by it. */
  readonly revocationAgeMaxSeconds: number
  /** Instead of the pinned ones, for tests. */
  readonly roots?: readonly X509Certificate[]
}

// Leaf, three of remote provisioning and a root are 5; the largest certificate seen has 1.4 KB.
const CERTIFICATES_MAX = 8
const CERTIFICATE_OCTETS_MAX = 8_192
/** Values of KeyMint's tags: hardware/interfaces/security/keymint/aidl. */
const PURPOSE_SIGN = 2
const PURPOSE_VERIFY = 3
const ALGORITHM_EC = 3
const CURVE_P256 = 1
const ORIGIN_GENERATED = 0
const LEVELS = ['Software', 'TrustedEnvironment', 'StrongBox'] as const

/**
 * `evidence` is `{ x5c }`: 1 to 8 certificates in DER, base64url, the key's own first; the root at
 * the end may be left out. Every certificate must be valid at `expected.nowSeconds`. The first
 * one's dates are the app's to choose, 1970 to 2048 unless it does, and prove nothing: how fresh
 * the key is follows from the challenge. The dates of those above it do count, so that a phone
 * whose factory certificates have run out is refused here.
 */
export function verifyAndroidKey(
  evidence: unknown,
  expected: Expected,
  policy: AndroidKeyPolicy,
): Verdict {
  const chain = readChain(evidence)
  const leaf = chain?.[0]
  if (chain === undefined || leaf === undefined) {
    return refused('malformed', 'not a list of certificates')
  }
  const { nowSeconds, challenge } = expected
  const wrong =
    checkChain(chain, policy.roots ?? GOOGLE_ROOTS, nowSeconds) ??
    checkRevocation(chain, policy.revocation, policy.revocationAgeMaxSeconds, nowSeconds)
  if (wrong !== undefined) return wrong
  // An attested key that may attest others could sign a certificate with an extension of its own
  // making: the one nearest the root is the hardware's, so it must be the only one, and the leaf's.
  if (chain.slice(1).some(({ extensions }) => extensions.has(id_ce_keyDescription))) {
    return refused('bad-chain', 'a key description above the leaf')
  }
  const description = readDescription(leaf)
  const publicKey = p256PointOf(leaf.x509.publicKey)
  if (description === undefined) return refused('malformed', 'no key description that is readable')
  if (publicKey === undefined) return refused('weak-key', 'not a key on P-256')
  const answered = Buffer.from(description.attestationChallenge.buffer)
  if (!answered.equals(challenge)) {
    return refused('challenge-mismatch', 'the key was made for another challenge')
  }
  const app = readApp(description)
  if (app === undefined) return refused('malformed', 'no readable attestationApplicationId')
  const weak =
    checkApp(app, policy) ?? checkKey(description, policy) ?? checkBoot(description, policy)
  if (weak !== undefined) return weak
  return { ok: true, scheme: 'android-key', publicKey, facts: factsOf(description, app) }
}

function readChain(evidence: unknown): Certificate[] | undefined {
  const x5c = membersOf(evidence, ['x5c'])?.x5c
  if (!Array.isArray(x5c) || x5c.length === 0 || x5c.length > CERTIFICATES_MAX) return undefined
  const chain: Certificate[] = []
  for (const text of x5c) {
    const der = octetsOf(text, CERTIFICATE_OCTETS_MAX)
    const certificate = der === undefined ? undefined : readCertificate(der)
    if (certificate === undefined) return undefined
    chain.push(certificate)
  }
  return chain
}

// Both readers are called after the signatures hold: what they read is the hardware's own.
function readDescription(leaf: Certificate): KeyMintKeyDescription | undefined {
  const octets = leaf.extensions.get(id_ce_keyDescription)
  if (octets === undefined) return undefined
  try {
    return AsnParser.parse(octets, KeyMintKeyDescription)
  } catch {
    return undefined
  }
}

interface App {
  readonly packages: readonly string[]
  readonly signers: readonly string[]
}

/** The system, not the secure hardware, writes down which app asked: softwareEnforced has it. */
function readApp({ softwareEnforced }: KeyMintKeyDescription): App | undefined {
  const octets = softwareEnforced.attestationApplicationId?.buffer
  if (octets === undefined) return undefined
  try {
    const [packages, signers] = partsOf(derOf(Buffer.from(octets)))
    const octetsIn = (node: Asn1 | undefined) => contentOf(node, 'octetString')
    return {
      packages: partsOf(packages, 'set').map((each) => octetsIn(partsOf(each)[0]).toString()),
      signers: partsOf(signers, 'set').map((each) => octetsIn(each).toString('hex')),
    }
  } catch {
    return undefined
  }
}

const hexOf = (octets: ArrayBuffer): string => Buffer.from(octets).toString('hex')

/** Apps that share a user id share their keys: every one that is named must be taken. */
function checkApp({ packages, signers }: App, policy: AndroidKeyPolicy): Refused | undefined {
  const isTaken = (name: string) =>
    policy.apps.some(
      ({ packageName, signerSha256 }) =>
        packageName === name && signers.every((signer) => signerSha256.includes(signer)),
    )
  if (packages.length > 0 && signers.length > 0 && packages.every(isTaken)) return undefined
  return refused('wrong-app', `app ${JSON.stringify(packages.join(' ').slice(0, 120))}`)
}

/** What the hardware enforces; what only the system says about a key does not count. */
function checkKey(description: KeyMintKeyDescription, policy: AndroidKeyPolicy) {
  const least = policy.level === 'strongbox' ? 2 : 1
  const { attestationSecurityLevel, keyMintSecurityLevel, hardwareEnforced: key } = description
  if (attestationSecurityLevel < least || keyMintSecurityLevel < least) {
    return refused('weak-key', `the key is in ${LEVELS[keyMintSecurityLevel] ?? 'nothing known'}`)
  }
  if (key.origin !== ORIGIN_GENERATED) return refused('weak-key', 'the key was not made there')
  if (key.algorithm !== ALGORITHM_EC || key.ecCurve !== CURVE_P256) {
    return refused('weak-key', 'not a key on P-256')
  }
  // Verifying takes no secret. Anything else, and ATTEST_KEY above all, would let it sign or open
  // what is not a report.
  const purposes = [...(key.purpose ?? [])]
  const signsOnly = purposes.every((each) => each === PURPOSE_SIGN || each === PURPOSE_VERIFY)
  if (!signsOnly || !purposes.includes(PURPOSE_SIGN)) {
    return refused('weak-key', `purposes ${purposes.join(' ')}`)
  }
  // Present, it has a NULL as its value: keys of any app, so that the app says nothing.
  const shared = [key, description.softwareEnforced].some((list) => list.allApplications === null)
  return shared ? refused('weak-key', 'a key for all applications') : undefined
}

/** Only a locked device with a system that is vouched for says truthfully which app asked. */
function checkBoot({ hardwareEnforced }: KeyMintKeyDescription, policy: AndroidKeyPolicy) {
  const boot = hardwareEnforced.rootOfTrust
  if (boot === undefined) return refused('weak-device', 'the hardware does not say how it started')
  if (boot.deviceLocked !== true) return refused('weak-device', 'the device is unlocked')
  if (boot.verifiedBootState === VerifiedBootState.verified) return undefined
  const own = boot.verifiedBootState === VerifiedBootState.selfSigned
  if (own && policy.bootKeys.includes(hexOf(boot.verifiedBootKey.buffer))) return undefined
  return refused('weak-device', `started ${VerifiedBootState[boot.verifiedBootState] ?? 'unknown'}`)
}

function factsOf(description: KeyMintKeyDescription, app: App): Record<string, string> {
  const hardware: AuthorizationList = description.hardwareEnforced
  const model = hardware.attestationIdModel?.buffer
  return {
    level: LEVELS[description.keyMintSecurityLevel] ?? 'unknown',
    attestationVersion: String(description.attestationVersion),
    app: app.packages.join(' ').slice(0, 120),
    patchLevel: String(hardware.osPatchLevel ?? 'unknown'),
    model: model === undefined ? 'unknown' : Buffer.from(model).toString().slice(0, 64),
  }
}
