// Every scheme over HTTP, by policies that are read from a configuration: the published evidence of
// real phones, against the pinned roots, at its clock and with its challenge; tokens that answer
// the challenge of the route, by keys that this operator endorses.

import { createHash, createPublicKey, X509Certificate } from 'node:crypto'
import { decode } from 'cborg'
import { CompactEncrypt, CompactSign } from 'jose'
import t from 'tap'
import { challengeOf } from '../../attestation/challenge.ts'
import { decodeStrict, readSign1 } from '../../attestation/cose.ts'
import { boundNonce } from '../../attestation/eat.ts'
import { playNonce } from '../../attestation/play-integrity.ts'
import type { Policies } from '../../server/attestation.ts'
import { accountNamed, domain } from '../accounting/vouchers.ts'
import {
  vector as eatVector,
  makeCwt,
  type PsaVector,
  privateKey,
  publicOf,
} from '../attestation/eat-maker.ts'
import { keyOf, pemChain, vector } from '../attestation/made-chain.ts'
import { attestationFolder } from './attestation-rig.ts'
import { enrolmentRig, grantOf, newMeteringKey } from './enrolment-rig.ts'

const { write, policiesOf } = attestationFolder(t)

const pointOf = (der: Uint8Array): Buffer => {
  const { x = '', y = '' } = new X509Certificate(der).publicKey.export({ format: 'jwk' })
  return Buffer.concat([Buffer.of(4), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')])
}

/** Evidence that was published, and what the operator writes to take it. */
interface Published {
  readonly scheme: string
  readonly evidence: unknown
  readonly publicKey: Buffer
  readonly challenge: Buffer
  readonly clock: string
  readonly part: string
}

const TEST_SIGNER = '103938ee4537e59e8ee792f654504fb8346fc6b346d0bbc4415fc339fcfc8ec1'
const EXAMPLE_SIGNER = '68856d1d06f637d6255face5b224db43a9514ace538bb1548b844480fcd85c87'

function android(file: string, challenge: string, clock: string, app: string, signer: string) {
  const chain = pemChain(`android-key/${file}`)
  const seconds = Date.parse(clock) / 1_000
  write(`${file}.json`, vector('android-key/status.json'), seconds)
  const apps = `apps: [{ package: ${app}, signers: ["${signer}"] }]`
  return {
    ...{ scheme: 'android-key', challenge: Buffer.from(challenge), clock },
    evidence: { x5c: chain.map((der) => der.toString('base64url')) },
    publicKey: pointOf(chain[0] ?? Buffer.of()),
    part: `android_key: { ${apps}, revocation_list: ${file}.json }`,
  }
}

const APP = 'V8H6LQ9448.io.uebelacker.AppAttestExample'

function apple(environment: string): Published {
  const fixture = JSON.parse(vector(`app-attest/attestation-${environment}.json`))
  const octets = Buffer.from(fixture.attestation, 'base64')
  const { attStmt } = decode(octets) as { readonly attStmt: { readonly x5c: Uint8Array[] } }
  const publicKey = pointOf(attStmt.x5c[0] ?? Buffer.of())
  const keyId = Buffer.from(fixture.keyId, 'base64').toString('base64url')
  return {
    ...{ scheme: 'app-attest', clock: '2024-02-08', publicKey },
    challenge: Buffer.from(fixture.challenge, 'base64'),
    evidence: { keyId, attestation: octets.toString('base64url') },
    part: `app_attest: { apps: [${APP}], environments: [${environment}] }`,
  }
}

const PIXEL_9 = 'com.google.android.attestation'
const PUBLISHED: readonly [name: string, Published][] = [
  [
    'Pixel 9a, trusted environment',
    android(
      'tegu-keymint400-tee.pem',
      '6417f92c-daef-4cc1-8828-5bb39338ffd5',
      ...(['2026-02-23', PIXEL_9, TEST_SIGNER] as const),
    ),
  ],
  [
    'Pixel 9a, StrongBox',
    android(
      'tegu-keymint300-strongbox.pem',
      '90578e1d-f5bf-4ccf-a27f-a4f4d89ee21f',
      ...(['2026-02-24', PIXEL_9, TEST_SIGNER] as const),
    ),
  ],
  [
    'Pixel, RSA root',
    android(
      'pixel-keymint200-tee.pem',
      'challenge',
      ...(['2023-03-10', 'com.google.attestationexample', EXAMPLE_SIGNER] as const),
    ),
  ],
  ['iPhone, production', apple('production')],
  ['iPhone, development', apple('development')],
]

async function rigOf(
  t: Parameters<typeof enrolmentRig>[0],
  policies: Policies,
  clock: string,
  challenge?: Buffer,
) {
  const rig = await enrolmentRig(t, { policies, ...(challenge && { challenge }) })
  rig.world.nowMs = Date.parse(clock)
  for (const name of ['alice', 'bob']) rig.deposit(name)
  return rig
}

type Rig = Awaited<ReturnType<typeof rigOf>>

async function enrolPublished(rig: Rig, o: Published, publicKey = o.publicKey) {
  const { nonce } = await rig.challenge(accountNamed('alice'))
  const { scheme, evidence } = o
  return rig.enrol({ ...grantOf('alice', publicKey, nonce), scheme, evidence })
}

for (const [name, one] of PUBLISHED) {
  t.test(`${name}: a key in hardware, by the pinned root`, async (t) => {
    const { scheme, clock, challenge, part } = one
    const policies = policiesOf(part)
    const rig = await rigOf(t, policies, clock, challenge)
    const { ledger, world } = rig
    t.match(await enrolPublished(rig, one), { status: 200, trust: 'hardware', scheme })
    t.match(ledger.meteringKeys(accountNamed('alice')), [{ scheme, trust: 'hardware' }])
    const other = await enrolPublished(rig, one, newMeteringKey().publicKey)
    t.match(other, { status: 422, error: { code: 'key-mismatch' } }, 'for another key')
    world.nowMs += 3_650 * 86_400_000
    const late = await enrolPublished(rig, one)
    const code = scheme === 'app-attest' ? 'expired' : /expired|revocation-stale/
    t.match(late, { status: 422, error: { code } }, 'ten years later')
    const real = await rigOf(t, policies, clock)
    const replayed = await enrolPublished(real, one)
    t.match(replayed, { status: 422, error: { code: 'challenge-mismatch' } }, "not the route's own")
    const none = await rigOf(t, {}, clock, challenge)
    const refused = await enrolPublished(none, one)
    const message = `this operator does not take ${scheme}: it has no attestation.`
    t.match(refused, { status: 422, error: { code: 'unsupported', message } })
    t.same(none.world.outcomes, [`${scheme} unsupported`], 'counted under its name')
  })
}

t.test('what the operator does not take of a scheme that it takes', async (t) => {
  const [[, pixel] = [], , , [, iphone] = []] = PUBLISHED
  if (pixel === undefined || iphone === undefined) throw new Error('no evidence')
  const cases: [name: string, one: Published, was: string, is: string, code: string][] = [
    ['another signer', pixel, TEST_SIGNER, EXAMPLE_SIGNER, 'wrong-app'],
    ['another package', pixel, PIXEL_9, 'org.datanet', 'wrong-app'],
    ['StrongBox only', pixel, 'apps:', 'level: strongbox, apps:', 'weak-key'],
    ['another app', iphone, 'AppAttestExample', 'Other', 'wrong-app'],
    ['development only', iphone, 'production', 'development', 'wrong-app'],
  ]
  for (const [name, one, was, is, code] of cases) {
    const policies = policiesOf(one.part.replace(was, is))
    const rig = await rigOf(t, policies, one.clock, one.challenge)
    t.match(await enrolPublished(rig, one), { status: 422, error: { code } }, name)
    t.same(rig.world.outcomes, [`${one.scheme} ${code}`], name)
  }
})

/** Enrols with evidence that is made for the challenge of the route. */
async function enrolMade(
  rig: Rig,
  scheme: string,
  make: (challenge: Buffer, publicKey: Buffer) => unknown,
  [owner, sender] = ['alice', 'alice'],
) {
  const { publicKey } = newMeteringKey()
  const nonces = new Map<string, string>()
  for (const name of ['alice', 'bob']) {
    nonces.set(name, (await rig.challenge(accountNamed(name))).nonce)
  }
  const nonceOf = (name = '') => nonces.get(name) ?? ''
  const nonce = Buffer.from(nonceOf(owner), 'base64url')
  const challenge = challengeOf(nonce, accountNamed(owner ?? ''), domain.operator)
  const evidence = await make(challenge, publicKey)
  const grant = grantOf(sender ?? '', publicKey, nonceOf(sender))
  return rig.enrol({ ...grant, scheme, evidence })
}

for (const file of ['psa-rfc9783.json', 'psa-legacy.json']) {
  t.test(`EAT: the device of ${file}, by its endorsed key`, async (t) => {
    const psa = eatVector<PsaVector>(file)
    const endorsed = {
      ...{ by: 'instance-id', id: psa.instance, model: 'example' },
      publicKeyJwk: publicOf(psa.privateKeyJwk),
    }
    write(file, JSON.stringify([endorsed]))
    const lists = `profiles: ["${psa.profile}"], client_ids: [${psa.clientId}]`
    const rig = await rigOf(t, policiesOf(`eat: { endorsements: ${file}, ${lists} }`), '2026-01-01')
    const make = (challenge: Buffer, publicKey: Buffer) => {
      const octets = readSign1(Buffer.from(psa.token, 'base64url'))
      const claims = decodeStrict(octets?.payload ?? Buffer.of()) as Map<number, unknown>
      const nonceLabel = psa.profile === 'PSA_IOT_PROFILE_1' ? -75008 : 10
      claims.set(nonceLabel, boundNonce(challenge, publicKey))
      const token = makeCwt(claims, privateKey(psa.privateKeyJwk))
      return { form: 'cwt', token, publicKey: publicKey.toString('base64url') }
    }
    t.match(await enrolMade(rig, 'eat', make), { status: 200, trust: 'hardware', scheme: 'eat' })
    const stolen = await enrolMade(rig, 'eat', make, ['alice', 'bob'])
    t.match(stolen, { status: 422, error: { code: 'challenge-mismatch' } }, "for bob, of alice's")
    const published = await enrolMade(rig, 'eat', (_, publicKey) => ({
      ...{ form: 'cwt', token: psa.token, publicKey: publicKey.toString('base64url') },
    }))
    t.match(published, { error: { code: 'challenge-mismatch' } }, 'as it was published')
  })
}

t.test('Play Integrity: taken as software, however strong its verdict', async (t) => {
  const hash = createHash('sha256').update('response encryption key').digest()
  const google = keyOf('google')
  const spki = createPublicKey(google).export({ format: 'der', type: 'spki' })
  const signer = 'ab'.repeat(32)
  const policies = policiesOf(
    `play_integrity: ${JSON.stringify({
      ...{ secret: hash.toString('base64'), verification_key: spki.toString('base64') },
      ...{ apps: [{ package: 'org.datanet', signers: [signer] }], device: 'strong' },
    })}`,
  )
  const rig = await rigOf(t, policies, '2026-01-01')
  const tokenOf = async (nonce: string, verdict: string) => {
    const payload = {
      requestDetails: {
        ...{ requestPackageName: 'org.datanet', nonce },
        timestampMillis: String(rig.world.nowMs - 5_000),
      },
      appIntegrity: {
        ...{ appRecognitionVerdict: 'PLAY_RECOGNIZED', packageName: 'org.datanet' },
        certificateSha256Digest: [Buffer.from(signer, 'hex').toString('base64url')],
      },
      deviceIntegrity: { deviceRecognitionVerdict: ['MEETS_DEVICE_INTEGRITY', verdict] },
    }
    const inner = await new CompactSign(Buffer.from(JSON.stringify(payload)))
      .setProtectedHeader({ alg: 'ES256' })
      .sign(google)
    return new CompactEncrypt(Buffer.from(inner))
      .setProtectedHeader({ alg: 'A256KW', enc: 'A256GCM' })
      .encrypt(hash)
  }
  const make = (verdict: string) => async (challenge: Buffer, publicKey: Buffer) => ({
    token: await tokenOf(playNonce(challenge, publicKey), verdict),
    publicKey: publicKey.toString('base64url'),
  })
  const scheme = 'play-integrity'
  const taken = await enrolMade(rig, scheme, make('MEETS_STRONG_INTEGRITY'))
  t.match(taken, { status: 200, trust: 'software', scheme })
  const weak = await enrolMade(rig, scheme, make('MEETS_BASIC_INTEGRITY'))
  t.match(weak, { status: 422, error: { code: 'weak-device' } })
  const strong = make('MEETS_STRONG_INTEGRITY')
  const stolen = await enrolMade(rig, scheme, strong, ['alice', 'bob'])
  t.match(stolen, { status: 422, error: { code: 'challenge-mismatch' } })
  t.match(rig.ledger.meteringKeys(accountNamed('alice')), [{ scheme, trust: 'software' }])
})

t.test('two tries at once with one nonce: the second finds it used', async (t) => {
  const [[, one] = []] = PUBLISHED
  if (one === undefined) throw new Error('no evidence')
  const rig = await rigOf(t, policiesOf(one.part), one.clock, one.challenge)
  const { nonce } = await rig.challenge(accountNamed('alice'))
  const { scheme, evidence, publicKey } = one
  const body = { ...grantOf('alice', publicKey, nonce), scheme, evidence }
  const both = await Promise.all([rig.enrol(body), rig.enrol(body)])
  t.same(both.map(({ status }) => status).sort(), [200, 422])
})
