// Tokens of other profiles than PSA's, made here in both forms: what is accepted, and each thing
// that is refused for its own reason. The published tokens are in eat-vectors.test.ts.

import { encode } from 'cborg'
import fc from 'fast-check'
import t from 'tap'
import { type EatPolicy, verifyEat } from '../../attestation/eat.ts'
import { PSA_LEGACY_PROFILE, PSA_PROFILE } from '../../attestation/eat-claims.ts'
import { type PublicJwk, pointOfJwk } from '../../attestation/p256.ts'
import {
  type CwtParts,
  makeCwt,
  makeJwt,
  type PsaVector,
  privateKey,
  publicOf,
  vector,
} from './eat-maker.ts'

const now = 1_764_000_000
const challenge = Buffer.alloc(32, 5)
const { privateKeyJwk } = vector<PsaVector>('psa-rfc9783.json')
const signing = privateKey(privateKeyJwk)
/** Any other pair will do for the metering key. */
const meteringJwk = publicOf(vector<PsaVector>('psa-legacy.json').privateKeyJwk)
const metering = pointOfJwk(meteringJwk)
if (metering === undefined) throw new Error('no point')

const PROFILE = 'tag:operator.example,2026:meter'
const KEY_ID = Buffer.from('model-7')
const ueid = Buffer.from('0102030405060708090a0b0c0d0e0f1011', 'hex')

const policy: EatPolicy = {
  endorsed: [
    {
      ...{ by: 'key-id', id: KEY_ID.toString('base64url'), model: 'model 7' },
      publicKeyJwk: publicOf(privateKeyJwk),
    },
  ],
  profiles: [PROFILE],
  clientIds: [],
  software: ['datanet'],
  maxAgeSeconds: 600,
}

const coseKey = (jwk: PublicJwk, more: readonly [number, unknown][] = []) =>
  new Map<number, unknown>([
    [1, 2],
    [-1, 1],
    [-2, Buffer.from(jwk.x, 'base64url')],
    [-3, Buffer.from(jwk.y, 'base64url')],
    ...more,
  ])

/** Claims as CBOR labels them; a change of undefined leaves the claim out. */
function claimsCbor(changes: Readonly<Record<number, unknown>> = {}): Map<number, unknown> {
  const claims = new Map<number, unknown>([
    [6, now - 10],
    [8, new Map([[1, coseKey(meteringJwk)]])],
    [10, challenge],
    [256, ueid],
    [262, true],
    [263, 2],
    [265, PROFILE],
    [270, 'datanet'],
  ])
  for (const [label, value] of Object.entries(changes)) {
    if (value === undefined) claims.delete(Number(label))
    else claims.set(Number(label), value)
  }
  return claims
}

const claimsJson = (changes: object = {}) => ({
  ...{ iat: now - 10, cnf: { jwk: meteringJwk }, eat_nonce: challenge.toString('base64url') },
  ...{ ueid: ueid.toString('base64url'), oemboot: true, dbgstat: 'disabled-permanently' },
  ...{ eat_profile: PROFILE, swname: 'datanet', ...changes },
})

const withKeyId: CwtParts = { unprotected: new Map([[4, KEY_ID]]) }
const header = { alg: 'ES256', typ: 'eat+jwt', kid: 'model-7' }

const cwt = (changes: Readonly<Record<number, unknown>> = {}, parts: CwtParts = withKeyId) =>
  ({ form: 'cwt', token: makeCwt(claimsCbor(changes), signing, parts) }) as const
const jwt = (changes: object = {}, head: object = header) =>
  ({ form: 'jwt', token: makeJwt(claimsJson(changes), signing, { ...head }) }) as const

function outcome(evidence: unknown, own: EatPolicy = policy, nowSeconds = now): string {
  const verdict = verifyEat(evidence, { challenge, nowSeconds }, own)
  return verdict.ok ? 'ok' : verdict.reason
}

t.test('RFC 9711: a token with a confirmation claim names the metering key', async (t) => {
  for (const evidence of [cwt(), jwt()]) {
    const verdict = verifyEat(evidence, { challenge, nowSeconds: now }, policy)
    if (!verdict.ok) throw new Error(`${verdict.reason}: ${verdict.detail}`)
    t.same(verdict.publicKey, metering)
    t.match(verdict.facts, { form: evidence.form, model: 'model 7', app: 'datanet' })
    t.equal(verdict.facts['instance'], ueid.toString('base64url'))
  }
})

