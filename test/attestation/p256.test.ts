import { generateKeyPairSync, sign } from 'node:crypto'
import t from 'tap'
import { octetsOf } from '../../attestation/evidence.ts'
import { pointOf, pointOfJwk, publicKeyOf, signatureHolds } from '../../attestation/p256.ts'

const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const jwk = publicKey.export({ format: 'jwk' })
const point = pointOfJwk(jwk)
if (point === undefined) throw new Error('no point')

t.test('octets have one spelling', async (t) => {
  t.same(octetsOf('AAE', 2), Buffer.of(0, 1))
  // F has bits that no octet takes up; the others are no base64url without padding.
  for (const text of ['AAF', 'AAE=', 'AA+/', 'A', 'AAE ', '', 7, undefined]) {
    t.equal(octetsOf(text, 100), undefined, `${text}`)
  }
  t.equal(octetsOf('AAE', 1), undefined, 'longer than it may be')
})

t.test('a key is a point of the curve, public and uncompressed', async (t) => {
  t.equal(publicKeyOf(point)?.equals(publicKey), true)
  t.same(pointOf(point.subarray(1, 33), point.subarray(33)), point)
  const off = Buffer.from(point)
  off[64] = (off[64] ?? 0) ^ 1
  const compressed = Buffer.concat([Buffer.of(2), point.subarray(1, 33)])
  for (const each of [off, compressed, point.subarray(1), Buffer.alloc(65), Buffer.alloc(0)]) {
    t.equal(publicKeyOf(each), undefined)
  }
  t.equal(pointOf(Buffer.alloc(32), Buffer.alloc(32)), undefined, 'infinity')
  t.equal(pointOf(point.subarray(1, 32), point.subarray(33)), undefined, 'RFC 7518 §6.2.1.2')
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey
  const others = [p384.export({ format: 'jwk' }), privateKey.export({ format: 'jwk' })]
  for (const each of [...others, { ...jwk, kty: 'OKP' }, { ...jwk, x: 1 }, null, 'jwk', {}]) {
    t.equal(pointOfJwk(each), undefined)
  }
})

t.test('a signature is r and s, 64 octets', async (t) => {
  const data = Buffer.from('data')
  const signature = sign('sha256', data, { key: privateKey, dsaEncoding: 'ieee-p1363' })
  t.equal(signatureHolds(publicKey, data, signature), true)
  t.equal(signatureHolds(publicKey, Buffer.from('date'), signature), false)
  t.equal(signatureHolds(publicKey, data, sign('sha256', data, privateKey)), false, 'DER')
  t.equal(signatureHolds(publicKey, data, Buffer.alloc(64)), false, 'zeros')
  t.equal(signatureHolds(publicKey, data, Buffer.alloc(0)), false)
})
