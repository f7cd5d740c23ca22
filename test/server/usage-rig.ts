// A device that reports usage through the HTTP door, over a real ledger.

import type { MeteringKey } from '../../accounting/session.ts'
import type { Tariff } from '../../accounting/tariff.ts'
import {
  encodeReport,
  reportEvidence,
  reportMessage,
  type UsageReport,
} from '../../attestation/usage-report.ts'
import { newMeteringKey, signP256, type TestKey } from './enrolment-rig.ts'
import { NOW_MS, rig, tariff } from './payment-rig.ts'

export const NOW_SECONDS = NOW_MS / 1_000

/** What a device sends: by its own meter, with anything replaced. */
export function evidenceOf(
  key: TestKey,
  session: string,
  nonce: string,
  change: Partial<UsageReport>,
) {
  const octets = encodeReport({
    ...{ session, sequence: 1, time: NOW_SECONDS, inputOctets: 100n, outputOctets: 900n },
    nonce: Buffer.from(nonce, 'base64url'),
    ...change,
  })
  return reportEvidence(octets, { form: 'signature', octets: signP256(key, reportMessage(octets)) })
}

/** Alice, with a session and a key of that trust; and how she reports, by POST /v1/usage. */
export function served(trust: MeteringKey['trust'] = 'software', terms: Tariff = tariff) {
  const { world, ledger, open, deposit, pay, post, ...rest } = rig()
  const alice = deposit('alice', 1_000n)
  const session = open('alice', 1, terms)
  const key = newMeteringKey()
  const enrol = (of: TestKey, expiresAtMs = NOW_MS + 86_400_000) =>
    ledger.enrol({
      ...{ account: alice, publicKey: of.publicKey.toString('base64url'), scheme: 'software' },
      ...{ trust, enrolledAtMs: NOW_MS, expiresAtMs },
    })
  enrol(key)
  const { nonceOf } = rest.reports
  const nonce = () => nonceOf(session)
  const evidence = (change: Partial<UsageReport> = {}, of = key) =>
    evidenceOf(of, session, nonce(), change)
  const report = async (body: unknown) => {
    const answer = await post('/v1/usage', { consumer: alice, session, evidence: body })
    return answer.usage
  }
  return {
    world,
    ledger,
    session,
    alice,
    key,
    enrol,
    nonce,
    nonceOf,
    evidence,
    report,
    pay,
    post,
    open,
  }
}
