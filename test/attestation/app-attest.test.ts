import { createHash, sign } from 'node:crypto'
import { decode, encode } from 'cborg'
import fc from 'fast-check'
import t from 'tap'
import {
  type AppAttestPolicy,
  type AssertionExpected,
  verifyAppAttest,
  verifyAssertion,
} from '../../attestation/app-attest.ts'
import { APPLE_ROOTS } from '../../attestation/roots/apple.ts'
import { GOOGLE_ROOTS } from '../../attestation/roots/google.ts'
import type { Expected } from '../../attestation/verifier.ts'
import { DAY, keyOf, vector } from './made-chain.ts'

const APP_ID = 'V8H6LQ9448.io.uebelacker.AppAttestExample'
const CLOCK = Date.parse('2024-02-08') / 1000
const POLICY: AppAttestPolicy = { appIds: [APP_ID], environments: ['production', 'development'] }

interface Fixture {
  readonly attestation: string
  readonly challenge: string
  readonly keyId: string
}

interface Case {
  readonly octets: Buffer
  readonly keyId: string
  readonly expected: Expected
}

const base64url = (text: string) => Buffer.from(text, 'base64').toString('base64url')

function caseOf(environment: string): Case {
  const fixture: Fixture = JSON.parse(vector(`app-attest/attestation-${environment}.json`))
  return {
    octets: Buffer.from(fixture.attestation, 'base64'),
    keyId: base64url(fixture.keyId),
    expected: { challenge: Buffer.from(fixture.challenge, 'base64'), nowSeconds: CLOCK },
  }
}

const reasonOf = (verdict: { ok: true } | { ok: false; reason: string }) =>
  verdict.ok ? 'accepted' : verdict.reason

const verdictOn = (octets: Uint8Array, { keyId, expected }: Case, policy = POLICY) =>
  verifyAppAttest(
    { keyId, attestation: Buffer.from(octets).toString('base64url') },
    expected,
    policy,
  )

for (const environment of ['production', 'development']) {
  const one = caseOf(environment)

  t.test(`App Attest: the ${environment} vector is accepted at its clock`, async (t) => {
    const verdict = verdictOn(one.octets, one)
    if (!verdict.ok) throw new Error(verdict.detail)
    t.equal(verdict.scheme, 'app-attest')
    t.same(verdict.facts, { app: APP_ID, environment })
    t.equal(verdict.publicKey.length, 65)
    const x = environment === 'production' ? 'd9829ec0' : 'd46d131d'
    t.equal(verdict.publicKey.toString('hex', 0, 5), `04${x}`)
  })

  t.test(`App Attest: the ${environment} vector with one thing different`, async (t) => {
    const { expected, keyId } = one
    const other = environment === 'production' ? 'development' : 'production'
    const cases: [what: string, reason: string, Partial<Case>, Partial<AppAttestPolicy>][] = [
      ['challenge', 'challenge-mismatch', { expected: caseOf(other).expected }, {}],
      ['another app', 'wrong-app', {}, { appIds: [`${APP_ID}2`] }],
      ['another team', 'wrong-app', {}, { appIds: [APP_ID.replace('V8', 'V9')] }],
      ['no app', 'wrong-app', {}, { appIds: [] }],
      ['environment', 'wrong-app', {}, { environments: [other as 'production'] }],
      ['key identifier', 'key-mismatch', { keyId: caseOf(other).keyId }, {}],
      ['a short one', 'key-mismatch', { keyId: keyId.slice(0, 40) }, {}],
      ['later', 'expired', { expected: { ...expected, nowSeconds: CLOCK + 365 * DAY } }, {}],
      ['before', 'expired', { expected: { ...expected, nowSeconds: CLOCK - 7 * DAY } }, {}],
      ['other roots', 'unpinned-root', {}, { roots: GOOGLE_ROOTS }],
      ['no roots', 'unpinned-root', {}, { roots: [] }],
    ]
    for (const [what, reason, change, policy] of cases) {
      const verdict = verdictOn(one.octets, { ...one, ...change }, { ...POLICY, ...policy })
      t.equal(reasonOf(verdict), reason, what)
    }
  })

  t.test(`App Attest: the ${environment} vector with an octet changed, each in turn`, async (t) => {
    const receipt = (decode(one.octets) as { attStmt: { receipt: Uint8Array } }).attStmt.receipt
    const start = one.octets.indexOf(receipt)
    const seen = new Map<string, number>()
    const outside: number[] = []
    // Every octet of the one; of the other, made alike, every third.
    const step = environment === 'production' ? 1 : 3
    for (let at = 0; at < one.octets.length; at += step) {
      // The receipt is for Apple's servers: some octets of it are tried.
      const inReceipt = at >= start && at < start + receipt.length
      if (inReceipt && at % 33 !== 0) continue
      const changed = Buffer.from(one.octets)
      changed[at] = (one.octets[at] ?? 0) ^ (1 << (at % 8))
      const reason = reasonOf(verdictOn(changed, one))
      seen.set(reason, (seen.get(reason) ?? 0) + 1)
      if (inReceipt !== (reason === 'accepted')) outside.push(at)
    }
    t.same(outside, [], 'accepted in the receipt, refused everywhere else')
    const may = ['accepted', 'bad-chain', 'bad-signature', 'challenge-mismatch', 'malformed']
    t.same(
      [...seen.keys()].filter((reason) => ![...may, 'unpinned-root'].includes(reason)),
      [],
    )
    t.ok((seen.get('bad-signature') ?? 0) * step > 500, 'most of the certificates')
    t.ok((seen.get('challenge-mismatch') ?? 0) * step > 150, 'all of the authenticator data')
  })
}

