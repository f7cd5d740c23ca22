import { createHash } from 'node:crypto'
import { getAddress, TypedDataEncoder, Wallet } from 'ethers'
import t from 'tap'
import { checksumAddress, parseAddress } from '../../ethereum/address.ts'
import {
  accountOf,
  curveName,
  loadNativeCurve,
  nobleCurve,
  publicKeyOf,
  recoverAddress,
  signDigest,
} from '../../ethereum/signature.ts'
import { deviceCertificateDigest, payPlaceDomain } from '../../ethereum/typed-data.ts'

const keyOf = (seed: string) => createHash('sha256').update(seed).digest()
const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n

t.test('native and noble curves agree, and ethers reads both', async (t) => {
  const native = loadNativeCurve()
  if (native === undefined) throw new Error('the native secp256k1 binary does not load here')
  t.equal(curveName, 'native')
  for (let i = 0; i < 20; i++) {
    const privateKey = keyOf(`key ${i}`)
    const digest = keyOf(`message ${i}`)
    const signature = signDigest(digest, privateKey)
    const account = accountOf(privateKey)
    t.equal(checksumAddress(account), new Wallet(`0x${privateKey.toString('hex')}`).address)
    t.same(native.sign(digest, privateKey).signature, nobleCurve.sign(digest, privateKey).signature)
    t.same(publicKeyOf(privateKey), Buffer.from(nobleCurve.publicKey(privateKey)))
    t.equal(recoverAddress(digest, signature, native), account)
    t.equal(recoverAddress(digest, signature, nobleCurve), account)
  }
})

t.test('only the one canonical form of a signature is accepted', async (t) => {
  const digest = keyOf('message')
  const signature = signDigest(digest, keyOf('key'))
  const s = BigInt(`0x${signature.toString('hex', 32, 64)}`)
  const highS = Buffer.from((ORDER - s).toString(16).padStart(64, '0'), 'hex')
  const v = signature.readUInt8(64)
  const malformed: Record<string, Buffer> = {
    'v 0': Buffer.concat([signature.subarray(0, 64), Buffer.from([0])]),
    'v 29': Buffer.concat([signature.subarray(0, 64), Buffer.from([29])]),
    'high s': Buffer.concat([signature.subarray(0, 32), highS, Buffer.from([55 - v])]),
    'zero s': Buffer.concat([signature.subarray(0, 32), Buffer.alloc(32), Buffer.from([v])]),
    'zero r': Buffer.concat([Buffer.alloc(32), signature.subarray(32)]),
    '64 bytes': signature.subarray(0, 64),
    '66 bytes': Buffer.concat([signature, Buffer.from([0])]),
    empty: Buffer.alloc(0),
  }
  for (const [name, bytes] of Object.entries(malformed)) {
    t.equal(recoverAddress(digest, bytes), undefined, name)
  }
  t.not(recoverAddress(keyOf('other message'), signature), accountOf(keyOf('key')))
})

t.test('the DeviceCertificate digest equals the one ethers computes', async (t) => {
  const contract = parseAddress('0x5FbDB2315678afecb367f032d93F642f64180aa3')
  const consumer = parseAddress('0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266')
  if (contract === undefined || consumer === undefined) throw new Error('addresses')
  const spkiHash = keyOf('spki')
  const value = { consumer, spkiHash, notBefore: 1_700_000_000, notAfter: 1_702_000_000 }
  const expected = TypedDataEncoder.hash(
    { name: 'PayPlace', version: '1', chainId: 31337, verifyingContract: contract },
    {
      DeviceCertificate: [
        { name: 'consumer', type: 'address' },
        { name: 'spkiHash', type: 'bytes32' },
        { name: 'notBefore', type: 'uint64' },
        { name: 'notAfter', type: 'uint64' },
      ],
    },
    value,
  )
  const digest = deviceCertificateDigest(payPlaceDomain(31337, contract), value)
  t.equal(`0x${digest.toString('hex')}`, expected)
  t.throws(() =>
    deviceCertificateDigest(payPlaceDomain(1, contract), { ...value, spkiHash: Buffer.alloc(31) }),
  )
})

t.test('addresses: any case in, EIP-55 out, anything else refused', async (t) => {
  for (let i = 0; i < 20; i++) {
    const account = accountOf(keyOf(`account ${i}`))
    t.equal(checksumAddress(account), getAddress(account))
    t.equal(parseAddress(checksumAddress(account)), account)
  }
  for (const bad of ['', '0x', `0x${'1'.repeat(39)}`, `0x${'g'.repeat(40)}`, '1'.repeat(42)]) {
    t.equal(parseAddress(bad), undefined, bad)
  }
})
