// Every way to be refused, by the real server, with eapol_test where it can play the part and a TLS
// client of ours where it cannot: one logged reason, one TLS alert the peer reads, EAP-Failure in
// an Access-Reject, never a Success. Accounts are made here; gas and tokens come from the faucet.

import { createHash, generateKeyPairSync, randomBytes, X509Certificate } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Extension, spkiOfKey } from '../../certs/issue.ts'
import { wpaSupplicantConf } from '../../certs/profiles/wpa_supplicant.ts'
import { setDeviceKey } from '../../chain/calls.ts'
import { checksumAddress } from '../../ethereum/address.ts'
import { accountOf } from '../../ethereum/signature.ts'
import { authenticate } from '../peer/peer.ts'
import { createSupplicant, type TlsVersion } from '../peer/tls.ts'
import { openTransport } from '../peer/transport.ts'
import {
  type Credential,
  directCredential,
  type Forgery,
  forger,
  highS,
  newP256,
  thiefsKey,
} from './forged.ts'
import { addressOf, openPayers, type Payers } from './payers.ts'
import {
  eapolTest,
  type RunningServer,
  run,
  SECRET,
  startServer,
  temporaryDirectory,
  testConfig,
  waitFor,
} from './server.ts'

const TOKEN = 10n ** 18n
const DAY = 86_400
const VERSIONS: readonly TlsVersion[] = ['1.2', '1.3']
const flags = (one: string) =>
  ['0', '1', '2', '3'].map((n) => `tls_disable_tlsv1_${n}=${`1.${n}` === one ? 0 : 1}`).join(' ')

const rich = randomBytes(32)
const poor = randomBytes(32)
const elsewhere = randomBytes(32)
const stranger = randomBytes(32)
const shown = (accountKey: Buffer): string => checksumAddress(accountOf(accountKey))

let server: RunningServer
let directory: string
let payers: Payers
let forge: (o: Forgery) => Credential
let nowSeconds: number
/** Reason -> refusals the peers here have seen; the server's own counters must say the same. */
const refusals = new Map<string, number>()
let stations = 0

t.before(async () => {
  directory = temporaryDirectory(t)
  server = await startServer(t, { directory, config: testConfig() })
  payers = await openPayers(server)
  nowSeconds = Math.floor(Date.now() / 1000)
  forge = forger(payers.access, nowSeconds)
  const another = await payers.anotherOperator(randomBytes(32))
  t.not(another, payers.operatorId, 'another operator of the same contract')
  await payers.fund(elsewhere, another, 100n * TOKEN)
  await payers.fund(rich, payers.operatorId, 100n * TOKEN)
  // A session reserves 3 intervals of 0.041 tokens: one base unit less than that is too little.
  await payers.fund(poor, payers.operatorId, 123n * 10n ** 15n - 1n)
})

const derOf = (pem: string): Buffer => new X509Certificate(pem).raw

/** A folder like a device's own, with a profile for eapol_test. */
function folder(kind: 'bound' | 'direct', credential: Credential): string {
  const at = join(directory, `peer-${randomBytes(6).toString('hex')}`)
  mkdirSync(at)
  const path = (name: string, text: string): string => {
    writeFileSync(join(at, name), text)
    return join(at, name)
  }
  const profile = wpaSupplicantConf({
    kind,
    realm: 'refusals.datanet.invalid',
    serverName: payers.serverName,
    caPath: path('ca.pem', payers.caPem),
    certificatePath: path('cert.pem', credential.certificatePem),
    keyPath: path('key.pem', credential.keyPem),
  })
  path('wpa_supplicant.conf', profile)
  return at
}

const newStation = (): string =>
  `02-00-00-00-02-${(++stations).toString(16).padStart(2, '0').toUpperCase()}`
const phase1 = (version: string) => (conf: string) =>
  conf.replace(/phase1=.*/, `phase1="${flags(version)}"`)

