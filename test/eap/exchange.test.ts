// eap/exchange.ts with an engine of the test's own: who is called when, how often, and what happens
// to a conversation that is closed, hurried or failed by its caller.

import t from 'tap'
import type { TlsConversation, TlsEngine, TlsOutcome } from '../../eap/engine.ts'
import { type Authorization, type EapDeps, openExchange } from '../../eap/exchange.ts'
import { identityResponse, tlsResponse } from './peer.ts'

const facts = { version: '1.3', cipher: 'TLS_X', group: 'X25519', resumed: false } as const
const NO_DATA = Buffer.from([0])
const HELLO = Buffer.from('\0hello')

/** An engine that follows a script and writes down what is asked of it. */
function scripted(outcomes: readonly TlsOutcome[]) {
  const calls: string[] = []
  const left = [...outcomes]
  const conversation: TlsConversation = {
    async feed(flight) {
      calls.push(`feed ${flight}`)
      const outcome = left.shift()
      if (outcome === undefined) throw new Error('fed too often')
      return outcome
    },
    commit() {
      calls.push('commit')
      return Buffer.from('commitment')
    },
    refuse(alert) {
      calls.push(`refuse ${alert}`)
      return Buffer.from('alert')
    },
    peerCertificate: () => Buffer.from('certificate'),
    keys: () => ({
      msk: Buffer.alloc(64, 1),
      emsk: Buffer.alloc(64, 2),
      methodId: Buffer.alloc(64, 3),
    }),
    facts: () => facts,
    close() {
      calls.push('close')
    },
  }
  const engine: TlsEngine = {
    name: 'native',
    setTicketKeys: undefined,
    open() {
      calls.push('open')
      return conversation
    },
    setOcspResponse: undefined,
  }
  return { engine, calls }
}

const established = (): TlsOutcome[] => [
  { status: 'continue', bytes: Buffer.from('server hello') },
  { status: 'established' },
]

function open(engine: TlsEngine, authorize: EapDeps['authorize']) {
  const limits = { roundsMax: 50, messageBytesMax: 65_536 }
  return openExchange({ engine, limits, authorize, random: (length) => Buffer.alloc(length, 77) })
}

const accept: Authorization = { accept: true }
const refuse: Authorization = { accept: false, alert: 44, reason: 'revoked' }

/** Up to the response that makes TLS established. */
async function toDecision(exchange: ReturnType<typeof open>): Promise<void> {
  await exchange.receive(identityResponse(1, 'alice@example.org'), 1400)
  await exchange.receive(tlsResponse(2, HELLO), 1400)
}

t.test('RFC 9190 §2.5: without a commitment only who resumed TLS 1.2 gets in', async (t) => {
  const cases = [
    { version: '1.2', resumed: true, gets: 'accept' },
    { version: '1.2', resumed: false, gets: 'an error' },
    { version: '1.3', resumed: true, gets: 'an error' },
  ] as const
  for (const { version, resumed, gets } of cases) {
    const { engine } = scripted(established())
    const tls = { ...engine.open(), commit: () => Buffer.alloc(0) }
    const silent = { ...tls, facts: () => ({ ...facts, version, resumed }) }
    const exchange = open({ ...engine, open: () => silent }, () => accept)
    await toDecision(exchange)
    const result = await exchange.receive(tlsResponse(3, HELLO), 1400).then(
      (reply) => reply.do,
      () => 'an error',
    )
    t.equal(result, gets, `${version} ${resumed}`)
    t.equal(exchange.done, true)
  }
})

t.test(
  'accept: one certificate, one decision, and the TLS connection is closed with the commitment',
  async (t) => {
    const { engine, calls } = scripted(established())
    let asked = 0
    const exchange = open(engine, async (certificate, given) => {
      asked++
      t.equal(certificate.toString(), 'certificate')
      t.same(given, facts)
      return accept
    })
    t.same([exchange.identity, exchange.progress, exchange.done], ['', 0, false])
    await toDecision(exchange)
    t.same([exchange.identity, exchange.progress], ['alice@example.org', 2])
    t.same(calls, ['open', 'feed hello'], 'TLS is opened by the first flight')
    const challenge = await exchange.receive(tlsResponse(3, HELLO), 1400)
    t.match(challenge, {
      do: 'challenge',
      eap: Buffer.from('\x01\x04\x00\x10\x0d\0commitment', 'latin1'),
    })
    t.same(calls, ['open', 'feed hello', 'feed hello', 'commit', 'close'])
    const reply = await exchange.receive(tlsResponse(4, NO_DATA), 1400)
    t.same(reply, {
      do: 'accept',
      eap: Buffer.from([3, 4, 0, 4]),
      msk: Buffer.alloc(64, 1),
      emsk: Buffer.alloc(64, 2),
      sessionId: Buffer.concat([Buffer.from([13]), Buffer.alloc(64, 3)]),
      certificate: Buffer.from('certificate'),
      facts,
    })
    t.same([asked, exchange.done, exchange.progress], [1, true, 3])
    t.match(await exchange.receive(tlsResponse(4, NO_DATA), 1400), {
      do: 'ignore',
      reason: 'eap-finished',
    })
  },
)

