// The section `attestation`: one part for each scheme of evidence for metering keys, with what its
// verifier has to know. Judges each value alone; the files it names are read by the server. Called
// by schema.ts and parse.ts.

import { z } from 'zod'
import {
  ANDROID_LEVELS,
  APPLE_ENVIRONMENTS,
  type AttestationConfig,
  PLAY_DEVICES,
} from './config.ts'
import {
  choice,
  DAY,
  duration,
  fileName,
  HOUR,
  integer,
  MINUTE,
  rejection,
  secretText,
  section,
  text,
} from './grammar.ts'

// Far above any operator's; each entry is compared with what one request brings.
const ENTRIES_MAX = 1000

function list<Item extends z.ZodType>(item: Item, what: string, from = 0) {
  const rule = `must be a list of ${from} to ${ENTRIES_MAX} ${what}`
  const error = (issue: { readonly input?: unknown }) => rejection(issue.input, rule)
  return z.array(item, { error }).min(from, { error }).max(ENTRIES_MAX, { error })
}

/** As sha256sum, openssl and keytool print it. */
const sha256 = text('must be a SHA-256: 64 hex digits in quotes', (input) => {
  const digits = input.replaceAll(':', '').toLowerCase()
  return /^[0-9a-f]{64}$/.test(digits) ? digits : undefined
})

const tpm = section({
  roots: list(fileName, 'files').default([]),
  endorsement_keys: list(sha256, 'SHA-256 of keys').default([]),
  revoked: list(sha256, 'SHA-256 of certificates').default([]),
  pcrs: section({
    // PC Client Platform TPM Profile §4.6.2: a bank has 24 registers.
    registers: list(integer(0, 23), 'numbers of registers', 1),
    digests: list(sha256, 'SHA-256', 1),
  }).optional(),
})

const apps = list(
  section({
    package: text('must be the name of an Android package, such as org.example.app', (input) =>
      /^[A-Za-z]\w*(\.[A-Za-z]\w*)+$/.test(input) ? input : undefined,
    ),
    signers: list(sha256, 'SHA-256 of certificates', 1),
  }),
  'apps: {package, signers}',
  1,
)

const androidKey = section({
  apps,
  level: choice(ANDROID_LEVELS).default('tee'),
  boot_keys: list(sha256, 'SHA-256 of keys').default([]),
  revocation_list: fileName,
  // Google's caches keep the list for a day; a key that leaked should not count for much longer.
  revocation_max_age: duration(HOUR, 90 * DAY).default(7 * DAY),
})

const appAttest = section({
  apps: list(
    text(
      'must be an app id: the team, a dot and the bundle, such as A1B2C3D4E5.org.app',
      (input) => (/^[A-Z0-9]{10}\.[A-Za-z0-9.-]+$/.test(input) ? input : undefined),
    ),
    'app ids',
    1,
  ),
  environments: list(choice(APPLE_ENVIRONMENTS), 'environments', 1).default(['production']),
})

const INT32 = 2 ** 31

const words = text('must be text of 1 to 256 characters', (input) =>
  input !== '' && input.length <= 256 ? input : undefined,
)

const eat = section({
  endorsements: fileName,
  profiles: list(words, 'profiles', 1),
  client_ids: list(integer(-INT32, INT32 - 1), 'client ids').default([]),
  software: list(words, 'names of software').default([]),
  signers: list(
    text('must be a hash of 32, 48 or 64 octets: hex digits in quotes', (input) =>
      /^([0-9a-f]{64}|[0-9a-f]{96}|[0-9a-f]{128})$/i.test(input)
        ? Buffer.from(input, 'hex').toString('base64url')
        : undefined,
    ),
    'hashes',
    1,
  ).optional(),
  max_age: duration(MINUTE, DAY).default(5 * MINUTE),
}).superRefine(({ client_ids, software }, context) => {
  if (client_ids.length + software.length > 0) return
  const message = 'and software are both empty: no token would be taken'
  context.addIssue({ code: 'custom', path: ['client_ids'], message })
})

const playIntegrity = section({
  apps,
  secret: secretText,
  secret_file: fileName.optional(),
  verification_key: words,
  device: choice(PLAY_DEVICES).default('device'),
  max_age: duration(MINUTE, HOUR).default(5 * MINUTE),
})

export const attestation = section({
  tpm: tpm.optional(),
  android_key: androidKey.optional(),
  app_attest: appAttest.optional(),
  eat: eat.optional(),
  play_integrity: playIntegrity.optional(),
})

type Parsed = z.output<typeof attestation>
type Of<Scheme extends keyof Parsed> = NonNullable<Parsed[Scheme]>

/** The octets of `play_integrity`'s secret, with the key that it was given by. */
export type PlaySecret = NonNullable<AttestationConfig['playIntegrity']>['secret']

/** Keyed as Config is. */
export function attestationConfig(
  parsed: Parsed,
  playSecret: PlaySecret | undefined,
): AttestationConfig {
  const { tpm, android_key, app_attest: appAttest, eat, play_integrity } = parsed
  return {
    ...(tpm !== undefined && { tpm: tpmConfig(tpm) }),
    ...(android_key !== undefined && { androidKey: androidConfig(android_key) }),
    ...(appAttest !== undefined && { appAttest }),
    ...(eat !== undefined && { eat: eatConfig(eat) }),
    ...(play_integrity !== undefined && { playIntegrity: playConfig(play_integrity, playSecret) }),
  }
}

function tpmConfig({ endorsement_keys: endorsementKeys, pcrs, ...rest }: Of<'tpm'>) {
  return { ...rest, endorsementKeys, ...(pcrs !== undefined && { pcrs }) }
}

const appsConfig = (parsed: Of<'android_key'>['apps']) =>
  parsed.map((app) => ({ packageName: app.package, signerSha256: app.signers }))

const androidConfig = (parsed: Of<'android_key'>) => ({
  apps: appsConfig(parsed.apps),
  level: parsed.level,
  bootKeys: parsed.boot_keys,
  revocationList: parsed.revocation_list,
  revocationMaxAgeMs: parsed.revocation_max_age,
})

const eatConfig = ({ client_ids: clientIds, max_age: maxAgeMs, signers, ...rest }: Of<'eat'>) => ({
  ...{ ...rest, clientIds, maxAgeMs },
  ...(signers !== undefined && { signers }),
})

function playConfig(parsed: Of<'play_integrity'>, secret: PlaySecret | undefined) {
  if (secret === undefined) throw new Error('attestation.play_integrity has no secret')
  const { apps: named, verification_key: verificationKey, device, max_age: maxAgeMs } = parsed
  return { apps: appsConfig(named), secret, verificationKey, device, maxAgeMs }
}
