import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { InjectOptions } from 'fastify'
import t from 'tap'
import { signDigest } from '../../ethereum/signature.ts'
import { sessionQueryDigest } from '../../ethereum/typed-data.ts'
import { accountNamed, domain, hex, keyNamed, paymentBy } from '../accounting/vouchers.ts'
import { diskFull, NOW_MS, rig } from './payment-rig.ts'

t.test('a batch is answered in its order, with one transaction for all', async (t) => {
  const { world, deposit, post } = rig()
  deposit('alice', 100n)
  deposit('bob', 100n)
  const payments = [
    paymentBy('alice', 20n),
    { nonsense: true },
    paymentBy('bob', 5n),
    paymentBy('alice', 10n),
    paymentBy('alice', 30n),
    paymentBy('carol', 1n),
  ]
  const answer = await post('/v1/payments', { payments })
  t.equal(answer.status, 200)
  t.match(answer.results, [
    { receipt: { amount: '20' }, signature: /^0x[0-9a-f]{130}$/ },
    { error: { code: 'malformed' } },
    { receipt: { amount: '5' } },
    { error: { code: 'not-higher', amount: '20' } },
    { receipt: { amount: '30' } },
    { error: { code: 'unknown-consumer' } },
  ])
  t.equal(answer.results.length, payments.length)
  t.equal(world.commits.length, 1)
})

t.test('a batch of 1,000 lets others in every few milliseconds', async (t) => {
  const { deposit, post } = rig()
  for (let n = 0; n < 20; n++) deposit(`payer ${n}`, 1_000n)
  const payments = Array.from({ length: 1_000 }, (_, i) =>
    paymentBy(`payer ${i % 20}`, BigInt(1 + Math.floor(i / 20))),
  )
  // Counted in turns of the event loop: a busy machine makes them longer, never fewer.
  let turns = 0
  let running = true
  const turn = (): void => {
    turns += 1
    if (running) setImmediate(turn)
  }
  setImmediate(turn)
  const { results } = await post('/v1/payments', { payments })
  running = false
  const paid = results.filter((result: object) => 'receipt' in result)
  t.equal(paid.length, 1_000)
  t.ok(turns > 20, `others came in ${turns} times`)
})

t.test('400 and 413: bodies that are no payment and no batch', async (t) => {
  const { deposit, post } = rig()
  deposit('alice', 100n)
  const json = { 'content-type': 'application/json' }
  const one = paymentBy('alice', 20n)
  const cases: [name: string, body: string, status: number, code: string][] = [
    ['nothing', '', 400, 'malformed'],
    ['no JSON', '{"consumer":', 400, 'malformed'],
    ['null', 'null', 400, 'malformed'],
    ['a list', JSON.stringify([one]), 400, 'malformed'],
    ['payments of nothing', '{"payments":[]}', 400, 'malformed'],
    ['payments no list', '{"payments":{}}', 400, 'malformed'],
    ['payments and more', JSON.stringify({ payments: [one], more: 1 }), 400, 'malformed'],
    ['a batch of 1,001', `{"payments":[${'1,'.repeat(1_000)}1]}`, 413, 'too-large'],
    ['1 MB', ' '.repeat(1_000_001), 413, 'framework FST_ERR_CTP_BODY_TOO_LARGE'],
  ]
  for (const [name, payload, status, code] of cases) {
    const answer = await post('/v1/payments', payload, { headers: json })
    t.equal(answer.status, status, name)
    t.equal(answer.error.code, code, name)
  }
  const text = await post('/v1/payments', 'x', { headers: { 'content-type': 'text/plain' } })
  t.equal(text.status, 415)
})

t.test('429: accepted payments of one consumer are limited, what others send is not', async (t) => {
  const { world, deposit, pay } = rig()
  deposit('alice', 1_000n)
  deposit('bob', 1_000n)
  for (let n = 0; n < 150; n++) await pay({ ...paymentBy('alice', 1_000n), amount: '1' })
  for (let n = 1; n <= 100; n++) {
    t.equal((await pay(paymentBy('alice', BigInt(n)))).status, 200, `payment ${n}`)
  }
  const refused = await pay(paymentBy('alice', 101n))
  t.match(refused, { status: 429, error: { code: 'too-many-requests' } })
  t.equal(refused.headers['retry-after'], '1')
  t.equal((await pay(paymentBy('bob', 1n))).status, 200)
  world.nowMs += 100
  t.equal((await pay(paymentBy('alice', 101n))).status, 200, 'ten a second')
})

