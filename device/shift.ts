// A shift of a device's deposit from one operator to another: asked for once, however often the
// command is cut short and run again, then completed when it is due. Owns what is asked and what is
// refused beforehand: never more than this device has left unpromised. Called by the cli's
// `device shift`.

import type { ContractAccess } from '../chain/calls.ts'
import { ChainError } from '../chain/error.ts'
import {
  type BlockClock,
  cancelShift,
  finalizeShift,
  readBlockClock,
  readBlockNumber,
  readShift,
  readShiftBond,
  readShiftEnd,
  requestShift,
  type ShiftEnd,
  type ShiftRead,
} from '../chain/shift-calls.ts'
import { shown } from './amounts.ts'
import type { ChainReader } from './chain.ts'
import type { DeviceFile } from './device-file.ts'
import { DeviceError } from './error.ts'
import { drawTokens } from './funds.ts'
import { type ShiftStep, shiftStep } from './shift-step.ts'
import { noteShift, readShiftRecords, type ShiftRecord } from './shifts-file.ts'
import { lockPayer, openVouchers } from './vouchers-file.ts'

/** What is to be moved, base units. */
export interface ShiftOrder {
  readonly to: number
  readonly amount: bigint
}

/** Where a device's shift is carried out; `now` in Unix ms. */
export interface ShiftDeps {
  readonly directory: string
  readonly device: DeviceFile
  readonly from: number
  readonly accountKey: Buffer
  readonly access: ContractAccess
  readonly chain: ChainReader
  readonly progress: (line: string) => void
  readonly now: () => number
}

/** A shift that is under way. */
export interface PendingShift {
  readonly state: 'pending'
  readonly shift: ShiftRead
  readonly step: ShiftStep
  /** A challenge has cut it and taken the bond. */
  readonly isCut: boolean
}

/** Where a shift stands after a look at it. */
export type ShiftState =
  | PendingShift
  | { readonly state: 'arrived'; readonly amount: bigint; readonly to: number }
  | { readonly state: 'cancelled' }
  /** Everything was promised: a challenge left nothing to move. */
  | { readonly state: 'cut' }
  | { readonly state: 'none' }

/**
 * Asks for the shift unless it was asked already, and looks at it once: what is due is completed.
 * Throws DeviceError 'exists' where another shift is pending, 'unavailable' where less is left than
 * is asked for or bond or gas are missing; ChainError where the chain refuses.
 */
export async function orderShift(order: ShiftOrder, deps: ShiftDeps): Promise<ShiftState> {
  const shift = await shiftNow(deps)
  const record = (await readShiftRecords(deps.directory)).get(deps.from)
  if (shift.requestedAt !== 0) {
    refuseAnother(order, shift, record, deps)
    return lookAtShift(deps)
  }
  if (record !== undefined) {
    // An earlier command was cut short, or left it to be completed: what became of it?
    const ended = await endedShift(record, deps)
    const isSame = record.to === order.to && record.amount === order.amount
    if (ended.state !== 'none' && isSame) return ended
  }
  await ask(order, shift, deps)
  return lookAtShift(deps)
}

/**
 * Looks at what is under way: completed where it is due; 'none' where nothing is. Throws
 * DeviceError 'refused' where it can't be completed any more, ChainError where the chain refuses.
 */
export async function lookAtShift(deps: ShiftDeps): Promise<ShiftState> {
  const { directory, from, access, accountKey } = deps
  const shift = await shiftNow(deps)
  if (shift.requestedAt === 0) {
    const record = (await readShiftRecords(directory)).get(from)
    return record === undefined ? { state: 'none' } : endedShift(record, deps)
  }
  const step = shiftStep(shift, await clockOf(deps), seconds(deps))
  const isCut = shift.bond === 0n && (await readShiftBond(access)) > 0n
  if (step.waitsFor !== 'nothing') return { state: 'pending', shift, step, isCut }
  if ((await deps.chain.operator(shift.to))?.active !== true) {
    // The contract would refuse it, each time, and each time for gas.
    const way = `take the shift back with --cancel --from ${from}`
    throw new DeviceError('refused', `operator ${shift.to} has retired meanwhile: ${way}`)
  }
  const { blockNumber } = await finalizeShift(access, { privateKey: accountKey }, from)
  return endedShift({ to: shift.to, amount: shift.amount, fromBlock: blockNumber }, deps)
}

