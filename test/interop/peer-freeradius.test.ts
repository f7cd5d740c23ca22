// The test peer against FreeRADIUS: before it judges our server it has to agree with somebody
// else's. Starts two FreeRADIUS and a hostapd, which names the EAP Session-Id, on free loopback
// ports.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { startFreeRadius, startHostapd } from '../../bench/peers.ts'
import { makePki, makeSelfSigned } from '../peer/certificates.ts'
import { authenticate, type PeerOptions } from '../peer/peer.ts'
import { createSupplicant, type SupplicantOptions, type TlsVersion } from '../peer/tls.ts'
import { openTransport } from '../peer/transport.ts'

const VERSIONS: readonly TlsVersion[] = ['1.2', '1.3']
const EAP_KEY_NAME = 102

const directory = mkdtempSync(join(tmpdir(), 'datanet-peer-'))
const pki = makePki(directory, 1)
const stranger = makeSelfSigned(directory, 'stranger', ['basicConstraints=critical,CA:FALSE'])
const [client] = pki.clients
const settings = {
  secret: 'a-secret-of-the-test',
  certificatePem: pki.server.certificatePem,
  keyPem: pki.server.keyPem,
  clientCaPem: pki.ca.certificatePem,
  curve: 'prime256v1',
}
const [freeRadius, freeRadiusSmall, hostapd] = await Promise.all([
  startFreeRadius({ ...settings, directory: join(directory, 'freeradius'), fragmentSize: 1400 }),
  startFreeRadius({ ...settings, directory: join(directory, 'small'), fragmentSize: 100 }),
  startHostapd({ ...settings, directory: join(directory, 'hostapd'), fragmentSize: 1400 }),
])
const open = ({ port }: { port: number }, secret = settings.secret, giveUpMs = 10_000) =>
  openTransport({ host: '127.0.0.1', port, secret: Buffer.from(secret), giveUpMs })
const transports = [freeRadius, freeRadiusSmall, hostapd].map((server) => open(server))
const [nas = open(freeRadius), nasSmall = nas, nasHostapd = nas] = transports

t.teardown(async () => {
  for (const transport of transports) transport.close()
  await Promise.all([freeRadius.stop(), freeRadiusSmall.stop(), hostapd.stop()])
  rmSync(directory, { recursive: true, force: true })
})

const trust = { caPem: pki.ca.certificatePem, serverName: pki.serverName }

function talk(
  tlsVersion: TlsVersion,
  tls: Partial<SupplicantOptions> = {},
  options: Partial<PeerOptions> = {},
) {
  // FreeRADIUS offers this group only, and in fragments of 100 it loses its way after a
  // HelloRetryRequest.
  const basics = { tlsMin: tlsVersion, tlsMax: tlsVersion, groups: 'P-256' }
  const supplicant = createSupplicant({ ...basics, ...client, trust, ...tls })
  return authenticate({ transport: nas, supplicant, identity: 'anonymous@peer.test', ...options })
}

for (const tlsVersion of VERSIONS) {
  t.test(`RFC 5216, RFC 9190: TLS ${tlsVersion} is accepted with equal keys`, async (t) => {
    const result = await talk(tlsVersion)
    t.match(result, { outcome: 'accept', keysMatch: true, eapCode: 3, tlsVersion })
    // RFC 9190 §2.5: the commitment is one octet 0x00 in TLS 1.3; 1.2 has none.
    t.equal(result.applicationData.toString('hex'), tlsVersion === '1.3' ? '00' : '')
  })

  t.test(`RFC 5216 §2.1.5: TLS ${tlsVersion} in fragments of 100 octets, both ways`, async (t) => {
    const plain = await talk(tlsVersion)
    const cut = await talk(tlsVersion, {}, { fragmentSize: 100 })
    t.match(cut, { outcome: 'accept', keysMatch: true })
    t.ok(cut.rounds >= plain.rounds + 7, `${cut.rounds} rounds, ${plain.rounds} without`)
    const cutByServer = await talk(tlsVersion, {}, { fragmentSize: 100, transport: nasSmall })
    t.match(cutByServer, { outcome: 'accept', keysMatch: true })
    t.ok(cutByServer.rounds >= cut.rounds + 7, `${cutByServer.rounds} rounds`)
  })

  t.test(`TLS ${tlsVersion} with a certificate of nobody's is rejected`, async (t) => {
    t.match(await talk(tlsVersion, stranger), { outcome: 'reject', keysMatch: false, eapCode: 4 })
  })

  t.test(`RFC 5216 §2.1.3: TLS ${tlsVersion} without a certificate is rejected`, async (t) => {
    const supplicant = createSupplicant({ tlsMin: tlsVersion, tlsMax: tlsVersion, trust })
    const result = await talk(tlsVersion, {}, { supplicant })
    t.match(result, { outcome: 'reject', keysMatch: false, eapCode: 4 })
  })

  t.test(`TLS ${tlsVersion}: a server under another name, CA or pin is left`, async (t) => {
    for (const wrong of [
      { ...trust, serverName: 'radius.elsewhere.test' },
      { ...trust, caPem: stranger.certificatePem },
      { pinSha256: '00'.repeat(32) },
    ]) {
      t.match(await talk(tlsVersion, { trust: wrong }), { outcome: 'untrusted', keysMatch: false })
    }
  })

  t.test(
    `RFC 5216 §2.3: TLS ${tlsVersion} Session-Id is the EAP-Key-Name of hostapd`,
    async (t) => {
      const result = await talk(tlsVersion, {}, { transport: nasHostapd })
      t.match(result, { outcome: 'accept', keysMatch: true })
      const name = result.attributes.find((attribute) => attribute.type === EAP_KEY_NAME)
      t.equal(name?.value.toString('hex'), result.sessionId?.toString('hex'))
    },
  )
}

t.test('RFC 8446 §4.1.4: a group without a key share costs one round more', async (t) => {
  const direct = await talk('1.3')
  const retried = await talk('1.3', { groups: 'P-521:P-256' })
  t.match(retried, { outcome: 'accept', keysMatch: true, rounds: direct.rounds + 1 })
})

t.test('a conversation is left half open after the rounds asked for', async (t) => {
  const result = await talk('1.3', {}, { abandonAfterRounds: 2 })
  t.match(result, { outcome: 'abandoned', rounds: 2, eapCode: 1, sessionId: undefined })
})

t.test('RFC 2865 §3: with a wrong secret nothing is answered, and it is asked again', async (t) => {
  const transport = openTransport({
    host: '127.0.0.1',
    port: freeRadius.port,
    secret: Buffer.from('not the secret'),
    retryMs: 100,
    giveUpMs: 600,
  })
  t.teardown(() => transport.close())
  t.match(await talk('1.3', {}, { transport }), { outcome: 'timeout', rounds: 1, keysMatch: false })
  t.ok(transport.stats.retransmits >= 2, `${transport.stats.retransmits} retransmissions`)
})

t.test('300 conversations at once share sockets and identifiers without a mix-up', async (t) => {
  const supplicant = createSupplicant({ tlsMin: '1.3', tlsMax: '1.3', ...client })
  const results = await Promise.all(
    Array.from({ length: 300 }, (_, i) =>
      authenticate({ transport: nas, supplicant, identity: `device${i}`, abandonAfterRounds: 1 }),
    ),
  )
  t.equal(results.filter((result) => result.outcome === 'abandoned').length, 300)
})
