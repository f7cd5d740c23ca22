// OCSP stapling by the native engine, against node:tls clients that ask for it: they get exactly
// the octets that were set, those of the moment, and nothing where there are none. What is in them
// is of no concern here: test/certs/ocsp.test.ts, test/interop/ocsp.test.ts.

import { createHash, randomBytes } from 'node:crypto'
import t from 'tap'
import type { TlsEngineConfig } from '../../eap/engine.ts'
import { createNodeTlsEngine } from '../../eap/tls.ts'
import { p256, server } from './credentials.ts'
import { nativeEngine } from './engine-file.ts'
import { establish, openClient } from './peer.ts'

const create = nativeEngine()
const config: TlsEngineConfig = {
  certificatePem: server.cert,
  privateKeyPem: server.key,
  tlsMin: '1.2',
  tlsMax: '1.3',
}

/** As in eap/native/ocsp.h: one octet more, and OpenSSL's clients refuse it in TLS 1.2. */
const OCSP_BYTES_MAX = 16_380
const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const
type Version = (typeof VERSIONS)[number]
type Engine = ReturnType<typeof create>

/** What a client that asks, or does not, is told in one handshake; null: that nothing is there. */
async function stapled(
  engine: Engine,
  version: Version,
  o: { asks?: boolean; groups?: string; session?: Buffer | undefined },
) {
  const only = { minVersion: version, maxVersion: version }
  const ecdhCurve = o.groups ?? 'X25519:P-256'
  const resumes = o.session && { session: o.session }
  const tls = { ...p256, ...only, ecdhCurve, requestOCSP: o.asks ?? true, ...resumes }
  const client = openClient(tls)
  let told: Buffer | null | undefined
  let session: Buffer | undefined
  client.socket.on('session', (kept: Buffer) => {
    session = kept
  })
  client.socket.on('OCSPResponse', (response: Buffer | null) => {
    told = response
  })
  const conversation = engine.open()
  await establish(conversation, client)
  const { resumed } = conversation.facts()
  const { secured } = client.seen
  client.close()
  conversation.close()
  return { login: { secured, told }, session, resumed }
}

for (const version of VERSIONS) {
  t.test(`L14 RFC 6066 §8, RFC 8446 §4.4.2.1: ${version} staples what is set`, async (t) => {
    const engine = create(config)
    const secured = true
    t.same((await stapled(engine, version, {})).login, { secured, told: null }, 'none at first')
    for (const length of [1, 300, OCSP_BYTES_MAX]) {
      const response = randomBytes(length)
      const given = Buffer.from(response)
      engine.setOcspResponse?.(given)
      given.fill(0)
      t.same(
        (await stapled(engine, version, {})).login,
        { secured, told: response },
        `${length} octets`,
      )
    }
    const unasked = await stapled(engine, version, { asks: false })
    t.same(unasked.login, { secured, told: undefined }, 'a client that does not ask')
    const retried = await stapled(engine, version, { groups: 'P-521:P-256' })
    t.equal(retried.login.told?.length, OCSP_BYTES_MAX, 'after a HelloRetryRequest')
    engine.setOcspResponse?.(undefined)
    t.same((await stapled(engine, version, {})).login, { secured, told: null }, 'none again')
  })
}

t.test(
  'L11, L14: who asks is told in TLS 1.3, in a full handshake in place of a resumed one',
  async (t) => {
    const resumption = { lifetimeSeconds: 3_600, nowSeconds: () => Math.floor(Date.now() / 1000) }
    const engine = create({ ...config, resumption })
    engine.setTicketKeys?.([randomBytes(80)])
    const response = Buffer.from('told')
    engine.setOcspResponse?.(response)
    for (const version of VERSIONS) {
      const { session } = await stapled(engine, version, {})
      const again = await stapled(engine, version, { session })
      const isFull = version === 'TLSv1.3'
      t.match(again, { resumed: !isFull, login: { secured: true } }, `${version}, asks`)
      t.same(again.login.told, isFull ? response : undefined)
      const unasked = await stapled(engine, version, { session, asks: false })
      t.match(unasked, { resumed: true, login: { secured: true } }, `${version}, does not ask`)
    }
    const { session } = await stapled(engine, 'TLSv1.3', {})
    engine.setOcspResponse?.(undefined)
    t.equal((await stapled(engine, 'TLSv1.3', { session })).resumed, true, 'nothing to be told')
  },
)

t.test('each engine has its own; a conversation takes that of its first flight', async (t) => {
  const [one, other] = [create(config), create(config)]
  one.setOcspResponse?.(Buffer.from('one'))
  other.setOcspResponse?.(Buffer.from('other'))
  t.equal(String((await stapled(one, 'TLSv1.3', {})).login.told), 'one')
  t.equal(String((await stapled(other, 'TLSv1.3', {})).login.told), 'other')
})

t.test(
  'more than the limit, and what is no Buffer, are exceptions; the old one stays',
  async (t) => {
    const engine = create(config)
    engine.setOcspResponse?.(Buffer.from('kept'))
    const wrong = [Buffer.alloc(OCSP_BYTES_MAX + 1), 'text', 1, {}]
    for (const value of wrong) {
      t.throws(() => engine.setOcspResponse?.(value as Buffer), { name: 'TypeError' })
    }
    t.equal(String((await stapled(engine, 'TLSv1.2', {})).login.told), 'kept')
    // node:crypto reads the same error queue: it must find nothing there.
    t.equal(createHash('sha256').update('').digest('hex').slice(0, 8), 'e3b0c442')
  },
)

t.test('no memory grows with responses that were replaced', async (t) => {
  const engine = create(config)
  const response = randomBytes(OCSP_BYTES_MAX)
  const replace = (times: number): void => {
    for (let n = 0; n < times; n++) engine.setOcspResponse?.(response)
  }
  replace(1_000)
  const before = process.memoryUsage.rss()
  replace(20_000)
  const grown = process.memoryUsage.rss() - before
  t.ok(grown < 64 * 1024 * 1024, `${grown} octets for 320 MiB of responses`)
})

t.test('the engine over node:tls says that it staples nothing, and works', async (t) => {
  const engine = createNodeTlsEngine(config)
  t.equal(engine.setOcspResponse, undefined)
  for (const version of VERSIONS) {
    t.same((await stapled(engine, version, {})).login, { secured: true, told: null })
  }
})
