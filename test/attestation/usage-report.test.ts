import { generateKeyPairSync, sign } from 'node:crypto'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import t from 'tap'
import { publicKeyOf } from '../../attestation/p256.ts'
import {
  CLOCK_SKEW_SECONDS,
  checkReport,
  type ExpectedReport,
  encodeReport,
  isSignedBy,
  type LastReport,
  REPORT_BYTES,
  readReport,
  reportEvidence,
  reportMessage,
  type UsageReport,
} from '../../attestation/usage-report.ts'
import { METERING_POINT, REPORTS, signReport, vectorsText } from './report-maker.ts'

const FILE = new URL('../vectors/attestation/usage-report/reports.json', import.meta.url)
const key = publicKeyOf(METERING_POINT)
if (key === undefined) throw new Error('no key')
const meteringKey = key

const now = 1_764_000_000
const nonce = Buffer.alloc(16, 7)
const good: UsageReport = {
  ...{ session: 'ab'.repeat(16), sequence: 5, time: now, nonce },
  ...{ inputOctets: 1000n, outputOctets: 2000n },
}
const before: LastReport = { sequence: 4, time: now - 60, inputOctets: 900n, outputOctets: 1900n }
const expected: ExpectedReport = { nonces: [nonce], nowSeconds: now }

function evidenceOf(report: UsageReport, signer: (message: Buffer) => Buffer = signReport) {
  const octets = encodeReport(report)
  return reportEvidence(octets, { form: 'signature', octets: signer(reportMessage(octets)) })
}

/** As the server asks: of the form, then signed, then what it says. */
function judged(
  evidence: unknown,
  last: LastReport | undefined,
  own = expected,
  by = meteringKey,
): string {
  const signed = readReport(evidence)
  if (signed === undefined) return 'malformed'
  if (!isSignedBy(by, signed)) return 'bad-signature'
  const verdict = checkReport(signed.report, last, own)
  return verdict.ok ? `ok, gap ${verdict.gap}` : verdict.reason
}

/** After the report before. */
const outcome = (evidence: unknown, own = expected): string => judged(evidence, before, own)

t.test('the vectors, octet by octet', async (t) => {
  const text = readFileSync(FILE, 'utf8')
  t.equal(text, vectorsText())
  const { reports } = JSON.parse(text) as { reports: { evidence: unknown; message: string }[] }
  t.equal(reports.length, REPORTS.length)
  for (const [index, report] of REPORTS.entries()) {
    const read = readReport(reports[index]?.evidence)
    if (read === undefined) throw new Error('no report')
    t.same(read.report, report)
    t.ok(isSignedBy(meteringKey, read))
    t.equal(read.message.toString('hex'), reports[index]?.message)
    const own = { nonces: [report.nonce], nowSeconds: report.time }
    t.same(checkReport(report, undefined, own), { ok: true, gap: report.sequence - 1 })
  }
})

t.test('evidence is under 300 characters of JSON, whatever it says', async (t) => {
  const [largest] = REPORTS.slice(-1)
  if (largest === undefined) throw new Error('no report')
  const octets = encodeReport(largest)
  t.equal(octets.length, REPORT_BYTES)
  const size = (form: 'signature' | 'assertion', length: number) =>
    JSON.stringify(reportEvidence(octets, { form, octets: Buffer.alloc(length, 0xff) })).length
  t.equal(size('signature', 64), 190)
  t.equal(size('assertion', 142), 294, 'a DER signature of 72 octets in CBOR')
  t.ok(size('assertion', 144) < 300)
})