/** OpenSSL's own settings for every TLS connection of the process. */
function opensslConf(name: string, setting: string): Record<string, string> {
  const file = join(directory, `${name}.cnf`)
  const head = 'openssl_conf = conf\n[conf]\nssl_conf = ssl\n[ssl]\nsystem_default = all\n[all]\n'
  writeFileSync(file, `${head}${setting}\n`)
  return { OPENSSL_CONF: file }
}

/** RFC 8446 §6.2. */
const Alert = {
  handshakeFailure: 40,
  badCertificate: 42,
  unsupportedCertificate: 43,
  certificateRevoked: 44,
  certificateExpired: 45,
  accessDenied: 49,
  decryptError: 51,
  protocolVersion: 70,
  certificateRequired: 116,
} as const

interface Attempt {
  readonly reason: string
  /** Its number; undefined where none is sent. */
  readonly alert: number | undefined
  readonly account?: string
  readonly detail?: RegExp
  readonly edit: (conf: string) => string
  readonly env?: Record<string, string>
}

/** One eapol_test run that must be refused for this reason, and for no other. */
async function refused(t: Test, name: string, at: string, o: Attempt): Promise<string> {
  const station = newStation()
  const env = o.env === undefined ? {} : { env: o.env }
  const args = ['-M', station.replaceAll('-', ':')]
  const { ok, out } = await eapolTest(server, at, { edit: o.edit, args, ...env })
  t.notOk(ok, name)
  t.notMatch(out, /Access-Accept|EAP-Success|CTRL-EVENT-EAP-SUCCESS/, `${name}: never a Success`)
  t.match(out, /code=3 \(Access-Reject\)/, `${name}: Access-Reject`)
  // eapol_test tells OpenSSL's callback: 0x4004 is an alert read, 0x2 its level (fatal).
  const read = [...out.matchAll(/where=0x4004 ret=0x2(..)\)\nSSL: SSL3 alert: read [^\n]*:fatal:/g)]
  const numbers = read.map(([, hex]) => Number(`0x${hex}`))
  t.same(numbers, o.alert === undefined ? [] : [o.alert], `${name}: the alert the peer reads`)
  const failed = out.indexOf('EAP: Received EAP-Failure')
  t.ok(failed > (read[0]?.index ?? 0), `${name}: EAP-Failure, after the alert`)
  t.equal(out.indexOf('EAP: Received EAP-', failed + 1), -1, `${name}: and nothing after it`)
  await logged(t, name, station, o)
  return out
}

/** The one line of this station. */
async function logged(
  t: Test,
  name: string,
  station: string,
  o: Pick<Attempt, 'reason' | 'account' | 'detail'>,
): Promise<void> {
  const line = await server.logged((one) => one['station'] === station)
  t.match(line['msg'], `Login incorrect (${o.reason}): [`, name)
  t.equal(line['reason'], o.reason, `${name}: the logged reason`)
  t.equal(line['account'], o.account, `${name}: the logged account`)
  if (o.detail !== undefined) t.match(line['detail'], o.detail, `${name}: the logged detail`)
  refusals.set(o.reason, (refusals.get(o.reason) ?? 0) + 1)
}

/** Both TLS versions at once; each is a conversation of its own. */
async function refusedTwice(
  t: Test,
  name: string,
  credential: Credential,
  o: Omit<Attempt, 'edit'>,
): Promise<string[]> {
  const at = folder('bound', credential)
  const one = (version: TlsVersion) =>
    refused(t, `${name}, TLS ${version}`, at, { ...o, edit: phase1(version) })
  return Promise.all(VERSIONS.map(one))
}

const within = (ms: number, test: () => Promise<boolean>, what: string): Promise<void> =>
  waitFor(test, ms, () => what)

const HOME = '02-00-00-00-01-01'
/** Joins as the one station that is let in, so that one session at most is open. */
async function joins(at: string, edit: (conf: string) => string, env = {}): Promise<boolean> {
  const args = ['-M', HOME.replaceAll('-', ':')]
  const { ok, out } = await eapolTest(server, at, { edit, args, env })
  return ok && /MPPE keys OK: 1 +mismatch: 0/.test(out)
}

