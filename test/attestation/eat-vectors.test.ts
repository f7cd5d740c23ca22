// The tokens that RFCs print: accepted with the keys printed beside them, and refused, each for its
// own reason, when one octet is another.

import t from 'tap'
import { decodeStrict, readSign1, sign1Holds } from '../../attestation/cose.ts'
import { boundNonce, checkToken, type EatPolicy, verifyEat } from '../../attestation/eat.ts'
import { type PublicJwk, pointOfJwk, publicKeyOf } from '../../attestation/p256.ts'
import { makeCwt, makeJwt, type PsaVector, privateKey, publicOf, vector } from './eat-maker.ts'

const now = 1_764_000_000

const FILES = ['psa-rfc9783.json', 'psa-legacy.json']

/** What an operator would write to take the device of a vector. */
function policyOf(psa: PsaVector): EatPolicy {
  const endorsement = {
    ...{ by: 'instance-id' as const, id: psa.instance, model: 'example' },
    publicKeyJwk: publicOf(psa.privateKeyJwk),
  }
  return {
    endorsed: [endorsement],
    profiles: [psa.profile],
    clientIds: [psa.clientId],
    software: [],
    maxAgeSeconds: 600,
  }
}

const reasonOf = (verdict: { readonly ok: boolean; readonly reason?: string }): string =>
  verdict.ok ? 'ok' : `${verdict.reason}`

for (const file of FILES) {
  const psa = vector<PsaVector>(file)
  const policy = policyOf(psa)

  t.test(`RFC 9783: ${file} is accepted with its own key`, async (t) => {
    const checked = checkToken('cwt', psa.token, now, policy)
    if (!checked.ok) throw new Error(checked.reason)
    t.equal(checked.claims.profile, psa.profile)
    t.same(Buffer.from(checked.claims.nonce), Buffer.from(psa.nonce, 'base64url'))
    t.same(checked.claims.instance, Buffer.from(psa.instance, 'base64url'))
    t.equal(checked.claims.app, psa.clientId)
    t.equal(checked.claims.lifecycle, '0x3000')
    t.equal(checked.endorsement.model, 'example')
  })

  t.test(`RFC 9783: ${file} speaks of no metering key`, async (t) => {
    const publicKey = pointOfJwk(publicOf(psa.privateKeyJwk))?.toString('base64url')
    const evidence = { form: 'cwt', token: psa.token, publicKey }
    const ask = (challenge: Buffer) =>
      reasonOf(verifyEat(evidence, { challenge, nowSeconds: now }, policy))
    t.equal(ask(Buffer.alloc(32, 9)), 'challenge-mismatch')
    t.equal(ask(Buffer.from(psa.nonce, 'base64url')), 'key-mismatch')
  })

  t.test(`RFC 9783: the device of ${file} enrols a metering key`, async (t) => {
    const octets = readSign1(Buffer.from(psa.token, 'base64url'))
    const claims = decodeStrict(octets?.payload ?? Buffer.of()) as Map<number, unknown>
    const metering = pointOfJwk(publicOf(vector<PsaVector>('psa-legacy.json').privateKeyJwk))
    if (metering === undefined) throw new Error('no point')
    const challenge = Buffer.alloc(32, 5)
    claims.set(psa.profile === 'PSA_IOT_PROFILE_1' ? -75008 : 10, boundNonce(challenge, metering))
    const token = makeCwt(claims, privateKey(psa.privateKeyJwk))
    const evidence = { form: 'cwt', token, publicKey: metering.toString('base64url') }
    const verdict = verifyEat(evidence, { challenge, nowSeconds: now }, policy)
    t.same(verdict, {
      ...{ ok: true, scheme: 'eat', publicKey: metering },
      facts: {
        ...{ form: 'cwt', profile: psa.profile, model: 'example', instance: psa.instance },
        ...{ lifecycle: '0x3000', app: `${psa.clientId}` },
      },
    })
  })

  t.test(`RFC 9783: ${file} with any octet changed is refused`, async (t) => {
    const octets = Buffer.from(psa.token, 'base64url')
    const seen = new Map<string, number>()
    for (let at = 0; at < octets.length; at++) {
      for (const mask of [0x01, 0x80]) {
        octets[at] = (octets[at] ?? 0) ^ mask
        const reason = reasonOf(checkToken('cwt', octets.toString('base64url'), now, policy))
        seen.set(reason, (seen.get(reason) ?? 0) + 1)
        octets[at] = (octets[at] ?? 0) ^ mask
      }
    }
    t.equal(seen.get('ok'), undefined)
    // Another algorithm or profile; another instance; a broken structure; else the signature.
    const reasons = ['bad-signature', 'malformed', 'unpinned-root', 'unsupported']
    t.same([...seen.keys()].sort(), reasons)
    t.ok((seen.get('bad-signature') ?? 0) > octets.length / 2)
  })

  t.test(`RFC 9783: ${file} and each thing that the operator does not take`, async (t) => {
    const { endorsed } = policy
    const [own] = endorsed
    if (own === undefined) throw new Error('no endorsement')
    const other = vector<PsaVector>(FILES.find((each) => each !== file) ?? '')
    const foreign = { ...own, publicKeyJwk: publicOf(other.privateKeyJwk) }
    const cases: readonly [string, EatPolicy][] = [
      ['ok', policy],
      ['unsupported', { ...policy, profiles: [other.profile] }],
      ['unpinned-root', { ...policy, endorsed: [] }],
      ['unpinned-root', { ...policy, endorsed: [{ ...own, id: other.instance }] }],
      ['unpinned-root', { ...policy, endorsed: [{ ...own, by: 'key-id' }] }],
      ['bad-signature', { ...policy, endorsed: [foreign] }],
      ['ok', { ...policy, endorsed: [{ ...own, untilSeconds: now }] }],
      ['expired', { ...policy, endorsed: [{ ...own, untilSeconds: now - 1 }] }],
      ['wrong-app', { ...policy, clientIds: [psa.clientId - 1] }],
      ['weak-device', { ...policy, signers: [] }],
    ]
    for (const [reason, own] of cases) {
      t.equal(reasonOf(checkToken('cwt', psa.token, now, own)), reason)
    }
  })
}

