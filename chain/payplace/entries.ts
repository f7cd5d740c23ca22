// Packed entries: what one merchant is owed, one 32-byte word per consumer, the address (20 bytes)
// before the cumulative amount (12 bytes), sorted by address. Owns that form and set arithmetic on
// it, in bytes, for blocks have millions of words. Pure. Called by everything in this folder.

import type { Address } from '../../ethereum/address.ts'

export const WORD = 32
export const ADDRESS_BYTES = 20
/** Amounts are uint96 in the contract. */
export const AMOUNT_MAX = 2n ** 96n - 1n
/** The empty set. */
export const NO_ENTRIES: Buffer = Buffer.alloc(0)

/** A block has more leaves or consumers than our tables hold. */
export class LimitError extends Error {
  override readonly name = 'LimitError'
}

/** One word, taken apart. */
export interface Entry {
  readonly consumer: Address
  /** Cumulative, token base units, 1 … 2^96 − 1. */
  readonly amount: bigint
}

/** Why bytes are not packed entries. */
export type EntriesFault = 'length' | 'order' | 'zero-amount'

/** What is wrong with the bytes, undefined where they are canonical. */
export function entriesFault(entries: Uint8Array): EntriesFault | undefined {
  if (entries.length % WORD !== 0) return 'length'
  const words = viewOf(entries)
  for (let at = 0; at < entries.length; at += WORD) {
    if (at > 0 && compareAddresses(words, at - WORD, words, at) >= 0) return 'order'
    if ((words.getUint32(at + 20) | words.getUint32(at + 24) | words.getUint32(at + 28)) === 0) {
      return 'zero-amount'
    }
  }
  return undefined
}

/** The bytes as 32-bit words for reading. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** Below 0, 0 or above 0, as the 20 bytes at `i` of `a` sort against those at `j` of `b`. */
export function compareAddresses(a: DataView, i: number, b: DataView, j: number): number {
  for (let byte = 0; byte < ADDRESS_BYTES; byte += 4) {
    const difference = a.getUint32(i + byte) - b.getUint32(j + byte)
    if (difference !== 0) return difference
  }
  return 0
}

/** As compareAddresses, of the 12-byte amounts of the words at `i` and `j`. */
export function compareAmounts(a: DataView, i: number, b: DataView, j: number): number {
  for (let byte = ADDRESS_BYTES; byte < WORD; byte += 4) {
    const difference = a.getUint32(i + byte) - b.getUint32(j + byte)
    if (difference !== 0) return difference
  }
  return 0
}

/** Packs a list in any order; throws RangeError on an amount out of range or a consumer twice. */
export function packEntries(list: Iterable<Entry>): Buffer {
  const words = [...list].map(packEntry).sort(Buffer.compare)
  const entries = Buffer.concat(words)
  if (entriesFault(entries) !== undefined) throw new RangeError('one entry for each consumer')
  return entries
}

function packEntry({ consumer, amount }: Entry): Buffer {
  if (amount <= 0n || amount > AMOUNT_MAX) throw new RangeError(`${amount} is not a uint96 above 0`)
  return Buffer.from(consumer.slice(2) + amount.toString(16).padStart(24, '0'), 'hex')
}

/** The entries of canonical bytes, in their order. */
export function* eachEntry(entries: Buffer): Generator<Entry> {
  for (let at = 0; at < entries.length; at += WORD) yield entryAt(entries, at)
}

/** The entry whose word begins at byte `at`. */
export function entryAt(entries: Buffer, at: number): Entry {
  return { consumer: consumerAt(entries, at), amount: amountAt(entries, at) }
}

/** The address that begins at byte `at`. */
export function consumerAt(bytes: Buffer, at: number): Address {
  return `0x${bytes.toString('hex', at, at + ADDRESS_BYTES)}` as Address
}

/** The amount of the word that begins at byte `at`. */
export function amountAt(entries: Buffer, at: number): bigint {
  const high = BigInt(entries.readUInt32BE(at + ADDRESS_BYTES))
  return (high << 64n) | entries.readBigUInt64BE(at + ADDRESS_BYTES + 4)
}

/** What is there for this consumer; 0 where nothing is. */
export function amountOf(entries: Buffer, consumer: Address): bigint {
  const wanted = Buffer.from(consumer.slice(2), 'hex')
  let low = 0
  let high = entries.length / WORD
  while (low < high) {
    const middle = (low + high) >> 1
    const at = middle * WORD
    const order = entries.compare(wanted, 0, ADDRESS_BYTES, at, at + ADDRESS_BYTES)
    if (order === 0) return amountAt(entries, at)
    if (order < 0) low = middle + 1
    else high = middle
  }
  return 0n
}

/**
 * Merges two sets: `combine` gives each consumer's amount from those of `a` and `b` (0 where it
 * stands in one only); a result of 0 leaves the consumer out. Throws RangeError above 2^96 − 1.
 */
