// The P-256 key of a device as evidence: its point and its signatures are as the contract takes
// them, and no key is found where there is none.

import { createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { activityKeyOf, findActivityKey, noteTpmKey } from '../../device/activity-key.ts'

const HALF = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n / 2n

t.test('EIP-7951: 64 bytes r ‖ s with the lower s, over SHA-256 of the digest', async (t) => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const by = { key: createPublicKey(privateKey), dsaEncoding: 'ieee-p1363' } as const
  const { x = '', y = '' } = by.key.export({ format: 'jwk' })
  const point = [Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')] as const
  const key = activityKeyOf({
    publicKey: Buffer.concat([Buffer.of(4), ...point]),
    sign: async (message) => sign('sha256', message, { ...by, key: privateKey }),
  })
  t.same([key.qx, key.qy], point)
  for (let n = 0; n < 20; n++) {
    const digest = Buffer.alloc(32, n)
    const signature = await key.sign(digest)
    t.equal(signature.length, 64)
    t.ok(BigInt(`0x${signature.toString('hex', 32)}`) <= HALF)
    t.ok(verify('sha256', digest, by, signature))
  }
})

t.test('no TPM, or nobody who can talk to it: no key', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'datanet-activity-key-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const place = { directory, operatorId: 7 }
  await noteTpmKey(place, Buffer.alloc(65, 4))
  t.equal(statSync(join(directory, 'metering-7.tpm')).mode & 0o777, 0o600)
  t.equal(await findActivityKey(place, { TPM2TOOLS_TCTI: 'swtpm:path=/nowhere' }), undefined)
})