const hash = Buffer.alloc(32, 3)
const component = (...changes: readonly [number, unknown][]) =>
  new Map<number, unknown>([[1, 'PRoT'], [2, hash], [5, hash], ...changes])

/** Claims of the published tokens changed: reason, what it shows, keys of RFC 9783 and before. */
const PSA_CLAIMS: readonly [string, string, readonly [now: number, before: number], unknown][] = [
  ['malformed', '§4.1.1: a nonce of 31 octets', [10, -75008], Buffer.alloc(31)],
  ['ok', '§4.1.1: a nonce of 48 octets', [10, -75008], Buffer.alloc(48)],
  ['malformed', '§4.1.2: client id 0', [2394, -75001], 0],
  ['malformed', '§4.1.2: a client id of 33 bits', [2394, -75001], 2 ** 32 + 1],
  ['malformed', '§4.1.2: no client id', [2394, -75001], undefined],
  ['wrong-app', '§4.1.2: another client id', [2394, -75001], 7],
  ['malformed', '§4.2.1: a UEID of another type', [256, -75009], Buffer.alloc(33, 2)],
  ['malformed', '§4.2.1: a short instance id', [256, -75009], Buffer.alloc(32, 1)],
  ['unpinned-root', '§4.2.1: another instance', [256, -75009], Buffer.alloc(33, 1)],
  ['malformed', '§4.2.2: a short implementation id', [2396, -75003], Buffer.alloc(31)],
  ['weak-device', '§4.3.1: ASSEMBLY_AND_TEST', [2395, -75002], 0x1000],
  ['weak-device', '§4.3.1: PSA_ROT_PROVISIONING', [2395, -75002], 0x2fff],
  ['ok', '§4.3.1: SECURED, the last', [2395, -75002], 0x30ff],
  ['weak-device', '§4.3.1: neither SECURED nor the next', [2395, -75002], 0x3100],
  ['weak-device', '§4.3.1: NON_PSA_ROT_DEBUG', [2395, -75002], 0x4000],
  ['weak-device', '§4.3.1: DECOMMISSIONED', [2395, -75002], 0x60ff],
  ['malformed', '§4.3.1: no such lifecycle', [2395, -75002], 0x6100],
  ['malformed', '§4.3.1: half a lifecycle', [2395, -75002], 12288.5],
  ['malformed', '§4.4.1: no components', [2399, -75006], undefined],
  ['malformed', '§4.4.1: components of none', [2399, -75006], []],
  ['malformed', '§4.4.1: too many components', [2399, -75006], Array(65).fill(component())],
  ['ok', '§4.4.1: 64 components', [2399, -75006], Array(64).fill(component())],
  ['malformed', '§4.4.1: a component without signer', [2399, -75006], [component([5, 'me'])]],
  [
    'malformed',
    '§4.4.1: a component without value',
    [2399, -75006],
    [component([2, hash.toString()])],
  ],
  ['malformed', '§4.4.1: a type of no text', [2399, -75006], [component([1, 1])]],
  ['malformed', '§4.4.1: a component of no map', [2399, -75006], [1]],
  ['ok', 'another claim is ignored', [2400, -75010], 'https://verifier.example'],
]

