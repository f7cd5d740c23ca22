import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import t from 'tap'
import { ChainError } from '../../chain/error.ts'
import type { ConfigProblem } from '../../config/config.ts'
import { checksumAddress } from '../../ethereum/address.ts'
import { HTTP_TIMEOUTS } from '../../server/http.ts'
import { noActivityContracts } from './activity-double.ts'
import { addressOf, certificate, made, rig } from './http-rig.ts'

t.test('GET /v1/operator has every field of the contract with devices', async (t) => {
  const { call } = await rig(t)
  const answer = await call('GET', '/v1/operator')
  t.equal(answer.status, 200)
  t.same(answer.json(), {
    name: 'Corner Wi-Fi',
    operatorId: 3,
    account: checksumAddress(addressOf('aa')),
    contract: checksumAddress(addressOf('cc')),
    chainId: 31_337,
    ...{ deployBlock: 2, confirmations: 1 },
    activity: Object.fromEntries(
      Object.entries(noActivityContracts).map(([name, at]) => [name, checksumAddress(at)]),
    ),
    rpc: 'http://127.0.0.1:8080/v1/chain',
    token: { address: checksumAddress(addressOf('dd')), symbol: 'DNT', decimals: 18 },
    serverSpkiSha256: certificate.spkiSha256,
    serverName: 'radius.corner-wi-fi.datanet.invalid',
    certificates: [made.certificatePem, made.caCertificatePem],
    tariffs: [
      {
        name: 'standard',
        perMinute: '1000000000000000',
        perMegabyte: '4000000000000000',
        ...{ intervalSeconds: 60, intervalMegabytes: 10, missedMax: 2, graceSeconds: 0 },
      },
    ],
    radius: { auth: 1812, accounting: 1813 },
  })
})

t.test('the faucet gives what is asked within its limits, and only that', async (t) => {
  const { call, funded } = await rig(t)
  const account = addressOf('ee')
  const cases: [string, unknown, number, string][] = [
    ['no body', '', 400, 'malformed-request'],
    ['no JSON', '{', 400, 'malformed-request'],
    ['no account', { amount: '1' }, 400, 'malformed-request'],
    ['short account', { account: '0x12', amount: '1' }, 400, 'malformed-request'],
    ['a number', { account, amount: 1 }, 400, 'malformed-request'],
    ['zero', { account, amount: '0' }, 400, 'malformed-request'],
    ['negative', { account, amount: '-1' }, 400, 'malformed-request'],
    ['another field', { account, amount: '1', more: 1 }, 400, 'malformed-request'],
    ['too much', { account, amount: `${10n ** 21n + 1n}` }, 422, 'amount-too-large'],
    ['a megabyte', { account, amount: '1', pad: 'x'.repeat(1_000_000) }, 413, 'body-too-large'],
  ]
  for (const [name, body, status, code] of cases.slice(0, 9)) {
    const answer = await call('POST', '/v1/faucet', { body })
    t.equal(answer.status, status, name)
    t.match(answer.json(), { error: { code } }, name)
  }
  t.same(funded, [])
  const most = await call('POST', '/v1/faucet', { body: { account, amount: `${10n ** 21n}` } })
  t.equal(most.status, 200)
  t.match(most.json(), { account: checksumAddress(account), transactionHash: '0xhash' })
  t.same(funded, [[account, 10n ** 21n]])
  const eleventh = await call('POST', '/v1/faucet', { body: { account, amount: '1' } })
  t.equal(eleventh.status, 429, '10 calls a minute from one address')
  const large = await rig(t)
  const [name, body, status, code] = cases[9] ?? []
  const refused = await large.call('POST', '/v1/faucet', { body })
  t.equal(refused.status, status, String(name))
  t.match(refused.json(), { error: { code } })
})

t.test('on a chain that is not embedded there is no faucet and no proxy', async (t) => {
  const { call } = await rig(t, { embedded: undefined })
  t.equal((await call('POST', '/v1/faucet', { body: {} })).status, 404)
  t.equal((await call('POST', '/v1/chain', { body: {} })).status, 404)
  t.equal((await call('GET', '/v1/operator')).json()['rpc'], 'ws://node')
})

t.test('the operator routes want the token in the header, nothing else will do', async (t) => {
  const problems: ConfigProblem[] = [{ path: 'clients', line: 3, message: 'is wrong' }]
  const { call } = await rig(t, { reload: () => ({ problems, warnings: [] }) })
  for (const authorization of [
    '',
    'Bearer',
    'Bearer wrong',
    'bearer the-token',
    'Basic the-token',
  ]) {
    t.equal((await call('GET', '/v1/chain/status', { headers: { authorization } })).status, 401)
  }
  t.equal((await call('GET', '/v1/chain/status?token=the-token')).status, 401)
  const headers = { authorization: 'Bearer the-token' }
  const status = await call('GET', '/v1/chain/status', { headers })
  t.match(status.json(), {
    block: 7,
    durableBlock: 7,
    connected: true,
    heardAt: 1000,
    stale: false,
  })
  const reload = await call('POST', '/v1/reload', { headers })
  t.equal(reload.status, 422)
  t.match(reload.json(), { error: { code: 'configuration' }, problems })
})

