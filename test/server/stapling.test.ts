// When which OCSP response is stapled, over a clock and an engine of the test: our own renewed at
// half of its life and for a renewed leaf, a file's watched, none out of date, each warning once.

import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { makeOcspResponse, OCSP_BYTES_MAX, readOcspResponse } from '../../certs/ocsp.ts'
import { makeOperatorCertificates, renewOperatorCertificate } from '../../certs/operator.ts'
import type { Config } from '../../config/config.ts'
import { defaultConfigText } from '../../config/default.ts'
import { parseConfig } from '../../config/parse.ts'
import { loadOperatorCertificate } from '../../server/certificate.ts'
import { openDataDirectory } from '../../server/data.ts'
import { createLog } from '../../server/log.ts'
import { createMetrics } from '../../server/metrics.ts'
import type { Runtime } from '../../server/runtime.ts'
import { createStapling } from '../../server/stapling.ts'

const START = 1_800_000_000
const DAY = 86_400
const read = parseConfig(defaultConfigText({ secret: 'a'.repeat(24) }), {}, () => '')
if (!('config' in read)) throw new Error(JSON.stringify(read.problems))
const auto: Config = read.config

/** A server's folder, the log it writes and what its engine has been told to staple. */
function world(
  t: Test,
  certificate: (at: (name: string) => string) => Config['eap']['certificate'],
) {
  const directory = t.testdir({})
  const at = (name: string): string => join(directory, name)
  const paths = openDataDirectory(at('data'))
  const config = { ...auto, eap: { ...auto.eap, certificate: certificate(at) } }
  const clock = { seconds: START }
  const now = () => clock.seconds * 1000
  const load = (next: Config = config) =>
    loadOperatorCertificate(next, paths, { now, random: randomBytes })
  const lines: { level: string; msg: string }[] = []
  const log = createLog('info', { write: (line: string) => void lines.push(JSON.parse(line)) })
  const metrics = createMetrics()
  const stapled: (Buffer | undefined)[] = []
  const setOcspResponse = (der: Buffer | undefined): void => void stapled.push(der)
  const runtimeWith = (next: Config, engine: object): Runtime =>
    ({ config: next, certificate: load(next), rules: { engine } }) as unknown as Runtime
  return {
    ...{ at, paths, config, clock, load, lines, stapled, setOcspResponse, runtimeWith },
    warnings: () => lines.filter(({ level }) => level === 'warn').map(({ msg }) => msg),
    async until(): Promise<string | undefined> {
      const text = await metrics.registry.metrics()
      return /^datanet_ocsp_next_update_timestamp_seconds (\S+)$/m.exec(text)?.[1]
    },
    start(runtime: () => Runtime) {
      const stapling = createStapling({ runtime, paths, now, log, metrics })
      t.teardown(() => stapling.stop())
      return stapling
    },
  }
}

t.test(
  'auto: signed at start, again at half of its life, for a new leaf, a new engine',
  async (t) => {
    const w = world(t, () => 'auto')
    let runtime = w.runtimeWith(w.config, w)
    const leaf = () => runtime.certificate.certificates[0] ?? ''
    const { refresh } = w.start(() => runtime)
    const last = () => readOcspResponse(w.stapled.at(-1) ?? Buffer.alloc(0), leaf())
    t.match(last(), { status: 'good', nextUpdate: START + 7 * DAY })
    t.equal(await w.until(), String(START + 7 * DAY))
    w.clock.seconds = START + 3.5 * DAY - 1
    refresh()
    t.equal(w.stapled.length, 1, 'the same for half a week')
    w.clock.seconds += 1
    refresh()
    t.match([w.stapled.length, last()], [2, { nextUpdate: START + 10.5 * DAY }])
    w.clock.seconds = START + DAY
    refresh()
    t.match([w.stapled.length, last()], [3, { nextUpdate: START + 8 * DAY }], 'a clock set back')

    w.clock.seconds = START
    refresh()
    const other = { setOcspResponse: w.setOcspResponse }
    runtime = { ...runtime, rules: { engine: other } } as unknown as Runtime
    refresh()
    t.equal(w.stapled.length, 5, 'the engine of a reload is told the same')
    t.equal(w.stapled[4], w.stapled[3])
    const issuer = {
      caCertificatePem: readFileSync(w.paths.caCertificate, 'utf8'),
      caKeyPem: readFileSync(w.paths.caKey, 'utf8'),
    }
    const renewed = renewOperatorCertificate({
      ...{ ...issuer, certificatePem: leaf(), nowSeconds: START, random: randomBytes },
    })
    writeFileSync(w.paths.serverCertificate, renewed)
    runtime = w.runtimeWith(w.config, other)
    t.equal(leaf(), renewed)
    refresh()
    t.match([w.stapled.length, last()], [6, { status: 'good' }], 'the renewed leaf has its own')
    t.same(w.warnings(), [])
  },
)

t.test('auto, and the key of the CA is kept elsewhere: one warning, no response', async (t) => {
  const w = world(t, () => 'auto')
  const runtime = w.runtimeWith(w.config, w)
  renameSync(w.paths.caKey, w.at('elsewhere'))
  const { refresh } = w.start(() => runtime)
  refresh()
  t.same(w.stapled, [undefined])
  t.equal(w.warnings().length, 1)
  t.match(w.warnings()[0], /^eap\.certificate: no OCSP response could be signed with .*ca\.key/)
  t.equal(await w.until(), '0')
  renameSync(w.at('elsewhere'), w.paths.caKey)
  refresh()
  t.equal(w.stapled.length, 2)
  w.clock.seconds += 4 * DAY
  renameSync(w.paths.caKey, w.at('elsewhere'))
  refresh()
  t.equal(w.stapled.length, 2, 'the one in use holds on')
  w.clock.seconds += 4 * DAY
  refresh()
  t.equal(w.stapled.at(-1), undefined, 'until it has expired')
  t.equal(w.warnings().length, 2)
})

