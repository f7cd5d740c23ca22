// The files that the section `attestation` names, read from a real folder: what is in them comes
// into force, and what is wrong with one is told with its key, its line and what to do.

import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { pino } from 'pino'
import t from 'tap'
import { TPM_VENDOR_ROOTS } from '../../attestation/roots/tpm.ts'
import { TPM_VENDOR_INTERMEDIATES } from '../../attestation/roots/tpm-intermediates.ts'
import type { Config } from '../../config/config.ts'
import { createVerifiers, type Policies } from '../../server/attestation.ts'
import type { OperatorCertificate } from '../../server/certificate.ts'
import { readConfig } from '../../server/config-source.ts'
import { createReload } from '../../server/reload.ts'
import type { Runtime } from '../../server/runtime.ts'
import { vector as eatVector, type PsaVector, publicOf } from '../attestation/eat-maker.ts'
import { vector } from '../attestation/made-chain.ts'
import { octets, recorded } from '../attestation/tpm-recorded.ts'
import { attestationFolder } from './attestation-rig.ts'

const { at, read, write, policiesOf, problemOf } = attestationFolder(t)
const root = octets(recorded('rsa').root)
const pem = `-----BEGIN CERTIFICATE-----\n${root.toString('base64')}\n-----END CERTIFICATE-----\n`
const leaf = octets(recorded('rsa').first.ekCertificates[0] ?? '')
const HASH = 'ab'.repeat(32)
const APPS = `apps: [{ package: org.datanet, signers: ["${HASH}"] }]`
const apps = [{ packageName: 'org.datanet', signerSha256: [HASH] }]

t.test('nothing is taken that the file does not name', async (t) => {
  t.same(Object.values(policiesOf('{}')).filter(Boolean), [])
  t.same(
    Object.keys(policiesOf('tpm: {}')).filter((name) => name === 'tpm'),
    ['tpm'],
  )
})

t.test('TPM: built-in authorities, and those of the files, beside the configuration', async (t) => {
  const builtIn = [...TPM_VENDOR_ROOTS, ...TPM_VENDOR_INTERMEDIATES].length
  t.equal(policiesOf('tpm: {}').tpm?.roots.length, builtIn)
  write('roots.pem', pem + pem)
  write('root.der', root)
  const both = policiesOf(`tpm: { roots: [roots.pem, ${at('root.der')}] }`).tpm?.roots ?? []
  t.same(
    both.slice(builtIn).map(({ raw }) => raw),
    [root, root, root],
  )
  const digest = 'AB:'.repeat(32).slice(0, -1)
  const lists = policiesOf(`tpm: { revoked: ["${digest}"], endorsement_keys: ["${digest}"] }`)
  t.same(lists.tpm?.revoked, new Set([HASH]), 'as openssl prints them')
  t.same(lists.tpm?.endorsementKeys, new Set([HASH]))
})

