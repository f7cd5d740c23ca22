// What the operator attests: the ledger's gain since the last summary, exactly, and keys that are
// in hardware; its book of what was published.

import t from 'tap'
import type { MeteringKey } from '../../accounting/session.ts'
import type { ClosedTotals } from '../../accounting/storage.ts'
import type { PublishedActivity } from '../../chain/activity-events.ts'
import { activitiesInterface } from '../../chain/bindings.ts'
import {
  type Activity,
  activityDigest,
  type DeviceEnrolment,
  deviceEnrolmentDigest,
  devicesDomain,
} from '../../ethereum/activity.ts'
import type { Address } from '../../ethereum/address.ts'
import { accountOf, recoverAddress, signDigest } from '../../ethereum/signature.ts'
import { payPlaceDomain } from '../../ethereum/typed-data.ts'
import { createActivityBook } from '../../server/activity-book.ts'
import { createActivityDesk } from '../../server/activity-desk.ts'
import { noActivityContracts } from './activity-double.ts'

const OPERATOR = 3
const keys = { operator: Buffer.alloc(32, 1), alice: Buffer.alloc(32, 2), bob: Buffer.alloc(32, 3) }
const alice = accountOf(keys.alice)
const domain = payPlaceDomain(31_337, noActivityContracts.activities)
const devices = devicesDomain(31_337, noActivityContracts.devices)
const point = { qx: Buffer.alloc(32, 4), qy: Buffer.alloc(32, 5) }
const meteringKey: MeteringKey = {
  ...({ account: alice, slot: 0, scheme: 'tpm', trust: 'hardware' } as const),
  publicKey: Buffer.concat([Buffer.of(4), point.qx, point.qy]).toString('base64url'),
  ...{ enrolledAtMs: 0, expiresAtMs: 1_000_001, counter: 0 },
}

function world(first: ClosedTotals) {
  const chain: PublishedActivity[] = []
  const state = {
    ...{ totals: first, nowMs: 1_000_000, askedMs: 0, known: [alice] as Address[] },
    keys: [meteringKey] as MeteringKey[],
  }
  const full = { isFull: false }
  const logOf = (one: PublishedActivity) =>
    activitiesInterface.encodeEventLog('ActivitySummary', [
      ...[one.consumer, one.operator, one.start, one.end, one.bytesUp, one.bytesDown],
      ...[one.sessions, one.paid, one.verifier, `0x${one.evidenceHash}`],
    ])
  const book = createActivityBook({
    rpc: {
      async request(_method, [filter]) {
        const { fromBlock, toBlock } = filter as { fromBlock: string; toBlock: string }
        return chain.slice(Number(fromBlock) - 1, Number(toBlock)).map(logOf)
      },
    },
    ...{ activity: noActivityContracts, deployBlock: 1, head: () => chain.length },
  })
  const desk = createActivityDesk({
    book: { ...book, isFull: () => full.isFull },
    ...{ operator: OPERATOR, domain, operatorKey: keys.operator, lagSeconds: 0 },
    storage: {
      async closedTotals(_account, endedBeforeMs) {
        state.askedMs = endedBeforeMs
        return state.totals
      },
    },
    isConsumer: (account) => state.known.includes(account),
    ...{ now: () => state.nowMs, wallNow: () => state.nowMs },
    devicesDomain: devices,
    meteringKeys: async (account) => state.keys.filter((key) => key.account === account),
  })
  const publish = (activity: Activity): void => {
    const { evidenceHash, nonce: _, ...rest } = activity
    chain.push({ ...rest, evidenceHash: Buffer.from(evidenceHash).toString('hex') })
  }
  return { state, full, book, desk, publish }
}

const totals = (over: Partial<ClosedTotals> = {}): ClosedTotals => ({
  ...{ sessions: 4, input: 100n, output: 900n, paid: 50n, firstStartedAtMs: 500_700 },
  idsHash: Buffer.alloc(32, 9),
  ...over,
})

async function proposed({ desk }: ReturnType<typeof world>): Promise<Activity> {
  const answer = await desk.propose(alice)
  if ('refusal' in answer) throw new Error(answer.refusal)
  return answer.activity
}

