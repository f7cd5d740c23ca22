// Reports by a key of App Attest, over HTTP: assertions as an iPhone makes them, by a key in
// software; their counter, which must rise over everything, a restart of the store included.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { createCommitter } from '../../accounting/committer.ts'
import { createLedger } from '../../accounting/ledger.ts'
import { openSqliteStore } from '../../accounting/store-sqlite.ts'
import type { AppAttestPolicy } from '../../attestation/app-attest.ts'
import { encodeReport, reportEvidence, reportMessage } from '../../attestation/usage-report.ts'
import { createEnsureAccount } from '../../server/accounts.ts'
import { accountNamed, paymentBy } from '../accounting/vouchers.ts'
import { assertionOf, newMeteringKey, signP256, type TestKey } from './enrolment-rig.ts'
import { NOW_MS, rig } from './payment-rig.ts'

const APP_ID = 'A1B2C3D4E5.org.example.meter'
const POLICY: AppAttestPolicy = { appIds: [APP_ID], environments: ['production'] }

function iphone() {
  const { world, ledger, open, deposit, pay, post, reports } = rig()
  world.appAttest = POLICY
  const alice = deposit('alice', 1_000n)
  const session = open('alice')
  const key = newMeteringKey()
  const enrol = (of: TestKey, scheme: string) =>
    ledger.enrol({
      ...{ account: alice, publicKey: of.publicKey.toString('base64url'), scheme },
      ...{ trust: 'hardware', enrolledAtMs: NOW_MS, expiresAtMs: NOW_MS + 86_400_000 },
    })
  enrol(key, 'app-attest')
  const octetsOf = (sequence: number) =>
    encodeReport({
      ...{ session, sequence, time: NOW_MS / 1_000, inputOctets: 100n, outputOctets: 900n },
      nonce: Buffer.from(reports.nonceOf(session), 'base64url'),
    })
  const evidence = (sequence: number, counter: number, of = key, appId = APP_ID) => {
    const octets = octetsOf(sequence)
    const assertion = assertionOf(of, reportMessage(octets), counter, appId)
    return reportEvidence(octets, { form: 'assertion', octets: assertion })
  }
  const report = async (body: unknown) =>
    (await post('/v1/usage', { consumer: alice, session, evidence: body })).usage
  const counter = () =>
    ledger.meteringKeys(alice).find(({ scheme }) => scheme === 'app-attest')?.counter
  const nonce = () => reports.nonceOf(session)
  return { world, ledger, session, key, enrol, octetsOf, evidence, report, counter, pay, nonce }
}

t.test('App Attest: an assertion with a payment is a report in hardware', async (t) => {
  const { world, session, evidence, counter, pay, nonce } = iphone()
  const body = evidence(1, 7)
  t.ok(JSON.stringify(body).length < 300)
  const paid = await pay(paymentBy('alice', 15n, { session, evidence: body }))
  t.match(paid, { status: 200, usage: { accepted: true, trust: 'hardware', nonce: nonce() } })
  t.equal(counter(), 7)
  const written = world.commits.at(-1)
  t.match(written?.meteringKeys.at(-1), { scheme: 'app-attest', counter: 7 }, 'with the report')
  t.equal(written?.sessions.at(-1)?.attested?.sequence, 1)
})

t.test('App Attest: what is refused leaves the counter as it was', async (t) => {
  const { world, key, enrol, octetsOf, evidence, report, counter, nonce } = iphone()
  const signing = newMeteringKey()
  enrol(signing, 'tpm')
  t.match(await report(evidence(1, 5)), { accepted: true })
  const signed = (of: TestKey) => {
    const octets = octetsOf(2)
    const signature = signP256(of, reportMessage(octets))
    return reportEvidence(octets, { form: 'signature', octets: signature })
  }
  const stranger = newMeteringKey()
  const cases: [name: string, body: unknown, reason: string][] = [
    ['the same again', evidence(1, 5), 'counter'],
    ['a new report with the counter of the last', evidence(2, 5), 'counter'],
    ['with a lower one', evidence(2, 4), 'counter'],
    ['with none', evidence(2, 0), 'counter'],
    ['an old report with a new counter', evidence(1, 9), 'replayed'],
    ['another app', evidence(2, 6, key, 'A1B2C3D4E5.org.example.other'), 'bad-signature'],
    ['by a stranger', evidence(2, 6, stranger), 'bad-signature'],
    ['by a key that signs', evidence(2, 6, signing), 'bad-signature'],
    ['signed plainly', signed(key), 'bad-signature'],
  ]
  for (const [name, body, reason] of cases) {
    const known = reason !== 'bad-signature'
    const expected = { accepted: false, reason, ...(known && { nonce: nonce() }) }
    t.same(await report(body), expected, name)
    t.equal(counter(), 5, name)
  }
  t.match(await report(signed(signing)), { accepted: true }, 'a key that signs goes on signing')
  t.match(await report(evidence(3, 2 ** 32 - 1)), { accepted: true }, 'gaps are no fault')
  t.equal(counter(), 2 ** 32 - 1)
  world.appAttest = undefined
  const dropped = await report(evidence(4, 2 ** 32 - 1))
  t.same(dropped, { accepted: false, reason: 'bad-signature' }, 'no longer taken by the operator')
})

t.test('App Attest: the counter survives a restart, and another showing of the key', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'datanet-counter-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const alice = accountNamed('alice')
  const publicKey = newMeteringKey().publicKey.toString('base64url')
  const key = {
    ...{ account: alice, publicKey, scheme: 'app-attest', trust: 'hardware' as const },
    ...{ enrolledAtMs: NOW_MS, expiresAtMs: NOW_MS + 1_000 },
  }
  const books = async () => {
    const storage = await openSqliteStore(join(directory, 'ledger.db'))
    const ledger = createLedger({
      ...{ sessionsMax: 10, rememberedMax: 10, accountsMax: 10 },
      operatorAccount: accountNamed('operator'),
    })
    const committer = createCommitter({
      ...{ ledger, storage, onError: () => undefined, onRecovered: () => undefined },
    })
    await createEnsureAccount(ledger, storage)(alice)
    return {
      ledger,
      async close() {
        await committer.durable()
        await committer.close()
        await storage.close()
      },
    }
  }
  const first = await books()
  first.ledger.enrol(key)
  first.ledger.raiseCounter(alice, publicKey, 41)
  first.ledger.raiseCounter(alice, publicKey, 40)
  first.ledger.raiseCounter(alice, 'unknown', 99)
  await first.close()
  const second = await books()
  t.match(second.ledger.meteringKeys(alice), [{ counter: 41 }])
  second.ledger.enrol({ ...key, expiresAtMs: NOW_MS + 2_000 })
  t.match(second.ledger.meteringKeys(alice), [{ counter: 41, expiresAtMs: NOW_MS + 2_000 }])
  t.equal(second.ledger.meteringKeys(alice).length, 1)
  await second.close()
})