t.test('App Attest: the pinned root', async (t) => {
  const digest = '1cb9823ba28ba6ad2d33a006941de2ae4f513ef1d4e831b9f7e0fa7b6242c932'
  t.same(
    APPLE_ROOTS.map((root) => root.fingerprint256.replaceAll(':', '').toLowerCase()),
    [digest],
  )
})

interface Parts {
  readonly fmt: unknown
  readonly attStmt: { readonly x5c: Uint8Array[]; readonly receipt: unknown }
  readonly authData: unknown
}

t.test('App Attest: certificates and parts of another attestation do not fit', async (t) => {
  const one = caseOf('production')
  const partsOf = (octets: Buffer): Parts => decode(octets) as Parts
  const parts = partsOf(one.octets)
  const other = partsOf(caseOf('development').octets)
  const [leaf = new Uint8Array(), authority = new Uint8Array()] = parts.attStmt.x5c
  const root = APPLE_ROOTS[0]?.raw ?? Buffer.alloc(0)
  const built = (change: Partial<Parts>) => encode({ ...parts, ...change })
  const stated = (change: Partial<Parts['attStmt']>) =>
    built({ attStmt: { ...parts.attStmt, ...change } })
  const cases: [what: string, outcome: string, Uint8Array][] = [
    ['in another order of keys', 'accepted', built({})],
    ['with the root', 'accepted', stated({ x5c: [leaf, authority, root] })],
    ['leaf alone', 'unpinned-root', stated({ x5c: [leaf] })],
    ['turned', 'unpinned-root', stated({ x5c: [authority, leaf] })],
    ['no certificate', 'malformed', stated({ x5c: [] })],
    ['five', 'malformed', stated({ x5c: [leaf, authority, authority, authority, authority] })],
    ['of the other', 'challenge-mismatch', stated({ x5c: other.attStmt.x5c })],
    ['its data', 'challenge-mismatch', built({ authData: other.authData })],
    ['no data', 'challenge-mismatch', built({ authData: Buffer.alloc(0) })],
    ['another format', 'malformed', built({ fmt: 'packed' })],
    ['data of text', 'malformed', built({ authData: 'text' })],
    ['no receipt', 'malformed', stated({ receipt: null })],
    ['one key more', 'malformed', encode({ ...parts, more: 1 })],
    ['an octet behind it', 'malformed', Buffer.concat([one.octets, Buffer.of(0)])],
    ['cut', 'malformed', one.octets.subarray(0, -1)],
    ['too long', 'malformed', stated({ receipt: Buffer.alloc(16_000) })],
  ]
  for (const [what, outcome, octets] of cases) {
    t.equal(reasonOf(verdictOn(octets, one)), outcome, what)
  }
})

t.test('App Attest: what has not the form of evidence is malformed', async (t) => {
  const { keyId, octets, expected } = caseOf('production')
  const attestation = octets.toString('base64url')
  const bad: unknown[] = [
    undefined,
    null,
    [],
    {},
    { attestation },
    { keyId },
    { keyId, attestation, more: 1 },
    { keyId, attestation: `${attestation}=` },
    { keyId: `${keyId}AAAA`, attestation },
    { keyId: 5, attestation },
    { keyId, attestation: '' },
  ]
  for (const each of bad) {
    t.equal(reasonOf(verifyAppAttest(each, expected, POLICY)), 'malformed')
  }
  const text = fc.uint8Array({ maxLength: 300 }).map((each) => Buffer.from(each))
  const junk = fc.oneof(
    fc.anything(),
    text.map((each) => ({ keyId, attestation: each.toString('base64url') })),
    fc.anything().map((value) => ({ keyId, attestation: value })),
  )
  fc.assert(
    fc.property(junk, (each) => !verifyAppAttest(each, expected, POLICY).ok),
    { seed: 1, numRuns: 500 },
  )
})

