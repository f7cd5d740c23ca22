// Supplicant profiles as text: what is in them, what is escaped, and that no secret slips in.

import { createHash, X509Certificate } from 'node:crypto'
import t from 'tap'
import { CertificateError, fromDer } from '../../../certs/der.ts'
import { makeBoundCertificate } from '../../../certs/device.ts'
import { makeOperatorCertificates } from '../../../certs/operator.ts'
import { mobileconfig } from '../../../certs/profiles/mobileconfig.ts'
import { passpoint, perProviderSubscription } from '../../../certs/profiles/passpoint.ts'
import { pkcs12 } from '../../../certs/profiles/pkcs12.ts'
import { windowsWlanXml } from '../../../certs/profiles/windows.ts'
import { wpaSupplicantConf } from '../../../certs/profiles/wpa_supplicant.ts'
import { uuidOf, xmlText } from '../../../certs/profiles/xml.ts'
import * as fixture from '../fixtures.ts'

const { caCertificatePem, serverName } = makeOperatorCertificates({
  operatorName: 'Tom & Jerry',
  nowSeconds: fixture.now,
  random: (length) => fixture.bytesOf('operator', length),
})
const realm = 'tom-jerry.datanet.invalid'
const certificatePem = makeBoundCertificate({
  accountKey: fixture.accountKey,
  chainId: fixture.chainId,
  contract: fixture.contract,
  name: 'alice',
  publicKey: fixture.devicePublicPem,
  signingKeyPem: fixture.deviceKeyPem,
  notBefore: fixture.notBefore,
  notAfter: fixture.notAfter,
  serial: fixture.bytesOf('serial', 16),
})
const password = 'correct horse'
const p12 = pkcs12({
  keyPem: fixture.deviceKeyPem,
  certificatePem,
  caCertificatePem,
  name: 'alice',
  password,
  random: (length) => fixture.bytesOf('salt', length),
})

const conf = {
  kind: 'bound',
  realm,
  serverName,
  caPath: '/home/a/alice/operator-ca.pem',
  certificatePath: '/home/a/alice/cert.pem',
  keyPath: '/home/a/alice/key.pem',
} as const

t.test('wpa_supplicant.conf: one block, line by line', async (t) => {
  t.equal(
    wpaSupplicantConf({ ...conf, ssid: 'Corner' }),
    `network={
	ssid="Corner"
	key_mgmt=WPA-EAP WPA-EAP-SHA256 IEEE8021X
	ieee80211w=1
	eap=TLS
	identity="anonymous@tom-jerry.datanet.invalid"
	ca_cert="/home/a/alice/operator-ca.pem"
	client_cert="/home/a/alice/cert.pem"
	private_key="/home/a/alice/key.pem"
	domain_match="radius.tom-jerry.datanet.invalid"
	phase1="tls_disable_tlsv1_3=0"
}
`,
  )
  t.match(wpaSupplicantConf({ ...conf, kind: 'direct' }), 'phase1="tls_disable_tlsv1_3=1"')
  t.notMatch(wpaSupplicantConf(conf), 'ssid=')
})

t.test('wpa_supplicant.conf: no value can end its line or its quotes', async (t) => {
  for (const [ssid, written] of [
    ['Corner Wi-Fi', '"Corner Wi-Fi"'],
    ['a"b', '612262'],
    ['a\nnetwork={', '610a6e6574776f726b3d7b'],
    ['#x', '2378'],
    ['Café', '436166c3a9'],
  ] as const) {
    t.match(wpaSupplicantConf({ ...conf, ssid }), `\tssid=${written}\n`)
  }
  const keyPath = '/home/zoé/a "b"/key.pem'
  const hex = Buffer.from(keyPath).toString('hex')
  t.match(wpaSupplicantConf({ ...conf, keyPath }), `\tprivate_key=${hex}\n`)
  t.throws(() => wpaSupplicantConf({ ...conf, keyPath: 'key.pem' }), CertificateError)
  t.throws(() => wpaSupplicantConf({ ...conf, keyPath: '/a\0b' }), CertificateError)
  t.throws(() => wpaSupplicantConf({ ...conf, ssid: 'é'.repeat(17) }), CertificateError)
  t.throws(() => wpaSupplicantConf({ ...conf, ssid: '' }), CertificateError)
})

t.test('.p12: new salts, no plain key, no plain name', async (t) => {
  t.ok(fromDer(p12))
  const scalar = fixture.deviceKey.export({ format: 'jwk' }).d ?? ''
  t.equal(p12.indexOf(Buffer.from(scalar, 'base64url')), -1)
  t.equal(p12.indexOf(password), -1)
  t.equal(p12.indexOf(fixture.account.slice(2)), -1, 'the certificate bag is encrypted too')
  t.throws(
    () =>
      pkcs12({
        keyPem: fixture.deviceKeyPem,
        certificatePem: fixture.deviceKeyPem,
        name: 'x',
        password,
        random: (length) => Buffer.alloc(length),
      }),
    CertificateError,
  )
})

const apple = {
  ...{ name: 'alice', operatorName: 'Tom & Jerry', realm, serverName },
  anchorPem: caCertificatePem,
}

