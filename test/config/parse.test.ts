// parseConfig from the outside: the fixed example, defaults, every refusal with its path and line.

import { readFileSync } from 'node:fs'
import t from 'tap'
import { isMap, isScalar, isSeq, parseDocument } from 'yaml'
import type { Config, ConfigProblem } from '../../config/config.ts'
import { parseConfig } from '../../config/parse.ts'

const STRONG = 'k7mw4xq2np9rt3vy'
const ENV = {
  ...{ LOBBY_SECRET: `${STRONG}-lobby`, LOBBY_COA_SECRET: `${STRONG}-coa` },
  PLAY_DECRYPTION_KEY: `${STRONG}-play`,
}
const EXAMPLE = readFileSync(new URL('../../config/example.yaml', import.meta.url), 'utf8')
const MINIMAL = `operator: { name: Corner Wi-Fi }
clients:
  - { name: lobby, ipaddr: 192.0.2.10, secret: "${STRONG}" }
tariffs:
  standard: { per_minute: "0.001", per_megabyte: "0.004" }
http: { public_url: "https://pay.example/" }
`

const noFile = (): string => {
  throw Object.assign(new Error('no such file'), { code: 'ENOENT' })
}

function configOf(
  text: string,
  env: Record<string, string> = ENV,
  readFile: (path: string) => string = noFile,
): Config {
  const result = parseConfig(text, env, readFile)
  if ('problems' in result) throw new Error(JSON.stringify(result.problems, null, 1))
  return result.config
}

function problemsOf(text: string, env: Record<string, string> = ENV): readonly ConfigProblem[] {
  const result = parseConfig(text, env, noFile)
  return 'problems' in result ? result.problems : []
}

function warningsOf(text: string): readonly ConfigProblem[] {
  const result = parseConfig(text, ENV, noFile)
  if ('problems' in result) throw new Error(JSON.stringify(result.problems, null, 1))
  return result.warnings
}

/** The minimal file with one line more (or, for a client, one key more). */
const withLine = (line: string) => `${MINIMAL}${line}\n`
const withClientKey = (key: string) => MINIMAL.replace(`"${STRONG}" }`, `"${STRONG}", ${key} }`)
const withSecret = (secret: string) => MINIMAL.replace(`secret: "${STRONG}"`, secret)
const withTariff = (tariff: string) => MINIMAL.replace('per_megabyte: "0.004"', tariff)

t.test('a minimal file gets every default of product §6', async (t) => {
  const config = configOf(MINIMAL)
  t.same(config.radius, {
    auth: { host: '0.0.0.0', port: 1812 },
    accounting: { host: '0.0.0.0', port: 1813 },
    radsec: null,
    rejectDelayMs: 1000,
    duplicateCacheMs: 5000,
    queueMax: 4096,
  })
  t.same(config.eap, {
    engine: 'auto',
    tlsMin: '1.2',
    tlsMax: '1.3',
    fragmentSize: 1300,
    resumption: false,
    ticketKeys: 'auto',
    certificate: 'auto',
    sessionsMax: 4096,
    timeoutMs: 15_000,
    roundsMax: 50,
  })
  t.same(config.chain, {
    rpc: 'embedded',
    contract: 'auto',
    confirmations: 1,
    staleAfterMs: 60_000,
  })
  t.same(config.sessions, { maxMs: 3_600_000, perAccount: 4 })
  t.same(config.admission, { prepay: 'off', newcomersPerClient: 20, arrearsWindowMs: 20_000 })
  t.same(config.http, {
    listen: { host: '127.0.0.1', port: 8080 },
    publicUrl: 'https://pay.example',
  })
  t.same(
    [config.billing.usage, config.storage, config.log.level],
    ['accounting', 'embedded', 'info'],
  )
  t.same(
    [...config.tariffs],
    [
      [
        'standard',
        {
          perMinute: '0.001',
          perMegabyte: '0.004',
          intervalMs: 60_000,
          intervalMegabytes: 10,
          missedMax: 2,
          graceMs: 0,
          freeMinutes: 0,
          freeMegabytes: 0,
        },
      ],
    ],
  )
  const [lobby] = config.clients
  t.same(lobby, {
    name: 'lobby',
    ipaddr: { family: 4, network: 0xc000020an, prefix: 32, text: '192.0.2.10' },
    bssids: [],
    secret: Buffer.from(STRONG),
    requireMessageAuthenticator: true,
    limitProxyState: true,
    nasType: 'generic',
    tariff: 'standard',
    maxMbps: 1000,
  })
})

