// From the configuration's section `attestation` to what the verifiers judge by: reads the files it
// names. Owns nothing; every problem is told at once, with its key, its file and what to do. Called
// by config-source.ts at start and at each reload, and by `datanet check`.

import { createPublicKey, type KeyObject } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import type { AndroidKeyPolicy } from '../attestation/android-key.ts'
import { readRevocationList } from '../attestation/android-revocation.ts'
import type { EatPolicy } from '../attestation/eat.ts'
import { readEndorsements } from '../attestation/eat-endorsements.ts'
import type { PlayIntegrityPolicy } from '../attestation/play-integrity.ts'
import { TPM_VENDOR_ROOTS } from '../attestation/roots/tpm.ts'
import { TPM_VENDOR_INTERMEDIATES } from '../attestation/roots/tpm-intermediates.ts'
import { readTpmRoots } from '../attestation/tpm-chain.ts'
import type { TpmPolicy } from '../attestation/tpm-credential.ts'
import type { AttestationConfig, Finding } from '../config/config.ts'
import type { Policies } from './attestation.ts'

/** Google's list of revoked certificates has 300 KB, all TPM makers' roots together 1 MB. */
const FILE_BYTES_MAX = 8 * 1024 * 1024
const LIST_URL = 'https://android.googleapis.com/attestation/status'

interface Reading {
  /** Where a path of the configuration leads. */
  readonly at: (path: string) => string
  /** Unix seconds. */
  readonly nowSeconds: number
  readonly report: (path: Finding['path'], message: string) => void
  readonly warn: (path: Finding['path'], message: string) => void
}

type Section<Scheme extends keyof AttestationConfig> = NonNullable<AttestationConfig[Scheme]>

interface Content {
  readonly octets: Buffer
  /** Unix seconds. */
  readonly modifiedSeconds: number
}

/** A file; undefined where it can't be read, which is reported. */
function contentOf(file: string, key: Finding['path'], o: Reading): Content | undefined {
  const path = o.at(file)
  try {
    const facts = statSync(path)
    if (!facts.isFile()) throw new Error('it is no file')
    if (facts.size > FILE_BYTES_MAX) throw new Error(`more than ${FILE_BYTES_MAX} octets`)
    return { octets: readFileSync(path), modifiedSeconds: Math.floor(facts.mtimeMs / 1_000) }
  } catch (error) {
    const isAbsent = error instanceof Error && 'code' in error && error.code === 'ENOENT'
    const why = isAbsent ? 'does not exist' : `can't be read (${textOf(error)})`
    o.report(key, `names ${path}, which ${why}; put it there or correct the path`)
    return undefined
  }
}

const textOf = (error: unknown): string =>
  error instanceof Error ? ('code' in error ? String(error.code) : error.message) : String(error)

function jsonOf({ octets }: Content): unknown {
  try {
    return JSON.parse(octets.toString())
  } catch {
    return undefined
  }
}

const builtIn = readTpmRoots(
  [...TPM_VENDOR_ROOTS, ...TPM_VENDOR_INTERMEDIATES].map((pem) => ({
    ...{ name: 'built in', content: Buffer.from(pem) },
  })),
)

function tpmPolicy(config: Section<'tpm'>, o: Reading): TpmPolicy {
  const roots = config.roots.flatMap((file, index) => {
    const key = ['attestation', 'tpm', 'roots', index]
    const content = contentOf(file, key, o)
    if (content === undefined) return []
    const read = readTpmRoots([{ name: file, content: content.octets }])
    if (read.wrong.length > 0) {
      const what = 'is not all certificates of authorities (PEM, one or many, or one in DER)'
      o.report(key, `names ${o.at(file)}, which ${what}; take out what is something else`)
    }
    return read.roots
  })
  const { endorsementKeys, revoked, pcrs } = config
  const digests = pcrs?.digests.map((digest) => Buffer.from(digest, 'hex')) ?? []
  return {
    roots: [...builtIn.roots, ...roots],
    endorsementKeys: new Set(endorsementKeys),
    revoked: new Set(revoked),
    ...(pcrs !== undefined && { pcrs: { registers: pcrs.registers, digests } }),
  }
}

