import fc from 'fast-check'
import t from 'tap'
import { type AndroidKeyPolicy, verifyAndroidKey } from '../../attestation/android-key.ts'
import { readRevocationList } from '../../attestation/android-revocation.ts'
import { APPLE_ROOTS } from '../../attestation/roots/apple.ts'
import { GOOGLE_ROOTS } from '../../attestation/roots/google.ts'
import type { Expected, Verdict } from '../../attestation/verifier.ts'
import { DAY, pemChain, rootOf, vector } from './made-chain.ts'

const TEST_SIGNER = '103938ee4537e59e8ee792f654504fb8346fc6b346d0bbc4415fc339fcfc8ec1'
const EXAMPLE_SIGNER = '68856d1d06f637d6255face5b224db43a9514ace538bb1548b844480fcd85c87'

interface Vector {
  readonly file: string
  readonly challenge: string
  readonly clock: string
  readonly app: readonly [name: string, signer: string]
  readonly level: string
  readonly version: string
  /** First octets of the key, from the certificate as OpenSSL prints it. */
  readonly key: string
}

const VECTORS: readonly Vector[] = [
  {
    file: 'tegu-keymint400-tee.pem',
    challenge: '6417f92c-daef-4cc1-8828-5bb39338ffd5',
    clock: '2026-02-23',
    app: ['com.google.android.attestation', TEST_SIGNER],
    level: 'TrustedEnvironment',
    version: '400',
    key: '04ac840a40d84d68',
  },
  {
    file: 'tegu-keymint300-strongbox.pem',
    challenge: '90578e1d-f5bf-4ccf-a27f-a4f4d89ee21f',
    clock: '2026-02-24',
    app: ['com.google.android.attestation', TEST_SIGNER],
    level: 'StrongBox',
    version: '300',
    key: '043ebc865c85eab0',
  },
  {
    file: 'pixel-keymint200-tee.pem',
    challenge: 'challenge',
    clock: '2023-03-10',
    app: ['com.google.attestationexample', EXAMPLE_SIGNER],
    level: 'TrustedEnvironment',
    version: '200',
    key: '04e5124f3517ad9f',
  },
]

const secondsOf = (date: string) => Date.parse(date) / 1000
const evidenceOf = (chain: readonly Buffer[]) => ({
  x5c: chain.map((der) => der.toString('base64url')),
})

interface Case {
  readonly evidence: { readonly x5c: string[] }
  readonly expected: Expected
  readonly policy: AndroidKeyPolicy
}

function caseOf({ file, challenge, clock, app: [packageName, signer] }: Vector): Case {
  const nowSeconds = secondsOf(clock)
  const revocation = readRevocationList(JSON.parse(vector('android-key/status.json')), nowSeconds)
  if (revocation === undefined) throw new Error('no list')
  return {
    evidence: evidenceOf(pemChain(`android-key/${file}`)),
    expected: { challenge: Buffer.from(challenge), nowSeconds },
    policy: {
      apps: [{ packageName, signerSha256: [signer] }],
      level: 'tee',
      bootKeys: [],
      revocation,
      revocationAgeMaxSeconds: DAY,
    },
  }
}

const reasonOf = (verdict: Verdict) => (verdict.ok ? 'accepted' : verdict.reason)
const listed = (policy: AndroidKeyPolicy, fetchedAtSeconds: number, ...serials: string[]) => ({
  ...policy,
  revocation: {
    statusBySerial: new Map(serials.map((serial) => [serial, 'REVOKED'])),
    fetchedAtSeconds,
  },
})

