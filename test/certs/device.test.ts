// The device's key and certificates: the key comes back from the wallet, the server accepts what is
// made.

import {
  createHash,
  createPrivateKey,
  createPublicKey,
  hkdfSync,
  X509Certificate,
} from 'node:crypto'
import { readFileSync } from 'node:fs'
import { p256 } from '@noble/curves/nist.js'
import { hkdf } from '@noble/hashes/hkdf.js'
import { sha256 } from '@noble/hashes/sha2.js'
import t from 'tap'
import { CertificateError } from '../../certs/der.ts'
import {
  deriveDeviceKey,
  makeBoundCertificate,
  makeDirectCertificate,
  readPublicKey,
} from '../../certs/device.ts'
import { isRefused, readIdentity, VALIDITY_MAX_SECONDS } from '../../certs/identity.ts'
import {
  Extension,
  issueCertificate,
  keyPem,
  p256KeyFrom,
  privateKeyOf,
} from '../../certs/issue.ts'
import { toPem } from '../../certs/x509.ts'
import { formatVoucherUri } from '../../ethereum/voucher-uri.ts'
import {
  account,
  accountKey,
  address,
  bytesOf,
  chainId,
  contract,
  derOf,
  deviceKey,
  deviceKeyPem,
  devicePublicPem,
  deviceSpki,
  domain,
  notAfter,
  notBefore,
  now,
} from './fixtures.ts'

interface Vector {
  readonly accountKey: string
  readonly chainId: string
  readonly contract: string
  readonly name: string
  readonly info: string
  readonly seed: string
  readonly privateKey: string
  readonly spkiSha256: string
}

const vectors = JSON.parse(
  readFileSync(new URL('../vectors/device-key.json', import.meta.url), 'utf8'),
) as Vector[]

t.test('RFC 5869 and FIPS 186-5 A.2.1: the device key is that of the vectors', async (t) => {
  t.equal(vectors.length, 4)
  for (const vector of vectors) {
    const ikm = Buffer.from(vector.accountKey, 'hex')
    const info = Buffer.from(vector.info)
    const seed = Buffer.from(hkdf(sha256, ikm, undefined, info, 48))
    t.equal(seed.toString('hex'), vector.seed, 'noble')
    t.same(Buffer.from(hkdfSync('sha256', ikm, '', info, 48)), seed, 'node:crypto')
    const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
    const scalar = (BigInt(`0x${vector.seed}`) % (order - 1n)) + 1n
    t.equal(scalar.toString(16).padStart(64, '0'), vector.privateKey)

    const key = createPrivateKey(
      deriveDeviceKey({
        accountKey: ikm,
        chainId: BigInt(vector.chainId),
        contract: address(vector.contract),
        name: vector.name,
      }),
    )
    t.equal(key.asymmetricKeyDetails?.namedCurve, 'prime256v1')
    const jwk = key.export({ format: 'jwk' })
    t.equal(Buffer.from(jwk.d ?? '', 'base64url').toString('hex'), vector.privateKey)
    const point = p256.getPublicKey(Buffer.from(vector.privateKey, 'hex'), false)
    t.equal(jwk.x, Buffer.from(point.subarray(1, 33)).toString('base64url'), 'noble has the point')
    const spki = createPublicKey(key).export({ type: 'spki', format: 'der' })
    t.equal(createHash('sha256').update(spki).digest('hex'), vector.spkiSha256)
  }
})

t.test('each input changes the key; the spelling of a name does not', async (t) => {
  const input = { accountKey, chainId, contract, name: 'Zoé' }
  const keys = new Set([
    deriveDeviceKey(input),
    deriveDeviceKey({ ...input, name: 'Zoe' }),
    deriveDeviceKey({ ...input, chainId: 1n }),
    deriveDeviceKey({ ...input, contract: address(`0x${'11'.repeat(20)}`) }),
    deriveDeviceKey({ ...input, accountKey: bytesOf('another') }),
  ])
  t.equal(keys.size, 5)
  t.ok(keys.has(deriveDeviceKey({ ...input, name: 'Zoé'.normalize('NFD') })))
  t.throws(() => deriveDeviceKey({ ...input, accountKey: Buffer.alloc(31) }), CertificateError)
})

t.test('seeds at the edges give keys within the order', async (t) => {
  const order = p256.Point.Fn.ORDER
  const scalarOf = (seed: bigint) => {
    const bytes = Buffer.from(seed.toString(16).padStart(96, '0'), 'hex')
    const d = p256KeyFrom(bytes).export({ format: 'jwk' }).d ?? ''
    return BigInt(`0x${Buffer.from(d, 'base64url').toString('hex')}`)
  }
  t.equal(scalarOf(0n), 1n)
  t.equal(scalarOf(order - 2n), order - 1n)
  t.equal(scalarOf(order - 1n), 1n)
  t.throws(() => p256KeyFrom(Buffer.alloc(47)), CertificateError)
})

