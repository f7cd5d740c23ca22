// Product rule "Identity": which certificate is which account, and the one reason for every other.

import { generateKeyPairSync, hash } from 'node:crypto'
import t from 'tap'
import { contextBytes, octetString, oid, sequence, toDer, trueValue } from '../../certs/der.ts'
import {
  CERTIFICATE_BYTES_MAX,
  type CertificateRefusal,
  checkValidity,
  identityDomain,
  identityReader,
  isRefused,
  readIdentity,
  VALIDITY_MAX_SECONDS,
} from '../../certs/identity.ts'
import { Extension, privateKeyOf, spkiOfKey } from '../../certs/issue.ts'
import { accountOf } from '../../ethereum/signature.ts'
import {
  account,
  accountKey,
  accountUri,
  bindingSignature,
  bindingUri,
  bytesOf,
  certificateWith,
  contract,
  deviceSpki,
  domain,
  goodExtensions,
  notAfter,
  notBefore,
  otherContract,
} from './fixtures.ts'

const otherKey = bytesOf('other account')
const otherSpki = spkiOfKey(privateKeyOf('P-256', bytesOf('other device')))
const directSpki = spkiOfKey(privateKeyOf('secp256k1', accountKey))
const rsaSpki = spkiOfKey(generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey)
const edSpki = spkiOfKey(generateKeyPairSync('ed25519').publicKey)
const p384Spki = spkiOfKey(generateKeyPairSync('ec', { namedCurve: 'secp384r1' }).publicKey)

const did = accountUri()
const binding = bindingUri()
const voucher = `datanet:voucher/1/2/1000/${bytesOf('voucher', 65).toString('base64url')}`
const withUris = (...uris: string[]) => certificateWith({ uris })

const signature = bindingSignature()
const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n
const highS = (() => {
  const s = ORDER - BigInt(`0x${signature.toString('hex', 32, 64)}`)
  const v = signature[64] === 27 ? '1c' : '1b'
  const hex = signature.toString('hex', 0, 32) + s.toString(16).padStart(64, '0') + v
  return Buffer.from(hex, 'hex')
})()
const withV = (v: number) => Buffer.concat([signature.subarray(0, 64), Buffer.from([v])])
const flipped = (at: number) => {
  const copy = Buffer.from(signature)
  copy[at] = (copy[at] ?? 0) ^ 1
  return copy
}
const text = signature.toString('base64url')
const uriWith = (signatureText: string) => `datanet:binding/1/${contract}/${signatureText}`
// 65 bytes leave 2 spare bits in the last of 87 characters: A, Q, g and w have them zero.
const spareBits = text.slice(0, -1) + String.fromCharCode(text.charCodeAt(86) + 1)

const extension = (id: string, critical: boolean, value: Buffer) =>
  sequence(oid(id), ...(critical ? [trueValue()] : []), octetString(value))
const dnsAndMail = (dns: string, mail: string) =>
  extension(
    '2.5.29.17',
    false,
    toDer(sequence(contextBytes(2, Buffer.from(dns)), contextBytes(1, Buffer.from(mail)))),
  )