t.test('control: an untouched certificate of the same making gets in', async (t) => {
  const at = folder('bound', forge({ accountKey: rich }))
  for (const version of VERSIONS) t.ok(await joins(at, phase1(version)), `TLS ${version}`)
})

t.test('L6 L7 RFC 9190 §2.1.4: without escrow here, access_denied', async (t) => {
  const cases: [string, Buffer, string, RegExp][] = [
    ['no escrow', stranger, 'no-escrow', /no deposit with this operator/],
    ['with another operator only', elsewhere, 'escrow-with-another-operator', /not with this/],
    ['one base unit too little', poor, 'insufficient-escrow', /122999999999999999.*123000{12}/],
  ]
  for (const [name, accountKey, reason, detail] of cases) {
    const account = shown(accountKey)
    const credential = forge({ accountKey })
    await refusedTwice(t, name, credential, { reason, alert: Alert.accessDenied, account, detail })
  }
})

t.test('RFC 5280 §4.1.2.5: outside its validity', async (t) => {
  const from = { notBefore: nowSeconds - 2 * DAY, notAfter: nowSeconds - 1 }
  const until = { notBefore: nowSeconds + 300, notAfter: nowSeconds + DAY }
  const long = { notBefore: nowSeconds, notAfter: nowSeconds + 30 * DAY + 601 }
  const account = shown(rich)
  await refusedTwice(t, 'expired', forge({ accountKey: rich, ...from }), {
    ...{ reason: 'certificate-expired', alert: Alert.certificateExpired, account },
  })
  await refusedTwice(t, 'not yet valid', forge({ accountKey: rich, ...until }), {
    ...{ reason: 'certificate-not-yet-valid', alert: Alert.badCertificate, account },
  })
  await refusedTwice(t, 'one second too long', forge({ accountKey: rich, ...long }), {
    ...{ reason: 'certificate-validity-too-long', alert: Alert.badCertificate },
  })
})

t.test('a binding for another key, account, chain or contract', async (t) => {
  const own = forge({ accountKey: rich })
  const binding = /datanet:binding\/1\/0x[0-9a-f]{40}\/[\w-]{87}/
  const [taken = ''] = binding.exec(derOf(own.certificatePem).toString('latin1')) ?? []
  const copied = ([account = '']: string[]): string[] => [account, taken]
  const victim = accountOf(rich)
  const otherContract = addressOf('0x00000000000000000000000000000000000000aa')
  const cases: [string, Omit<Forgery, 'accountKey'>, string, Buffer?][] = [
    ['the binding of another key, copied', { uris: copied }, 'binding-signature-mismatch'],
    ['the account of someone else', { consumer: victim }, 'binding-signature-mismatch', stranger],
    ['another chain', { named: { chainId: 1n } }, 'binding-chain'],
    ['signed for another chain', { signedFor: { chainId: 1n } }, 'binding-signature-mismatch'],
    ['another contract', { named: { contract: otherContract } }, 'binding-contract'],
    [
      'signed for another contract',
      { signedFor: { contract: otherContract } },
      'binding-signature-mismatch',
    ],
  ]
  for (const [name, forgery, reason, accountKey = rich] of cases) {
    const credential = forge({ accountKey, ...forgery })
    await refusedTwice(t, name, credential, { reason, alert: Alert.badCertificate })
  }
})

t.test('an altered signature, or two bindings', async (t) => {
  const flip = (index: number, bits: number) => (signature: Buffer) => {
    signature[index] = (signature[index] ?? 0) ^ bits
    return signature
  }
  const lowerV = (signature: Buffer): Buffer => {
    signature[64] = (signature[64] ?? 0) - 27
    return signature
  }
  const cases: [string, Omit<Forgery, 'accountKey'>, string][] = [
    ['one bit of s', { alter: flip(63, 1) }, 'binding-signature-mismatch'],
    ['the other v', { alter: flip(64, 27 ^ 28) }, 'binding-signature-mismatch'],
    ['v of 0 or 1', { alter: lowerV }, 'binding-signature-malformed'],
    ['high s, EIP-2', { alter: highS }, 'binding-signature-malformed'],
    ['the binding twice', { uris: ([a = '', b = '']) => [a, b, b] }, 'binding-duplicate'],
    ['the account twice', { uris: ([a = '', b = '']) => [a, a, b] }, 'binding-duplicate'],
  ]
  for (const [name, forgery, reason] of cases) {
    const credential = forge({ accountKey: rich, ...forgery })
    await refusedTwice(t, name, credential, { reason, alert: Alert.badCertificate })
  }
})