/** A certificate of the operator's, and responses of its CA written to the file that is watched. */
function own(t: Test) {
  const w = world(t, (at) => ({ cert: at('own.crt'), key: at('own.key'), ocsp: at('ocsp.der') }))
  const made = makeOperatorCertificates({
    ...{ operatorName: 'Own', nowSeconds: START, random: randomBytes },
  })
  writeFileSync(w.at('own.crt'), made.certificatePem + made.caCertificatePem)
  writeFileSync(w.at('own.key'), made.keyPem)
  const put = (nowSeconds: number): Buffer => {
    const der = makeOcspResponse({ ...made, nowSeconds })
    writeFileSync(w.at('ocsp.der'), der)
    return der
  }
  return { ...w, put }
}

t.test('a file: watched, never out of date, its faults told once', async (t) => {
  const w = own(t)
  const first = w.put(START)
  const runtime = w.runtimeWith(w.config, w)
  const { refresh } = w.start(() => runtime)
  refresh()
  t.same(w.stapled, [first])
  const second = w.put(START + DAY)
  refresh()
  t.same(w.stapled, [first, second], 'replaced')
  rmSync(w.at('ocsp.der'))
  refresh()
  mkdirSync(w.at('ocsp.der'))
  refresh()
  rmSync(w.at('ocsp.der'), { recursive: true })
  writeFileSync(w.at('ocsp.der'), Buffer.alloc(OCSP_BYTES_MAX + 1))
  refresh()
  writeFileSync(w.at('ocsp.der'), second.subarray(0, 100))
  refresh()
  refresh()
  t.same(w.stapled, [first, second], 'the good one stays')
  t.match(w.warnings(), [
    /ocsp\.der does not exist; name an OCSP response in DER, or take ocsp out/,
    /ocsp\.der can't be read \(it is no file\)/,
    /ocsp\.der can't be read \(more than 16380 octets\)/,
    /ocsp\.der is not an OCSP response for the certificate in DER \(not ASN\.1\)/,
  ])
  t.equal(w.warnings().length, 4)
  w.clock.seconds = START + 8 * DAY
  refresh()
  t.equal(w.stapled.length, 2, 'at nextUpdate itself it holds')
  w.clock.seconds += 1
  refresh()
  t.equal(w.stapled.at(-1), undefined, 'and a second later it does not')
  writeFileSync(w.at('ocsp.der'), second)
  refresh()
  refresh()
  t.match(w.warnings().slice(4), [/ocsp\.der has expired \(it held until 2027-.*: none is stapled/])
  t.equal(await w.until(), '0')
  w.put(w.clock.seconds + 3 * DAY)
  refresh()
  t.equal(w.stapled.at(-1), undefined)
  t.match(w.warnings().slice(5), [/is not valid yet, or the clock here is wrong: none is stapled/])
  const last = w.put(w.clock.seconds)
  refresh()
  t.same(w.stapled.at(-1), last, 'and goes on with the next good one')
  t.equal(w.warnings().length, 6)
})

t.test('a file at start: expired may pass, broken is a configuration error', async (t) => {
  const w = own(t)
  w.put(START - 30 * DAY)
  t.ok(w.load())
  writeFileSync(w.at('ocsp.der'), 'x')
  t.throws(() => w.load(), { exitCode: 78, message: /^eap\.certificate: \S+ocsp\.der is not an/ })
  rmSync(w.at('ocsp.der'))
  t.throws(() => w.load(), { exitCode: 78, message: /ocsp\.der does not exist; name/ })
})

t.test('taken out of the configuration, or another leaf: the old one is never kept', async (t) => {
  const w = own(t)
  const first = w.put(START)
  let runtime = w.runtimeWith(w.config, w)
  const { refresh } = w.start(() => runtime)
  t.same(w.stapled, [first])
  const { certificate } = runtime
  const { certificatePem } = makeOperatorCertificates({
    ...{ operatorName: 'Own', nowSeconds: START, random: randomBytes },
  })
  const other = { ...certificate, certificates: [certificatePem] }
  runtime = { ...runtime, certificate: other }
  refresh()
  t.same(w.stapled, [first, undefined])
  t.match(w.warnings(), [/for another certificate/])
  const files = { cert: w.at('own.crt'), key: w.at('own.key') }
  const without = { ...w.config, eap: { ...w.config.eap, certificate: files } }
  runtime = { ...runtime, certificate, config: w.config }
  refresh()
  runtime = { ...runtime, config: without }
  refresh()
  t.same(w.stapled, [first, undefined, first, undefined])
  t.equal(w.warnings().length, 1)
})

t.test('an engine that staples nothing: a line where a file was named, else none', async (t) => {
  const engine = { setOcspResponse: undefined }
  const a = world(t, () => 'auto')
  const runtime = a.runtimeWith(a.config, engine)
  a.start(() => runtime).refresh()
  t.same(a.lines, [])
  const w = own(t)
  w.put(START)
  const named = w.runtimeWith(w.config, engine)
  w.start(() => named).refresh()
  t.match(w.lines, [{ level: 'warn', msg: /ocsp\.der is not used: the node:tls engine/ }])
  t.equal(w.lines.length, 1)
  t.equal(await w.until(), '0')
})
