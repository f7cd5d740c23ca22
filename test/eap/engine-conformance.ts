// What every TlsEngine must do, as one suite: tls.test.ts runs it over node:tls, and a second
// engine is put through the same by calling `testEngine` with its own factory. All goes over
// complete exchanges with a node:tls client, so the framing, the machine and the keys are held
// against that client too.

import { randomBytes, X509Certificate } from 'node:crypto'
import type { Test } from 'tap'
import { Alert } from '../../eap/alert.ts'
import type { TlsEngine, TlsEngineConfig } from '../../eap/engine.ts'
import { type Authorization, type Exchange, openExchange } from '../../eap/exchange.ts'
import { type Credential, ed25519, p256, rsa, secp256k1, server } from './credentials.ts'
import {
  establish,
  openClient,
  type PeerOptions,
  respread,
  runPeer,
  untrustingFlight,
} from './peer.ts'

export type EngineFactory = (config: TlsEngineConfig) => TlsEngine

const limits = { roundsMax: 100, messageBytesMax: 65_536 }
const accept: Authorization = { accept: true }
const versions = ['1.2', '1.3'] as const
type Version = (typeof versions)[number]

const configOf = (tlsMin: Version, tlsMax: Version): TlsEngineConfig => ({
  certificatePem: server.cert,
  privateKeyPem: server.key,
  tlsMin,
  tlsMax,
})

const only = (version: Version) => {
  const name = `TLSv${version}` as const
  return { minVersion: name, maxVersion: name }
}

const open = (engine: TlsEngine, verdict: Authorization = accept): Exchange =>
  openExchange({ engine, limits, random: randomBytes, authorize: () => verdict })

const derOf = (credential: Credential): Buffer => new X509Certificate(credential.cert).raw

export function testEngine(t: Test, create: EngineFactory): void {
  const engine = create(configOf('1.2', '1.3'))
  testHandshakes(t, engine)
  testRefusals(t, engine)
  testPeerFailures(t, engine)
  testBadFlights(t, engine)
  testVersions(t, create)
  testConversation(t, engine)
}

/** Runs to an accept and holds everything both sides know against each other. */
async function expectAccept(t: Test, engine: TlsEngine, o: PeerOptions, credential: Credential) {
  const exchange = open(engine)
  const report = await runPeer(exchange, { ...o, tls: { ...credential, ...o.tls } })
  const { reply } = report
  if (reply.do !== 'accept') {
    t.fail(`expected accept, got ${JSON.stringify({ ...reply, eap: undefined, ...report })}`)
    return undefined
  }
  t.same(reply.msk, report.msk, 'MSK')
  t.same(reply.emsk, report.emsk, 'EMSK')
  t.same(reply.sessionId, Buffer.concat([Buffer.from([13]), report.methodId]), 'Session-Id')
  t.equal(reply.msk.length + reply.emsk.length + reply.sessionId.length, 64 + 64 + 65)
  t.same(reply.certificate, derOf(credential), 'the certificate in DER')
  t.equal(report.secured, true, 'the client finished')
  t.equal(report.tickets, 0, 'no session ticket')
  t.equal(reply.facts.resumed, false)
  t.equal(`TLSv${reply.facts.version}`, report.protocol)
  t.equal(report.data.toString('hex'), reply.facts.version === '1.3' ? '00' : '', 'commitment')
  t.equal(exchange.done, true)
  return { report, reply }
}

