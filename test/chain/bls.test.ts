// BLS keys, signatures, sums and proofs of possession, checked against noble's own derivation and
// verification; what the contract's precompiles make of them is test/chain-live/datanet.test.ts.

import { bls12_381 } from '@noble/curves/bls12-381.js'
import { hkdf } from '@noble/hashes/hkdf.js'
import { sha256 } from '@noble/hashes/sha2.js'
import t from 'tap'
import {
  blsPublicKey,
  deriveMerchantBlsKey,
  deriveOperatorBlsKey,
  isPossessionProven,
  nobleBls,
  possessionMessage,
  provePossession,
} from '../../chain/bls.ts'
import { type Address, parseAddress } from '../../ethereum/address.ts'

const POP_TAG = 'BLS_POP_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_'
const { G1, G2, longSignatures } = bls12_381
const contract = address('0x00000000000000000000000000000000DeaDBeef')
const account = address('0x1111111111111111111111111111111111111111')
const source = { accountKey: Buffer.alloc(32, 1), chainId: 31_337n, contract }
const claim = { account, contract, chainId: 31_337n, operatorId: 1 }

function address(text: string): Address {
  const parsed = parseAddress(text)
  if (!parsed) throw new Error(`${text} is not an address`)
  return parsed
}

/** The point of an EIP-2537 G1 coding. */
function decodeG1(bytes: Buffer) {
  const [x, y] = fieldElements(bytes)
  return G1.Point.fromAffine({ x: x ?? 0n, y: y ?? 0n })
}

function decodeG2(bytes: Buffer) {
  const [a = 0n, b = 0n, c = 0n, d = 0n] = fieldElements(bytes)
  return G2.Point.fromAffine({ x: { c0: a, c1: b }, y: { c0: c, c1: d } })
}

function fieldElements(bytes: Buffer): bigint[] {
  const words: bigint[] = []
  for (let at = 0; at < bytes.length; at += 64) {
    t.ok(bytes.subarray(at, at + 16).equals(Buffer.alloc(16)), 'EIP-2537: 16 zero bytes')
    words.push(BigInt(`0x${bytes.subarray(at, at + 64).toString('hex')}`))
  }
  return words
}

t.test('the key is HKDF-SHA256 of the account key, reduced into 1..r-1', async (t) => {
  const derived = deriveOperatorBlsKey(source)
  const info = `datanet operator bls v1|31337|0x00000000000000000000000000000000deadbeef`
  const material = hkdf(sha256, source.accountKey, undefined, Buffer.from(info), 48)
  const order = G1.Point.Fn.ORDER
  const scalar = (BigInt(`0x${Buffer.from(material).toString('hex')}`) % (order - 1n)) + 1n
  t.equal(derived.toString('hex'), scalar.toString(16).padStart(64, '0'))
  t.equal(derived.length, 32)
  const known = '4445e9f078b4152a76f4f837a6413437e8f61e48d4eccce9d654cd68195c788e'
  t.equal(derived.toString('hex'), known, 'a vector: a changed derivation loses every operator')
})

t.test('another account, chain or contract has another key', async (t) => {
  const keys = [
    source,
    { ...source, accountKey: Buffer.alloc(32, 2) },
    { ...source, chainId: 1n },
    { ...source, contract: account },
  ].map((from) => deriveOperatorBlsKey(from).toString('hex'))
  t.equal(new Set(keys).size, keys.length)
  for (const length of [0, 31, 33]) {
    const accountKey = Buffer.alloc(length, 1)
    t.throws(() => deriveOperatorBlsKey({ ...source, accountKey }), /32 bytes/, `${length} bytes`)
  }
})

t.test('EIP-2537: the public key is the uncompressed point with padded coordinates', async (t) => {
  const secret = deriveOperatorBlsKey(source)
  const key = blsPublicKey(secret)
  t.equal(key.length, 128)
  t.ok(decodeG1(key).equals(longSignatures.getPublicKey(secret)))
  t.throws(() => blsPublicKey(Buffer.alloc(32)), 'zero is no key')
})

t.test('the proof is a signature under the POP tag over the claim, byte by byte', async (t) => {
  const secret = deriveOperatorBlsKey(source)
  const message = possessionMessage(secret, { ...claim, operatorId: 0x01020304 })
  const point = longSignatures.getPublicKey(secret).toHex(true)
  const chainId = '7a69'.padStart(64, '0')
  const text = `${point}${account.slice(2)}${contract.slice(2)}${chainId}01020304`
  t.equal(message.toString('hex'), text)

  const proof = provePossession(secret, claim)
  t.equal(proof.length, 256)
  const signature = decodeG2(proof)
  const publicKey = longSignatures.getPublicKey(secret)
  const hashed = longSignatures.hash(possessionMessage(secret, claim), POP_TAG)
  t.ok(longSignatures.verify(signature, hashed, publicKey))
  const other = longSignatures.hash(possessionMessage(secret, { ...claim, operatorId: 2 }), POP_TAG)
  t.notOk(longSignatures.verify(signature, other, publicKey), 'of operator 1 only')
})