t.test('a page under another name reaches nothing (DNS rebinding), no CORS', async (t) => {
  const { call } = await rig(t, { publicUrl: () => 'https://wifi.example.org/' })
  const hosts: [string, number][] = [
    ['evil.example', 421],
    ['127.0.0.1.evil.example:8080', 421],
    ['localhost:8080', 200],
    ['127.0.0.1:8080', 200],
    ['[::1]:8080', 200],
    ['wifi.example.org', 200],
  ]
  for (const [host, status] of hosts) {
    t.equal((await call('GET', '/healthz', { headers: { host } })).status, status, host)
  }
  t.equal(
    (await call('OPTIONS', '/v1/faucet', { headers: { origin: 'http://a.example' } })).status,
    404,
  )
})

t.test('health, readiness, metrics, console, and what does not exist', async (t) => {
  const { call } = await rig(t, { readiness: () => 'the chain node is away' })
  t.equal((await call('GET', '/healthz')).status, 200)
  const ready = await call('GET', '/readyz')
  t.equal(ready.status, 503)
  t.match(ready.json(), { error: { code: 'not-ready', message: 'the chain node is away' } })
  t.match((await call('GET', '/metrics')).body, /^# HELP datanet_radius_requests_total /m)
  t.match((await call('GET', '/')).body, /<h1>Datanet<\/h1>/)
  const missing = await call('GET', '/v1/nothing')
  t.equal(missing.status, 404)
  t.match(missing.json(), { error: { code: 'not-found' } })
  t.match((await call('POST', '/v1/chain', { body: { a: 1 } })).json(), { echoed: { a: 1 } })
})

t.test(
  'a chain that does not answer is 503 and says what to do; no stack in the log',
  async (t) => {
    let logged = ''
    const log = pino(
      { level: 'info' },
      {
        write(line: string) {
          logged += line
        },
      },
    )
    const away = new ChainError('chain-unreachable', 'no answer from the node')
    const embedded = {
      fund: () => Promise.reject(away),
      proxy: () => Promise.reject(new Error('a bug')),
    }
    const { call } = await rig(t, { embedded, log })
    const body = { account: addressOf('ee'), amount: '1' }
    const refused = await call('POST', '/v1/faucet', { body })
    t.equal(refused.status, 503)
    t.match(refused.json(), { error: { code: 'chain-unavailable', message: /try again/ } })
    t.equal(logged, '')
    for (let i = 0; i < 5; i++) {
      t.equal((await call('POST', '/v1/chain', { body: {} })).status, 500)
    }
    t.equal(logged.split('\n').length - 1, 1, 'a fault of ours is logged, but not once per request')
  },
)

t.test('what does not exist is rate-limited too', async (t) => {
  const { call } = await rig(t)
  const burst = () => Promise.all(Array.from({ length: 150 }, () => call('GET', '/nothing')))
  let statuses: number[] = []
  // On a slow machine a burst may take longer than the second it is counted in.
  for (let tries = 0; tries < 20 && !statuses.includes(429); tries++) {
    statuses = (await burst()).map((answer) => answer.status)
  }
  t.ok(statuses.includes(429))
  t.ok(statuses.every((status) => status === 404 || status === 429))
})

t.test('a request of which something is missing is ended in time', async (t) => {
  const { headersTimeout, requestTimeout, connectionsCheckingInterval } = HTTP_TIMEOUTS
  t.ok(requestTimeout + connectionsCheckingInterval <= 11_000)
  t.ok(headersTimeout < requestTimeout, 'or Node takes it for the time of the whole request')
  const timeouts = { headersTimeout: 100, requestTimeout: 300, connectionsCheckingInterval: 20 }
  const { port } = await rig(t, {}, timeouts)
  const head = 'POST /v1/payments HTTP/1.1\r\nhost: localhost\r\n'
  const type = 'content-type: application/json\r\ncontent-length: 999\r\n'
  const cases: [name: string, sent: string][] = [
    ['nothing sent', ''],
    ['half a head', head],
    ['a head without its body', `${head}${type}\r\n`],
    ['half a body', `${head}${type}\r\n{"consumer":`],
  ]
  for (const [name, sent] of cases) {
    const socket = connect({ port, host: '127.0.0.1' })
    const closed = once(socket, 'close')
    socket.on('error', () => {}).resume()
    socket.write(sent)
    const ended = await Promise.race([
      closed.then(() => 'ended'),
      sleep(15_000, 'left open', { ref: false }),
    ])
    t.equal(ended, 'ended', name)
  }
})