for (const one of VECTORS) {
  t.test(`Android key attestation: ${one.file} is accepted at its clock`, async (t) => {
    const { evidence, expected, policy } = caseOf(one)
    const verdict = verifyAndroidKey(evidence, expected, policy)
    if (!verdict.ok) throw new Error(verdict.detail)
    t.equal(verdict.scheme, 'android-key')
    t.equal(verdict.publicKey.length, 65)
    t.equal(verdict.publicKey.toString('hex', 0, 8), one.key)
    t.match(verdict.facts, { level: one.level, attestationVersion: one.version, app: one.app[0] })
  })

  t.test(`${one.file} is refused where one thing is different`, async (t) => {
    const { evidence, expected, policy } = caseOf(one)
    const { nowSeconds } = expected
    const [app] = policy.apps
    if (app === undefined) throw new Error('no app')
    const at = (seconds: number): Expected => ({ ...expected, nowSeconds: seconds })
    const answers = (challenge: Buffer): Expected => ({ ...expected, challenge })
    const fresh = (seconds: number) => listed(policy, seconds)
    const cases: [what: string, reason: string, Expected, AndroidKeyPolicy][] = [
      ['challenge', 'challenge-mismatch', answers(Buffer.from('challengf')), policy],
      ['a shorter one', 'challenge-mismatch', answers(Buffer.alloc(0)), policy],
      ['app', 'wrong-app', expected, { ...policy, apps: [{ ...app, packageName: 'org.other' }] }],
      ['signer', 'wrong-app', expected, { ...policy, apps: [{ ...app, signerSha256: ['00'] }] }],
      ['no app', 'wrong-app', expected, { ...policy, apps: [] }],
      ['a month later', 'expired', at(nowSeconds + 31 * DAY), fresh(nowSeconds + 31 * DAY)],
      ['a month before', 'expired', at(nowSeconds - 31 * DAY), fresh(nowSeconds - 31 * DAY)],
      ['other roots', 'unpinned-root', expected, { ...policy, roots: APPLE_ROOTS }],
      ['no roots', 'unpinned-root', expected, { ...policy, roots: [] }],
      ['an old list', 'revocation-stale', expected, fresh(nowSeconds - DAY - 1)],
      ['a list not yet made', 'revocation-stale', expected, fresh(nowSeconds + 301)],
      ['no time', 'revocation-stale', expected, fresh(Number.NaN)],
    ]
    if (one.level !== 'StrongBox') {
      cases.push(['StrongBox', 'weak-key', expected, { ...policy, level: 'strongbox' }])
    }
    for (const [what, reason, at, policy] of cases) {
      t.equal(reasonOf(verifyAndroidKey(evidence, at, policy)), reason, what)
    }
  })

  t.test(`${one.file}: a listed certificate is refused, in hexadecimal or decimal`, async (t) => {
    const { evidence, expected, policy } = caseOf(one)
    for (const der of pemChain(`android-key/${one.file}`)) {
      const serial = rootOf([der]).serialNumber.toLowerCase().replace(/^0+/, '')
      for (const text of [serial, String(BigInt(`0x${serial}`))]) {
        const revoking = listed(policy, expected.nowSeconds, text)
        t.equal(reasonOf(verifyAndroidKey(evidence, expected, revoking)), 'revoked', text)
      }
    }
  })

  t.test(`${one.file} with an octet changed, each in turn, is refused`, async (t) => {
    const { evidence, expected, policy } = caseOf(one)
    const chain = pemChain(`android-key/${one.file}`)
    const seen = new Map<string, number>()
    for (const [place, der] of chain.entries()) {
      // Every octet of the leaf; every seventh of the others, in another place for each.
      for (let at = place; at < der.length; at += place === 0 ? 1 : 7) {
        const changed = Buffer.from(der)
        changed[at] = (der[at] ?? 0) ^ (1 << (at % 8))
        const x5c = evidence.x5c.with(place, changed.toString('base64url'))
        const reason = reasonOf(verifyAndroidKey({ x5c }, expected, policy))
        seen.set(reason, (seen.get(reason) ?? 0) + 1)
      }
    }
    const may = ['bad-signature', 'malformed', 'bad-chain', 'unpinned-root']
    t.same(
      [...seen.keys()].filter((reason) => !may.includes(reason)),
      [],
      'no other reason',
    )
    t.ok((seen.get('bad-signature') ?? 0) > 500, 'most of them by a signature')
  })
}