t.test('a certificate of a public-looking CA, and other keys and uses', async (t) => {
  const issuer = { name: 'Example Public Trust CA R4', key: newP256() }
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  const none = { issuer, accountKey: stranger, uris: () => [] }
  const missing = { reason: 'binding-missing', alert: Alert.badCertificate }
  await refusedTwice(t, 'CA, P-256', forge(none), missing)
  await refusedTwice(t, 'CA, RSA', forge({ ...none, tlsKey: rsa }), missing)
  await refusedTwice(t, 'RSA with a binding', forge({ accountKey: rich, tlsKey: rsa }), {
    ...{ reason: 'certificate-key-unsupported', alert: Alert.unsupportedCertificate },
  })
  const server = [Extension.serverAuth()]
  await refusedTwice(t, 'for servers only', forge({ accountKey: rich, extensions: server }), {
    ...{ reason: 'certificate-usage', alert: Alert.badCertificate },
  })
})

t.test('a stolen certificate without its key', async (t) => {
  const owner = newP256()
  const { certificatePem, keyPem } = forge({ accountKey: rich, tlsKey: owner })
  const stolen = { certificatePem, keyPem: thiefsKey(owner) }
  const refusal = { reason: 'tls-bad-signature', alert: Alert.decryptError }
  const shownDer = (derOf(certificatePem).toString('hex').match(/../g) ?? []).join(' ')
  for (const out of await refusedTwice(t, 'stolen', stolen, refusal)) {
    t.match(out, shownDer, 'the peer did show the stolen certificate')
    t.match(out, /TX ver=0x30\d content_type=22 \(handshake\/certificate verify\)/, 'and signed')
  }
  t.ok(await joins(folder('bound', { certificatePem, keyPem }), phase1('1.3')), 'its owner gets in')
})

t.test('L16 RFC 9190 §2.1.8: no certificate at all: a TLS client of our own', async (t) => {
  const secret = Buffer.from(SECRET)
  const transport = openTransport({ host: '127.0.0.1', port: server.authPort, secret })
  t.teardown(() => transport.close())
  for (const [version, alert] of [
    ['1.2', Alert.handshakeFailure],
    ['1.3', Alert.certificateRequired],
  ] as const) {
    const callingStationId = newStation()
    const supplicant = createSupplicant({ tlsMin: version, tlsMax: version })
    const peer = { transport, supplicant, identity: shown(rich), callingStationId }
    const { outcome, eapCode, alert: read, keysMatch } = await authenticate(peer)
    t.same(
      { outcome, eapCode, read, keysMatch },
      { outcome: 'reject', eapCode: 4, read: alert, keysMatch: false },
    )
    await logged(t, `TLS ${version}`, callingStationId, { reason: 'tls-no-certificate' })
  }
})

t.test('a direct certificate is for TLS 1.2 only: in 1.3 the peer has none to show', async (t) => {
  const at = folder('direct', directCredential(forge, rich))
  const env = opensslConf('groups', 'Groups = P-256:secp256k1')
  await refused(t, 'TLS 1.3', at, {
    ...{ reason: 'tls-no-certificate', alert: Alert.certificateRequired, edit: phase1('1.3'), env },
  })
  t.ok(await joins(at, phase1('1.2'), env), 'TLS 1.2')
})

