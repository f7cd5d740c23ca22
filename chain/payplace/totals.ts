// What each consumer owes all merchants of a block together. Owns the table and its arithmetic:
// one pass over millions of packed entries without an object or bigint for each. Pure. Called by
// the builder and the checker.

import type { Address } from '../../ethereum/address.ts'
import { ADDRESS_BYTES, consumerAt, LimitError, viewOf, WORD } from './entries.ts'

/** Consumers of one operator's block: some 60 MB of tables. */
export const CONSUMERS_MAX = 2 ** 20
const KEY_WORDS = 5
const LIMBS = 3
const FIRST_CAPACITY = 256

/** Sums by consumer. Adding and subtracting change it; a copy is independent. */
export interface Totals {
  /** Adds every amount to its consumer's sum. Throws LimitError above CONSUMERS_MAX consumers. */
  add(entries: Buffer): void
  /** Takes every amount off again. */
  subtract(entries: Buffer): void
  /** 0 for an unknown consumer. */
  of(consumer: Address): bigint
  /** Every consumer that was ever added, also those whose sum is 0 now. */
  each(): Generator<{ readonly consumer: Address; readonly total: bigint }>
  copy(): Totals
}

// A sum is kept as three limbs of 32 bits, each in a double: exact for 2^21 additions, and a block
// has at most 2^20 leaves with each consumer once a merchant.
interface Table {
  readonly seed: number
  size: number
  keys: Uint32Array
  limbs: Float64Array
  /** Index + 1 of a consumer, 0 where free; a power of two, at most half full. */
  slots: Int32Array
}

/**
 * An empty table. `seed` is a random 32-bit number: addresses are chosen by strangers, who must not
 * be able to choose ones that collide.
 */
export function createTotals(seed: number): Totals {
  return over({
    seed,
    size: 0,
    keys: new Uint32Array(FIRST_CAPACITY * KEY_WORDS),
    limbs: new Float64Array(FIRST_CAPACITY * LIMBS),
    slots: new Int32Array(FIRST_CAPACITY * 2),
  })
}

function over(table: Table): Totals {
  return {
    add: (entries) => accumulate(table, entries, 1),
    subtract: (entries) => accumulate(table, entries, -1),
    of(consumer) {
      const key = Buffer.from(consumer.slice(2), 'hex')
      const index = find(table, viewOf(key), 0)
      return index === undefined ? 0n : sumAt(table, index)
    },
    *each() {
      const key = Buffer.alloc(ADDRESS_BYTES)
      for (let index = 0; index < table.size; index++) {
        for (let word = 0; word < KEY_WORDS; word++) {
          key.writeUInt32BE(table.keys[index * KEY_WORDS + word] ?? 0, word * 4)
        }
        yield { consumer: consumerAt(key, 0), total: sumAt(table, index) }
      }
    },
    copy: () =>
      over({
        ...table,
        keys: table.keys.slice(),
        limbs: table.limbs.slice(),
        slots: table.slots.slice(),
      }),
  }
}

function sumAt({ limbs }: Table, index: number): bigint {
  let sum = 0n
  for (let limb = 0; limb < LIMBS; limb++) {
    sum = (sum << 32n) + BigInt(limbs[index * LIMBS + limb] ?? 0)
  }
  return sum
}

function accumulate(table: Table, entries: Buffer, sign: 1 | -1): void {
  const view = viewOf(entries)
  for (let at = 0; at < entries.length; at += WORD) {
    const limb = (find(table, view, at) ?? insert(table, view, at)) * LIMBS
    const { limbs } = table
    limbs[limb] = (limbs[limb] ?? 0) + sign * view.getUint32(at + 20)
    limbs[limb + 1] = (limbs[limb + 1] ?? 0) + sign * view.getUint32(at + 24)
    limbs[limb + 2] = (limbs[limb + 2] ?? 0) + sign * view.getUint32(at + 28)
  }
}

/** The slot where the search for the address at `at` begins. */
function firstSlot({ seed, slots }: Table, view: DataView, at: number): number {
  let mixed = seed
  for (let byte = 0; byte < ADDRESS_BYTES; byte += 4) {
    mixed = Math.imul(mixed ^ view.getUint32(at + byte), 0x9e37_79b1)
    mixed ^= mixed >>> 15
  }
  return mixed & (slots.length - 1)
}

function find(table: Table, view: DataView, at: number): number | undefined {
  const { keys, slots } = table
  const mask = slots.length - 1
  for (let slot = firstSlot(table, view, at); ; slot = (slot + 1) & mask) {
    const index = (slots[slot] ?? 0) - 1
    if (index < 0) return undefined
    const key = index * KEY_WORDS
    if (
      keys[key] === view.getUint32(at) &&
      keys[key + 1] === view.getUint32(at + 4) &&
      keys[key + 2] === view.getUint32(at + 8) &&
      keys[key + 3] === view.getUint32(at + 12) &&
      keys[key + 4] === view.getUint32(at + 16)
    ) {
      return index
    }
  }
}

function insert(table: Table, view: DataView, at: number): number {
  if (table.size >= CONSUMERS_MAX) {
    throw new LimitError(`a block has at most ${CONSUMERS_MAX} consumers`)
  }
  if (table.size * 2 >= table.slots.length) grow(table)
  const index = table.size
  for (let word = 0; word < KEY_WORDS; word++) {
    table.keys[index * KEY_WORDS + word] = view.getUint32(at + word * 4)
  }
  table.size += 1
  occupy(table, index, view, at)
  return index
}

function occupy(table: Table, index: number, view: DataView, at: number): void {
  const mask = table.slots.length - 1
  let slot = firstSlot(table, view, at)
  while (table.slots[slot] !== 0) slot = (slot + 1) & mask
  table.slots[slot] = index + 1
}

function grow(table: Table): void {
  const capacity = table.slots.length
  const keys = new Uint32Array(capacity * KEY_WORDS)
  keys.set(table.keys)
  const limbs = new Float64Array(capacity * LIMBS)
  limbs.set(table.limbs)
  table.keys = keys
  table.limbs = limbs
  table.slots = new Int32Array(capacity * 2)
  const key = new DataView(new ArrayBuffer(ADDRESS_BYTES))
  for (let index = 0; index < table.size; index++) {
    for (let word = 0; word < KEY_WORDS; word++) {
      key.setUint32(word * 4, keys[index * KEY_WORDS + word] ?? 0)
    }
    occupy(table, index, key, 0)
  }
}
