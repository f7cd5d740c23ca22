// A device's signed reports: the key is made once, enrolled at first contact and again when its
// time is near, and what it signs is what the operator reads.

import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { challengeOf } from '../../attestation/challenge.ts'
import { publicKeyOf } from '../../attestation/p256.ts'
import { verifySoftware } from '../../attestation/software.ts'
import { checkReport, isSignedBy, readReport } from '../../attestation/usage-report.ts'
import { DeviceError } from '../../device/error.ts'
import { enrolFirst } from '../../device/metering-enrolment.ts'
import { type MeteringSigner, openSoftwareKey } from '../../device/metering-key.ts'
import type { RunEvent } from '../../device/run-events.ts'
import type { SessionView } from '../../device/session-view.ts'
import { readSessions } from '../../device/session-view.ts'
import { createUsageReporter } from '../../device/usage-reporter.ts'
import { recoverAddress } from '../../ethereum/signature.ts'
import { meteringKeyDigest } from '../../ethereum/typed-data.ts'
import {
  type Answer,
  domain,
  payingTo,
  SESSION,
  type Sent,
  sessionJson,
  startOperator,
} from './payer-double.ts'

const NOW_MS = 1_700_000_000_000
const NONCE = Buffer.alloc(32, 7)
const OCTETS = { received: 900n, sent: 100n }
const ABC = Buffer.alloc(16, 1).toString('base64url')
const DEF = Buffer.alloc(16, 2).toString('base64url')

function folder(t: { teardown(f: () => void): void }): string {
  const place = mkdtempSync(join(tmpdir(), 'datanet-metering-'))
  t.teardown(() => rmSync(place, { recursive: true, force: true }))
  return place
}

const view = (usageNonce: string, usageSequence: number): SessionView => {
  const [session] = readSessions({ sessions: [sessionJson({ usageNonce, usageSequence })] })
  if (session === undefined) throw new Error('no session')
  return session
}

const takes = ({ path }: Sent): Answer =>
  path.endsWith('/challenge')
    ? { status: 200, body: { nonce: NONCE.toString('base64url'), expiresAt: 1 } }
    : { status: 200, body: { trust: 'software', expiresAt: NOW_MS / 1_000 + 86_400 } }

type Way = () => Promise<MeteringSigner>

async function rig(
  t: { teardown(f: () => void | Promise<void>): void },
  answer: (sent: Sent) => Answer = takes,
  ways: (software: Way) => readonly Way[] = (software) => [software],
) {
  const directory = folder(t)
  const { url, sent } = await startOperator(t, answer)
  const events: RunEvent[] = []
  const to = payingTo(url)
  const openKey = () => openSoftwareKey(directory, to.operatorId)
  const enrol = () => enrolFirst(to, ways(openKey))
  const reporter = createUsageReporter({ enrol, emit: (event) => events.push(event) })
  const enrolled = async (count: number) => {
    for (let tries = 0; sent.length < count && tries < 200; tries++) await sleep(10)
    await sleep(20)
  }
  return { directory, sent, events, to, openKey, reporter, enrolled }
}

t.test('a key is made once, for its owner alone, and read again', async (t) => {
  const directory = folder(t)
  const key = await openSoftwareKey(directory, 3)
  const path = join(directory, 'metering-3.pem')
  t.equal(statSync(path).mode & 0o777, 0o600)
  t.ok((await openSoftwareKey(directory, 3)).publicKey.equals(key.publicKey))
  t.notOk((await openSoftwareKey(directory, 4)).publicKey.equals(key.publicKey))
  for (const text of ['', readFileSync(path, 'utf8').slice(0, 80)]) {
    writeFileSync(path, text)
    await t.rejects(openSoftwareKey(directory, 3), { code: 'damaged', message: /remove it/ })
  }
})

