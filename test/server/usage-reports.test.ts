import t from 'tap'
import { signDigest } from '../../ethereum/signature.ts'
import { sessionQueryDigest } from '../../ethereum/typed-data.ts'
import { createUsageReports } from '../../server/usage-reports.ts'
import { usage } from '../accounting/books.ts'
import { accountNamed, domain, hex, keyNamed, paymentBy } from '../accounting/vouchers.ts'
import { newMeteringKey, type TestKey } from './enrolment-rig.ts'
import { diskFull, NOW_MS, rig, tariff } from './payment-rig.ts'
import { evidenceOf, NOW_SECONDS, served } from './usage-rig.ts'

t.test('a report with a payment is kept with its session, durable with the money', async (t) => {
  const { world, ledger, session, nonce, evidence, pay } = served('hardware')
  const body = paymentBy('alice', 15n, { session, evidence: evidence() })
  t.ok(JSON.stringify(body['evidence' as keyof typeof body]).length < 300)
  const paid = await pay(body)
  t.equal(paid.status, 200)
  t.equal(paid.receipt.credited, '15')
  t.same(paid.usage, { accepted: true, trust: 'hardware', nonce: nonce() })
  const attested = {
    ...{ sequence: 1, time: NOW_SECONDS, inputOctets: 100n, outputOctets: 900n },
    ...{
      trust: 'hardware',
      scheme: 'software',
      missing: 0,
      atMs: NOW_MS,
      countedOctets: 0n,
      disagrees: false,
    },
  }
  t.match(ledger.session(session)?.attested, attested)
  t.match(world.commits.at(-1)?.sessions.at(-1)?.attested, attested)
  t.same(world.reports, ['accepted'])
})

t.test('a refused report refuses no payment, and is told of', async (t) => {
  const { world, ledger, session, evidence, pay } = served()
  const paid = await pay(
    paymentBy('alice', 15n, { session, evidence: evidence({}, newMeteringKey()) }),
  )
  t.equal(paid.status, 200)
  t.equal(paid.receipt.credited, '15')
  t.same(paid.usage, { accepted: false, reason: 'bad-signature' }, 'and no nonce for strangers')
  t.equal(ledger.session(session)?.attested, undefined)
  t.same(world.reports, ['bad-signature'])
  const batch = await pay({ payments: [paymentBy('alice', 16n, { evidence: evidence() })] })
  t.match(batch.results, [{ usage: { accepted: true } }], 'in a batch, without naming the session')
})

t.test('reports alone: each refusal, and what they leave', async (t) => {
  const { world, ledger, session, alice, enrol, nonce, evidence, report, open } = served()
  t.match(await report(evidence({ sequence: 3 })), { accepted: true })
  t.equal(ledger.session(session)?.attested?.missing, 2, 'two never came')
  const commits = world.commits.length
  const old = newMeteringKey()
  enrol(old, NOW_MS)
  const far = NOW_SECONDS + 61
  const stranger = newMeteringKey()
  const cases: [name: string, body: unknown, reason: string, hasNonce: boolean][] = [
    ['the same again', evidence({ sequence: 3 }), 'replayed', true],
    ['an earlier one', evidence({ sequence: 2 }), 'replayed', true],
    ['less', evidence({ sequence: 4, inputOctets: 99n }), 'rolled-back', true],
    ['less down', evidence({ sequence: 4, outputOctets: 899n }), 'rolled-back', true],
    ['ahead', evidence({ sequence: 4, time: far }), 'clock-skew', true],
    ['another nonce', evidence({ sequence: 4, nonce: Buffer.alloc(16) }), 'wrong-nonce', true],
    ['by a stranger', evidence({ sequence: 4 }, stranger), 'bad-signature', false],
    ['by a stranger, the same again', evidence({ sequence: 3 }, stranger), 'bad-signature', false],
    ['by an old key', evidence({ sequence: 4 }, old), 'key-expired', true],
    ['no report', { report: 'AAAA' }, 'malformed', false],
    ['no object', 7, 'malformed', false],
    ['another session', evidence({ session: open('alice', 2) }), 'unknown-session', false],
    ['of nobody', evidence({ session: '0'.repeat(32) }), 'unknown-session', false],
  ]
  for (const [name, body, reason, hasNonce] of cases) {
    const expected = { accepted: false, reason, ...(hasNonce && { nonce: nonce() }) }
    t.same(await report(body), expected, name)
  }
  t.equal(ledger.session(session)?.attested?.sequence, 3)
  t.equal(world.commits.length, commits, 'nothing is written for what is refused')
  t.same(
    world.reports.slice(1),
    cases.map(([, , reason]) => reason),
  )
  ledger.close(session, 'stopped', NOW_MS)
  world.nowMs += 180_000
  const last = { sequence: 5, time: NOW_SECONDS + 180 }
  t.match(await report(evidence(last)), { accepted: true }, 'the last word after the end')
  t.equal(ledger.session(session)?.attested?.missing, 3, 'another one never came')
  world.nowMs += 1
  const late = await report(evidence({ ...last, sequence: 6 }))
  t.match(late, { reason: 'session-over' })
  t.ok(ledger.knows(alice))
})

