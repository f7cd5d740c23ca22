// DIR/vouchers.json: what this device promised each operator, durable before a voucher leaves. Owns
// the file, and the lock that keeps two programs of one DIR apart. Called by run.ts, enrol.ts and
// the cli.

import { constants } from 'node:fs'
import { open, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { type Lock, lockFile } from '../chain/lock.ts'
import { DeviceError } from './error.ts'
import { EMPTY_BOOK, type VoucherBook } from './voucher-book.ts'

export const VOUCHERS_FILE = 'vouchers.json'
// Two amounts and an id for each operator of one device: 64 KB holds hundreds.
const FILE_BYTES_MAX = 64 * 1024

/** The books of one DIR, one for each operator id. */
export interface VouchersFile {
  book(operatorId: number): VoucherBook
  /** Resolves when the book is on the disk: only then may its voucher be sent. */
  write(operatorId: number, book: VoucherBook): Promise<void>
}

/** Reads the books of DIR. Throws DeviceError 'damaged' where the file is not ours. */
export async function openVouchers(directory: string): Promise<VouchersFile> {
  const books = await readBooks(join(directory, VOUCHERS_FILE))
  return {
    book: (operatorId) => books.get(operatorId) ?? EMPTY_BOOK,
    async write(operatorId, book) {
      const next = new Map(books).set(operatorId, book)
      await writeDurably(directory, VOUCHERS_FILE, vouchersText(next))
      books.set(operatorId, book)
    },
  }
}

/** The text of the file. */
export function vouchersText(books: ReadonlyMap<number, VoucherBook>): string {
  const operators = Object.fromEntries(
    [...books].map(([operatorId, { taken, signed, pending }]) => [
      operatorId,
      {
        taken: taken.toString(),
        signed: signed.toString(),
        pending:
          pending === undefined
            ? null
            : { amount: pending.amount.toString(), session: pending.session },
      },
    ]),
  )
  return `${JSON.stringify({ version: 1, operators }, null, 2)}\n`
}

function readBooks(path: string): Promise<Map<number, VoucherBook>> {
  return readByOperator(path, 'operators', bookOf, {
    writer: 'device run',
    // Without the highest amount the next voucher could promise the same money again.
    way: 'put it back, or remove it to take over what the operator shows',
  })
}

/**
 * What a file of DIR holds by operator id under `name`; nothing without a file. Throws DeviceError
 * 'damaged' where it is not what the `writer` wrote, with the `way` out.
 */
export async function readByOperator<Value>(
  path: string,
  name: string,
  readValue: (from: unknown) => Value,
  { writer, way }: { readonly writer: string; readonly way: string },
): Promise<Map<number, Value>> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return new Map()
    throw error
  }
  try {
    if (text.length > FILE_BYTES_MAX) throw new RangeError('too long')
    const { version, [name]: values } = JSON.parse(text)
    if (version !== 1) throw new RangeError('version')
    return new Map(Object.entries(values).map(([id, from]) => [idOf(id), readValue(from)]))
  } catch (error) {
    throw new DeviceError('damaged', `${path} is not what ${writer} wrote: ${way}`, error)
  }
}

/** An operator's id; throws RangeError on anything else. */
export function idOf(text: unknown): number {
  if (!/^[1-9]\d{0,9}$/.test(String(text))) throw new RangeError('operator')
  return Number(text)
}

function bookOf(from: unknown): VoucherBook {
  const { pending, ...sums } = from as { pending: unknown; taken: unknown; signed: unknown }
  const amounts = { taken: amountOf(sums.taken), signed: amountOf(sums.signed) }
  if (pending === null) return { ...amounts, pending: undefined }
  const { amount, session } = pending as { amount: unknown; session: unknown }
  if (typeof session !== 'string' || !/^[0-9a-f]{32}$/.test(session))
    throw new RangeError('session')
  return { ...amounts, pending: { amount: amountOf(amount), session } }
}

/** Base units as they are written; throws RangeError on anything else. */
export function amountOf(from: unknown): bigint {
  if (typeof from !== 'string' || !/^\d{1,29}$/.test(from)) throw new RangeError('amount')
  return BigInt(from)
}

/** Replaces a file of DIR so that a power cut leaves the old text or the new, whole. */
export async function writeDurably(
  directory: string,
  name: string,
  content: string,
  mode = 0o600,
): Promise<void> {
  const temporary = join(directory, `.${name}.new`)
  const { O_CREAT, O_TRUNC, O_WRONLY } = constants
  const file = await open(temporary, O_CREAT | O_TRUNC | O_WRONLY, mode)
  try {
    await file.writeFile(content)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, join(directory, name))
  const folder = await open(directory, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** Keeps a second payer away from DIR. Throws DeviceError 'exists' where one pays already. */
export function lockPayer(directory: string): Lock {
  const text = `another program pays for ${directory} already (device run?): stop it first`
  return lockFile(join(directory, 'payer.lock'), (cause) => new DeviceError('exists', text, cause))
}