t.test(
  'D1, D5: a proof holds for its key, account, contract, chain and operator only',
  async (t) => {
    const secret = deriveOperatorBlsKey(source)
    const key = blsPublicKey(secret)
    const proof = provePossession(secret, claim)
    t.ok(isPossessionProven(key, proof, claim))
    const otherKey = blsPublicKey(deriveMerchantBlsKey({ ...source, operator: 1 }))
    const infinity = Buffer.alloc(128)
    const offCurve = Buffer.from(key)
    offCurve.writeUInt8((offCurve.readUInt8(127) + 1) % 256, 127)
    const unreduced = Buffer.from(key)
    unreduced.fill(0xff, 16, 64)
    const cases: readonly [name: string, proven: boolean][] = [
      ['another key', isPossessionProven(otherKey, proof, claim)],
      ['another account', isPossessionProven(key, proof, { ...claim, account: contract })],
      ['another contract', isPossessionProven(key, proof, { ...claim, contract: account })],
      ['another chain', isPossessionProven(key, proof, { ...claim, chainId: 1n })],
      ['another operator', isPossessionProven(key, proof, { ...claim, operatorId: 2 })],
      ['D2: infinity with infinity', isPossessionProven(infinity, Buffer.alloc(256), claim)],
      ['off the curve', isPossessionProven(offCurve, proof, claim)],
      ['a coordinate above p', isPossessionProven(unreduced, proof, claim)],
      ['a short key', isPossessionProven(key.subarray(1), proof, claim)],
      ['a short proof', isPossessionProven(key, proof.subarray(1), claim)],
      ['a signature of a block', isPossessionProven(key, signedCoding(secret), claim)],
    ]
    for (const [name, proven] of cases) t.notOk(proven, name)
  },
)

/** A signature over the claim under the tag of blocks, in the coding of a proof. */
function signedCoding(secret: Buffer): Buffer {
  const signature = nobleBls.signature(nobleBls.sign(possessionMessage(secret, claim), secret))
  if (signature === undefined) throw new Error('no signature')
  return nobleBls.signatureCoding(signature)
}

t.test(
  'signatures: one by one and added up, under the signature tag of the ciphersuite',
  async (t) => {
    const digest = Buffer.alloc(32, 7)
    const secrets = [1, 2, 3].map((operator) => deriveMerchantBlsKey({ ...source, operator }))
    const signed = secrets.map((secret) => {
      const bytes = nobleBls.sign(digest, secret)
      const key = nobleBls.key(blsPublicKey(secret))
      const signature = nobleBls.signature(bytes)
      if (key === undefined || signature === undefined) throw new Error('no point')
      t.equal(bytes.length, 96)
      t.ok(nobleBls.verify(digest, key, signature))
      t.notOk(nobleBls.verify(Buffer.alloc(32, 8), key, signature), 'another digest')
      return { key, signature }
    })
    const [first] = signed
    const key = nobleBls.sumKeys(signed.map((one) => one.key))
    const signature = nobleBls.sumSignatures(signed.map((one) => one.signature))
    t.ok(nobleBls.verify(digest, key, signature))
    if (first === undefined) throw new Error('nothing signed')
    t.notOk(nobleBls.verify(digest, first.key, signature), 'not the sum of one')
    t.equal(nobleBls.signatureCoding(signature).length, 256)
    t.ok(decodeG2(nobleBls.signatureCoding(signature)).equals(signature))
    const tag = 'BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_'
    t.ok(longSignatures.verify(signature, longSignatures.hash(digest, tag), key))
  },
)

t.test("D26: infinity verifies nothing, and is nobody's key", async (t) => {
  const digest = Buffer.alloc(32, 7)
  t.notOk(nobleBls.verify(digest, G1.Point.ZERO, G2.Point.ZERO))
  t.equal(nobleBls.key(Buffer.alloc(128)), undefined)
  t.throws(() => nobleBls.sumKeys([]), RangeError)
  for (const length of [0, 95, 97]) {
    t.equal(nobleBls.signature(Buffer.alloc(length, 0xc0)), undefined, `${length} bytes`)
  }
  t.equal(nobleBls.signature(Buffer.alloc(96, 0xff)), undefined, 'not a point')
})

t.test('a point outside the subgroup is no key', async (t) => {
  // Most points of y^2 = x^3 + 4 are outside: the cofactor is about 2^126.
  const p = G1.Point.Fp.ORDER
  let outside: Buffer | undefined
  for (let x = 1n; outside === undefined; x++) {
    const square = (x ** 3n + 4n) % p
    const y = power(square, (p + 1n) / 4n, p)
    if ((y * y) % p !== square) continue
    outside = Buffer.from([x, y].map((c) => c.toString(16).padStart(128, '0')).join(''), 'hex')
    const point = decodeG1(outside)
    if (point.isTorsionFree()) outside = undefined
  }
  t.equal(nobleBls.key(outside), undefined)
})

function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n
  for (let b = base, e = exponent; e > 0n; e >>= 1n, b = (b * b) % modulus) {
    if ((e & 1n) === 1n) result = (result * b) % modulus
  }
  return result
}

t.test("a merchant's key differs by operator and from the operator's", async (t) => {
  const keys = [
    deriveOperatorBlsKey(source),
    deriveMerchantBlsKey({ ...source, operator: 1 }),
    deriveMerchantBlsKey({ ...source, operator: 2 }),
  ].map((key) => key.toString('hex'))
  t.equal(new Set(keys).size, 3)
})
