// One piece of good evidence of each scheme, out of the vectors, ready to be verified again and
// again. A scheme whose verifier or vectors are not there has no slot. Called by attestation.ts.

import { X509Certificate } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { CompactEncrypt } from 'jose'
import { boundNonce, verifyEat } from '../attestation/eat.ts'
import { pointOfJwk, publicKeyOf } from '../attestation/p256.ts'
import type { Expected, Verdict } from '../attestation/verifier.ts'
import {
  makeCwt,
  makeJwt,
  type PsaVector,
  pointOfVector,
  privateKey,
  publicOf,
  vector,
} from '../test/attestation/eat-maker.ts'

export interface Slot {
  readonly name: string
  readonly evidence: unknown
  readonly verify: (evidence: unknown) => Verdict | Promise<Verdict>
}

type Verifier = (
  evidence: unknown,
  expected: Expected,
  policy: unknown,
) => Verdict | Promise<Verdict>

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const VECTORS = `${ROOT}test/vectors/attestation/`
const DAY_SECONDS = 86_400

const secondsOf = (date: string): number => Date.parse(date) / 1000
const base64url = (octets: Uint8Array): string => Buffer.from(octets).toString('base64url')
const json = (file: string): Record<string, unknown> =>
  JSON.parse(readFileSync(`${VECTORS}${file}`, 'utf8')) as Record<string, unknown>

/** What a file of the attestation room exports; undefined where there is none. */
async function exportsOf(name: string): Promise<Record<string, unknown> | undefined> {
  const file = `${ROOT}attestation/${name}.ts`
  return existsSync(file) ? ((await import(file)) as Record<string, unknown>) : undefined
}

/** A PSA token with the key of the vector of RFC 9783, for a challenge of ours. */
function psaSlot(): Slot {
  const psa = vector<PsaVector>('psa-rfc9783.json')
  const metering = pointOfJwk(publicOf(psa.privateKeyJwk))
  if (metering === undefined) throw new Error('the vector has no key')
  const challenge = Buffer.alloc(32, 5)
  const hash = Buffer.alloc(32, 3)
  const claims = new Map<number, unknown>([
    [10, boundNonce(challenge, metering)],
    [256, Buffer.from(psa.instance, 'base64url')],
    [265, psa.profile],
    [2394, psa.clientId],
    [2395, 0x3000],
    [2396, hash],
    [
      2399,
      [
        new Map<number, unknown>([
          [1, 'PRoT'],
          [2, hash],
          [5, hash],
        ]),
      ],
    ],
  ])
  const token = makeCwt(claims, privateKey(psa.privateKeyJwk))
  const endorsement = { by: 'instance-id' as const, id: psa.instance, model: 'vector' }
  const policy = {
    endorsed: [{ ...endorsement, publicKeyJwk: publicOf(psa.privateKeyJwk) }],
    profiles: [psa.profile],
    clientIds: [psa.clientId],
    ...{ software: [], maxAgeSeconds: 600 },
  }
  const expected = { challenge, nowSeconds: secondsOf('2026-01-01') }
  return {
    name: 'eat, PSA token',
    evidence: { form: 'cwt', token, publicKey: base64url(metering) },
    verify: (evidence) => verifyEat(evidence, expected, policy),
  }
}

async function appAttestSlot(): Promise<Slot | undefined> {
  const file = 'app-attest/attestation-production.json'
  const verify = (await exportsOf('app-attest'))?.['verifyAppAttest'] as Verifier | undefined
  if (verify === undefined || !existsSync(`${VECTORS}${file}`)) return undefined
  const { attestation, keyId, challenge } = json(file)
  const octets = (text: unknown): Buffer => Buffer.from(String(text), 'base64')
  const policy = {
    appIds: ['V8H6LQ9448.io.uebelacker.AppAttestExample'],
    environments: ['production'],
  }
  const expected = { challenge: octets(challenge), nowSeconds: secondsOf('2024-02-08') }
  return {
    name: 'app-attest',
    evidence: { keyId: base64url(octets(keyId)), attestation: base64url(octets(attestation)) },
    verify: (evidence) => verify(evidence, expected, policy),
  }
}

