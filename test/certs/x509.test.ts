// One certificate, one reading: canonical DER only, and never a key other than the one OpenSSL
// sees.

import { createPublicKey, X509Certificate } from 'node:crypto'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { CertificateError, fromDer, integer, sequence, time, toDer } from '../../certs/der.ts'
import { isRefused, readIdentity } from '../../certs/identity.ts'
import { privateKeyOf, spkiOfKey } from '../../certs/issue.ts'
import { curvePoint, pemBlock, readCertificate, spkiOf, toPem } from '../../certs/x509.ts'
import {
  account,
  bytesOf,
  certificateWith,
  deviceSpki,
  domain,
  notAfter,
  notBefore,
} from './fixtures.ts'

const der = certificateWith()

function malformed(t: Test, bytes: Buffer, what: string): void {
  t.throws(() => readCertificate(bytes), CertificateError, what)
}

/** Replaces the one place where `from` stands by `to`, of the same length. */
function replaced(from: Buffer, to: Buffer): Buffer {
  const at = der.indexOf(from)
  if (at < 0 || from.length !== to.length) throw new Error('nothing to replace')
  return Buffer.concat([der.subarray(0, at), to, der.subarray(at + from.length)])
}

/** Undefined: not a certificate to OpenSSL, so that no TLS handshake ever brings it to us. */
function readByOpenssl(bytes: Buffer): X509Certificate | undefined {
  try {
    return new X509Certificate(bytes)
  } catch {
    return undefined
  }
}

/**
 * Whatever bytes are accepted are still the account's certificate for the very same key and
 * validity.
 */
function holds(t: Test, bytes: Buffer, what: string): boolean {
  const result = readIdentity(bytes, domain)
  if (isRefused(result)) return false
  const openssl = readByOpenssl(bytes)
  if (openssl === undefined) return true
  const sameKey = openssl.publicKey.export({ type: 'spki', format: 'der' }).equals(deviceSpki)
  const sameTimes =
    openssl.validFromDate.getTime() === notBefore * 1000 &&
    openssl.validToDate.getTime() === notAfter * 1000
  if (result.account !== account || !sameKey || !sameTimes) t.fail(what)
  return true
}

t.test('every prefix and every added byte is malformed', async (t) => {
  let thrown = 0
  for (let length = 0; length < der.length; length++) {
    const result = readIdentity(der.subarray(0, length), domain)
    if (isRefused(result) && result.refusal === 'certificate-malformed') thrown++
  }
  t.equal(thrown, der.length)
  for (const extra of [0x00, 0x05, 0x30, 0xff]) {
    malformed(t, Buffer.concat([der, Buffer.of(extra)]), `${extra} after the end`)
  }
})

t.test('no single bit flip makes another identity', async (t) => {
  let accepted = 0
  for (let bit = 0; bit < der.length * 8; bit++) {
    const copy = Buffer.from(der)
    copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    if (holds(t, copy, `bit ${bit}`)) accepted++
  }
  // Serial number, names and the certificate's own signature prove nothing here and may differ.
  t.ok(accepted > 500 && accepted < 2000, `${accepted} flips outside what the account signed`)
})

t.test('2,000 seeded mutations: no crash, no other identity', async (t) => {
  const mutation = fc.array(
    fc.tuple(fc.nat(der.length - 1), fc.nat(40), fc.uint8Array({ maxLength: 40 })),
    { minLength: 1, maxLength: 4 },
  )
  const property = fc.property(mutation, (cuts) => {
    let bytes = der
    for (const [at, remove, insert] of cuts) {
      bytes = Buffer.concat([bytes.subarray(0, at), insert, bytes.subarray(at + remove)])
    }
    holds(t, bytes, bytes.toString('hex'))
  })
  fc.assert(property, { numRuns: 2000, seed: 7 })
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (noise) => {
      t.ok(isRefused(readIdentity(Buffer.from(noise), domain)))
    }),
    { numRuns: 500, seed: 7 },
  )
})