t.test('the first summary is all of it; the next one what the ledger has gained', async (t) => {
  const w = world(totals())
  const first = await proposed(w)
  t.match(first, { start: 500, end: 1_000, sessions: 4, bytesUp: 100n, bytesDown: 900n, paid: 50n })
  t.match(first, { nonce: 0n, verifier: 1, operator: OPERATOR })
  t.equal(w.state.askedMs, 1_000_000, 'of sessions that ended before the end')
  w.publish(first)
  t.match(await w.desk.propose(alice), { refusal: 'nothing-new' })
  w.state.nowMs = 2_000_500
  // A session that came to the books late, and a debt paid for an older one.
  w.state.totals = totals({ sessions: 5, input: 101n, output: 900n, paid: 57n })
  const second = await proposed(w)
  t.match(second, { start: 1_000, end: 2_000, sessions: 1, bytesUp: 1n, bytesDown: 0n, paid: 7n })
  t.equal(second.nonce, 1n)
  w.publish({ ...second, operator: OPERATOR + 1 })
  const third = await proposed(w).catch((error: Error) => error.message)
  t.equal(third, 'nothing-new', 'the clock is one for all operators: nothing before its end')
  w.state.nowMs = 3_000_000
  t.match(await proposed(w), { start: 2_000, end: 3_000, sessions: 1, nonce: 2n }, 'but not lost')
  w.state.totals = totals({ sessions: 3 })
  t.match(await w.desk.propose(alice), { refusal: 'published-more' })
  t.match(await w.desk.propose(accountOf(keys.bob)), { refusal: 'unknown-consumer' })
})

t.test('it signs what is exactly right, and nothing else', async (t) => {
  const w = world(totals())
  const right = await proposed(w)
  const attest = (change: Partial<Activity> = {}, key = keys.alice) => {
    const activity = { ...right, ...change }
    return w.desk.attest(activity, signDigest(activityDigest(domain, activity), key))
  }
  const good = await attest()
  if ('refusal' in good) throw new Error(good.refusal)
  const signer = recoverAddress(activityDigest(domain, right), good.signature)
  t.equal(signer, accountOf(keys.operator))
  for (const [change, refusal] of [
    [{ sessions: 5 }, 'figures-differ'],
    [{ paid: 49n }, 'figures-differ'],
    [{ start: 501 }, 'figures-differ'],
    [{ evidenceHash: Buffer.alloc(32) }, 'figures-differ'],
    [{ end: 1_001 }, 'not-ended'],
    [{ nonce: 1n }, 'replay'],
    [{ operator: 4 }, 'wrong-operator'],
    [{ verifier: 2 }, 'wrong-verifier'],
    [{ consumer: accountOf(keys.bob) }, 'bad-signature'],
  ] as const) {
    t.match(await attest(change), { refusal }, JSON.stringify(Object.keys(change)))
  }
  t.match(await attest({}, keys.bob), { refusal: 'bad-signature' })
  w.publish(right)
  t.match(await attest(), { refusal: 'replay' }, 'published meanwhile')
  t.match(await attest({ nonce: 1n }), { refusal: 'overlap' })
})

const enrolment: DeviceEnrolment = {
  operator: OPERATOR,
  consumer: alice,
  ...point,
  validUntil: 2_800,
}

/** What it says to an enrolment signed by that key. */
function enrols(
  { desk }: ReturnType<typeof world>,
  change: Partial<DeviceEnrolment> = {},
  key = keys.alice,
) {
  const value = { ...enrolment, ...change }
  return desk.enrol(value, signDigest(deviceEnrolmentDigest(devices, value), key))
}

t.test('a key in hardware that counts for the account may speak for itself', async (t) => {
  const w = world(totals())
  for (const validUntil of [1_300, 2_800, 4_600]) {
    const good = await enrols(w, { validUntil })
    if ('refusal' in good) throw new Error(good.refusal)
    const digest = deviceEnrolmentDigest(devices, { ...enrolment, validUntil })
    t.equal(recoverAddress(digest, good.signature), accountOf(keys.operator))
  }
  for (const [change, refusal] of [
    [{ operator: 4 }, 'wrong-operator'],
    [{ consumer: accountOf(keys.bob) }, 'bad-signature'],
    [{ validUntil: 1_299 }, 'wrong-time'],
    [{ validUntil: 4_601 }, 'wrong-time'],
    [{ qx: point.qy }, 'no-key'],
    [{ qy: point.qx }, 'no-key'],
  ] as const) {
    t.match(await enrols(w, change), { refusal }, JSON.stringify(Object.keys(change)))
  }
  t.match(await enrols(w, {}, keys.bob), { refusal: 'bad-signature' })
  const bob = { consumer: accountOf(keys.bob) }
  t.match(await enrols(w, bob, keys.bob), { refusal: 'unknown-consumer' })
  w.state.known.push(accountOf(keys.bob))
  t.match(await enrols(w, bob, keys.bob), { refusal: 'no-key' }, "another account's key")
})

