// The reports of test/vectors/attestation/usage-report/reports.json, made anew: the key and the
// nonces of its signatures (RFC 6979) are fixed, so the same octets come out each time.

import { createHash } from 'node:crypto'
import { p256 } from '@noble/curves/nist.js'
import {
  encodeReport,
  reportEvidence,
  reportMessage,
  type UsageReport,
} from '../../attestation/usage-report.ts'

const PRIVATE_KEY = Buffer.alloc(32, 0x11)

/** The metering key of the vectors, 65 octets. */
export const METERING_POINT = Buffer.from(p256.getPublicKey(PRIVATE_KEY, false))

/** r and s over a report's message, the same each time. */
export const signReport = (message: Buffer): Buffer =>
  Buffer.from(p256.sign(message, PRIVATE_KEY, { lowS: false }))

const session = '00112233445566778899aabbccddeeff'
const nonce = Buffer.from('a0a1a2a3a4a5a6a7a8a9aaabacadaeaf', 'hex')
const base = { session, nonce, time: 1_764_000_000 }

export const REPORTS: readonly UsageReport[] = [
  { ...base, sequence: 1, inputOctets: 0n, outputOctets: 0n },
  { ...base, sequence: 2, time: 1_764_000_060, inputOctets: 1_500_000n, outputOctets: 98_765_432n },
  { ...base, sequence: 0x01020304, inputOctets: 2n ** 32n + 1n, outputOctets: 2n ** 53n + 1n },
  {
    session: 'f'.repeat(32),
    nonce: Buffer.alloc(16, 0xff),
    sequence: 2 ** 32 - 1,
    time: 2 ** 32 - 1,
    inputOctets: 2n ** 64n - 1n,
    outputOctets: 2n ** 64n - 1n,
  },
]

/** One report and all that is made of it. */
export function vectorOf(report: UsageReport) {
  const octets = encodeReport(report)
  const message = reportMessage(octets)
  const { sequence, time, inputOctets, outputOctets } = report
  return {
    report: {
      ...{ session: report.session, sequence, time },
      inputOctets: inputOctets.toString(),
      outputOctets: outputOctets.toString(),
      nonce: report.nonce.toString('hex'),
    },
    message: message.toString('hex'),
    hash: createHash('sha256').update(message).digest('hex'),
    evidence: reportEvidence(octets, { form: 'signature', octets: signReport(message) }),
  }
}

/** The whole file. */
export const vectorsText = (): string =>
  `${JSON.stringify(
    { meteringKey: METERING_POINT.toString('hex'), reports: REPORTS.map(vectorOf) },
    undefined,
    2,
  )}\n`
