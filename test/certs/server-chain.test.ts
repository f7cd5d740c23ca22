// A server certificate with its chain: what is sent, published and named, each reason why one can't
// be served, and the same seen by a device.

import { generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto'
import t from 'tap'
import type { DerNode } from '../../certs/der.ts'
import { makeDirectCertificate } from '../../certs/device.ts'
import {
  certificatePem,
  Extension,
  issueCertificate,
  p256KeyFrom,
  spkiOfKey,
} from '../../certs/issue.ts'
import { makeOperatorCertificates, spkiSha256Of } from '../../certs/operator.ts'
import {
  CHAIN_MAX,
  isRoot,
  readServerChain,
  verifyServerCertificate,
} from '../../certs/server-chain.ts'
import { bytesOf, now } from './fixtures.ts'

const NAME = 'radius.cafe.example'
const SERVER = [Extension.endEntity(), Extension.serverAuth(), Extension.dnsName(NAME)]
const AUTHORITY = [Extension.authority(), Extension.certificateSigning()]
const DAY = 86_400

const keyOf = (seed: string): KeyObject => p256KeyFrom(bytesOf(seed, 48))

/** Subject and issuer are their own names; the key is made from the name unless given. */
function certificate(
  subject: string,
  issuer: string,
  o: {
    extensions?: readonly DerNode[]
    key?: KeyObject
    signedBy?: string
    from?: number
    until?: number
  } = {},
): string {
  const der = issueCertificate({
    ...{ serial: bytesOf(subject, 16), issuer, subject },
    ...{ notBefore: o.from ?? now - DAY, notAfter: o.until ?? now + DAY },
    spki: spkiOfKey(o.key ?? keyOf(subject)),
    extensions: o.extensions ?? (subject === 'leaf' ? SERVER : AUTHORITY),
    signingKey: keyOf(o.signedBy ?? issuer),
  })
  return certificatePem(der)
}

const root = certificate('root', 'root')
const upper = certificate('upper', 'root')
const middle = certificate('middle', 'upper')
const leaf = certificate('leaf', 'middle')
const ofRoot = certificate('leaf', 'root')
const selfSigned = certificate('leaf', 'leaf')

t.test('what of a file is sent in TLS, and what devices get', async (t) => {
  const cases: [string, string[], { sent: string[]; published: string[] }][] = [
    ['leaf', [leaf], { sent: [leaf], published: [leaf] }],
    ['self-signed leaf', [selfSigned], { sent: [selfSigned], published: [selfSigned] }],
    ['leaf, root', [ofRoot, root], { sent: [ofRoot], published: [ofRoot, root] }],
    ['leaf, issuer', [leaf, middle], { sent: [leaf, middle], published: [leaf, middle] }],
    [
      'leaf, issuer, its issuer',
      [leaf, middle, upper],
      { sent: [leaf, middle, upper], published: [leaf, upper, middle] },
    ],
    [
      'all',
      [leaf, middle, upper, root],
      { sent: [leaf, middle, upper], published: [leaf, root, middle, upper] },
    ],
  ]
  for (const [what, file, { sent, published }] of cases) {
    const chain = readServerChain(file.join(''), now)
    t.same(
      chain,
      {
        ...{ sentPem: sent.join(''), published, serverName: NAME },
        spkiSha256: spkiSha256Of(file[0] ?? ''),
      },
      what,
    )
    const seen = { certificates: published, serverName: NAME, nowSeconds: now }
    t.equal(verifyServerCertificate(seen), undefined, `${what}: a device takes it`)
  }
  const noisy = `Bag Attributes\n  x: y\n${ofRoot.replaceAll('\n', '\r\n')}\n# CA\n${root}\n`
  t.equal(readServerChain(noisy, now).sentPem, ofRoot)
  t.ok(isRoot(root))
  t.notOk(isRoot(middle))
})

t.test('the DNS name is read from the DER, not from printed text', async (t) => {
  const named = (...extensions: DerNode[]) => {
    const more = [Extension.endEntity(), Extension.serverAuth(), ...extensions]
    return readServerChain(certificate('leaf', 'root', { extensions: more }), now).serverName
  }
  t.equal(named(Extension.dnsName('Radius.Example.ORG')), 'radius.example.org')
  const uri = 'http://x/?a, DNS:wrong.example'
  for (const extension of [
    Extension.uriNames([uri, 'urn:DNS:wrong.example']),
    Extension.dnsName('*.example.org'),
    Extension.dnsName('localhost'),
    Extension.dnsName('a b.example.org'),
    Extension.dnsName('evil.example"\n\tca_cert="/x'),
    Extension.dnsName('evil.example\0.example.org'),
    Extension.dnsName(`${'a'.repeat(250)}.org`),
    Extension.subjectKey(bytesOf('no name at all')),
  ]) {
    t.throws(() => named(extension), { name: 'CertificateError', message: /no full DNS name/ })
  }
})

const rsa = (modulusLength: number) => generateKeyPairSync('rsa', { modulusLength }).publicKey
const leafWith = (o: Parameters<typeof certificate>[2]) => certificate('leaf', 'root', o)

t.test('one reason for each file that can not be served', async (t) => {
  const { privateKey: p521 } = generateKeyPairSync('ec', { namedCurve: 'P-521' })
  const { privateKey: secp256k1 } = generateKeyPairSync('ec', { namedCurve: 'secp256k1' })
  const clientOnly = [Extension.endEntity(), Extension.clientAuth(), Extension.dnsName(NAME)]
  const cases: [string, string, RegExp][] = [
    ['nothing', '', /no certificate in PEM/],
    ['a key', '-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----', /no certificate/],
    ['cut', leaf.replace(/\n.+\n-----END/, '\n-----END'), /can not be read/],
    ['too many', leaf.repeat(CHAIN_MAX + 1), /more than 6/],
    ['expired', leafWith({ until: now - 1 }), /server certificate has expired/],
    ['too early', leafWith({ from: now + 1 }), /not valid yet, or the clock/],
    ['no usage', leafWith({ extensions: [Extension.dnsName(NAME)] }), /no serverAuth/],
    ['for clients', leafWith({ extensions: clientOnly }), /no serverAuth/],
    ['a CA', leafWith({ extensions: [...AUTHORITY, ...SERVER.slice(1)] }), /CA certificate itself/],
    [
      'not for signatures',
      leafWith({ extensions: [...SERVER, Extension.certificateSigning()] }),
      /no digitalSignature/,
    ],
    ['RSA-1024', leafWith({ key: rsa(1024) }), /RSA key of 1024 bits/],
    ['P-521', leafWith({ key: p521 }), /no RSA, P-256, P-384 or Ed25519 key/],
    ['secp256k1', leafWith({ key: secp256k1 }), /no RSA, P-256, P-384 or Ed25519 key/],
    ['a gap', leaf + root, /server certificate is not signed by the CA/],
    ['root first', leaf + root + middle, /not signed by intermediate certificate 1/],
    ['middle order', leaf + upper + middle, /not signed by intermediate certificate 1/],
    ['after the root', ofRoot + root + upper, /intermediate certificate 1 is not signed by/],
    ['issuer is no CA', certificate('leaf', 'leaf') + selfSigned, /the CA is not a CA certificate/],
    [
      'same name, other key',
      certificate('leaf', 'root', { signedBy: 'somebody' }) + root,
      /not signed by the CA/,
    ],
    ['CA expired', ofRoot + certificate('root', 'root', { until: now - 1 }), /the CA has expired/],
  ]
  for (const [what, file, message] of cases) {
    t.throws(() => readServerChain(file, now), { name: 'CertificateError', message }, what)
  }
  for (const key of [rsa(2048), generateKeyPairSync('ed25519').privateKey]) {
    t.ok(readServerChain(leafWith({ key }), now), `${key.asymmetricKeyType}`)
  }
  t.throws(() => isRoot('x'))
})

const made = (seed: string) => {
  let calls = 0
  const random = (length: number): Buffer => bytesOf(`${seed} ${calls++}`, length)
  return makeOperatorCertificates({ operatorName: 'Corner Wi-Fi', nowSeconds: now, random })
}

t.test('a device trusts what we make, and says why it does not trust another', async (t) => {
  const ours = made('a')
  const other = made('b')
  const { serverName } = ours
  const check = (certificates: string[], o: { serverName?: string; nowSeconds?: number } = {}) =>
    verifyServerCertificate({ certificates, serverName, nowSeconds: now, ...o })
  const good = [ours.certificatePem, ours.caCertificatePem]
  t.equal(check(good), undefined)
  const leafEnd = new X509Certificate(ours.certificatePem).validToDate.getTime() / 1000
  const direct = makeDirectCertificate({
    ...{ accountKey: bytesOf('direct'), name: 'x', notBefore: now, notAfter: now + 60 },
    serial: bytesOf('serial', 8),
  }).certificatePem
  const cases: [string | undefined, RegExp][] = [
    [check([]), /not a certificate in PEM/],
    [check(['x', ours.caCertificatePem]), /not a certificate in PEM/],
    [check([ours.certificatePem, '']), /not a certificate in PEM/],
    [check([ours.certificatePem, ours.certificatePem]), /not a CA certificate/],
    [check([ours.certificatePem, other.caCertificatePem]), /not signed by the CA/],
    [check([other.certificatePem, ours.caCertificatePem]), /not signed by the CA/],
    [check([direct, ours.caCertificatePem]), /not signed by the CA/],
    [check([direct]), /not for TLS servers/],
    [check([...good, other.caCertificatePem]), /not signed by intermediate certificate 1/],
    [check([ours.caCertificatePem, ours.caCertificatePem]), /not for TLS servers/],
    [check(good, { serverName: 'radius.other.datanet.invalid' }), /not for radius.other/],
    [check(good, { serverName: 'corner-wi-fi.datanet.invalid' }), /not for corner/],
    [check(good, { nowSeconds: leafEnd + 1 }), /the server certificate has expired/],
    [check(good, { nowSeconds: now - 3 * DAY }), /the CA is not valid yet/],
    [check(good, { nowSeconds: now + 11 * 365 * DAY }), /the CA has expired/],
  ]
  for (const [reason, expected] of cases) t.match(reason ?? 'trusted', expected)
  t.equal(check(good, { nowSeconds: leafEnd }), undefined)
  t.equal(check([ours.certificatePem]), undefined, 'without a CA')
})
