// Random octets for what an authentication needs a few of: State, session id, EAP identifier and
// salts. Asking OpenSSL's generator costs 2.5 µs however little is taken, so it is asked once for
// many. Never for keys: what is handed out later lies in memory before. Made by main.ts.

import { randomBytes } from 'node:crypto'

/** About a hundred authentications' worth. */
const POOL_BYTES = 4096

/** Each call gives octets no other call gives. */
export function createRandomPool(): (length: number) => Buffer {
  let pool = randomBytes(POOL_BYTES)
  let used = 0
  return (length) => {
    if (length > POOL_BYTES) return randomBytes(length)
    if (used + length > POOL_BYTES) {
      // A new buffer, not the old one filled again: parts of that are still in use.
      pool = randomBytes(POOL_BYTES)
      used = 0
    }
    used += length
    return pool.subarray(used - length, used)
  }
}