interface AssertionFixture {
  readonly assertion: string
  readonly publicKey: string
  readonly payload: string
}

const fixture: AssertionFixture = JSON.parse(vector('app-attest/assertion.json'))
const ASSERTION = Buffer.from(fixture.assertion, 'base64')
const ASSERTED: AssertionExpected = {
  publicKey: Buffer.from(fixture.publicKey, 'base64').subarray(-65),
  clientData: Buffer.from(fixture.payload),
  counter: 0,
}

t.test('App Attest: the assertion vector is taken once, its counter goes up', async (t) => {
  t.equal(ASSERTION.length, 141, 'small enough for every report')
  t.same(verifyAssertion(ASSERTION, ASSERTED, POLICY), { ok: true, counter: 1 })
  t.match(verifyAssertion(ASSERTION, { ...ASSERTED, counter: 1 }, POLICY), { reason: 'counter' })
  t.match(verifyAssertion(ASSERTION, { ...ASSERTED, counter: 9 }, POLICY), { reason: 'counter' })
})

t.test('App Attest: an assertion over other data, by another key, of another app', async (t) => {
  const attested = verdictOn(caseOf('production').octets, caseOf('production'))
  if (!attested.ok) throw new Error(attested.detail)
  const cases: [what: string, reason: string, Partial<AssertionExpected>, string][] = [
    ['data', 'bad-signature', { clientData: Buffer.from(`${fixture.payload} `) }, APP_ID],
    ['key', 'bad-signature', { publicKey: attested.publicKey }, APP_ID],
    ['no key', 'bad-signature', { publicKey: Buffer.alloc(65, 4) }, APP_ID],
    ['a short key', 'bad-signature', { publicKey: Buffer.alloc(5) }, APP_ID],
    ['app', 'wrong-app', {}, 'V8H6LQ9448.other'],
  ]
  for (const [what, reason, change, appId] of cases) {
    const policy = { ...POLICY, appIds: [appId] }
    t.equal(reasonOf(verifyAssertion(ASSERTION, { ...ASSERTED, ...change }, policy)), reason, what)
  }
})

t.test('App Attest: every octet of the assertion changed by every bit is refused', async (t) => {
  const seen = new Set<string>()
  for (let bit = 0; bit < ASSERTION.length * 8; bit += 1) {
    const changed = Buffer.from(ASSERTION)
    changed[bit >> 3] = (ASSERTION[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    seen.add(reasonOf(verifyAssertion(changed, ASSERTED, POLICY)))
  }
  t.same([...seen].sort(), ['bad-signature', 'malformed'])
  const junk = fc.uint8Array({ maxLength: 600 })
  fc.assert(
    fc.property(junk, (each) => !verifyAssertion(each, ASSERTED, POLICY).ok),
    { seed: 1, numRuns: 500 },
  )
})

t.test('App Attest: counters are 32 bits without a sign; other sizes are malformed', async (t) => {
  const key = keyOf('enclave')
  const { x = '', y = '' } = key.export({ format: 'jwk' })
  const point = [Buffer.of(4), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]
  const expected = { ...ASSERTED, publicKey: Buffer.concat(point) }
  const hash = (...parts: Uint8Array[]) =>
    createHash('sha256').update(Buffer.concat(parts)).digest()
  const made = (tail: string) => {
    const data = [hash(Buffer.from(APP_ID)), Buffer.from(tail, 'hex')]
    const nonce = hash(...data, hash(ASSERTED.clientData))
    const authenticatorData = Buffer.concat(data)
    return encode({ signature: sign('sha256', nonce, key), authenticatorData })
  }
  t.same(verifyAssertion(made('40ffffffff'), expected, POLICY), { ok: true, counter: 4294967295 })
  t.match(verifyAssertion(made('4000000000'), expected, POLICY), { reason: 'counter' })
  t.match(verifyAssertion(made('400000000100'), expected, POLICY), { reason: 'malformed' })
  t.match(verifyAssertion(made('40000001'), expected, POLICY), { reason: 'malformed' })
})
