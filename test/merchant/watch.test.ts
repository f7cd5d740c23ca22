// The watchtower's judgement on shifts and events, the clock it measures, and receipts against
// blocks.

import t from 'tap'
import type { PayplaceFacts } from '../../chain/payplace-facts.ts'
import type { Synced } from '../../chain/payplace-view.ts'
import type { ReceiptRow } from '../../merchant/api.ts'
import { headTimeAt, lookAt, NOTHING_SEEN } from '../../merchant/clock.ts'
import { creditedBetween, isIncomeIncluded } from '../../merchant/income.ts'
import type { SignedBlock } from '../../merchant/store.ts'
import { dueChallenges, noticesOf } from '../../merchant/watch.ts'
import { consumer, pack, source } from '../chain/payplace/support.ts'

type Event = Synced['events'][number]

function factsWith(amount: bigint, deposit: bigint, highestVoucher: bigint): PayplaceFacts {
  const shift = { to: 9, amount, requestedAt: 77, period: 1 }
  const absent = (): never => {
    throw new Error('not asked for')
  }
  return {
    ...{ number: 1, operator: absent, block: absent, merchants: absent },
    ...{ merchant: absent, merchantOf: absent },
    channel: () => {
      return { deposit, reserved: 0n, highestVoucher, withdrawn: 0n, shift, pendingShift: amount }
    },
    shifts: () => [{ ...shift, consumer: consumer(0) }],
  }
}

t.test('shifts that take what was signed for are challenged', async (t) => {
  const cases: readonly [
    name: string,
    amount: bigint,
    voucher: bigint,
    seen: bigint,
    due: number,
  ][] = [
    ['more than the voucher leaves', 901n, 100n, 0n, 1],
    ['exactly what it leaves', 900n, 100n, 0n, 0],
    ['a higher voucher is on the chain already', 901n, 50n, 100n, 1],
    ['neither takes anything', 900n, 50n, 100n, 0],
    ['a voucher above the deposit serves nobody', 1_000n, 1_001n, 0n, 0],
  ]
  for (const [name, amount, voucher, seen, due] of cases) {
    const found = dueChallenges(factsWith(amount, 1_000n, seen), () => source(0, voucher))
    t.equal(found.length, due, name)
    if (due === 1) t.match(found[0], { consumer: consumer(0), requestedAt: 77 })
  }
  t.same(
    dueChallenges(factsWith(1_000n, 1_000n, 0n), () => undefined),
    [],
    'not our consumer',
  )
})

t.test('what the owner is told', async (t) => {
  const root = Buffer.alloc(32, 1)
  const signed: SignedBlock = { period: 4, k: 7, root, digest: root, isSent: true, isTaken: true }
  const notarized = (more: object): Event => ({
    ...{ type: 'notarized', k: 7, period: 4, root, tau: 1, newlyMissing: [], returning: [] },
    ...{ blockNumber: 1, ...more },
  })
  const own = { id: 2, shard: 0, k: 7, blockNumber: 1 } as const
  const paid = { total: 5n, fromLock: true, entries: Buffer.alloc(0) }
  const cases: readonly [name: string, event: Event, told: string | undefined][] = [
    ['our block', notarized({}), 'info notarized'],
    ['a block we did not sign', notarized({ root: Buffer.alloc(32, 2) }), undefined],
    [
      'named missing though it was taken',
      notarized({ newlyMissing: [2] }),
      'error counted-missing',
    ],
    [
      'missing after an absence',
      notarized({ period: 5, newlyMissing: [2] }),
      'warn counted-missing',
    ],
    ['others are missing', notarized({ period: 5, newlyMissing: [3] }), undefined],
    ['back again', notarized({ returning: [2] }), 'info returned'],
    ['locked', { ...own, type: 'locked', lockHash: root, entries: Buffer.alloc(0) }, 'warn locked'],
    ['paid', { ...own, ...paid, type: 'withdrawn' }, 'info withdrawn'],
    ['of another', { ...own, ...paid, id: 3, type: 'withdrawn' }, undefined],
    [
      'D29: short paid',
      { ...own, type: 'short-paid', consumer: consumer(0), due: 5n, paid: 3n },
      'error short-paid',
    ],
    ['put out', { ...own, type: 'merchant-exited', forced: true }, 'error exited'],
    ['left', { ...own, type: 'merchant-exited', forced: false }, 'info exited'],
  ]
  for (const [name, event, told] of cases) {
    const [notice] = noticesOf([event], 2, signed)
    t.equal(notice === undefined ? undefined : `${notice.level} ${notice.event}`, told, name)
  }
  const late = noticesOf([notarized({ newlyMissing: [2] })], 2, { ...signed, isTaken: false })
  t.match(late, [{ level: 'warn', event: 'counted-missing' }], 'a signature that came too late')
})

t.test("D38: the chain's clock is measured where a block is seen for the first time", async (t) => {
  const block = (hash: string, time: number) => ({ number: 1, hash, time })
  t.equal(headTimeAt(NOTHING_SEEN, 100), Number.NEGATIVE_INFINITY, 'nothing seen, nothing known')
  const fresh = lookAt(NOTHING_SEEN, block('a', 100), 100.9)
  t.equal(headTimeAt(fresh, 101), 101, 'the running second is no lag')
  t.equal(headTimeAt(lookAt(fresh, block('a', 100), 160), 160), 160, 'an old block stays as seen')
  const late = lookAt(fresh, block('b', 90), 101)
  t.equal(headTimeAt(late, 200), 190, '11 s less the rounding')
  const ahead = lookAt(fresh, block('c', 105), 101)
  t.equal(headTimeAt(ahead, 101), 105, 'a block from the future')
})

t.test('receipts of the time between two blocks must be in the second', async (t) => {
  const row = (at: number, n: number, net: bigint): ReceiptRow => ({
    at,
    account: consumer(n),
    net,
  })
  const pages = [
    { rows: [row(110, 0, 9n), row(105, 0, 4n), row(104, 1, 2n)], next: 7 },
    { rows: [row(101, 0, 3n), row(100, 0, 50n)], next: 3 },
    { rows: [row(99, 0, 50n)], next: undefined },
  ]
  let asked = 0
  const receipts = async (_: number, before?: number) => {
    t.equal(before, [undefined, 7, 3][asked])
    return pages[asked++] ?? { rows: [], next: undefined }
  }
  const credited = await creditedBetween({ receipts }, 2, 100, 110)
  t.ok(credited.equals(pack({ 0: 7n, 1: 2n })))
  t.equal(asked, 2, 'older pages are not asked for')
  const before = pack({ 0: 10n })
  t.equal(isIncomeIncluded(credited, before, pack({ 0: 17n, 1: 2n })), true)
  t.equal(isIncomeIncluded(credited, before, pack({ 0: 18n, 1: 2n })), true, 'more is welcome')
  t.equal(isIncomeIncluded(credited, before, pack({ 0: 16n, 1: 2n })), false)
  t.equal(isIncomeIncluded(credited, before, pack({ 0: 17n })), false)
})