for (const [edition, file] of FILES.entries()) {
  t.test(`RFC 9783 §4: each claim of ${file}`, async (t) => {
    const psa = vector<PsaVector>(file)
    const payload = readSign1(Buffer.from(psa.token, 'base64url'))?.payload ?? Buffer.of()
    const key = privateKey(psa.privateKeyJwk)
    const policy = policyOf(psa)
    const ask = (changes: readonly [number, unknown][], own = policy): string => {
      const claims = decodeStrict(payload) as Map<number, unknown>
      for (const [label, value] of changes) {
        if (value === undefined) claims.delete(label)
        else claims.set(label, value)
      }
      return reasonOf(checkToken('cwt', makeCwt(claims, key), now, own))
    }
    for (const [reason, name, labels, value] of PSA_CLAIMS) {
      t.equal(ask([[labels[edition] ?? 0, value]]), reason, name)
    }
    const mine = { ...policy, signers: [hash.toString('base64url')] }
    const label = edition === 0 ? 2399 : -75006
    t.equal(ask([[label, [component(), component()]]], mine), 'ok', 'all of a signer we take')
    const others = component([5, Buffer.alloc(32, 4)])
    t.equal(ask([[label, [component(), others]]], mine), 'weak-device', 'one of another signer')
    const nothing: [number, unknown][] = [
      [label, undefined],
      [-75007, 1],
    ]
    t.equal(ask(nothing), edition === 0 ? 'malformed' : 'ok', '§4.6: measures nothing')
    t.equal(ask(nothing, mine), edition === 0 ? 'malformed' : 'weak-device')
    t.equal(
      ask([
        [label, 'broken'],
        [-75007, 1],
      ]),
      'malformed',
      'measures nothing, and something',
    )
  })
}

t.test('RFC 8392 §A.3: the signature of a CWT with a key id', async (t) => {
  const cwt = vector<{ token: string; publicKeyJwk: PublicJwk; keyId: string }>('cwt-rfc8392.json')
  const octets = Buffer.from(cwt.token, 'base64url')
  const message = readSign1(octets)
  const key = publicKeyOf(pointOfJwk(cwt.publicKeyJwk) ?? Buffer.of())
  if (message === undefined || key === undefined) throw new Error('not read')
  t.equal(sign1Holds(message, key), true)
  t.equal(Buffer.from(message.keyId ?? []).toString('base64url'), cwt.keyId)
  t.equal((decodeStrict(message.payload) as Map<number, unknown>).get(2), 'erikw')
  const tagged = readSign1(Buffer.concat([Buffer.of(0xd8, 61), octets]))
  t.equal(tagged !== undefined && sign1Holds(tagged, key), true, '§6: behind the CWT tag')
  t.equal(readSign1(octets.subarray(1)), undefined, 'without a tag it could be anything')
  t.equal(readSign1(Buffer.concat([Buffer.of(0xd8, 61), octets.subarray(1)])), undefined)
})

t.test(
  'RFC 9711: the examples are read, and refused for want of a profile or of ES256',
  async (t) => {
    const psa = vector<PsaVector>('psa-rfc9783.json')
    const policy = policyOf(psa)
    const cwt = vector<{ token: string }>('cwt-rfc9711.json')
    const message = readSign1(Buffer.from(cwt.token, 'base64url'))
    t.equal(message?.algorithm, -7)
    const claims = decodeStrict(message?.payload ?? Buffer.of()) as Map<number, unknown>
    t.same(claims.get(10), Buffer.from('000102030405060708', 'hex'), 'its nonce')
    t.equal(reasonOf(checkToken('cwt', cwt.token, now, policy)), 'malformed')
    const jwt = vector<{ token: string }>('jwt-rfc9711.json')
    t.equal(reasonOf(checkToken('jwt', jwt.token, now, policy)), 'unsupported', 'HS256')
    const { payload } = vector<{ payload: unknown }>('jwt-rfc9711.json')
    const signed = makeJwt(payload, privateKey(psa.privateKeyJwk))
    t.equal(reasonOf(checkToken('jwt', signed, now, policy)), 'malformed', 'no profile')
  },
)
