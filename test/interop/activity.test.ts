// Activity summaries end to end: 50 sessions of five accounts on a real server (EAP-TLS, vouchers,
// accounting), their summaries published on its chain, false and repeated ones refused by attestor
// and contract, and the statistics of the events equal to the ledger.

import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import t from 'tap'
import {
  attestorEvidence,
  digestOf,
  enrolDevice,
  findActivityContracts,
  publishActivity,
} from '../../chain/activity-calls.ts'
import { ChainError } from '../../chain/error.ts'
import { readActivityRecords } from '../../device/activities-file.ts'
import { nextSummary, publishNow } from '../../device/activity.ts'
import { activityKeyOf } from '../../device/activity-key.ts'
import { openSoftwareKey } from '../../device/metering-key.ts'
import {
  type Activity,
  BY_DEVICE,
  deviceEnrolmentDigest,
  devicesDomain,
} from '../../ethereum/activity.ts'
import { type Address, checksumAddress } from '../../ethereum/address.ts'
import { signDigest } from '../../ethereum/signature.ts'
import { activityScene, type Party, type Sums } from './activity-scene.ts'
import { startPayer } from './payer-process.ts'
import { createDevice, eapolTest, runDatanet } from './server.ts'

t.setTimeout(170_000)

const NAMES = ['ada', 'bea', 'cid', 'dan', 'eve']
const SESSIONS_EACH = 10
const PRICE = 10n ** 12n

const scene = await activityScene(t)
const { server, payers } = scene
const { access, operatorId } = payers
const contracts = await findActivityContracts(access.rpc, access.contract)
const parties = await (async () => {
  const made: Party[] = []
  for (const name of NAMES) made.push(await scene.party(name))
  return made
})()
const [ada, bea, cid, dan] = parties as [Party, Party, Party, Party, Party]

interface Line {
  readonly operator: number
  readonly summaries: number
  readonly consumers: number
  readonly sessions: string
  readonly bytesUp: string
  readonly bytesDown: string
  readonly paid: string
  readonly firstStart: number
  readonly lastEnd: number
}

/** `datanet activity --json` against the server. */
async function statistics(...args: string[]): Promise<Line[]> {
  const words = ['activity', '--json', '--server', server.url, ...args]
  const { code, out, errors } = await runDatanet(words, { cwd: server.directory })
  if (code !== 0) throw new Error(errors)
  return (JSON.parse(out) as { operators: Line[] }).operators
}

const sumOf = (all: Iterable<Sums>) =>
  [...all].reduce(
    (sum, one) => ({
      sessions: sum.sessions + one.sessions,
      bytesUp: sum.bytesUp + one.bytesUp,
      bytesDown: sum.bytesDown + one.bytesDown,
      paid: sum.paid + one.paid,
    }),
    { sessions: 0, bytesUp: 0n, bytesDown: 0n, paid: 0n },
  )

const textOf = ({ sessions, bytesUp, bytesDown, paid }: Sums) => ({
  ...{ sessions: `${sessions}`, bytesUp: `${bytesUp}` },
  ...{ bytesDown: `${bytesDown}`, paid: `${paid}` },
})

function jsonOf(activity: Activity): Record<string, unknown> {
  const { bytesUp, bytesDown, paid, nonce, evidenceHash } = activity
  return {
    ...{ ...activity, consumer: checksumAddress(activity.consumer) },
    ...{ bytesUp: `${bytesUp}`, bytesDown: `${bytesDown}`, paid: `${paid}`, nonce: `${nonce}` },
    evidenceHash: `0x${Buffer.from(evidenceHash).toString('hex')}`,
  }
}

const digest = (activity: Activity): Buffer =>
  digestOf(access.chainId, contracts.activities, activity)
const signedBy = ({ key }: Party, activity: Activity): Buffer => signDigest(digest(activity), key)