t.test('a report is judged by the one before it and by the clock', async (t) => {
  const cases: readonly [string, string, Partial<UsageReport>, LastReport | undefined][] = [
    ['ok, gap 0', 'the next', {}, before],
    ['ok, gap 0', 'the first', { sequence: 1 }, undefined],
    ['ok, gap 4', 'the first that came', {}, undefined],
    ['ok, gap 3', 'three were lost', { sequence: 8 }, before],
    ['ok, gap 0', 'nothing was used', { inputOctets: 900n, outputOctets: 1900n }, before],
    ['ok, gap 0', 'the same second', { time: before.time }, before],
    ['replayed', 'the same sequence', { sequence: 4 }, before],
    ['replayed', 'an older sequence', { sequence: 3 }, before],
    ['replayed', 'the whole report again', {}, good],
    ['rolled-back', 'less sent', { inputOctets: 899n }, before],
    ['rolled-back', 'less received', { outputOctets: 1899n }, before],
    ['ok, gap 0', 'a clock behind', { time: now - CLOCK_SKEW_SECONDS }, undefined],
    ['clock-skew', 'a clock further behind', { time: now - CLOCK_SKEW_SECONDS - 1 }, undefined],
    ['ok, gap 0', 'a clock ahead', { time: now + CLOCK_SKEW_SECONDS }, before],
    ['clock-skew', 'a clock further ahead', { time: now + CLOCK_SKEW_SECONDS + 1 }, before],
    ['clock-skew', 'before the last report', { time: before.time - 1 }, before],
    ['wrong-nonce', 'a nonce of nobody', { nonce: Buffer.alloc(16, 8) }, before],
  ]
  for (const [wanted, name, changes, last] of cases) {
    const sequence = last === undefined && wanted === 'ok, gap 0' ? 1 : good.sequence
    const evidence = evidenceOf({ ...good, sequence, ...changes })
    t.equal(judged(evidence, last), wanted, name)
  }
  const earlier = { ...expected, nonces: [Buffer.alloc(16, 1), nonce] }
  t.equal(outcome(evidenceOf(good), earlier), 'ok, gap 0', 'the receipt after it was lost')
  t.equal(outcome(evidenceOf(good), { ...expected, nonces: [] }), 'wrong-nonce')
})

t.test('only the metering key signs', async (t) => {
  const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const byStranger = (message: Buffer) =>
    sign('sha256', message, { key: stranger.privateKey, dsaEncoding: 'ieee-p1363' })
  t.equal(outcome(evidenceOf(good, byStranger)), 'bad-signature')
  const own = judged(evidenceOf(good, byStranger), before, expected, stranger.publicKey)
  t.equal(own, 'ok, gap 0')
  // Without the label it is a signature for something else.
  const unlabelled = () => signReport(encodeReport(good))
  t.equal(outcome(evidenceOf(good, unlabelled)), 'bad-signature')
  const other = evidenceOf({ ...good, inputOctets: 1n }) as { signature: string }
  t.equal(outcome({ ...evidenceOf(good), signature: other.signature }), 'bad-signature')
})

t.test('a report with any octet changed is refused', async (t) => {
  const { report, signature } = evidenceOf(good) as { report: string; signature: string }
  const flip = (text: string, at: number): string => {
    const octets = Buffer.from(text, 'base64url')
    octets[at] = (octets[at] ?? 0) ^ 0x10
    return octets.toString('base64url')
  }
  for (let at = 0; at < REPORT_BYTES; at++) {
    const wanted = at === 0 ? 'malformed' : 'bad-signature'
    t.equal(outcome({ report: flip(report, at), signature }), wanted, `report ${at}`)
  }
  for (let at = 0; at < 64; at++) {
    t.equal(outcome({ report, signature: flip(signature, at) }), 'bad-signature', `signature ${at}`)
  }
})

t.test('the form with an assertion is for another check than that of signatures', async (t) => {
  const octets = encodeReport(good)
  const assertion = Buffer.alloc(142, 0xa2)
  const evidence = reportEvidence(octets, { form: 'assertion', octets: assertion })
  const read = readReport(evidence)
  t.match(read, { message: reportMessage(octets), proof: { form: 'assertion' } })
  t.same(read?.proof.octets, assertion)
  t.equal(outcome(evidence), 'bad-signature', 'the key is not of App Attest')
  const { report, signature } = evidenceOf(good) as { report: string; signature: string }
  t.equal(outcome({ report, assertion: signature }), 'bad-signature', 'a signature as assertion')
})

