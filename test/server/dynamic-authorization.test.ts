import t from 'tap'
import { AttributeType } from '../../radius/attribute-type.ts'
import { type Attribute, Code, firstAttribute } from '../../radius/packet.ts'
import type { DynamicNas, NamedSession, Outcome } from '../../server/dynamic-authorization.ts'
import {
  ack,
  cause,
  client,
  nasAt,
  nasDouble,
  type Received,
  START_MS,
  secret,
  session,
  typesOf,
} from './nas-double.ts'

t.test('C1 C2 C3: a Disconnect-Request, its ACK, and what was sent', async (t) => {
  const nas = await nasDouble(t, ack)
  const { client: dynamic, time, drops, errors } = client(t)
  const outcome = await dynamic.disconnect(nasAt(nas.port), session('a'))
  const done = { result: 'ack', ok: true, gone: false, answered: true, attempts: 1 }
  t.same(outcome, { ...done, trail: ['ack'], advice: undefined })
  const [request] = nas.requests
  t.equal(request?.code, Code.disconnectRequest)
  t.same(request && typesOf(request), [80, 44, 31, 32, 4, 55])
  const at = request && firstAttribute(request, AttributeType.eventTimestamp)
  t.equal(at?.readUInt32BE(0), START_MS / 1000)
  t.same([drops, errors, dynamic.pending(), time.timers()], [[], [], 0, 0])
})

/** Error-Causes of the answers in order (0: a NAK without; `ack`), result, datagrams. */
const ANSWERS: readonly [(number | 'ack')[], string, Partial<Outcome>][] = [
  [[401, 'ack'], 'ack', { ok: true }],
  [[402, 401, 'ack'], 'ack', { ok: true }],
  [[403, 'ack'], 'ack', { ok: true, advice: 'set' }],
  [[403, 403], 'nak-403', { advice: 'set' }],
  [[404, 404, 404], 'nak-404', { advice: 'set' }],
  [[405], 'nak-405', {}],
  [[406], 'nak-406', {}],
  [[407, 503], 'nak-503', { gone: true }],
  [[501], 'nak-501', {}],
  [[502], 'nak-502', {}],
  [[503], 'nak-503', { gone: true }],
  [[504], 'nak-504', {}],
  [[505], 'nak-505', {}],
  [[506], 'nak-506', {}],
  [[507], 'nak-507', {}],
  [[508], 'nak-508', {}],
  [[510], 'nak-510', {}],
  [[599], 'nak-599', {}],
  [[0, 0, 'ack'], 'ack', { ok: true }],
]

for (const [answers, result, wanted] of ANSWERS) {
  t.test(`C4 C5: a NAS that answers ${answers.join(', ')}`, async (t) => {
    const left = [...answers]
    const nas = await nasDouble(t, ({ reply, answer }) => {
      const next = left.shift()
      if (next === 'ack') reply(answer(Code.disconnectAck))
      else reply(answer(Code.disconnectNak, next ? [cause(next)] : []))
    })
    const { client: dynamic, drops } = client(t)
    const outcome = await dynamic.disconnect(nasAt(nas.port), session('a'))
    t.equal(outcome.result, result)
    t.equal(outcome.ok, wanted.ok ?? false)
    t.equal(outcome.gone, wanted.gone ?? false)
    if (wanted.advice !== undefined) t.type(outcome.advice, 'string')
    t.equal(outcome.attempts, answers.length)
    t.same(drops, [])
    // RFC 5176 §2.3: other attributes, another Identifier; a wish for less, so fewer attributes.
    const identifiers = nas.requests.map(({ identifier }) => identifier)
    t.equal(new Set(identifiers).size, answers.length)
    const sizes = nas.requests.map(({ attributes }) => attributes.length)
    t.same(
      sizes,
      [...sizes].sort((a, b) => b - a),
    )
    t.ok(nas.requests.every((r) => typesOf(r).includes(44) && typesOf(r).includes(55)))
    if (answers[0] === 403) t.notOk(nas.requests.slice(1).some((r) => typesOf(r).includes(32)))
  })
}

t.test('C2 RFC 5176 §2.3: sent again, it is the same octets from the same port', async (t) => {
  const nas = await nasDouble(t, () => {})
  const { client: dynamic, time } = client(t)
  const ports = new Set<number>()
  nas.socket.on('message', (_bytes, source) => ports.add(source.port))
  const outcome = dynamic.disconnect(nasAt(nas.port), session('a'))
  await nas.got(1)
  for (const [waitMs, count] of [
    [1_999, 1],
    [1, 2],
    [3_999, 2],
    [1, 3],
    [8_000, 4],
  ] as const) {
    time.advance(waitMs)
    await nas.got(count)
    t.equal(nas.datagrams.length, count)
  }
  time.advance(16_000)
  t.match(await outcome, { result: 'timeout', ok: false, answered: false, attempts: 4 })
  t.match((await outcome).advice, new RegExp(`^nothing answers at UDP port ${nas.port}`))
  for (const datagram of nas.datagrams) t.same(datagram, nas.datagrams[0])
  t.equal(ports.size, 1)
  t.equal(time.timers(), 0)
})

