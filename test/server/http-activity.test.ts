// POST /v1/activity/key over HTTP: its form, what is asked of the desk, and the status of each
// reason to refuse; how much is done at once, and how often the chain is asked for statistics.

import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { StorageError } from '../../accounting/storage.ts'
import { ChainError } from '../../chain/error.ts'
import type { DeviceEnrolment } from '../../ethereum/activity.ts'
import { checksumAddress } from '../../ethereum/address.ts'
import type { ActivityRefusal, Attestation } from '../../server/activity-desk.ts'
import { activityDouble } from './activity-double.ts'
import { addressOf, rig } from './http-rig.ts'

const PATH = '/v1/activity/key'
const word = (byte: string): string => `0x${byte.repeat(32)}`
const enrolment = {
  ...{ consumer: checksumAddress(addressOf('ab')), operator: 3, qx: word('0a'), qy: word('0b') },
  validUntil: 1_800,
}
const body = { enrolment, signature: `0x${'01'.repeat(65)}` }

/** A server whose desk answers so, and what it was asked. */
async function served(t: Parameters<typeof rig>[0], answer: () => Promise<Attestation>) {
  const asked: DeviceEnrolment[] = []
  const { desk } = activityDouble()
  const enrol = (value: DeviceEnrolment) => {
    asked.push(value)
    return answer()
  }
  const { call } = await rig(t, { activity: activityDouble({ desk: { ...desk, enrol } }) })
  return { asked, post: (sent: unknown) => call('POST', PATH, { body: sent }) }
}

t.test("the operator's signature for a key, and whose it is", async (t) => {
  const { asked, post } = await served(t, async () => ({ signature: Buffer.alloc(65, 7) }))
  const answer = await post(body)
  t.equal(answer.status, 200)
  const attestor = checksumAddress(addressOf('aa'))
  t.same(answer.json(), { attestor, signature: `0x${'07'.repeat(65)}` })
  const point = { qx: Buffer.alloc(32, 10), qy: Buffer.alloc(32, 11) }
  t.same(asked, [{ consumer: addressOf('ab'), operator: 3, ...point, validUntil: 1_800 }])
})

t.test('what has another form never gets to the desk', async (t) => {
  const { asked, post } = await served(t, async () => ({ signature: Buffer.alloc(65) }))
  for (const wrong of [
    [],
    { enrolment },
    { ...body, more: 1 },
    { ...body, signature: '0x01' },
    ...[
      { ...enrolment, more: 1 },
      { ...enrolment, consumer: '0xab' },
      { ...enrolment, operator: -1 },
      { ...enrolment, qx: '0x0a' },
      { ...enrolment, qy: undefined },
      { ...enrolment, validUntil: 1.5 },
      { ...enrolment, validUntil: '1800' },
    ].map((one) => ({ ...body, enrolment: one })),
  ]) {
    const { status, json } = await post(wrong)
    t.equal(status, 400, JSON.stringify(wrong))
    t.match(json(), { error: { code: 'malformed' } })
  }
  t.same(asked, [])
})

t.test('each reason has its status', async (t) => {
  const table: [ActivityRefusal, number][] = [
    ['wrong-operator', 422],
    ['bad-signature', 401],
    ['wrong-time', 422],
    ['unknown-consumer', 404],
    ['too-many-requests', 429],
    ['no-key', 404],
    ['key-expired', 422],
    ['software-key', 422],
    ['asserts-only', 422],
  ]
  for (const [refusal, status] of table) {
    const { post } = await served(t, async () => ({ refusal, message: 'why' }))
    const answer = await post(body)
    t.equal(answer.status, status, refusal)
    t.same(answer.json(), { error: { code: refusal, message: 'why' } })
  }
  const { post } = await served(t, async () => {
    throw new StorageError('unreachable', 'away')
  })
  t.match((await post(body)).json(), { error: { code: 'storage-unavailable' } })
})

t.test('eight are in work at once; what ended, well or not, makes room', async (t) => {
  const open: { ends(): void; fails(): void }[] = []
  // Whoever gets in beyond what should be is answered at once.
  let held = 8
  const { asked, post } = await served(t, async () => {
    if (open.length === held) return { signature: Buffer.alloc(65) }
    return new Promise((resolve, reject) => {
      const fails = () => reject(new StorageError('unreachable', 'away'))
      open.push({ ends: () => resolve({ signature: Buffer.alloc(65) }), fails })
    })
  })
  const inWork = async (count: number) => {
    for (let turn = 0; turn < 2_000 && open.length < count; turn++) await setTimeout(5)
    t.equal(open.length, count)
  }
  const sent = Array.from({ length: 8 }, () => post(body))
  await inWork(8)
  const busy = await post(body)
  t.equal(busy.status, 503)
  t.match(busy.json(), { error: { code: 'busy' } })
  t.equal(asked.length, 8)
  open[0]?.ends()
  open[1]?.fails()
  const [first, second, ...others] = sent
  t.equal((await first)?.status, 200)
  t.equal((await second)?.status, 503)
  held = 10
  const more = [post(body), post(body)]
  await inWork(10)
  t.match((await post(body)).json(), { error: { code: 'busy' } })
  for (const one of open) one.ends()
  for (const one of [...others, ...more]) t.equal((await one).status, 200)
})

t.test('statistics ask the chain once in 5 s, whether it answers or not', async (t) => {
  const clock = { nowMs: 1_030_000, asked: 0, isAway: false }
  const { book } = activityDouble()
  const catchUp = async () => {
    clock.asked += 1
    if (clock.isAway) throw new ChainError('chain-unreachable', 'away')
    return true
  }
  const { call } = await rig(t, {
    ...{ activity: activityDouble({ book: { ...book, catchUp } }), now: () => clock.nowMs },
  })
  const get = async (afterMs: number) => {
    clock.nowMs += afterMs
    return (await call('GET', '/v1/activity')).status
  }
  const steps: [afterMs: number, isAway: boolean, status: number, asked: number][] = [
    [0, false, 200, 1],
    [4_999, true, 200, 1],
    [1, true, 503, 2],
    [0, false, 503, 2],
    [4_999, false, 503, 2],
    [1, false, 200, 3],
    [0, true, 200, 3],
    // A clock that was set back: not the old answer for ever.
    [-5_000, false, 200, 4],
  ]
  for (const [afterMs, isAway, status, asked] of steps) {
    clock.isAway = isAway
    t.equal(await get(afterMs), status)
    t.equal(clock.asked, asked)
  }
})
