// Session resumption with real supplicants. eapol_test logs in twice in one run: the second time
// it shows the ticket of the first, and between the two the world changes (gate.ts). Whoever comes
// back is judged anew, and learns by its alert why it was refused.
// Mostly waits: for supplicants that come back a second later.

import { createHash, randomBytes } from 'node:crypto'
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { spkiOfKey } from '../../certs/issue.ts'
import { wpaSupplicantConf } from '../../certs/profiles/wpa_supplicant.ts'
import { setDeviceKey } from '../../chain/calls.ts'
import { readShiftBond, requestShift } from '../../chain/shift-calls.ts'
import { advance, EPOCH_SECONDS } from '../../eap/ticket-keys.ts'
import {
  daemon,
  hostapdConf,
  layCable,
  STATION_INTERFACE,
  startHostapd,
  wiredProfile,
} from './cable.ts'
import { type Credential, forger, newP256 } from './forged.ts'
import { openGate } from './gate.ts'
import { startNode } from './node.ts'
import { openPayers } from './payers.ts'
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

const TOKEN = 10n ** 18n
const VERSIONS = ['1.2', '1.3'] as const
type Version = (typeof VERSIONS)[number]
const RESUMPTION = 'resumption: true'

/** eapol_test asks for a ticket on TLS 1.3 by itself, on 1.2 only when told. */
const settings = (version: Version) => (conf: string) => {
  const flags = [0, 1, 2, 3].map((n) => `tls_disable_tlsv1_${n}=${`1.${n}` === version ? 0 : 1}`)
  return conf.replace(/phase1=.*/, `phase1="${flags.join(' ')} tls_disable_session_ticket=0"`)
}

let stations = 0
const newStation = () =>
  `02-00-00-00-03-${(++stations).toString(16).padStart(2, '0').toUpperCase()}`

interface Logins {
  readonly version: Version
  readonly again: number
  /** Before the last one; says which server takes that one. */
  readonly change?: () => Promise<RunningServer>
  readonly station?: string
}

/** A run of logins, and the lines that they left in the log. */
async function logins(t: Test, server: RunningServer, folder: string, o: Logins) {
  const station = o.station ?? newStation()
  const linesOf = (one: RunningServer) =>
    one.log().filter((line) => line['station'] === station && 'resumed' in line)
  const before = linesOf(server).length
  const gate = await openGate(t, server.authPort)
  const through = { ...server, authPort: gate.port }
  const args = ['-r', `${o.again}`, '-M', station.replaceAll('-', ':')]
  const running = eapolTest(through, folder, { edit: settings(o.version), args })
  // A first login that fails comes to no second one.
  await Promise.race([gate.waiting, running])
  const last = (await o.change?.()) ?? server
  const lastBefore = linesOf(last).length
  gate.open(last.authPort)
  const { ok, out } = await running
  const lines = linesOf(server).slice(before)
  return {
    ok,
    out,
    lines: last === server ? lines : [...lines, ...linesOf(last).slice(lastBefore)],
  }
}

/** eapol_test tells OpenSSL's callback: 0x4004 is an alert read, 0x2 its level (fatal). */
const alertsRead = (out: string): number[] =>
  [...out.matchAll(/where=0x4004 ret=0x2(..)\)\nSSL: SSL3 alert: read [^\n]*:fatal:/g)].map(
    ([, hex]) => Number(`0x${hex}`),
  )

t.test('eapol_test comes back with its ticket; a reload keeps it', async (t) => {
  const directory = temporaryDirectory(t)
  const server = await startServer(t, { directory, config: testConfig({ eap: RESUMPTION }) })
  const device = await createDevice(server, 'alice')
  const reload = async () => {
    server.process.kill('SIGHUP')
    await server.logged(({ msg }) => msg === 'configuration reloaded')
    return server
  }
  for (const version of VERSIONS) {
    const o = { version, again: 3, change: reload }
    const { ok, out, lines } = await logins(t, server, device.directory, o)
    t.ok(ok, version)
    t.match(out, /MPPE keys OK: 4 +mismatch: 0/, `TLS ${version}: all keys agree`)
    t.same(
      lines.map((line) => [line['tls'], line['resumed']]),
      [false, true, true, true].map((resumed) => [version, resumed]),
    )
  }
  const metrics = await (await fetch(`${server.url}/metrics`)).text()
  t.match(metrics, /^datanet_resumed_logins_total\{nas="loopback",result="ok"\} 6$/m)
})

