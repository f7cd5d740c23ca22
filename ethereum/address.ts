// Accounts of the chain as values: 20 bytes, written as lowercase 0x-hex inside the program and
// with the EIP-55 checksum wherever a person or another program reads them. Pure; imports no room.

import { keccak256 } from './keccak.ts'

declare const addressBrand: unique symbol

/**
 * An account or contract address: `0x` and 40 lowercase hex digits. Only `parseAddress` and
 * `addressOfPublicKey` make one.
 */
export type Address = `0x${string}` & { readonly [addressBrand]: true }

/** Reads an address in any letter case; undefined where the text is not `0x` and 40 hex digits. */
export function parseAddress(text: string): Address | undefined {
  return /^0x[0-9a-fA-F]{40}$/.test(text) ? (text.toLowerCase() as Address) : undefined
}

/** Spellings kept: a server writes the same accounts all day; 10,000 of them take some 2 MB. */
const SPELLINGS_MAX = 10_000
const spellings = new Map<Address, string>()

/** The EIP-55 spelling, for answers and screens. */
export function checksumAddress(address: Address): string {
  const known = spellings.get(address)
  if (known !== undefined) return known
  if (spellings.size >= SPELLINGS_MAX) spellings.clear()
  const text = spell(address)
  spellings.set(address, text)
  return text
}

function spell(address: Address): string {
  const digits = address.slice(2)
  const hash = keccak256(Buffer.from(digits, 'ascii')).toString('hex')
  let text = '0x'
  for (let i = 0; i < digits.length; i++) {
    const digit = digits.charAt(i)
    text += Number.parseInt(hash.charAt(i), 16) >= 8 ? digit.toUpperCase() : digit
  }
  return text
}

/**
 * The account of a secp256k1 public key, given as 64 bytes (x, y) or as 65 bytes with the leading
 * 0x04.
 */
export function addressOfPublicKey(publicKey: Uint8Array): Address {
  const point = publicKey.length === 65 && publicKey[0] === 4 ? publicKey.subarray(1) : publicKey
  if (point.length !== 64) {
    throw new RangeError(`an uncompressed public key is 64 bytes, not ${point.length}`)
  }
  return `0x${keccak256(point).toString('hex', 12)}` as Address
}
