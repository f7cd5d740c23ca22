// The merchant's agent: reads the chain, asks for the block, checks, stores, signs, sends, watches,
// over and over. The shell around plan.ts, sign.ts and watch.ts: owns the loop, decides nothing
// itself. Needs no inbound port; a stop or a kill at any point loses nothing durable.

import { deriveMerchantBlsKey } from '../chain/bls.ts'
import { reasonOf } from '../chain/error.ts'
import type { PayplaceFacts } from '../chain/payplace-facts.ts'
import type { MerchantRecord } from '../chain/payplace-state.ts'
import { payPlaceDomain } from '../ethereum/typed-data.ts'
import { NOTHING_SEEN } from './clock.ts'
import { considerOffer } from './offer.ts'
import { nextStep, type Standing } from './plan.ts'
import { type Agent, type AgentOptions, readChain, signedPeriodOf, tell } from './reading.ts'
import { register } from './registration.ts'
import { answerOf } from './sign.ts'

/** A running agent. */
export interface RunningAgent {
  /** Ends it after the step that is under way. */
  stop(): Promise<void>
}

const SYNC_EVERY_S = 1
/** No step is further away than that, unless the clock was set back meanwhile. */
const PAUSE_MAX_S = 60
/** After failures of whatever kind: 0.25 s, 0.5 s … 8 s. */
const RETRY_MIN_S = 0.25
const RETRY_MAX_S = 8

/** Starts the loop; it ends with `stop` only. */
export function startAgent(options: AgentOptions): RunningAgent {
  const { accountKey, chainId, contract, operatorId } = options
  const agent: Agent = {
    ...options,
    domain: payPlaceDomain(chainId, contract),
    secret: deriveMerchantBlsKey({ accountKey, chainId, contract, operator: operatorId }),
    now: () => options.nowMs() / 1_000,
    sight: NOTHING_SEEN,
    facts: undefined,
    syncedAt: Number.NEGATIVE_INFINITY,
    told: new Map(),
    challenged: new Map(),
  }
  const stopping = new AbortController()
  const ended = loop(agent, stopping.signal)
  return {
    stop() {
      stopping.abort()
      return ended
    },
  }
}

async function loop(agent: Agent, signal: AbortSignal): Promise<void> {
  let retryS = RETRY_MIN_S
  while (!signal.aborted) {
    let again: number
    try {
      again = await turn(agent)
      agent.told.delete('failure')
      retryS = RETRY_MIN_S
    } catch (error) {
      tell(agent, 'failure', 'warn', reasonOf(error))
      again = agent.now() + retryS
      retryS = Math.min(retryS * 2, RETRY_MAX_S)
    }
    const pauseS = Math.min(PAUSE_MAX_S, Math.max(0, again - agent.now()))
    await pause(pauseS * 1_000, signal)
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const timer = setTimeout(done, ms)
    function done(): void {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    signal.addEventListener('abort', done)
  })
}

/** One look and one step; the result is when to look again. */
async function turn(agent: Agent): Promise<number> {
  const { store } = agent
  // Also where the clock was set back: shifts do not wait until it has caught up.
  if (Math.abs(agent.now() - agent.syncedAt) >= SYNC_EVERY_S) await readChain(agent)
  const { facts } = agent
  const operator = facts?.operator()
  if (facts === undefined || operator === undefined) {
    throw new Error(`contract ${agent.contract} knows no operator ${agent.operatorId}`)
  }
  const { timing, active: operatorActive } = operator
  const now = agent.now()
  const record = facts.merchantOf(agent.account)
  agent.leftBefore ??= record?.status === 'exited' ? record.id : 0
  const signed = store.signed()
  const signedPeriod = signedPeriodOf(agent, facts)
  const { step, again } = nextStep({
    ...{ now, timing, operatorActive, standing: standingOf(agent, facts) },
    signedPeriod,
    hasAnswer: signed?.period === signedPeriod,
  })
  if (step === 'register') {
    if (facts.number < (agent.joinedIn ?? 0)) return again
    const joined = await register({ ...agent, operatorAccount: operator.account, timing })
    if (joined !== 'not-a-merchant') {
      agent.joinedIn = joined.blockNumber
      agent.log('info', 'registered', 'joined the operator as a merchant')
      agent.syncedAt = Number.NEGATIVE_INFINITY
      return agent.now()
    }
    const way = 'ask the operator to name it as `merchant` of your access points'
    tell(agent, 'not-a-merchant', 'warn', `no access point earns for this account: ${way}`)
    return now + timing.delta
  }
  if (record === undefined) return again
  if (step === 'send') await sendAnswer(agent, record.id)
  if (step === 'ask') {
    const offered = await considerOffer(agent, record.id)
    if (offered) await sendAnswer(agent, record.id)
  }
  return again
}

function standingOf(agent: Agent, facts: PayplaceFacts): Standing {
  const record = facts.merchantOf(agent.account)
  if (record === undefined) return 'none'
  if (record.status === 'exited') return afterwards(agent, record, facts.block().k)
  return record.missingSince === undefined ? 'active' : 'missing'
}

/**
 * Who left stays away unless the owner wishes it back; who was put out for its absence is back now.
 * D4: the contract takes a former merchant with a new id, from the next block on.
 */
function afterwards(agent: Agent, { id, left }: MerchantRecord, k: number): Standing {
  const isOut = left?.forced === true
  // An exit beside the running agent is a later wish, which would be undone at once.
  const isBack = isOut || (agent.rejoin && id === agent.leftBefore)
  const after = "joining again after the operator's next block"
  if (isOut) {
    const way = `what was locked is paid by merchant withdraw; ${after}`
    tell(agent, 'put-out', 'warn', `the operator put this account out for its absence; ${way}`)
  } else {
    const way = isBack ? after : 'only watching; merchant run --rejoin joins again'
    tell(agent, 'left', 'warn', `this account has left the operator: ${way}`)
  }
  return isBack && left !== undefined && k > left.k ? 'none' : 'exited'
}

/** Signs what the store holds and hands it in; what comes of it is told once. */
async function sendAnswer(agent: Agent, id: number): Promise<void> {
  const { store, operatorId, secret, api } = agent
  const signed = store.signed()
  if (signed === undefined) return
  const last = agent.answer
  const isLast = last?.id === id && last.period === signed.period
  const answer = isLast ? last : answerOf({ operatorId, id, secret }, signed)
  agent.answer = answer
  const result = await api.answer(answer)
  // What was taken stays so, whatever is said of it after the operator has finished its block.
  if (signed.isTaken || (signed.isSent && result.outcome !== 'taken')) return
  store.markSent(signed.period, result.outcome === 'taken')
  const { k, period } = signed
  if (result.outcome === 'taken') agent.log('info', 'signed', 'signed a block', { k, period })
  if (result.outcome === 'period-over') {
    agent.log('warn', 'too-late', 'the signature came too late', { k, period })
  }
  if (result.outcome === 'refused') {
    agent.log('error', 'signature-refused', result.reason, { k, period })
  }
}
