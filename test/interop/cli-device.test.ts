// `device create`, `status` and `topup` against an operator double: what each refuses, in which
// order, and that nothing is written then. The whole way with a real server is in test/interop/.

import { spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { sealAccount } from '../../device/keystore.ts'
import { datanet } from '../cli/terminal-double.ts'
import {
  bytesOf,
  certificatesOf,
  type OperatorDouble,
  startDouble,
} from '../device/operator-double.ts'

let place: string
let double: OperatorDouble
const env = { DATANET_PASSWORD: 'correct horse' }
const out = (name: string): string => join(place, name)
const create = (name: string, more: readonly string[] = [], surroundings: object = { env }) =>
  datanet(
    ['device', 'create', name, '--operator', double.url, '--out', out(name), ...more],
    surroundings,
  )

t.before(async () => {
  place = mkdtempSync(join(tmpdir(), 'datanet-device-'))
  t.teardown(() => rmSync(place, { recursive: true, force: true }))
  double = await startDouble(t)
})
t.beforeEach(() => {
  double.lies = {}
})

t.test('create refuses, and writes nothing', async (t) => {
  mkdirSync(out('taken'))
  const before = readdirSync(place)
  const other = certificatesOf('liar')
  const certificates = [other.certificatePem, other.caCertificatePem]
  t.match(await create('taken'), { code: 73, err: /taken exists already/ })
  t.match(await create('a', ['--deposit', '1e3']), { code: 64, err: /AMOUNT "1e3" is not/ })
  t.match(await create('a', ['--deposit', '0']), { code: 64 })
  t.match(await create('a', ['--key', out('none')]), { code: 64, err: /cannot be read \(ENOENT\)/ })
  t.match(await create('a', ['--operator', 'ftp://x']), { code: 64, err: /not an http:\/\/ URL/ })
  t.match(await create('a', [], {}), { code: 64, err: /set \$DATANET_PASSWORD/ })
  t.match(await create('a', [], { answers: ['x', 'y'] }), { code: 77, err: /differ/ })
  double.lies = { answer: { certificates } }
  t.match(await create('a'), { code: 69, err: /is not to be trusted: its server certificate/ })
  double.lies = { answer: { name: 7 } }
  t.match(await create('a'), { code: 69, err: /no Datanet operator: name/ })
  double.lies = { status: 503 }
  t.match(await create('a'), { code: 69, err: /status 503/ })
  const nobody = ['--operator', 'http://127.0.0.1:1', '--out', out('a')]
  t.match(await datanet(['device', 'create', 'a', ...nobody], { env }), {
    code: 69,
    err: 'datanet: no operator answers at http://127.0.0.1:1; start one with `npm start` or name one with --operator',
  })
  t.same(readdirSync(place), before)
})

t.test('DIR that exists is refused before anybody is asked', async (t) => {
  const asked = double.requests.length
  await create('taken')
  t.equal(double.requests.length, asked)
})

t.test('create without deposit, status, topup', async (t) => {
  const made = await create('alice', ['--json'])
  t.equal(made.code, 0, made.err)
  const facts = JSON.parse(made.out)
  t.match(facts, {
    name: 'alice',
    kind: 'bound',
    operatorId: 1,
    deposit: '0',
    transactionHash: null,
  })
  t.equal(JSON.parse(readFileSync(out('alice/device.json'), 'utf8')).account, facts.account)
  t.notMatch(made.out + made.err, 'correct horse')

  const status = (more: string[] = [], nowMs = Date.now()) =>
    datanet(['device', 'status', out('alice'), ...more], { nowMs })
  const text = await status()
  t.equal(text.code, 0, text.err)
  t.match(text.out, /escrow {7}10 DNT deposited, 2\.5 promised, 1 withdrawn/)
  t.match(text.out, /29 days left/)
  const json = JSON.parse((await status(['--json'])).out)
  t.match(json, {
    account: facts.account,
    operator: { reachable: true },
    escrow: { deposit: '10000000000000000000' },
    certificate: { problem: null, daysLeft: 29 },
    deviceKey: 'unset',
    moved: [],
  })
  t.equal(text.err, '')
  t.match(await status([], Date.now() + 25 * 86_400_000), {
    code: 0,
    err: /^warning: the certificate ends in 4 days; .*: npx datanet device create alice --operat/,
  })
  t.match(await status([], Date.now() + 31 * 86_400_000), { code: 78, out: /certificate-expired/ })
  double.lies = { deviceKey: 2 }
  t.match(await status(), { code: 78, out: /its key was revoked on chain/ })
  double.lies = { status: 503, busy: 0 }
  t.match(await status(), { code: 69, out: /does not answer/, err: /status 503/ })
  double.lies = {}

  writeFileSync(
    out('alice/wallet.json'),
    await sealAccount(bytesOf('other'), 'correct horse', 1024),
  )
  const topup = (amount: string, o: object = { env }) =>
    datanet(['device', 'topup', out('alice'), amount], o)
  t.match(await topup('1'), { code: 78, err: /another account's/ })
  t.match(await topup('1', { env: { DATANET_PASSWORD: 'wrong' } }), {
    code: 77,
    err: /wrong password/,
  })
  t.match(await topup('1', { answers: ['wrong'] }), { code: 77, err: /wrong password/ })
  t.match(await topup('1', {}), { code: 64, err: /set \$DATANET_PASSWORD/ })
  t.match(await topup('0.0000000000000000001'), { code: 64, err: /18 decimals/ })
})

t.test('shift, and a deposit that is split: what the words cannot mean', async (t) => {
  const shift = (...more: string[]) => datanet(['device', 'shift', out('alice'), ...more], { env })
  const topup = (...more: string[]) =>
    datanet(['device', 'topup', out('alice'), '1', ...more], { env })
  const asked = double.requests.length
  t.match(await shift('1'), { code: 64, err: /AMOUNT and --to go together/ })
  t.match(await shift('--to', '2'), { code: 64, err: /AMOUNT and --to go together/ })
  t.match(await shift('1', '--cancel'), { code: 64, err: /--cancel takes neither/ })
  t.match(await shift('1', '2', '--to', '2'), { code: 64, err: /unexpected word "2"/ })
  t.match(await shift('0', '--to', '2'), { code: 64, err: /more than 0/ })
  t.match(await shift('1', '--to', '2', '--from', '3'), { code: 64, err: /not enrolled .* 3: npx/ })
  t.match(await topup('--operator', '2'), { code: 64, err: /add-operator/ })
  t.match(await topup('--operator', '1', '--operator', double.url), {
    code: 64,
    err: /named twice/,
  })
  t.equal(double.requests.length, asked, 'nobody was asked')
  t.match(await shift('1', '--to', '1'), { code: 64, err: /with operator 1 already/ })
  const twice = ['--operator', double.url]
  t.match(await create('twin', twice), { code: 64, err: /named twice/ })
  t.notOk(existsSync(out('twin')))
  double.lies = { shift: [2, 5n * 10n ** 17n, 1_000_000_000, 3, 1, 0] }
  const status = await datanet(['device', 'status', out('alice')], { env })
  t.match(status, { code: 0, out: /^shift {8}0\.5 DNT from operator 1 to 2, not before/m })
  double.lies = {}
})

t.test('a certificate that is not this device’s is damage', async (t) => {
  const text = readFileSync(out('alice/device.json'), 'utf8')
  const alter = (field: string, value: unknown) =>
    writeFileSync(out('alice/device.json'), JSON.stringify({ ...JSON.parse(text), [field]: value }))
  const status = () => datanet(['device', 'status', out('alice')])
  alter('chainId', 1)
  t.match(await status(), { code: 78, err: /binding-chain/ })
  alter('account', `0x${'11'.repeat(20)}`)
  t.match(await status(), { code: 78, err: /not of this device/ })
})

t.test('a deposit that fails leaves the device and says how to go on', async (t) => {
  const { code, err } = await create('bob', ['--deposit', '0.5', '--kind', 'direct'])
  t.equal(code, 69)
  t.match(err, /warning: key\.pem holds the account key itself/)
  t.match(err, /the device is made, but its deposit failed: .*0\.5 DNT needed/)
  t.match(err, new RegExp(`go on with: npx datanet device topup ${out('bob')} 0\\.5$`))
  t.ok(existsSync(out('bob/key.pem')))
  t.notOk(existsSync(out('bob/bob.p12')))
})

t.test(
  'create says the next steps with this operator’s ports and the shell’s quotes',
  async (t) => {
    double.lies = { answer: { radius: { auth: 21812, accounting: 21813 } } }
    const place = out("it's here")
    const made = await datanet(
      ['device', 'create', 'erin', '--kind', 'direct', '--operator', double.url, '--out', place],
      { env },
    )
    t.equal(made.code, 0, made.err)
    t.match(made.err, /^it pays at http:\S+, on this machine; .*device add-operator .*it.* URL$/m)
    const quoted = `'${place.replace("'", "'\\''")}`
    t.match(made.out, `topup     npx datanet device topup ${quoted}' 10`)
    t.match(
      made.out,
      `test      OPENSSL_CONF=${quoted}/openssl.cnf' eapol_test -c ${quoted}/wpa_supplicant.conf' ` +
        '-a 127.0.0.1 -p 21812 -s SECRET',
    )
    t.match(made.out, /own OpenSSL must be told of secp256k1/)
    t.match(made.out, /any network of this operator \(name one with --ssid\)/)
    t.match(readFileSync(join(place, 'openssl.cnf'), 'utf8'), /^Groups = X25519:P-256:secp256k1$/m)
    const named = await create('fay', ['--ssid', 'Lobby'])
    t.notMatch(named.out, /one with --ssid|OPENSSL_CONF|OpenSSL/)
  },
)

t.test('a deposit no faucet can give is refused before the device is made', async (t) => {
  t.match(await create('greedy', ['--deposit', '20001']), {
    code: 69,
    err: /the 20000 DNT a device can draw at once: .*at most 1000 DNT a call and takes 10/,
  })
  t.notOk(existsSync(out('greedy')))
})

t.test('--out where no folder can be made', async (t) => {
  const at = (path: string) =>
    datanet(['device', 'create', 'x', '--operator', double.url, '--out', path], { env })
  t.match(await at(out('nodir/x')), { code: 69, err: /there is no folder .*nodir: make it/ })
  writeFileSync(out('plain-file'), '')
  t.match(await at(out('plain-file/x')), { code: 69, err: /plain-file is not a folder/ })
})

t.test('a DIR that was moved: said, with a command that mends it', async (t) => {
  renameSync(out('fay'), out('fay moved'))
  const status = () => datanet(['device', 'status', out('fay moved')])
  const { code, err, out: text } = await status()
  t.equal(code, 0)
  t.match(text, `eapol_test -c '${out('fay moved')}/wpa_supplicant.conf' -a 127.0.0.1 -p 1812`)
  t.match(
    err,
    `names ${out('fay')}/operator-ca.pem, not this folder: move the folder back, or run: `,
  )
  const mend = /or run: (.*)$/.exec(err)?.[1] ?? 'false'
  t.equal(spawnSync('sh', ['-c', mend]).status, 0)
  t.equal((await status()).err, '')
  const conf = readFileSync(out('fay moved/wpa_supplicant.conf'), 'utf8')
  for (const file of ['operator-ca.pem', 'cert.pem', 'key.pem']) {
    t.match(conf, `="${out('fay moved')}/${file}"`)
  }
  t.notMatch(conf, `"${out('fay')}/`)
})

t.test('a device whose operator is gone or has changed', async (t) => {
  const status = (...more: string[]) => datanet(['device', 'status', out('fay moved'), ...more])
  const topup = () => datanet(['device', 'topup', out('fay moved'), '1'], { env })
  const contract = `0x${'77'.repeat(20)}`
  double.lies = { answer: { contract } }
  const again = "npx datanet device create fay --operator \\S+ --out '.*fay moved-new'"
  const what = 'the operator runs another contract now \\(0x7777[^)]*\\)'
  const enrol = new RegExp(`^datanet: ${what}: enrol again with: ${again}$`)
  t.match(await status(), { code: 78, err: enrol })
  t.match(await topup(), { code: 78, err: enrol })
  t.match(JSON.parse((await status('--json')).out), {
    operator: { reachable: true, change: /another contract/ },
  })
  double.lies = { answer: { operatorId: 2 } }
  t.match(await topup(), { code: 78, err: /is number 2 of its contract now, not 1/ })
  const text = readFileSync(out('fay moved/device.json'), 'utf8')
  writeFileSync(out('fay moved/device.json'), text.replaceAll(double.url, 'http://127.0.0.1:1'))
  const way = 'start it there with `npm start`, then try again'
  const err = `datanet: no operator answers at http://127.0.0.1:1; ${way}`
  t.match(await status(), { code: 69, err })
  t.match(await topup(), { code: 69, err })
})
