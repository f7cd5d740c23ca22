// SIGHUP and `datanet client add` against one running server: what a reload takes over, what it
// refuses, and what it leaves alone.

import { createPrivateKey, randomBytes, X509Certificate } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  makeOperatorCertificates,
  renewOperatorCertificate,
  spkiSha256Of,
} from '../../certs/operator.ts'
import { freePort } from '../../chain/anvil.ts'
import { authenticate } from '../peer/peer.ts'
import { createSupplicant, type Supplicant } from '../peer/tls.ts'
import { openTransport, type RadiusTransport } from '../peer/transport.ts'
import {
  createDevice,
  type RunningServer,
  run,
  runDatanet,
  SECRET,
  startServer,
  temporaryDirectory,
  testConfig,
  waitFor,
} from './server.ts'

const DAY = 86_400
type LogLine = Record<string, unknown>

let server: RunningServer
let directory: string
let supplicant: Supplicant
let transport: RadiusTransport
/** What each test changes. Its HTTP port is fixed, for `client add` to find the server. */
let plain: string
let stations = 0

t.before(async () => {
  directory = temporaryDirectory(t)
  const listen = `listen: "127.0.0.1:${await freePort()}"`
  plain = testConfig().replace('listen: "127.0.0.1:0"', listen)
  server = await startServer(t, { directory, config: plain })
  const device = await createDevice(server, 'reload')
  const read = (name: string): string => readFileSync(join(device.directory, name), 'utf8')
  supplicant = createSupplicant({
    ...{ tlsMin: '1.2', tlsMax: '1.3' },
    ...{ certificatePem: read('cert.pem'), keyPem: read('key.pem') },
  })
  transport = openTransport({
    ...{ host: '127.0.0.1', port: server.authPort, secret: Buffer.from(SECRET) },
  })
})

t.teardown(() => transport.close())

/** Writes the configuration, sends SIGHUP, and gives what was logged until the reload was over. */
async function reloaded(config: string): Promise<LogLine[]> {
  writeFileSync(server.configPath, config)
  const before = server.log().length
  server.process.kill('SIGHUP')
  const since = (): LogLine[] => server.log().slice(before)
  const over = (line: LogLine): boolean =>
    /^configuration reloaded$|^reload refused/.test(String(line['msg']))
  await waitFor(
    () => since().some(over),
    5_000,
    () => 'no word of the reload in the log',
  )
  return since()
}

/** The keys whose change a reload says to have no effect now. */
async function changed(config: string): Promise<unknown[]> {
  const lines = await reloaded(config)
  return lines.filter(({ msg }) => /^changed: /.test(String(msg))).map(({ path }) => path)
}

const joinOnce = (through = transport) =>
  authenticate({
    ...{ transport: through, supplicant, identity: 'anonymous' },
    callingStationId: `02-00-00-00-03-${(++stations).toString(16).padStart(2, '0')}`,
  })

/** Whether Status-Server from this loopback address is answered. */
async function answers(address: string, secret: string): Promise<boolean> {
  const input = `Packet-Src-IP-Address = ${address}\nMessage-Authenticator = 0x00\n`
  const to = `127.0.0.1:${server.authPort}`
  return (
    (await run('radclient', ['-r', '1', '-t', '1', to, 'status', secret], { input })).code === 0
  )
}

const clientLines = (address: string, secret: string): string =>
  `clients:\n  - { name: second, ipaddr: ${address}, secret: ${secret} }\n`

t.test('datanet client add: served at once, comments kept', async (t) => {
  const commented = plain.replace('clients:', '# Ours.\nclients: # who may ask')
  writeFileSync(server.configPath, commented)
  const add = ['client', 'add', 'lobby', '127.0.0.2', '--config', server.configPath, '--json']
  const added = await runDatanet([...add, '--data', join(directory, 'data')], { cwd: directory })
  t.equal(added.code, 0, added.errors)
  const { secret, reloaded: done } = JSON.parse(added.out)
  t.equal(done, true)
  t.ok(await answers('127.0.0.2', secret), 'the new client is served')
  t.notOk(await answers('127.0.0.3', secret), 'its neighbour is not')
  t.ok(await answers('127.0.0.1', SECRET), 'the old one still is')
  const text = readFileSync(server.configPath, 'utf8')
  t.match(text, '# Ours.\nclients: # who may ask')
  for (const line of commented.split('\n')) t.ok(text.includes(line), `kept: ${line}`)

  await reloaded(plain)
  t.notOk(await answers('127.0.0.2', secret), 'taken out of the file: refused after SIGHUP')
})

t.test('a broken file keeps the old configuration and tells every problem', async (t) => {
  const secret = 'another-secret-of-26-chars'
  await reloaded(plain.replace('clients:\n', clientLines('127.0.0.2/32', secret)))
  t.ok(await answers('127.0.0.2', secret))
  const broken = plain.replace('nas_type: hostapd', 'nas_type: toaster')
  const [refused] = await reloaded(`${broken}\nwifi: 1\n`)
  t.match(refused, { level: 'error', msg: /the old configuration stays/ })
  t.match(refused?.['problems'], [
    { path: 'clients[0].nas_type', line: 8 },
    { path: 'wifi', line: Number },
  ])
  t.ok(await answers('127.0.0.2', secret), 'the client is still served')
  const [absent] = await reloaded(': not yaml: [')
  t.match(absent, { level: 'error', problems: [{ line: 1 }] })
  t.ok(await answers('127.0.0.2', secret))
  await reloaded(plain)
})

