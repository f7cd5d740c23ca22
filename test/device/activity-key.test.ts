// The P-256 key of a device as evidence: which keys are taken, and that signatures are low.

import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto'
import t from 'tap'
import { activityKeyOf, readActivityKey } from '../../device/activity-key.ts'

const HALF = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n / 2n

t.test('EIP-7951: 64 bytes r ‖ s with the lower s, over SHA-256 of the digest', async (t) => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const key = activityKeyOf(privateKey)
  if (key === undefined) throw new Error('no key')
  t.same([key.qx.length, key.qy.length], [32, 32])
  for (let n = 0; n < 20; n++) {
    const digest = Buffer.alloc(32, n)
    const signature = await key.sign(digest)
    t.equal(signature.length, 64)
    t.ok(BigInt(`0x${signature.toString('hex', 32)}`) <= HALF)
    const by = { key: createPublicKey(privateKey), dsaEncoding: 'ieee-p1363' } as const
    t.ok(verify('sha256', digest, by, signature))
  }
})

t.test('other curves, and keys that are no file, are none', async (t) => {
  for (const namedCurve of ['secp256k1', 'P-384']) {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve })
    t.equal(activityKeyOf(privateKey), undefined, namedCurve)
  }
  t.equal(await readActivityKey('/nowhere', { kind: 'bound', privateKey: 'key.pem' }), undefined)
  t.equal(await readActivityKey('/nowhere', { kind: 'direct', privateKey: 'key.pem' }), undefined)
})