/** Takes a pending shift back. Throws DeviceError 'usage' where there is none. */
export async function takeShiftBack(deps: ShiftDeps): Promise<ShiftState> {
  const { directory, from, access, accountKey } = deps
  const shift = await shiftNow(deps)
  if (shift.requestedAt === 0) {
    throw new DeviceError('usage', `no shift away from operator ${from} is pending`)
  }
  await cancelShift(access, { privateKey: accountKey }, from)
  await noteShift(directory, from, undefined)
  return { state: 'cancelled' }
}

/** The clock of the operator it moves away from; for the text of a shift. */
export function clockOf({ access, from }: Pick<ShiftDeps, 'access' | 'from'>): Promise<BlockClock> {
  return readBlockClock(access, from)
}

const shiftNow = ({ access, from, device }: ShiftDeps): Promise<ShiftRead> =>
  readShift(access, from, device.account)

const seconds = ({ now }: ShiftDeps): number => Math.floor(now() / 1_000)

/** What became of an order that is not pending any more; 'none': it never came to the chain. */
async function endedShift(record: ShiftRecord, deps: ShiftDeps): Promise<ShiftState> {
  const { access, from, device, directory } = deps
  const end = await readShiftEnd(access, from, device.account, record.fromBlock)
  await noteShift(directory, from, undefined)
  return end === undefined ? { state: 'none' } : stateAfter(end, record.to)
}

function stateAfter(end: ShiftEnd, to: number): ShiftState {
  if (end.how === 'finalized') return { state: 'arrived', amount: end.amount, to }
  return { state: end.how }
}

/** One at a time (D31): the same order goes on, another has to wait or the first be taken back. */
function refuseAnother(
  { to, amount }: ShiftOrder,
  shift: ShiftRead,
  record: ShiftRecord | undefined,
  { device, from }: ShiftDeps,
): void {
  // A challenge may have made less of it than was asked for.
  const asked = record?.to === shift.to ? record.amount : shift.amount
  if (shift.to === to && asked === amount) return
  const pending = `a shift of ${shown(shift.amount, device.token)} to operator ${shift.to} is pending`
  const way = `wait for it, or take it back with --cancel --from ${from}`
  throw new DeviceError('exists', `${pending}: ${way}`)
}

/** Under the payer's lock: no voucher may be signed between the sum and the request. */
async function ask(order: ShiftOrder, before: ShiftRead, deps: ShiftDeps): Promise<void> {
  const { directory, device, from, access, accountKey } = deps
  const lock = lockPayer(directory)
  try {
    const nowSeconds = seconds(deps)
    if (nowSeconds < before.coolUntil) {
      const until = new Date(before.coolUntil * 1_000).toISOString()
      const why = 'the last shift was challenged'
      throw new DeviceError('unavailable', `${why}: the next may be asked for after ${until}`)
    }
    await refuseTooMuch(order, deps)
    const bond = await readShiftBond(access)
    const { operatorUrl, token } = device
    deps.progress(
      `the bond is ${shown(bond, device.token)}: it comes back unless a challenge takes it`,
    )
    await drawTokens({ operatorUrl, token, amount: bond }, device.account, deps)
    const fromBlock = await readBlockNumber(access.rpc)
    await noteShift(directory, from, { ...order, fromBlock })
    await requestShift(access, { privateKey: accountKey }, { ...order, from, bond })
    deps.progress(`asked to move ${shown(order.amount, device.token)} to operator ${order.to}`)
  } catch (error) {
    // The chain refused: nothing is under way that has to be remembered.
    if (error instanceof ChainError && error.code === 'transaction-failed') {
      await noteShift(directory, from, undefined)
    }
    throw error
  } finally {
    lock.release()
  }
}

/** More than is unpromised would be challenged, and cost the bond. */
async function refuseTooMuch({ amount }: ShiftOrder, deps: ShiftDeps): Promise<void> {
  const { directory, device, from, chain } = deps
  const { deposit, highestVoucher } = await chain.escrow(from, device.account)
  const { signed } = (await openVouchers(directory)).book(from)
  let promised = highestVoucher
  if (signed > promised) promised = signed
  if (amount <= deposit - promised) return
  const sums = `${shown(deposit, device.token)} deposited, ${shown(promised, device.token)} promised in vouchers`
  const left = deposit > promised ? deposit - promised : 0n
  const most = `at most ${shown(left, device.token)} can be moved away from operator ${from}`
  throw new DeviceError('unavailable', `${most}: ${sums}`)
}