// What config/example.yaml shows that is not a default; everything else there must be one.
const NOT_DEFAULTS = `
  operator operator.name clients tariffs tariffs.standard
  clients[].name clients[].ipaddr clients[].ssid clients[].bssids clients[].secret
  clients[].coa clients[].coa.secret clients[].merchant
  clients[].location clients[].location.lat clients[].location.lon
  tariffs.standard.per_minute tariffs.standard.per_megabyte tariffs.standard.throttle_kbps
  tariffs.standard.flat tariffs.standard.flat.price tariffs.standard.flat.window
  payplace payplace.timing payplace.timing.beta payplace.timing.gamma payplace.timing.delta
  payplace.timing.challenge payplace.timing.eta
  attestation attestation.tpm attestation.tpm.pcrs attestation.tpm.pcrs.registers
  attestation.tpm.pcrs.digests attestation.android_key attestation.android_key.apps
  attestation.android_key.apps[].package attestation.android_key.apps[].signers
  attestation.android_key.revocation_list attestation.app_attest attestation.app_attest.apps
  attestation.eat attestation.eat.endorsements attestation.eat.profiles attestation.eat.client_ids
  attestation.eat.signers attestation.play_integrity attestation.play_integrity.apps
  attestation.play_integrity.apps[].package attestation.play_integrity.apps[].signers
  attestation.play_integrity.secret attestation.play_integrity.verification_key
`.split(/\s+/)

function keyPaths(node: unknown, path: (string | number)[] = []): (string | number)[][] {
  if (isMap(node)) {
    return node.items.flatMap((pair) => {
      const here = [...path, isScalar(pair.key) ? String(pair.key.value) : '']
      return [here, ...keyPaths(pair.value, here)]
    })
  }
  return isSeq(node) ? node.items.flatMap((item, i) => keyPaths(item, [...path, i])) : []
}

/** Maps and integers included, so that two configurations can be held against each other. */
const written = (config: Config): string =>
  JSON.stringify(config, (_, value) => {
    if (typeof value === 'bigint') return `${value}`
    return value instanceof Map ? [...value] : value
  })

t.test('example.yaml: every default in it is the default', async (t) => {
  const whole = written(configOf(EXAMPLE))
  const read = (path: (string | number)[]) => {
    const document = parseDocument(EXAMPLE)
    document.deleteIn(path)
    return parseConfig(document.toString(), ENV, noFile)
  }
  for (const path of keyPaths(parseDocument(EXAMPLE).contents)) {
    const name = path.join('.').replaceAll('.0.', '[].')
    const result = read(path)
    const isDefault = 'config' in result && written(result.config) === whole
    t.equal(isDefault, !NOT_DEFAULTS.includes(name), name)
  }
})

t.test('example.yaml: no key is missing from it', async (t) => {
  // The answer to an unknown key lists every allowed one.
  const places: Record<string, string> = {
    '': withLine('zzzzzzzzzz: 1'),
    operator: MINIMAL.replace('Wi-Fi }', 'Wi-Fi, zzzzzzzzzz: 1 }'),
    client: withClientKey('zzzzzzzzzz: 1'),
    coa: withClientKey('coa: { zzzzzzzzzz: 1 }'),
    location: withClientKey('location: { lat: 1, lon: 1, zzzzzzzzzz: 1 }'),
    tariff: withTariff('per_megabyte: "1", zzzzzzzzzz: 1'),
    flat: withTariff('per_megabyte: "1", flat: { price: "1", window: 1h, zzzzzzzzzz: 1 }'),
    http: MINIMAL.replace('http: {', 'http: { zzzzzzzzzz: 1,'),
  }
  const timing = '{ beta: 12s, gamma: 4s, delta: 1s, challenge: 1d, eta: 3, zzzzzzzzzz: 1 }'
  places['timing'] = withLine(`payplace: { timing: ${timing} }`)
  const attestation = (text: string) => withLine(`attestation: { ${text} }`)
  for (const scheme of 'tpm android_key app_attest eat play_integrity'.split(' ')) {
    places[`attestation.${scheme}`] = attestation(`${scheme}: { zzzzzzzzzz: 1 }`)
  }
  const hash = '"0000000000000000000000000000000000000000000000000000000000000000"'
  const pcrs = `registers: [0], digests: [${hash}], zzzzzzzzzz: 1`
  places['attestation.tpm.pcrs'] = attestation(`tpm: { pcrs: { ${pcrs} } }`)
  const app = `{ package: a.b, signers: [${hash}], zzzzzzzzzz: 1 }`
  places['attestation.android_key.apps'] = attestation(
    `android_key: { apps: [${app}], revocation_list: x }`,
  )
  for (const name of 'attestation radius eap chain sessions admission billing payplace log'.split(
    ' ',
  )) {
    places[name] = withLine(`${name}: { zzzzzzzzzz: 1 }`)
  }
  let keys = 0
  for (const [place, text] of Object.entries(places)) {
    const problem = problemsOf(text).find(({ message }) => message.includes('Allowed: '))
    const allowed = /Allowed: (.*)$/.exec(problem?.message ?? '')?.[1]?.split(', ') ?? []
    t.not(allowed.length, 0, `${place}: ${problem?.message}`)
    for (const key of allowed) t.match(EXAMPLE, new RegExp(`\\b${key}:`), `${place}.${key}`)
    keys += allowed.length
  }
  t.equal(keys, 116)
})

