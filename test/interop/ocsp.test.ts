// OCSP stapling against a real supplicant that asks for it (`ocsp=1`) or insists on it (`ocsp=2`):
// by a CA of our own, and with files that the openssl program writes as a CA would. What must not
// be stapled, what the supplicant refuses, and with which alert.
// Mostly waits: for the server to look at its file again, and for supplicants.

import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { makeOcspResponse } from '../../certs/ocsp.ts'
import { openCa, type Pair } from './openssl-ca.ts'
import {
  createDevice,
  datanet,
  eapolTest,
  type RunningServer,
  run,
  startServer,
  temporaryDirectory,
  testConfig,
  waitFor,
} from './server.ts'

t.setTimeout(175_000)

const TLS = {
  '1.2': 'tls_disable_tlsv1_0=1 tls_disable_tlsv1_1=1 tls_disable_tlsv1_3=1',
  '1.3': 'tls_disable_tlsv1_0=1 tls_disable_tlsv1_1=1 tls_disable_tlsv1_2=1 tls_disable_tlsv1_3=0',
} as const
type Version = keyof typeof TLS
const VERSIONS = ['1.2', '1.3'] as const
/** RFC 6066 §9: alert 113, as the log says it. */
const REFUSED = 'tls-alert-bad-certificate-status-response'
const DAY = 86_400

/** One login with `ocsp=` of wpa_supplicant: 0 no, 1 asks, 2 insists. */
function login(server: RunningServer, device: string, version: Version, ocsp: 0 | 1 | 2) {
  const edit = (conf: string): string =>
    conf.replace(/phase1=".*"/, `phase1="${TLS[version]}"\n\tocsp=${ocsp}`)
  return eapolTest(server, device, { edit })
}

/** In both versions; `status` is what the supplicant reads of the certificate. */
async function joins(
  t: Test,
  server: RunningServer,
  device: string,
  o: { ocsp: 0 | 1 | 2; status?: 'good' },
): Promise<void> {
  for (const version of VERSIONS) {
    const { ok, out } = await login(server, device, version, o.ocsp)
    t.ok(ok, `TLS ${version}, ocsp=${o.ocsp}`)
    t.match(out, `Using TLS version TLSv${version}`)
    const has = /OCSP status for server certificate: good/.test(out)
    t.equal(has, o.status === 'good', 'a response for this certificate')
  }
}

/** The supplicant refuses with alert 113 in both versions, and the log says so. */
async function refuses(t: Test, server: RunningServer, device: string, ocsp: 1 | 2, why: RegExp) {
  for (const version of VERSIONS) {
    const refused = () => server.log().filter(({ reason }) => reason === REFUSED).length
    const before = refused()
    const { ok, out } = await login(server, device, version, ocsp)
    t.notOk(ok, `TLS ${version}, ocsp=${ocsp}`)
    t.match(out, why)
    t.match(out, /local TLS alert \(param=bad certificate status response\)/)
    await waitFor(
      () => refused() === before + 1,
      5_000,
      () => `the log has no ${REFUSED}`,
    )
  }
}

const says = (server: RunningServer, text: RegExp) =>
  server.logged((line) => text.test(String(line['msg'])), 30_000)

/** Unix seconds; 0 where none is stapled. */
async function gauge(server: RunningServer): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text()
  const value = /^datanet_ocsp_next_update_timestamp_seconds (\S+)$/m.exec(text)?.[1]
  return value === '+Inf' ? Number.POSITIVE_INFINITY : Number(value)
}

