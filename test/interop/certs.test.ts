// OpenSSL, wpa_supplicant and eapol_test read what certs/ writes, and certs/ reads what OpenSSL
// writes.

import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { makeBoundCertificate, makeDirectCertificate, readPublicKey } from '../../certs/device.ts'
import { readIdentity } from '../../certs/identity.ts'
import { makeOcspResponse } from '../../certs/ocsp.ts'
import { makeOperatorCertificates } from '../../certs/operator.ts'
import { pkcs12 } from '../../certs/profiles/pkcs12.ts'
import { wpaSupplicantConf } from '../../certs/profiles/wpa_supplicant.ts'
import { toPem } from '../../certs/x509.ts'
import { accountOf } from '../../ethereum/signature.ts'
import * as fixture from '../certs/fixtures.ts'

const run = promisify(execFile)
const directory = await mkdtemp(join(tmpdir(), 'datanet-certs-'))
t.teardown(() => rm(directory, { recursive: true }))

const path = (name: string) => join(directory, name)
const openssl = async (...args: string[]) => (await run('openssl', args)).stdout

/** What a program prints on both outputs, whatever its exit code. */
async function outputOf(program: string, args: string[]): Promise<string> {
  const result = await run(program, args, { timeout: 20_000 }).catch((error: unknown) => error)
  const { stdout, stderr } = result as { stdout: string; stderr: string }
  return stdout + stderr
}

let calls = 0
const random = (length: number) => fixture.bytesOf(`random ${calls++}`, length)
const at = ['-attime', String(fixture.now)]
const device = {
  accountKey: fixture.accountKey,
  chainId: fixture.chainId,
  contract: fixture.contract,
  name: 'alice',
  publicKey: fixture.devicePublicPem,
  notBefore: fixture.notBefore,
  notAfter: fixture.notAfter,
  serial: random(16),
}
const operator = makeOperatorCertificates({
  operatorName: 'Corner Wi-Fi',
  nowSeconds: fixture.now,
  random,
})
const bound = makeBoundCertificate({ ...device, signingKeyPem: fixture.deviceKeyPem })
const direct = makeDirectCertificate({ ...device, name: 'sensor' })
const password = 'correct horse Ä'

await Promise.all(
  Object.entries({
    'bound.pem': bound,
    'elsewhere.pem': makeBoundCertificate(device),
    'direct.pem': direct.certificatePem,
    'direct-key.pem': direct.keyPem,
    'device-key.pem': fixture.deviceKeyPem,
    'ca.pem': operator.caCertificatePem,
    'leaf.pem': operator.certificatePem,
  }).map(([name, text]) => writeFile(path(name), text)),
)

t.test('openssl x509 prints every certificate we make', async (t) => {
  const uris = `URI:did:pkh:eip155:31337:${fixture.account}, URI:datanet:binding/1/`
  for (const [file, ...expected] of [
    ['bound.pem', 'Issuer: CN = alice', 'prime256v1', uris, 'TLS Web Client Authentication'],
    ['elsewhere.pem', `Issuer: CN = ${fixture.account}`, 'Subject: CN = alice', uris],
    ['direct.pem', 'secp256k1', 'Digital Signature', 'CA:FALSE'],
    ['ca.pem', 'CA:TRUE, pathlen:0', 'Permitted:\n                  DNS:datanet.invalid'],
    ['leaf.pem', 'DNS:radius.corner-wi-fi.datanet.invalid', 'TLS Web Server Authentication'],
  ] as const) {
    const text = await openssl('x509', '-in', path(file), '-noout', '-text')
    for (const part of expected) t.match(text.replace(/CN=/g, 'CN = '), part, `${file}: ${part}`)
  }
})

t.test('openssl verify, strict, agrees with the chains', async (t) => {
  for (const args of [
    [
      '-x509_strict',
      '-purpose',
      'sslserver',
      '-verify_hostname',
      operator.serverName,
      '-CAfile',
      path('ca.pem'),
      path('leaf.pem'),
    ],
    ['-purpose', 'sslclient', '-check_ss_sig', '-CAfile', path('bound.pem'), path('bound.pem')],
    ['-purpose', 'sslclient', '-check_ss_sig', '-CAfile', path('direct.pem'), path('direct.pem')],
  ]) {
    t.match(await openssl('verify', ...at, ...args), /: OK\n$/)
  }
  const wrongHost = ['-verify_hostname', 'radius.other.datanet.invalid']
  await t.rejects(
    openssl('verify', ...at, ...wrongHost, '-CAfile', path('ca.pem'), path('leaf.pem')),
  )
})

t.test('the CA is of no use for a name outside datanet.invalid', async (t) => {
  await writeFile(path('ca-key.pem'), operator.caKeyPem)
  await writeFile(path('ext'), 'subjectAltName=DNS:bank.example\n')
  await openssl(
    'req',
    '-new',
    '-key',
    path('device-key.pem'),
    '-subj',
    '/CN=bank',
    '-out',
    path('bank.csr'),
  )
  const issue = ['x509', '-req', '-in', path('bank.csr'), '-CA', path('ca.pem')]
  const key = ['-CAkey', path('ca-key.pem'), '-CAcreateserial', '-days', '300']
  await openssl(...issue, ...key, '-extfile', path('ext'), '-out', path('bank.pem'))
  const failed = await outputOf('openssl', [
    'verify',
    '-no_check_time',
    '-CAfile',
    path('ca.pem'),
    path('bank.pem'),
  ])
  t.match(failed, 'permitted subtree violation')
})

