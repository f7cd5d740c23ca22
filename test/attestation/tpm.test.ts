// The second step of a TPM's enrolment over recorded evidence: accepted as it is, refused with
// every octet altered, and never a throw.

import { p256 } from '@noble/curves/nist.js'
import fc from 'fast-check'
import t from 'tap'
import { verifyTpm } from '../../attestation/tpm.ts'
import type { TpmPolicy } from '../../attestation/tpm-credential.ts'
import { readAttest, readTpm2bPublic } from '../../attestation/tpm-structures.ts'
import { octets, recorded, text, turned } from './tpm-recorded.ts'

const rsa = recorded('rsa')
const ecc = recorded('ecc')
// Both registers were as at the start: SHA-256 of 64 zero octets.
const ZEROS = Buffer.from('f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b', 'hex')
const pcrs = { registers: [0, 7], digests: [ZEROS] }

type Alter = (o: typeof rsa.second) => unknown
type AlterWord = (changed: string) => unknown
const reason = (second: unknown, o = rsa, policy: TpmPolicy = o.policy) => {
  const verdict = verifyTpm(second, o.expected, policy)
  return verdict.ok ? 'accepted' : verdict.reason
}

for (const [name, o] of Object.entries({ rsa, ecc })) {
  t.test(`TPM 2.0: the recorded enrolment with an ${name} endorsement key`, async (t) => {
    const verdict = verifyTpm(o.second, o.expected, { ...o.policy, pcrs })
    t.same(verdict, {
      ok: true,
      scheme: 'tpm',
      publicKey: octets(o.publicKey),
      facts: {
        manufacturer: name === 'rsa' ? '00001014' : '',
        endorsementKey: o.kept.endorsementKey,
        pcrs: ZEROS.toString('hex'),
      },
    })
    const { digest, signature } = o.signed
    const asIs = { prehash: false, lowS: false }
    t.ok(p256.verify(octets(signature), octets(digest), octets(o.publicKey), asIs))
  })
}

/** Every octet of one part, each with one bit and with all bits turned. */
function each(word: string, alter: AlterWord): Map<string, number> {
  const seen = new Map<string, number>()
  for (let at = 0; at < octets(word).length; at++) {
    for (const bits of [1, 0x80, 0xff]) {
      const found = reason(alter(turned(word, at, bits)), rsa, { ...rsa.policy, pcrs })
      seen.set(found, (seen.get(found) ?? 0) + 1)
    }
  }
  return seen
}

t.test('TPM 2.0: every octet altered is refused, with the reasons of its part', async (t) => {
  const { second } = rsa
  const { certify, quote } = second
  const table: readonly [name: string, word: string, allowed: string[], AlterWord][] = [
    ['secret', second.secret, ['challenge-mismatch'], (secret) => ({ ...second, secret })],
    [
      'metering key',
      second.meteringPublic,
      ['malformed', 'key-mismatch'],
      (meteringPublic) => ({ ...second, meteringPublic }),
    ],
    [
      'certify',
      certify.attest,
      ['malformed', 'bad-signature'],
      (attest) => ({ ...second, certify: { ...certify, attest } }),
    ],
    [
      'its signature',
      certify.signature,
      ['malformed', 'bad-signature'],
      (signature) => ({ ...second, certify: { ...certify, signature } }),
    ],
    [
      'quote',
      quote.attest,
      ['malformed', 'bad-signature'],
      (attest) => ({ ...second, quote: { ...quote, attest } }),
    ],
    [
      "quote's signature",
      quote.signature,
      ['malformed', 'bad-signature'],
      (signature) => ({ ...second, quote: { ...quote, signature } }),
    ],
  ]
  for (const [name, word, allowed, alter] of table) {
    const seen = each(word, alter)
    t.same([...seen.keys()].sort(), allowed.toSorted(), `${name}: ${JSON.stringify([...seen])}`)
  }
})