t.test('after a NAK the clock of the next request counts alone', async (t) => {
  const waiting: Received[] = []
  const nas = await nasDouble(t, (received) => waiting.push(received))
  const { client: dynamic, time } = client(t)
  const outcome = dynamic.disconnect(nasAt(nas.port), session('a'))
  await nas.got(1)
  time.advance(1_500)
  waiting[0]?.reply(waiting[0].answer(Code.disconnectNak, [cause(401)]))
  await nas.got(2)
  t.equal(time.timers(), 1)
  time.advance(1_999)
  t.equal(nas.datagrams.length, 2)
  time.advance(1)
  await nas.got(3)
  t.same(nas.datagrams[2], nas.datagrams[1])
  time.advance(30_000)
  t.match(await outcome, { result: 'timeout', answered: true, trail: ['nak-401', 'timeout'] })
})

t.test('a silent Cisco: its own default port is named, and never the secret', async (t) => {
  const nas = await nasDouble(t, () => {})
  const { client: dynamic, time } = client(t)
  const outcome = dynamic.disconnect(nasAt(nas.port, { nasType: 'cisco' }), session('a'))
  time.advance(60_000)
  t.match((await outcome).advice, /cisco listens at 1700 by default/)
  t.notMatch(JSON.stringify(await outcome), String(secret))
})

t.test('one Disconnect at a time for a session; afterwards a new one', async (t) => {
  const waiting: Received[] = []
  const nas = await nasDouble(t, (received) => waiting.push(received))
  const { client: dynamic } = client(t)
  const one = dynamic.disconnect(nasAt(nas.port), session('a'))
  const two = dynamic.disconnect(nasAt(nas.port), session('a'))
  const other = dynamic.disconnect(nasAt(nas.port), session('b'))
  t.equal(one, two)
  await nas.got(2)
  for (const received of waiting.splice(0)) ack(received)
  t.match(await Promise.all([one, two, other]), [{ ok: true }, { ok: true }, { ok: true }])
  const three = dynamic.disconnect(nasAt(nas.port), session('a'))
  await nas.got(3)
  for (const received of waiting.splice(0)) ack(received)
  t.match(await three, { ok: true })
  t.equal(new Set(nas.requests.map(({ identifier }) => identifier)).size, 3)
})

t.test('what cannot be sent ends at once and says why', async (t) => {
  const nas = await nasDouble(t, () => {})
  const { client: dynamic } = client(t, { pendingMax: 1 })
  const { coa: _, ...withoutCoa } = nasAt(nas.port)
  const nowhere = session('a', { address: '' })
  const unnamed = session('a', { acctSessionId: '', callingStationId: '' })
  const cases: [DynamicNas | undefined, NamedSession, string][] = [
    [undefined, session('a'), 'no-coa'],
    [withoutCoa, session('a'), 'no-coa'],
    [nasAt(nas.port), nowhere, 'no-address'],
    [nasAt(nas.port, { host: '192.0.2.0/24' }), session('a'), 'no-address'],
    // The same number as 127.0.0.1, but of the other family.
    [nasAt(nas.port, { host: '::7f00:1' }), session('a'), 'no-address'],
    [nasAt(nas.port), unnamed, 'no-identification'],
  ]
  for (const [entry, named, result] of cases) {
    const outcome = await dynamic.disconnect(entry, named)
    t.match(outcome, { result, ok: false, gone: false, answered: false, attempts: 0 }, result)
  }
  const first = dynamic.disconnect(nasAt(nas.port), session('a'))
  t.match(await dynamic.disconnect(nasAt(nas.port), session('b')), { result: 'queue-full' })
  t.match(await dynamic.rateLimit(nasAt(nas.port), session('c'), 64), { result: 'no-rate-limit' })
  await dynamic.close()
  t.match(await first, { result: 'closed', ok: false })
  t.match(await dynamic.disconnect(nasAt(nas.port), session('d')), { result: 'closed' })
})

