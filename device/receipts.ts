// DIR/receipts.jsonl: what operators confirmed, one signed receipt a line, the user's evidence.
// Only appends; keeps one older file so that it cannot fill a small disk. Called by till.ts.

import { appendFile, rename, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { checksumAddress } from '../ethereum/address.ts'
import type { SignedReceipt } from './operator-api.ts'

const FILE = 'receipts.jsonl'
/** Some 20,000 receipts: two weeks of one a minute, and as many again in the older file. */
const FILE_BYTES_MAX = 8 * 1024 * 1024

/** Appends one receipt whose signature was checked. */
export async function keepReceipt(directory: string, receipt: SignedReceipt): Promise<void> {
  const path = join(directory, FILE)
  const size = await stat(path).then(
    (found) => found.size,
    () => 0,
  )
  if (size > FILE_BYTES_MAX) await rename(path, `${path}.1`)
  await appendFile(path, `${JSON.stringify(receiptJson(receipt))}\n`, { mode: 0o600 })
}

/** A receipt as the operator's API spells it, with its signature. */
export function receiptJson(receipt: SignedReceipt): object {
  return {
    consumer: checksumAddress(receipt.consumer),
    operator: receipt.operator,
    session: receipt.session,
    merchant: checksumAddress(receipt.merchant),
    amount: receipt.amount.toString(),
    credited: receipt.credited.toString(),
    time: receipt.time,
    signature: receipt.signature,
  }
}
