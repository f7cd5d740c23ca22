// OCSP responses: the one that our own CA signs, and what is read of others. OpenSSL reads and
// verifies the same in test/interop/certs.test.ts, a supplicant in test/interop/ocsp.test.ts.

import { createHash, createPublicKey, verify, X509Certificate } from 'node:crypto'
import t from 'tap'
import {
  childrenOf,
  context,
  contextBytes,
  type DerNode,
  enumerated,
  fromDer,
  generalizedTime,
  integer,
  nullValue,
  octetString,
  oid,
  sequence,
  toDer,
} from '../../certs/der.ts'
import {
  makeOcspResponse,
  OCSP_BYTES_MAX,
  OCSP_VALIDITY_SECONDS,
  readOcspResponse,
} from '../../certs/ocsp.ts'
import { makeOperatorCertificates, renewOperatorCertificate } from '../../certs/operator.ts'
import { bytesOf, now } from './fixtures.ts'

let calls = 0
const random = (length: number) => bytesOf(`ocsp ${calls++}`, length)
const DAY = 86_400
const made = makeOperatorCertificates({ operatorName: 'Corner', nowSeconds: now, random })
const stranger = makeOperatorCertificates({ operatorName: 'Corner', nowSeconds: now, random })
const later = now + 30 * DAY
const response = makeOcspResponse({ ...made, nowSeconds: later })

t.test('RFC 6960 §2.2, §4.2: "good" for the leaf, for 7 days', async (t) => {
  t.same(readOcspResponse(response, made.certificatePem), {
    der: response,
    status: 'good',
    thisUpdate: later - 2 * DAY,
    nextUpdate: later + OCSP_VALIDITY_SECONDS,
  })
  t.equal(OCSP_VALIDITY_SECONDS, 7 * DAY)
  t.ok(response.length < 300, `${response.length} octets in each handshake that asks`)
})

t.test('never from before the certificate: device clocks may be two days behind', async (t) => {
  const atOnce = makeOcspResponse({ ...made, nowSeconds: now - DAY })
  const issued = new X509Certificate(made.certificatePem).validFromDate.getTime() / 1000
  t.equal(readOcspResponse(atOnce, made.certificatePem).thisUpdate, issued)
})

t.test('signed by the CA itself, whose keyUsage allows it (RFC 5280 §4.2.1.3)', async (t) => {
  const [, wrapped] = childrenOf(fromDer(response), 'the response')
  const [, octets] = childrenOf(childrenOf(wrapped, 'bytes', 0)[0], 'bytes')
  const basic = fromDer(Buffer.from(String(octets?.value), 'latin1'))
  const [data, , signature] = childrenOf(basic, 'basic')
  const bits = Buffer.from(String(signature?.value), 'latin1').subarray(1)
  const key = createPublicKey(made.caCertificatePem)
  t.ok(verify('sha256', toDer(data as DerNode), { key, dsaEncoding: 'der' }, bits))
  const usage = Buffer.from('0603551d0f0101ff040403020186', 'hex')
  t.ok(new X509Certificate(made.caCertificatePem).raw.includes(usage), 'signatures, certs, CRLs')
  const other = { ...made, caKeyPem: stranger.caKeyPem, nowSeconds: now }
  t.throws(() => makeOcspResponse(other), /not that of the CA/)
})

t.test('a renewed leaf, or that of another CA of the same name, is another one', async (t) => {
  const renewed = renewOperatorCertificate({ ...made, nowSeconds: later, random })
  const mine = makeOcspResponse({ ...made, certificatePem: renewed, nowSeconds: later })
  t.equal(readOcspResponse(mine, renewed).status, 'good')
  for (const pem of [renewed, stranger.certificatePem]) {
    t.throws(() => readOcspResponse(response, pem), /for another certificate/)
  }
})

// What another responder could write, one part at a time.

const leaf = new X509Certificate(made.certificatePem)
const leafFields = childrenOf(childrenOf(fromDer(leaf.raw), 'leaf')[0], 'tbs')
const issuerDer = toDer(leafFields[3] as DerNode)
const serial = Buffer.from(leaf.serialNumber, 'hex')
const hashOf = (name: string, bytes: Uint8Array) => createHash(name).update(bytes).digest()

const certificateId = (o: { hash?: string; id?: string; issuer?: Buffer; serial?: Buffer } = {}) =>
  sequence(
    sequence(oid(o.id ?? '2.16.840.1.101.3.4.2.1'), nullValue()),
    octetString(hashOf(o.hash ?? 'sha256', o.issuer ?? issuerDer)),
    octetString(Buffer.alloc(20)),
    integer(o.serial ?? serial),
  )

const GOOD = contextBytes(0, Buffer.alloc(0))
const answer = (id = certificateId(), status: DerNode = GOOD, ...rest: DerNode[]) =>
  sequence(id, status, generalizedTime(now), ...rest)

