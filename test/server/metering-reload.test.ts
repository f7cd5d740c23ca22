// What `datanet reload` changes of metering keys and reports: the very doors that a device uses,
// over HTTP, before and after POST /v1/reload of a changed configuration and changed files.

import { pino } from 'pino'
import t, { type Test } from 'tap'
import { encodeReport, reportEvidence, reportMessage } from '../../attestation/usage-report.ts'
import { readConfig } from '../../server/config-source.ts'
import { createReload } from '../../server/reload.ts'
import type { Runtime } from '../../server/runtime.ts'
import { accountNamed } from '../accounting/vouchers.ts'
import { octets, recorded } from '../attestation/tpm-recorded.ts'
import { attestationFolder } from './attestation-rig.ts'
import { assertionOf, enrolmentOf, newMeteringKey } from './enrolment-rig.ts'
import { rig as httpRig } from './http-rig.ts'
import { alice, ID, meteringWorld } from './metering-world.ts'

const APP_ID = 'A1B2C3D4E5.org.example.meter'

/** A server with books, whose configuration is a file. */
async function served(t: Test) {
  const { world, chain, metering, ledger, join } = await meteringWorld(t)
  const { at, write } = attestationFolder(t)
  const configure = (lines: string): void =>
    write(
      'datanet.yaml',
      `operator: { name: x }
tariffs: { standard: { per_minute: "1", per_megabyte: "1" } }
clients: [{ name: lobby, ipaddr: 127.0.0.1, secret: k7mw4xq2np9rt3vy }]
${lines}
`,
    )
  const first = world.runtime
  const build: Parameters<typeof createReload>[0]['build'] = (config, certificate, policies) =>
    ({ ...first, config, certificate, policies }) as Runtime
  configure('')
  const read = readConfig(at('datanet.yaml'))
  if ('problems' in read) throw new Error(JSON.stringify(read.problems))
  world.runtime = build(read.config, first.certificate, read.policies)
  const reload = createReload({
    ...{ configPath: at('datanet.yaml'), log: pino({ level: 'silent' }), build },
    runtime: () => world.runtime,
    replace: (next) => {
      world.runtime = next
    },
    loadCertificate: () => first.certificate,
    pinnedSpki: () => [],
  })
  const { call } = await httpRig(t, {
    ...{ metering, reload, facts: chain.facts, mirror: chain.mirror },
    ...{ runtime: () => world.runtime, now: () => world.nowMs, wallNow: () => world.nowMs },
  })
  type Answer = Record<string, unknown> & { readonly status: number }
  const post = async (path: string, body: object, headers: object = {}): Promise<Answer> => {
    const answer = await call('POST', path, { body, headers })
    const parsed: Record<string, unknown> = answer.json()
    return { ...parsed, status: answer.status }
  }
  return {
    ...{ world, metering, ledger, join, write, post },
    /** The file as it is then, put in force by the operator's request. */
    async reload(lines: string): Promise<Answer> {
      configure(lines)
      const done = await post('/v1/reload', {}, { authorization: 'Bearer the-token' })
      t.match(done, { status: 200 })
      return done
    },
  }
}

const pem = (der: Buffer): string =>
  `-----BEGIN CERTIFICATE-----\n${der.toString('base64')}\n-----END CERTIFICATE-----\n`

t.test('a first step of a TPM: by the section and the files that are in force', async (t) => {
  const { post, reload, write } = await served(t)
  const { first, root } = recorded('rsa')
  const begin = () => post('/v1/metering-keys/challenge', { consumer: alice, tpm: first })
  t.match(await begin(), { status: 422, error: { code: 'unsupported' } })
  await reload('attestation: { tpm: {} }')
  t.match(await begin(), { status: 422, error: { code: 'unpinned-root' } })
  write('maker.pem', pem(octets(root)))
  t.match(await begin(), { status: 422 }, 'not before the reload')
  await reload('attestation: { tpm: { roots: [maker.pem] } }')
  t.match(await begin(), { status: 200, tpm: { ticket: /./ } })
  write('maker.pem', pem(octets(recorded('ecc').root)))
  t.match(await begin(), { status: 200 }, 'not before the reload')
  await reload('attestation: { tpm: { roots: [maker.pem] } }')
  t.match(
    await begin(),
    { status: 422, error: { code: 'unpinned-root' } },
    'the same file, changed',
  )
  await reload('')
  t.match(await begin(), { status: 422, error: { code: 'unsupported' } })
})

t.test('how long a key counts that is enrolled now', async (t) => {
  const { world, post, reload } = await served(t)
  const lasts = async () => {
    const { nonce } = await post('/v1/metering-keys/challenge', { consumer: alice })
    const answer = await post(
      '/v1/metering-keys',
      enrolmentOf('alice', newMeteringKey(), `${nonce}`),
    )
    t.equal(answer.status, 200)
    return Number(answer['expiresAt']) - world.nowMs / 1_000
  }
  t.equal(await lasts(), 86_400)
  await reload('billing: { reattest_after: 2h }')
  t.equal(await lasts(), 7_200)
})

t.test('reports that carry assertions: by the apps that are taken now', async (t) => {
  const { world, metering, ledger, join, post, reload } = await served(t)
  join()
  const key = newMeteringKey()
  ledger.enrol({
    ...{ account: accountNamed('alice'), publicKey: key.publicKey.toString('base64url') },
    ...{ scheme: 'app-attest', trust: 'hardware' },
    ...{ enrolledAtMs: world.nowMs, expiresAtMs: world.nowMs + 86_400_000 },
  })
  const report = async (sequence: number) => {
    const message = encodeReport({
      ...{ session: ID, sequence, time: world.nowMs / 1_000, inputOctets: 1n, outputOctets: 1n },
      nonce: Buffer.from(metering.reports.nonceOf(ID), 'base64url'),
    })
    const assertion = assertionOf(key, reportMessage(message), sequence, APP_ID)
    const evidence = reportEvidence(message, { form: 'assertion', octets: assertion })
    return (await post('/v1/usage', { consumer: alice, session: ID, evidence }))['usage']
  }
  t.match(await report(1), { accepted: false, reason: 'bad-signature' })
  await reload(`attestation: { app_attest: { apps: [${APP_ID}] } }`)
  t.match(await report(2), { accepted: true, trust: 'hardware' })
  await reload('attestation: { app_attest: { apps: [A1B2C3D4E5.org.example.other] } }')
  t.match(await report(3), { accepted: false, reason: 'bad-signature' })
})

t.test('a public URL that changed: said that the contract learns of it at a restart', async (t) => {
  const { reload } = await served(t)
  const url = 'http: { public_url: "http://wifi.example" }'
  const message = /^changed: .* the contract names the old one until you restart the server$/
  t.match(await reload(url), { warnings: [{ path: 'http.public_url', message }] })
  const moved = 'http: { public_url: "http://wifi.example", listen: "127.0.0.1:1" }'
  const old = /^changed: restart the server, until then the old value counts$/
  const { warnings } = await reload(moved)
  t.match(warnings, [
    { path: 'http.listen', message: old },
    { path: 'http.public_url', message },
  ])
  t.same((await reload(''))['warnings'], [], 'changed back')
})
