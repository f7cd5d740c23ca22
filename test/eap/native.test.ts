// The native engine: the suite that every engine passes, and what its addon does with arguments and
// calls that are wrong. Without a compiler this file fails. Storms and memory: test/sim/engine.

import { createHash, createPrivateKey, randomBytes, X509Certificate } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { TlsEngineConfig } from '../../eap/engine.ts'
import { openExchange } from '../../eap/exchange.ts'
import { loadNativeTlsEngine } from '../../eap/native.ts'
import { p256, rsa, server } from './credentials.ts'
import { testEngine } from './engine-conformance.ts'
import { nativeAddon, nativeEngine } from './engine-file.ts'
import { openClient, runPeer } from './peer.ts'

const create = nativeEngine()
const addon = nativeAddon()

testEngine(t, create)

const config: TlsEngineConfig = {
  certificatePem: server.cert,
  privateKeyPem: server.key,
  tlsMin: '1.2',
  tlsMax: '1.3',
}
const engine = create(config)

/** The flights of one good handshake, up to the last of the client. */
async function flightsOf(version: 'TLSv1.2' | 'TLSv1.3') {
  const client = openClient({ ...p256, minVersion: version, maxVersion: version })
  const conversation = engine.open()
  const hello = await client.exchange(Buffer.alloc(0))
  const first = await conversation.feed(hello)
  if (first.status !== 'continue') throw new Error(first.status)
  const last = await client.exchange(first.bytes)
  client.close()
  return { hello, last, conversation }
}

t.test('it names itself', async (t) => {
  t.equal(engine.name, 'native')
})

t.test('a chain is sent as given, RSA keys serve, broken PEMs do not', async (t) => {
  const chain = create({ ...config, certificatePem: server.cert + p256.cert })
  const limits = { roundsMax: 50, messageBytesMax: 65_536 }
  const authorize = () => ({ accept: true }) as const
  const exchange = openExchange({ engine: chain, limits, random: randomBytes, authorize })
  t.match((await runPeer(exchange, { tls: p256 })).reply, { do: 'accept' })
  t.ok(create({ ...config, certificatePem: rsa.cert, privateKeyPem: rsa.key }))
  t.ok(create({ ...config, certificatePem: server.cert + p256.cert.repeat(10) }))
  const locked = { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' } as const
  const encrypted = createPrivateKey(server.key).export(locked).toString()
  const broken = [
    {
      certificatePem: `${server.cert}-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n`,
    },
    { certificatePem: server.cert + p256.cert.repeat(11) },
    { certificatePem: '' },
    { privateKeyPem: '' },
    { privateKeyPem: encrypted },
    { privateKeyPem: p256.key },
  ]
  for (const change of broken) t.throws(() => create({ ...config, ...change }))
})

t.test('wrong arguments are exceptions, whatever they are', async (t) => {
  const { conversation } = await flightsOf('TLSv1.3')
  conversation.close()
  const context = contextOf()
  const handle = addon.open(context, 0, 0)
  const strangers = [undefined, null, 1, 'x', {}, [], Buffer.alloc(9), Symbol('x'), () => 1]
  const table = Object.entries(addon) as [string, (...words: unknown[]) => unknown][]
  t.equal(table.length, 10)
  for (const [name, call] of table) {
    t.throws(() => call(), { name: 'TypeError' }, `${name} without arguments`)
    for (const stranger of [...strangers, name === 'open' ? handle : context]) {
      const words = [stranger, ...strangers.slice(0, 7)]
      t.throws(() => call(...words), { name: 'TypeError' }, `${name} with ${typeof stranger}`)
    }
  }
  for (const stranger of [undefined, 'x', {}, Buffer.alloc(65_537)]) {
    t.throws(() => addon.feed(handle, stranger as Buffer), { name: 'TypeError' })
  }
  // A cut list must not pass for a whole one, wherever the cut falls.
  for (const end of ['\u{1F600}', '\u20AC', '\u00E9', 'x', '\0x']) {
    const list = `ECDHE-ECDSA-AES128-GCM-SHA256:${'x'.repeat(480)}${end}`
    t.throws(() => contextOf(list), { name: 'TypeError' })
  }
  t.throws(() => addon.exportKey(handle, 64, 'x'), /too few arguments/)
  t.throws(() => addon.exportKey(handle, 64, 'x', undefined), /not established/)
  t.throws(() => addon.get(handle, 99 as 1), /not established/)
  t.throws(() => addon.commit(handle), /not established/)
})

const contextOf = (ciphers = 'ECDHE-ECDSA-AES128-GCM-SHA256') => {
  const words = [ciphers, 'TLS_AES_128_GCM_SHA256'] as const
  const pems = [Buffer.from(server.cert), Buffer.from(server.key)] as const
  return addon.createContext(...pems, 0x0303, 0x0304, ...words, 'ecdsa_secp256r1_sha256', 'P-256')
}

t.test('a closed conversation is closed', async (t) => {
  const handle = addon.open(contextOf(), 0, 0)
  addon.close(handle)
  addon.close(handle)
  const calls = [
    () => addon.feed(handle, Buffer.from([22])),
    () => addon.take(handle),
    () => addon.commit(handle),
    () => addon.exportKey(handle, 64, 'x', undefined),
    () => addon.get(handle, 0),
  ]
  for (const call of calls) t.throws(call, /closed/)
})

t.test('established: the last flight is withheld, and there is no second handshake', async (t) => {
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const only = { minVersion: version, maxVersion: version, ecdhCurve: 'P-256' } as const
    const client = openClient({ ...p256, ...only })
    const handle = addon.open(contextOf(), 0, 0)
    t.equal(addon.feed(handle, await client.exchange(Buffer.alloc(0))), 0)
    t.throws(() => addon.get(handle, 4), /not established/)
    t.equal(addon.feed(handle, await client.exchange(addon.take(handle))), 1)
    t.throws(() => addon.take(handle), /withheld/)
    t.throws(() => addon.feed(handle, Buffer.from([22])), /over/)
    t.throws(() => addon.get(handle, 99 as 1), /no such field/)
    for (const length of [0, -1, 257, 1e9]) {
      t.throws(() => addon.exportKey(handle, length, 'x', undefined), /out of range/)
    }
    t.ok(addon.commit(handle).length > 20)
    client.close()
  }
})