const signed = sequence(oid('1.2.840.10045.4.3.2'))
function responseOf(
  answers: readonly DerNode[],
  o: { code?: number; type?: string; version?: DerNode[]; data?: DerNode } = {},
): Buffer {
  const data = sequence(
    ...(o.version ?? []),
    context(2, octetString(Buffer.alloc(20))),
    generalizedTime(now),
    sequence(...answers),
  )
  const signature = fromDer(Buffer.from('0302000f', 'hex'))
  const basic = toDer(sequence(o.data ?? data, signed, signature))
  const bytes = sequence(oid(o.type ?? '1.3.6.1.5.5.7.48.1.1'), octetString(basic))
  return toDer(sequence(enumerated(o.code ?? 0), context(0, bytes)))
}

t.test('what other responders write is read', async (t) => {
  const next = context(0, generalizedTime(now + DAY))
  const extensions = context(1, sequence())
  const revoked = context(1, generalizedTime(now))
  const elsewhere = certificateId({ serial: Buffer.from([1]) })
  const cases: [string, Buffer, string, number | undefined][] = [
    ['SHA-256', responseOf([answer()]), 'good', undefined],
    ['nextUpdate', responseOf([answer(certificateId(), GOOD, next)]), 'good', now + DAY],
    [
      'extensions',
      responseOf([answer(certificateId(), GOOD, next, extensions)]),
      'good',
      now + DAY,
    ],
    [
      'extensions alone',
      responseOf([answer(certificateId(), GOOD, extensions)]),
      'good',
      undefined,
    ],
    ['revoked', responseOf([answer(certificateId(), revoked)]), 'revoked', undefined],
    [
      'unknown',
      responseOf([answer(certificateId(), contextBytes(2, Buffer.alloc(0)))]),
      'unknown',
      undefined,
    ],
    ['the second of two', responseOf([answer(elsewhere), answer()]), 'good', undefined],
    [
      'a version',
      responseOf([answer()], { version: [context(0, integer(Buffer.from([0])))] }),
      'good',
      undefined,
    ],
    [
      'SHA-384',
      responseOf([answer(certificateId({ hash: 'sha384', id: '2.16.840.1.101.3.4.2.2' }))]),
      'good',
      undefined,
    ],
  ]
  for (const [name, der, status, nextUpdate] of cases) {
    const read = readOcspResponse(der, made.certificatePem)
    t.same(read, { der, status, thisUpdate: now, nextUpdate }, name)
  }
})

t.test('what is no answer for this certificate is refused with the reason', async (t) => {
  const failure = (code: number) => toDer(sequence(enumerated(code)))
  const cases: [string, Buffer, RegExp][] = [
    ['nothing', Buffer.alloc(0), /not ASN\.1/],
    ['text', Buffer.from('-----BEGIN'), /not ASN\.1/],
    ['a certificate', leaf.raw, /responseStatus has the wrong type/],
    ['more behind it', Buffer.concat([response, Buffer.from([5, 0])]), /not ASN\.1/],
    ['tryLater', failure(3), /no answer but an error \(tryLater\)/],
    ['unauthorized', failure(6), /\(unauthorized\)/],
    ['an unknown failure', failure(9), /\(9\)/],
    ['success without an answer', failure(0), /responseBytes/],
    ['another type', responseOf([answer()], { type: '1.3.6.1.5.5.7.48.1.2' }), /not a basic one/],
    ['no answers', responseOf([]), /for another certificate/],
    [
      'another serial',
      responseOf([answer(certificateId({ serial: Buffer.from([1]) }))]),
      /for another certificate/,
    ],
    [
      'another issuer',
      responseOf([answer(certificateId({ issuer: Buffer.from('x') }))]),
      /for another certificate/,
    ],
    [
      'a hash that names another',
      responseOf([answer(certificateId({ hash: 'sha1' }))]),
      /for another certificate/,
    ],
    [
      'a hash nobody knows',
      responseOf([answer(certificateId({ id: '1.2.3.4' }))]),
      /for another certificate/,
    ],
    ['no time', responseOf([sequence(certificateId(), GOOD)]), /validity time has the wrong type/],
    ['other data', responseOf([], { data: octetString(response) }), /responseData/],
    ['too long', Buffer.alloc(OCSP_BYTES_MAX + 1), /at most 16380 octets/],
  ]
  for (const [name, der, reason] of cases) {
    const error = { name: 'CertificateError', message: reason }
    t.throws(() => readOcspResponse(der, made.certificatePem), error, name)
  }
})

t.test('cut or changed anywhere it is read, or refused in words, never else', async (t) => {
  const seen = { read: 0, refused: 0 }
  for (let at = 0; at < response.length; at++) {
    const changed = Buffer.from(response)
    changed.writeUInt8(changed.readUInt8(at) ^ 0x41, at)
    for (const der of [response.subarray(0, at), changed]) {
      try {
        readOcspResponse(der, made.certificatePem)
        seen.read++
      } catch (error) {
        if ((error as Error).name !== 'CertificateError') t.fail(`${der.toString('hex')} ${error}`)
        seen.refused++
      }
    }
  }
  // A signature that is another one, or a time, or the responder's name: for the peer to see.
  t.ok(seen.read > 100 && seen.read < 200, `${seen.read} read`)
  t.ok(seen.refused > 350, `${seen.refused} refused`)
})