t.test('L14 RFC 9190 §5.4: auto staples its own; without it, ocsp=2 refuses', async (t) => {
  const directory = temporaryDirectory(t)
  const config = testConfig()
  const server = await startServer(t, { directory, config })
  const { directory: device } = await createDevice(server, 'anna')
  t.notMatch(readFileSync(join(device, 'wpa_supplicant.conf'), 'utf8'), 'ocsp')
  await joins(t, server, device, { ocsp: 0 })
  await joins(t, server, device, { ocsp: 1, status: 'good' })
  await joins(t, server, device, { ocsp: 2, status: 'good' })
  const nowSeconds = Date.now() / 1000
  const until = await gauge(server)
  t.ok(until > nowSeconds + 6.9 * DAY && until <= nowSeconds + 7 * DAY, `until ${until}`)
  server.process.kill('SIGHUP')
  await server.logged((line) => line['msg'] === 'configuration reloaded')
  await joins(t, server, device, { ocsp: 2, status: 'good' })
  await server.stop()

  t.comment('node:tls staples nothing: who asks gets in, who insists does not')
  const plain = await startServer(t, {
    directory,
    config: config.replace('fragment_size: 1300', 'engine: node'),
  })
  await joins(t, plain, device, { ocsp: 1 })
  await refuses(t, plain, device, 2, /No OCSP response received/)
  t.equal(await gauge(plain), 0)
  await plain.stop()
})

t.test('L11, L14: with resumption, who insists gets in again and again', async (t) => {
  const more = 'sessions: { per_account: 100 }'
  const config = testConfig({ eap: 'resumption: true', more })
  const server = await startServer(t, { directory: temporaryDirectory(t), config })
  const { directory: device } = await createDevice(server, 'carl')
  for (const version of VERSIONS) {
    const phase1 = `phase1="${TLS[version]} tls_disable_session_ticket=0"`
    for (const ocsp of [0, 2]) {
      const edit = (conf: string): string =>
        conf.replace(/phase1=".*"/, `${phase1}\n\tocsp=${ocsp}`)
      const { ok, out } = await eapolTest(server, device, { edit, args: ['-r', '2'] })
      t.ok(ok, `TLS ${version}, ocsp=${ocsp}`)
      t.match(out, /MPPE keys OK: 3 +mismatch: 0/)
      // wpa_supplicant prints the line twice in TLS 1.3: at its Finished, and with our next flight.
      const isResumed = /Handshake finished - resumed=1/.test(out)
      t.equal(isResumed, version === '1.2' || ocsp === 0, 'resumed')
    }
  }
  await server.stop()
})

const directory = temporaryDirectory(t)
const ca = openCa(directory)
const at = (name: string): string => join(directory, name)
const text = (name: string): string => readFileSync(at(name), 'utf8')
let root: Pair
let leaf: Pair

/** What a CA's own responder says of a certificate, written by openssl. */
async function respond(
  file: string,
  o: { of?: Pair; revoked?: true; signer?: Pair; args?: readonly string[] } = {},
): Promise<void> {
  const subject = o.of ?? leaf
  const printed = await run('openssl', ['x509', '-in', at(subject.cert), '-noout', '-serial'])
  const serial = printed.out.trim().replace('serial=', '')
  const status = o.revoked ? 'R\t490101000000Z\t260101000000Z' : 'V\t490101000000Z\t'
  writeFileSync(at('index.txt'), `${status}\t${serial}\tunknown\t/CN=x\n`)
  const signer = o.signer ?? root
  const { code, errors } = await run('openssl', [
    ...['ocsp', '-index', at('index.txt'), '-CA', at(root.cert), '-issuer', at(root.cert)],
    ...['-cert', at(subject.cert), '-rsigner', at(signer.cert), '-rkey', at(signer.key)],
    ...['-no_nonce', '-noverify', '-respout', at('fresh.der'), ...(o.args ?? ['-ndays', '3'])],
  ])
  if (code !== 0) throw new Error(`openssl ocsp: ${errors}`)
  // As a renewal should do it: the old file or the new one, never a part.
  renameSync(at('fresh.der'), at(file))
}

const withFile = testConfig({
  eap: 'certificate: { cert: radius.crt, key: radius.key, ocsp: ocsp.der }',
  more: 'sessions: { per_account: 100 }',
})