t.test('E9 RFC 3748 §5.3.1: a Nak; L17: TLS 1.1 at most', async (t) => {
  const at = folder('bound', forge({ accountKey: rich }))
  const peap = (conf: string) => conf.replace('eap=TLS', 'eap=PEAP\n\tpassword="x"')
  await refused(t, 'PEAP only', at, {
    ...{ reason: 'eap-nak', alert: undefined, detail: /EAP types 25$/, edit: peap },
  })
  const old = (conf: string) =>
    phase1('1.1')(conf).replace('phase1=', 'openssl_ciphers="DEFAULT@SECLEVEL=0"\n\tphase1=')
  const env = opensslConf('old', 'MinProtocol = TLSv1\nCipherString = DEFAULT@SECLEVEL=0')
  const out = await refused(t, 'TLS 1.1', at, {
    ...{ reason: 'tls-protocol-version', alert: Alert.protocolVersion, edit: old, env },
  })
  t.match(out, /TX ver=0x302 content_type=22 \(handshake\/client hello\)/, 'TLS 1.1 was offered')
})

t.test('L14 RFC 9190 §5.4: a key revoked on chain, and nothing else wrong', async (t) => {
  const tlsKey = newP256()
  const credential = forge({ accountKey: rich, tlsKey })
  const at = folder('bound', credential)
  t.ok(await joins(at, phase1('1.3')), 'admitted before')
  const spki = createHash('sha256').update(spkiOfKey(tlsKey)).digest('hex')
  await setDeviceKey(payers.access, { privateKey: rich }, spki, false)
  const revoked = performance.now()
  await within(2_000, async () => !(await joins(at, phase1('1.3'))), 'still admitted')
  t.ok(performance.now() - revoked < 2_000, `${Math.round(performance.now() - revoked)} ms`)
  refusals.set('certificate-revoked', 1)
  await refusedTwice(t, 'revoked', credential, {
    ...{ reason: 'certificate-revoked', alert: Alert.certificateRevoked, account: shown(rich) },
  })
  t.ok(await joins(folder('bound', forge({ accountKey: rich })), phase1('1.3')), 'its other key')
})

/** Lines of GET /metrics that match. */
const metric = async (line: RegExp): Promise<RegExpExecArray[]> => {
  const text = await (await fetch(`${server.url}/metrics`)).text()
  return [...text.matchAll(line)]
}

t.test('after it all: counted by reason, no session left, a good device gets in', async (t) => {
  const counters =
    /^datanet_logins_total\{nas="loopback",result="rejected",reason="(.+)"\} (\d+)$/gm
  const counted = await metric(counters)
  t.same(
    Object.fromEntries(counted.map(([, reason, n]) => [reason, Number(n)])),
    Object.fromEntries(refusals),
  )
  const lines = server.log().filter((line) => /^Login /.test(String(line['msg'])))
  const refusedLines = lines.filter((line) => line['station'] !== HOME)
  t.equal(refusedLines.length, stations, 'one line for each refused station')
  t.ok(refusedLines.every((line) => /^Login incorrect/.test(String(line['msg']))))
  const session = lines.findLast((line) => line['session'] !== undefined)?.['session']

  const sessions = async () => (await metric(/^datanet_sessions (\d+)$/gm))[0]?.[1]
  const becomes = (count: string) =>
    within(3_000, async () => (await sessions()) === count, `sessions: not ${count}`)
  await becomes('1')
  const stop = [
    'Acct-Status-Type = Stop',
    'Acct-Session-Id = "1"',
    'NAS-Identifier = "x"',
    `Class = 0x${Buffer.from(`ai:${session}`).toString('hex')}`,
  ]
  const at = `127.0.0.1:${server.accountingPort}`
  await run('radclient', ['-r', '1', '-t', '0.1', at, 'acct', SECRET], { input: stop.join('\n') })
  await becomes('0')
  const conversations = await metric(/^datanet_eap_conversations (\d+)$/gm)
  t.equal(conversations[0]?.[1], '0', 'no conversation is left')

  t.ok(await joins(folder('bound', forge({ accountKey: rich })), phase1('1.3')))
})