export function combineEntries(
  a: Buffer,
  b: Buffer,
  combine: (amountA: bigint, amountB: bigint) => bigint,
): Buffer {
  const result = Buffer.alloc(a.length + b.length)
  const viewA = viewOf(a)
  const viewB = viewOf(b)
  let end = 0
  for (let i = 0, j = 0; i < a.length || j < b.length; ) {
    let order = 0
    if (i >= a.length) order = 1
    else if (j >= b.length) order = -1
    else order = compareAddresses(viewA, i, viewB, j)
    const amount = combine(order <= 0 ? amountAt(a, i) : 0n, order >= 0 ? amountAt(b, j) : 0n)
    if (amount > 0n) {
      if (order <= 0) a.copy(result, end, i, i + ADDRESS_BYTES)
      else b.copy(result, end, j, j + ADDRESS_BYTES)
      writeAmount(result, end, amount)
      end += WORD
    }
    if (order <= 0) i += WORD
    if (order >= 0) j += WORD
  }
  return result.subarray(0, end)
}

/**
 * As combineEntries for rules that keep a consumer of `a` alone, and one of `b` alone where `keepB`
 * says so: those words are copied in runs, for mostly few consumers change.
 */
function mergeEntries(
  a: Buffer,
  b: Buffer,
  keepB: boolean,
  both: (amountA: bigint, amountB: bigint) => bigint,
): Buffer {
  const result = Buffer.allocUnsafe(a.length + (keepB ? b.length : 0))
  const viewA = viewOf(a)
  const viewB = viewOf(b)
  let end = 0
  let copied = 0
  let i = 0
  for (let j = 0; j < b.length; j += WORD) {
    while (i < a.length && compareAddresses(viewA, i, viewB, j) < 0) i += WORD
    end += a.copy(result, end, copied, i)
    copied = i
    if (i < a.length && compareAddresses(viewA, i, viewB, j) === 0) {
      const amount = both(amountAt(a, i), amountAt(b, j))
      if (amount > 0n) {
        a.copy(result, end, i, i + ADDRESS_BYTES)
        writeAmount(result, end, amount)
        end += WORD
      }
      i += WORD
      copied = i
    } else if (keepB) end += b.copy(result, end, j, j + WORD)
  }
  end += a.copy(result, end, copied)
  return result.subarray(0, end)
}

/** Puts the amount into the word that begins at byte `at`. Throws RangeError above 2^96 − 1. */
export function writeAmount(entries: Buffer, at: number, amount: bigint): void {
  if (amount > AMOUNT_MAX) throw new RangeError(`${amount} is not a uint96`)
  entries.writeUInt32BE(Number(amount >> 64n), at + ADDRESS_BYTES)
  entries.writeBigUInt64BE(amount & 0xffff_ffff_ffff_ffffn, at + ADDRESS_BYTES + 4)
}

const plus = (x: bigint, y: bigint): bigint => x + y
const larger = (x: bigint, y: bigint): bigint => (x > y ? x : y)
const less = (x: bigint, y: bigint): bigint => (x > y ? x - y : 0n)

/** Each consumer's sum. Throws RangeError above 2^96 − 1. */
export function addEntries(a: Buffer, b: Buffer): Buffer {
  if (a.length === 0) return b
  return b.length === 0 ? a : mergeEntries(a, b, true, plus)
}

/** Each consumer's larger amount. */
export function maxEntries(a: Buffer, b: Buffer): Buffer {
  if (a.length === 0) return b
  return b.length === 0 || a.equals(b) ? a : mergeEntries(a, b, true, larger)
}

/** `a` less `b`, never below 0. */
export function subtractEntries(a: Buffer, b: Buffer): Buffer {
  if (a.equals(b)) return NO_ENTRIES
  return b.length === 0 ? a : mergeEntries(a, b, false, less)
}

/** Where in `floor` the first consumer stands who has less in `entries`; undefined: none has. */
export function firstBelow(floor: Buffer, entries: Buffer): number | undefined {
  if (floor.length === 0 || floor.equals(entries)) return undefined
  const floorView = viewOf(floor)
  const view = viewOf(entries)
  let at = 0
  for (let i = 0; i < floor.length; i += WORD) {
    let order = -1
    while (at < entries.length) {
      order = compareAddresses(view, at, floorView, i)
      if (order >= 0) break
      at += WORD
    }
    if (at >= entries.length || order > 0) return i
    if (compareAmounts(view, at, floorView, i) < 0) return i
  }
  return undefined
}

/** The sum of all amounts. */
export function totalOf(entries: Buffer): bigint {
  let total = 0n
  for (let at = 0; at < entries.length; at += WORD) total += amountAt(entries, at)
  return total
}
