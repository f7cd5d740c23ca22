// Finding those who signed something else. The search runs over a stand-in for the curve whose
// signatures are numbers, for thousands of cases; a few with the real curve show that it is the
// same.

import { createHash } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { type BlsEngine, blsPublicKey, nobleBls } from '../../../chain/bls.ts'
import { collectSignatures } from '../../../chain/payplace/signers.ts'

/** A key is a number, its signature the same number: sums verify as they do on the curve. */
const numbers: BlsEngine<number, number> = {
  name: 'numbers',
  key: () => 1,
  signature: () => 1,
  sumKeys: (keys) => keys.reduce((sum, key) => sum + key, 0),
  sumSignatures: (signatures) => signatures.reduce((sum, one) => sum + one, 0),
  verify: (_digest, key, signature) => key === signature,
  sign: () => Buffer.alloc(96),
  signatureCoding: () => Buffer.alloc(256),
}
const DIGEST = createHash('sha256').update('block').digest()

t.test('every culprit and nobody else is found', async (t) => {
  const property = fc.property(
    fc.integer({ min: 0, max: 200 }),
    fc.uniqueArray(fc.nat(199), { maxLength: 20 }),
    (count, bad) => {
      const culprits = bad.filter((n) => n < count).sort((a, b) => a - b)
      // All errors are above zero: none cancel each other out.
      const answers = Array.from({ length: count }, (_, id) => ({
        ...{ id, key: id + 1 },
        signature: id + 1 + (culprits.includes(id) ? 1 + culprits.indexOf(id) * 7 : 0),
      }))
      const found = collectSignatures(numbers, DIGEST, answers)
      const depth = Math.ceil(Math.log2(Math.max(2, count)))
      return (
        found.culprits.join() === culprits.join() &&
        found.signers.length === count - culprits.length &&
        found.verifications <= 1 + 2 * culprits.length * depth &&
        (found.sum === undefined || found.sum.key === found.sum.signature)
      )
    },
  )
  t.doesNotThrow(() => fc.assert(property, { seed: 4, numRuns: 1_000 }))
})

t.test('faults that cancel each other out spoil nothing: the sum verifies', async (t) => {
  const answers = [5, -5, 0].map((error, id) => ({ id, key: 10, signature: 10 + error }))
  const together = collectSignatures(numbers, DIGEST, answers)
  t.same(together.culprits, [], 'their sum is that of honest ones')
  t.equal(together.verifications, 1)
  const apart = [5, 0, 1, -5].map((error, id) => ({ id, key: 10, signature: 10 + error }))
  const found = collectSignatures(numbers, DIGEST, apart)
  t.equal(found.sum?.key, found.sum?.signature)
  t.same(found.signers, [1])
})

t.test('nobody answered', async (t) => {
  const none = { signers: [], sum: undefined, culprits: [], verifications: 0 }
  t.same(collectSignatures(numbers, DIGEST, []), none)
})

t.test('on the curve: three of eight signed something else', async (t) => {
  const answers = Array.from({ length: 8 }, (_, id) => {
    const secret = Buffer.alloc(32)
    secret.writeUInt32BE(id + 11, 28)
    const digest = [2, 3, 7].includes(id) ? Buffer.alloc(32, 1) : DIGEST
    const key = nobleBls.key(blsPublicKey(secret))
    const signature = nobleBls.signature(nobleBls.sign(digest, secret))
    if (key === undefined || signature === undefined) throw new Error('no point')
    return { id, key, signature }
  })
  const found = collectSignatures(nobleBls, DIGEST, answers)
  t.same(found.culprits, [2, 3, 7])
  t.same(found.signers, [0, 1, 4, 5, 6])
  if (found.sum === undefined) throw new Error('nobody signed')
  t.ok(nobleBls.verify(DIGEST, found.sum.key, found.sum.signature))
})