const refusals: readonly (readonly [string, CertificateRefusal, Buffer])[] = [
  ['no bytes', 'certificate-malformed', Buffer.alloc(0)],
  ['random bytes', 'certificate-malformed', bytesOf('noise', 600)],
  ['larger than any we make', 'certificate-too-large', Buffer.alloc(CERTIFICATE_BYTES_MAX + 1)],
  ['a byte after it', 'certificate-malformed', Buffer.concat([certificateWith(), Buffer.alloc(1)])],
  ['no extensions', 'binding-missing', certificateWith({ extensions: [] })],
  ['no SAN', 'binding-missing', certificateWith({ extensions: goodExtensions([]).slice(0, 3) })],
  ['no binding URI', 'binding-missing', withUris(did)],
  ['no account URI', 'binding-missing', withUris(binding)],
  [
    'RSA of a public CA',
    'binding-missing',
    certificateWith({ spki: rsaSpki, uris: ['https://a/'] }),
  ],
  ['Ed25519', 'binding-missing', certificateWith({ spki: edSpki, uris: [] })],
  ['bound RSA key', 'certificate-key-unsupported', certificateWith({ spki: rsaSpki })],
  ['bound P-384 key', 'certificate-key-unsupported', certificateWith({ spki: p384Spki })],
  ['both URIs in one', 'binding-missing', withUris(`https://a/, URI:${did}, URI:${binding}`)],
  ['the binding printed after the account', 'binding-missing', withUris(`${did}, URI:${binding}`)],
  ['a name printed after the account', 'binding-malformed', withUris(`${did}, URI:x`, binding)],
  ['two account URIs', 'binding-duplicate', withUris(did, did, binding)],
  ['two binding URIs', 'binding-duplicate', withUris(did, binding, binding)],
  [
    'another account added',
    'binding-duplicate',
    withUris(did, accountUri({ consumer: accountOf(otherKey) }), binding),
  ],
  ['another did method added', 'binding-malformed', withUris(did, binding, 'did:web:a.example')],
  ['another datanet URI added', 'binding-malformed', withUris(did, binding, 'datanet:binding/2/x')],
  ['scheme in capitals', 'binding-malformed', withUris(did.replace('did', 'DID'), binding)],
  [
    'account in capitals',
    'binding-malformed',
    withUris(
      did.replace(/[a-f]+/g, (x) => x.toUpperCase()),
      binding,
    ),
  ],
  [
    'contract in capitals',
    'binding-malformed',
    withUris(did, binding.replace('0x5fbdb', '0x5FBDB')),
  ],
  [
    'chain id with a leading zero',
    'binding-malformed',
    withUris(did.replace('155:3', '155:03'), binding),
  ],
  ['a space after the account', 'binding-malformed', withUris(`${did} `, binding)],
  ['a line end after the account', 'binding-malformed', withUris(`${did}\n`, binding)],
  ['a zero byte in the account', 'binding-malformed', withUris(`${did}\0`, binding)],
  ['a further path segment', 'binding-malformed', withUris(did, `${binding}/x`)],
  ['another chain', 'binding-chain', certificateWith({ chainId: 1n })],
  ['another contract', 'binding-contract', certificateWith({ contract: otherContract })],
  [
    'signed for another chain',
    'binding-signature-mismatch',
    withUris(did, bindingUri({}, bindingSignature({ chainId: 1n }))),
  ],
  [
    'signed for another contract',
    'binding-signature-mismatch',
    withUris(did, bindingUri({}, bindingSignature({ contract: otherContract }))),
  ],
  [
    'signed by another account',
    'binding-signature-mismatch',
    certificateWith({ signerKey: otherKey }),
  ],
  [
    'naming another account',
    'binding-signature-mismatch',
    withUris(accountUri({ consumer: accountOf(otherKey) }), binding),
  ],
  ['for another key', 'binding-signature-mismatch', certificateWith({ signedSpki: otherSpki })],
  [
    'the key exchanged',
    'binding-signature-mismatch',
    certificateWith({ spki: otherSpki, uris: [did, binding] }),
  ],
  [
    'validity moved',
    'binding-signature-mismatch',
    certificateWith({ signedNotAfter: notAfter - 1 }),
  ],
  ['a bit of s changed', 'binding-signature-mismatch', withUris(did, bindingUri({}, flipped(40)))],
  [
    'the other v',
    'binding-signature-mismatch',
    withUris(did, bindingUri({}, withV(signature[64] === 27 ? 28 : 27))),
  ],
  ['v 0', 'binding-signature-malformed', withUris(did, bindingUri({}, withV(0)))],
  ['v 1', 'binding-signature-malformed', withUris(did, bindingUri({}, withV(1)))],
  ['high s', 'binding-signature-malformed', withUris(did, bindingUri({}, highS))],
  ['r and s of zero', 'binding-signature-malformed', withUris(did, uriWith('A'.repeat(87)))],
  ['no signature', 'binding-signature-malformed', withUris(did, uriWith(''))],
  [
    '64 bytes',
    'binding-signature-malformed',
    withUris(did, bindingUri({}, signature.subarray(0, 64))),
  ],
  ['a character short', 'binding-signature-malformed', withUris(did, uriWith(text.slice(0, -1)))],
  ['padded base64', 'binding-signature-malformed', withUris(did, uriWith(`${text}=`))],
  ['spare bits set', 'binding-signature-malformed', withUris(did, uriWith(spareBits))],
  ['not base64', 'binding-signature-malformed', withUris(did, uriWith(`*${text.slice(1)}`))],
  [
    'a second longer than 30 days and 10 minutes',
    'certificate-validity-too-long',
    certificateWith({ notAfter: notBefore + VALIDITY_MAX_SECONDS + 1 }),
  ],
  [
    'direct for a year',
    'certificate-validity-too-long',
    certificateWith({ spki: directSpki, uris: [], notAfter: notBefore + 365 * 86_400 }),
  ],
  ['direct with a binding', 'binding-malformed', certificateWith({ spki: directSpki })],
  ['two vouchers', 'voucher-duplicate', withUris(did, binding, voucher, voucher)],
  ['voucher of nothing', 'voucher-malformed', withUris(did, binding, voucher.replace('1000', '0'))],
  [
    'voucher above uint96',
    'voucher-malformed',
    withUris(did, binding, voucher.replace('1000', `${2n ** 96n}`)),
  ],
  [
    'voucher for no uint32',
    'voucher-malformed',
    withUris(did, binding, voucher.replace('/2/', '/4294967296/')),
  ],
  [
    'RFC 5216 §5.3 made for servers only',
    'certificate-usage',
    certificateWith({
      extensions: [Extension.serverAuth(), Extension.uriNames([did, binding])],
    }),
  ],
  [
    'RFC 5216 §5.3 key not for signatures',
    'certificate-usage',
    certificateWith({
      extensions: [Extension.certificateSigning(), Extension.uriNames([did, binding])],
    }),
  ],
  [
    'RFC 5280 §4.2 unknown critical extension',
    'certificate-critical-extension',
    certificateWith({
      extensions: [...goodExtensions([did, binding]), extension('1.2.3.4', true, Buffer.of(5, 0))],
    }),
  ],
  [
    'RFC 5280 §4.2 SAN twice',
    'certificate-malformed',
    certificateWith({
      extensions: [Extension.uriNames([did]), Extension.uriNames([binding])],
    }),
  ],
  [
    'account as DNS name',
    'binding-missing',
    certificateWith({ extensions: [dnsAndMail(did, binding)] }),
  ],
]

