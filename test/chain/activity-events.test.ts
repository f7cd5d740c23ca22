// Summaries out of logs: decoded, added up, and read in steps from nodes that take only so much.

import t from 'tap'
import {
  activityTopics,
  addActivity,
  decodeActivity,
  NO_ACTIVITY,
  type PublishedActivity,
  readActivities,
} from '../../chain/activity-events.ts'
import { activitiesInterface } from '../../chain/bindings.ts'
import { ChainError } from '../../chain/error.ts'
import type { Address } from '../../ethereum/address.ts'

const activities = `0x${'a1'.repeat(20)}` as Address
const consumer = (n: number): Address => `0x${n.toString(16).padStart(40, '0')}` as Address

const summary = (n: number): PublishedActivity => ({
  ...{ consumer: consumer(n), operator: 7, start: 100 * n, end: 100 * n + 50 },
  ...{ bytesUp: 2n ** 64n - 1n, bytesDown: BigInt(n), sessions: n, paid: 2n ** 96n - 1n },
  ...{ verifier: 1, evidenceHash: 'e1'.repeat(32) },
})

function logOf(one: PublishedActivity) {
  const { data, topics } = activitiesInterface.encodeEventLog('ActivitySummary', [
    ...[one.consumer, one.operator, one.start, one.end, one.bytesUp, one.bytesDown],
    ...[one.sessions, one.paid, one.verifier, `0x${one.evidenceHash}`],
  ])
  return { data, topics }
}

t.test('I18: an ActivitySummary is read back as it was published', async (t) => {
  t.same(decodeActivity(logOf(summary(3))), summary(3))
  const other = { topics: [`0x${'11'.repeat(32)}`], data: '0x' }
  t.equal(decodeActivity(other), undefined, 'another event')
  const [, byConsumer, byOperator] = activityTopics({ consumer: consumer(3), operator: 7 })
  t.same([byConsumer, byOperator], logOf(summary(3)).topics.slice(1), 'topics of a filter')
  t.same(activityTopics({}).slice(1), [null, null])
})

t.test('sums are exact, beyond 64 and 96 bits', async (t) => {
  const sum = [summary(2), summary(1), summary(3)].reduce(addActivity, NO_ACTIVITY)
  t.same(sum, {
    ...{ summaries: 3, sessions: 6n, bytesUp: 3n * (2n ** 64n - 1n), bytesDown: 6n },
    ...{ paid: 3n * (2n ** 96n - 1n), firstStart: 100, lastEnd: 350 },
  })
})

/** A node with one summary in each block, that refuses answers of more than so many. */
function node(most: number, code: 'rpc-error' | 'chain-unreachable' = 'rpc-error') {
  const asked: [number, number][] = []
  return {
    asked,
    async request(_method: string, [filter]: readonly unknown[]): Promise<unknown> {
      const { fromBlock, toBlock } = filter as { fromBlock: string; toBlock: string }
      const [from, to] = [Number(fromBlock), Number(toBlock)]
      asked.push([from, to])
      if (to - from + 1 > most) throw new ChainError(code, 'the answer is too large')
      return Array.from({ length: to - from + 1 }, (_, i) => logOf(summary(from + i)))
    },
  }
}

t.test('logs are read in steps, halved where a node answers too much', async (t) => {
  const range = { activities, filter: {} }
  const starts: number[] = []
  const each = ({ start }: PublishedActivity): void => void starts.push(start)
  const rpc = node(300)
  const last = await readActivities(rpc, { ...range, from: 1, to: 5_00, stepsMax: 99 }, each)
  t.equal(last, 500)
  t.same(
    starts,
    Array.from({ length: 500 }, (_, i) => 100 * (i + 1)),
    'each once, in order',
  )
  const few = node(5_000)
  t.equal(await readActivities(few, { ...range, from: 1, to: 9_000, stepsMax: 2 }, each), 4_000)
  t.same(few.asked, [
    [1, 2_000],
    [2_001, 4_000],
  ])
  const all = { ...range, from: 1, to: 4, stepsMax: 99 }
  await t.rejects(readActivities(node(0), all, each), { code: 'rpc-error' }, 'not one block')
  const away = readActivities(node(0, 'chain-unreachable'), all, each)
  await t.rejects(away, { code: 'chain-unreachable' })
  const nothing = { request: async () => 'no logs' }
  await t.rejects(readActivities(nothing, all, each), { code: 'rpc-error' })
})
