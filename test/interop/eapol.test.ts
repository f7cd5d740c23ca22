// The README's path, for real: a server, a device made by the command, and eapol_test (the
// supplicant of Android and Linux) with the profile the command wrote.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  createDevice,
  eapolTest,
  type RunningServer,
  SECRET,
  startServer,
  temporaryDirectory,
  testConfig,
} from './server.ts'

const TLS12_ONLY = 'tls_disable_tlsv1_0=1 tls_disable_tlsv1_1=1 tls_disable_tlsv1_3=1'
const TLS13_ONLY =
  'tls_disable_tlsv1_0=1 tls_disable_tlsv1_1=1 tls_disable_tlsv1_2=1 tls_disable_tlsv1_3=0'

const withPhase1 =
  (flags: string) =>
  (conf: string): string =>
    /^\s*phase1=/m.test(conf)
      ? conf.replace(/^(\s*)phase1=.*$/m, `$1phase1="${flags}"`)
      : conf.replace(/\n\}/, `\n  phase1="${flags}"\n}`)
const withLine =
  (line: string) =>
  (conf: string): string =>
    conf.replace(/\n\}/, `\n  ${line}\n}`)
const withIdentity =
  (identity: string) =>
  (conf: string): string =>
    conf.replace(/^(\s*)identity=.*$/m, `$1identity="${identity}"`)

/**
 * OpenSSL's own default groups of every TLS connection in the process: Debian's eapol_test has no
 * option for it.
 */
function opensslGroups(directory: string, groups: string): Record<string, string> {
  const file = join(directory, `groups-${groups.replaceAll(':', '-')}.cnf`)
  writeFileSync(
    file,
    `openssl_conf = conf\n[conf]\nssl_conf = ssl\n[ssl]\nsystem_default = groups\n[groups]\nGroups = ${groups}\n`,
  )
  return { OPENSSL_CONF: file }
}

const rounds = (out: string): number => (out.match(/^Received RADIUS message$/gm) ?? []).length
const accepted = (out: string): boolean => /MPPE keys OK: [1-9]\d* +mismatch: 0/.test(out)

let server: RunningServer
let directory: string
t.before(async () => {
  directory = temporaryDirectory(t)
  server = await startServer(t, { directory, config: testConfig() })
})

t.test('the device made by the command gets in; TLS 1.2, 1.3, fragments, identities', async (t) => {
  const device = await createDevice(server, 'alice')
  const cases: [string, ((conf: string) => string) | undefined, RegExp][] = [
    ['the profile as it is: TLS 1.3', undefined, /Using TLS version TLSv1\.3/],
    ['TLS 1.2 only', withPhase1(TLS12_ONLY), /Using TLS version TLSv1\.2/],
    ['TLS 1.3 only', withPhase1(TLS13_ONLY), /Using TLS version TLSv1\.3/],
    [
      'L3 peer fragments of 100, TLS 1.2',
      (c) => withLine('fragment_size=100')(withPhase1(TLS12_ONLY)(c)),
      /TLSv1\.2/,
    ],
    ['L3 peer fragments of 100, TLS 1.3', withLine('fragment_size=100'), /TLSv1\.3/],
    ['L13 anonymous identity @realm', withIdentity('@example.org'), /TLSv1\.3/],
    ['L13 identity anonymous@realm', withIdentity('anonymous@example.org'), /TLSv1\.3/],
    [
      "L13 somebody else's identity",
      withIdentity('0x0000000000000000000000000000000000000001'),
      /TLSv1\.3/,
    ],
  ]
  for (const [name, edit, tls] of cases) {
    const { ok, out } = await eapolTest(
      server,
      device.directory,
      edit === undefined ? {} : { edit },
    )
    t.ok(ok, name)
    t.ok(accepted(out), `${name}: MPPE keys match`)
    t.match(out, tls, name)
    if (!ok) t.comment(out.slice(-3_000))
  }
  const login = await server.logged((line) =>
    String(line['msg']).startsWith(`Login OK: [${device.account}]`),
  )
  t.match(login, { nas: 'loopback', station: '02-00-00-00-00-01', account: device.account })
})