t.test('429: an address pays for the length of what it sends, before it is read', async (t) => {
  const { world, deposit, post } = rig()
  deposit('alice', 1_000n)
  const from = (remoteAddress: string, body: unknown) =>
    post('/v1/payments', body, { remoteAddress })
  // 900,000 bytes cost 1,758 of 10,000.
  const large = `{"payments":["${'x'.repeat(900_000)}"]}`
  const headers = { 'content-type': 'application/json' }
  const statuses: number[] = []
  for (let n = 0; n < 6; n++) {
    statuses.push(
      (await post('/v1/payments', large, { headers, remoteAddress: '192.0.2.1' })).status,
    )
  }
  t.same(statuses, [200, 200, 200, 200, 200, 429])
  t.equal((await from('192.0.2.2', paymentBy('alice', 1n))).status, 200, 'another address')
  world.nowMs += 500
  t.equal((await from('192.0.2.1', paymentBy('alice', 2n))).status, 200)
  const small = { payments: Array.from({ length: 1_000 }, () => 1) }
  const flood: number[] = []
  for (let n = 0; n < 12; n++) flood.push((await from('192.0.2.3', small)).status)
  t.same(
    flood.slice(0, 10),
    Array.from({ length: 10 }, () => 200),
  )
  t.same(flood.slice(10), [429, 429], 'a thousand items of two bytes cost a thousand')
})

t.test('429: what waits for the disk is bounded, and counted off when answered', async (t) => {
  const { world, deposit, post } = rig()
  deposit('alice', 1_000n)
  const disk = Promise.withResolvers<void>()
  world.commit = () => disk.promise
  const headers = { 'content-type': 'application/json' }
  const pad = ' '.repeat(999_000)
  const send = (n: number) =>
    post('/v1/payments', `${JSON.stringify(paymentBy('alice', BigInt(n)))}${pad}`, {
      ...{ headers, remoteAddress: `192.0.2.${n}` },
    })
  const waiting = Array.from({ length: 20 }, (_, i) => send(i + 1))
  const refused = (await Promise.race(waiting)) as { status: number; headers: object }
  t.match(refused, { status: 429, headers: { 'retry-after': '1' } })
  disk.resolve()
  const statuses = (await Promise.all(waiting)).map(({ status }) => status)
  t.equal(statuses.filter((status) => status === 429).length, 8, '12 MB of bodies are held')
  t.equal((await send(30)).status, 200, 'all of it was given back')
})

t.test('429: who goes away in the middle of a body gives its share back', async (t) => {
  const { deposit, pay, app } = rig()
  deposit('alice', 1_000n)
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => app.close())
  const address = app.server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const head = [
    'POST /v1/payments HTTP/1.1',
    'host: localhost',
    'content-type: application/json',
    'content-length: 999000',
  ].join('\r\n')
  const sockets = Array.from({ length: 16 }, (_, i) => {
    const socket = connect({
      port: address.port,
      host: '127.0.0.1',
      localAddress: `127.0.2.${i + 1}`,
    })
    socket.on('error', () => {})
    socket.write(`${head}\r\n\r\n{"consumer":`)
    return socket
  })
  const large = `${JSON.stringify(paymentBy('alice', 1n))}${' '.repeat(999_000)}`
  const statusOf = async (n: number): Promise<number> => {
    const headers = { 'content-type': 'application/json' }
    const remoteAddress = `192.0.2.${n}`
    const options = { method: 'POST', url: '/v1/payments', payload: large, headers, remoteAddress }
    return (await app.inject(options as InjectOptions)).statusCode
  }
  const TRIES_MAX = 4_000
  let tries = 0
  while ((await statusOf(++tries)) !== 429 && tries < TRIES_MAX) await sleep(5)
  t.ok(tries < TRIES_MAX, 'sixteen bodies of a megabyte fill what may wait')
  for (const socket of sockets) socket.destroy()
  while ((await statusOf(++tries)) === 429 && tries < TRIES_MAX) await sleep(5)
  t.ok(tries < TRIES_MAX, 'and make room when their senders are gone')
  t.equal((await pay(paymentBy('alice', 2n))).status, 200)
})