t.test('RFC 8879: no peer is asked to compress its certificate', async (t) => {
  const certificates = 8
  const der = new X509Certificate(p256.cert).raw.length
  const cert = p256.cert.repeat(certificates)
  const client = openClient({ ...p256, cert, minVersion: 'TLSv1.3', ecdhCurve: 'P-256' })
  const handle = addon.open(contextOf(), 0, 0)
  t.equal(addon.feed(handle, await client.exchange(Buffer.alloc(0))), 0)
  const flight = await client.exchange(addon.take(handle))
  t.ok(flight.length > certificates * der, `${flight.length} octets`)
  t.equal(addon.feed(handle, flight), 1)
  client.close()
})

t.test('an error of one conversation is not that of the next, or of node:crypto', async (t) => {
  const bad = engine.open()
  t.match(await bad.feed(Buffer.from('160301000401000000', 'hex')), { status: 'failed' })
  t.throws(() => create({ ...config, privateKeyPem: 'x' }))
  t.equal(createHash('sha256').update('').digest('hex').slice(0, 8), 'e3b0c442')
  const { conversation, last } = await flightsOf('TLSv1.3')
  t.match(await conversation.feed(last), { status: 'established' })
  conversation.close()
})

t.test('where there is no addon, or not one of ours, it says why', async (t) => {
  const none = loadNativeTlsEngine('/nonexistent/engine.node')
  t.same(none, { unavailable: 'it was not built on this machine' })
  const file = join(t.testdir({}), 'engine.node')
  writeFileSync(file, 'not a library')
  t.match(loadNativeTlsEngine(file), { unavailable: /file too short|invalid ELF|not/ })
})
