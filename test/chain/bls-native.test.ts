// blst and noble must agree: on what is a key or a signature, on sums, on what verifies, and on the
// bytes that go to the contract. Needs @chainsafe/blst; without it this fails, and does not skip.

import { bls12_381 } from '@noble/curves/bls12-381.js'
import fc from 'fast-check'
import t from 'tap'
import { type BlsEngine, blsPublicKey, deriveMerchantBlsKey, nobleBls } from '../../chain/bls.ts'
import { blsEngine, loadNativeBls } from '../../chain/bls-native.ts'
import { collectSignatures } from '../../chain/payplace/signers.ts'
import { addressOf } from '../accounting/store-fixtures.ts'

type Engine = BlsEngine<unknown, unknown>
const found = loadNativeBls()
if (found === undefined) throw new Error('@chainsafe/blst does not load here')
const native = found as Engine
const noble = nobleBls as Engine
const ENGINES = [native, noble]
const RUNS = { seed: 0xb15, numRuns: 12 }

const contract = addressOf(3)
const secretOf = (operator: number): Buffer =>
  deriveMerchantBlsKey({ accountKey: Buffer.alloc(32, 7), chainId: 31_337n, contract, operator })
const { G1, G2 } = bls12_381

/** What both say, which must be the same. */
function both<Result>(of: (engine: Engine) => Result, name: string): Result {
  const [ours, theirs] = ENGINES.map(of) as [Result, Result]
  t.same(ours, theirs, name)
  return ours
}

t.test('blst is what is used where it is there', async (t) => {
  t.equal(native.name, 'blst')
  t.equal(blsEngine.name, 'blst')
})

t.test('the same signatures, sums and codings', async (t) => {
  const digests = fc.uint8Array({ minLength: 32, maxLength: 32 })
  const ids = fc.uniqueArray(fc.integer({ min: 1, max: 1_000 }), { minLength: 1, maxLength: 4 })
  fc.assert(
    fc.property(digests, ids, (digest, signers) => {
      const bytes = signers.map((id) =>
        both((engine) => engine.sign(digest, secretOf(id)).toString('hex'), `signed by ${id}`),
      )
      const coding = both((engine) => {
        const signatures = bytes.map((hex) => engine.signature(Buffer.from(hex, 'hex')))
        const keys = signers.map((id) => engine.key(blsPublicKey(secretOf(id))))
        t.notOk([...signatures, ...keys].includes(undefined), `${engine.name} reads all`)
        const [sum, key] = [engine.sumSignatures(signatures), engine.sumKeys(keys)]
        t.ok(engine.verify(digest, key, sum), `${engine.name}: the sum verifies`)
        t.notOk(engine.verify(Buffer.alloc(32, 9), key, sum), `${engine.name}: another digest`)
        return engine.signatureCoding(sum).toString('hex')
      }, 'for the contract')
      t.equal(coding.length, 512)
    }),
    RUNS,
  )
})

const point = (x: bigint, y: bigint): Buffer =>
  Buffer.from([x, y].map((c) => c.toString(16).padStart(128, '0')).join(''), 'hex')

function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n
  for (let b = base, e = exponent; e > 0n; e >>= 1n, b = (b * b) % modulus) {
    if ((e & 1n) === 1n) result = (result * b) % modulus
  }
  return result
}

/** A point of the curve that is not of the subgroup: most are not. */
function outsideSubgroup(): Buffer {
  const p = G1.Point.Fp.ORDER
  for (let x = 1n; ; x++) {
    const square = (x ** 3n + 4n) % p
    const y = power(square, (p + 1n) / 4n, p)
    if ((y * y) % p !== square) continue
    if (!G1.Point.fromAffine({ x, y }).isTorsionFree()) return point(x, y)
  }
}

/** `key` with one byte set. */
function changed(key: Buffer, at: number, value: number): Buffer {
  const copy = Buffer.from(key)
  copy.writeUInt8(value, at)
  return copy
}

