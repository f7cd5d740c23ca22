// Deposits that move to another operator, in the model: asked for, challenged, ended. With the
// thesis's original rules to switch back to.

import { type Contract, channelOf, processVouchers } from './payplace-model.ts'

/** Periods between a shift's request and its end; at least beta + gamma + 2 delta. */
export const CHALLENGE_PERIODS = 2

export function requestShift(contract: Contract, consumer: string, amount: number): boolean {
  const { D, mu, w, R } = channelOf(contract, consumer)
  const cools = contract.period < (contract.coolUntil.get(consumer) ?? 0)
  if (cools && !contract.old.has('D31')) return false
  if (contract.shifts.has(consumer) || amount <= 0 || amount > D - Math.max(mu, w + R)) return false
  const next = contract.phase === 'freeze' ? contract.period + 1 : undefined
  // D43: a head may be delta old, so the block after the freeze is none whose signers knew.
  const requestedIn = contract.old.has('D43') ? contract.period : (next ?? contract.period)
  contract.shifts.set(consumer, { amount, requestedIn, unseenIn: next })
  return true
}

/** What a signer sees of a shift in the present period. */
export function shiftSeen(contract: Contract, consumer: string): number {
  const shift = contract.shifts.get(consumer)
  return shift === undefined || shift.unseenIn === contract.period ? 0 : shift.amount
}

/** Shows the contract a voucher that the shift would leave uncovered; refused where it isn't so. */
export function challengeShift(contract: Contract, consumer: string, amount: number): boolean {
  const shift = contract.shifts.get(consumer)
  const { D, mu } = channelOf(contract, consumer)
  if (shift === undefined || D - shift.amount >= Math.max(mu, amount)) return false
  if (!processVouchers(contract, new Map([[consumer, amount]]))) return false
  shift.amount = D - channelOf(contract, consumer).mu
  // D31: else false requests cost the operator a challenge each, without end.
  contract.coolUntil.set(consumer, contract.period + CHALLENGE_PERIODS)
  if (shift.amount === 0) contract.shifts.delete(consumer)
  return true
}

export function cancelShift(contract: Contract, consumer: string): boolean {
  return contract.shifts.delete(consumer)
}

/** What went to the other operator; undefined where it may not yet. */
export function finalizeShift(contract: Contract, consumer: string): number | undefined {
  const shift = contract.shifts.get(consumer)
  if (shift === undefined || contract.phase !== 'open') return undefined
  if (contract.period < shift.requestedIn + CHALLENGE_PERIODS) return undefined
  // A block whose window began after the request: its signers knew, all others are locked.
  if (contract.lastPeriod <= shift.requestedIn && !contract.old.has('D30')) return undefined
  const channel = channelOf(contract, consumer)
  const amount = Math.min(shift.amount, channel.D - Math.max(channel.mu, channel.w + channel.R))
  channel.D -= amount
  contract.received -= amount
  contract.shifts.delete(consumer)
  return amount
}