t.test('.mobileconfig: CA, identity and a network that uses both', async (t) => {
  const text = mobileconfig({ ...apple, ssid: 'Tom <5G>', pkcs12: p12 })
  t.match(text, '<key>SSID_STR</key>\n<string>Tom &lt;5G&gt;</string>')
  t.match(text, '<key>AcceptEAPTypes</key>\n<array>\n<integer>13</integer>\n</array>')
  t.match(text, `<key>TLSTrustedServerNames</key>\n<array>\n<string>${serverName}</string>`)
  t.match(text, `<string>anonymous@${realm}</string>`)
  t.notMatch(text, password)
  const uuids = [...text.matchAll(/<key>PayloadUUID<\/key>\n<string>([0-9A-F-]{36})</g)]
  t.equal(new Set(uuids.map((match) => match[1])).size, 4, 'four payloads, four UUIDs')
  const [ca, identity] = uuids.map((match) => match[1] ?? '')
  const anchor = `<key>PayloadCertificateAnchorUUID</key>\n<array>\n<string>${ca}</string>`
  t.match(text, anchor)
  t.match(text, `<key>PayloadCertificateUUID</key>\n<string>${identity}</string>`)
  const data = [...text.matchAll(/<data>([^<]+)<\/data>/g)]
  const contents = data.map((match) => Buffer.from(match[1] ?? '', 'base64'))
  t.same(contents, [new X509Certificate(caCertificatePem).raw, p12])
  t.equal(mobileconfig({ ...apple, ssid: 'Tom <5G>', pkcs12: p12 }), text, 'a renewal replaces it')
  t.throws(() => mobileconfig({ ...apple, ssid: 'a\u0001', pkcs12: p12 }), CertificateError)
})

t.test('Windows WLAN XML: EAP 13, server name and CA thumbprint', async (t) => {
  const text = windowsWlanXml({ ssid: 'Café & Bar', serverName, caCertificatePem })
  t.match(text, '<hex>436166C3A9202620426172</hex>')
  t.match(text, '<name>Café &amp; Bar</name>')
  t.match(text, `<ServerNames>${serverName}</ServerNames>`)
  const sha1 = createHash('sha1').update(fixture.derOf(caCertificatePem)).digest('hex')
  t.match(text, `<TrustedRootCA>${sha1.match(/../g)?.join(' ')}</TrustedRootCA>`)
  t.match(text, '<useOneX>true</useOneX>')
  for (const ssid of ['', 'x'.repeat(33)]) {
    t.throws(() => windowsWlanXml({ ssid, serverName, caCertificatePem }), CertificateError)
  }
})

t.test('Passpoint: a base64 multipart of profile, CA and identity', async (t) => {
  const input = { operatorName: 'Tom & Jerry', realm, certificatePem, caCertificatePem }
  const text = Buffer.from(passpoint({ ...input, pkcs12: p12 }), 'base64').toString('utf8')
  const boundary = /boundary=(\S+)/.exec(text)?.[1] ?? ''
  const parts = text.split(`--${boundary}`).slice(1, -1)
  const contents = parts.map((part) => Buffer.from(part.split('\n\n')[1] ?? '', 'base64'))
  t.same(
    parts.map((part) => /Content-Type: (\S+)/.exec(part)?.[1]),
    ['application/x-passpoint-profile', 'application/x-x509-ca-cert', 'application/x-pkcs12'],
  )
  t.same(contents.slice(1), [new X509Certificate(caCertificatePem).raw, p12])
  t.ok(text.endsWith(`--${boundary}--\n`))
  const profile = contents[0]?.toString('utf8') ?? ''
  t.equal(profile, perProviderSubscription(input))
  const sha256 = createHash('sha256').update(fixture.derOf(certificatePem)).digest('hex')
  for (const [name, value] of [
    ['FriendlyName', 'Tom &amp; Jerry'],
    ['FQDN', realm],
    ['Realm', realm],
    ['CertificateType', 'x509v3'],
    ['CertSHA256Fingerprint', sha256],
  ]) {
    t.match(profile, `<NodeName>${name}</NodeName><Value>${value}</Value>`)
  }
})

/** Whether every tag closes in order and no text holds a bare `<` or `&`. */
function wellFormed(xml: string): boolean {
  const open: string[] = []
  for (const [, text, tag] of xml.matchAll(/([^<]*)(?:<([^<>]*)>|$)/g)) {
    if (/&(?!(amp|lt|gt);)/.test(text ?? '')) return false
    if (tag === undefined || /^[?!]|\/$/.test(tag)) continue
    if (!tag.startsWith('/')) open.push(tag.split(' ')[0] ?? '')
    else if (open.pop() !== tag.slice(1)) return false
  }
  return open.length === 0 && xml.replace(/<[^<>]*>/g, '').search(/[<>]/) < 0
}

t.test('every XML profile is well-formed, whatever the names', async (t) => {
  const name = '</string> & <b> ]]> "x"'
  const ssid = '<&>"'
  const input = { operatorName: name, realm, serverName, caCertificatePem, certificatePem }
  for (const text of [
    mobileconfig({ ...input, anchorPem: caCertificatePem, name, ssid, pkcs12: p12 }),
    windowsWlanXml({ ssid, serverName, caCertificatePem }),
    perProviderSubscription(input),
  ]) {
    t.ok(wellFormed(text))
    t.notOk(wellFormed(text.replace('&lt;', '<')), 'the check itself finds a bare <')
    t.notOk(wellFormed(text.replace(/<\/(dict|Node|name)>/, '')), 'and a tag left open')
  }
})

t.test('XML text and UUIDs', async (t) => {
  t.equal(xmlText('a<b>&"c\''), 'a&lt;b&gt;&amp;"c\'')
  for (const text of ['\0', '\n', '\u007f', '\ud800', '\ufffe']) {
    t.throws(() => xmlText(text), CertificateError)
  }
  t.match(uuidOf('a', 'b'), /^[0-9A-F]{8}-[0-9A-F]{4}-8[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}$/)
  t.not(uuidOf('a', 'bc'), uuidOf('ab', 'c'))
})