t.test('the key that signed the last report is tried first, then the newest', async (t) => {
  const { ledger, session, alice, key: oldest, evidence } = served()
  const newer = [1, 2, 3].map((n) => {
    const key = newMeteringKey()
    const publicKey = key.publicKey.toString('base64url')
    const times = { enrolledAtMs: NOW_MS + n, expiresAtMs: NOW_MS + 86_400_000 }
    ledger.enrol({ account: alice, publicKey, scheme: 'software', trust: 'software', ...times })
    return key
  })
  const tried: number[] = []
  /** Fresh objects, so that each one that is tried is read. */
  const meteringKeys = () =>
    ledger.meteringKeys(alice).map((known) => ({
      ...known,
      get publicKey() {
        tried.push(known.slot)
        return known.publicKey
      },
    }))
  const reports = createUsageReports({
    ledger: { ...ledger, meteringKeys },
    ...{ secret: keyNamed('secret'), appAttest: () => undefined, count: () => undefined },
    ...{ now: () => NOW_MS, wallNow: () => NOW_MS },
  })
  const takes = (sequence: number, by = oldest) => {
    tried.length = 0
    return reports.take(alice, session, evidence({ sequence }, by)).accepted && [...tried]
  }
  t.same(takes(1, newer[2]), [3], 'the newest')
  t.same(takes(2), [3, 2, 1, 0], 'each one before')
  t.same(takes(3), [0], 'it goes on')
  t.same(takes(4, newer[2]), [0, 3], 'shown anew')
  t.same(takes(5, newMeteringKey()), false)
  t.equal(tried.length, 4)
})

t.test('a nonce counts for its quarter of an hour and the next', async (t) => {
  const { world, nonce, evidence, report } = served()
  const first = nonce()
  world.wallAheadMs += 900_000
  const time = NOW_SECONDS + 900
  t.not(nonce(), first)
  const nonceOctets = Buffer.from(first, 'base64url')
  t.match(await report(evidence({ time, nonce: nonceOctets })), { accepted: true })
  world.wallAheadMs += 900_000
  const late = evidence({ sequence: 2, time: time + 900, nonce: nonceOctets })
  t.match(await report(late), { reason: 'wrong-nonce' })
})

t.test('the query tells the nonce; the route refuses what it can not read', async (t) => {
  const { world, alice, session, nonce, evidence, post } = served()
  const { operator, separator } = domain
  const digest = sessionQueryDigest(separator, { consumer: alice, operator, time: NOW_SECONDS })
  const signature = hex(signDigest(digest, keyNamed('alice')))
  const query = { consumer: alice, time: NOW_SECONDS, signature }
  const { sessions } = await post('/v1/sessions/query', query)
  t.match(sessions, [{ id: session, usageNonce: nonce(), usageSequence: 0 }])
  const good = { consumer: alice, session, evidence: evidence() }
  const malformed = [[], { ...good, more: 1 }, { ...good, consumer: 'x' }, { ...good, session: 1 }]
  for (const body of malformed) {
    t.match(await post('/v1/usage', body), { status: 400, error: { code: 'malformed' } })
  }
  const stranger = { ...good, consumer: accountNamed('carol') }
  t.match(await post('/v1/usage', stranger), { status: 404, error: { code: 'unknown-consumer' } })
  world.commit = () => {
    throw diskFull()
  }
  t.match(await post('/v1/usage', good), { status: 503, error: { code: 'storage-unavailable' } })
})

t.test('a session whose Accept never went out has nothing to report of', async (t) => {
  const { world, ledger, session: open, alice, nonceOf, key, post } = served()
  const reserved = '5e'.repeat(16)
  const place = ledger.session(open)?.place
  if (place === undefined) throw new Error('no place')
  const session = { id: reserved, kind: 'normal', account: alice, merchant: alice, tariff } as const
  ledger.begin({ ...session, place, reserve: 1n, endsAtMs: world.nowMs + 1 }, world.nowMs)
  const evidence = evidenceOf(key, reserved, nonceOf(reserved), {})
  const answer = await post('/v1/usage', { consumer: alice, session: reserved, evidence })
  t.same(answer.usage, { accepted: false, reason: 'unknown-session' })
  t.match(ledger.session(reserved), { state: 'reserved', attested: undefined })
})