t.test(
  'L15 a client that first offers an unsupported group is asked again (HelloRetryRequest)',
  async (t) => {
    const device = join(directory, 'alice')
    const { ok, out } = await eapolTest(server, device, {
      env: opensslGroups(directory, 'P-521:P-256'),
    })
    t.ok(ok)
    t.ok(accepted(out))
    const plain = await eapolTest(server, device)
    t.equal(rounds(out), rounds(plain.out) + 1, 'one round more than without')
  },
)

t.test('a direct (secp256k1) certificate gets in with TLS 1.2', async (t) => {
  const device = await createDevice(server, 'sensor', ['--kind', 'direct', '--deposit', '10'])
  const env = opensslGroups(directory, 'P-256:secp256k1')
  const { ok, out } = await eapolTest(server, device.directory, { env })
  t.ok(ok)
  t.ok(accepted(out))
  t.match(out, /Using TLS version TLSv1\.2/)
  if (!ok) t.comment(out.slice(-3_000))
})

t.test('what the Access-Accept carries', async (t) => {
  const { out } = await eapolTest(server, join(directory, 'alice'), {
    args: ['-N', '89:x:00', '-N', '102:x:00'],
  })
  const accept = out.slice(out.lastIndexOf('Received RADIUS message'))
  const account = JSON.parse(readFileSync(join(directory, 'alice', 'device.json'), 'utf8')).account
  t.match(accept, /code=2 \(Access-Accept\)/)
  const order = [...accept.matchAll(/Attribute (\d+) \(/g)].map((m) => Number(m[1]))
  t.equal(order[0], 80, 'X1: Message-Authenticator is the first attribute')
  t.match(accept, new RegExp(`Attribute 1 \\(User-Name\\)[^\\n]*\\n\\s+Value: '${account}'`))
  t.match(accept, /Attribute 25 \(Class\)/)
  // The NAS of this configuration takes no Disconnect: 3 intervals of 60 s, then the AP itself asks
  // again.
  t.match(accept, /Attribute 27 \(Session-Timeout\)[^\n]*\n\s+Value: 180/)
  t.match(accept, /Attribute 29 \(Termination-Action\)[^\n]*\n\s+Value: 1/)
  t.match(accept, /Attribute 85 \(Acct-Interim-Interval\)[^\n]*\n\s+Value: 60/)
  t.match(accept, /Attribute 89 \(Chargeable-User-Identity\) length=66/)
  t.match(accept, /Attribute 102 \([^\n]*\) length=67/)
})

t.test('server fragments of 100 octets arrive whole, TLS 1.2 and 1.3', async (t) => {
  const small = await startServer(t, {
    directory: temporaryDirectory(t),
    config: testConfig({ eap: 'fragment_size: 100' }),
  })
  const device = await createDevice(small, 'bob')
  for (const flags of [TLS12_ONLY, TLS13_ONLY]) {
    const { ok, out } = await eapolTest(small, device.directory, { edit: withPhase1(flags) })
    t.ok(ok, flags)
    t.ok(accepted(out))
    t.ok(rounds(out) > 10, `${rounds(out)} rounds`)
  }
})

t.test('no secret, key or password in any log', async (t) => {
  const log = server
    .log()
    .map((line) => JSON.stringify(line))
    .join('\n')
  t.ok(log.length > 1_000)
  const key = readFileSync(join(directory, 'data', 'operator-key'), 'utf8')
    .trim()
    .replace(/^0x/, '')
  const token = readFileSync(join(directory, 'data', 'admin-token'), 'utf8').trim()
  for (const secret of [SECRET, key, token, 'PRIVATE KEY', 'correct horse']) {
    t.notOk(log.includes(secret), 'a secret is in the log')
  }
})