t.test('TPM: files that are not there or not what they should be', async (t) => {
  write('leaf.der', leaf)
  write('text.pem', 'not a certificate')
  write('empty.pem', '')
  write('half.pem', pem + pem.replace(/MII/, 'MIJ'))
  mkdirSync(at('folder'))
  const cases: [file: string, says: RegExp][] = [
    ['none.pem', /names .*\/none\.pem, which does not exist; put it there or correct the path/],
    ['folder', /names .*\/folder, which can't be read \(it is no file\)/],
    ['leaf.der', /leaf\.der, which is not all certificates of authorities/],
    ['text.pem', /text\.pem, which is not all certificates of authorities/],
    ['empty.pem', /empty\.pem, which is not all certificates of authorities/],
    ['half.pem', /half\.pem, which is not all certificates of authorities/],
  ]
  write('roots.pem', pem)
  for (const [file, says] of cases) {
    const problem = problemOf(`tpm: { roots: [roots.pem, ${file}] }`)
    t.match(problem, { path: 'attestation.tpm.roots[1]', line: 5, message: says }, file)
  }
  write('large.pem', Buffer.alloc(8 * 1024 * 1024 + 1))
  t.match(problemOf('tpm: { roots: [large.pem] }').message, /more than 8388608 octets/)
})

t.test("Android: Google's list, as old as its file", async (t) => {
  const now = 1_795_000_000
  const part = `android_key: { ${APPS}, revocation_list: status.json, revocation_max_age: 2d }`
  write('status.json', vector('android-key/status.json'), now - 3 * 86_400)
  const stale = read(part, now)
  if ('problems' in stale) throw new Error('refused')
  t.match(stale.warnings, [
    {
      ...{ path: 'attestation.android_key.revocation_list', line: 5 },
      message: /^is older than revocation_max_age: no Android device is taken; fetch it anew from/,
    },
  ])
  const { androidKey } = stale.policies
  t.equal(androidKey?.revocation.fetchedAtSeconds, now - 3 * 86_400)
  t.equal(androidKey?.revocationAgeMaxSeconds, 2 * 86_400)
  t.match(androidKey, { apps, level: 'tee', bootKeys: [] })
  t.notOk(androidKey && 'roots' in androidKey, 'the pinned ones')
  write('status.json', vector('android-key/status.json'), now - 86_400)
  const fresh = read(part, now)
  t.same('warnings' in fresh && fresh.warnings, [])
  for (const wrong of ['', '{', '[]', 'null', '{"entries":[1]}', '{"entries":{"xyz":{}}}']) {
    write('status.json', wrong)
    const { path, message } = problemOf(part)
    t.equal(path, 'attestation.android_key.revocation_list')
    t.match(message, /which is not Google's list in JSON; fetch it: curl -o .*status\.json https:/)
  }
  t.match(problemOf(part.replace('status', 'none')).message, /none\.json, which does not exist/)
})

t.test('App Attest: apps and environments', async (t) => {
  const id = 'V8H6LQ9448.io.uebelacker.AppAttestExample'
  const policy = (rest: string) => policiesOf(`app_attest: { apps: [${id}]${rest} }`).appAttest
  t.same(policy(''), { appIds: [id], environments: ['production'] })
  t.same(policy(', environments: [development]')?.environments, ['development'])
})

t.test('EAT: endorsed keys', async (t) => {
  const psa = eatVector<PsaVector>('psa-rfc9783.json')
  const entry = {
    ...{ by: 'instance-id', id: psa.instance, model: 'example' },
    publicKeyJwk: publicOf(psa.privateKeyJwk),
  }
  const part = `eat: { endorsements: keys.json, profiles: ["${psa.profile}"], client_ids: [-7] }`
  write('keys.json', JSON.stringify([entry]))
  t.same(policiesOf(part).eat, {
    ...{ endorsed: [entry], profiles: [psa.profile], clientIds: [-7], software: [] },
    maxAgeSeconds: 300,
  })
  const hex = Buffer.alloc(48, 1).toString('hex')
  const signed = policiesOf(part.replace('}', `, signers: ["${hex}"] }`))
  t.same(signed.eat?.signers, [Buffer.alloc(48, 1).toString('base64url')])
  const cases: [content: unknown, says: RegExp][] = [
    [{}, /is not a list of endorsed keys/],
    [[], /is not a list of endorsed keys/],
    [[entry, null], /entry 2 is no object/],
    [[{ ...entry, untilSecond: 1 }], /entry 1 has "untilSecond", which is not a key/],
    [[{ ...entry, by: 'kid' }], /entry 1 by: must be "key-id" or "instance-id"/],
    [[{ ...entry, id: 'AA==' }], /entry 1 id: must be/],
    [[{ ...entry, id: '' }], /entry 1 id: must be/],
    [[{ ...entry, publicKeyJwk: psa.privateKeyJwk }], /entry 1 publicKeyJwk: must be the public/],
    [[{ ...entry, publicKeyJwk: { kty: 'EC' } }], /entry 1 publicKeyJwk/],
    [[{ ...entry, model: 7 }], /entry 1 model/],
    [[{ ...entry, untilSeconds: '2030' }], /entry 1 untilSeconds: must be whole Unix seconds/],
    [[entry, { ...entry, model: 'other' }], /entry 2 names the same key again/],
  ]
  for (const [content, says] of cases) {
    write('keys.json', JSON.stringify(content))
    const problem = problemOf(part)
    t.equal(problem.path, 'attestation.eat.endorsements')
    t.match(problem.message, says)
    t.match(problem.message, /keys\.json, which does not fit: .*; correct the file/)
  }
})

t.test('Play Integrity: keys as the console shows them; no secret in a message', async (t) => {
  const spki = (key: KeyObject) => key.export({ format: 'der', type: 'spki' }).toString('base64')
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const other = generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey
  const secret = randomBytes(32).toString('base64')
  const part = (o: object) =>
    `play_integrity: ${JSON.stringify({
      ...{ apps: [{ package: 'org.datanet', signers: [HASH] }] },
      ...{ verification_key: spki(publicKey), ...o },
    })}`
  const { playIntegrity } = policiesOf(part({ secret }))
  t.same(playIntegrity?.decryptionKey, Buffer.from(secret, 'base64'))
  t.equal(playIntegrity?.verificationKey.asymmetricKeyDetails?.namedCurve, 'prime256v1')
  t.match(playIntegrity, { apps, device: 'device', ageMaxSeconds: 300 })
  write('play.secret', `${secret}\n`)
  const fromFile = policiesOf(part({ secret_file: 'play.secret' }))
  t.same(fromFile.playIntegrity?.decryptionKey, Buffer.from(secret, 'base64'))
  const cases: [change: object, path: string, says: RegExp][] = [
    [{}, 'secret', /is missing/],
    [{ secret: ['$', '{UNSET}'].join('') }, 'secret', /variable UNSET, which is not set/],
    [{ secret, secret_file: 'play.secret' }, 'secret_file', /exactly one of them/],
    [{ secret: secret.slice(4) }, 'secret', /must be 32 octets in base64: the response decryption/],
    [{ secret_file: 'keys.json' }, 'secret_file', /must be 32 octets in base64/],
    [{ secret_file: 'none' }, 'secret_file', /can't be read \(ENOENT\)/],
    [
      { secret, verification_key: spki(other) },
      'verification_key',
      /must be a public key on P-256/,
    ],
    [{ secret, verification_key: secret }, 'verification_key', /must be a public key on P-256/],
  ]
  for (const [change, path, says] of cases) {
    const problem = problemOf(part(change))
    t.equal(problem.path, `attestation.play_integrity.${path}`)
    t.match(problem.message, says)
    t.notOk(problem.message.includes(secret.slice(4)), 'the secret is not repeated')
  }
})

t.test('several mistakes are told at once', async (t) => {
  const result = read(`{ tpm: { roots: [a, b] }, android_key: { ${APPS}, revocation_list: c } }`)
  t.same(
    'problems' in result && result.problems.map(({ path }) => path),
    ['tpm.roots[0]', 'tpm.roots[1]', 'android_key.revocation_list'].map((p) => `attestation.${p}`),
  )
})

t.test('a reload brings other policies into force, or with a problem none', async (t) => {
  const certificate = { certificates: [], spkiSha256: 'one' } as unknown as OperatorCertificate
  const configure = (part: string) => {
    const client = 'clients: [{ name: lobby, ipaddr: 127.0.0.1, secret: k7mw4xq2np9rt3vy }]'
    write(
      'datanet.yaml',
      `operator: { name: x }
tariffs: { standard: { per_minute: "1", per_megabyte: "1" } }
${client}
attestation: { ${part} }
`,
    )
    return readConfig(at('datanet.yaml'))
  }
  const first = configure('')
  if ('problems' in first) throw new Error('refused')
  const built = (config: Config, policies: Policies) =>
    ({ config, policies, certificate }) as unknown as Runtime
  let runtime = built(first.config, first.policies)
  const reload = createReload({
    configPath: at('datanet.yaml'),
    log: pino({ level: 'silent' }),
    runtime: () => runtime,
    replace: (next) => {
      runtime = next
    },
    build: (config, _, policies) => built(config, policies),
    loadCertificate: () => certificate,
    pinnedSpki: () => [],
  })
  // As the server makes them: once, over what is in force.
  const verifiers = createVerifiers(() => runtime.policies, randomBytes)
  t.equal(verifiers.get('tpm'), undefined)
  configure('tpm: {}')
  t.same(reload().problems, [])
  t.equal(verifiers.get('tpm')?.trust, 'hardware')
  configure('tpm: { roots: [nowhere.pem] }')
  t.match(reload().problems, [
    { path: 'attestation.tpm.roots[0]', line: 4, message: /nowhere\.pem/ },
  ])
  t.equal(verifiers.get('tpm')?.trust, 'hardware', 'the old ones stay')
  configure('')
  t.same(reload().problems, [])
  t.equal(verifiers.get('tpm'), undefined)
  t.equal(verifiers.get('software')?.trust, 'software')
  rmSync(at('datanet.yaml'))
  t.match(reload().problems, [{ path: '', line: 0, message: /^does not exist/ }])
  t.notOk(existsSync(at('datanet.yaml')), 'none is made in its place')
})
