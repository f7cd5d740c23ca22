// An operator with a certificate of its own: made by openssl, with and without a CA, P-256 and RSA
// with an intermediate. A device enrols, its supplicant lets the server in over TLS 1.2 and 1.3, and
// refuses one whose key is not the one on chain. Renewal by SIGHUP, another key at a restart.

import { X509Certificate } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { spkiSha256Of } from '../../certs/operator.ts'
import { isServerKey } from '../../chain/calls.ts'
import { openChain } from '../../device/chain.ts'
import { parseAddress } from '../../ethereum/address.ts'
import { openCa, SERVER_NAME } from './openssl-ca.ts'
import {
  createDevice,
  eapolTest,
  type RunningServer,
  startServer,
  temporaryDirectory,
  testConfig,
} from './server.ts'

t.setTimeout(110_000)

const config = testConfig({ eap: 'certificate: { cert: radius.crt, key: radius.key }' })
const TLS = [
  ['1.2', 'tls_disable_tlsv1_3=1'],
  ['1.3', 'tls_disable_tlsv1_3=0 tls_disable_tlsv1_2=1'],
] as const

const directory = temporaryDirectory(t)
const ca = openCa(directory)

async function operatorOf(server: RunningServer) {
  const answer = JSON.parse(await (await fetch(`${server.url}/v1/operator`)).text())
  return answer as { certificates: string[]; serverName: string; contract: string; rpc: string }
}

/** Both versions of TLS, each proven by the server's own log of it. */
async function joins(t: Test, server: RunningServer, device: string): Promise<void> {
  for (const [version, phase1] of TLS) {
    const edit = (conf: string): string => conf.replace(/phase1=".*"/, `phase1="${phase1}"`)
    const { ok, out } = await eapolTest(server, device, { edit })
    t.ok(ok, `TLS ${version}`)
    if (!ok) t.comment(out.split('\n').filter((line) => /TLS|CTRL-EVENT/.test(line)).join('\n'))
  }
}

/** The supplicant turns the server away: an alert of its own, not a refusal of the server. */
async function turnsAway(t: Test, server: RunningServer, device: string): Promise<void> {
  const { ok, out } = await eapolTest(server, device)
  t.notOk(ok)
  t.match(out, /CTRL-EVENT-EAP-TLS-CERT-ERROR|Server certificate mismatch/)
}

async function start(t: Test): Promise<RunningServer> {
  const server = await startServer(t, { directory, config })
  t.equal((await operatorOf(server)).serverName, SERVER_NAME, 'the DNS name, not a look-alike')
  return server
}

t.test('P-256 without a CA: pinned whole', async (t) => {
  const key = await ca.makeKey('lone')
  const lone = await ca.certify('lone', { key, issuer: await authority() })
  ca.install(ca.chain(lone), key)
  const server = await start(t)
  const [leaf = ''] = (await operatorOf(server)).certificates
  t.same((await operatorOf(server)).certificates, [leaf])
  const { directory: device } = await createDevice(server, 'anna')
  const conf = readFileSync(join(device, 'wpa_supplicant.conf'), 'utf8')
  const sha256 = new X509Certificate(leaf).fingerprint256.replaceAll(':', '').toLowerCase()
  t.match(conf, `ca_cert="hash://server/sha256/${sha256}"`)
  t.notMatch(conf, 'domain_match')
  t.notOk(existsSync(join(device, 'operator-ca.pem')))
  await joins(t, server, device)

  const renewed = await ca.certify('lone-renewed', { key, issuer: await authority() })
  ca.install(ca.chain(renewed), key)
  server.process.kill('SIGHUP')
  await server.logged((line) => line['msg'] === 'configuration reloaded')
  await server.logged((line) => /needs a new wpa_supplicant\.conf now/.test(String(line['msg'])))
  const [now = ''] = (await operatorOf(server)).certificates
  t.equal(new X509Certificate(now).raw.equals(new X509Certificate(ca.chain(renewed)).raw), true)
  await turnsAway(t, server, device)
  await joins(t, server, (await createDevice(server, 'anna2')).directory)

  const otherKey = await ca.makeKey('other')
  ca.install(ca.chain(await ca.certify('other', { key: otherKey })), otherKey)
  server.process.kill('SIGHUP')
  await server.logged((line) => /is not the one registered on chain/.test(String(line['reason'])))
  t.same((await operatorOf(server)).certificates, [now], 'the old one stays')
  await server.stop()
})

t.test('another key with its CA, at a restart', async (t) => {
  const before = spkiSha256Of(ca.chain({ cert: 'lone.crt', key: '' }))
  const key = await ca.makeKey('leaf')
  const leaf = await ca.certify('leaf', { key, issuer: await authority() })
  ca.install(ca.chain(leaf, await authority()), key)
  const server = await start(t)
  const operator = await operatorOf(server)
  t.equal(operator.certificates.length, 2)
  const contract = parseAddress(operator.contract)
  const { rpc } = openChain(operator.rpc)
  for (const spki of [before, spkiSha256Of(ca.chain(leaf))]) {
    const valid = contract !== undefined && (await isServerKey({ rpc, contract }, 1, spki))
    t.ok(valid, 'both keys are valid while the change is announced')
  }
  const { directory: device } = await createDevice(server, 'bert')
  const conf = readFileSync(join(device, 'wpa_supplicant.conf'), 'utf8')
  t.match(conf, `domain_match="${SERVER_NAME}"`)
  await joins(t, server, device)
  const renewed = await ca.certify('leaf-renewed', { key, issuer: await authority() })
  ca.install(ca.chain(renewed, await authority()), key)
  server.process.kill('SIGHUP')
  await server.logged((line) => line['msg'] === 'configuration reloaded')
  await joins(t, server, device)

  t.comment('a server of the same name whose key and CA are not the operator\'s')
  const rogueCa = openCa(temporaryDirectory(t))
  await server.stop()
})

async function authority() {
  if (existsSync(join(directory, 'ca.crt'))) return { cert: 'ca.crt', key: 'ca.key' }
  return ca.certify('ca', { key: await ca.makeKey('ca'), ca: true })
}

t.test('RSA-2048 with an intermediate', async (t) => {
  const root = await ca.certify('root', { key: await ca.makeKey('root', 'rsa'), ca: true })
  const middleKey = await ca.makeKey('middle', 'rsa')
  const middle = await ca.certify('middle', { key: middleKey, issuer: root, ca: true })
  const key = await ca.makeKey('rsa', 'rsa')
  const leaf = await ca.certify('rsa', { key, issuer: middle })
  ca.install(ca.chain(leaf, middle, root), key)
  const server = await start(t)
  const { certificates } = await operatorOf(server)
  const names = certificates.map((pem) => /CN=(.*)/.exec(new X509Certificate(pem).subject)?.[1])
  t.same(names, ['rsa', 'root', 'middle'])
  const { directory: device } = await createDevice(server, 'carl')
  await joins(t, server, device)
  const received = join(directory, 'received.pem')
  await eapolTest(server, device, { args: [`-o${received}`] })
  t.comment(readFileSync(received,'utf8').length)
  await server.stop()

  ca.install(ca.chain(leaf, middle), key)
  const again = await start(t)
  t.equal((await operatorOf(again)).certificates.length, 2)
  const { directory: partial } = await createDevice(again, 'dora')
  await joins(t, again, partial)
  await again.stop()
})
