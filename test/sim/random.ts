// Repeatable randomness for the simulations: one text seed, the same numbers on every machine. Not
// for secrets. Called by everything in test/sim.

import { createHash } from 'node:crypto'

export interface Random {
  /** A whole number from 0 to limit - 1. */
  below(limit: number): number
  /** True this often: 0 never, 1 always. */
  chance(probability: number): boolean
  bytes(length: number): Buffer
  pick<T>(list: readonly T[]): T
}

/** Mulberry32 over a hash of the seed: fast, and good enough to choose what goes wrong. */
export function seeded(seed: string): Random {
  let word = createHash('sha256').update(seed).digest().readUInt32BE(0)
  const next = (): number => {
    word = (word + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(word ^ (word >>> 15), word | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
  const below = (limit: number): number => next() % limit
  return {
    below,
    chance: (probability) => next() < probability * 0x1_0000_0000,
    bytes(length) {
      const bytes = Buffer.alloc(length)
      for (let at = 0; at < length; at++) bytes[at] = next() >>> 24
      return bytes
    },
    pick<T>(list: readonly T[]): T {
      const chosen = list[below(list.length)]
      if (chosen === undefined) throw new Error('nothing to pick from')
      return chosen
    },
  }
}
