// The book of published activities over a chain that fails midway: every summary counts once.

import t from 'tap'
import { activitiesInterface } from '../../chain/bindings.ts'
import { ChainError } from '../../chain/error.ts'
import { createActivityBook } from '../../server/activity-book.ts'
import { noActivityContracts } from './activity-double.ts'
import { addressOf } from './http-rig.ts'

// As many blocks as one answer holds, and some more: two answers.
const HEAD = 2_500
const SECOND_ANSWER = 2_001
const alice = addressOf('a1')

const summary = (start: number, end: number) =>
  activitiesInterface.encodeEventLog('ActivitySummary', [
    ...[alice, 3, start, end, 10n, 20n, 1, 5n, 1],
    `0x${'07'.repeat(32)}`,
  ])

t.test('a read that fails after its first answer is as if it had not been', async (t) => {
  const asked: number[] = []
  let isAway = true
  const book = createActivityBook({
    rpc: {
      async request(_method, [filter]) {
        const from = Number((filter as { fromBlock: string }).fromBlock)
        asked.push(from)
        if (isAway && from === SECOND_ANSWER) throw new ChainError('chain-unreachable', 'away')
        return [from === 1 ? summary(100, 200) : summary(200, 300)]
      },
    },
    ...{ activity: noActivityContracts, deployBlock: 1, head: () => HEAD },
  })
  for (const _ of [1, 2]) {
    await t.rejects(book.catchUp(), { code: 'chain-unreachable' })
    t.equal(book.block(), 0)
    t.same(book.operators(), [])
    t.match(book.consumer(alice), { count: 0, end: 0 })
  }
  isAway = false
  t.equal(await book.catchUp(), true)
  t.same(asked, [1, SECOND_ANSWER, 1, SECOND_ANSWER, 1, SECOND_ANSWER])
  t.match(book.operators(), [{ operator: 3, consumers: 1, summaries: 2, paid: 10n, bytesUp: 20n }])
  t.match(book.consumer(alice), { count: 2, end: 300 })
  t.equal(book.block(), HEAD)
})
