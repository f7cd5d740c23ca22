// Composition of published activities: the book of what was published, and the desk that attests,
// over one connection to the chain. Called by main.ts.

import { openRpc } from '../chain/rpc.ts'
import { devicesDomain } from '../ethereum/activity.ts'
import { payPlaceDomain } from '../ethereum/typed-data.ts'
import { type ActivityBook, createActivityBook } from './activity-book.ts'
import { type ActivityDesk, createActivityDesk } from './activity-desk.ts'
import type { ChainSide } from './chain-side.ts'
import type { Metering } from './metering.ts'

/** A slot of Ethereum: a block may carry the time at which its slot began. */
const SLOT_SECONDS = 12

/** What HTTP shows and asks; `undo` collects how it ends. */
export function createActivitySide(o: {
  readonly chain: ChainSide
  readonly metering: Pick<Metering, 'books' | 'ensureAccount'>
  readonly operatorKey: Uint8Array
  /** The clock of the books. */
  readonly now: () => number
  readonly undo: (() => void | Promise<void>)[]
}): { book: ActivityBook; desk: ActivityDesk } {
  const { chain, operatorKey, now } = o
  const { books, ensureAccount } = o.metering
  const { facts, mirror } = chain
  const rpc = openRpc(chain.rpcUrl)
  o.undo.push(() => rpc.close())
  const book = createActivityBook({
    ...{ rpc, activity: facts.activity, deployBlock: facts.deployBlock },
    // What the mirror has processed is final: durable, or as many confirmations deep as is set.
    head: () => mirror.head()?.number,
  })
  const desk = createActivityDesk({
    ...{ book, operatorKey, storage: books.storage, operator: facts.operatorId },
    // Nor may it end after the time of a block: the clock of the books never goes back, ours may.
    now: () => Math.min(now(), Date.now()),
    wallNow: Date.now,
    devicesDomain: devicesDomain(facts.chainId, facts.activity.devices),
    async meteringKeys(account) {
      await ensureAccount(account)
      return books.ledger.meteringKeys(account)
    },
    domain: payPlaceDomain(facts.chainId, facts.activity.activities),
    isConsumer: (account) => mirror.channel(facts.operatorId, account) !== undefined,
    lagSeconds: chain.own === undefined ? SLOT_SECONDS : 0,
  })
  return { book, desk }
}