t.test('L6 refuse: the alert, its acknowledgement, the failure', async (t) => {
  const { engine, calls } = scripted(established())
  const exchange = open(engine, () => refuse)
  await toDecision(exchange)
  t.match(await exchange.receive(tlsResponse(3, HELLO), 1400), { do: 'challenge' })
  t.same(calls.slice(-2), ['refuse 44', 'close'])
  const reply = await exchange.receive(tlsResponse(4, NO_DATA), 1400)
  t.same(reply, { do: 'reject', eap: Buffer.from([4, 4, 0, 4]), reason: 'revoked' })
  t.equal(exchange.done, true)
})

t.test('the EAP-Start takes its identifier from the random octets', async (t) => {
  const exchange = open(scripted([]).engine, () => accept)
  t.same(await exchange.receive(Buffer.alloc(0), 1400), {
    do: 'challenge',
    eap: Buffer.from([1, 77, 0, 5, 1]),
  })
  t.match(await exchange.receive(identityResponse(77, ''), 1400), { do: 'challenge' })
})

t.test('a second packet while one is worked on is ignored', async (t) => {
  const { engine, calls } = scripted(established())
  let decide = (_: Authorization) => {}
  const decision = new Promise<Authorization>((resolve) => {
    decide = resolve
  })
  const exchange = open(engine, () => decision)
  await toDecision(exchange)
  const first = exchange.receive(tlsResponse(3, HELLO), 1400)
  t.same(await exchange.receive(tlsResponse(3, HELLO), 1400), { do: 'ignore', reason: 'eap-busy' })
  decide(accept)
  t.match(await first, { do: 'challenge' })
  t.equal(calls.filter((call) => call.startsWith('feed')).length, 2)
})

t.test('close while the decision is out: no commitment, no accept', async (t) => {
  const { engine, calls } = scripted(established())
  let decide = (_: Authorization) => {}
  const decision = new Promise<Authorization>((resolve) => {
    decide = resolve
  })
  const exchange = open(engine, () => decision)
  await toDecision(exchange)
  const first = exchange.receive(tlsResponse(3, HELLO), 1400)
  await null
  exchange.close()
  exchange.close()
  decide(accept)
  t.same(await first, { do: 'ignore', reason: 'eap-finished' })
  t.notOk(calls.includes('commit'))
  t.equal(calls.filter((call) => call === 'close').length, 1)
})

t.test('what authorize throws reaches the caller, and ends the conversation', async (t) => {
  const { engine, calls } = scripted(established())
  const exchange = open(engine, () => Promise.reject(new Error('ledger is gone')))
  await toDecision(exchange)
  await t.rejects(exchange.receive(tlsResponse(3, HELLO), 1400), { message: 'ledger is gone' })
  t.equal(exchange.done, true)
  t.same(calls.slice(-1), ['close'])
  t.match(await exchange.receive(tlsResponse(3, HELLO), 1400), { do: 'ignore' })
})

t.test(
  'a failure in TLS is told with its reason and detail, and frees the connection',
  async (t) => {
    const failed = {
      status: 'failed',
      bytes: Buffer.alloc(0),
      reason: 'tls-x',
      detail: 'X',
    } as const
    const { engine, calls } = scripted([failed])
    const exchange = open(engine, () => accept)
    await exchange.receive(identityResponse(1, 'a'), 1400)
    const reply = await exchange.receive(tlsResponse(2, HELLO), 1400)
    t.same(reply, { do: 'reject', eap: Buffer.from([4, 2, 0, 4]), reason: 'tls-x', detail: 'X' })
    t.same(calls, ['open', 'feed hello', 'close'])
  },
)

t.test(
  'E7 the size may change from packet to packet, and every fragment keeps to it',
  async (t) => {
    const outcome: TlsOutcome = { status: 'continue', bytes: Buffer.alloc(1000, 5) }
    const exchange = open(scripted([outcome]).engine, () => accept)
    await exchange.receive(identityResponse(1, 'a'), 1400)
    const sizes = [400, 100, 60, 1400]
    let response = tlsResponse(2, HELLO)
    const got: number[] = []
    for (const [n, size] of sizes.entries()) {
      const reply = await exchange.receive(response, size)
      if (reply.do !== 'challenge') throw new Error(reply.do)
      got.push(reply.eap.length)
      response = tlsResponse(3 + n, NO_DATA)
    }
    t.same(got, [400, 100, 60, 1000 - 390 - 94 - 54 + 6])
  },
)