function testHandshakes(t: Test, engine: TlsEngine): void {
  const credentials = { p256, ed25519, rsa }
  for (const version of versions) {
    for (const [name, credential] of Object.entries(credentials)) {
      t.test(`L8 L10 RFC 9190 §2.3 §2.5, RFC 5216 §2.3: TLS ${version} with ${name}`, async (t) => {
        const tls = only(version)
        const seen = await expectAccept(t, engine, { tls }, credential)
        t.equal(seen?.report.rounds, 4)
        t.equal(seen?.reply.facts.group, 'X25519')
        t.match(seen?.reply.facts.cipher, /^TLS_/)
      })
    }
    for (const lengthIncluded of ['fragmented', 'never', 'always'] as const) {
      t.test(
        `L2 L3 RFC 9190 §2.1.9: TLS ${version}, fragments of 100, L ${lengthIncluded}`,
        async (t) => {
          const o = {
            tls: only(version),
            fragmentSize: 100,
            serverFragmentSize: 106,
            lengthIncluded,
          }
          const seen = await expectAccept(t, engine, o, p256)
          for (const packet of seen?.report.packets ?? []) t.ok(packet.length <= 106)
          t.ok((seen?.report.rounds ?? 0) > 10)
        },
      )
    }
    t.test(`TLS ${version}: a ClientHello spread over TLS records of 40 octets`, async (t) => {
      const tamper = (flight: Buffer, n: number) => (n === 0 ? respread(flight, 40) : flight)
      await expectAccept(t, engine, { tls: only(version), tamper }, p256)
    })
    t.test(`L17: TLS ${version} on P-256 only, and every cipher offered`, async (t) => {
      const ciphers =
        version === '1.3'
          ? ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256']
          : ['ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-ECDSA-AES256-GCM-SHA384']
      for (const cipher of ciphers) {
        const tls = { ...only(version), ciphers: cipher, ecdhCurve: 'P-256' }
        const seen = await expectAccept(t, engine, { tls }, p256)
        t.equal(seen?.reply.facts.group, 'P-256')
      }
    })
  }
  t.test('L15 RFC 9190 §2.1.6: HelloRetryRequest costs one round', async (t) => {
    const tls = { ...only('1.3'), ecdhCurve: 'P-521:P-256' }
    const seen = await expectAccept(t, engine, { tls }, p256)
    t.equal(seen?.report.rounds, 5)
    t.equal(seen?.reply.facts.group, 'P-256')
  })
  t.test(
    'a secp256k1 certificate on TLS 1.2, with the curve in the list of the client',
    async (t) => {
      const tls = { ...only('1.2'), ecdhCurve: 'P-256:secp256k1' }
      await expectAccept(t, engine, { tls }, secp256k1)
    },
  )
  t.test('a session is never resumed, whatever the client kept', async (t) => {
    for (const version of versions) {
      const tls = { ...p256, ...only(version) }
      const first = openClient(tls)
      let session: Buffer | undefined
      first.socket.on('session', (kept: Buffer) => {
        session = kept
      })
      await expectAcceptWith(t, engine, first)
      session ??= first.socket.getSession()
      first.close()
      if (session === undefined) throw new Error('the client keeps no session')
      await expectAccept(t, engine, { tls: { ...only(version), session } }, p256)
    }
  })
}

/** The shortest drive of an engine with a client that the caller keeps. */
async function expectAcceptWith(t: Test, engine: TlsEngine, client: ReturnType<typeof openClient>) {
  const conversation = engine.open()
  await establish(conversation, client)
  t.equal(client.seen.secured, true)
  conversation.close()
}

