// One round of a lying access point with an honest device, and of a lying device at an honest
// access point, at the same time; what must come of it in the sessions, the disputes and the books.
// Called by the attested-wired tests.

import type { Test } from 'tap'
import {
  type Json,
  octetsOf,
  type openScene,
  PER_MILLISECOND,
  PER_OCTET,
  type Usage,
  type Visit,
} from './wired-meters.ts'

export type Scene = Awaited<ReturnType<typeof openScene>>

/** Enough for 30 % of it to be beyond 5 % and 1 MB, whatever else a session moves. */
export const MOVED = 9_000_000
/** What is counted beside what was moved: headers, acknowledgements, questions to the operator. */
const BESIDE = 0.06

export const attestedOf = (session: Json): bigint => octetsOf(session['attested'])
const hasReported = ({ attested }: Json) => attested !== null && attested !== undefined
const seconds = (session: Json, name: string) => Number(session[name])

/** What is not signed at the end of a session is its access point's to tell. */
function claimedOf(session: Json): bigint {
  const [told, said] = [octetsOf(session), attestedOf(session)]
  const { countedOctets } = session['attested'] as Json
  const known = BigInt(String(countedOctets))
  if (told <= said) return said
  return said > known ? told : said + told - known
}

/** What each side says of the volume, and what the policy makes of it. */
export function billOf(usage: Usage, session: Json): bigint {
  const [told, said] = [octetsOf(session), claimedOf(session)]
  const [less, more] = told < said ? [told, said] : [said, told]
  return { accounting: told, attested: said, lower: less, higher: more }[usage]
}

/** The session's bill is its volume by the policy and its time; the books add up to it. */
async function checkBill(t: Test, scene: Scene, session: Json, usage: Usage): Promise<void> {
  const rated = billOf(usage, session)
  t.equal(session['ratedOctets'], `${rated}`, `billed by ${usage}`)
  const owed = BigInt(String(session['owed']))
  const time = owed - rated * PER_OCTET
  t.equal(time % PER_MILLISECOND, 0n, 'to the unit: the rest is whole milliseconds')
  const lasted = seconds(session, 'endedAt') - seconds(session, 'startedAt')
  t.ok(Math.abs(Number(time / PER_MILLISECOND) / 1_000 - lasted) <= 1, `of the ${lasted} s it took`)
  const { entries } = (await scene.ledger('--account', String(session['account']))) as {
    entries: Json[]
  }
  const own = entries.filter((entry) => entry['session'] === session['id'])
  const paid = own.reduce((sum, { amount }) => sum + BigInt(String(amount)), 0n)
  t.equal(session['paid'], `${paid}`, 'paid is what the ledger has moved to it')
  const { arrears } = (await scene.ledger('--arrears')) as { arrears: Json[] }
  const due = arrears.find(({ account }) => account === session['account'])
  t.equal(due?.['owed'] ?? '0', `${owed > paid ? owed - paid : 0n}`, 'the rest is in arrears')
}

type Side = 'access-point' | 'device'

/**
 * Joins, moves octets with a meter at each end, leaves; the session when all has been said. `liar`:
 * which side lies, if any.
 */
export async function stay(visit: Visit, liar?: Side): Promise<Json> {
  await visit.until('a first report', hasReported)
  await visit.move(MOVED)
  const signed = liar === 'device' ? 0.7 * MOVED : MOVED
  const isCounted = (one: Json) => octetsOf(one) >= MOVED && attestedOf(one) >= signed
  const isDisputed = (one: Json) => one['disputed'] === (liar !== undefined)
  const isSeen = (one: Json) => hasLeft(visit) || (isCounted(one) && isDisputed(one))
  await visit.until('both meters', isSeen)
  await visit.leave()
  const session = await visit.until(
    'all paid and said',
    (one) => one['due'] === '0' && isDisputed(one),
  )
  await visit.payer.end('SIGTERM')
  return session
}

const hasLeft = ({ payer }: Visit) => payer.lines().some(({ event }) => event === 'left')

/** What is on record of it: once, with what each side said then. */
async function checkDispute(t: Test, scene: Scene, session: Json): Promise<void> {
  const { disputes } = (await scene.get('/v1/disputes')) as { disputes: Json[] }
  const own = disputes.filter((one) => one['session'] === session['id'])
  t.equal(own.length, 1, 'in dispute, once')
  const [one = {}] = own
  t.match(one, { kind: 'usage-disagreement', trust: 'software', account: session['account'] })
  const [told, said] = [Number(one['nasOctets']), Number(one['otherOctets'])]
  t.ok(told > 1.05 * said + 1_000_000, `${told} told, ${said} signed`)
  t.ok(told <= Number(octetsOf(session)) && said <= Number(attestedOf(session)))
  const account = await scene.get(`/v1/accounts/${session['account']}`)
  t.ok(Number(account['reliability']) < 1, `its device: ${account['reliability']}`)
}

const about = (t: Test, figure: bigint, expected: number, what: string): void => {
  const ratio = Number(figure) / expected
  t.ok(ratio > 1 - BESIDE && ratio < 1 + BESIDE, `${what}: ${figure}, ${ratio.toFixed(3)}`)
}

/** All of it under one policy: `honest` at the access point that lies, `liar` at the other. */
export async function bothLie(
  t: Test,
  scene: Scene,
  usage: Usage,
  names: { readonly honest: string; readonly liar: string },
): Promise<void> {
  const [victim, liar] = await Promise.all([
    scene.visit(names.honest, 'lying'),
    scene.visit(names.liar, 'honest', true),
  ])
  const [robbed, cheap] = await Promise.all([stay(victim, 'access-point'), stay(liar, 'device')])

  t.equal(octetsOf(robbed), BigInt(victim.told().told), `${usage}: as it was told`)
  about(t, octetsOf(robbed), 1.3 * victim.told().counted, 'it tells of 30 % more than was counted')
  if (!hasLeft(victim)) {
    about(t, attestedOf(robbed), victim.told().counted, 'its device has signed what was counted')
  }
  t.equal(octetsOf(cheap), BigInt(liar.told().counted), `${usage}: told as counted`)
  if (!hasLeft(liar)) {
    about(t, attestedOf(cheap), 0.7 * liar.told().counted, 'it signs 30 % less')
  }
  for (const session of [robbed, cheap]) {
    await checkDispute(t, scene, session)
    await checkBill(t, scene, session, usage)
  }
}
