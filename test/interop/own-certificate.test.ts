// An operator with a certificate of its own: made by openssl, with and without a CA, P-256 and RSA
// with intermediates. A device enrols, its supplicant lets the server in over TLS 1.2 and 1.3 and
// refuses one with another key. Renewal by SIGHUP, another key at a restart.

import { X509Certificate } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { spkiSha256Of } from '../../certs/operator.ts'
import { isServerKey } from '../../chain/calls.ts'
import { openChain } from '../../device/chain.ts'
import { parseAddress } from '../../ethereum/address.ts'
import { openCa, type Pair, SERVER_NAME } from './openssl-ca.ts'
import {
  createDevice,
  eapolTest,
  type RunningServer,
  startServer,
  temporaryDirectory,
  testConfig,
} from './server.ts'

// Five starts, five devices and twenty conversations, on a busy machine.
t.setTimeout(175_000)

const config = testConfig({ eap: 'certificate: { cert: radius.crt, key: radius.key }' })
const TLS = [
  ['1.2', 'tls_disable_tlsv1_0=1 tls_disable_tlsv1_1=1 tls_disable_tlsv1_3=1'],
  [
    '1.3',
    'tls_disable_tlsv1_0=1 tls_disable_tlsv1_1=1 tls_disable_tlsv1_2=1 tls_disable_tlsv1_3=0',
  ],
] as const
/** A chain with three RSA certificates in it takes this many octets, in fragments of 1,300. */
const LONG_CHAIN = { octetsMin: 3_000, octetsMax: 4_096, rounds: 6 }

const directory = temporaryDirectory(t)
const ca = openCa(directory)
let root: Pair
let lone: Pair
t.before(async () => {
  root = await ca.certify('ca', { key: await ca.makeKey('ca'), ca: true })
  lone = await ca.certify('lone', { key: await ca.makeKey('lone'), issuer: root })
})

async function operatorOf(server: RunningServer) {
  const answer = JSON.parse(await (await fetch(`${server.url}/v1/operator`)).text())
  return answer as { certificates: string[]; serverName: string; contract: string; rpc: string }
}

async function start(t: Test): Promise<RunningServer> {
  const server = await startServer(t, { directory, config })
  t.equal((await operatorOf(server)).serverName, SERVER_NAME, 'the DNS name, not a look-alike')
  return server
}

/** Joins in both versions of TLS; resolves with the rounds of the last one. */
async function joins(t: Test, server: RunningServer, device: string): Promise<number> {
  let rounds = 0
  for (const [version, phase1] of TLS) {
    const edit = (conf: string): string => conf.replace(/phase1=".*"/, `phase1="${phase1}"`)
    const { ok, out } = await eapolTest(server, device, { edit })
    t.ok(ok, `TLS ${version}`)
    t.match(out, `Using TLS version TLSv${version}`)
    rounds = (out.match(/^Received RADIUS message$/gm) ?? []).length
  }
  return rounds
}

/** The supplicant turns the server away, with an alert of its own. */
async function turnsAway(t: Test, server: RunningServer, device: string): Promise<void> {
  const { ok, out } = await eapolTest(server, device)
  t.notOk(ok)
  t.match(out, 'CTRL-EVENT-EAP-TLS-CERT-ERROR')
  t.match(out, /local TLS alert/)
}

async function reloaded(server: RunningServer): Promise<void> {
  server.process.kill('SIGHUP')
  await server.logged((line) => line['msg'] === 'configuration reloaded')
}

const profileOf = (device: string): string =>
  readFileSync(join(device, 'wpa_supplicant.conf'), 'utf8')

const derOf = (one: Pair): Buffer => new X509Certificate(ca.chain(one)).raw

const sha256Of = (pem: string): string =>
  new X509Certificate(pem).fingerprint256.replaceAll(':', '').toLowerCase()

