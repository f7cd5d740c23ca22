// The node:tls engine: the suite that every engine passes, and what holds where the runtime lacks
// the hook by which tickets are refused.

import { randomBytes } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import t from 'tap'
import { type Authorization, openExchange } from '../../eap/exchange.ts'
import { createNodeTlsEngine } from '../../eap/tls.ts'
import { p256, server } from './credentials.ts'
import { testEngine } from './engine-conformance.ts'
import { runPeer } from './peer.ts'

testEngine(t, createNodeTlsEngine)

const createEngine = () =>
  createNodeTlsEngine({
    certificatePem: server.cert,
    privateKeyPem: server.key,
    tlsMin: '1.2',
    tlsMax: '1.3',
  })

t.test('it names itself', async (t) => {
  t.equal(createEngine().name, 'node')
})

t.test('L8 L9 a runtime without the ticket callback: two tickets, then all the same', async (t) => {
  const prototype = Object.getPrototypeOf(createSecureContext().context)
  const enable = prototype.enableTicketKeyCallback
  delete prototype.enableTicketKeyCallback
  t.teardown(() => {
    prototype.enableTicketKeyCallback = enable
  })
  const engine = createEngine()
  const run = (verdict: Authorization) => {
    const limits = { roundsMax: 50, messageBytesMax: 65_536 }
    const exchange = openExchange({ engine, limits, random: randomBytes, authorize: () => verdict })
    const tls = { ...p256, minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' } as const
    return runPeer(exchange, { tls })
  }
  const accepted = await run({ accept: true })
  t.match(accepted.reply, { do: 'accept', msk: accepted.msk })
  t.same([accepted.tickets, accepted.data.toString('hex'), accepted.rounds], [2, '00', 4])
  const refused = await run({ accept: false, alert: 49, reason: 'no-escrow' })
  t.match(refused.reply, { do: 'reject', reason: 'no-escrow' })
  t.equal(
    refused.error,
    'ERR_SSL_TLSV1_ALERT_ACCESS_DENIED',
    'the alert counts the records before it',
  )
})