/** What the attestor says to a summary that the consumer has signed. */
async function attest(party: Party, activity: Activity, signature = signedBy(party, activity)) {
  const body = { activity: jsonOf(activity), signature: `0x${signature.toString('hex')}` }
  return scene.post('/v1/activity', body)
}

/** What the contract says, sent by the party. */
async function sent(party: Party, activity: Activity, evidence: string): Promise<string> {
  const sender = { rpc: access.rpc, chainId: access.chainId, privateKey: party.key }
  try {
    await publishActivity(sender, contracts, activity, signedBy(party, activity), evidence)
    return 'published'
  } catch (error) {
    return (error as Error).message
  }
}

/** As its operator would attest it, right or wrong. */
const evidenceFor = (activity: Activity): string => {
  const bytes = digest(activity)
  return attestorEvidence(bytes, [signDigest(bytes, scene.operatorKey)])
}

async function proposed(party: Party): Promise<Activity> {
  const activity = await nextSummary(await scene.deps(party))
  if (activity === undefined) throw new Error('nothing to publish')
  return activity
}

/** Resolves when the party has so many sessions to publish. */
async function ended(party: Party, sessions = 1): Promise<void> {
  const deps = await scene.deps(party)
  while ((await nextSummary(deps))?.sessions !== sessions) {
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

let straddler: Awaited<ReturnType<typeof scene.joins>>

t.test('50 sessions: opened by EAP-TLS, paid, ended by accounting', async (t) => {
  for (let n = 0; n < SESSIONS_EACH; n++) {
    await Promise.all(
      parties.map(async (party, i) => {
        const session = await scene.joins(party)
        await scene.pays(party, session, PRICE * BigInt(1 + i + n))
        await scene.stops(session, 1_000 + 10 * n + i, 20_000 + 100 * n + i)
      }),
    )
  }
  straddler = await scene.joins(ada)
  await scene.pays(ada, straddler, PRICE)
  const sums = await scene.booked()
  t.equal(sums.size, parties.length)
  for (const one of sums.values()) t.equal(one.sessions, SESSIONS_EACH)
  t.same(await statistics(), [], 'nothing is published yet')
})

t.test('a false summary is refused by the attestor', async (t) => {
  // What ended in this very second is for the next one.
  for (const party of parties) await ended(party, SESSIONS_EACH)
  const right = await proposed(ada)
  t.equal(right.sessions, SESSIONS_EACH, 'the session that is open is in no summary yet')
  const wrong: [string, Partial<Activity>, number, string][] = [
    ['one session more', { sessions: right.sessions + 1 }, 422, 'figures-differ'],
    ['one octet up more', { bytesUp: right.bytesUp + 1n }, 422, 'figures-differ'],
    ['one octet down less', { bytesDown: right.bytesDown - 1n }, 422, 'figures-differ'],
    ['one unit more paid', { paid: right.paid + 1n }, 422, 'figures-differ'],
    ['an earlier start', { start: right.start - 1 }, 422, 'figures-differ'],
    ['other sessions', { evidenceHash: Buffer.alloc(32) }, 422, 'figures-differ'],
    ['an end to come', { end: right.end + 1_000 }, 422, 'not-ended'],
    ['another nonce', { nonce: 1n }, 409, 'replay'],
    ['another operator', { operator: operatorId + 1 }, 422, 'wrong-operator'],
    ['another verifier', { verifier: BY_DEVICE }, 422, 'wrong-verifier'],
  ]
  for (const [name, change, status, code] of wrong) {
    const answer = await attest(ada, { ...right, ...change })
    t.match(answer, { status, body: { error: { code } } }, name)
  }
  const forged = await attest(ada, right, signedBy(bea, right))
  t.match(forged, { status: 401, body: { error: { code: 'bad-signature' } } }, 'by another')
  const body = { activity: { ...jsonOf(right), more: 1 }, signature: `0x${'11'.repeat(65)}` }
  t.match(await scene.post('/v1/activity', body), { status: 400 }, 'a field nobody knows')
  const own = signDigest(digest(right), ada.key)
  const refused = await sent(ada, right, attestorEvidence(digest(right), [own]))
  t.match(refused, /Datanet_EvidenceRefused\(1\)/, 'the consumer is no attestor')
})

t.test('summaries are published; the statistics equal the ledger to the unit', async (t) => {
  const all = parties.map(async (party) => publishNow(await scene.deps(party)))
  for (const { kind } of await Promise.all(all)) t.equal(kind, 'published')
  const booked = await scene.booked()
  const [line, ...others] = await statistics()
  t.same(others, [])
  const expected = { operator: operatorId, summaries: 5, consumers: 5 }
  t.match(line, { ...expected, ...textOf(sumOf(booked.values())), sessions: '50' })
  for (const { account } of parties) {
    const [own] = await statistics('--consumer', account)
    t.match(own, textOf(booked.get(account) as Sums), 'of each consumer, too')
  }
  const http = await (await fetch(`${server.url}/v1/activity`)).json()
  t.match(http, { complete: true, operators: [line] }, 'GET /v1/activity says the same')
  t.same(await statistics('--operator', `${operatorId + 1}`), [])
  t.same(await statistics('--since', `${Math.floor(Date.now() / 1000) + 1_000}`), [])
  t.same(await statistics('--since', `${(line as Line).firstStart}`), [line])
  const again = await publishNow(await scene.deps(bea))
  t.same(again, { kind: 'nothing-new' }, 'nothing is told twice')
})

t.test('I18: overlap and replay are refused by the contract, and by the attestor', async (t) => {
  const last = (await statistics('--consumer', cid.account))[0] as Line
  const base: Activity = {
    ...{ consumer: cid.account, operator: operatorId, start: last.lastEnd },
    ...{ end: last.lastEnd + 1, bytesUp: 1n, bytesDown: 1n, sessions: 1, paid: 1n },
    ...{ verifier: 1, evidenceHash: Buffer.alloc(32), nonce: 1n },
  }
  while (Date.now() / 1000 < base.end + 1) await new Promise((r) => setTimeout(r, 100))
  const overlap = { ...base, start: base.start - 1 }
  t.match(await sent(cid, overlap, evidenceFor(overlap)), /Datanet_ActivityTime/)
  t.match(await attest(cid, overlap), { status: 409, body: { error: { code: 'overlap' } } })
  const replay = { ...base, nonce: 0n }
  t.match(await sent(cid, replay, evidenceFor(replay)), /InvalidAccountNonce/)
  t.match(await attest(cid, replay), { status: 409, body: { error: { code: 'replay' } } })
  t.match(await attest(cid, base), { status: 404, body: { error: { code: 'nothing-new' } } })
})

t.test('a session over the boundary is in the next summary, whole, and only there', async (t) => {
  await scene.pays(ada, straddler, PRICE)
  await scene.stops(straddler, 7, 9)
  await ended(ada)
  const published = await publishNow(await scene.deps(ada))
  if (published.kind !== 'published') throw new Error(published.kind)
  t.match(published.activity, { sessions: 1, bytesUp: 7n, bytesDown: 9n, nonce: 1n })
  const [line] = await statistics()
  t.match(line, { summaries: 6, ...textOf(sumOf((await scene.booked()).values())) })
})

t.test('an enrolled P-256 key is evidence of its own', async (t) => {
  const key = activityKeyOf(await openSoftwareKey(bea.directory, operatorId))
  const session = await scene.joins(bea)
  await scene.pays(bea, session, PRICE)
  await scene.stops(session, 3, 5)
  const sender = { rpc: access.rpc, chainId: access.chainId, privateKey: bea.key }
  const validUntil = Math.floor(Date.now() / 1000) + 1_000
  const enrolment = { operator: operatorId, consumer: bea.account, ...key, validUntil }
  const bytes = deviceEnrolmentDigest(devicesDomain(access.chainId, contracts.devices), enrolment)
  await enrolDevice(sender, contracts, enrolment, [signDigest(bytes, scene.operatorKey)])
  await ended(bea)
  const published = await publishNow(await scene.deps(bea, key))
  if (published.kind !== 'published') throw new Error(published.kind)
  t.match(published.activity, { verifier: BY_DEVICE, sessions: 1, bytesUp: 3n, bytesDown: 5n })
  const [line] = await statistics('--consumer', bea.account)
  t.match(line, textOf((await scene.booked()).get(bea.account as Address) as Sums))
})

t.test('on the disk before it is sent: nothing twice where an answer is lost', async (t) => {
  const session = await scene.joins(dan)
  await scene.stops(session, 1, 1)
  await ended(dan)
  const deps = await scene.deps(dan)
  const noted = async () => (await readActivityRecords(dan.directory)).get(operatorId)
  const before = await noted()
  let cut: 'before' | 'after' = 'before'
  const atSending: Awaited<ReturnType<typeof noted>>[] = []
  // The connection ends when the summary is to go out, or when its answer is to come in.
  const request: typeof deps.rpc.request = async (method, params) => {
    if (method !== 'eth_sendRawTransaction') return deps.rpc.request(method, params)
    atSending.push(await noted())
    if (cut === 'after') await deps.rpc.request(method, params)
    throw new ChainError('chain-unreachable', 'it went away')
  }
  const failing = { ...deps, rpc: { ...deps.rpc, request } }
  for (cut of ['before', 'after'] as const) {
    await t.rejects(publishNow(failing), { message: 'it went away' })
    const at = atSending.at(-1)
    t.match(at, { nonce: '1', isPending: true }, cut)
    t.ok((at?.end ?? 0) > (before?.end ?? 0), 'up to its end')
    t.same(await noted(), at, 'and so it stays: it may be in a block, or not')
  }
  t.equal(atSending.length, 2)
  const [{ lastEnd, summaries } = { lastEnd: 0, summaries: 0 }] = await statistics(
    ...['--consumer', dan.account],
  )
  t.equal(summaries, 2, 'the first one was never sent, the second one is there')
  t.equal(lastEnd, atSending[1]?.end)
  t.equal(await nextSummary(deps), undefined, 'and nothing of it again')
})

t.test('the device refuses figures that can’t be right, and publishes none of them', async (t) => {
  const deps = await scene.deps(cid)
  const [last] = await statistics('--consumer', cid.account)
  if (last === undefined) throw new Error('nothing published')
  const said = {
    ...{ consumer: checksumAddress(cid.account), operator: operatorId, start: last.lastEnd },
    ...{ end: last.lastEnd + 1, bytesUp: '1', bytesDown: '1', sessions: 1, paid: '1' },
    ...{ verifier: 1, nonce: '1', evidenceHash: `0x${'00'.repeat(32)}` },
  }
  const wrong: [string, object, RegExp][] = [
    ['more paid than was promised', { paid: `${10n ** 20n}` }, /was promised/],
    ['from before the last end', { start: last.lastEnd - 1 }, /before the last end/],
    ['an empty period', { end: last.lastEnd }, /empty period/],
    ['an old nonce', { nonce: '0' }, /has not seen the last summary/],
    ['about another', { consumer: checksumAddress(ada.account) }, /no activity that can be read/],
    ['of another operator', { operator: operatorId + 1 }, /no activity that can be read/],
    ['no numbers', { sessions: '1' }, /no activity that can be read/],
  ]
  for (const [name, change, message] of wrong) {
    const liar = createServer((_request, response) =>
      response.end(JSON.stringify({ activity: { ...said, ...change } })),
    )
    await new Promise<void>((resolve) => liar.listen(0, '127.0.0.1', resolve))
    const { port } = liar.address() as { port: number }
    const to = { ...deps.to, url: `http://127.0.0.1:${port}` }
    await t.rejects(publishNow({ ...deps, to }), { message }, name)
    liar.close()
  }
  t.same(await statistics('--consumer', cid.account), [last])
})

t.test('datanet device activity and device run --activity exit', async (t) => {
  const { directory, account } = await createDevice(server, 'phone')
  const device = (...args: string[]) => runDatanet(['device', ...args], { cwd: server.directory })
  t.match(await device('activity', directory), { code: 0, out: /^nothing new to publish: /m })
  t.ok((await eapolTest(server, directory)).ok)
  t.equal((await device('pay', directory, '--once')).code, 0)
  const token = readFileSync(join(server.directory, 'data', 'admin-token'), 'utf8').trim()
  const headers = { authorization: `Bearer ${token}` }
  const listed = await (await fetch(`${server.url}/v1/sessions`, { headers })).json()
  const { sessions } = listed as { sessions: Record<string, string>[] }
  const session = sessions.find((one) => one['account'] === account)
  const [id = '', station = ''] = [session?.['id'], session?.['callingStationId']]
  await scene.stops({ id, station }, 11, 13)
  const looked = async () => {
    const { out } = await device('activity', directory, '--json')
    return JSON.parse(out).activities as Record<string, unknown>[]
  }
  while ((await looked()).length === 0) await new Promise((resolve) => setTimeout(resolve, 200))
  const expected = { sessions: 1, bytesUp: '11', bytesDown: '13', paid: session?.['paid'] }
  t.match(await looked(), [{ ...expected, published: false, transaction: null, verifier: 1 }])
  const payer = startPayer(t, directory, ['--activity', 'exit'])
  while (!payer.lines().some(({ event }) => event === 'started')) {
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  // It looks at its operator first: what it has not met it has nothing to tell of.
  while (!existsSync(join(directory, 'activities.json'))) {
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  t.equal(await payer.end('SIGTERM'), 0, payer.errors())
  const told = payer.lines().find(({ event }) => event === 'activity-published')
  t.match(told, { operatorId: 1, sessions: 1 })
  t.same(await looked(), [], 'published')
  const notes = JSON.parse(readFileSync(join(directory, 'activities.json'), 'utf8'))
  t.match(notes.activities, { 1: { nonce: '0', isPending: false } }, 'and remembered')
  t.match(await device('run', directory, '--activity', 'often'), { code: 64, errors: /daily/ })
  t.match(await device('activity', directory, '--publish'), { code: 0, out: /^nothing new/m })
})

t.test('datanet activity: words, and every mistake in one line', async (t) => {
  const ask = (...args: string[]) => runDatanet(['activity', ...args], { cwd: server.directory })
  const shown = await ask('--config', server.configPath)
  t.equal(shown.code, 0, shown.errors)
  t.match(shown.out, /^OPERATOR +SUMMARIES +CONSUMERS +SESSIONS/m)
  t.match(shown.out, new RegExp(`^${operatorId} +9 +6 +54 `, 'm'))
  t.match(await ask('--consumer', '0x1'), { code: 64, errors: /40 hex digits/ })
  t.match(await ask('--since', 'noon'), { code: 64, errors: /Unix seconds/ })
  t.match(await ask('--operator', 'x'), { code: 64, errors: /number/ })
  t.match(await ask('--rpc', 'http://127.0.0.1:1'), { code: 64, errors: /go together/ })
  t.match(await ask('--server', 'http://127.0.0.1:1'), { code: 69 })
  const own = ['--rpc', `${server.url}/v1/chain`, '--contract', access.contract]
  t.match((await ask('--json', ...own)).out, /"summaries":9,"consumers":6/)
  const bad = await fetch(`${server.url}/v1/activity?consumer=0x1`)
  t.equal(bad.status, 400)
})