t.test('C6: rates change by CoA-Request, one after the other', async (t) => {
  const waiting: Received[] = []
  const nas = await nasDouble(t, (received) => waiting.push(received))
  const { client: dynamic } = client(t)
  const entry = nasAt(nas.port, { nasType: 'mikrotik' })
  const slow = dynamic.rateLimit(entry, session('a'), 64)
  t.equal(dynamic.rateLimit(entry, session('a'), 64), slow, 'the same wish joins')
  const restored = dynamic.rateLimit(entry, session('a'), undefined)
  const slowAgain = dynamic.rateLimit(entry, session('a'), 64)
  const answers: [number, Attribute[]][] = [
    [Code.coaNak, [cause(401)]],
    ...[Code.coaAck, Code.coaAck].map((code): [number, Attribute[]] => [code, []]),
    [Code.coaNak, [cause(506)]],
  ]
  for (const [index, [code, attributes]] of answers.entries()) {
    await nas.got(index + 1)
    t.equal(waiting.length, 1, 'one at a time')
    const received = waiting.pop()
    received?.reply(received.answer(code, attributes))
  }
  t.match(await slow, { result: 'ack', trail: ['nak-401', 'ack'] })
  t.match(await restored, { result: 'ack' })
  t.match(await slowAgain, { result: 'nak-506', ok: false, answered: true })
  const limits = nas.requests.map((r) =>
    firstAttribute(r, AttributeType.vendorSpecific)?.toString('latin1').slice(6),
  )
  t.same(limits, ['64k/64k', '64k/64k', '100000k/100000k', '64k/64k'])
  t.ok(nas.requests.every(({ code }) => code === Code.coaRequest))
})

t.test('1,000 at once to one NAS: never two with one Identifier, all answered', async (t) => {
  const outstanding = new Set<number>()
  let most = 0
  let twice = 0
  let slow = () => {}
  const nas = await nasDouble(t, (received) => {
    const { identifier } = received.request
    if (outstanding.has(identifier)) twice += 1
    outstanding.add(identifier)
    most = Math.max(most, outstanding.size)
    // Not at once, so that many are outstanding together.
    const finish = () => {
      outstanding.delete(identifier)
      ack(received)
    }
    // The first keeps its Identifier until all others have gone round it.
    if (nas.requests.length === 1) slow = finish
    else setImmediate(finish)
  })
  const { client: dynamic, time, drops } = client(t)
  const all = Array.from({ length: 1_000 }, (_, i) =>
    dynamic.disconnect(nasAt(nas.port), session(String(i))),
  )
  t.equal(dynamic.pending(), 1_000)
  await Promise.all(all.slice(1))
  t.equal(dynamic.pending(), 1)
  slow()
  const outcomes = await Promise.all(all)
  t.equal(outcomes.filter(({ ok }) => ok).length, 1_000)
  t.equal(twice, 0)
  t.ok(most <= 255, `${most} outstanding`)
  const sessions = new Set(nas.requests.map((r) => String(firstAttribute(r, 44))))
  t.equal(sessions.size, 1_000, 'each session was asked for')
  t.same([dynamic.pending(), time.timers(), drops], [0, 0, []])
})

t.test('a NAS that is silent holds back nobody else', async (t) => {
  const silent = await nasDouble(t, () => {})
  const nas = await nasDouble(t, ack)
  const { client: dynamic, time } = client(t)
  const lost = Array.from({ length: 300 }, (_, i) =>
    dynamic.disconnect(nasAt(silent.port), session(`lost ${i}`)),
  )
  t.match(await dynamic.disconnect(nasAt(nas.port), session('a')), { ok: true })
  t.equal(dynamic.pending(), 300)
  time.advance(30_000)
  const first = await Promise.all(lost.slice(0, 255))
  t.ok(first.every(({ result }) => result === 'timeout'))
  t.equal(dynamic.pending(), 45, 'those that waited are under way')
  time.advance(30_000)
  t.ok((await Promise.all(lost)).every(({ result }) => result === 'timeout'))
})

t.test('IPv6, and IPv4 as a dual-stack socket tells it', async (t) => {
  const { client: dynamic } = client(t, { bindAddress: '127.0.0.2' })
  const six = await nasDouble(t, ack, '::1')
  const at = session('six', { address: '0:0:0:0:0:0:0:1' })
  t.match(await dynamic.disconnect(nasAt(six.port, { host: '::1' }), at), { ok: true })
  const four = await nasDouble(t, ack)
  const sources: string[] = []
  four.socket.on('message', (_bytes, source) => sources.push(source.address))
  const mapped = session('four', { address: '::ffff:127.0.0.1' })
  t.match(await dynamic.disconnect(nasAt(four.port), mapped), { ok: true })
  t.same(sources, ['127.0.0.2'], 'from the address asked for')
})

t.test('a socket that cannot send: told, and the request ends as a timeout', async (t) => {
  const { client: dynamic, time, errors } = client(t, { bindAddress: '192.0.2.77' })
  const outcome = dynamic.disconnect(nasAt(3799), session('a'))
  while (errors.length === 0) await new Promise((resolve) => setImmediate(resolve))
  time.advance(30_000)
  t.match(await outcome, { result: 'timeout', answered: false })
  t.match(errors[0], { code: 'EADDRNOTAVAIL' })
})
