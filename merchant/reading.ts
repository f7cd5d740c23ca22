// What the parts of a running agent share, and its reading of the chain: brings the view to the
// head, tells what happened, hands shifts that take too much to the contract. Called by agent.ts
// and offer.ts.

import { reasonOf } from '../chain/error.ts'
import type { BlockAnswer } from '../chain/payplace/proposal.ts'
import { periodAt } from '../chain/payplace/timing.ts'
import type { PayplaceFacts } from '../chain/payplace-facts.ts'
import type { PayplaceView, Synced } from '../chain/payplace-view.ts'
import type { RpcRequest, Sender } from '../chain/transactions.ts'
import type { Address } from '../ethereum/address.ts'
import type { Domain } from '../ethereum/typed-data.ts'
import type { OperatorApi } from './api.ts'
import { type ClockSight, lookAt } from './clock.ts'
import { challengeCall } from './contract.ts'
import type { MerchantStore } from './store.ts'
import { dueChallenges, type Level, noticesOf } from './watch.ts'

const CHALLENGE_AGAIN_S = 10
/** Far more shifts than are ever pending; then the oldest may be tried again. */
const CHALLENGED_MAX = 10_000

/** Writes one line of the log. */
export type AgentLog = (
  level: Level,
  event: string,
  text: string,
  fields?: Readonly<Record<string, unknown>>,
) => void

/** Everything the agent works with. */
export interface AgentOptions {
  readonly account: Address
  readonly accountKey: Uint8Array
  readonly operatorId: number
  readonly operatorUrl: string
  readonly contract: Address
  readonly chainId: bigint
  readonly rpc: RpcRequest
  readonly view: PayplaceView
  readonly api: OperatorApi
  readonly store: MerchantStore
  readonly sender: Sender
  readonly log: AgentLog
  /** Wall clock, Unix ms. */
  readonly nowMs: () => number
  /** Refuses to sign where the block lacks what the receipts show; else it only warns. */
  readonly requireIncome: boolean
  /** An account that has left before the agent began joins again. */
  readonly rejoin: boolean
}

/** What the parts of the agent share while it runs. */
export interface Agent extends AgentOptions {
  readonly domain: Domain
  readonly secret: Buffer
  /** Unix seconds. */
  readonly now: () => number
  /** The newest reading of the chain. */
  sight: ClockSight
  facts: PayplaceFacts | undefined
  syncedAt: number
  /** The one sent last: its signature takes a while to make. */
  answer?: BlockAnswer
  /** Said already, so that a state that lasts is not told at every look. */
  readonly told: Map<string, string>
  /** Shifts challenged, by consumer and time of the request, and when (Unix s). */
  readonly challenged: Map<string, number>
  /** What the account had left under when the agent first looked, 0 where it had not. */
  leftBefore?: number
  /** The block of the last registration, which may still wait to count. */
  joinedIn?: number
}

/** Logs a lasting state once, until it changes. */
export function tell(agent: Agent, event: string, level: Level, text: string): void {
  if (agent.told.get(event) === text) return
  agent.told.set(event, text)
  agent.log(level, event, text)
}

/** A store made in a period may stand for a lost one: nothing more is signed in that period. */
export function signedPeriodOf({ store }: Agent, facts: PayplaceFacts): number {
  const timing = facts.operator()?.timing
  const begun = timing === undefined ? -1 : periodAt(timing, store.createdAt)
  return Math.max(begun, store.signed()?.period ?? -1)
}

/** Reads the chain on, tells what happened, challenges what has to be. */
export async function readChain(agent: Agent): Promise<Synced> {
  const synced = await agent.view.sync()
  agent.syncedAt = agent.now()
  agent.sight = lookAt(agent.sight, synced.latest, agent.syncedAt)
  const facts = agent.view.at()
  agent.facts = facts
  if (facts === undefined) return synced
  // First, since it needs nothing to be written: the disk may be full.
  challenge(agent, facts)
  const { k, root } = facts.block()
  const signed = agent.store.signed()
  if (k > 0) agent.store.settle(k, root)
  const id = facts.merchantOf(agent.account)?.id
  if (id !== undefined && !synced.reread) {
    for (const { level, event, text, fields } of noticesOf(synced.events, id, signed)) {
      agent.log(level, event, text, fields)
    }
  }
  return synced
}

/** Not awaited: a challenge may take blocks, and the commitment window does not wait. */
function challenge(agent: Agent, facts: PayplaceFacts): void {
  const { challenged, store, sender, contract, operatorId } = agent
  for (const due of dueChallenges(facts, store.voucher)) {
    const { consumer, voucher, requestedAt } = due
    const name = `${consumer} ${requestedAt}`
    const tried = challenged.get(name)
    if (tried !== undefined && Math.abs(agent.now() - tried) < CHALLENGE_AGAIN_S) continue
    if (challenged.size >= CHALLENGED_MAX) challenged.clear()
    challenged.set(name, agent.now())
    const fields = { consumer, amount: voucher.amount.toString() }
    agent.log('warn', 'challenge', 'a shift takes what was spent: challenging it', fields)
    sender.send(challengeCall(contract, operatorId, voucher)).then(
      () => agent.log('info', 'challenged', 'the shift was cut', fields),
      // Somebody else was quicker, or it will be tried again.
      (error) => agent.log('warn', 'challenge-failed', reasonOf(error), fields),
    )
  }
}
