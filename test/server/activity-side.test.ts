// What an activity may end at, as the server composes it: by the slower of its two clocks, and on a
// chain with slots 12 s before.

import t, { type Test } from 'tap'
import type { ClosedTotals } from '../../accounting/storage.ts'
import { createActivitySide } from '../../server/activity-side.ts'
import { keyNamed } from '../accounting/vouchers.ts'
import { alice, meteringWorld } from './metering-world.ts'

const totals: ClosedTotals = {
  ...{ sessions: 4, input: 100n, output: 900n, paid: 50n, firstStartedAtMs: 500_700 },
  idsHash: Buffer.alloc(32, 9),
}

/** When the next summary of alice's ends, Unix seconds, and up to when the ledger was asked. */
async function endsAt(t: Test, nowMs: number, isOwn: boolean) {
  const { chain, metering } = await meteringWorld(t)
  const asked: number[] = []
  const closedTotals = async (_account: unknown, endedBeforeMs: number) => {
    asked.push(endedBeforeMs)
    return totals
  }
  const { books, ensureAccount } = metering
  const storage = { ...books.storage, closedTotals }
  const undo: (() => void | Promise<void>)[] = []
  const { desk } = createActivitySide({
    chain: {
      ...chain,
      // Nothing to read: the head is where the contract was deployed.
      ...{ rpcUrl: 'http://127.0.0.1:1', facts: { ...chain.facts, deployBlock: 8 } },
      mirror: { ...chain.mirror, head: () => ({ number: 7, hash: '0x' }) },
      own: isOwn ? { durableBlock: () => 7, saved: async () => undefined } : undefined,
    },
    metering: { books: { ...books, storage }, ensureAccount },
    ...{ operatorKey: keyNamed('operator'), now: () => nowMs, undo },
  })
  const answer = await desk.propose(alice)
  for (const end of undo) await end()
  if ('refusal' in answer) throw new Error(answer.message)
  t.same(asked, [answer.activity.end * 1_000])
  return answer.activity.end
}

const PAST_MS = 1_500_000_000_700

t.test('the clock of the books, which may be behind', async (t) => {
  t.equal(await endsAt(t, PAST_MS, true), 1_500_000_000)
})

t.test(
  'a slot of another chain earlier: its block may carry the time at which it began',
  async (t) => {
    t.equal(await endsAt(t, PAST_MS, false), 1_500_000_000 - 12)
  },
)

t.test('never after the time of day, where the books are ahead', async (t) => {
  const seconds = () => Math.floor(Date.now() / 1_000)
  for (const [isOwn, lag] of [
    [true, 0],
    [false, 12],
  ] as const) {
    const from = seconds()
    const end = await endsAt(t, Date.now() + 86_400_000, isOwn)
    t.ok(end >= from - lag && end <= seconds() - lag, `${end}`)
  }
})
