// DIR/activities.json: up to when this device has published its activity with each operator, on the
// disk before a summary is sent, so that no second is reported twice even where the chain's answer
// was lost. Called by activity.ts and activity-timer.ts.

import { join } from 'node:path'
import { readByOperator, writeDurably } from './vouchers-file.ts'

const FILE = 'activities.json'

/** The last summary with one operator. */
export interface ActivityRecord {
  /** Unix seconds: when it ended; 0 where none was published. */
  readonly end: number
  /** Its nonce as decimal text; empty where none was published. */
  readonly nonce: string
  /** Sent, and not known to be in a block. */
  readonly isPending: boolean
  /** Unix ms: when it was last tried, or the device was first run. */
  readonly triedAtMs: number
}

/** Of an operator with which nothing was published or tried. */
export const NEVER: ActivityRecord = { end: 0, nonce: '', isPending: false, triedAtMs: 0 }

/** The records of DIR. Throws DeviceError 'damaged' where the file is not ours. */
export function readActivityRecords(directory: string): Promise<Map<number, ActivityRecord>> {
  return readByOperator(join(directory, FILE), 'activities', recordOf, {
    writer: 'device activity',
    way: 'remove it, the chain knows what was published',
  })
}

/** Notes one record. Resolves when it is on the disk. */
export async function noteActivity(
  directory: string,
  operatorId: number,
  record: ActivityRecord,
): Promise<void> {
  const records = await readActivityRecords(directory)
  records.set(operatorId, record)
  const activities = Object.fromEntries(records)
  await writeDurably(directory, FILE, `${JSON.stringify({ version: 1, activities }, null, 2)}\n`)
}

/** When the device's last summary ended, whatever the operator: the contract has one clock. */
export function lastEnd(records: ReadonlyMap<number, ActivityRecord>): number {
  return Math.max(0, ...[...records.values()].map(({ end }) => end))
}

function recordOf(from: unknown): ActivityRecord {
  const { end, nonce, isPending, triedAtMs } = from as Record<string, unknown>
  for (const time of [end, triedAtMs]) {
    if (!Number.isSafeInteger(time) || Number(time) < 0) throw new RangeError('time')
  }
  if (typeof nonce !== 'string' || !/^\d{0,20}$/.test(nonce)) throw new RangeError('nonce')
  const times = { end: Number(end), triedAtMs: Number(triedAtMs) }
  return { ...times, nonce, isPending: isPending === true }
}
