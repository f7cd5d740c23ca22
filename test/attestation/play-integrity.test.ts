// Round trips with keys made here: Google publishes no token together with its keys, so there are
// no public vectors to hold this against. What a token looks like inside is after the samples of
// https://developer.android.com/google/play/integrity/verdicts.

import { createHash, createPublicKey, generateKeyPairSync } from 'node:crypto'
import fc from 'fast-check'
import { CompactEncrypt, CompactSign } from 'jose'
import t from 'tap'
import {
  type PlayIntegrityPolicy,
  playNonce,
  verifyPlayIntegrity,
} from '../../attestation/play-integrity.ts'
import { refuseScheme } from '../../attestation/unsupported.ts'
import type { Expected } from '../../attestation/verifier.ts'
import { keyOf, NOW } from './made-chain.ts'

const SIGNER = 'ab'.repeat(32)
const OTHER_SIGNER = 'cd'.repeat(32)
const GOOGLE = keyOf('google')
const SECRET = createHash('sha256').update('response encryption key').digest()
const CHALLENGE = Buffer.alloc(32, 9)
const EXPECTED: Expected = { challenge: CHALLENGE, nowSeconds: NOW }

function pointOf(label: string): Buffer {
  const { x = '', y = '' } = keyOf(label).export({ format: 'jwk' })
  return Buffer.concat([Buffer.of(4), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')])
}

const METER = pointOf('meter')
const POLICY: PlayIntegrityPolicy = {
  decryptionKey: SECRET,
  verificationKey: createPublicKey(GOOGLE),
  apps: [{ packageName: 'org.datanet', signerSha256: [SIGNER] }],
  device: 'device',
  ageMaxSeconds: 120,
}

type Part = Readonly<Record<string, unknown>>
interface Change {
  readonly request?: Part
  readonly app?: Part
  readonly device?: Part
}

const payloadOf = ({ request, app, device }: Change) => ({
  requestDetails: {
    requestPackageName: 'org.datanet',
    nonce: playNonce(CHALLENGE, METER),
    timestampMillis: String((NOW - 5) * 1000),
    ...request,
  },
  appIntegrity: {
    appRecognitionVerdict: 'PLAY_RECOGNIZED',
    packageName: 'org.datanet',
    certificateSha256Digest: [Buffer.from(SIGNER, 'hex').toString('base64url')],
    versionCode: '42',
    ...app,
  },
  deviceIntegrity: {
    deviceRecognitionVerdict: ['MEETS_BASIC_INTEGRITY', 'MEETS_DEVICE_INTEGRITY'],
    ...device,
  },
  accountDetails: { appLicensingVerdict: 'LICENSED' },
})

const signed = (payload: unknown, key = GOOGLE, alg = 'ES256') =>
  new CompactSign(Buffer.from(JSON.stringify(payload) ?? '')).setProtectedHeader({ alg }).sign(key)

const encrypted = (inner: string, key: Uint8Array = SECRET, enc = 'A256GCM', alg = 'A256KW') =>
  new CompactEncrypt(Buffer.from(inner)).setProtectedHeader({ alg, enc }).encrypt(key)

const tokenOf = async (change: Change = {}) => encrypted(await signed(payloadOf(change)))

async function outcome(token: unknown, policy = POLICY, expected = EXPECTED, key = METER) {
  const evidence = { token, publicKey: key.toString('base64url') }
  const verdict = await verifyPlayIntegrity(evidence, expected, policy)
  return verdict.ok ? 'accepted' : verdict.reason
}

t.test('Play Integrity: a token for this challenge and this key is accepted', async (t) => {
  const evidence = { token: await tokenOf(), publicKey: METER.toString('base64url') }
  t.same(await verifyPlayIntegrity(evidence, EXPECTED, POLICY), {
    ok: true,
    scheme: 'play-integrity',
    publicKey: METER,
    facts: {
      app: 'org.datanet',
      device: 'MEETS_BASIC_INTEGRITY MEETS_DEVICE_INTEGRITY',
      key: 'named by the app, not attested',
    },
  })
})

t.test('the nonce is of one challenge and one key, in the length that Play takes', async (t) => {
  const nonce = playNonce(CHALLENGE, METER)
  t.match(nonce, /^[A-Za-z0-9_-]{43}$/)
  t.not(playNonce(Buffer.alloc(32, 8), METER), nonce)
  t.not(playNonce(CHALLENGE, pointOf('other')), nonce)
  const token = await tokenOf()
  const otherChallenge = { ...EXPECTED, challenge: Buffer.alloc(32, 8) }
  t.equal(await outcome(token, POLICY, otherChallenge), 'challenge-mismatch')
  t.equal(await outcome(token, POLICY, EXPECTED, pointOf('other')), 'challenge-mismatch', 'key')
  const padded = await tokenOf({ request: { nonce: `${nonce}=` } })
  t.equal(await outcome(padded), 'accepted', 'padding says nothing')
})

t.test('Play Integrity: each statement of the payload decides', async (t) => {
  const at = (seconds: number) => ({ request: { timestampMillis: String(seconds * 1000) } })
  const signers = (...hex: string[]) => ({
    app: { certificateSha256Digest: hex.map((x) => Buffer.from(x, 'hex').toString('base64url')) },
  })
  const meets = (...verdict: string[]) => ({ device: { deviceRecognitionVerdict: verdict } })
  const other = { requestPackageName: 'org.other' }
  const cases: [what: string, outcome: string, Change][] = [
    ['as old as it may be', 'accepted', at(NOW - 120)],
    ['older', 'too-old', at(NOW - 121)],
    ['a clock ahead', 'accepted', at(NOW + 60)],
    ['from the future', 'too-old', at(NOW + 61)],
    ['a time as a number', 'accepted', { request: { timestampMillis: NOW * 1000 } }],
    ['no time', 'malformed', { request: { timestampMillis: undefined } }],
    ['an empty time', 'malformed', { request: { timestampMillis: '' } }],
    ['half a millisecond', 'malformed', { request: { timestampMillis: '1.5' } }],
    ['a standard request', 'malformed', { request: { nonce: undefined, requestHash: 'aGk' } }],
    ['asked by another app', 'wrong-app', { request: other }],
    ['another app', 'wrong-app', { request: other, app: { packageName: 'org.other' } }],
    ['asked as ours', 'wrong-app', { app: { packageName: 'org.other' } }],
    ['not as published', 'wrong-app', { app: { appRecognitionVerdict: 'UNRECOGNIZED_VERSION' } }],
    ['not evaluated', 'wrong-app', { app: { appRecognitionVerdict: 'UNEVALUATED' } }],
    ['no verdict on the app', 'wrong-app', { app: { appRecognitionVerdict: undefined } }],
    ['another signer', 'wrong-app', signers(OTHER_SIGNER)],
    ['a second signer', 'wrong-app', signers(SIGNER, OTHER_SIGNER)],
    ['no signer', 'wrong-app', signers()],
    ['signers that are none', 'wrong-app', { app: { certificateSha256Digest: [5] } }],
    ['basic only', 'weak-device', meets('MEETS_BASIC_INTEGRITY')],
    ['an emulator', 'weak-device', meets('MEETS_VIRTUAL_INTEGRITY')],
    ['nothing', 'weak-device', meets()],
    ['no verdict on the device', 'weak-device', { device: { deviceRecognitionVerdict: null } }],
    ['a text', 'weak-device', { device: { deviceRecognitionVerdict: 'MEETS_DEVICE_INTEGRITY' } }],
  ]
  for (const [what, expected, change] of cases) {
    t.equal(await outcome(await tokenOf(change)), expected, what)
  }
  const strong: PlayIntegrityPolicy = { ...POLICY, device: 'strong' }
  t.equal(await outcome(await tokenOf(), strong), 'weak-device', 'device where strong is asked')
  const both = meets('MEETS_DEVICE_INTEGRITY', 'MEETS_STRONG_INTEGRITY')
  t.equal(await outcome(await tokenOf(both), strong), 'accepted')
  t.equal(await outcome(await tokenOf(), { ...POLICY, apps: [] }), 'wrong-app')
  for (const payload of [null, 5, [], {}, { requestDetails: null }, 'text']) {
    const token = await encrypted(await signed(payload))
    t.equal(await outcome(token), 'malformed', JSON.stringify(payload))
  }
})

t.test('Play Integrity: other keys and other algorithms', async (t) => {
  const inner = await signed(payloadOf({}))
  const otherSecret = createHash('sha256').update('other').digest()
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  const byRsa = await signed(payloadOf({}), rsa, 'RS256')
  const unsigned = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${inner.split('.')[1]}.`
  const short = SECRET.subarray(16)
  const cases: [what: string, outcome: string, string][] = [
    ['another signer', 'bad-signature', await encrypted(await signed(payloadOf({}), keyOf('x')))],
    ['another secret', 'bad-signature', await encrypted(inner, otherSecret)],
    ['signed alone', 'malformed', inner],
    ['encrypted alone', 'malformed', await encrypted(JSON.stringify(payloadOf({})))],
    ['not signed', 'malformed', await encrypted(unsigned)],
    ['RS256', 'malformed', await encrypted(byRsa)],
    ['A128GCM', 'malformed', await encrypted(inner, SECRET, 'A128GCM')],
    ['A256CBC-HS512', 'malformed', await encrypted(inner, SECRET, 'A256CBC-HS512')],
    ['a direct key', 'malformed', await encrypted(inner, SECRET, 'A256GCM', 'dir')],
    ['A128KW', 'malformed', await encrypted(inner, short, 'A256GCM', 'A128KW')],
  ]
  for (const [what, expected, token] of cases) t.equal(await outcome(token), expected, what)
  const header = { alg: 'A256KW', enc: 'A256GCM', zip: 'DEF' }
  const packed = new CompactEncrypt(Buffer.from(inner)).setProtectedHeader(header)
  t.equal(await outcome(await packed.encrypt(SECRET)), 'malformed', 'compressed')
})

t.test('Play Integrity: every character of a token changed is refused', async (t) => {
  const token = await tokenOf()
  const seen = new Set<string>()
  for (const [at, character] of [...token].entries()) {
    const changed = `${token.slice(0, at)}${character === 'A' ? 'B' : 'A'}${token.slice(at + 1)}`
    const [last, before] = [changed.split('.'), token.split('.')]
    // Spare bits at the end of a part are not octets of it: what is the same is no change.
    const isSame = before.every((part, index) =>
      Buffer.from(part, 'base64url').equals(Buffer.from(last[index] ?? '', 'base64url')),
    )
    if (!isSame) seen.add(await outcome(changed))
  }
  t.same([...seen].sort(), ['bad-signature', 'malformed'])
  t.equal(await outcome(`${token}.`), 'malformed')
  t.equal(await outcome(token.slice(0, -2)), 'malformed')
})

t.test('Play Integrity: what has not the form of evidence is malformed', async (t) => {
  const token = await tokenOf()
  const publicKey = METER.toString('base64url')
  const offCurve = Buffer.concat([METER.subarray(0, 64), Buffer.of((METER[64] ?? 0) ^ 1)])
  const bad: unknown[] = [
    undefined,
    null,
    [],
    {},
    { token },
    { publicKey },
    { token, publicKey, more: 1 },
    { token: 5, publicKey },
    { token: '', publicKey },
    { token: 'a.b.c.d.e', publicKey },
    { token: 'A'.repeat(16_385), publicKey },
    { token, publicKey: `${publicKey}=` },
    { token, publicKey: METER.subarray(1).toString('base64url') },
    { token, publicKey: offCurve.toString('base64url') },
  ]
  for (const each of bad) {
    t.match(await verifyPlayIntegrity(each, EXPECTED, POLICY), { ok: false, reason: 'malformed' })
  }
  const junk = fc.oneof(
    fc.anything(),
    fc.record({ token: fc.string(), publicKey: fc.constant(publicKey) }),
    fc.anything().map((value) => ({ token: value, publicKey })),
  )
  await fc.assert(
    fc.asyncProperty(junk, async (each) => !(await verifyPlayIntegrity(each, EXPECTED, POLICY)).ok),
    { seed: 1, numRuns: 300 },
  )
})

t.test('SafetyNet and unknown schemes are refused, with what to use instead', async (t) => {
  for (const name of ['safetynet', 'android-safetynet']) {
    const { reason, detail } = refuseScheme(name)
    t.equal(reason, 'unsupported')
    t.match(detail, /SafetyNet.*shut down.*2025.*use android-key/)
  }
  t.match(refuseScheme('play-integrity-standard').detail, /only servers of Google.*classic/)
  t.same(refuseScheme('__proto__'), {
    ok: false,
    reason: 'unsupported',
    detail: 'no scheme "__proto__"',
  })
  t.ok(refuseScheme('x'.repeat(9_000)).detail.length < 80)
})
