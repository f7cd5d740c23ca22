// Every rule of android-key.ts by itself: key descriptions that no phone of the vectors has, in
// certificates over a root made here.

import { createECDH, generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import { type AndroidKeyPolicy, verifyAndroidKey } from '../../attestation/android-key.ts'
import { Extension } from '../../certs/issue.ts'
import {
  anyAuthority,
  DAY,
  extension,
  keyOf,
  type Made,
  madeChain,
  NOW,
  rootOf,
  tlv,
  usual,
} from './made-chain.ts'

const DESCRIPTION = '2b06010401d679020111'
const CHALLENGE = Buffer.alloc(32, 9)
const SIGNER = 'ab'.repeat(32)

const integer = (value: number) => tlv('02', Buffer.of(value))
const enumerated = (value: number) => tlv('0a', Buffer.of(value))
const setOf = (...values: number[]) => tlv('31', ...values.map(integer))
const octets = (content: Buffer | string) => tlv('04', content)

/** Fields of an AuthorizationList by the identifier octets of their tags, in hex. */
type Fields = Readonly<Record<string, Buffer | undefined>>
const TAGS = {
  purpose: 'a1',
  algorithm: 'a2',
  keySize: 'a3',
  digest: 'a5',
  curve: 'aa',
  noAuth: 'bf8377',
  allApplications: 'bf8458',
  origin: 'bf853e',
  rootOfTrust: 'bf8540',
  patchLevel: 'bf8542',
  appId: 'bf8545',
  model: 'bf854d',
  unknown: 'bf8560',
} as const
const NULL = tlv('05')

const listOf = (fields: Fields) =>
  tlv(
    '30',
    ...Object.entries(TAGS).flatMap(([name, tag]) => {
      const value = fields[name]
      return value === undefined ? [] : [tlv(tag, value)]
    }),
  )

const bootOf = (locked: boolean, state: number, key: Buffer = Buffer.alloc(32, 5)) =>
  tlv('30', octets(key), tlv('01', Buffer.of(locked ? 0xff : 0)), enumerated(state), octets('h'))

const appOf = (packages: readonly string[], signers: readonly string[]) =>
  tlv(
    '30',
    tlv('31', ...packages.map((name) => tlv('30', octets(name), integer(1)))),
    tlv('31', ...signers.map((signer) => octets(Buffer.from(signer, 'hex')))),
  )

const HARDWARE: Fields = {
  purpose: setOf(2),
  algorithm: integer(3),
  keySize: tlv('02', Buffer.from([1, 0])),
  digest: setOf(4),
  curve: integer(1),
  noAuth: NULL,
  origin: integer(0),
  rootOfTrust: bootOf(true, 0),
  patchLevel: tlv('02', Buffer.from('031739', 'hex')),
  model: octets('Pixel 9a'),
}
const SOFTWARE: Fields = { appId: octets(appOf(['org.datanet'], [SIGNER])) }

interface Description {
  readonly levels?: readonly [attestation: number, key: number]
  readonly hardware?: Fields
  readonly software?: Fields
}

const described = ({ levels = [1, 1], hardware = {}, software = {} }: Description) =>
  tlv(
    '30',
    tlv('02', Buffer.from([1, 0x2c])),
    enumerated(levels[0]),
    tlv('02', Buffer.from([1, 0x2c])),
    enumerated(levels[1]),
    octets(CHALLENGE),
    octets(''),
    listOf({ ...SOFTWARE, ...software }),
    listOf({ ...HARDWARE, ...hardware }),
  )

const leafOf = (description: Description): Partial<Made> => ({
  extensions: [Extension.digitalSignature(), extension(DESCRIPTION, described(description))],
})

const policyOf = (roots: AndroidKeyPolicy['roots'] = []): AndroidKeyPolicy => ({
  apps: [{ packageName: 'org.datanet', signerSha256: [SIGNER] }],
  level: 'tee',
  bootKeys: [],
  revocation: { statusBySerial: new Map(), fetchedAtSeconds: NOW },
  revocationAgeMaxSeconds: DAY,
  roots,
})

function verdictOn(made: readonly Made[], change: Partial<AndroidKeyPolicy> = {}) {
  const chain = madeChain(...made)
  const evidence = { x5c: chain.map((der) => der.toString('base64url')) }
  const policy = { ...policyOf([rootOf(chain)]), ...change }
  return verifyAndroidKey(evidence, { challenge: CHALLENGE, nowSeconds: NOW }, policy)
}

const outcome = (made: readonly Made[], change: Partial<AndroidKeyPolicy> = {}) => {
  const verdict = verdictOn(made, change)
  return verdict.ok ? 'accepted' : verdict.reason
}

t.test('a made chain is accepted, with the facts that it states', async (t) => {
  const verdict = verdictOn(usual(leafOf({})))
  if (!verdict.ok) throw new Error(verdict.detail)
  const ecdh = createECDH('prime256v1')
  const { d = '' } = keyOf('leaf').export({ format: 'jwk' })
  ecdh.setPrivateKey(d, 'base64url')
  t.same(verdict.publicKey, ecdh.getPublicKey())
  t.same(verdict.facts, {
    level: 'TrustedEnvironment',
    attestationVersion: '300',
    app: 'org.datanet',
    patchLevel: '202553',
    model: 'Pixel 9a',
  })
})

t.test('KeyDescription: what the hardware says of the key decides', async (t) => {
  const two = (value: Buffer | undefined) => ({ hardware: { purpose: value } })
  const only = (name: string, value: Buffer) => ({
    hardware: { [name]: undefined },
    software: { [name]: value },
  })
  const cases: [what: string, outcome: string, Description][] = [
    ['in StrongBox', 'accepted', { levels: [2, 2] }],
    ['to sign and verify', 'accepted', two(setOf(2, 3))],
    ['in software', 'weak-key', { levels: [0, 0] }],
    ['attested by software', 'weak-key', { levels: [0, 1] }],
    ['held by software', 'weak-key', { levels: [1, 0] }],
    ['to decrypt too', 'weak-key', two(setOf(1, 2))],
    ['to agree too', 'weak-key', two(setOf(2, 6))],
    ['to attest too', 'weak-key', two(setOf(2, 7))],
    ['to verify only', 'weak-key', two(setOf(3))],
    ['for nothing', 'weak-key', two(setOf())],
    ['without purposes', 'weak-key', two(undefined)],
    ['purposes of the system', 'weak-key', only('purpose', setOf(2))],
    ['derived', 'weak-key', { hardware: { origin: integer(1) } }],
    ['imported', 'weak-key', { hardware: { origin: integer(2) } }],
    ['imported securely', 'weak-key', { hardware: { origin: integer(4) } }],
    ['of unknown origin', 'weak-key', { hardware: { origin: undefined } }],
    ['origin of the system', 'weak-key', only('origin', integer(0))],
    ['RSA', 'weak-key', { hardware: { algorithm: integer(1) } }],
    ['on P-384', 'weak-key', { hardware: { curve: integer(2) } }],
    ['on a curve not said', 'weak-key', { hardware: { curve: undefined } }],
    ['of all apps', 'weak-key', { hardware: { allApplications: NULL } }],
    ['of all apps, says the system', 'weak-key', { software: { allApplications: NULL } }],
    ['unlocked', 'weak-device', { hardware: { rootOfTrust: bootOf(false, 0) } }],
    ['signed by its owner', 'weak-device', { hardware: { rootOfTrust: bootOf(true, 1) } }],
    ['not verified', 'weak-device', { hardware: { rootOfTrust: bootOf(true, 2) } }],
    ['failed', 'weak-device', { hardware: { rootOfTrust: bootOf(true, 3) } }],
    ['in an unknown state', 'weak-device', { hardware: { rootOfTrust: bootOf(true, 9) } }],
    ['silent on its start', 'weak-device', { hardware: { rootOfTrust: undefined } }],
    ['started, says the system', 'weak-device', only('rootOfTrust', bootOf(true, 0))],
    ['a field of later versions', 'malformed', { hardware: { unknown: NULL } }],
  ]
  for (const [what, expected, description] of cases) {
    t.equal(outcome(usual(leafOf(description))), expected, what)
  }
  t.equal(outcome(usual(leafOf({ levels: [2, 1] })), { level: 'strongbox' }), 'weak-key')
  t.equal(outcome(usual(leafOf({ levels: [2, 2] })), { level: 'strongbox' }), 'accepted')
})

t.test('a system that its owner signed counts where its key is in the policy', async (t) => {
  const bootKeys = [Buffer.alloc(32, 5).toString('hex')]
  const started = (locked: boolean, state: number, key?: Buffer) =>
    usual(leafOf({ hardware: { rootOfTrust: bootOf(locked, state, key) } }))
  t.equal(outcome(started(true, 1), { bootKeys }), 'accepted')
  t.equal(outcome(started(false, 1), { bootKeys }), 'weak-device', 'unlocked')
  t.equal(outcome(started(true, 2), { bootKeys }), 'weak-device', 'not verified')
  t.equal(outcome(started(true, 1, Buffer.alloc(32, 6)), { bootKeys }), 'weak-device')
})

t.test('attestationApplicationId: every app and every signer must be taken', async (t) => {
  const apps = (packages: string[], signers: string[]) =>
    usual(leafOf({ software: { appId: octets(appOf(packages, signers)) } }))
  const other = 'cd'.repeat(32)
  t.equal(outcome(apps(['org.datanet', 'org.other'], [SIGNER])), 'wrong-app', 'a shared user id')
  t.equal(outcome(apps(['org.datanet'], [SIGNER, other])), 'wrong-app', 'a second signer')
  t.equal(outcome(apps(['org.datanet'], [])), 'wrong-app', 'no signer')
  t.equal(outcome(apps([], [SIGNER])), 'wrong-app', 'no app')
  const missing = usual(leafOf({ software: { appId: undefined } }))
  t.equal(outcome(missing), 'malformed')
  t.equal(outcome(usual(leafOf({ software: { appId: octets('junk') } }))), 'malformed')
  const inHardware = { hardware: { appId: SOFTWARE['appId'] }, software: { appId: undefined } }
  t.equal(outcome(usual(leafOf(inHardware))), 'malformed', 'where the system does not write it')
})

t.test('the description is in the leaf and nowhere else', async (t) => {
  const authority = [Extension.authority(), Extension.certificateSigning()]
  const description = extension(DESCRIPTION, described({}))
  const above = usual(leafOf({}), { extensions: [...authority, description] })
  t.equal(outcome(above), 'bad-chain', 'above it too: an attested key that attests')
  const onlyAbove = usual({}, { extensions: [...authority, description] })
  t.equal(outcome(onlyAbove), 'bad-chain')
  t.equal(outcome(usual({ extensions: [Extension.digitalSignature()] })), 'malformed', 'nowhere')
  t.equal(outcome(usual({ extensions: [description, description] })), 'malformed', 'twice')
  const junk = extension(DESCRIPTION, tlv('30', integer(1)))
  t.equal(outcome(usual({ extensions: [junk] })), 'malformed')
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey
  t.equal(outcome(usual({ ...leafOf({}), key: p384 })), 'weak-key', 'a key on another curve')
})

t.test('X.690 §10: one certificate in its only spelling, and nothing else', async (t) => {
  const chain = madeChain(...usual(leafOf({})))
  const [leaf = Buffer.alloc(0), ...above] = chain
  const rest = above.map((der) => der.toString('base64url'))
  const expected = { challenge: CHALLENGE, nowSeconds: NOW }
  const pem = `-----BEGIN CERTIFICATE-----\n${leaf.toString('base64')}\n-----END CERTIFICATE-----\n`
  const longer = Buffer.concat([Buffer.from('308300', 'hex'), leaf.subarray(2)])
  for (const der of [Buffer.concat([leaf, Buffer.of(0)]), Buffer.from(pem), longer]) {
    const evidence = { x5c: [der.toString('base64url'), ...rest] }
    const verdict = verifyAndroidKey(evidence, expected, policyOf([rootOf(chain)]))
    t.match(verdict, { ok: false, reason: 'malformed' }, der.toString('hex', 0, 5))
  }
})

t.test('RFC 5280 §6.1: who may issue, how deep, and when', async (t) => {
  const leaf = leafOf({})
  const extensions = leaf.extensions ?? []
  const withoutUsage = extensions.slice(1)
  const [end, , root] = usual(leaf)
  if (end === undefined || root === undefined) throw new Error('no chain')
  const authority = (name: string): Made => ({
    name,
    key: keyOf(name),
    extensions: [anyAuthority(), Extension.certificateSigning()],
  })
  const pathZero = [Extension.authority(), Extension.certificateSigning()]
  const deep = [end, authority('A'), { ...authority('B'), extensions: pathZero }, root]
  const unreadable = extension('551d13', tlv('30', Buffer.from('0101ff0200', 'hex')), true)
  const strange = extension('2b0601040101', tlv('05'), true)
  const cases: [what: string, outcome: string, Made[]][] = [
    ['two authorities', 'accepted', [end, authority('A'), authority('B'), root]],
    ['directly from the root', 'accepted', [end, root]],
    ['more below it than it may have', 'bad-chain', deep],
    ['an issuer that is none', 'bad-chain', usual(leaf, { extensions: [Extension.endEntity()] })],
    ['nor says so', 'bad-chain', usual(leaf, { extensions: [Extension.digitalSignature()] })],
    [
      'an authority that may not sign certificates',
      'bad-chain',
      usual(leaf, { extensions: [anyAuthority(), Extension.digitalSignature()] }),
    ],
    [
      'a leaf that may issue',
      'bad-chain',
      usual({ extensions: [...withoutUsage, anyAuthority()] }),
    ],
    ['critical and unknown', 'bad-chain', usual({ extensions: [...extensions, strange] })],
    ['constraints that cannot be read', 'malformed', usual(leaf, { extensions: [unreadable] })],
    ['leaf not yet valid', 'expired', usual({ ...leaf, notBefore: NOW + 1 })],
    ['leaf no longer valid', 'expired', usual({ ...leaf, notAfter: NOW - 1 })],
    ['the last second', 'accepted', usual({ ...leaf, notBefore: NOW, notAfter: NOW })],
    ['issuer no longer valid', 'expired', usual(leaf, { notAfter: NOW - 1 })],
    [
      'root no longer valid',
      'expired',
      [...usual(leaf).slice(0, 2), { ...root, notAfter: NOW - 1 }],
    ],
  ]
  for (const [what, expected, made] of cases) t.equal(outcome(made), expected, what)
})

t.test('a root is known by its key: another certificate for it, or another key', async (t) => {
  const [leaf, middle, root] = usual(leafOf({}))
  if (leaf === undefined || middle === undefined || root === undefined) throw new Error('no chain')
  const pinned = rootOf(madeChain(root))
  const older = { ...root, notBefore: NOW - 9 * DAY, notAfter: NOW - 8 * DAY }
  t.equal(outcome([leaf, middle, older], { roots: [pinned] }), 'accepted', 'one that has run out')
  const other = { ...root, key: keyOf('other') }
  t.equal(outcome([leaf, middle, other], { roots: [pinned] }), 'unpinned-root')
  const evidence = {
    x5c: madeChain(leaf, middle, other)
      .slice(0, 2)
      .map((der) => der.toString('base64url')),
  }
  const expected = { challenge: CHALLENGE, nowSeconds: NOW }
  const verdict = verifyAndroidKey(evidence, expected, policyOf([pinned]))
  t.match(verdict, { ok: false, reason: 'bad-signature' }, 'the name without the key')
})