t.test("product §6's own example is a valid file", async (t) => {
  // Flow mappings with ${NAME} inside, which plain YAML can't read, are part of the fixed format.
  const reference = (name: string) => `$\{${name}}`
  const text = `operator: { name: Corner Wi-Fi }
radius:
  auth: 0.0.0.0:1812
  accounting: 0.0.0.0:1813
  radsec: null                       # host:port turns it on
eap: { engine: auto, tls_min: "1.2", tls_max: "1.3", fragment_size: 1300, resumption: false, certificate: auto }
clients:
  - name: lobby
    ipaddr: 192.0.2.10
    ssid: Corner
    secret: ${reference('LOBBY_SECRET')}
    require_message_authenticator: true
    limit_proxy_state: true
    nas_type: hostapd
    coa: { port: 3799, secret: ${reference('LOBBY_COA_SECRET')} }   # address: the packet source
    merchant: "0x5fbdb2315678afecb367f032d93f642f64180aa3"
    tariff: standard
    max_mbps: 1000
    location: { lat: 40.44, lon: -79.94 }
tariffs:
  standard: { per_minute: "0.001", per_megabyte: "0.004", interval: 2s, interval_megabytes: 10, missed_max: 2, grace: 0s }
chain: { rpc: embedded, contract: auto, confirmations: 1, stale_after: 60s }
sessions: { max: 1h, per_account: 4 }
admission: { prepay: off, newcomers_per_client: 20, arrears_window: 20s }
billing: { usage: accounting }
http: { listen: 127.0.0.1:8080, public_url: null }
storage: embedded
log: { level: info }
`
  const config = configOf(text)
  t.equal(config.clients[0]?.secret.toString(), ENV.LOBBY_SECRET)
  t.same(config.clients[0]?.coa, { port: 3799, secret: Buffer.from(ENV.LOBBY_COA_SECRET) })
  t.equal(config.tariffs.get('standard')?.intervalMs, 2000)
  t.same(
    warningsOf(text).map(({ path, line }) => [path, line]),
    [['http.public_url', 26]],
  )
})

t.test('every problem is reported at once, in the order of the file', async (t) => {
  const text = `operator: { name: x, nam: y }
radius: { auth: nowhere }
clients:
  - name: a
    ipaddr: 10.0.0.1/24
    secert: abc
  - name: a
    ipaddr: 10.0.0.1
    secret: testing123
    tariff: gold
  - name: b
    ipaddr: "::ffff:10.0.0.1"
    secret: ${STRONG}
    coa:
      port: 99999
      secret_file: /nowhere
tariffs:
  standard:
    per_minute: 0.001
    grace: -1s
storage: mysql://x
`
  t.same(
    problemsOf(text).map(({ path, line }) => `${line} ${path}`),
    [
      '1 operator.nam',
      '2 radius.auth',
      '4 clients[0].secret',
      '5 clients[0].ipaddr',
      '6 clients[0].secert',
      '7 clients[1].name',
      '9 clients[1].secret',
      '10 clients[1].tariff',
      '12 clients[2].ipaddr',
      '15 clients[2].coa.port',
      '16 clients[2].coa.secret_file',
      '18 tariffs.standard.per_megabyte',
      '19 tariffs.standard.per_minute',
      '20 tariffs.standard.grace',
      '21 storage',
    ],
  )
})