function testRefusals(t: Test, engine: TlsEngine): void {
  const alerts = [
    { alert: Alert.accessDenied, code: 'ERR_SSL_TLSV1_ALERT_ACCESS_DENIED' },
    { alert: Alert.certificateRevoked, code: 'ERR_SSL_SSL/TLS_ALERT_CERTIFICATE_REVOKED' },
    { alert: Alert.badCertificate, code: 'ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE' },
  ]
  const cases = [
    { version: '1.2', ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' },
    { version: '1.3', ciphers: 'TLS_AES_128_GCM_SHA256' },
    { version: '1.3', ciphers: 'TLS_AES_256_GCM_SHA384' },
    { version: '1.3', ciphers: 'TLS_CHACHA20_POLY1305_SHA256' },
  ] as const
  for (const { version, ciphers } of cases) {
    for (const { alert, code } of alerts) {
      t.test(`L6 L7 RFC 9190 §2.1.4: TLS ${version} ${ciphers}, alert ${alert}`, async (t) => {
        const exchange = open(engine, { accept: false, alert, reason: 'no-escrow' })
        const report = await runPeer(exchange, { tls: { ...p256, ...only(version), ciphers } })
        t.equal(report.error, code, 'the client reads the alert')
        t.match(report.reply, { do: 'reject', reason: 'no-escrow' })
        t.equal(report.rounds, 4, 'the alert is acknowledged before the EAP-Failure')
        t.same(report.data, Buffer.alloc(0))
        if (version === '1.2') t.equal(report.secured, false, 'our Finished has not left')
      })
    }
  }
}

function testPeerFailures(t: Test, engine: TlsEngine): void {
  for (const version of versions) {
    t.test(
      `L7: TLS ${version} without a certificate ends with an alert and no accept`,
      async (t) => {
        const report = await runPeer(open(engine), { tls: only(version) })
        t.match(report.reply, { do: 'reject', reason: 'tls-no-certificate' })
        t.equal(
          report.error,
          version === '1.3'
            ? 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED'
            : 'ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE',
        )
      },
    )
  }
  t.test('a secp256k1 certificate on TLS 1.3 is not sent, so there is none', async (t) => {
    const tls = { ...secp256k1, ...only('1.3'), ecdhCurve: 'P-256:secp256k1' }
    const { reply } = await runPeer(open(engine), { tls })
    t.match(reply, { do: 'reject', reason: 'tls-no-certificate' })
  })
  t.test(
    'L6 RFC 9190 Figure 5: a peer that does not trust us sends an alert, and gets EAP-Failure',
    async (t) => {
      const alert12 = await runPeer(open(engine), {
        tls: { ...p256, ...only('1.2') },
        tamper: (flight, n) => (n === 1 ? Buffer.from('15030300020230', 'hex') : flight),
      })
      t.match(alert12.reply, { do: 'reject', reason: 'tls-alert-unknown-ca' })
      t.equal(alert12.rounds, 3, 'nothing is sent after the alert of the peer')
      const conversation = engine.open()
      const outcome = await conversation.feed(await untrustingFlight(conversation))
      t.match(outcome, { status: 'failed', reason: 'tls-alert-unknown-ca', bytes: Buffer.alloc(0) })
      conversation.close()
    },
  )
}

function testBadFlights(t: Test, engine: TlsEngine): void {
  for (const version of versions) {
    t.test(`TLS ${version}: half a record, at every flight, fails and does not hang`, async (t) => {
      for (const n of [0, 1]) {
        for (const cut of [1, 10, 60]) {
          const tamper = (flight: Buffer, at: number) =>
            at === n ? flight.subarray(0, flight.length - cut) : flight
          const { reply } = await runPeer(open(engine), {
            tls: { ...p256, ...only(version) },
            tamper,
          })
          t.match(
            reply,
            { do: 'reject', reason: 'tls-incomplete-flight' },
            `flight ${n} less ${cut}`,
          )
        }
      }
    })
    t.test(
      `TLS ${version}: a flipped bit or extra bytes in the last flight is never accepted`,
      async (t) => {
        const tails = ['hello', '\x17\x03\x03\x00\x05abcde', '\x15\x03\x03\x00\x02\x02\x30']
        const bends = [
          ...tails.map(
            (tail) => (flight: Buffer) => Buffer.concat([flight, Buffer.from(tail, 'latin1')]),
          ),
          ...[0, 1, 3, 4, 9, 200, 420, -1, -20, -60].map((at) => (flight: Buffer) => {
            const bent = Buffer.from(flight)
            const index = (at + bent.length) % bent.length
            bent.writeUInt8((bent[index] ?? 0) ^ 1, index)
            return bent
          }),
        ]
        for (const [index, bend] of bends.entries()) {
          const tamper = (flight: Buffer, n: number) => (n === 1 ? bend(flight) : flight)
          const report = await runPeer(open(engine), { tls: { ...p256, ...only(version) }, tamper })
          t.equal(report.reply.do, 'reject', `bend ${index}`)
          if (version === '1.2') t.equal(report.secured, false, 'our Finished has not left')
        }
      },
    )
  }
  t.test('bytes that are not TLS', async (t) => {
    const flights = [
      'GET / HTTP/1.0\r\n\r\n',
      '\x16',
      '\x16\x03\x01',
      '\x80\x2e\x01\x03\x01',
      '\x00',
    ]
    for (const text of flights) {
      const tamper = () => Buffer.from(text, 'latin1')
      const { reply, rounds } = await runPeer(open(engine), { tls: p256, tamper })
      t.match(
        reply,
        { do: 'reject', reason: /^tls-(garbage|incomplete-flight)$/ },
        JSON.stringify(text),
      )
      t.equal(rounds, 2)
    }
  })
}

function testVersions(t: Test, create: EngineFactory): void {
  t.test('tlsMin and tlsMax are kept', async (t) => {
    const refused = [
      { engine: create(configOf('1.3', '1.3')), tls: only('1.2') },
      { engine: create(configOf('1.2', '1.2')), tls: only('1.3') },
    ]
    for (const { engine, tls } of refused) {
      const report = await runPeer(open(engine), { tls: { ...p256, ...tls } })
      t.match(report.reply, { do: 'reject', reason: 'tls-protocol-version' })
      t.equal(report.error, 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION')
      for (const version of versions) {
        if (only(version).minVersion === tls.minVersion) continue
        await expectAccept(t, engine, { tls: {} }, p256)
      }
    }
  })
  t.test('a key that does not belong to the certificate is refused at once', async (t) => {
    t.throws(() => create({ ...configOf('1.2', '1.3'), privateKeyPem: p256.key }))
    t.throws(() => create({ ...configOf('1.2', '1.3'), certificatePem: 'nothing' }))
  })
}

function testConversation(t: Test, engine: TlsEngine): void {
  t.test('nothing is given before the handshake is over, and nothing twice', async (t) => {
    for (const version of versions) {
      const client = openClient({ ...p256, ...only(version) })
      const conversation = engine.open()
      for (const call of [
        () => conversation.commit(),
        () => conversation.refuse(49),
        () => conversation.peerCertificate(),
        () => conversation.keys(),
        () => conversation.facts(),
      ]) {
        t.throws(call)
      }
      const first = await conversation.feed(await client.exchange(Buffer.alloc(0)))
      if (first.status !== 'continue') throw new Error(first.status)
      t.throws(() => conversation.keys())
      t.throws(() => conversation.commit())
      const second = await conversation.feed(await client.exchange(first.bytes))
      t.equal(second.status, 'established')
      t.ok(conversation.commit().length > 0)
      t.equal(conversation.keys().msk.length, 64, 'keys stay until close')
      t.throws(() => conversation.commit())
      t.throws(() => conversation.refuse(49))
      conversation.close()
      conversation.close()
      t.throws(() => conversation.keys())
      t.match(await conversation.feed(Buffer.from([22])), { status: 'failed' })
      client.close()
    }
  })
  t.test('close while a feed is running', async (t) => {
    const client = openClient({ ...p256 })
    const conversation = engine.open()
    const hello = await client.exchange(Buffer.alloc(0))
    const feeding = conversation.feed(hello.subarray(0, hello.length - 1))
    conversation.close()
    t.match(await feeding, { status: 'failed', bytes: Buffer.alloc(0) })
    client.close()
  })
  t.test('twenty conversations at once keep apart', async (t) => {
    const runs = Array.from({ length: 20 }, (_, i) =>
      runPeer(open(engine), {
        tls: { ...(i % 2 ? p256 : ed25519), ...only(i % 4 < 2 ? '1.2' : '1.3') },
      }),
    )
    const secrets = new Set<string>()
    for (const [i, { reply, msk }] of (await Promise.all(runs)).entries()) {
      if (reply.do !== 'accept') throw new Error(reply.do)
      t.same(reply.msk, msk)
      t.same(reply.certificate, derOf(i % 2 ? p256 : ed25519))
      secrets.add(msk.toString('hex'))
    }
    t.equal(secrets.size, 20)
  })
}
