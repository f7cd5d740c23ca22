// DIR/shifts.json: what this device has asked to move and has not yet seen arrive, durable before
// it is asked. Without it a command that was cut short could not tell "arrived" from "never asked"
// and would move the amount twice. Called by shift.ts.

import { join } from 'node:path'
import { amountOf, idOf, readByOperator, writeDurably } from './vouchers-file.ts'

const SHIFTS_FILE = 'shifts.json'

/** One order, by the operator it moves away from. */
export interface ShiftRecord {
  readonly to: number
  /** Base units. */
  readonly amount: bigint
  /** The newest block before it was asked: what became of it is told after that. */
  readonly fromBlock: number
}

/** Reads the orders of DIR. Throws DeviceError 'damaged' where the file is not ours. */
export function readShiftRecords(directory: string): Promise<Map<number, ShiftRecord>> {
  return readByOperator(join(directory, SHIFTS_FILE), 'shifts', recordOf, {
    writer: 'device shift',
    way: 'remove it where no shift of this device is under way',
  })
}

/** Notes the order away from `from`, or that it is over. Resolves when it is on the disk. */
export async function noteShift(
  directory: string,
  from: number,
  record: ShiftRecord | undefined,
): Promise<void> {
  const records = await readShiftRecords(directory)
  if (record === undefined && !records.delete(from)) return
  if (record !== undefined) records.set(from, record)
  const shifts = Object.fromEntries(
    [...records].map(([id, one]) => [id, { ...one, amount: one.amount.toString() }]),
  )
  const text = `${JSON.stringify({ version: 1, shifts }, null, 2)}\n`
  await writeDurably(directory, SHIFTS_FILE, text)
}

function recordOf(from: unknown): ShiftRecord {
  const { to, amount, fromBlock } = from as Record<string, unknown>
  if (!Number.isSafeInteger(fromBlock) || Number(fromBlock) < 0) throw new RangeError('fromBlock')
  return { to: idOf(to), amount: amountOf(amount), fromBlock: Number(fromBlock) }
}
