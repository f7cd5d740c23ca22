// Session resumption in the native engine, over whole exchanges with a node:tls client: keys on
// both sides, the one ticket, alerts to whom is refused. With node:tls as the engine there are no
// tickets. Which tickets are taken: tickets.test.ts.

import t from 'tap'
import { Alert } from '../../eap/alert.ts'
import { createNodeTlsEngine } from '../../eap/tls.ts'
import { server } from './credentials.ts'
import {
  isAccept,
  kept,
  key,
  LIFETIME_SECONDS,
  login,
  older,
  rig,
  START,
  VERSIONS,
  withoutResumption,
} from './resumption-rig.ts'

for (const version of VERSIONS) {
  t.test(`L11 RFC 9190 §2.1.2, §2.1.3, RFC 5216 §2.1.2: TLS ${version}`, async (t) => {
    const one = rig()
    const full = await login(one, version)
    isAccept(t, full, false)
    t.equal(full.tickets, 1, 'one ticket')
    t.equal(full.rounds, 4)
    const first = await login(one, version, { session: kept(full) })
    isAccept(t, first, true)
    t.equal(first.rounds, version === '1.2' ? 3 : 4, 'RFC 5216 §2.1.2: Success without a flight')
    t.equal(first.session === undefined, version === '1.2', 'a new ticket in 1.3 only')
    const reply = first.reply
    t.match(reply, { facts: { group: version === '1.2' ? '' : 'X25519', resumed: true } })
    isAccept(t, await login(one, version, { session: first.session ?? kept(full) }), true)
    const small = await login(one, version, { session: kept(full), serverFragmentSize: 106 })
    isAccept(t, small, true)
  })

  t.test(`L12 RFC 9190 §2.1.2: TLS ${version}, who is refused gets no ticket`, async (t) => {
    const refusal = { accept: false, alert: Alert.accessDenied, reason: 'no-escrow' } as const
    const one = rig()
    const full = await login(one, version, { verdict: refusal })
    t.match(full.reply, { do: 'reject', reason: 'no-escrow' })
    t.equal(full.tickets, 0)
    t.equal(full.session, undefined)
    const session = kept(await login(one, version))
    t.equal((await login(one, version, { session, verdict: refusal })).session, undefined)
  })

  t.test(`TLS ${version}: bytes behind a resumed Finished`, async (t) => {
    const one = rig()
    const session = kept(await login(one, version))
    const tail = Buffer.from('\x17\x03\x03\x00\x05abcde', 'latin1')
    const tamper = (flight: Buffer, n: number) => (n === 1 ? Buffer.concat([flight, tail]) : flight)
    const report = await login(one, version, { session, tamper })
    t.equal(report.reply.do, 'reject')
    t.equal(report.asked, 0)
    const alert = 'ERR_SSL_SSL/TLS_ALERT_UNEXPECTED_MESSAGE'
    t.equal(report.error, version === '1.2' ? undefined : alert)
  })
}

const ALERTS = [
  { alert: Alert.accessDenied, error: 'ERR_SSL_TLSV1_ALERT_ACCESS_DENIED' },
  { alert: Alert.certificateRevoked, error: 'ERR_SSL_SSL/TLS_ALERT_CERTIFICATE_REVOKED' },
  { alert: Alert.certificateExpired, error: 'ERR_SSL_SSL/TLS_ALERT_CERTIFICATE_EXPIRED' },
]

for (const ciphers of ['AES_128_GCM_SHA256', 'AES_256_GCM_SHA384', 'CHACHA20_POLY1305_SHA256']) {
  t.test(`L12 RFC 9190 §5.7: TLS 1.3, resumed and refused, ${ciphers}`, async (t) => {
    const one = rig()
    const o = { ciphers: `TLS_${ciphers}` }
    const session = kept(await login(one, '1.3', o))
    for (const { alert, error } of ALERTS) {
      const verdict = { accept: false, alert, reason: 'no' } as const
      const report = await login(one, '1.3', { ...o, session, verdict })
      t.equal(report.resumed, true)
      t.match(report.reply, { do: 'reject', reason: 'no' })
      t.equal(report.error, error, 'the client reads the alert')
      t.equal(report.rounds, 4, 'the alert is acknowledged before the EAP-Failure')
    }
  })
}

