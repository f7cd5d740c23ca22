// What an attestation key could say that still must not count: the recorded structures, changed and
// signed again by a key in this test that the server takes for a TPM's.

import { generateKeyPairSync, sign } from 'node:crypto'
import t from 'tap'
import { verifyTpm } from '../../attestation/tpm.ts'
import type { TpmPolicy } from '../../attestation/tpm-credential.ts'
import { OBJECT, readTpm2bPublic } from '../../attestation/tpm-structures.ts'
import { octets, recorded, text } from './tpm-recorded.ts'

const rsa = recorded('rsa')
const ak = generateKeyPairSync('ec', { namedCurve: 'P-256' })

/** A copy of `bytes` with `part` at a place. */
function put(bytes: Buffer, at: number, part: Buffer): Buffer {
  const copy = Buffer.from(bytes)
  part.copy(copy, at < 0 ? copy.length + at : at)
  return copy
}

/** The recorded attestation key's area, with the point of ours. */
function areaOfOurs(): Buffer {
  const { x = '', y = '' } = ak.publicKey.export({ format: 'jwk' })
  const area = octets(rsa.first.akPublic)
  return put(put(area, -66, octets(x)), -32, octets(y))
}

function signed(attest: Buffer) {
  const rs = sign('sha256', attest, { key: ak.privateKey, dsaEncoding: 'ieee-p1363' })
  const [r, s] = [rs.subarray(0, 32), rs.subarray(32)]
  const head = Buffer.from('0018000b', 'hex')
  const signature = Buffer.concat([head, Buffer.of(0, 32), r, Buffer.of(0, 32), s])
  return { attest: text(attest), signature: text(signature) }
}

const kept = { ...rsa.kept, akPublic: areaOfOurs() }
const expected = { ...rsa.expected, kept }
const { secret, meteringPublic } = rsa.second
const area = octets(meteringPublic)
const certify = octets(rsa.second.certify.attest)
const quote = octets(rsa.second.quote.attest)
// The certified name and the qualified one end it, each with 34 octets behind a length.
const NAME_AT = certify.length - 36 - 34

const reason = (o: object, policy: TpmPolicy = rsa.policy) => {
  const evidence = { secret, meteringPublic, certify: signed(certify), ...o }
  const verdict = verifyTpm(evidence, expected, policy)
  return verdict.ok ? 'accepted' : verdict.reason
}

/** Evidence of a metering key with another public area, certified by our key. */
function certified(changed: Buffer): object {
  const name = readTpm2bPublic(changed)?.name ?? Buffer.alloc(34)
  return { meteringPublic: text(changed), certify: signed(put(certify, NAME_AT, name)) }
}

t.test('TPM 2.0: a metering key must have each attribute, and none of the others', async (t) => {
  t.equal(reason({}), 'accepted', 'our key stands for a TPM')
  const attributes = area.readUInt32BE(6)
  const withBits = (bits: number) => {
    const changed = Buffer.from(area)
    changed.writeUInt32BE(bits >>> 0, 6)
    return reason(certified(changed))
  }
  t.equal(withBits(attributes), 'accepted')
  const { fixedTpm, fixedParent, sensitiveDataOrigin, userWithAuth, sign, ...others } = OBJECT
  for (const bit of [fixedTpm, fixedParent, sensitiveDataOrigin, userWithAuth, sign]) {
    t.equal(withBits(attributes & ~bit), 'weak-key', `without ${bit}`)
  }
  t.equal(withBits(attributes | others.restricted), 'weak-key')
  t.equal(withBits(attributes | others.decrypt), 'weak-key')
  t.equal(withBits(attributes | others.adminWithPolicy), 'accepted')
  t.equal(withBits(attributes | 1), 'malformed', 'a bit that means nothing')
  t.equal(withBits(attributes | 0x80000000), 'malformed', 'nor does the highest')
})

