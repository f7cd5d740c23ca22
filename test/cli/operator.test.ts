// `client add` and `chain status` against a small server of the test's own: the token, the reload,
// and everything that can be in the way.

import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { serverUrl } from '../../cli/data.ts'
import { defaultConfigText } from '../../config/default.ts'
import { listening } from '../device/operator-double.ts'
import { datanet } from './terminal-double.ts'

const status = {
  chainId: 31337,
  rpc: 'http://x/v1/chain',
  connected: true,
  heardAt: 1_790_000_000,
  token: { address: '0x12', symbol: 'DNT', decimals: 18 },
}
let answer = { status: 200, body: {} as object }
let seen: {
  path: string | undefined
  method: string | undefined
  authorization: string | undefined
}[]
let url: string
let data: string
let config: string
const DEAD = '127.0.0.1:1'

function configWith(listen: string): string {
  const text = defaultConfigText({ secret: 'qw94tcccu9cvebqzauq82mvf33svabjb' })
  return `# kept\n${text.replace('127.0.0.1:8080', listen)}`
}

t.before(async () => {
  const server = createServer(({ url: path, method, headers }, response) => {
    seen.push({ path, method, authorization: headers.authorization })
    response.writeHead(answer.status).end(JSON.stringify(answer.body))
  })
  url = await listening(t, server)
})

t.beforeEach(() => {
  data = mkdtempSync(join(tmpdir(), 'datanet-data-'))
  config = join(data, 'datanet.yaml')
  writeFileSync(config, configWith(url.slice('http://'.length)), { mode: 0o600 })
  writeFileSync(join(data, 'admin-token'), 'the-token\n')
  answer = { status: 200, body: {} }
  seen = []
})
t.afterEach(() => rmSync(data, { recursive: true, force: true }))