t.test('each refusal has its reason, made by altering one thing', async (t) => {
  const good = readIdentity(certificateWith(), domain)
  t.notOk(isRefused(good), 'the certificate altered below is itself accepted')
  for (const [what, refusal, der] of refusals) {
    const result = readIdentity(der, domain)
    t.equal(isRefused(result) ? result.refusal : 'accepted', refusal, what)
  }
})

t.test(
  'a bound certificate is its account; foreign names and a voucher may stand beside',
  async (t) => {
    const plain = readIdentity(certificateWith(), domain)
    if (isRefused(plain)) throw new Error(plain.detail)
    t.match(plain, { kind: 'bound', account, notBefore, notAfter })
    t.match(plain.spkiSha256, /^[0-9a-f]{64}$/)
    t.equal(plain.voucher, undefined)
    t.match(readIdentity(withUris('urn:x', did, 'https://a/', binding, voucher), domain), {
      account,
      voucher: { operator: 2, amount: 1000n, signature: bytesOf('voucher', 65) },
    })
    const bare = certificateWith({ extensions: [Extension.uriNames([did, binding])] })
    t.match(readIdentity(bare, domain), { account }, 'RFC 5216 §5.3: no usage extension at all')
    const anyUse = extension('2.5.29.37', false, toDer(sequence(oid('2.5.29.37.0'))))
    const anyPurpose = certificateWith({ extensions: [anyUse, Extension.uriNames([did, binding])] })
    t.match(readIdentity(anyPurpose, domain), { account }, 'RFC 5216 §5.3: any purpose')
    const longest = certificateWith({ notAfter: notBefore + VALIDITY_MAX_SECONDS })
    t.match(readIdentity(longest, domain), { account }, '30 days and 10 minutes')
  },
)

t.test('a direct certificate is the account of its key, on any chain', async (t) => {
  const der = certificateWith({ spki: directSpki, uris: [] })
  t.match(readIdentity(der, domain), { kind: 'direct', account })
  t.match(readIdentity(der, identityDomain(1n, otherContract)), { kind: 'direct', account })
})

t.test('the validity ends are inclusive', async (t) => {
  const identity = readIdentity(certificateWith(), domain)
  if (isRefused(identity)) throw new Error(identity.detail)
  const cases: readonly (readonly [number, CertificateRefusal | undefined])[] = [
    [notBefore - 1, 'certificate-not-yet-valid'],
    [notBefore, undefined],
    [notAfter, undefined],
    [notAfter + 1, 'certificate-expired'],
  ]
  for (const [at, refusal] of cases) t.equal(checkValidity(identity, at)?.refusal, refusal)
})

t.test(
  'the reader remembers identities, not refusals, and drops the least recently used',
  async (t) => {
    const read = identityReader(domain, 2)
    const [a, b, c] = [0, 1, 2].map((i) => certificateWith({ notAfter: notAfter - i }))
    if (a === undefined || b === undefined || c === undefined) throw new Error('three certificates')
    const first = read(a)
    t.equal(read(Buffer.from(a)), first, 'the same bytes in another buffer')
    const second = read(b)
    for (let i = 0; i < 5; i++) t.ok(isRefused(read(withUris(did))), 'refused again each time')
    t.equal(read(a), first, 'refusals pushed nothing out')
    read(c)
    t.equal(read(a), first, 'used after b, so kept')
    t.not(read(b), second, 'dropped, read again')
    t.match(read(b), { account })
    t.ok(isRefused(read(Buffer.alloc(CERTIFICATE_BYTES_MAX + 1))))
  },
)

t.test('the SPKI hash is over the key in the certificate', async (t) => {
  const result = readIdentity(certificateWith(), domain)
  t.match(result, {
    spkiSha256: hash('sha256', deviceSpki, 'hex'),
  })
})