t.test('openssl pkcs12 opens the .p12 with its password only', async (t) => {
  const common = { keyPem: fixture.deviceKeyPem, certificatePem: bound, name: 'alice', random }
  const { caCertificatePem } = operator
  await writeFile(path('a.p12'), pkcs12({ ...common, caCertificatePem, password }))
  await writeFile(path('empty.p12'), pkcs12({ ...common, password: '' }))
  const info = ['pkcs12', '-info', '-nodes', '-in']
  const text = await outputOf('openssl', [...info, path('a.p12'), '-passin', `pass:${password}`])
  t.match(text, 'MAC: sha1, Iteration 20000')
  t.equal(text.match(/pbeWithSHA1And3-KeyTripleDES-CBC/g)?.length, 2)
  t.equal(text.match(/BEGIN CERTIFICATE/g)?.length, 2)
  t.match(text, 'friendlyName: alice')
  t.match(text, fixture.deviceKeyPem.trim(), 'the very key')
  const empty = await outputOf('openssl', [...info, path('empty.p12'), '-passin', 'pass:'])
  t.equal(empty.match(/BEGIN CERTIFICATE/g)?.length, 1)
  const wrong = await outputOf('openssl', [...info, path('a.p12'), '-passin', 'pass:wrong'])
  t.match(wrong, 'Mac verify error')
  t.notMatch(wrong, 'BEGIN')
})

t.test('a request made by openssl is bound; one with another signature is not', async (t) => {
  const request = ['req', '-new', '-key', path('device-key.pem'), '-subj', '/CN=tpm']
  for (const digest of ['-sha256', '-sha384', '-sha512']) {
    const csr = await openssl(...request, digest)
    t.same(readPublicKey(csr), fixture.deviceSpki)
    const pem = makeBoundCertificate({ ...device, publicKey: csr })
    t.match(readIdentity(fixture.derOf(pem), fixture.domain), { account: fixture.account })
  }
  const der = Buffer.from((await openssl(...request)).replace(/-----.*-----/g, ''), 'base64')
  der[der.indexOf('tpm')] = 0x54
  t.throws(() => readPublicKey(toPem('CERTIFICATE REQUEST', der)), /not signed by its own key/)
})

t.test('a direct certificate made by openssl alone is its account', async (t) => {
  const pem = await openssl(
    ...['req', '-x509', '-new', '-key', path('direct-key.pem'), '-subj', '/CN=own', '-days', '30'],
  )
  t.match(readIdentity(fixture.derOf(pem), fixture.domain), {
    kind: 'direct',
    account: accountOf(fixture.accountKey),
  })
})

t.test('openssl verifies the OCSP response that a CA of ours signs', async (t) => {
  const der = makeOcspResponse({ ...operator, nowSeconds: fixture.now })
  await writeFile(path('ocsp.der'), der)
  const from = ['ocsp', '-respin', path('ocsp.der'), '-issuer', path('ca.pem'), '-no_nonce']
  const args = [...from, '-CAfile', path('ca.pem'), '-cert', path('leaf.pem'), '-text']
  const printed = await outputOf('openssl', [...args, ...at])
  t.match(printed, 'Response verify OK')
  t.match(printed, 'Cert Status: good')
  t.match(printed, /Version: 1 .*\n +Responder Id: [0-9A-F]{40}/)
  t.match(printed, 'Signature Algorithm: ecdsa-with-SHA256')
  const changed = Buffer.from(der)
  changed.writeUInt8(changed.readUInt8(der.length - 1) ^ 1, der.length - 1)
  await writeFile(path('ocsp.der'), changed)
  t.match(await outputOf('openssl', [...args, ...at]), 'Response Verify Failure')
})

t.test('eapol_test and wpa_supplicant take wpa_supplicant.conf as it is', async (t) => {
  const conf = {
    kind: 'bound',
    realm: 'corner-wi-fi.datanet.invalid',
    serverName: operator.serverName,
    caPath: path('ca.pem'),
    certificatePath: path('bound.pem'),
    keyPath: path('device-key.pem'),
  } as const
  const texts = [
    wpaSupplicantConf(conf),
    wpaSupplicantConf({ ...conf, ssid: 'Corner' }),
    wpaSupplicantConf({ ...conf, ssid: 'a"b\n#}', keyPath: '/home/a "b"\nc/key.pem' }),
    wpaSupplicantConf({ ...conf, kind: 'direct', ssid: 'Café' }),
  ]
  for (const [index, text] of texts.entries()) {
    const file = path(`${index}.conf`)
    await writeFile(file, text)
    // No server answers on the discard port: only the reading of the file is of interest.
    const eapol = ['-c', file, '-a', '127.0.0.1', '-p', '9', '-s', 'secret', '-t', '1']
    const read = await outputOf('eapol_test', eapol)
    t.notMatch(read, /Line \d+:|ailed to parse/)
    t.match(read, 'Sending fake EAP-Request-Identity')
    // An interface that does not exist: it reads the file, then stops.
    const wired = ['-c', file, '-i', 'datanet-none', '-D', 'wired', '-dd']
    const printed = await outputOf('wpa_supplicant', wired)
    t.notMatch(printed, /Line \d+:|ailed to (read or )?parse/)
    t.match(printed, 'Priority group 0')
  }
})