/** A folder like a device's own. */
function folderOf(directory: string, credential: Credential, serverName: string, caPem: string) {
  const at = join(directory, `peer-${randomBytes(6).toString('hex')}`)
  mkdirSync(at)
  const path = (name: string, text: string): string => {
    writeFileSync(join(at, name), text)
    return join(at, name)
  }
  const profile = wpaSupplicantConf({
    ...{ kind: 'bound', realm: 'resumption.datanet.invalid', serverName },
    caPath: path('ca.pem', caPem),
    certificatePath: path('cert.pem', credential.certificatePem),
    keyPath: path('key.pem', credential.keyPem),
  })
  path('wpa_supplicant.conf', profile)
  return at
}

t.test('L12 RFC 9190 §5.7: what has changed since the ticket was made', async (t) => {
  const directory = temporaryDirectory(t)
  const server = await startServer(t, { directory, config: testConfig({ eap: RESUMPTION }) })
  const payers = await openPayers(server)
  const { access, operatorId } = payers
  const another = await payers.anotherOperator(randomBytes(32))
  const bond = await readShiftBond(access)

  /** Mined, and known to the server. */
  const mirrored = async ({ blockNumber }: { readonly blockNumber: number }) => {
    const known = async () => {
      const text = await (await fetch(`${server.url}/metrics`)).text()
      return Number(/^datanet_chain_block_number (\d+)$/m.exec(text)?.[1]) >= blockNumber
    }
    await waitFor(known, 5_000, () => `block ${blockNumber} is not in the mirror`)
    return server
  }
  interface Changed {
    readonly privateKey: Buffer
    readonly spki: string
    readonly notAfter: number
  }
  const expires = async ({ notAfter }: Changed) => {
    await new Promise((done) => setTimeout(done, (notAfter + 1) * 1000 - Date.now() + 50))
    return server
  }
  const revokes = async ({ privateKey, spki }: Changed) =>
    mirrored(await setDeviceKey(access, { privateKey }, spki, false))
  const drains = async ({ privateKey }: Changed) => {
    await payers.faucet(privateKey, bond)
    const order = { from: operatorId, to: another, amount: 10n * TOKEN, bond }
    return mirrored(await requestShift(access, { privateKey }, order))
  }
  const cases = [
    { reason: 'certificate-expired', alert: 45, lifetimeSeconds: 6, change: expires },
    { reason: 'certificate-revoked', alert: 44, lifetimeSeconds: 86_400, change: revokes },
    // Its session is put off, and what that has used is no longer covered.
    { reason: 'debt', alert: 49, lifetimeSeconds: 86_400, change: drains },
  ]
  for (const { reason, alert, lifetimeSeconds, change } of cases) {
    const privateKey = randomBytes(32)
    await payers.fund(privateKey, operatorId, 10n * TOKEN)
    const tlsKey = newP256()
    const spki = createHash('sha256').update(spkiOfKey(tlsKey)).digest('hex')
    const nowSeconds = Math.floor(Date.now() / 1000)
    const notAfter = nowSeconds + lifetimeSeconds
    const credential = forger(access, nowSeconds)({ accountKey: privateKey, tlsKey, notAfter })
    const folder = folderOf(directory, credential, payers.serverName, payers.caPem)
    // Both have logged in when it comes, once.
    const both = Promise.withResolvers<void>()
    let waiting = 0
    const changed = both.promise.then(() => change({ privateKey, spki, notAfter }))
    const meets = async () => {
      if (++waiting === VERSIONS.length) both.resolve()
      return changed
    }
    const runs = VERSIONS.map(async (version) => {
      const seen = await logins(t, server, folder, { version, again: 1, change: meets })
      return { version, ...seen }
    })
    for (const { version, ok, out, lines } of await Promise.all(runs)) {
      const name = `${reason}, TLS ${version}`
      t.notOk(ok, name)
      t.same(
        lines.map((line) => [line['resumed'], line['reason']]),
        [
          [false, undefined],
          // In 1.2 the ticket itself is not taken, since nobody would listen to an alert later.
          [version === '1.3', reason],
        ],
        `${name}: let in, then refused`,
      )
      t.same(alertsRead(out), [alert], `${name}: the alert that the peer reads`)
      const refused = out.lastIndexOf('SSL3 alert: read')
      t.ok(out.indexOf('EAP: Received EAP-Failure') > refused, `${name}: then EAP-Failure`)
      t.equal(out.match(/EAP: Received EAP-Success/g)?.length, 1, `${name}: one Success before`)
    }
  }
  const metrics = await (await fetch(`${server.url}/metrics`)).text()
  t.match(metrics, /^datanet_resumed_logins_total\{nas="loopback",result="rejected"\} 3$/m)
})