async function androidKeySlot(): Promise<Slot | undefined> {
  const file = 'android-key/tegu-keymint400-tee.pem'
  const verify = (await exportsOf('android-key'))?.['verifyAndroidKey'] as Verifier | undefined
  const readList = (await exportsOf('android-revocation'))?.['readRevocationList'] as
    | ((list: unknown, nowSeconds: number) => unknown)
    | undefined
  if (verify === undefined || readList === undefined || !existsSync(`${VECTORS}${file}`)) {
    return undefined
  }
  const nowSeconds = secondsOf('2026-02-23')
  const signer = '103938ee4537e59e8ee792f654504fb8346fc6b346d0bbc4415fc339fcfc8ec1'
  const policy = {
    apps: [{ packageName: 'com.google.android.attestation', signerSha256: [signer] }],
    ...{ level: 'tee', bootKeys: [], revocationAgeMaxSeconds: DAY_SECONDS },
    revocation: readList(json('android-key/status.json'), nowSeconds),
  }
  const pem = readFileSync(`${VECTORS}${file}`, 'utf8')
  const bodies = pem.match(/(?<=-----BEGIN CERTIFICATE-----)[^-]+/g) ?? []
  const x5c = bodies.map((body) => base64url(Buffer.from(body, 'base64')))
  const challenge = Buffer.from('6417f92c-daef-4cc1-8828-5bb39338ffd5')
  return {
    name: 'android-key',
    evidence: { x5c },
    verify: (evidence) => verify(evidence, { challenge, nowSeconds }, policy),
  }
}

/** The second step of an enrolment: the first makes only a credential. */
async function tpmSlot(): Promise<Slot | undefined> {
  const file = 'tpm/ecc.json'
  const verify = (await exportsOf('tpm'))?.['verifyTpm'] as Verifier | undefined
  if (verify === undefined || !existsSync(`${VECTORS}${file}`)) return undefined
  const octets = (text: unknown): Buffer => Buffer.from(String(text), 'base64url')
  const { root, second, challenge, nowSeconds, kept } = json(file)
  const { secret, akPublic, ...texts } = kept as Readonly<Record<string, string>>
  const expected = {
    ...{ challenge: octets(challenge), nowSeconds: Number(nowSeconds) },
    kept: { ...texts, secret: octets(secret), akPublic: octets(akPublic) },
  }
  const policy = { roots: [new X509Certificate(octets(root))] }
  return {
    name: 'tpm, certify and quote',
    evidence: second,
    verify: (evidence) => verify(evidence, expected, policy),
  }
}

/** No token with its keys is published: one is made as Google makes them, for keys of ours. */
async function playIntegritySlot(): Promise<Slot | undefined> {
  const exported = await exportsOf('play-integrity')
  const verify = exported?.['verifyPlayIntegrity'] as Verifier | undefined
  const playNonce = exported?.['playNonce'] as
    | ((challenge: Buffer, publicKey: Buffer) => string)
    | undefined
  if (verify === undefined || playNonce === undefined) return undefined
  const { privateKeyJwk } = vector<PsaVector>('psa-rfc9783.json')
  const publicKey = pointOfVector(privateKeyJwk)
  const [challenge, decryptionKey] = [Buffer.alloc(32, 5), Buffer.alloc(32, 6)]
  const nowSeconds = secondsOf('2026-01-01')
  const [packageName, signer] = ['org.example.datanet', Buffer.alloc(32, 7)]
  const app = { packageName, certificateSha256Digest: [base64url(signer)] }
  const request = { requestPackageName: packageName, nonce: playNonce(challenge, publicKey) }
  const payload = {
    requestDetails: { ...request, timestampMillis: `${nowSeconds * 1000}` },
    appIntegrity: { appRecognitionVerdict: 'PLAY_RECOGNIZED', ...app, versionCode: '1' },
    deviceIntegrity: { deviceRecognitionVerdict: ['MEETS_DEVICE_INTEGRITY'] },
    accountDetails: { appLicensingVerdict: 'LICENSED' },
  }
  const signed = Buffer.from(makeJwt(payload, privateKey(privateKeyJwk)))
  const token = await new CompactEncrypt(signed)
    .setProtectedHeader({ alg: 'A256KW', enc: 'A256GCM' })
    .encrypt(decryptionKey)
  const policy = {
    ...{ decryptionKey, verificationKey: publicKeyOf(publicKey) },
    apps: [{ packageName, signerSha256: [signer.toString('hex')] }],
    ...{ device: 'device', ageMaxSeconds: 600 },
  }
  return {
    name: 'play-integrity, made here',
    evidence: { token, publicKey: base64url(publicKey) },
    verify: (evidence) => verify(evidence, { challenge, nowSeconds }, policy),
  }
}

/** All that are there, and the names of those that are not. */
export async function schemeSlots(): Promise<{ slots: Slot[]; missing: string[] }> {
  const optional = [
    ['tpm', await tpmSlot()],
    ['app-attest', await appAttestSlot()],
    ['android-key', await androidKeySlot()],
    ['play-integrity', await playIntegritySlot()],
  ] as const
  const missing = optional.filter(([, slot]) => slot === undefined).map(([name]) => name)
  return { slots: [psaSlot(), ...optional.flatMap(([, slot]) => slot ?? [])], missing }
}