t.test('enrolled at first contact, signed by the account, and again in time', async (t) => {
  const { sent, to, openKey, reporter, enrolled, events } = await rig(t)
  t.equal(await reporter.sign(view(ABC, 0), OCTETS, NOW_MS), undefined, 'no key yet')
  reporter.prepare(NOW_MS)
  reporter.prepare(NOW_MS)
  await enrolled(2)
  t.same(
    sent.map(({ path }) => path),
    ['/v1/metering-keys/challenge', '/v1/metering-keys'],
  )
  const body = sent[1]?.body as unknown as Record<string, string>
  const { publicKey } = await openKey()
  t.equal(body['publicKey'], publicKey.toString('base64url'))
  const challenge = challengeOf(NONCE, to.account, to.operatorId)
  const expected = { challenge, nowSeconds: NOW_MS / 1_000, publicKey }
  t.match(verifySoftware(body['evidence'], expected), { ok: true })
  const keyHash = createHash('sha256').update(publicKey).digest()
  const grant = { consumer: to.account, operator: to.operatorId, keyHash, nonce: NONCE }
  const signature = Buffer.from(body['signature']?.slice(2) ?? '', 'hex')
  t.equal(recoverAddress(meteringKeyDigest(domain, grant), signature), to.account)
  reporter.prepare(NOW_MS + 86_400_000 - 600_001)
  t.equal(sent.length, 2, 'not before it is due')
  reporter.prepare(NOW_MS + 86_400_000 - 600_000)
  await enrolled(4)
  t.equal(sent.length, 4)
  t.same(events, [{ event: 'metering-key', scheme: 'software', trust: 'software' }], 'told once')
  t.equal(reporter.trust(), 'software')
})

t.test(
  'what is signed is what the operator reads; numbers rise, the latest nonce counts',
  async (t) => {
    const { openKey, reporter, enrolled } = await rig(t)
    reporter.prepare(NOW_MS)
    await enrolled(2)
    const key = publicKeyOf((await openKey()).publicKey)
    if (key === undefined) throw new Error('no key')
    const first = view(ABC, 4)
    const read = async (session: SessionView, nonce: string) => {
      const signed = readReport(await reporter.sign(session, OCTETS, NOW_MS))
      const nonces = [Buffer.from(nonce, 'base64url')]
      if (signed === undefined || !isSignedBy(key, signed)) return 'not signed'
      const expected = { nonces, nowSeconds: NOW_MS / 1_000 }
      const verdict = checkReport(signed.report, undefined, expected)
      return verdict.ok ? signed.report : verdict
    }
    const figures = { session: SESSION, inputOctets: 100n, outputOctets: 900n }
    t.match(await read(first, ABC), { ...figures, sequence: 5 }, 'after what the operator has')
    t.match(await read(first, ABC), { sequence: 6 })
    reporter.answered(SESSION, { accepted: true, reason: '', nonce: DEF })
    t.match(await read(first, DEF), { sequence: 7 }, 'told with the answer')
    t.match(await read(view(ABC, 7), ABC), { sequence: 8 }, 'told after that')
    const { report: _, ...none } = first
    t.equal(await reporter.sign(none, OCTETS, NOW_MS), undefined, 'an operator of an older version')
  },
)

t.test('why reports are not taken is told once, and anew after one that was', async (t) => {
  const { reporter, enrolled, events } = await rig(t)
  reporter.prepare(NOW_MS)
  await enrolled(2)
  const answered = async (reason: string) => {
    await reporter.sign(view(ABC, 4), OCTETS, NOW_MS)
    reporter.answered(SESSION, { accepted: reason === '', reason, nonce: DEF })
  }
  for (const reason of ['replayed', 'replayed', 'stale', 'stale', '', 'stale']) {
    await answered(reason)
  }
  const told = events.filter(({ event }) => event === 'report-refused')
  t.match(told, [{ why: 'replayed' }, { why: 'stale' }, { why: 'stale' }])
  t.equal(told.length, 3)
})

t.test('refusals are told; a key that is not known is shown again', async (t) => {
  const { sent, reporter, enrolled, events } = await rig(t)
  reporter.prepare(NOW_MS)
  await enrolled(2)
  reporter.answered(SESSION, { accepted: false, reason: 'replayed', nonce: '' })
  reporter.prepare(NOW_MS)
  await enrolled(2)
  t.equal(sent.length, 2)
  t.ok(await reporter.sign(view(ABC, 0), OCTETS, NOW_MS))
  reporter.answered(SESSION, { accepted: false, reason: 'key-expired', nonce: ABC })
  t.equal(await reporter.sign(view(ABC, 0), OCTETS, NOW_MS), undefined, 'until it is shown')
  reporter.prepare(NOW_MS)
  await enrolled(4)
  t.equal(sent.length, 4)
  t.ok(await reporter.sign(view(ABC, 0), OCTETS, NOW_MS))
  t.match(
    events.filter(({ event }) => event === 'report-refused'),
    [{ why: 'replayed' }, { why: 'key-expired' }],
  )
})

