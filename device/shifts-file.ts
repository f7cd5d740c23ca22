// DIR/shifts.json: what this device has asked to move and has not yet seen arrive, durable before
// it is asked. Without it a command that was cut short could not tell "arrived" from "never asked"
// and would move the amount twice. Called by shift.ts.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DeviceError } from './error.ts'
import { writeDurably } from './vouchers-file.ts'

const SHIFTS_FILE = 'shifts.json'
const FILE_BYTES_MAX = 64 * 1024

/** One order, by the operator it moves away from. */
export interface ShiftRecord {
  readonly to: number
  /** Base units. */
  readonly amount: bigint
  /** The newest block before it was asked: what became of it is told after that. */
  readonly fromBlock: number
}

/** Reads the orders of DIR. Throws DeviceError 'damaged' where the file is not ours. */
export async function readShiftRecords(directory: string): Promise<Map<number, ShiftRecord>> {
  const path = join(directory, SHIFTS_FILE)
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return new Map()
    throw error
  }
  try {
    if (text.length > FILE_BYTES_MAX) throw new RangeError('too long')
    const { version, shifts } = JSON.parse(text)
    if (version !== 1) throw new RangeError('version')
    return new Map(Object.entries(shifts).map(([from, one]) => [idOf(from), recordOf(one)]))
  } catch (error) {
    const way = 'remove it where no shift of this device is under way'
    throw new DeviceError('damaged', `${path} is not what device shift wrote: ${way}`, error)
  }
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

function idOf(text: unknown): number {
  if (!/^[1-9]\d{0,9}$/.test(String(text))) throw new RangeError('operator')
  return Number(text)
}

function recordOf(from: unknown): ShiftRecord {
  const { to, amount, fromBlock } = from as Record<string, unknown>
  if (typeof amount !== 'string' || !/^\d{1,29}$/.test(amount)) throw new RangeError('amount')
  if (!Number.isSafeInteger(fromBlock) || Number(fromBlock) < 0) throw new RangeError('fromBlock')
  return { to: idOf(to), amount: BigInt(amount), fromBlock: Number(fromBlock) }
}