const bound = {
  accountKey,
  chainId,
  contract,
  name: 'alice',
  publicKey: devicePublicPem,
  notBefore,
  notAfter,
  serial: bytesOf('serial', 16),
}

t.test('a bound certificate is self-signed where we have the key', async (t) => {
  const pem = makeBoundCertificate({ ...bound, signingKeyPem: deviceKeyPem })
  t.match(readIdentity(derOf(pem), domain), { kind: 'bound', account })
  const certificate = new X509Certificate(pem)
  t.ok(certificate.verify(certificate.publicKey))
  t.equal(certificate.subject, 'CN=alice')
  t.equal(certificate.issuer, 'CN=alice')
  t.ok(certificate.checkPrivateKey(createPrivateKey(deviceKeyPem)))
  t.ok(derOf(pem).length < 700, 'one RADIUS round fits it')
})

t.test('a key that lives elsewhere gets a certificate issued by the account', async (t) => {
  const pem = makeBoundCertificate(bound)
  t.match(readIdentity(derOf(pem), domain), { kind: 'bound', account })
  const certificate = new X509Certificate(pem)
  t.equal(certificate.issuer, `CN=${account}`)
  t.notOk(certificate.verify(certificate.publicKey), 'not claimed to be self-signed')
})

t.test('what the server would refuse is not made', async (t) => {
  const wrong = {
    'no P-256 key': { publicKey: createPublicKey(privateKeyOf('secp256k1', accountKey)) },
    'a signing key of another device': { signingKeyPem: keyPem(privateKeyOf('P-256', accountKey)) },
    'longer than 30 days': { notAfter: notBefore + VALIDITY_MAX_SECONDS + 1 },
    'ends before it begins': { notAfter: notBefore - 1 },
    'a voucher of no form': { voucherUri: 'datanet:voucher/1/2/x/y' },
    'an empty name': { name: '' },
    'a name of 65 characters': { name: 'x'.repeat(65) },
    'a serial of 7 octets': { serial: bytesOf('serial', 7) },
    'a serial of 21 octets': { serial: bytesOf('serial', 21) },
  }
  for (const [what, change] of Object.entries(wrong)) {
    const publicKey =
      'publicKey' in change
        ? change.publicKey.export({ type: 'spki', format: 'pem' }).toString()
        : devicePublicPem
    t.throws(() => makeBoundCertificate({ ...bound, ...change, publicKey }), CertificateError, what)
  }
})

t.test('a voucher goes into the certificate', async (t) => {
  const voucher = { operator: 7, amount: 12n, signature: bytesOf('voucher', 65) }
  const voucherUri = formatVoucherUri(voucher)
  const pem = makeBoundCertificate({ ...bound, signingKeyPem: deviceKeyPem, voucherUri })
  t.match(readIdentity(derOf(pem), domain), { account, voucher })
})

t.test('a direct certificate is the account key itself', async (t) => {
  const made = makeDirectCertificate({
    accountKey,
    name: 'sensor',
    notBefore: now - 600,
    notAfter: now + 86_400,
    serial: bytesOf('serial', 16),
  })
  const identity = readIdentity(derOf(made.certificatePem), domain)
  t.notOk(isRefused(identity))
  t.match(identity, { kind: 'direct', account, notBefore: now - 600, notAfter: now + 86_400 })
  const certificate = new X509Certificate(made.certificatePem)
  t.ok(certificate.verify(certificate.publicKey))
  t.ok(certificate.checkPrivateKey(createPrivateKey(made.keyPem)))
})

t.test('a public key is read from PEM; anything else is refused', async (t) => {
  t.same(readPublicKey(devicePublicPem), deviceSpki)
  const certificate = issueCertificate({
    serial: bytesOf('serial', 16),
    issuer: 'x',
    subject: 'x',
    notBefore,
    notAfter,
    spki: deviceSpki,
    extensions: [Extension.endEntity()],
    signingKey: deviceKey,
  })
  for (const text of [
    '',
    deviceKeyPem,
    toPem('CERTIFICATE', certificate),
    toPem('PUBLIC KEY', Buffer.from('x')),
  ]) {
    t.throws(() => readPublicKey(text), CertificateError)
  }
  t.throws(() => readPublicKey(toPem('CERTIFICATE REQUEST', certificate)), CertificateError)
})
