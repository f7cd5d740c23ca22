// MD5 and HMAC-MD5 (RFC 2104) as RADIUS uses them. Two one-shot hashes with padded keys kept per
// secret take three quarters of the time of createHmac; digests are compared in constant time only.
// The scratch buffer holds secrets between calls, so it never leaves this file.

import { hash, timingSafeEqual } from 'node:crypto'
import { RadiusError } from './error.ts'
import { packetLengthMax } from './packet.ts'

/**
 * Octets; far beyond the 64 that RFC 2865 §3 practice asks to support. An empty secret is refused.
 */
export const secretLengthMax = 1024

const blockLength = 64
export const digestLength = 16

interface PaddedKeys {
  readonly inner: Buffer
  /** The outer pad and behind it 16 octets for the inner digest. */
  readonly outer: Buffer
}

// By identity: a NAS entry's secret is one buffer for its life, and is collected with it.
const keysOfSecret = new WeakMap<Uint8Array, PaddedKeys>()
const scratch = Buffer.alloc(blockLength + packetLengthMax + secretLengthMax)

function paddedKeys(secret: Uint8Array): PaddedKeys {
  const known = keysOfSecret.get(secret)
  if (known !== undefined) return known
  const key = Buffer.alloc(blockLength)
  if (secret.length > blockLength) key.write(hash('md5', secret, 'latin1'), 0, 'latin1')
  else key.set(secret)
  const inner = Buffer.alloc(blockLength)
  const outer = Buffer.alloc(blockLength + digestLength)
  for (const [i, octet] of key.entries()) {
    inner[i] = octet ^ 0x36
    outer[i] = octet ^ 0x5c
  }
  const keys = { inner, outer }
  keysOfSecret.set(secret, keys)
  return keys
}

/** Throws RadiusError unless the secret has 1..1024 octets. An empty one authenticates nobody. */
export function checkSecret(secret: Uint8Array): void {
  if (secret.length === 0 || secret.length > secretLengthMax) {
    throw new RadiusError('secret-length', `${secret.length} octets`)
  }
}

/**
 * Copies a packet of at most 4096 octets to where its authenticator fields can be replaced before
 * hashing. The view is good until the next call; only the two functions below take it.
 */
export function workspace(packet: Buffer): Buffer {
  scratch.set(packet, blockLength)
  return scratch.subarray(blockLength, blockLength + packet.length)
}

/** HMAC-MD5 of a packet in the workspace, as a latin1 string of 16 characters. */
export function workspaceHmac(packet: Buffer, secret: Uint8Array): string {
  const { inner, outer } = paddedKeys(secret)
  scratch.set(inner, 0)
  const digest = hash('md5', scratch.subarray(0, blockLength + packet.length), 'latin1')
  outer.write(digest, blockLength, 'latin1')
  return hash('md5', outer, 'latin1')
}

/** MD5 of a packet in the workspace followed by the secret, as a latin1 string of 16 characters. */
export function workspaceMd5(packet: Buffer, secret: Uint8Array): string {
  const end = blockLength + packet.length
  scratch.set(secret, end)
  return hash('md5', scratch.subarray(blockLength, end + secret.length), 'latin1')
}

/** MD5 over the parts joined. */
export function md5(parts: readonly Uint8Array[]): Buffer {
  return Buffer.from(hash('md5', Buffer.concat(parts), 'latin1'), 'latin1')
}

/** Whether 16 received octets equal the computed digest, in constant time (X7). */
export function digestEquals(received: Uint8Array, computed: string): boolean {
  return timingSafeEqual(received, Buffer.from(computed, 'latin1'))
}