t.test(
  'warnings: weak loopback secrets, no clients, unreachable payments, X2 off, no evidence',
  async (t) => {
    const loopback = MINIMAL.replace('192.0.2.10', '127.0.0.1/32')
    const cases: [text: string, paths: string[]][] = [
      [MINIMAL, []],
      [loopback.replace(STRONG, 'testing123'), ['clients[0].secret']],
      [loopback.replace('192.0.2.10', '"::1"').replace(STRONG, 'short'), ['clients[0].secret']],
      [loopback.replace(/http:.*\n/, ''), []],
      [MINIMAL.replace(/http:.*\n/, ''), ['http.public_url']],
      [MINIMAL.replace(/clients:\n.*\n/, ''), ['clients']],
      [
        withClientKey('require_message_authenticator: false'),
        ['clients[0].require_message_authenticator'],
      ],
      [withLine('billing: { usage: attested }'), ['billing.usage']],
      [withLine('billing: { usage: lower, trust: software }'), []],
      [withLine('billing: { usage: higher }\nattestation: { tpm: {} }'), []],
    ]
    for (const [text, paths] of cases)
      t.same(
        warningsOf(text).map(({ path }) => path),
        paths,
      )
  },
)

t.test('secrets come from a literal, the environment or a file, and CoA has its own', async (t) => {
  const fromFile = withSecret('secret_file: lobby.secret, coa: { secret_file: coa.secret }')
  const files: Record<string, string> = {
    'lobby.secret': `${STRONG}1\n`,
    'coa.secret': `${STRONG}2`,
  }
  const config = configOf(fromFile, {}, (path) => files[path] ?? '')
  t.equal(config.clients[0]?.secret.toString(), `${STRONG}1`)
  t.equal(config.clients[0]?.coa?.secret.toString(), `${STRONG}2`)
  const shared = configOf(withClientKey('coa: {}')).clients[0]
  t.same(shared?.coa, { port: 3799, secret: shared?.secret })
})

t.test('eap.certificate: auto, or files, with an OCSP response or without', async (t) => {
  const withCertificate = (value: string) => withLine(`eap: { certificate: ${value} }`)
  const cert = { cert: 'a.crt', key: 'a.key' }
  const good: [string, unknown][] = [
    ['auto', 'auto'],
    ['{ cert: a.crt, key: a.key }', cert],
    ['{ cert: a.crt, key: a.key, ocsp: a.der }', { ...cert, ocsp: 'a.der' }],
  ]
  for (const [value, read] of good) {
    t.same(configOf(withCertificate(value)).eap.certificate, read, value)
  }
  const message = /^must be auto or \{cert: FILE, key: FILE\}, with or without ocsp: FILE$/
  for (const value of [
    'none',
    '{ cert: a.crt }',
    '{ ocsp: a.der }',
    '{ cert: a, key: b, ocsp: "" }',
  ]) {
    t.match(problemsOf(withCertificate(value)), [{ path: 'eap.certificate', message }], value)
  }
})

t.test('no message repeats a secret, whatever is wrong around it', async (t) => {
  const marker = 'zq5secretzq5'
  const texts = [
    withSecret(`secret: "${marker}`),
    withSecret(`secret: *${marker}`),
    withSecret(`secret: !${marker} x`),
    withSecret(`secret: [${marker}]`),
    withSecret(`secret: {${marker}: 1}`),
    withSecret(`secret: "${marker}", secret: "${marker}"`),
    withSecret(`secret: ${marker}, secret_file: ${marker}`),
    withSecret(`secret: @${marker}`),
    `${marker}\n${MINIMAL}`,
    MINIMAL.replace('192.0.2.10', marker),
  ]
  for (const text of texts) {
    const problems = problemsOf(text)
    t.not(problems.length, 0, text)
    t.notMatch(JSON.stringify(problems), new RegExp(marker), text)
  }
})

t.test('a bomb of YAML aliases is refused', async (t) => {
  const level = (name: string, of: string) => `${name}: &${name} [${Array(9).fill(of).join(', ')}]`
  const text = [
    'a: &a [x]',
    ...['b', 'c', 'd', 'e', 'f', 'g'].map((n, i) => level(n, `*${'abcdef'[i]}`)),
  ]
  t.same(problemsOf(text.join('\n'))[0]?.message, 'uses too many or circular YAML aliases')
})
