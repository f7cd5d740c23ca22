// eap/keys.ts, alert.ts and reasons.ts: labels per version, hello fields, alerts, names of
// failures.

import { createDecipheriv } from 'node:crypto'
import t from 'tap'
import { plainAlert, sealedAlert } from '../../eap/alert.ts'
import { type Exporter, eapTlsKeys, groupOf, helloRandom, sessionIdOf } from '../../eap/keys.ts'
import { reasonOf } from '../../eap/reasons.ts'

t.test('L10 RFC 9190 §2.3, RFC 5216 §2.3: labels, contexts and lengths', async (t) => {
  const asked: unknown[] = []
  const exporter: Exporter = (length, label, context) => {
    asked.push([length, label, context?.toString('hex')])
    return Buffer.from(Array.from({ length }, (_, i) => i))
  }
  const randoms = Buffer.alloc(64, 9)
  const keys13 = eapTlsKeys('1.3', exporter, Buffer.alloc(0))
  t.same(asked.splice(0), [
    [128, 'EXPORTER_EAP_TLS_Key_Material', '0d'],
    [64, 'EXPORTER_EAP_TLS_Method-Id', '0d'],
  ])
  t.same([keys13.msk[0], keys13.msk[63], keys13.emsk[0], keys13.emsk[63]], [0, 63, 64, 127])
  t.equal(sessionIdOf(keys13)[0], 13)
  const keys12 = eapTlsKeys('1.2', exporter, randoms)
  t.same(asked, [[128, 'client EAP encryption', undefined]])
  t.same(keys12.methodId, randoms)
  t.throws(() => eapTlsKeys('1.2', exporter, randoms.subarray(1)), RangeError)
  t.throws(() => eapTlsKeys('1.3', () => Buffer.alloc(100), randoms), RangeError)
})

t.test('helloRandom reads across records, and refuses what is no hello', async (t) => {
  const random = Buffer.alloc(32, 0xab)
  const hello = Buffer.concat([Buffer.from([1, 0, 0, 34, 3, 3]), random])
  const record = (part: Buffer) => Buffer.concat([Buffer.from([22, 3, 1, 0, part.length]), part])
  t.same(helloRandom(record(hello)), random)
  for (let cut = 1; cut < hello.length; cut++) {
    t.same(
      helloRandom(Buffer.concat([record(hello.subarray(0, cut)), record(hello.subarray(cut))])),
      random,
    )
  }
  const whole = record(hello)
  for (let length = 0; length < whole.length; length++) {
    t.equal(helloRandom(whole.subarray(0, length)), undefined)
  }
  t.equal(helloRandom(record(Buffer.concat([Buffer.from([11]), hello.subarray(1)]))), undefined)
  t.equal(helloRandom(Buffer.from('15030300020228', 'hex')), undefined)
})

t.test('groupOf never throws on odd flights', async (t) => {
  const odd = [
    '',
    '16',
    '1603030000',
    '16030300040c000003',
    '160303000a0c00000603001d',
    '160303ffff02000000',
  ]
  for (const text of odd) {
    for (const version of ['1.2', '1.3'] as const) {
      t.type(groupOf(version, Buffer.from(text, 'hex')), 'string')
    }
  }
  const serverKeyExchange = Buffer.from('16030300070c00000303001d', 'hex')
  t.equal(groupOf('1.2', serverKeyExchange), 'X25519')
  const unnamed = Buffer.from('16030300070c00000303aaaa', 'hex')
  t.equal(groupOf('1.2', unnamed), '0xaaaa')
})

t.test('RFC 8446 §5.2: alerts, in clear and sealed with the sequence number', async (t) => {
  t.equal(plainAlert(49).toString('hex'), '15030300020231')
  // The write keys that RFC 8448 §3 gives for its server application traffic secret.
  const secret = Buffer.from(
    'a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643',
    'hex',
  )
  const key = Buffer.from('9f02283b6c9c07efc26bb9f2ac92e356', 'hex')
  const iv = Buffer.from('cf782b88dd83549aadf1e984', 'hex')
  for (const sequence of [0, 2]) {
    const record = sealedAlert({ alert: 49, cipher: 'TLS_AES_128_GCM_SHA256', secret, sequence })
    const nonce = Buffer.from(iv)
    nonce.writeUInt8((nonce[11] ?? 0) ^ sequence, 11)
    const opener = createDecipheriv('aes-128-gcm', key, nonce)
    opener.setAAD(record.subarray(0, 5))
    opener.setAuthTag(record.subarray(-16))
    const inner = Buffer.concat([opener.update(record.subarray(5, -16)), opener.final()])
    t.equal(inner.toString('hex'), '023115', `sequence ${sequence}`)
  }
})

t.test('reasons are the same words for every engine', async (t) => {
  const cases = {
    ERR_SSL_NO_SHARED_CIPHER: 'tls-no-shared-cipher',
    ERR_SSL_UNSUPPORTED_PROTOCOL: 'tls-protocol-version',
    ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: 'tls-alert-unknown-ca',
    ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: 'tls-alert-certificate-required',
    'ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE': 'tls-alert-bad-certificate',
    ERR_SSL_TLSV1_BAD_CERTIFICATE_STATUS_RESPONSE: 'tls-alert-bad-certificate-status-response',
    ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: 'tls-alert-bad-certificate',
    ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE: 'tls-no-certificate',
    ERR_SSL_WRONG_VERSION_NUMBER: 'tls-garbage',
    ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC: 'tls-decryption-failed-or-bad-record-mac',
    ECONNRESET: 'tls-econnreset',
  }
  for (const [code, reason] of Object.entries(cases)) {
    t.same(reasonOf(code), { reason, detail: code })
  }
})
