// The server's own door of signed reports, with a ledger behind it, for an account of one key and
// of four: which key signed is found by trying. Reports are signed beforehand. Called by
// attestation.ts.

import { encodeReport, reportEvidence, reportMessage } from '../attestation/usage-report.ts'
import { createUsageReports } from '../server/usage-reports.ts'
import { accountOf, emptyLedger, idOf, newSession } from '../test/accounting/books.ts'
import { newMeteringKey, signP256 } from '../test/server/enrolment-rig.ts'

const NOW_MS = 1_764_000_000_000
const ACCOUNT = accountOf(1)
const SESSION = idOf(1)

/** Who signs: the key that was enrolled as the n-th of them, from 0, or none of them. */
export type Signer = number | 'stranger'

/**
 * Takes one report more with each call, at most `count`; true where it came to what it should. The
 * session's first is taken before.
 */
export function doorOf(keyCount: number, signer: Signer, count: number): () => boolean {
  const ledger = emptyLedger()
  ledger.meet(ACCOUNT)
  const keys = Array.from({ length: keyCount }, newMeteringKey)
  for (const [n, { publicKey }] of keys.entries()) {
    ledger.enrol({
      ...{ account: ACCOUNT, publicKey: publicKey.toString('base64url'), scheme: 'software' },
      ...{ trust: 'software', enrolledAtMs: NOW_MS + n, expiresAtMs: NOW_MS + 86_400_000 },
    })
  }
  ledger.begin(newSession(1, { endsAtMs: NOW_MS + 3_600_000 }), NOW_MS)
  ledger.confirm(SESSION, NOW_MS)
  const reports = createUsageReports({
    ...{ ledger, secret: Buffer.alloc(32), appAttest: () => undefined, count: () => undefined },
    ...{ now: () => NOW_MS, wallNow: () => NOW_MS },
  })
  const nonce = Buffer.from(reports.nonceOf(SESSION), 'base64url')
  const key = (signer === 'stranger' ? undefined : keys[signer]) ?? newMeteringKey()
  const evidence = Array.from({ length: count + 1 }, (_, n) => {
    const octets = encodeReport({
      ...{ session: SESSION, sequence: n + 1, time: NOW_MS / 1_000, nonce },
      ...{ inputOctets: 0n, outputOctets: BigInt(n) },
    })
    const signature = signP256(key, reportMessage(octets))
    return JSON.stringify(reportEvidence(octets, { form: 'signature', octets: signature }))
  })
  let next = 0
  const takeOne = (): boolean => {
    const answer = reports.take(ACCOUNT, undefined, JSON.parse(evidence[next++] ?? 'null'))
    return answer.accepted === (signer !== 'stranger')
  }
  takeOne()
  return takeOne
}
