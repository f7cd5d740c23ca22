// The operator's CA and server certificate: made, and renewed with the same key.

import { createPrivateKey, X509Certificate } from 'node:crypto'
import t from 'tap'
import {
  CA_VALIDITY_SECONDS,
  LEAF_VALIDITY_SECONDS,
  makeOperatorCertificates,
  realmOf,
  renewalDue,
  renewOperatorCertificate,
  serverNameOf,
  slugOf,
  spkiSha256Of,
} from '../../certs/operator.ts'
import { verifyServerCertificate } from '../../certs/server-chain.ts'
import { bytesOf, deviceKeyPem, now } from './fixtures.ts'

/** A counter in place of randomness: each call differs, every run is the same. */
function sequenceOf(seed: string): (length: number) => Buffer {
  let calls = 0
  return (length) => bytesOf(`${seed} ${calls++}`, length)
}

const operatorName = 'Corner Wi-Fi'
const made = makeOperatorCertificates({ operatorName, nowSeconds: now, random: sequenceOf('a') })
const seconds = (date: Date) => date.getTime() / 1000

t.test('a slug is a short ASCII label and never empty', async (t) => {
  for (const [name, slug] of [
    ['Corner Wi-Fi', 'corner-wi-fi'],
    ['  Café №1!  ', 'cafe-no1'],
    ['a'.repeat(80), 'a'.repeat(40)],
    [`${'a'.repeat(39)} b`, 'a'.repeat(39)],
    ['--x--', 'x'],
    ['咖啡', 'op-720ec669'],
    ['', 'op-e3b0c442'],
    ['../../etc', 'etc'],
    ['İstanbul', 'istanbul'],
  ] as const) {
    t.equal(slugOf(name), slug, JSON.stringify(name))
    t.match(slugOf(name), /^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/)
  }
  t.not(slugOf('咖啡'), slugOf('茶'), 'two names without letters differ')
  t.equal(realmOf(operatorName), 'corner-wi-fi.datanet.invalid')
  t.equal(serverNameOf(operatorName), 'radius.corner-wi-fi.datanet.invalid')
})

t.test('a CA of 10 years and a leaf of at most 825 days', async (t) => {
  const ca = new X509Certificate(made.caCertificatePem)
  const leaf = new X509Certificate(made.certificatePem)
  t.equal(made.serverName, serverNameOf(operatorName))
  t.equal(seconds(ca.validToDate) - seconds(ca.validFromDate), CA_VALIDITY_SECONDS)
  t.equal(seconds(leaf.validToDate) - seconds(leaf.validFromDate), LEAF_VALIDITY_SECONDS)
  t.ok(LEAF_VALIDITY_SECONDS <= 825 * 86_400)
  t.ok(ca.ca)
  t.notOk(leaf.ca)
  t.equal(leaf.subjectAltName, `DNS:${made.serverName}`)
  t.same(leaf.keyUsage, ['1.3.6.1.5.5.7.3.1'], 'RFC 5216 §5.3: serverAuth')
  t.equal(leaf.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1')
  t.ok(leaf.checkPrivateKey(createPrivateKey(made.keyPem)))
  t.ok(ca.checkPrivateKey(createPrivateKey(made.caKeyPem)))
  t.not(made.keyPem, made.caKeyPem)
  const again = makeOperatorCertificates({ operatorName, nowSeconds: now, random: sequenceOf('a') })
  t.equal(again.keyPem, made.keyPem, 'nothing but the given randomness decides')
})

t.test('renewal keeps the key, and with it the pin on chain', async (t) => {
  const later = now + 600 * 86_400
  t.notOk(renewalDue(made.certificatePem, now))
  t.ok(renewalDue(made.certificatePem, later))
  t.ok(renewalDue(made.certificatePem, now - 3 * 86_400), 'made by a clock that ran ahead')
  const renewed = renewOperatorCertificate({ ...made, nowSeconds: later, random: sequenceOf('c') })
  t.equal(spkiSha256Of(renewed), spkiSha256Of(made.certificatePem))
  const problem = verifyServerCertificate({
    certificates: [renewed, made.caCertificatePem],
    serverName: made.serverName,
    nowSeconds: later + 700 * 86_400,
  })
  t.equal(problem, undefined)
  const last = renewOperatorCertificate({
    ...made,
    nowSeconds: now + 3600 * 86_400,
    random: sequenceOf('d'),
  })
  const caEnd = new X509Certificate(made.caCertificatePem).validTo
  t.equal(new X509Certificate(last).validTo, caEnd, 'a leaf never outlives its CA')
})

t.test('the SPKI hash is 64 hex digits of any certificate', async (t) => {
  t.match(spkiSha256Of(made.certificatePem), /^[0-9a-f]{64}$/)
  t.not(spkiSha256Of(made.certificatePem), spkiSha256Of(made.caCertificatePem))
  t.throws(() => spkiSha256Of(deviceKeyPem))
})