t.test('TPM 2.0: a metering key is P-256 for ECDSA with SHA-256', async (t) => {
  // Length, type, nameAlg, attributes, policy; then symmetric, scheme, its hash, curve, KDF.
  const table: readonly [name: string, wanted: string, Buffer][] = [
    ['ECDAA', 'malformed', put(area, 14, Buffer.of(0x00, 0x1a))],
    ['ECDSA with SHA-1', 'malformed', put(area, 16, Buffer.of(0x00, 0x04))],
    ['P-521', 'malformed', put(area, 18, Buffer.of(0x00, 0x05))],
    ['a point off the curve', 'malformed', put(area, -32, Buffer.alloc(32, 1))],
    ['a name by SHA-1', 'malformed', put(area, 4, Buffer.of(0x00, 0x04))],
  ]
  for (const [name, wanted, changed] of table) t.equal(reason(certified(changed)), wanted, name)
  const unbound = Buffer.concat([
    ...[Buffer.of(0, area.length - 4), area.subarray(2, 14), Buffer.of(0x00, 0x10)],
    area.subarray(18),
  ])
  t.equal(reason(certified(unbound)), 'weak-key', 'bound to no scheme')
})

t.test('TPM 2.0 Part 2 §10.12: what is signed must be what a TPM makes', async (t) => {
  const table: readonly [name: string, wanted: string, Buffer][] = [
    ['not TPM_GENERATED', 'malformed', put(certify, 0, Buffer.of(0xfe))],
    ['about time', 'malformed', put(certify, 4, Buffer.of(0x80, 0x19))],
    ['about a creation', 'malformed', put(certify, 4, Buffer.of(0x80, 0x1a))],
    ['another challenge', 'challenge-mismatch', put(certify, 44, Buffer.alloc(32))],
    ['another name', 'key-mismatch', put(certify, NAME_AT + 2, Buffer.alloc(32))],
    ['one octet more', 'malformed', Buffer.concat([certify, Buffer.of(0)])],
    ['one octet less', 'malformed', certify.subarray(0, -1)],
  ]
  for (const [name, wanted, changed] of table) {
    t.equal(reason({ certify: signed(changed) }), wanted, name)
  }
})

t.test('TPM 2.0 Part 3 §18.4: registers of the one bank that was asked for', async (t) => {
  // A quote ends in count, bank, octets of selection, selection, digest.
  const at = quote.length - 34 - 10
  const digests = [quote.subarray(-32)]
  const policy = { ...rsa.policy, pcrs: { registers: [0, 7], digests } }
  const selection = (...banks: string[]) => {
    const count = Buffer.of(0, 0, 0, banks.length)
    const all = Buffer.concat([count, ...banks.map((bank) => Buffer.from(bank, 'hex'))])
    return signed(Buffer.concat([quote.subarray(0, at), all, quote.subarray(-34)]))
  }
  const table: readonly [name: string, wanted: string, string[]][] = [
    ['as recorded', 'accepted', ['000b03810000']],
    ['an empty bank beside it', 'accepted', ['000403000000', '000b03810000']],
    ['the SHA-1 bank', 'weak-device', ['000403810000']],
    ['two banks', 'weak-device', ['000b03810000', '000403010000']],
    ['one register more', 'weak-device', ['000b03830000']],
    ['none', 'weak-device', []],
    ['nine banks', 'malformed', Array<string>(9).fill('000b03000000')],
    ['a selection of five octets', 'malformed', ['000b058100000000']],
  ]
  for (const [name, wanted, banks] of table) {
    t.equal(reason({ quote: selection(...banks) }, policy), wanted, name)
  }
  const elsewhere = signed(put(quote, 44, Buffer.alloc(32)))
  t.equal(reason({ quote: elsewhere }, policy), 'challenge-mismatch')
  t.equal(reason({ quote: elsewhere }), 'challenge-mismatch', 'also where none is asked for')
})