t.test('TPM 2.0: whatever else does not fit has its own reason', async (t) => {
  const { second } = rsa
  const { certify, quote } = second
  const table: readonly [name: string, reason: string, alter: Alter][] = [
    ['all of it', 'accepted', (o) => o],
    ['another TPM signed', 'bad-signature', (o) => ({ ...o, certify: ecc.second.certify })],
    ['signatures swapped', 'bad-signature', (o) => swapped(o)],
    ['quote for certify', 'malformed', (o) => ({ ...o, certify: quote })],
    ['certify for quote', 'malformed', (o) => ({ ...o, quote: certify })],
    ['an older quote', 'bad-signature', (o) => ({ ...o, quote: ecc.second.quote })],
    [
      'another metering key',
      'key-mismatch',
      (o) => ({ ...o, meteringPublic: ecc.second.meteringPublic }),
    ],
    ['the attestation key', 'key-mismatch', (o) => ({ ...o, meteringPublic: rsa.first.akPublic })],
    ['no quote', 'weak-device', ({ quote: _, ...o }) => o],
    ['no secret', 'malformed', ({ secret: _, ...o }) => o],
    ['a field more', 'malformed', (o) => ({ ...o, scheme: 'tpm' })],
    ['a length in front', 'malformed', (o) => lengthened(o)],
    ['padding', 'malformed', (o) => ({ ...o, secret: `${o.secret}=` })],
    ['an array', 'malformed', (o) => [o]],
  ]
  for (const [name, wanted, alter] of table) {
    t.equal(reason(alter(second), rsa, { ...rsa.policy, pcrs }), wanted, name)
  }
  const { quote: _, ...without } = second
  t.equal(reason(without), 'accepted', 'no quote where none is asked for')
  const other = { ...rsa, expected: { ...rsa.expected, challenge: ecc.expected.challenge } }
  t.equal(reason(second, other), 'challenge-mismatch', 'another challenge')
  const theirs = { ...rsa, expected: { ...rsa.expected, kept: ecc.kept } }
  t.equal(reason(second, theirs), 'challenge-mismatch', "another enrolment's secret")
  const digests = [ZEROS]
  const asks = (registers: number[]) => ({ ...rsa.policy, pcrs: { registers, digests } })
  t.equal(reason(second, rsa, asks([7, 0, 7])), 'accepted')
  t.equal(reason(second, rsa, asks([0, 8])), 'weak-device')
  t.equal(reason(second, rsa, asks([0])), 'weak-device')
  const none = { ...rsa.policy, pcrs: { registers: [0, 7], digests: [] } }
  t.equal(reason(second, rsa, none), 'weak-device', 'values that nobody allows')
})

function swapped(o: typeof rsa.second): unknown {
  const { certify, quote } = o
  return {
    ...o,
    certify: { ...certify, signature: quote.signature },
    quote: { ...quote, signature: certify.signature },
  }
}

function lengthened(o: typeof rsa.second): unknown {
  const attest = octets(o.certify.attest)
  const framed = Buffer.concat([Buffer.of(0, attest.length), attest])
  return { ...o, certify: { ...o.certify, attest: text(framed) } }
}

t.test('TPM 2.0: garbage is refused, not thrown at', async (t) => {
  const known = fc.constantFrom<unknown>(...Object.values(rsa.second), rsa.second)
  const word = fc.uint8Array({ maxLength: 200 }).map((o) => Buffer.from(o).toString('base64url'))
  const signed = fc.record({ attest: word, signature: word })
  const o = fc.record({
    secret: fc.oneof(word, known),
    meteringPublic: fc.oneof(word, known),
    certify: fc.oneof(signed, known),
    quote: fc.oneof(signed, known),
  })
  const refused = (value: unknown) => {
    const verdict = verifyTpm(value, rsa.expected, rsa.policy)
    return !verdict.ok || JSON.stringify(value) === JSON.stringify(rsa.second)
  }
  fc.assert(fc.property(fc.oneof(o, fc.anything()), refused), { numRuns: 1000, seed: 20 })
  const structure = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes))
  fc.assert(
    fc.property(structure, (bytes) => {
      readTpm2bPublic(bytes)
      readAttest(Buffer.concat([Buffer.from('ff5443478018', 'hex'), bytes]))
    }),
    { numRuns: 1000, seed: 21 },
  )
  t.pass('2,000 values')
})

t.test('TPM 2.0 Part 1 §16: a name is of the whole public area', async (t) => {
  for (const { second } of [rsa, ecc]) {
    const attest = readAttest(octets(second.certify.attest))
    const area = readTpm2bPublic(octets(second.meteringPublic))
    if (attest?.type !== 'certify') throw new Error('no certify')
    t.same(area?.name, attest.name)
    t.equal(area?.name.length, 34)
    t.ok(attest.extraData.length === 32 && attest.qualifiedSigner.length === 34)
  }
  const quote = readAttest(octets(rsa.second.quote.attest))
  if (quote?.type !== 'quote') throw new Error('no quote')
  t.same(quote.selections, [{ hash: 0x000b, registers: [0, 7] }])
  t.same(quote.digest, ZEROS)
})