t.test('429: who announces bodies and sends none keeps nobody else from paying', async (t) => {
  const { deposit, pay, app } = rig()
  deposit('alice', 1_000n)
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => app.close())
  const address = app.server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const { port } = address
  const lines = ['host: localhost', 'content-type: application/json', 'content-length: 999000']
  let refused = 0
  const announce = (localAddress: string): void => {
    const socket = connect({ port, host: '127.0.0.1', localAddress })
    t.teardown(() => socket.destroy())
    socket.on('error', () => {})
    socket.on('data', (bytes) => {
      if (String(bytes).startsWith('HTTP/1.1 429 ')) refused += 1
    })
    socket.write(`POST /v1/payments HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`)
  }
  /** Who is not refused holds its share: so many at most. */
  const refusedOf = async (wanted: number): Promise<number> => {
    for (let tries = 0; refused < wanted && tries < 2_000; tries++) await sleep(5)
    return refused
  }
  for (let n = 0; n < 5; n++) announce('127.0.3.1')
  t.equal(await refusedOf(3), 3, 'one address: an eighth of all')
  for (let n = 1; n <= 16; n++) announce(`127.0.4.${n}`)
  t.equal(await refusedOf(9), 9, 'sixteen: three quarters')
  t.equal((await pay(paymentBy('alice', 1n))).status, 200)
})

const queryBy = (name: string, time: number, change: object = {}) => {
  const consumer = accountNamed(name)
  const digest = sessionQueryDigest(domain.separator, { consumer, operator: 3, time })
  return { consumer, time, signature: hex(signDigest(digest, keyNamed(name))), ...change }
}

t.test('a session query tells an account its open and owing sessions, nobody else', async (t) => {
  const { world, ledger, open, deposit, post } = rig()
  deposit('alice', 1_000n)
  deposit('bob', 1_000n)
  const running = open('alice', 1)
  const owing = open('alice', 2)
  const free = open('alice', 3)
  open('bob')
  ledger.close(free, 'stopped', world.nowMs)
  world.nowMs += 30_000
  ledger.close(owing, 'stopped', world.nowMs)
  const time = world.nowMs / 1_000
  const query = (body: unknown) => post('/v1/sessions/query', body)
  const answer = await query(queryBy('alice', time))
  t.equal(answer.status, 200)
  t.same(
    answer.sessions.map(({ id, owed, paid }: Record<string, string>) => [id, owed, paid]),
    [
      [running, '5', '0'],
      [owing, '5', '0'],
    ],
  )
  t.same((await query(queryBy('bob', time))).sessions.length, 1)
  t.same((await query(queryBy('carol', time))).sessions, [], 'a stranger has none')
  const off = [time - 60, time + 60].map((at) => query(queryBy('alice', at)))
  t.same(
    (await Promise.all(off)).map(({ status }) => status),
    [200, 200],
  )
  const cases: [name: string, body: unknown, status: number, code: string][] = [
    ['61 s ago', queryBy('alice', time - 61), 401, 'wrong-time'],
    ['61 s ahead', queryBy('alice', time + 61), 401, 'wrong-time'],
    [
      'for another',
      queryBy('bob', time, { consumer: accountNamed('alice') }),
      401,
      'bad-signature',
    ],
    [
      'signed for another time',
      { ...queryBy('alice', time), time: time + 1 },
      401,
      'bad-signature',
    ],
    ['no signature', { consumer: accountNamed('alice'), time }, 400, 'malformed'],
    ['time as text', queryBy('alice', time, { time: `${time}` }), 400, 'malformed'],
    ['a field more', queryBy('alice', time, { more: 1 }), 400, 'malformed'],
    ['a list', [], 400, 'malformed'],
  ]
  for (const [name, body, status, code] of cases) {
    t.match(await query(body), { status, error: { code } }, name)
  }
})

t.test('a session query is dated by the time of day, as the Date header is', async (t) => {
  const { world, open, deposit, post } = rig()
  deposit('alice', 1_000n)
  open('alice')
  const before = (await post('/v1/sessions/query', queryBy('alice', NOW_MS / 1_000))).sessions[0]
  // The clock was set an hour forward; the books go on by what has passed.
  world.wallAheadMs = 3_600_000
  const time = NOW_MS / 1_000 + 3_600
  const wrong = await post('/v1/sessions/query', queryBy('alice', NOW_MS / 1_000))
  t.match(wrong, { status: 401, error: { code: 'wrong-time' } })
  const after = (await post('/v1/sessions/query', queryBy('alice', time))).sessions[0]
  t.same([after.owed, after.due], [before.owed, before.due])
  t.equal(after.startedAt, before.startedAt + 3_600)
  t.equal(after.dueAt, before.dueAt + 3_600)
})

t.test('a session query: books that can’t be read are 503', async (t) => {
  const { world, deposit, post } = rig()
  deposit('alice', 1_000n)
  world.ensure = () => {
    throw diskFull()
  }
  const answer = await post('/v1/sessions/query', queryBy('alice', NOW_MS / 1_000))
  t.match(answer, { status: 503, error: { code: 'storage-unavailable' } })
})