t.test('D2, D26: neither takes what is no key', async (t) => {
  const key = blsPublicKey(secretOf(1))
  const { x, y } = G1.Point.fromBytes(G1.Point.BASE.toBytes(true)).toAffine()
  const p = G1.Point.Fp.ORDER
  const codings: Record<string, Buffer> = {
    infinity: Buffer.alloc(128),
    'off the curve': changed(key, 127, key.readUInt8(127) ^ 1),
    'outside the subgroup': outsideSubgroup(),
    'x above p': point(x + p, y),
    'y above p': point(x, y + p),
    'something in the padding of x': changed(key, 0, 1),
    'something in the padding of y': changed(key, 79, 1),
    'the flag of infinity': changed(Buffer.alloc(128), 16, 0x40),
    'the flag of a compressed point': changed(key, 16, key.readUInt8(16) | 0x80),
    'the flag of a sign': changed(key, 16, key.readUInt8(16) | 0x20),
    'a byte less': key.subarray(1),
    'a byte more': Buffer.concat([key, Buffer.alloc(1)]),
    nothing: Buffer.alloc(0),
  }
  for (const [name, coding] of Object.entries(codings)) {
    for (const engine of ENGINES) t.equal(engine.key(coding), undefined, `${engine.name}: ${name}`)
  }
  t.ok(
    ENGINES.every((engine) => engine.key(key) !== undefined),
    'and both take a key',
  )
})

t.test('neither takes, or verifies, what is no signature', async (t) => {
  const digest = Buffer.alloc(32, 5)
  const bytes = noble.sign(digest, secretOf(1))
  const uncompressed = Buffer.from(G2.Point.fromBytes(bytes).toBytes(false))
  const wrong: Record<string, Buffer> = {
    'of another key': noble.sign(digest, secretOf(2)),
    'of another digest': noble.sign(Buffer.alloc(32, 6), secretOf(1)),
    'the other sign': changed(bytes, 0, bytes.readUInt8(0) ^ 0x20),
    'not compressed, by its flag': changed(bytes, 0, bytes.readUInt8(0) & 0x7f),
    infinity: changed(Buffer.alloc(96), 0, 0xc0),
    'infinity with something behind': changed(changed(Buffer.alloc(96), 0, 0xc0), 95, 1),
    'no point': Buffer.alloc(96, 0xff),
    uncompressed,
    'half of it': uncompressed.subarray(0, 96),
    'a byte less': bytes.subarray(1),
    nothing: Buffer.alloc(0),
  }
  const accepts = (engine: Engine, of: Buffer): boolean => {
    const [key, signature] = [engine.key(blsPublicKey(secretOf(1))), engine.signature(of)]
    return key !== undefined && signature !== undefined && engine.verify(digest, key, signature)
  }
  for (const [name, of] of Object.entries(wrong)) {
    for (const engine of ENGINES) t.notOk(accepts(engine, of), `${engine.name}: ${name}`)
  }
  for (const engine of ENGINES) t.ok(accepts(engine, bytes), `${engine.name}: and the right one`)
})

t.test('D26: keys that cancel out verify nothing', async (t) => {
  const minus = G1.Point.fromBytes(G1.Point.BASE.toBytes(true)).negate().toAffine()
  const plus = G1.Point.BASE.toAffine()
  const digest = Buffer.alloc(32, 5)
  const one = Buffer.alloc(32)
  one[31] = 1
  for (const engine of ENGINES) {
    const keys = [plus, minus].map(({ x, y }) => engine.key(point(x, y)))
    const signature = engine.signature(engine.sign(digest, one))
    t.notOk(engine.verify(digest, engine.sumKeys(keys), signature), engine.name)
    t.throws(() => engine.sumKeys([]), RangeError, engine.name)
    t.throws(() => engine.sumSignatures([]), RangeError, engine.name)
    t.throws(() => engine.sign(digest, Buffer.alloc(32)), engine.name)
  }
})

t.test('culprits are found alike', async (t) => {
  const digest = Buffer.alloc(32, 5)
  const result = both((engine) => {
    const answers = [1, 2, 3, 4, 5].map((id) => {
      const signed = engine.sign(digest, secretOf(id === 4 ? 9 : id))
      return {
        id,
        key: engine.key(blsPublicKey(secretOf(id))),
        signature: engine.signature(signed),
      }
    })
    const { signers, culprits, verifications } = collectSignatures(engine, digest, answers)
    return { signers, culprits, verifications }
  }, 'the same search')
  t.match(result, { signers: [1, 2, 3, 5], culprits: [4] })
})