t.test('L11: two servers with one file of ticket keys, and rotations', async (t) => {
  const directories = [temporaryDirectory(t), temporaryDirectory(t)] as const
  const [here, there] = directories
  const node = await startNode(t, here)
  const file = join(here, 'shared-ticket-keys.json')
  const eap = `${RESUMPTION}, ticket_keys: ${file}`
  const config = testConfig({ eap, chain: node.config })
  const first = await startServer(t, { directory: here, config })
  mkdirSync(join(there, 'data'), { mode: 0o700 })
  for (const name of ['operator-key', 'ca.crt', 'ca.key', 'server.crt', 'server.key']) {
    cpSync(join(here, 'data', name), join(there, 'data', name))
  }
  const second = await startServer(t, { directory: there, config })
  const device = await createDevice(first, 'bob', [])
  await node.give(device.account, 10)
  const topup = ['device', 'topup', device.directory, '10']
  const env = { DATANET_PASSWORD: 'correct horse battery staple' }
  t.equal((await run(process.execPath, [datanet, ...topup], { cwd: here, env })).code, 0)

  /** The second server goes on by this many epochs, as its clock would make it. */
  const rotated = (epochs: number) => async () => {
    const { epoch, secret } = JSON.parse(readFileSync(file, 'utf8'))
    const link = { epoch, secret: Buffer.from(secret, 'hex') }
    const next = advance(link, (epoch + 1 + epochs) * EPOCH_SECONDS)
    t.equal(next.epoch, epoch + epochs)
    const text = JSON.stringify({ epoch: next.epoch, secret: next.secret.toString('hex') })
    writeFileSync(file, text)
    const before = second.log().length
    second.process.kill('SIGHUP')
    const done = () =>
      second
        .log()
        .slice(before)
        .some(({ msg }) => msg === 'configuration reloaded')
    await waitFor(done, 5_000, () => 'no reload')
    writeFileSync(file, JSON.stringify({ epoch, secret }))
    return second
  }
  const station = newStation()
  for (const version of VERSIONS) {
    for (const [epochs, resumed] of [
      [0, true],
      [1, true],
      [2, false],
    ] as const) {
      const o = { version, again: 1, change: rotated(epochs), station }
      const { ok, out, lines } = await logins(t, first, device.directory, o)
      const name = `TLS ${version}, ${epochs} epochs later`
      t.ok(ok, name)
      t.match(out, /MPPE keys OK: 2 +mismatch: 0/, name)
      t.same(
        lines.map((line) => line['resumed']),
        [false, resumed],
        name,
      )
    }
  }
})

t.test('wpa_supplicant resumes when it comes back', async (t) => {
  const directory = temporaryDirectory(t)
  const { inAp, inStation } = await layCable(t)
  const config = testConfig({ eap: RESUMPTION })
  const server = await startServer(t, { directory, config, prefix: inAp })
  const create = ['device', 'create', 'carol', '--deposit', '10', '--operator', server.url]
  const made = await run('ip', [...inAp.slice(1), process.execPath, datanet, ...create], {
    ...{ cwd: directory, env: { DATANET_PASSWORD: 'a wired password' } },
  })
  t.equal(made.code, 0, made.errors)
  const wiredPath = join(directory, 'wired.conf')
  const profile = readFileSync(join(directory, 'carol', 'wpa_supplicant.conf'), 'utf8')
  const control = join(directory, 'control')
  writeFileSync(wiredPath, `ctrl_interface=${control}\n${wiredProfile(profile)}`)
  await startHostapd(t, inAp, directory, hostapdConf(server))
  const link = ['-i', STATION_INTERFACE, '-D', 'wired', '-c', wiredPath]
  const supplicant = daemon(t, inStation, ['wpa_supplicant', '-t', ...link])
  await waitFor(
    () => /CTRL-EVENT-CONNECTED/.test(supplicant()),
    30_000,
    () => supplicant(),
  )
  const wpaCli = ['-p', control, '-i', STATION_INTERFACE]
  t.equal((await run('wpa_cli', [...wpaCli, 'reassociate'])).code, 0)
  const again = await server.logged(({ resumed }) => resumed === true)
  t.match(again, { msg: /^Login OK/, station: '02-11-00-00-00-02', tls: '1.3' })
  t.match(supplicant(), /CTRL-EVENT-EAP-SUCCESS/)
})

t.test('eap.engine: node has no tickets: full logins, and one line that says so', async (t) => {
  const directory = temporaryDirectory(t)
  const eap = `engine: node, ${RESUMPTION}`
  const server = await startServer(t, { directory, config: testConfig({ eap }) })
  const device = await createDevice(server, 'dora')
  for (const version of VERSIONS) {
    const o = { version, again: 1 }
    const { ok, out, lines } = await logins(t, server, device.directory, o)
    t.ok(ok, version)
    t.match(out, /MPPE keys OK: 2 +mismatch: 0/)
    t.same(
      lines.map((line) => line['resumed']),
      [false, false],
    )
  }
  const said = server.log().filter(({ msg }) => /eap\.resumption/.test(String(msg)))
  t.match(said, [{ msg: /needs the native TLS engine/ }])
})
