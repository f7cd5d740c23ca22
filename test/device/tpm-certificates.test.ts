// What is found in a TPM's memory of certificates, and the path that is made of it: real ones of
// STMicroelectronics, in every order, among filling, cut and damaged.

import { X509Certificate } from 'node:crypto'
import t from 'tap'
import { TPM_VENDOR_ROOTS } from '../../attestation/roots/tpm.ts'
import { certificatesIn, pathOf } from '../../device/tpm-certificates.ts'
import { certificates } from '../attestation/tpm-recorded.ts'

const [ek, issuer] = certificates('st-rsa.pem') as [Buffer, Buffer]
const [, stranger] = certificates('st-ecc.pem') as [Buffer, Buffer]
const root = TPM_VENDOR_ROOTS.map((pem) => new X509Certificate(pem)).find(({ subject }) =>
  subject.includes('STM TPM EK Root CA'),
)?.raw
if (root === undefined) throw new Error('no root')
const raw = (found: readonly X509Certificate[]) => found.map((one) => one.raw)
const filling = (octet: number, length = 101) => Buffer.alloc(length, octet)

t.test('certificates one after the other, with filling before, between and after', async (t) => {
  const table: readonly [name: string, memory: Buffer[], found: Buffer[]][] = [
    ['nothing', [], []],
    ['never written', [filling(0xff)], []],
    ['one', [issuer], [issuer]],
    ['two', [issuer, root], [issuer, root]],
    ['filled', [filling(0), issuer, filling(0xff), root, filling(0)], [issuer, root]],
    ['the last one cut', [issuer, root.subarray(0, -1)], [issuer]],
    ['a length alone', [issuer, Buffer.from('3082', 'hex')], [issuer]],
    ['something else', [Buffer.from('text'), issuer], []],
    ['DER that is no certificate', [Buffer.from('308200020500', 'hex'), issuer], [issuer]],
  ]
  for (const [name, memory, found] of table) {
    t.same(raw(certificatesIn(Buffer.concat(memory))), found, name)
  }
})

t.test('the path goes by signatures, whatever the order, and nowhere else', async (t) => {
  const pool = (...ders: Buffer[]) => ders.map((der) => new X509Certificate(der))
  t.same(pathOf(ek, pool()), [ek])
  t.same(pathOf(ek, pool(root, stranger, issuer)), [ek, issuer, root])
  t.same(pathOf(ek, pool(root, root, ek, issuer, issuer)), [ek, issuer, root], 'each once')
  t.same(pathOf(ek, pool(root, stranger)), [ek], 'no path to the root')
  const own = TPM_VENDOR_ROOTS.map((pem) => new X509Certificate(pem)).find((one) =>
    one.checkIssued(one),
  )
  if (own === undefined) throw new Error('no root that signed itself')
  t.same(pathOf(own.raw, [own]), [own.raw], 'a root ends it')
  const damaged = Buffer.from(issuer)
  damaged.writeUInt8((damaged.at(-1) ?? 0) ^ 1, damaged.length - 1)
  t.same(pathOf(ek, pool(damaged)), [ek, damaged], 'who signed it is not told by its own signature')
  t.same(pathOf(Buffer.from('3000', 'hex'), pool(issuer)), [Buffer.from('3000', 'hex')])
})