t.test('what is not of the form is malformed', async (t) => {
  const evidence = evidenceOf(good) as { report: string; signature: string }
  const { report, signature } = evidence
  const zero = Buffer.from(report, 'base64url').fill(0, 17, 21).toString('base64url')
  const bad: readonly unknown[] = [
    ...[undefined, null, 1, 'report', [], {}, [evidence], { report }, { signature }],
    ...[
      { ...evidence, more: 1 },
      { ...evidence, assertion: signature },
    ],
    ...[
      { report: zero, signature },
      { report: `${report}=`, signature },
      { report: '', signature },
    ],
    ...[
      { report: report.slice(0, -4), signature },
      { report: `${report}AAAA`, signature },
    ],
    ...[
      { report, signature: signature.slice(4) },
      { report, signature: `${signature}AA` },
    ],
    ...[
      { report, assertion: 'A'.repeat(196) },
      { report, assertion: '' },
      { report: 7, signature },
    ],
  ]
  for (const each of bad) t.equal(outcome(each), 'malformed', JSON.stringify(each))
})

t.test('what has no octets is not encoded', async (t) => {
  const cases: readonly Partial<UsageReport>[] = [
    ...[{ session: 'AB'.repeat(16) }, { session: '' }, { nonce: Buffer.alloc(15) }],
    ...[{ sequence: 0 }, { sequence: 2 ** 32 }, { sequence: 1.5 }],
    ...[
      { time: -1 },
      { time: 2 ** 32 },
      { time: 1.5 },
      { inputOctets: -1n },
      { outputOctets: 2n ** 64n },
    ],
  ]
  for (const changes of cases) {
    t.throws(() => encodeReport({ ...good, ...changes }), { name: 'RangeError' })
  }
})

t.test('every report comes back as it was, and garbage never throws', async (t) => {
  const holds = (property: Parameters<typeof fc.assert>[0], o: Parameters<typeof fc.assert>[1]) =>
    t.doesNotThrow(() => fc.assert(property, o))
  const hex = fc.constantFrom(...'0123456789abcdef')
  const report = fc.record({
    session: fc.array(hex, { minLength: 32, maxLength: 32 }).map((digits) => digits.join('')),
    sequence: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
    time: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    inputOctets: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    outputOctets: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    nonce: fc.uint8Array({ minLength: 16, maxLength: 16 }).map((octets) => Buffer.from(octets)),
  })
  const unsigned = { form: 'signature', octets: Buffer.alloc(64) } as const
  const comesBack = (each: UsageReport): boolean => {
    const read = readReport(reportEvidence(encodeReport(each), unsigned))?.report
    return read !== undefined && encodeReport(read).equals(encodeReport(each))
  }
  const run = { seed: 6, numRuns: 500 }
  holds(fc.property(report, comesBack), run)
  holds(
    fc.property(fc.anything(), (each) => outcome(each) === 'malformed'),
    run,
  )
  const texts = fc.record({ report: fc.base64String(), signature: fc.base64String() })
  holds(
    fc.property(texts, (each) => outcome(each) === 'malformed'),
    run,
  )
})

t.test('a session of reports, some lost, some again: only what rises is taken', async (t) => {
  const step = fc.record({
    sequence: fc.integer({ min: 1, max: 12 }),
    inputOctets: fc.bigInt({ min: 0n, max: 8n }),
    outputOctets: fc.bigInt({ min: 0n, max: 8n }),
    time: fc.integer({ min: now - 70, max: now + 70 }),
  })
  let taken = 0
  const rises = (steps: readonly LastReport[]): boolean => {
    let last: LastReport | undefined
    for (const each of steps) {
      const report = { ...good, ...each }
      const verdict = checkReport(report, last, expected)
      const mayRise =
        Math.abs(each.time - now) <= CLOCK_SKEW_SECONDS &&
        (last === undefined ||
          (each.sequence > last.sequence &&
            each.inputOctets >= last.inputOctets &&
            each.outputOctets >= last.outputOctets &&
            each.time >= last.time))
      if (verdict.ok !== mayRise) return false
      if (!verdict.ok) continue
      if (verdict.gap !== each.sequence - (last?.sequence ?? 0) - 1) return false
      last = report
      taken++
    }
    return true
  }
  fc.assert(fc.property(fc.array(step, { maxLength: 12 }), rises), { seed: 6, numRuns: 500 })
  t.ok(taken > 500, `${taken} reports were taken`)
})
