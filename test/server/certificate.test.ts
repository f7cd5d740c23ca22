// The operator's certificate as the server loads it, from data/ and from files of the operator's
// own; what it says of files that can't be served; and what a reload takes.

import { createPublicKey, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import t from 'tap'
import {
  certificatePem,
  Extension,
  issueCertificate,
  KEY_SEED_BYTES,
  keyPem,
  p256KeyFrom,
  spkiOfKey,
} from '../../certs/issue.ts'
import type { Config } from '../../config/config.ts'
import { defaultConfigText } from '../../config/default.ts'
import { parseConfig } from '../../config/parse.ts'
import {
  certificateWarning,
  loadOperatorCertificate,
  type OperatorCertificate,
} from '../../server/certificate.ts'
import { openDataDirectory } from '../../server/data.ts'
import { createReload } from '../../server/reload.ts'
import { buildRuntime } from '../../server/runtime.ts'

const NOW_MS = 1_800_000_000_000
const DAY_MS = 86_400_000
const directory = mkdtempSync(join(tmpdir(), 'datanet-certificate-'))
t.teardown(() => rmSync(directory, { recursive: true, force: true }))
const paths = openDataDirectory(join(directory, 'data'))
const configPath = join(directory, 'datanet.yaml')
const configText = defaultConfigText({ secret: 'a'.repeat(24) })
writeFileSync(configPath, configText)
const read = parseConfig(configText, {}, () => '')
if (!('config' in read)) throw new Error(JSON.stringify(read.problems))
const auto: Config = read.config
const own: Config = {
  ...auto,
  eap: {
    ...auto.eap,
    certificate: { cert: join(directory, 'own.crt'), key: join(directory, 'own.key') },
  },
}

const load = (config: Config, nowMs = NOW_MS): OperatorCertificate =>
  loadOperatorCertificate(config, paths, { now: () => nowMs, random: randomBytes })

/** Writes own.crt and own.key. */
function bring(certificate: string, key: string): void {
  writeFileSync(join(directory, 'own.crt'), certificate)
  writeFileSync(join(directory, 'own.key'), key)
}

function lone(o: { name?: string; days?: number } = {}) {
  const key = p256KeyFrom(randomBytes(KEY_SEED_BYTES))
  const der = issueCertificate({
    ...{ serial: randomBytes(16), issuer: 'radius', subject: 'radius', signingKey: key },
    ...{ notBefore: NOW_MS / 1000 - 60, notAfter: NOW_MS / 1000 + (o.days ?? 90) * 86_400 },
    spki: spkiOfKey(createPublicKey(key)),
    extensions: [Extension.serverAuth(), Extension.dnsName(o.name ?? 'radius.cafe.example')],
  })
  return { certificate: certificatePem(der), key: keyPem(key) }
}

t.test('auto: made once, with its CA; renewed with the same key', async (t) => {
  const made = load(auto)
  t.equal(made.certificates.length, 2)
  t.equal(made.chainPem, made.certificates[0], 'no root in TLS')
  t.equal(certificateWarning(made), undefined)
  t.same(load(auto), made)
  const renewed = load(auto, NOW_MS + 600 * DAY_MS)
  t.not(renewed.chainPem, made.chainPem)
  t.equal(renewed.certificates[1], made.certificates[1])
  t.equal(renewed.spkiSha256, made.spkiSha256)
  t.equal(certificateWarning(renewed, made), undefined)
})

t.test('own files: what is served, and the word about a missing root', async (t) => {
  const { certificate, key } = lone()
  bring(certificate, key)
  const loaded = load(own)
  t.equal(loaded.chainPem, certificate)
  t.same(loaded.certificates, [certificate])
  t.equal(loaded.serverName, 'radius.cafe.example')
  t.match(certificateWarning(loaded) ?? '', /does not end with a root CA/)
  t.equal(certificateWarning(loaded, loaded), undefined, 'said once')
  t.match(certificateWarning(load(auto), loaded) ?? '', /each needs a new wpa_supplicant\.conf now/)
})

t.test('own files that can not be served: one line, exit code 78', async (t) => {
  const good = lone()
  const other = lone()
  const refused = (message: RegExp, nowMs = NOW_MS): void => {
    t.throws(() => load(own, nowMs), { name: 'StartError', exitCode: 78, message })
  }
  bring(good.certificate, other.key)
  refused(/^eap\.certificate: .*own\.key is not the key of .*own\.crt; name a pair/)
  bring('nothing', good.key)
  refused(/own\.crt does not hold a certificate in PEM/)
  bring(good.certificate, good.certificate)
  refused(/own\.key does not hold an unencrypted private key in PEM/)
  bring(good.certificate + other.certificate, good.key)
  refused(/own\.crt: the CA is not a CA certificate/)
  bring(good.certificate, good.key)
  refused(/own\.crt: the server certificate has expired/, NOW_MS + 91 * DAY_MS)
  refused(/own\.crt: the server certificate is not valid yet/, NOW_MS - DAY_MS)
  const wild = lone({ name: '*.cafe.example' })
  bring(wild.certificate, wild.key)
  refused(/own\.crt: the server certificate has no full DNS name/)
  rmSync(join(directory, 'own.key'))
  refused(/own\.key does not exist; put it back or correct the path/)
})

t.test('a reload takes the key in use and keys on chain, and no other', async (t) => {
  const [first, second] = [lone(), lone()]
  bring(first.certificate, first.key)
  let runtime = buildRuntime(auto, load(own), 18, (tariff) => tariff)
  let pinned: string[] = []
  const reload = createReload({
    configPath,
    log: pino({ level: 'silent' }),
    runtime: () => runtime,
    replace: (next) => {
      runtime = next
    },
    build: (config, certificate) => buildRuntime(config, certificate, 18, (tariff) => tariff),
    loadCertificate: () => load(own),
    pinnedSpki: () => pinned,
  })
  t.same(reload().problems, [], 'the mirror may not have seen the registration yet')
  bring(second.certificate, second.key)
  t.match(reload().problems, [{ message: /its key is not the one registered on chain; restart/ }])
  t.equal(runtime.certificate.chainPem, first.certificate, 'the old one stays')
  pinned = [load(own).spkiSha256]
  t.same(reload().problems, [])
  t.equal(runtime.certificate.chainPem, second.certificate)
  rmSync(join(directory, 'own.crt'))
  t.match(reload().problems, [{ message: /own\.crt does not exist/ }])
  t.equal(runtime.certificate.chainPem, second.certificate)
})