t.test('P-256 without a CA: pinned whole', async (t) => {
  ca.install(ca.chain(lone), lone.key)
  const server = await start(t)
  await server.logged((line) => /add the root if you can/.test(String(line['msg'])))
  const { certificates } = await operatorOf(server)
  t.same(certificates.map(sha256Of), [sha256Of(ca.chain(lone))])
  const { directory: device } = await createDevice(server, 'anna')
  t.match(profileOf(device), `ca_cert="hash://server/sha256/${sha256Of(ca.chain(lone))}"`)
  t.notMatch(profileOf(device), 'domain_match')
  t.notOk(existsSync(join(device, 'operator-ca.pem')))
  await joins(t, server, device)

  t.comment('renewed with the same key: taken, and devices that pinned the old one say no')
  const renewed = await ca.certify('lone-renewed', { key: lone.key, issuer: root })
  ca.install(ca.chain(renewed), lone.key)
  await reloaded(server)
  await server.logged((line) => /needs a new wpa_supplicant\.conf now/.test(String(line['msg'])))
  t.same((await operatorOf(server)).certificates.map(sha256Of), [sha256Of(ca.chain(renewed))])
  await turnsAway(t, server, device)
  await joins(t, server, (await createDevice(server, 'anna2')).directory)

  t.comment('another key: refused, the certificate in force stays')
  const other = await ca.certify('other', { key: await ca.makeKey('other'), issuer: root })
  ca.install(ca.chain(other), other.key)
  server.process.kill('SIGHUP')
  await server.logged((line) => /is not the one registered on chain/.test(String(line['reason'])))
  t.same((await operatorOf(server)).certificates.map(sha256Of), [sha256Of(ca.chain(renewed))])
  await server.stop()
})

t.test('P-256 with its CA, and another key than before: registered at the restart', async (t) => {
  const leaf = await ca.certify('leaf', { key: await ca.makeKey('leaf'), issuer: root })
  ca.install(ca.chain(leaf, root), leaf.key)
  const server = await start(t)
  const operator = await operatorOf(server)
  t.same(
    operator.certificates.map(sha256Of),
    [leaf, root].map((one) => sha256Of(ca.chain(one))),
  )
  const contract = parseAddress(operator.contract)
  const { rpc } = openChain(operator.rpc)
  for (const one of [lone, leaf]) {
    const spki = spkiSha256Of(ca.chain(one))
    t.ok(contract && (await isServerKey({ rpc, contract }, 1, spki)), `${one.cert} is valid now`)
  }
  const { directory: device } = await createDevice(server, 'bert')
  t.match(profileOf(device), `domain_match="${SERVER_NAME}"`)
  await joins(t, server, device)

  const renewed = await ca.certify('leaf-renewed', { key: leaf.key, issuer: root })
  ca.install(ca.chain(renewed, root), leaf.key)
  await reloaded(server)
  await joins(t, server, device)

  t.comment('another server of that name, whose key this contract does not know')
  const elsewhere = temporaryDirectory(t)
  const theirs = openCa(elsewhere)
  const theirRoot = await theirs.certify('ca', { key: await theirs.makeKey('ca'), ca: true })
  const theirKey = await theirs.makeKey('leaf')
  const theirLeaf = await theirs.certify('leaf', { key: theirKey, issuer: theirRoot })
  theirs.install(theirs.chain(theirLeaf, theirRoot), theirKey)
  const rogue = await startServer(t, { directory: elsewhere, config })
  await turnsAway(t, rogue, device)
  await turnsAway(t, rogue, join(directory, 'anna2'))
  await rogue.stop()
  await server.stop()
})

t.test('RSA-2048 with intermediates: more fragments', async (t) => {
  const rsaRoot = await ca.certify('root', { key: await ca.makeKey('root', 'rsa'), ca: true })
  const authority = async (name: string, issuer: Pair): Promise<Pair> =>
    ca.certify(name, { key: await ca.makeKey(name, 'rsa'), issuer, ca: true })
  const upper = await authority('upper', rsaRoot)
  const middle = await authority('middle', upper)
  const leaf = await ca.certify('rsa', { key: await ca.makeKey('rsa', 'rsa'), issuer: middle })
  ca.install(ca.chain(leaf, middle, upper, rsaRoot), leaf.key)
  const octets = [leaf, middle, upper].reduce((sum, one) => sum + derOf(one).length, 0)
  t.ok(octets >= LONG_CHAIN.octetsMin && octets <= LONG_CHAIN.octetsMax, `${octets} octets`)
  const server = await start(t)
  const published = [leaf, rsaRoot, middle, upper].map((one) => sha256Of(ca.chain(one)))
  t.same((await operatorOf(server)).certificates.map(sha256Of), published)
  const { directory: device } = await createDevice(server, 'carl')
  t.match(profileOf(device), `domain_match="${SERVER_NAME}"`)
  const rounds = await joins(t, server, device)
  t.ok(rounds >= LONG_CHAIN.rounds, `${rounds} rounds`)

  t.comment('the file without the root: a supplicant can not end a chain at an intermediate')
  ca.install(ca.chain(leaf, middle, upper), leaf.key)
  await reloaded(server)
  await joins(t, server, device)
  const { directory: later } = await createDevice(server, 'dora')
  t.match(profileOf(later), 'ca_cert="hash://server/sha256/')
  await joins(t, server, later)
  await server.stop()
})