t.test('X.690 §10: other spellings of the same values are refused', async (t) => {
  t.equal(der[1], 0x82, 'the outer length takes two octets')
  const longLength = Buffer.concat([Buffer.of(0x30, 0x83, 0), der.subarray(2)])
  malformed(t, longLength, 'a length of three octets')
  const indefinite = Buffer.concat([Buffer.of(0x30, 0x80), der.subarray(4), Buffer.alloc(2)])
  malformed(t, indefinite, 'an indefinite length')
  t.throws(() => fromDer(Buffer.of(2, 2, 0, 1)), CertificateError, 'a padded integer')
  t.throws(() => fromDer(Buffer.alloc(4000, 0x30)), CertificateError, 'endless nesting')
  let nested = sequence()
  for (let i = 0; i < 60; i++) nested = sequence(nested)
  t.throws(() => fromDer(toDer(nested)), CertificateError, 'sixty levels')
})

t.test('RFC 5280 §4.1.2.5: validity times have one form', async (t) => {
  const facts = readCertificate(der)
  t.equal(facts.notBefore, notBefore)
  t.equal(facts.notAfter, notAfter)
  const from = toDer(time(notBefore)).subarray(2)
  t.equal(from.toString(), '260921140320Z')
  for (const text of [
    '260231140320Z',
    '261321140320Z',
    '260921240320Z',
    '260921140360Z',
    '26092114032 Z',
    '260921140320z',
    '26092114+0100',
    '600921140320Z',
    '280921140320Z',
  ]) {
    malformed(t, replaced(from, Buffer.from(text)), text)
  }
  t.equal(toDer(time(2_524_608_000)).subarray(2).toString(), '20500101000000Z')
  t.equal(toDer(time(2_524_607_999)).subarray(2).toString(), '491231235959Z')
  const late = certificateWith({ notBefore: 2_524_607_000, notAfter: 2_524_609_000 })
  t.match(readCertificate(late), { notBefore: 2_524_607_000, notAfter: 2_524_609_000 })
})

t.test('only version 3 with the fields of RFC 5280 §4.1', async (t) => {
  malformed(t, replaced(Buffer.from('a003020102', 'hex'), Buffer.from('a003020101', 'hex')), 'v2')
  malformed(t, replaced(Buffer.from('a003020102', 'hex'), Buffer.from('a103020102', 'hex')), '[1]')
  malformed(t, replaced(Buffer.from('0101ff', 'hex'), Buffer.from('010101', 'hex')), 'TRUE as 1')
})

t.test('keys are read in their one form, as OpenSSL writes them', async (t) => {
  for (const curve of ['P-256', 'secp256k1'] as const) {
    const spki = spkiOfKey(privateKeyOf(curve, bytesOf(curve)))
    const key = curvePoint(spki)
    t.equal(key?.curve, curve)
    t.same(spkiOf(curve, key?.point ?? Buffer.alloc(0)), spki)
    t.ok(createPublicKey({ key: spki, format: 'der', type: 'spki' }))
    t.equal(curvePoint(Buffer.concat([spki, Buffer.of(0)])), undefined)
    t.equal(curvePoint(spki.subarray(1)), undefined)
    t.throws(() => spkiOf(curve, Buffer.alloc(65)), CertificateError)
  }
})

t.test('PEM blocks are found by their label', async (t) => {
  const pem = toPem('CERTIFICATE', der)
  t.same(pemBlock(`before\n${pem}after`, 'CERTIFICATE'), der)
  t.same(new X509Certificate(pem).raw, der)
  t.equal(pemBlock(pem, 'PUBLIC KEY'), undefined)
  t.equal(pemBlock('', 'CERTIFICATE'), undefined)
})

t.test('integers are unsigned and minimal', async (t) => {
  for (const [octets, hex] of [
    ['00', '020100'],
    ['0001', '020101'],
    ['80', '02020080'],
    ['00ff00', '020300ff00'],
  ] as const) {
    t.equal(toDer(integer(Buffer.from(octets, 'hex'))).toString('hex'), hex)
  }
})
