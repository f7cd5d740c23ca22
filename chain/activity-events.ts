// Published activities as the chain tells them: the event decoded, read in bounded steps from any
// node, and added up for public statistics. Owns no connection; decides nothing about who may
// publish. Called by server/activity-book.ts and the cli's `activity`.

import type { Address } from '../ethereum/address.ts'
import { activitiesInterface, addressOf, type RawLog } from './bindings.ts'
import { ChainError } from './error.ts'
import { quantity } from './jsonrpc.ts'
import type { RpcRequest } from './transactions.ts'

/** One summary that was published; times in Unix seconds, money in token base units. */
export interface PublishedActivity {
  readonly consumer: Address
  readonly operator: number
  readonly start: number
  readonly end: number
  readonly bytesUp: bigint
  readonly bytesDown: bigint
  readonly sessions: number
  readonly paid: bigint
  readonly verifier: number
  /** 64 hex digits. */
  readonly evidenceHash: string
}

/** What summaries add up to. */
export interface ActivityTotals {
  readonly summaries: number
  readonly sessions: bigint
  readonly bytesUp: bigint
  readonly bytesDown: bigint
  readonly paid: bigint
  /** Unix seconds; 0 before the first. */
  readonly firstStart: number
  readonly lastEnd: number
}

export const NO_ACTIVITY: ActivityTotals = {
  ...{ summaries: 0, sessions: 0n, bytesUp: 0n, bytesDown: 0n, paid: 0n },
  ...{ firstStart: 0, lastEnd: 0 },
}

/** Which summaries are meant; all of them where nothing is said. */
export interface ActivityFilter {
  readonly consumer?: Address
  readonly operator?: number
}

/** What `POST /v1/chain`, and many public nodes, answer in one call. */
const LOG_BLOCKS_MAX = 2_000

/** The summary of one log; undefined for other events. */
export function decodeActivity(log: RawLog): PublishedActivity | undefined {
  const parsed = activitiesInterface.parseLog({ topics: [...log.topics], data: log.data })
  if (parsed?.name !== 'ActivitySummary') return undefined
  const { args } = parsed
  const amount = (name: string): bigint => BigInt(args.getValue(name))
  return {
    consumer: addressOf(args.getValue('consumer')),
    operator: Number(amount('operator')),
    ...{ start: Number(amount('start')), end: Number(amount('end')) },
    ...{ bytesUp: amount('bytesUp'), bytesDown: amount('bytesDown') },
    ...{ sessions: Number(amount('sessions')), paid: amount('paid') },
    verifier: Number(amount('verifier')),
    evidenceHash: String(args.getValue('evidenceHash')).slice(2).toLowerCase(),
  }
}

/** The sum with one more summary. */
export function addActivity(sum: ActivityTotals, one: PublishedActivity): ActivityTotals {
  const isFirst = sum.summaries === 0
  return {
    summaries: sum.summaries + 1,
    sessions: sum.sessions + BigInt(one.sessions),
    bytesUp: sum.bytesUp + one.bytesUp,
    bytesDown: sum.bytesDown + one.bytesDown,
    paid: sum.paid + one.paid,
    firstStart: isFirst ? one.start : Math.min(sum.firstStart, one.start),
    lastEnd: Math.max(sum.lastEnd, one.end),
  }
}

/** The topics of a filter of eth_getLogs. */
export function activityTopics({ consumer, operator }: ActivityFilter): (string | null)[] {
  const wordOf = (hex: string): string => `0x${hex.padStart(64, '0')}`
  const topic = activitiesInterface.getEvent('ActivitySummary')?.topicHash ?? ''
  return [
    topic,
    consumer === undefined ? null : wordOf(consumer.slice(2)),
    operator === undefined ? null : wordOf(operator.toString(16)),
  ]
}

/**
 * All summaries of these blocks, in the order of the chain, in steps that a node takes; `stepsMax`
 * bounds how many. Returns the last block that was read. Throws ChainError.
 */
export async function readActivities(
  rpc: RpcRequest,
  o: {
    readonly activities: Address
    readonly from: number
    readonly to: number
    readonly filter: ActivityFilter
    readonly stepsMax: number
  },
  each: (activity: PublishedActivity) => void,
): Promise<number> {
  const topics = activityTopics(o.filter)
  let span = LOG_BLOCKS_MAX
  let from = o.from
  for (let step = 0; from <= o.to && step < o.stepsMax; step++) {
    const to = Math.min(o.to, from + span - 1)
    const range = { fromBlock: quantity(from), toBlock: quantity(to) }
    let logs: unknown
    try {
      logs = await rpc.request('eth_getLogs', [{ address: o.activities, topics, ...range }])
    } catch (error) {
      // Too much for one answer, in whatever words: half of it, down to a single block.
      if (to === from || !isTooMuch(error)) throw error
      span = Math.ceil((to - from + 1) / 2)
      continue
    }
    if (!Array.isArray(logs)) throw new ChainError('rpc-error', 'the node answered no logs')
    // A whole step or nothing of it: the caller goes on behind the last one.
    for (const activity of logs.map((log: RawLog) => decodeActivity(log))) {
      if (activity !== undefined) each(activity)
    }
    from = to + 1
  }
  return from - 1
}

const isTooMuch = (error: unknown): boolean => {
  const { code } = Object(error) as { code?: unknown }
  return code === 'rpc-error' || code === 'answer-too-large' || code === 'refused'
}