t.test('other metering keys may not', async (t) => {
  for (const [change, refusal] of [
    [{ expiresAtMs: 1_000_000 }, 'key-expired'],
    [{ expiresAtMs: 0 }, 'key-expired'],
    [{ trust: 'software' }, 'software-key'],
    [{ trust: 'software', scheme: 'software' }, 'software-key'],
    [{ scheme: 'app-attest' }, 'asserts-only'],
  ] as const) {
    const w = world(totals())
    w.state.keys = [{ ...meteringKey, ...change }]
    t.match(await enrols(w), { refusal }, JSON.stringify(change))
  }
  for (const scheme of ['android-key', 'eat']) {
    const w = world(totals())
    w.state.keys = [{ ...meteringKey, scheme }]
    t.match(await enrols(w), { signature: Buffer }, scheme)
  }
})

t.test('an account asks for enrolments no more than its part; nobody else for it', async (t) => {
  const w = world(totals())
  for (let n = 0; n < 25; n++) await enrols(w, {}, keys.bob)
  let granted = 0
  while (granted < 100 && 'signature' in (await enrols(w))) granted += 1
  t.equal(granted, 20)
  t.match(await enrols(w), { refusal: 'too-many-requests' })
})

t.test('the book: by operator and consumer, and untouched by a failure', async (t) => {
  const w = world(totals())
  const right = await proposed(w)
  w.publish(right)
  w.publish({ ...right, consumer: accountOf(keys.bob), paid: 1n })
  w.publish({ ...right, start: 2_000, end: 2_001, operator: 4 })
  t.equal(await w.book.catchUp(), true)
  t.equal(w.book.block(), 3)
  t.match(w.book.operators(), [
    { operator: 3, consumers: 2, summaries: 2, paid: 51n, firstStart: 500, lastEnd: 1_000 },
    { operator: 4, consumers: 1, summaries: 1, lastEnd: 2_001 },
  ])
  t.match(w.book.consumer(alice), { count: 2, end: 2_001 })
  let isAway = true
  const failing = createActivityBook({
    rpc: {
      async request() {
        if (isAway) throw new Error('away')
        return []
      },
    },
    ...{ activity: noActivityContracts, deployBlock: 1, head: () => 1 },
  })
  await t.rejects(failing.catchUp(), /away/)
  t.equal(failing.block(), 0)
  isAway = false
  t.equal(await failing.catchUp(), true)
})

t.test('one account makes the ledger add up no more than its part', async (t) => {
  const w = world(totals())
  w.state.known.push(accountOf(keys.bob))
  let added = 0
  while (added < 100 && 'activity' in (await w.desk.propose(alice))) added += 1
  t.equal(added, 20)
  t.match(await w.desk.propose(alice), { refusal: 'too-many-requests' })
  t.match(await w.desk.propose(accountOf(keys.bob)), { activity: { sessions: 4 } })
  w.state.nowMs += 10_000
  const activity = await proposed(w)
  const forged = signDigest(activityDigest(domain, activity), keys.bob)
  w.state.nowMs += 10_000
  for (let n = 0; n < 25; n++) await w.desk.attest(activity, forged)
  t.match(await w.desk.propose(alice), { activity: { sessions: 4 } }, 'nobody else asks for it')
})

t.test('a book that is full refuses only who is not in it', async (t) => {
  const w = world(totals())
  w.state.known.push(accountOf(keys.bob))
  w.publish(await proposed(w))
  w.state.nowMs += 1_000_000
  w.state.totals = totals({ sessions: 5 })
  w.full.isFull = true
  t.match(await w.desk.propose(alice), { activity: { sessions: 1, nonce: 1n } })
  t.match(await w.desk.propose(accountOf(keys.bob)), { refusal: 'not-ready' })
})
