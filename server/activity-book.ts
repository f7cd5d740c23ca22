// The summaries that were published, as this server has read them from the chain's events: added up
// for public statistics, and by consumer for what its next summary must not tell again. In memory,
// read anew after a start; behind the chain by what is not final yet. Called by http-activity.ts
// and activity-desk.ts.

import type { ActivityContracts } from '../chain/activity-calls.ts'
import {
  type ActivityTotals,
  addActivity,
  NO_ACTIVITY,
  type PublishedActivity,
  readActivities,
} from '../chain/activity-events.ts'
import type { RpcRequest } from '../chain/transactions.ts'
import type { Address } from '../ethereum/address.ts'

/** One operator's line of the statistics. */
export interface OperatorActivity extends ActivityTotals {
  readonly operator: number
  readonly consumers: number
}

/** What one consumer has published; `count` is its next nonce, `end` when the last one ended. */
export interface ConsumerActivity {
  readonly count: number
  readonly end: number
  readonly byOperator: ReadonlyMap<number, ActivityTotals>
}

export interface ActivityBook {
  /**
   * Reads what is new; false where there is more to read than one call may take. Throws ChainError.
   */
  catchUp(): Promise<boolean>
  /** The last block that was read. */
  block(): number
  consumer(account: Address): ConsumerActivity
  /** By the operator's number. */
  operators(): OperatorActivity[]
  /** More consumers than are kept: who is not among them can't be told from a new one. */
  isFull(): boolean
}

/** What it reads from. */
export interface ActivityBookDeps {
  readonly rpc: RpcRequest
  readonly activity: ActivityContracts
  readonly deployBlock: number
  /** The newest block that counts; undefined where none is known yet. */
  readonly head: () => number | undefined
}

/** Some 400 bytes each. */
const CONSUMERS_MAX = 200_000
/** 100,000 blocks: a public chain is read over several questions, one after the other. */
const STEPS_MAX = 50
const NOTHING: ConsumerActivity = { count: 0, end: 0, byOperator: new Map() }

/** An empty book; the first catchUp reads the chain from the contract's first block on. */
export function createActivityBook(deps: ActivityBookDeps): ActivityBook {
  const consumers = new Map<
    Address,
    { count: number; end: number; byOperator: Map<number, ActivityTotals> }
  >()
  const operators = new Map<number, OperatorActivity>()
  let block = deps.deployBlock - 1
  let isFull = false
  let reading: Promise<boolean> | undefined

  function note(one: PublishedActivity): void {
    const known = consumers.get(one.consumer)
    if (known === undefined && consumers.size >= CONSUMERS_MAX) isFull = true
    const consumer = known ?? { count: 0, end: 0, byOperator: new Map() }
    const isNew = !consumer.byOperator.has(one.operator)
    consumer.count += 1
    consumer.end = one.end
    const theirs = consumer.byOperator.get(one.operator) ?? NO_ACTIVITY
    consumer.byOperator.set(one.operator, addActivity(theirs, one))
    if (known !== undefined || consumers.size < CONSUMERS_MAX) consumers.set(one.consumer, consumer)
    const { operator } = one
    const before = operators.get(operator) ?? { ...NO_ACTIVITY, operator, consumers: 0 }
    const count = before.consumers + (isNew ? 1 : 0)
    operators.set(operator, { ...addActivity(before, one), operator, consumers: count })
  }

  async function read(): Promise<boolean> {
    const to = deps.head()
    if (to === undefined || to <= block) return to !== undefined
    const found: PublishedActivity[] = []
    const { rpc, activity } = deps
    const range = { activities: activity.activities, from: block + 1, to, filter: {} }
    // Noted only when all of it was read: a failure midway leaves the book as it was.
    const last = await readActivities(rpc, { ...range, stepsMax: STEPS_MAX }, (one) => {
      found.push(one)
    })
    for (const one of found) note(one)
    block = last
    return last >= to
  }

  return {
    catchUp() {
      reading ??= read().finally(() => {
        reading = undefined
      })
      return reading
    },
    block: () => block,
    consumer: (account) => consumers.get(account) ?? NOTHING,
    operators: () => [...operators.values()].sort((a, b) => a.operator - b.operator),
    isFull: () => isFull,
  }
}