t.test('changed ports are named as needing a restart, until they are changed back', async (t) => {
  const moved = plain
    .replace('auth: "127.0.0.1:0"', 'auth: "127.0.0.1:1"')
    .replace('rpc: embedded', 'rpc: embedded, stale_after: 30s')
    .replace(/listen: "\S+"/, 'listen: "127.0.0.1:1", public_url: "http://wifi.example"')
  for (const time of ['first', 'second']) {
    const told = await changed(moved)
    t.strictSame(told, ['radius.auth', 'http.listen', 'http.public_url'], `${time} reload`)
  }
  t.equal((await fetch(`${server.url}/healthz`)).status, 200, 'the old ports still answer')
  t.strictSame(await changed(plain), [])
})

t.test('tariffs and limits change with the next join', async (t) => {
  t.match(await joinOnce(), { outcome: 'accept', keysMatch: true })
  const dear = plain.replace('per_minute: "0.001"', 'per_minute: "100"')
  await reloaded(dear)
  t.match(await joinOnce(), { outcome: 'reject', eapCode: 4 })
  t.ok(await server.logged((line) => line['reason'] === 'insufficient-escrow'))
  await reloaded(`${plain}sessions: { per_account: 1 }\n`)
  t.match(await joinOnce(), { outcome: 'reject', eapCode: 4 })
  t.ok(await server.logged((line) => line['reason'] === 'too-many-sessions'))
  // The embedded token has 18 decimals; a price below its base unit is no problem of the text.
  const [tooFine] = await reloaded(plain.replace('"0.001"', '"0.0000000000000000001"'))
  t.match(tooFine, { level: 'error', msg: /^reload refused/ })
  t.match(JSON.stringify(tooFine), /tariffs\.standard\.per_minute/)
  await reloaded(plain)
  t.match(await joinOnce(), { outcome: 'accept', keysMatch: true })
})

t.test('a conversation in progress survives a reload after each of its packets', async (t) => {
  let reloads = 0
  const through: RadiusTransport = {
    ...transport,
    async exchange(attributes) {
      const exchanged = await transport.exchange(attributes)
      await reloaded(plain)
      reloads += 1
      return exchanged
    },
  }
  t.match(await joinOnce(through), { outcome: 'accept', keysMatch: true })
  t.ok(reloads >= 4, `${reloads} reloads`)
})

async function servedLeaf(): Promise<string> {
  const answer = await fetch(`${server.url}/v1/operator`)
  const { certificates } = (await answer.json()) as { certificates: string[] }
  return certificates[0] ?? ''
}

t.test('certificates: renewed with their key, never another key', async (t) => {
  const data = (name: string): string => join(directory, 'data', name)
  const nowSeconds = Math.floor(Date.now() / 1000)
  const random = randomBytes
  const first = await servedLeaf()
  const spki = spkiSha256Of(first)
  const issuer = {
    ...{ certificatePem: first, random },
    caCertificatePem: readFileSync(data('ca.crt'), 'utf8'),
    caKeyPem: readFileSync(data('ca.key'), 'utf8'),
  }
  const aged = renewOperatorCertificate({ ...issuer, nowSeconds: nowSeconds - 700 * DAY })
  writeFileSync(data('server.crt'), aged)
  await reloaded(plain)
  const renewed = await servedLeaf()
  t.notSame(renewed, first)
  t.ok(new X509Certificate(renewed).validToDate.getTime() > (nowSeconds + 800 * DAY) * 1000)
  t.equal(spkiSha256Of(renewed), spki, 'auto: renewed, the key stays')
  t.equal(readFileSync(data('server.crt'), 'utf8'), renewed)

  const own = plain.replace('eap: {', 'eap: { certificate: { cert: own.crt, key: own.key },')
  const put = (certificate: string, key: string): void => {
    writeFileSync(join(directory, 'own.crt'), certificate)
    writeFileSync(join(directory, 'own.key'), key)
  }
  const key = readFileSync(data('server.key'), 'utf8')
  t.ok(new X509Certificate(renewed).checkPrivateKey(createPrivateKey(key)))
  const byOwner = renewOperatorCertificate({ ...issuer, nowSeconds })
  put(byOwner, key)
  t.match((await reloaded(own)).at(-1), { msg: 'configuration reloaded' })
  t.equal(await servedLeaf(), byOwner, 'files of our own with the key on chain are taken')

  const other = makeOperatorCertificates({ operatorName: 'Other', nowSeconds, random })
  const refusals: [string, string, RegExp][] = [
    [other.certificatePem, other.keyPem, /not the one registered on chain; restart/],
    [byOwner, other.keyPem, /own\.key is not the key of .*own\.crt/],
    ['', key, /own\.crt does not hold a certificate/],
  ]
  for (const [certificate, itsKey, reason] of refusals) {
    put(certificate, itsKey)
    const [line] = await reloaded(own)
    t.match(line, { level: 'error', reason, msg: /the old configuration stays/ })
    t.equal(await servedLeaf(), byOwner)
  }
  t.match(await joinOnce(), { outcome: 'accept', keysMatch: true }, 'and devices still get in')
})