t.test('a certificate of the operator, with a response that openssl wrote', async (t) => {
  root = await ca.certify('ca', { key: await ca.makeKey('ca'), ca: true })
  leaf = await ca.certify('leaf', { key: await ca.makeKey('leaf'), issuer: root })
  const rogue = await ca.certify('rogue', { key: await ca.makeKey('rogue'), ca: true })
  ca.install(ca.chain(leaf, root), leaf.key)
  await respond('ocsp.der')
  const server = await startServer(t, { directory, config: withFile })
  const { directory: device } = await createDevice(server, 'bert')
  await joins(t, server, device, { ocsp: 2, status: 'good' })

  t.comment('replaced while running, each time without a signal')
  await respond('ocsp.der', { revoked: true })
  await says(server, /ocsp\.der says that the certificate is revoked/)
  await refuses(t, server, device, 2, /OCSP status for server certificate: revoked/)
  await refuses(t, server, device, 1, /OCSP status for server certificate: revoked/)

  const stapled = () => server.log().filter(({ msg }) => msg === 'an OCSP response is stapled')
  await respond('ocsp.der', { args: [] })
  await server.logged(() => stapled().length === 3, 30_000)
  await joins(t, server, device, { ocsp: 2, status: 'good' })
  t.equal(await gauge(server), Number.POSITIVE_INFINITY, 'without nextUpdate: no end')

  await respond('ocsp.der', { signer: rogue })
  await server.logged(() => stapled().length === 4, 30_000)
  await refuses(t, server, device, 2, /OCSP response failed verification/)

  const nowSeconds = Math.floor(Date.now() / 1000)
  const own = { caCertificatePem: text('ca.crt'), caKeyPem: text('ca.key') }
  const made = { ...own, certificatePem: text('leaf.crt') }
  writeFileSync(at('ocsp.der'), makeOcspResponse({ ...made, nowSeconds: nowSeconds - 8 * DAY }))
  await says(server, /ocsp\.der has expired .*: none is stapled/)
  await refuses(t, server, device, 2, /No OCSP response received/)
  await joins(t, server, device, { ocsp: 1 })
  t.equal(await gauge(server), 0)

  t.comment('a broken file, one for another certificate, none: the good one before it stays')
  await respond('ocsp.der')
  await server.logged(() => stapled().length === 5, 30_000)
  writeFileSync(at('ocsp.der'), 'half')
  await says(server, /ocsp\.der is not an OCSP response .*not ASN\.1/)
  await joins(t, server, device, { ocsp: 2, status: 'good' })
  await respond('ocsp.der', { of: rogue })
  await says(server, /ocsp\.der is not an OCSP response .*for another certificate/)
  rmSync(at('ocsp.der'))
  await says(server, /ocsp\.der does not exist/)
  await joins(t, server, device, { ocsp: 2, status: 'good' })
  server.process.kill('SIGHUP')
  await says(server, /^reload refused: the old configuration stays$/)
  await joins(t, server, device, { ocsp: 2, status: 'good' })
  t.equal(server.log().filter(({ msg }) => /does not exist/.test(String(msg))).length, 1, 'once')
  await server.stop()
})

t.test('at start: out of date is a warning, broken is a configuration error', async (t) => {
  const data = at('data')
  const config = at('datanet.yaml')
  const serve = () => run(process.execPath, [datanet, 'serve', '--config', config, '--data', data])
  const broken: [() => Promise<void> | void, RegExp][] = [
    [() => undefined, /eap\.certificate: \S+ocsp\.der does not exist; name an OCSP response/],
    [() => writeFileSync(at('ocsp.der'), text('ca.crt')), /ocsp\.der is not an OCSP response/],
    [() => respond('ocsp.der', { of: root }), /is for another certificate\); fetch one: openssl/],
  ]
  for (const [put, reason] of broken) {
    await put()
    const { code, errors } = await serve()
    t.equal(code, 78)
    t.match(errors, reason)
  }
})