t.test('what is said unsigned is not held against what is signed beside it', async (t) => {
  const counted = usage({ eventAtMs: NOW_MS, inputOctets: 40_000_000n, outputOctets: 0n })
  const low = { inputOctets: '1', outputOctets: '0' }
  const disputes = async (of: (key: TestKey) => TestKey) => {
    const { world, ledger, session, key, evidence, pay } = served()
    const place = ledger.session(session)?.place
    if (place === undefined) throw new Error('no place')
    world.nowMs += 1_000
    ledger.report(session, counted, place, world.nowMs)
    const signed = evidence({ inputOctets: 40_000_000n }, of(key))
    const paid = await pay(paymentBy('alice', 15n, { session, usage: low, evidence: signed }))
    t.equal(paid.status, 200)
    return world.commits.at(-1)?.disputes.map(({ trust }) => trust)
  }
  t.same(await disputes((key) => key), [])
  t.same(await disputes(newMeteringKey), ['none'], 'signed by a stranger: it is all there is')
})

t.test('an account without a key has nothing to report with', async (t) => {
  const { open, deposit, post, reports } = rig()
  const bob = deposit('bob', 10n)
  const session = open('bob')
  const evidence = evidenceOf(newMeteringKey(), session, reports.nonceOf(session), {})
  const answer = await post('/v1/usage', { consumer: bob, session, evidence })
  t.same(answer.usage, { accepted: false, reason: 'no-key' })
})

t.test('who names no session of the account makes nobody read its books', async (t) => {
  const { world, deposit, post } = rig()
  const carol = deposit('carol', 10n)
  const others = served().session
  for (const session of ['0'.repeat(32), others]) {
    const answer = await post('/v1/usage', { consumer: carol, session, evidence: 7 })
    t.match(answer.usage, { accepted: false })
  }
  t.same(world.ensured, [])
})

t.test('reports alone cost their address what checking them costs', async (t) => {
  const { session, evidence, post, alice } = served()
  const bad = { consumer: alice, session, evidence: evidence({}, newMeteringKey()) }
  let taken = 0
  while (taken < 2_500 && (await post('/v1/usage', bad)).status === 200) taken += 1
  t.equal(taken, 2_500)
  t.match(await post('/v1/usage', bad), { status: 429, error: { code: 'too-many-requests' } })
})

t.test('a clock that is set back refuses no reports until the old time', async (t) => {
  const { world, evidence, report } = served()
  world.wallAheadMs = 3_600_000
  t.match(await report(evidence({ time: NOW_SECONDS + 3_600 })), { accepted: true })
  world.wallAheadMs = 0
  t.match(await report(evidence({ sequence: 2 })), { accepted: true })
  const before = evidence({ sequence: 3, time: NOW_SECONDS - 1 })
  t.match(await report(before), { reason: 'clock-skew' }, 'and its order holds from then on')
})

t.test('while the store is away a report is refused, and changes nothing', async (t) => {
  const { world, ledger, session, evidence, report, post, alice } = served()
  world.failed = diskFull()
  const body = { consumer: alice, session, evidence: evidence() }
  t.match(await post('/v1/usage', body), { status: 503, error: { code: 'storage-unavailable' } })
  t.equal(ledger.session(session)?.attested, undefined)
  world.failed = undefined
  t.match(await report(evidence()), { accepted: true }, 'the same again')
})

t.test('a Stop that its access point holds back leaves the device its last word', async (t) => {
  const { world, ledger, session, evidence, report } = served()
  const place = ledger.session(session)?.place
  if (place === undefined) throw new Error('no place')
  world.nowMs += 100_000
  const late = usage({ eventAtMs: NOW_MS + 10_000, outputOctets: 5_000_000n })
  ledger.stop(session, late, place, world.nowMs)
  t.match(ledger.session(session), { state: 'closed', endedAtMs: NOW_MS + 10_000 })
  world.nowMs += 180_000
  t.match(await report(evidence({ time: NOW_SECONDS + 280 })), { accepted: true })
  world.nowMs += 1
  const over = evidence({ time: NOW_SECONDS + 280, sequence: 2 })
  t.match(await report(over), { reason: 'session-over' })
})