t.test('certificates in another order, missing, twice or of another device', async (t) => {
  const [tee, strongBox] = VECTORS.map(caseOf)
  if (tee === undefined || strongBox === undefined) throw new Error('no vectors')
  const [leaf, batch, ca3, ca2] = tee.evidence.x5c
  const [otherLeaf] = strongBox.evidence.x5c
  if (!leaf || !batch || !ca3 || !ca2 || !otherLeaf) throw new Error('not four certificates')
  const cases: [string, string[]][] = [
    ['bad-chain', [leaf, ca3, ca2]],
    ['unpinned-root', [leaf, batch, ca3]],
    ['unpinned-root', [leaf]],
    ['unpinned-root', [ca2, ca3, batch, leaf]],
    ['bad-chain', [otherLeaf, batch, ca3, ca2]],
    ['bad-chain', [leaf, batch, ca3, ca2, ca2]],
    ['bad-chain', [batch, ca3, ca2]],
  ]
  for (const [reason, x5c] of cases) {
    t.equal(reasonOf(verifyAndroidKey({ x5c }, tee.expected, tee.policy)), reason, `${x5c.length}`)
  }
})

t.test('the pinned roots: their digests, their key under an older certificate', async (t) => {
  t.same(
    GOOGLE_ROOTS.map((root) => root.fingerprint256.replaceAll(':', '').toLowerCase()),
    [
      'cedb1cb6dc896ae5ec797348bce9286753c2b38ee71ce0fbe34a9a1248800dfc',
      '6d9db4ce6c5c0b293166d08986e05774a8776ceb525d9e4329520de12ba4bcc0',
    ],
  )
  t.ok(GOOGLE_ROOTS.every((root) => root.verify(root.publicKey)))
  const sent = rootOf(pemChain('android-key/pixel-keymint200-tee.pem'))
  t.notOk(
    GOOGLE_ROOTS.some((root) => root.raw.equals(sent.raw)),
    'that of 2019 is another one',
  )
})

t.test('a list of revoked certificates that is none is not read', async (t) => {
  t.equal(readRevocationList({ entries: {} }, 5)?.fetchedAtSeconds, 5)
  const bad = [
    undefined,
    null,
    [],
    {},
    { entries: null },
    { entries: 5 },
    { entries: { xyz: { status: 'REVOKED' } } },
    { entries: { ab: null } },
    { entries: { ab: {} } },
    { entries: { ab: { status: 1 } } },
  ]
  for (const json of bad) t.equal(readRevocationList(json, 5), undefined, JSON.stringify(json))
})

t.test('what has not the form of evidence is malformed, whatever it is', async (t) => {
  const [first] = VECTORS
  if (first === undefined) throw new Error('no vectors')
  const { evidence, expected, policy } = caseOf(first)
  const [leaf = '', ...rest] = evidence.x5c
  const bad: unknown[] = [
    undefined,
    null,
    'x5c',
    [],
    {},
    { x5c: [] },
    { x5c: leaf },
    { x5c: [5] },
    { x5c: [''] },
    { ...evidence, more: 1 },
    { x5c: Array(9).fill(leaf) },
    { x5c: [`${leaf}=`, ...rest] },
    { x5c: [` ${leaf}`, ...rest] },
    { x5c: [leaf.replaceAll('_', '/'), ...rest] },
    { x5c: [`${leaf}AAAA`, ...rest] },
    { x5c: ['A'.repeat(20_000), ...rest] },
  ]
  for (const each of bad) {
    t.equal(reasonOf(verifyAndroidKey(each, expected, policy)), 'malformed')
  }
  const junk = fc.oneof(fc.anything(), fc.record({ x5c: fc.array(fc.base64String()) }))
  fc.assert(
    fc.property(junk, (each) => !verifyAndroidKey(each, expected, policy).ok),
    { seed: 1, numRuns: 500 },
  )
})
