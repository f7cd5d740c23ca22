// What the notary does between two windows: drops old locks, challenges shifts, pays the operator's
// own earnings, puts out who was absent too long. Owns how long each may take and what is said of
// it; what is sent is notary-transactions.ts, when is notary-plan.ts. Called by notary.ts.

import type { PayplaceFacts } from '../chain/payplace-facts.ts'
import type { Address } from '../ethereum/address.ts'
import type { Reading } from './notary-chain.ts'
import { type Live, type NotaryDeps, read } from './notary-live.ts'
import { overdue } from './notary-plan.ts'
import { challengeShifts, dropOldLocks, expel, withdrawOwn } from './notary-transactions.ts'

/** How long one challenge may take to get into a block, and what it needs at least. */
const CHALLENGE_MS_MAX = 60_000
const CHALLENGE_MS_MIN = 500

/** Drops the locks of merchants that have signed since. Throws ChainError. */
export async function tidy(deps: NotaryDeps, live: Live, { facts }: Reading): Promise<void> {
  // Before the next window at the latest.
  const withinMs = ((facts.operator()?.timing.beta ?? 0) * 1_000) / 4
  const dropped = await dropOldLocks(deps, facts, deps.now() + withinMs)
  if (dropped === 0) return
  deps.log.info({ locks: dropped }, 'notary: old locks dropped')
  await read(deps, live)
}

/** Challenges shifts that would move away what was spent; what fails is told and tried again. */
export async function watch(
  deps: NotaryDeps,
  live: Live,
  facts: PayplaceFacts,
  untilMs: number,
): Promise<void> {
  const nowMs = deps.now()
  // Nothing of ours may be in the way of the next block's transactions.
  if (untilMs - nowMs < CHALLENGE_MS_MIN) return
  const challenged = await challengeShifts(deps, facts, live.challenges, {
    ...{ nowMs, deadlineMs: Math.min(untilMs, nowMs + CHALLENGE_MS_MAX) },
    failed: (consumer: Address, error) =>
      deps.log.warn({ consumer, err: error }, 'notary: a shift could not be challenged'),
  })
  deps.metrics.shiftsChallenged.inc(challenged.length)
  for (const consumer of challenged) deps.log.info({ consumer }, 'notary: shift challenged')
}

/** Pays the operator's own leaf to its account. Throws ChainError. */
export async function payOut(deps: NotaryDeps, live: Live, untilMs: number): Promise<void> {
  const { facts } = await read(deps, live)
  // Once: what is refused is not paid for again and again.
  live.payout = false
  const amount = await withdrawOwn(deps, facts, untilMs)
  deps.log.info({ amount: `${amount}` }, 'notary: own earnings paid out')
  await read(deps, live)
}

/**
 * D37: whoever has missed eta blocks is paid its locks as credit and is a merchant no more: its
 * key and its leaf cost every later block something. One that can't be put out is tried again in
 * the next period.
 */
export async function putOut(
  deps: NotaryDeps,
  live: Live,
  { period, untilMs }: { readonly period: number; readonly untilMs: number },
): Promise<void> {
  live.expelled = period
  const { facts } = await read(deps, live)
  const eta = facts.operator()?.timing.eta ?? Number.POSITIVE_INFINITY
  let out = 0
  for (const merchant of overdue(facts.merchants(), facts.block().k, eta)) {
    const { id, account, missingSince } = merchant
    try {
      const credited = await expel(deps, merchant, untilMs)
      const fields = { id, account, missingSince, credited: `${credited}` }
      deps.log.warn(fields, 'notary: merchant put out, its locks are credit of its account')
      out += 1
    } catch (error) {
      deps.log.warn({ id, err: error }, 'notary: a merchant could not be put out')
    }
  }
  deps.metrics.merchantsPutOut.inc(out)
  if (out === 0) return
  await deps.chain.settled()
  await read(deps, live)
}
