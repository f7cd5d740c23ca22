// A device's last word where its access point tells of no end: the books close the session by
// silence, or some time after it was to be put off, and the device sees that only then. With the
// default tariff, through the HTTP door.

import t from 'tap'
import { debtOf, lastReportUntilMs, ratedOctets } from '../../accounting/rating.ts'
import type { Session } from '../../accounting/session.ts'
import { factsBody, sessionOf, usageText } from '../../accounting/store-body.ts'
import { usage } from '../accounting/books.ts'
import { paymentBy } from '../accounting/vouchers.ts'
import { NOW_MS, tariff } from './payment-rig.ts'
import { served } from './usage-rig.ts'

const MB = 1_000_000n
const POLICIES = ['attested', 'lower'] as const

/**
 * A device moves 10 MB in its first minute, says so, pays and leaves. Its access point says 1000 MB
 * twenty seconds later, and nothing from then on.
 */
async function left(by: (typeof POLICIES)[number]) {
  const rig = served('hardware', { ...tariff, usage: { by, trust: 'hardware' } })
  const { world, ledger, session, evidence, report, pay } = rig
  const look = (): Session => {
    const found = ledger.session(session)
    if (found === undefined) throw new Error('gone')
    return found
  }
  const goTo = (seconds: number) => {
    world.nowMs = NOW_MS + seconds * 1_000
    ledger.advance(world.nowMs)
  }
  const counts = (megabytes: bigint, seconds: number) => {
    goTo(seconds)
    const octets = { inputOctets: 0n, outputOctets: megabytes * MB }
    ledger.report(session, usage({ eventAtMs: world.nowMs, ...octets }), look().place, world.nowMs)
  }
  const says = (sequence: number) => {
    const time = Math.floor(world.nowMs / 1_000)
    return report(evidence({ sequence, time, inputOctets: 0n, outputOctets: 10n * MB }))
  }
  counts(9n, 55)
  goTo(59)
  await says(1)
  await pay(paymentBy('alice', 25n, { session }))
  counts(1_000n, 80)
  /** A sweep a second, until the books close it. */
  const wait = (): void => {
    for (let at = 80; look().state !== 'closed'; at += 1) goTo(at)
  }
  return { ...rig, look, goTo, says, wait }
}

/** What is in the store of a session, read again. */
const stored = (session: Session): Session =>
  sessionOf(factsBody(session), usageText(session), new Map())

for (const by of POLICIES) {
  t.test(`${by}: closed by silence, its bill is the access point's until it answers`, async (t) => {
    const { ledger, alice, look, goTo, says, wait } = await left(by)
    wait()
    const end = { endedBy: 'interims-missed', endedAtMs: NOW_MS + 80_000 }
    t.match(look(), { ...end, closedAtMs: NOW_MS + 260_000, cutReason: 'intervals-missed' })
    t.equal(ratedOctets(look()), 1_000n * MB)
    t.equal(debtOf(look()), 989n, 'of 80 s and 1000 MB for 25')
    t.equal(ledger.account(alice)?.cuts, 1, 'judged as missed')
    const standing = () => ledger.standing(alice, look().place, look().merchant, NOW_MS + 300_000)
    t.equal(standing().barring, 989n)
    // It asks once an interval; one request gets lost, and its key must be shown anew.
    goTo(260 + 150)
    t.match(await says(2), { accepted: true })
    t.equal(ratedOctets(look()), 10n * MB)
    t.match(look(), { disputed: true, attested: { sequence: 2, disagrees: true } })
    t.same([debtOf(look()), standing().barring], [0n, 0n], 'rated anew, as with a Stop')
    t.same(ledger.debtsOf(alice), [])
    t.equal(ledger.account(alice)?.cuts, 0, 'who owes nothing is held nothing against')
  })

  t.test(`${by}: put off, and nobody says that it is gone`, async (t) => {
    const { ledger, session, look, goTo, says, wait } = await left(by)
    ledger.cut(session, 'operator', NOW_MS + 81_000)
    wait()
    const end = { endedBy: 'disconnected', endedAtMs: NOW_MS + 141_000 }
    t.match(look(), { ...end, closedAtMs: NOW_MS + 201_000 })
    t.equal(ratedOctets(look()), 1_000n * MB)
    goTo(201 + 180)
    t.match(await says(2), { accepted: true }, 'three intervals')
    t.equal(ratedOctets(look()), 10n * MB)
    t.ok(look().disputed)
    goTo(201 + 180.001)
    t.match(await says(3), { reason: 'session-over' }, 'then its figures stand')
  })
}

t.test('a restart changes nothing of it; older rows go by what was heard last', async (t) => {
  const { look, wait } = await left('lower')
  t.equal(lastReportUntilMs(look()), Number.POSITIVE_INFINITY)
  wait()
  t.equal(lastReportUntilMs(look()), NOW_MS + 260_000 + 180_000)
  t.same(stored(look()), look())
  t.equal(lastReportUntilMs(stored(look())), lastReportUntilMs(look()))
  const { closedAtMs, ...old } = look()
  t.equal(closedAtMs, NOW_MS + 260_000)
  const older = stored(old as Session)
  t.equal(older.closedAtMs, undefined)
  t.equal(lastReportUntilMs(older), NOW_MS + 80_000 + 60_000)
})

t.test('a minute at least, however short the intervals; and the grace', async (t) => {
  const { look, wait } = await left('lower')
  wait()
  const closedAtMs = NOW_MS + 260_000
  const until = (intervalMs: number, graceMs: number) =>
    lastReportUntilMs({ ...look(), tariff: { ...tariff, intervalMs, graceMs } }) - closedAtMs
  t.equal(until(1_000, 0), 60_000)
  t.equal(until(20_000, 5_000), 65_000)
  t.equal(until(600_000, 30_000), 1_830_000)
})

t.test('an access point that starts again tells late of what it no longer serves', async (t) => {
  const { ledger, session, look, goTo, says } = await left('lower')
  goTo(200)
  ledger.close(session, 'nas-restarted', look().heardAtMs, NOW_MS + 200_000)
  t.match(look(), { endedAtMs: NOW_MS + 80_000, closedAtMs: NOW_MS + 200_000 })
  goTo(200 + 180)
  t.match(await says(2), { accepted: true })
})