t.test('an operator without it is asked again a minute later', async (t) => {
  const error = { code: 'not-found', message: 'there is no such thing' }
  const { sent, reporter, enrolled, events } = await rig(t, () => ({
    status: 404,
    body: { error },
  }))
  reporter.prepare(NOW_MS)
  await enrolled(1)
  reporter.prepare(NOW_MS + 59_999)
  await enrolled(1)
  t.equal(sent.length, 1)
  reporter.prepare(NOW_MS + 60_000)
  await enrolled(2)
  t.equal(sent.length, 2)
  t.match(events[0], { event: 'failed', what: 'metering key', message: /there is no such thing/ })
  t.equal(await reporter.sign(view(ABC, 0), OCTETS, NOW_MS), undefined)
})

/** A key that signs as long as it is well, and is shown in a way that operators may refuse. */
const chip = (openKey: Way, isWell: () => boolean): Way => {
  return async () => {
    if (!isWell()) throw new DeviceError('unavailable', 'no TPM here')
    const key = await openKey()
    const sign = async (message: Buffer) => {
      if (isWell()) return key.sign(message)
      throw new DeviceError('unavailable', 'the TPM was cleared')
    }
    return { ...key, scheme: 'tpm', introduction: async () => ({ tpm: {} }), sign }
  }
}

t.test('the first key that the operator takes; which, and why not a better one', async (t) => {
  const refuse = (sent: Sent): Answer => {
    const { tpm } = sent.body as { tpm?: unknown }
    if (tpm === undefined) return takes(sent)
    return { status: 422, body: { error: { code: 'unsupported', message: 'no TPMs' } } }
  }
  const { sent, events, reporter, enrolled } = await rig(t, refuse, (software) => [
    chip(software, () => true),
    software,
  ])
  reporter.prepare(NOW_MS)
  await enrolled(3)
  t.equal(sent.length, 3, 'a question with the TPM, and two requests without')
  const why = 'the operator does not take it: no TPMs'
  t.same(events, [{ event: 'metering-key', scheme: 'software', trust: 'software', why }])
})

t.test('an operator that does not answer now is no reason for another key', async (t) => {
  const busy = () => ({ status: 503, body: { error: { code: 'storage-unavailable' } } })
  const { sent, events, reporter, enrolled } = await rig(t, busy, (software) => [
    chip(software, () => true),
    software,
  ])
  reporter.prepare(NOW_MS)
  await enrolled(1)
  t.equal(sent.length, 1)
  t.match(events, [{ event: 'failed', what: 'metering key' }])
})

t.test('… nor one that was started anew between the two requests', async (t) => {
  let isNew = true
  const restarted = (sent: Sent): Answer => {
    if (!isNew || sent.path.endsWith('/challenge')) return takes(sent)
    return { status: 422, body: { error: { code: 'challenge-mismatch', message: 'not mine' } } }
  }
  const { sent, events, reporter, enrolled } = await rig(t, restarted, (software) => [
    chip(software, () => true),
    software,
  ])
  reporter.prepare(NOW_MS)
  await enrolled(2)
  t.equal(sent.length, 2)
  t.match(sent[1]?.body, { scheme: 'tpm' })
  t.match(events, [{ event: 'failed', what: 'metering key', message: /not mine/ }])
  isNew = false
  reporter.prepare(NOW_MS + 60_000)
  await enrolled(4)
  t.match(events[1], { event: 'metering-key', scheme: 'tpm', why: undefined })
})

t.test('a TPM that is cleared meanwhile is told of, and another way is taken', async (t) => {
  let isWell = true
  const { sent, events, reporter, enrolled } = await rig(t, takes, (software) => [
    chip(software, () => isWell),
    software,
  ])
  reporter.prepare(NOW_MS)
  await enrolled(2)
  t.ok(await reporter.sign(view(ABC, 0), OCTETS, NOW_MS))
  isWell = false
  t.equal(await reporter.sign(view(ABC, 0), OCTETS, NOW_MS), undefined, 'money is not kept back')
  reporter.prepare(NOW_MS)
  await enrolled(4)
  t.equal(sent.length, 4)
  t.ok(await reporter.sign(view(ABC, 0), OCTETS, NOW_MS))
  t.match(events, [
    { event: 'metering-key', scheme: 'tpm' },
    { event: 'failed', what: 'metering key', message: 'the TPM was cleared' },
    { event: 'metering-key', scheme: 'software', why: 'no TPM here' },
  ])
})
