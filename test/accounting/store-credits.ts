// What merchants were credited, as every store must tell it: read on from a number, and page by
// page for one merchant. Part of store-conformance.ts.

import type { Test } from 'tap'
import type { MerchantCredit, Storage } from '../../accounting/storage.ts'
import { type Bed, commit } from './store-bed.ts'
import * as f from './store-fixtures.ts'

/** All of it: every credit once, in order; nothing that is no merchant's; sums outlive pruning. */
export async function credits(t: Test, bed: Bed): Promise<void> {
  const { open } = await bed(t)
  const store = await open()
  t.same(await store.creditsSince(0, 9), [], 'an empty journal')
  t.same(await store.creditsOf(f.addressOf(1), undefined), { credits: [], next: undefined })
  const [one, two] = [f.addressOf(101), f.addressOf(102)]
  const unassigned = { session: undefined, merchant: undefined }
  await commit(store, {
    sessions: [f.closedNumber(1, 1, { credit: 60_000n, endedAtMs: f.NOON + 10 })],
    journal: Array.from({ length: 9 }, (_, n) =>
      f.entryNumber(n, {
        ...{ atMs: f.NOON + 9 - n, account: f.addressOf(n % 2), amount: BigInt(n + 1) },
        ...(n % 3 === 2
          ? unassigned
          : { merchant: n % 3 === 0 ? one : two, session: f.sessionId(1) }),
      }),
    ),
  })
  const all = await pages(store, 4)
  t.same(
    all.map(({ amount, merchant }) => [amount, merchant]),
    [1n, 2n, 4n, 5n, 7n, 8n].map((amount) => [amount, amount % 3n === 1n ? one : two]),
    'each once, in the order it was written, whatever its time; amounts exact',
  )
  t.same(await store.creditsSince(all.at(-1)?.number ?? 0, 9), [], 'and nothing after the last')
  const mine = await store.creditsOf(two, undefined)
  t.same(mine.next, undefined)
  t.same(
    mine.credits,
    all.filter(({ merchant }) => merchant === two).toReversed(),
    'of one merchant, newest first',
  )
  const older = await store.creditsOf(two, mine.credits[0]?.number)
  t.same(older.credits, mine.credits.slice(1))
  t.equal((await store.prune(f.NOON + 100, f.NOON)).entries, 0, 'later entries are left alone')
  await store.prune(f.NOON + 100)
  const sum = (list: readonly MerchantCredit[]) =>
    list.reduce((sum, { amount }) => sum + amount, 0n)
  const merged = await store.creditsSince(0, 9)
  t.equal(sum(merged), sum(all), 'joined entries keep the sum')
  t.ok(merged.length < all.length && merged.length > 0, `${merged.length} entries are left`)
  const top = all.at(-1)?.number ?? 0
  t.ok(merged.every(({ number }) => number <= top))
  await commit(store, { journal: [f.entryNumber(20, { merchant: one, session: f.sessionId(1) })] })
  t.equal((await store.creditsSince(top, 9)).length, 1, 'the next one is above all that were read')
  await store.close()
}

async function pages(store: Storage, limit: number): Promise<MerchantCredit[]> {
  const all: MerchantCredit[] = []
  for (;;) {
    const page = await store.creditsSince(all.at(-1)?.number ?? 0, limit)
    all.push(...page)
    if (page.length < limit) return all
  }
}