t.test('RFC 9052: how a CWT may be put together', async (t) => {
  const protectedKeyId = new Map<number, unknown>([
    [1, -7],
    [4, KEY_ID],
  ])
  const cases: readonly [string, string, CwtParts][] = [
    ['ok', 'the key id protected', { header: protectedKeyId }],
    ['ok', 'behind the CWT tag', { ...withKeyId, tags: [61, 18] }],
    ['malformed', '§3: the key id twice', { ...withKeyId, header: protectedKeyId }],
    ['malformed', 'no tag', { ...withKeyId, tags: [] }],
    ['malformed', 'a CWT tag alone', { ...withKeyId, tags: [61] }],
    ['malformed', 'COSE_Mac0', { ...withKeyId, tags: [17] }],
    ['malformed', 'the CWT tag inside', { ...withKeyId, tags: [18, 61] }],
    ['unsupported', 'ES384', { ...withKeyId, header: new Map([[1, -35]]) }],
    ['unsupported', 'no algorithm', { ...withKeyId, header: new Map() }],
    [
      'malformed',
      'the algorithm unprotected',
      { unprotected: new Map([[1, -7]]), header: new Map() },
    ],
    [
      'malformed',
      '§3.1: crit',
      {
        header: new Map<number, unknown>([
          [1, -7],
          [2, [4]],
        ]),
      },
    ],
    ['malformed', 'a key id of text', { unprotected: new Map([[4, 'model-7']]) }],
    ['unpinned-root', 'no key id', {}],
    ['unpinned-root', 'another key id', { unprotected: new Map([[4, Buffer.from('model-8')]]) }],
    ['malformed', 'no map', { ...withKeyId, payload: Buffer.from('8101', 'hex') }],
    ['malformed', 'nesting without end', { ...withKeyId, payload: Buffer.alloc(5000, 0x81) }],
  ]
  for (const [reason, name, parts] of cases) t.equal(outcome(cwt({}, parts)), reason, name)
  // The good claims, 8 of them, the first (iat) with the key 6: only the writing is changed.
  const good = Buffer.from(encode(claimsCbor()))
  const [count, rest] = [good.subarray(0, 1), good.subarray(1)]
  t.equal(good.subarray(0, 2).toString('hex'), 'a806')
  const written: readonly [string, string, readonly Uint8Array[]][] = [
    ['ok', 'as it is', [count, rest]],
    [
      'malformed',
      'RFC 8392 §6: a claim twice',
      [Buffer.of(0xa9), rest, Buffer.from('0601', 'hex')],
    ],
    ['malformed', 'an indefinite map', [Buffer.of(0xbf), rest, Buffer.of(0xff)]],
    ['malformed', 'a key longer than needed', [count, Buffer.of(0x18), rest]],
    ['malformed', 'octets after the claims', [good, Buffer.of(0)]],
  ]
  for (const [reason, name, octets] of written) {
    t.equal(outcome(cwt({}, { ...withKeyId, payload: Buffer.concat(octets) })), reason, name)
  }
  const extra = claimsCbor({ 70000: new Map([[Buffer.of(1), 1]]) })
  const token = makeCwt(extra, signing, withKeyId)
  t.equal(outcome({ form: 'cwt', token }), 'malformed', 'a map with keys of octets')
})

t.test('RFC 7515: how a JWT may be put together', async (t) => {
  const cases: readonly [string, string, object][] = [
    ['ok', 'no type', { alg: 'ES256', kid: 'model-7' }],
    ['unsupported', 'none', { ...header, alg: 'none' }],
    ['unsupported', 'HS256', { ...header, alg: 'HS256' }],
    ['malformed', '§4.1.11: crit', { ...header, crit: ['exp'] }],
    ['malformed', 'kid is a number', { ...header, kid: 7 }],
    ['unpinned-root', 'another kid', { ...header, kid: 'model-8' }],
  ]
  for (const [reason, name, head] of cases) t.equal(outcome(jwt({}, head)), reason, name)
  const { token } = jwt()
  const [head, payload, signature] = token.split('.')
  const odd = [`${head}.${payload}`, `${token}.`, `${token}=`, `.${payload}.${signature}`, '..']
  for (const text of odd)
    t.equal(outcome({ form: 'jwt', token: text }), 'malformed', text.slice(-9))
  const psa = { ...policy, profiles: [PSA_PROFILE, PSA_LEGACY_PROFILE] }
  for (const profile of psa.profiles) {
    const evidence = jwt({ eat_profile: profile })
    t.equal(outcome(evidence, psa), 'malformed', 'RFC 9783 §5.1: CBOR only')
    t.equal(outcome(cwt({ 265: profile }), psa), 'malformed', 'and with the claims of PSA only')
  }
  const list = makeJwt([claimsJson()], signing, header)
  t.equal(outcome({ form: 'jwt', token: list }), 'malformed', 'claims in a list')
})