t.test('client add: the file changed, the secret shown once, the server told', async (t) => {
  const { code, out, err } = await datanet(['client', 'add', 'lobby', '192.0.2.10', '--data', data])
  t.equal(code, 0)
  const secret = /shared secret {3}([2-9a-z]{24,})$/m.exec(out)?.[1] ?? 'none'
  t.match(out, /authentication {2}port 1812/)
  t.match(err, /^warning: http\.public_url is not set[^\n]*\nthe running server has read it$/)
  const text = readFileSync(config, 'utf8')
  t.match(text, /^# kept\n/)
  t.match(text, new RegExp(`name: lobby\\n\\s+ipaddr: 192.0.2.10\\n\\s+secret: ${secret}\\n`))
  t.equal(statSync(config).mode & 0o777, 0o600)
  t.same(seen, [{ path: '/v1/reload', method: 'POST', authorization: 'Bearer the-token' }])
})

t.test('client add --json', async (t) => {
  const args = ['client', 'add', 'lobby', '2001:db8::/32', '--config', config, '--data', data]
  const { code, out } = await datanet([...args, '--json'])
  t.equal(code, 0)
  t.match(JSON.parse(out), { name: 'lobby', ipaddr: '2001:db8::/32', auth: 1812, reloaded: true })
})

t.test('client add through a symbolic link changes the file it names', async (t) => {
  const link = join(data, 'link.yaml')
  symlinkSync(config, link)
  const args = ['client', 'add', 'lobby', '192.0.2.10', '--config', link, '--data', data]
  t.equal((await datanet(args)).code, 0)
  t.match(readFileSync(config, 'utf8'), 'name: lobby')
  t.match(readFileSync(link, 'utf8'), 'name: lobby')
})

t.test('client add where the server is not there, or does not take it', async (t) => {
  const add = (name: string) =>
    datanet(['client', 'add', name, `192.0.2.${name.length}`, '--data', data])
  const body = { error: { code: 'configuration', message: 'the old one stays in force' } }
  answer = { status: 422, body }
  t.match(await add('a'), {
    code: 0,
    err: /not reloaded: .* goes on without it: the old one stays in force/,
  })
  answer = { status: 401, body: {} }
  t.match(await add('ab'), { code: 0, err: /not reloaded: .*does not accept the token/ })
  rmSync(join(data, 'admin-token'))
  t.match(await add('abc'), {
    code: 0,
    err: /not reloaded: .*admin-token does not exist though .*: restart the server, it makes/,
  })
  writeFileSync(join(data, 'admin-token'), 'the-token\n')
  writeFileSync(config, configWith(DEAD))
  t.match(await add('abcd'), {
    code: 0,
    err: /not reloaded: no server runs; it will be read at the next start$/,
  })
  t.match(readFileSync(config, 'utf8'), 'name: abcd')
})

t.test('client add refused: nothing is changed and nobody told', async (t) => {
  const before = readFileSync(config, 'utf8')
  const cases: [string, string, number, RegExp][] = [
    ['lobby', '192.0.2.300', 64, /192\.0\.2\.300 must be an IP address/],
    ['lobby', '192.0.2.10/24', 64, /address bits after the prefix/],
    ['loopback', '192.0.2.10', 78, /stays as it was; with loopback, clients\[1\]\.name/],
    ['other', '127.0.0.1/32', 78, /with other, clients\[1\]\.ipaddr/],
    ['a b', '192.0.2.10', 64, /NAME "a b" must be 1 to 64 letters/],
  ]
  for (const [name, ipaddr, code, err] of cases) {
    t.match(await datanet(['client', 'add', name, ipaddr, '--data', data]), { code, out: '', err })
  }
  t.equal(readFileSync(config, 'utf8'), before)
  t.same(seen, [])
  const none = join(data, 'none')
  t.match(await datanet(['client', 'add', 'a', '192.0.2.1', '--data', none]), {
    code: 78,
    err: /does not exist; run `npm start` once/,
  })
})

t.test('client add warns of what would not work or would let in too many', async (t) => {
  const said = async (ipaddr: string, text = readFileSync(config, 'utf8')) => {
    writeFileSync(config, text)
    const name = `ap${readFileSync(config, 'utf8').length}`
    const { code, err } = await datanet(['client', 'add', name, ipaddr, '--data', data])
    t.equal(code, 0, err)
    return err
  }
  t.match(await said('0.0.0.0/0'), /warning: 0\.0\.0\.0\/0 is every address/)
  t.match(await said('::/0'), /warning: ::\/0 is every address/)
  t.match(await said('192.0.2.1'), /could not pay/)
  t.notMatch(await said('127.0.0.2'), /warning/)
  t.notMatch(await said('::1'), /warning/)
  const reached = readFileSync(config, 'utf8').replace(
    'public_url: null',
    'public_url: http://a.example',
  )
  t.notMatch(await said('192.0.2.2', reached), /warning/)
})

t.test('reload: done, refused with every problem, --json, nobody there', async (t) => {
  const reload = (...more: string[]) => datanet(['reload', '--data', data, ...more])
  t.same(await reload(), { code: 0, out: 'reloaded', err: '' })
  t.same(seen, [{ path: '/v1/reload', method: 'POST', authorization: 'Bearer the-token' }])
  t.same(JSON.parse((await reload('--json')).out), {
    ...{ reloaded: true, problems: [], warnings: [] },
  })
  const warnings = [{ path: 'radius.auth', line: 0, message: 'changed: restart the server' }]
  answer = { status: 200, body: { reloaded: true, warnings } }
  const err = `${config}: radius.auth: changed: restart the server (warning)`
  t.same(await reload(), { code: 0, out: 'reloaded', err })
  const problems = [
    { path: 'clients[0].ipaddr', line: 9, message: 'must be an address' },
    { path: '', line: 0, message: 'the key\u001b[2J is another' },
  ]
  answer = { status: 422, body: { error: { code: 'configuration', message: 'no' }, problems } }
  t.same(await reload(), {
    code: 78,
    out: '',
    err: [
      `${config}:9: clients[0].ipaddr: must be an address`,
      `${config}: the key [2J is another`,
      'datanet: not reloaded: the old configuration stays in force',
    ].join('\n'),
  })
  t.match(JSON.parse((await reload('--json')).out), { reloaded: false, problems })
  answer = { status: 503, body: { error: { message: 'stopping' } } }
  t.match(await reload(), { code: 69, err: /: stopping$/ })
  answer = { status: 401, body: {} }
  t.match(await reload(), { code: 77, err: /does not accept the token/ })
  rmSync(join(data, 'admin-token'))
  t.match(await reload(), { code: 77, err: /restart the server, it makes a new one/ })
  writeFileSync(join(data, 'admin-token'), 'the-token\n')
  writeFileSync(config, configWith(DEAD))
  t.match(await reload(), {
    code: 69,
    err: /no server answers at http:\/\/127\.0\.0\.1:1; start it/,
  })
})

t.test('chain status: text, JSON, stale', async (t) => {
  answer = { status: 200, body: { ...status, contract: '0xabc\u001b[2J', block: 7, stale: false } }
  const text = await datanet(['chain', 'status', '--data', data])
  t.equal(text.code, 0)
  t.match(text.out, /chain {6}31337 at http:\/\/x\/v1\/chain: connected$/m)
  t.match(text.out, /block {6}7, durable unknown/)
  t.match(text.out, /token {6}DNT 0x12, 18 decimals$/m)
  t.notMatch(text.out, '\u001b')
  t.same(seen, [{ path: '/v1/chain/status', method: 'GET', authorization: 'Bearer the-token' }])
  const json = await datanet(['chain', 'status', '--data', data, '--json'])
  t.same(JSON.parse(json.out), answer.body)
  answer = { status: 200, body: { ...status, connected: false, stale: true } }
  t.match(await datanet(['chain', 'status', '--data', data]), {
    code: 69,
    out: /not connected, stale/,
  })
})

t.test('chain status where there is nothing to ask', async (t) => {
  answer = { status: 401, body: {} }
  t.match(await datanet(['chain', 'status', '--data', data]), { code: 77, err: /does not accept/ })
  answer = { status: 503, body: { error: { message: 'starting' } } }
  t.match(await datanet(['chain', 'status', '--data', data]), { code: 69, err: /: starting$/ })
  writeFileSync(config, configWith(DEAD))
  t.match(await datanet(['chain', 'status', '--data', data]), {
    code: 69,
    err: /^datanet: no server answers at http:\/\/127\.0\.0\.1:1; start it .* with --config$/,
  })
  t.match(await datanet(['chain', 'status', '--data', join(data, 'none')]), {
    code: 69,
    err: /admin-token does not exist; run `npm start` once/,
  })
  rmSync(join(data, 'admin-token'))
  t.match(await datanet(['chain', 'status', '--data', data]), { code: 69 })
})

t.test('the token goes to the server of the configuration and nowhere else', async (t) => {
  const env = { DATANET_OPERATOR: url }
  writeFileSync(config, configWith(DEAD))
  await datanet(['chain', 'status', '--data', data], { env })
  await datanet(['client', 'add', 'lobby', '192.0.2.10', '--data', data], { env })
  t.same(seen, [])
  const urls: [string, string][] = [
    ['http: { listen: 0.0.0.0:81 }', 'http://127.0.0.1:81'],
    ['http: { listen: "[::]:81" }', 'http://127.0.0.1:81'],
    ['http: { listen: "[::1]:81" }', 'http://[::1]:81'],
    ['http:\n  listen: localhost:81', 'http://localhost:81'],
    ['', 'http://127.0.0.1:8080'],
    [`clients: [{ secret: ${'$'}{X} }]\nhttp: { listen: 127.0.0.1:82 }`, 'http://127.0.0.1:82'],
  ]
  for (const [text, expected] of urls) t.equal(serverUrl(data, text), expected, text)
  t.throws(() => serverUrl(data, 'http: { listen: 127.0.0.1:0 }'), { message: /no fixed port/ })
  // Where it listens, whatever its configuration says by now.
  const path = join(data, 'http-url')
  writeFileSync(path, 'http://127.0.0.1:83\n')
  t.equal(serverUrl(data, 'http: { listen: 127.0.0.1:82 }'), 'http://127.0.0.1:83')
  writeFileSync(path, '')
  t.equal(serverUrl(data, 'http: { listen: 127.0.0.1:82 }'), 'http://127.0.0.1:82')
  rmSync(path)
})

const notary = {
  ...{ k: 7, lastPeriod: 41, lastAt: 1_000_000_000, period: 42, phase: 'open' },
  ...{ nextAt: 4_000_000_000, merchants: 3 },
  ...{ missing: [2], answered: null, waiting: '1500000000000000000', waitingAccounts: 2 },
  own: '20',
  ...{ problem: null, token: { symbol: 'DNT', decimals: 18 } },
}

t.test('notarize: what is shown, and a block that is asked for', async (t) => {
  answer = { status: 200, body: notary }
  const text = await datanet(['notarize', '--data', data])
  t.equal(text.code, 0)
  t.match(text.out, /^block {6}7, of period 41, \d+ s ago$/m)
  t.match(text.out, /^merchants {2}3, 1 missing: 2$/m)
  t.match(text.out, /^waiting {4}1\.5 DNT of 2 accounts$/m)
  t.notMatch(text.out, /asked for|signed by|problem/)
  answer = { status: 202, body: { ...notary, k: 0, answered: [1, 3] } }
  const now = await datanet(['notarize', '--now', '--data', data])
  t.match(now.out, /^block {6}none yet$/m)
  t.match(now.out, /s, asked for$/m)
  t.match(now.out, /^signed by {2}1 3$/m)
  const sent = { authorization: 'Bearer the-token' }
  t.same(seen, [
    { path: '/v1/notary', method: 'GET', ...sent },
    { path: '/v1/notary/build', method: 'POST', ...sent },
  ])
  seen = []
  const paid = await datanet(['notarize', '--withdraw', '--data', data])
  t.match(paid.out, /^own {8}0\.00000000000000002 DNT not withdrawn/m)
  t.same(seen, [{ path: '/v1/notary/withdraw', method: 'POST', ...sent }])
  t.equal((await datanet(['notarize', '--withdraw', '--now', '--data', data])).code, 64)
  const json = await datanet(['notarize', '--json', '--data', data])
  t.same(JSON.parse(json.out), answer.body)
})

t.test('notarize where no block can be made, or nobody answers', async (t) => {
  answer = { status: 200, body: { ...notary, problem: 'block 7 is gone\u001b[2J' } }
  const stuck = await datanet(['notarize', '--data', data])
  t.match(stuck, { code: 69, out: /^problem {4}block 7 is gone/m })
  t.notMatch(stuck.out, '\u001b')
  answer = { status: 503, body: { error: { message: 'starting' } } }
  t.match(await datanet(['notarize', '--data', data]), { code: 69, err: /: starting$/ })
  answer = { status: 200, body: { k: 'x' } }
  t.equal((await datanet(['notarize', '--data', data])).code, 69)
})