t.test('L12 RFC 9190 §5.7: TLS 1.2, a full handshake for whom would be refused', async (t) => {
  const one = rig()
  const full = await login(one, '1.2')
  const session = kept(full)
  for (const { alert, error } of ALERTS) {
    const offered: Buffer[] = []
    const mayResume = (certificate: Buffer) => {
      offered.push(certificate)
      return false
    }
    const verdict = { accept: false, alert, reason: 'no' } as const
    const report = await login(one, '1.2', { session, verdict, mayResume })
    t.same(offered, [(full.reply as { certificate?: Buffer }).certificate], 'asked once')
    t.equal(report.resumed, false)
    t.match(report.reply, { do: 'reject', reason: 'no' })
    t.equal(report.error, error, 'the client reads the alert')
    t.equal(report.rounds, 4)
  }
  const changed = await login(one, '1.2', { session, mayResume: () => false })
  isAccept(t, changed, false)
  t.equal(changed.session, undefined, 'no ticket where the last one was not taken')
  isAccept(t, await login(one, '1.2', { session, mayResume: () => true }), true)
})

t.test('TLS 1.2: resumed, and refused only then: EAP-Failure at once', async (t) => {
  const one = rig()
  const session = kept(await login(one, '1.2'))
  const verdict = { accept: false, alert: Alert.accessDenied, reason: 'no' } as const
  const report = await login(one, '1.2', { session, verdict, mayResume: () => true })
  t.equal(report.resumed, true)
  t.match(report.reply, { do: 'reject', reason: 'no' })
  t.same([report.rounds, report.error], [3, undefined])
})

t.test('nobody is asked before there is a ticket that is good, or on TLS 1.3', async (t) => {
  const one = rig()
  const mayResume = () => {
    t.fail('asked')
    return true
  }
  const session = kept(await login(one, '1.2', { mayResume }))
  const last = kept(await login(one, '1.3', { mayResume }))
  isAccept(t, await login(one, '1.3', { session: last, mayResume }), true)
  one.clock += LIFETIME_SECONDS
  isAccept(t, await login(one, '1.2', { session, mayResume }), false)
})

t.test('what is no ticket key is refused, and the ones before stay', async (t) => {
  const one = rig()
  const session = kept(await login(one, '1.3'))
  for (const bytes of [1, 79, 81, 240]) {
    t.throws(() => one.engine.setTicketKeys?.([Buffer.alloc(bytes)]), { name: 'TypeError' })
  }
  isAccept(t, await login(one, '1.3', { session }), true)
})

t.test('keys that come and go while a conversation runs', async (t) => {
  const cases = [
    { before: [], during: [key], tickets: 0 },
    { before: [key], during: [], tickets: 0 },
    { before: [key], during: [older], tickets: 1 },
  ]
  for (const { before, during, tickets } of cases) {
    for (const version of VERSIONS) {
      const one = rig(before)
      const tamper = (flight: Buffer, n: number) => {
        if (n === 1) one.engine.setTicketKeys?.(during)
        return flight
      }
      const report = await login(one, version, { tamper })
      isAccept(t, report, false)
      t.equal(report.tickets, tickets, `TLS ${version}, ${before.length} to ${during.length} keys`)
      const isBare = report.messages.at(-1)?.length === 23
      t.equal(isBare, version === '1.3' && tickets === 0, 'nothing but the commitment')
    }
  }
})

t.test('without keys TLS says nothing of tickets', async (t) => {
  const none = rig([])
  const gone = rig()
  gone.engine.setTicketKeys?.([])
  for (const one of [none, gone, withoutResumption()]) {
    // ChangeCipherSpec and Finished; one record with one octet.
    t.equal((await login(one, '1.2')).messages.at(-1)?.length, 51)
    t.equal((await login(one, '1.3')).messages.at(-1)?.length, 23)
  }
})

t.test('node:tls makes no tickets, and says so by taking no keys', async (t) => {
  const pems = { certificatePem: server.cert, privateKeyPem: server.key }
  const resumption = { lifetimeSeconds: 60, nowSeconds: () => START }
  const engine = createNodeTlsEngine({ ...pems, tlsMin: '1.2', tlsMax: '1.3', resumption })
  t.equal(engine.setTicketKeys, undefined)
  for (const version of VERSIONS) t.equal((await login({ engine, clock: 0 }, version)).tickets, 0)
  t.equal(withoutResumption().engine.setTicketKeys, undefined)
})