/** The file's time of change is taken for the time of the fetch. */
function androidPolicy(config: Section<'androidKey'>, o: Reading): AndroidKeyPolicy | undefined {
  const { apps, level, bootKeys, revocationList: file, revocationMaxAgeMs } = config
  const key = ['attestation', 'android_key', 'revocation_list']
  const content = contentOf(file, key, o)
  if (content === undefined) return undefined
  const { modifiedSeconds } = content
  const revocation = readRevocationList(jsonOf(content), modifiedSeconds)
  if (revocation === undefined) {
    const how = `fetch it: curl -o ${o.at(file)} ${LIST_URL}`
    o.report(key, `names ${o.at(file)}, which is not Google's list in JSON; ${how}`)
    return undefined
  }
  const revocationAgeMaxSeconds = revocationMaxAgeMs / 1_000
  if (o.nowSeconds - modifiedSeconds > revocationAgeMaxSeconds) {
    const what = 'older than revocation_max_age: no Android device is taken'
    o.warn(key, `is ${what}; fetch it anew from ${LIST_URL} and reload`)
  }
  return { apps, level, bootKeys, revocation, revocationAgeMaxSeconds }
}

function eatPolicy(config: Section<'eat'>, o: Reading): EatPolicy | undefined {
  const { endorsements: file, maxAgeMs, ...rest } = config
  const key = ['attestation', 'eat', 'endorsements']
  const content = contentOf(file, key, o)
  if (content === undefined) return undefined
  const endorsed = readEndorsements(jsonOf(content))
  if ('wrong' in endorsed) {
    o.report(key, `names ${o.at(file)}, which does not fit: ${endorsed.wrong}; correct the file`)
    return undefined
  }
  return { ...rest, endorsed, maxAgeSeconds: maxAgeMs / 1_000 }
}

const PLAY = ['attestation', 'play_integrity']
const PLAY_KEY_BYTES = 32

function playPolicy(
  { apps, secret, verificationKey: text, device, maxAgeMs }: Section<'playIntegrity'>,
  o: Reading,
): PlayIntegrityPolicy | undefined {
  // Both as the Play Console shows them.
  const decryptionKey = Buffer.from(secret.text.toString(), 'base64')
  const isKey = decryptionKey.length === PLAY_KEY_BYTES
  if (!isKey) {
    const what = `must be ${PLAY_KEY_BYTES} octets in base64`
    o.report([...PLAY, secret.key], `${what}: the response decryption key of the Play Console`)
  }
  const verificationKey = p256Of(text)
  if (verificationKey === undefined) {
    const what = 'must be a public key on P-256 (SubjectPublicKeyInfo) in base64'
    const which = 'the response verification key of the Play Console'
    o.report([...PLAY, 'verification_key'], `${what}: ${which}`)
  }
  if (!isKey || verificationKey === undefined) return undefined
  return { apps, decryptionKey, verificationKey, device, ageMaxSeconds: maxAgeMs / 1_000 }
}

function p256Of(text: string): KeyObject | undefined {
  try {
    const der = Buffer.from(text, 'base64')
    const key = createPublicKey({ key: der, format: 'der', type: 'spki' })
    return key.asymmetricKeyDetails?.namedCurve === 'prime256v1' ? key : undefined
  } catch {
    return undefined
  }
}

/**
 * With any problem the policies are not to be used. `at` makes a path of the configuration
 * absolute.
 */
export function readPolicies(
  { tpm, androidKey, appAttest, eat, playIntegrity }: AttestationConfig,
  at: (path: string) => string,
  nowSeconds: number,
): {
  readonly policies: Policies
  readonly problems: readonly Finding[]
  readonly warnings: readonly Finding[]
} {
  const problems: Finding[] = []
  const warnings: Finding[] = []
  const o: Reading = {
    ...{ at, nowSeconds },
    report: (path, message) => void problems.push({ path, message }),
    warn: (path, message) => void warnings.push({ path, message }),
  }
  const policies: Policies = {
    tpm: tpm && tpmPolicy(tpm, o),
    androidKey: androidKey && androidPolicy(androidKey, o),
    appAttest: appAttest && { appIds: appAttest.apps, environments: appAttest.environments },
    eat: eat && eatPolicy(eat, o),
    playIntegrity: playIntegrity && playPolicy(playIntegrity, o),
  }
  return { policies, problems, warnings }
}
