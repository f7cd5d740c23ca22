// Keccak-256 for every digest of the payment path: OpenSSL's where this Node has it (from 3.2), a
// third of noble's time, else noble's. Pure; owns nothing but the choice. Called by typed-data.ts
// and address.ts.

import { getHashes, hash } from 'node:crypto'
import { keccak_256 } from '@noble/hashes/sha3.js'

const ALGORITHM = 'keccak-256'

/** The 32-byte Keccak-256 (not SHA3-256) of some bytes. */
export const keccak256: (bytes: Uint8Array) => Buffer = getHashes().includes(ALGORITHM)
  ? (bytes) => hash(ALGORITHM, bytes, 'buffer')
  : (bytes) => Buffer.from(keccak_256(bytes))