/** A claim changed in both forms: the reason, what it shows, the CBOR and the JSON change. */
const CLAIMS: readonly [string, string, Readonly<Record<number, unknown>>, object][] = [
  [
    'challenge-mismatch',
    'another nonce',
    { 10: Buffer.alloc(32, 6) },
    { eat_nonce: 'AAAAAAAAAAA' },
  ],
  ['malformed', '§4.1: a short nonce', { 10: Buffer.alloc(7) }, { eat_nonce: 'AAAA' }],
  ['malformed', 'two nonces', { 10: [challenge] }, { eat_nonce: ['AAAAAAAAAAA'] }],
  ['malformed', 'no nonce', { 10: undefined }, { eat_nonce: undefined }],
  ['malformed', 'no profile', { 265: undefined }, { eat_profile: undefined }],
  ['unsupported', 'another profile', { 265: 'tag:b' }, { eat_profile: 'tag:b' }],
  ['malformed', '§4.2.1: a short UEID', { 256: Buffer.alloc(6) }, { ueid: 'AAAA' }],
  ['ok', 'no UEID', { 256: undefined }, { ueid: undefined }],
  ['weak-device', "§4.2.8: not the maker's boot", { 262: false }, { oemboot: false }],
  ['weak-device', 'nothing of the boot', { 262: undefined }, { oemboot: undefined }],
  ['weak-device', '§4.2.9: debug was on', { 263: 1 }, { dbgstat: 'disabled' }],
  ['weak-device', 'debug is on', { 263: 0 }, { dbgstat: 'enabled' }],
  ['weak-device', 'no such debug state', { 263: 5 }, { dbgstat: 'off' }],
  ['weak-device', 'nothing of debug', { 263: undefined }, { dbgstat: undefined }],
  ['wrong-app', 'other software', { 270: 'other' }, { swname: 'other' }],
  ['wrong-app', 'no software', { 270: undefined }, { swname: undefined }],
  ['malformed', 'software of a number', { 270: 1 }, { swname: 1 }],
  ['ok', 'exp', { 4: now + 1 }, { exp: now + 1 }],
  ['expired', 'exp is now', { 4: now }, { exp: now }],
  ['malformed', 'exp of text', { 4: 'never' }, { exp: 'never' }],
  ['ok', 'nbf', { 5: now + 60 }, { nbf: now + 60 }],
  ['expired', 'nbf', { 5: now + 61 }, { nbf: now + 61 }],
  ['expired', 'iat is ahead', { 6: now + 61 }, { iat: now + 61 }],
  ['ok', 'no iat', { 6: undefined }, { iat: undefined }],
  ['ok', 'an old iat', { 6: now - 600 }, { iat: now - 600 }],
  ['too-old', 'an older iat', { 6: now - 601 }, { iat: now - 601 }],
  ['key-mismatch', 'no confirmation', { 8: undefined }, { cnf: undefined }],
  ['weak-key', 'a key by name', { 8: new Map([[3, KEY_ID]]) }, { cnf: { kid: 'model-7' } }],
  [
    'weak-key',
    'RFC 8747 §3.1: two keys',
    {
      8: new Map<number, unknown>([
        [1, coseKey(meteringJwk)],
        [3, KEY_ID],
      ]),
    },
    { cnf: { jwk: meteringJwk, kid: 'model-7' } },
  ],
  [
    'weak-key',
    'a key with its private half',
    { 8: new Map([[1, coseKey(meteringJwk, [[-4, Buffer.alloc(32, 1)]])]]) },
    { cnf: { jwk: { ...meteringJwk, d: 'AAAA' } } },
  ],
  [
    'weak-key',
    'another curve',
    { 8: new Map([[1, coseKey(meteringJwk, [[-1, 8]])]]) },
    { cnf: { jwk: { ...meteringJwk, crv: 'secp256k1' } } },
  ],
  [
    'weak-key',
    'no point of the curve',
    { 8: new Map([[1, coseKey({ ...meteringJwk, y: meteringJwk.x })]]) },
    { cnf: { jwk: { ...meteringJwk, y: meteringJwk.x } } },
  ],
  ['weak-key', 'cnf of text', { 8: 'key' }, { cnf: 'key' }],
]

t.test('RFC 9711 §4: each claim, in both forms', async (t) => {
  for (const [reason, name, cbor, json] of CLAIMS) {
    t.equal(outcome(cwt(cbor)), reason, `CWT: ${name}`)
    t.equal(outcome(jwt(json)), reason, `JWT: ${name}`)
  }
})

t.test('what the operator endorses decides', async (t) => {
  const [own] = policy.endorsed
  if (own === undefined) throw new Error('no endorsement')
  const instance = { ...own, by: 'instance-id' as const, id: ueid.toString('base64url') }
  const cases: readonly [string, EatPolicy][] = [
    ['ok', { ...policy, endorsed: [instance] }],
    ['unpinned-root', { ...policy, endorsed: [] }],
    ['unpinned-root', { ...policy, endorsed: [{ ...instance, id: 'AQID' }] }],
    [
      'unpinned-root',
      { ...policy, endorsed: [{ ...own, publicKeyJwk: { ...meteringJwk, x: 'AA' } }] },
    ],
    ['bad-signature', { ...policy, endorsed: [{ ...own, publicKeyJwk: meteringJwk }] }],
    ['expired', { ...policy, endorsed: [{ ...own, untilSeconds: now - 1 }] }],
    ['unsupported', { ...policy, profiles: [] }],
    ['wrong-app', { ...policy, software: [] }],
  ]
  for (const [reason, each] of cases) {
    t.equal(outcome(cwt(), each), reason)
    t.equal(outcome(jwt(), each), reason)
  }
})

t.test('evidence of another form is malformed', async (t) => {
  const good = cwt()
  const key = metering.toString('base64url')
  const bad: readonly unknown[] = [
    ...[undefined, null, 1, 'cwt', [], {}, [good], { form: 'cwt' }, { token: good.token }],
    ...[
      { ...good, form: 'jwt' },
      { ...jwt(), form: 'cwt' },
      { ...good, form: 'psa' },
    ],
    ...[
      { ...good, more: 1 },
      { ...good, token: `${good.token}=` },
      { ...good, token: '' },
    ],
    ...[
      { ...good, token: 'A'.repeat(11_000) },
      { ...good, token: 7 },
    ],
    ...[
      { ...good, publicKey: key },
      { ...good, publicKey: 'AAAA' },
      { ...good, publicKey: null },
    ],
  ]
  for (const evidence of bad) t.equal(outcome(evidence), 'malformed')
})

t.test('a JWT with any character changed is refused', async (t) => {
  const { token } = jwt()
  const seen = new Set<string>()
  for (let at = 0; at < token.length; at++) {
    for (const each of ['A', 'Q', '_', '.', ' ']) {
      if (token[at] === each) continue
      seen.add(outcome({ form: 'jwt', token: token.slice(0, at) + each + token.slice(at + 1) }))
    }
  }
  t.notOk(seen.has('ok'))
  t.same([...seen].sort(), ['bad-signature', 'malformed', 'unpinned-root', 'unsupported'])
})

t.test('garbage never throws and is never accepted', async (t) => {
  const holds = (property: Parameters<typeof fc.assert>[0], o: Parameters<typeof fc.assert>[1]) =>
    t.doesNotThrow(() => fc.assert(property, o))
  const run = { seed: 6, numRuns: 400 }
  holds(
    fc.property(fc.anything(), (each) => outcome(each) === 'malformed'),
    run,
  )
  const evidence = fc.record({
    form: fc.constantFrom('cwt', 'jwt'),
    token: fc.uint8Array({ maxLength: 300 }).map((each) => Buffer.from(each).toString('base64url')),
  })
  holds(
    fc.property(evidence, (each) => outcome(each) === 'malformed'),
    run,
  )
  const payload = fc.uint8Array({ maxLength: 60 })
  const signed = payload.map((each) => cwt({}, { ...withKeyId, payload: each }))
  holds(
    fc.property(signed, (each) => outcome(each) !== 'ok'),
    { ...run, numRuns: 200 },
  )
  const claims = fc.dictionary(fc.constantFrom(...Object.keys(claimsJson())), fc.jsonValue())
  const changed = claims.filter((each) => Object.keys(each).length > 3).map((each) => jwt(each))
  holds(
    fc.property(changed, (each) => outcome(each) !== 'ok'),
    { ...run, numRuns: 200 },
  )
})
