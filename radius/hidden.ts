// Values hidden with the shared secret: User-Password (RFC 2865 §5.2, encrypt=1), Tunnel-Password
// (RFC 2868 §3.5, encrypt=2) and with it the MS-MPPE keys (RFC 2548 §2.4), and Ascend's secrets
// (encrypt=3). MD5 hiding is weak by design; it protects only with a long secret or inside TLS.

import { AttributeType } from './attribute-type.ts'
import { checkSecret, digestLength, md5 } from './digest.ts'
import { RadiusError } from './error.ts'
import type { Attribute } from './packet.ts'

/** RFC 2865 §5.2. */
const passwordLengthMax = 128
/** 253 octets of value less salt, rounded down to whole blocks, less the length octet. */
export const tunnelPasswordLengthMax = 239
const saltLength = 2

const vendorMicrosoft = 311
const msMppeSendKey = 16
const msMppeRecvKey = 17

/** XORs 16-octet blocks with MD5(secret, previous): the previous cipher block, at first `start`. */
function chain(
  input: Buffer,
  secret: Buffer,
  start: readonly Uint8Array[],
  hiding: boolean,
): Buffer {
  checkSecret(secret)
  const output = Buffer.alloc(input.length)
  let previous = start
  for (let at = 0; at < input.length; at += digestLength) {
    const mask = md5([secret, ...previous])
    for (let i = 0; i < digestLength; i++) {
      output[at + i] = input.readUInt8(at + i) ^ mask.readUInt8(i)
    }
    previous = [(hiding ? output : input).subarray(at, at + digestLength)]
  }
  return output
}

function paddedLength(length: number): number {
  return Math.max(digestLength, Math.ceil(length / digestLength) * digestLength)
}

/** The User-Password value: 16..128 octets. Throws RadiusError where the password is over 128. */
export function hideUserPassword(
  password: Buffer,
  requestAuthenticator: Buffer,
  secret: Buffer,
): Buffer {
  if (password.length > passwordLengthMax) {
    throw new RadiusError('value-too-long', `password of ${password.length} octets`)
  }
  const padded = Buffer.alloc(paddedLength(password.length))
  padded.set(password)
  return chain(padded, secret, [requestAuthenticator], true)
}

/** The password without its NUL padding. Another secret gives noise: nothing here can tell. */
export function revealUserPassword(
  hidden: Buffer,
  requestAuthenticator: Buffer,
  secret: Buffer,
): Buffer {
  if (
    hidden.length === 0 ||
    hidden.length > passwordLengthMax ||
    hidden.length % digestLength !== 0
  ) {
    throw new RadiusError('hidden-malformed', `User-Password of ${hidden.length} octets`)
  }
  const padded = chain(hidden, secret, [requestAuthenticator], false)
  let end = padded.length
  while (end > 0 && padded[end - 1] === 0) end--
  return padded.subarray(0, end)
}

/**
 * Salt and hidden value, as they stand behind the tag. The salt's top bit is set (RFC 2868 §3.5);
 * its uniqueness within the packet is the caller's. Throws RadiusError over 239 octets.
 */
export function hideTunnelPassword(
  value: Buffer,
  salt: Buffer,
  requestAuthenticator: Buffer,
  secret: Buffer,
): Buffer {
  if (value.length > tunnelPasswordLengthMax) {
    throw new RadiusError('value-too-long', `${value.length} octets to hide`)
  }
  if (salt.length !== saltLength) {
    throw new RadiusError('hidden-malformed', `salt of ${salt.length} octets`)
  }
  const marked = Buffer.from([salt.readUInt8(0) | 0x80, salt.readUInt8(1)])
  const plain = Buffer.alloc(paddedLength(1 + value.length))
  plain.writeUInt8(value.length, 0)
  plain.set(value, 1)
  return Buffer.concat([marked, chain(plain, secret, [requestAuthenticator, marked], true)])
}

/** The value behind salt and length octet. Throws RadiusError where the length cannot be true. */
export function revealTunnelPassword(
  hidden: Buffer,
  requestAuthenticator: Buffer,
  secret: Buffer,
): Buffer {
  const blocks = hidden.length - saltLength
  if (blocks < digestLength || blocks % digestLength !== 0) {
    throw new RadiusError('hidden-malformed', `salted value of ${hidden.length} octets`)
  }
  const salt = hidden.subarray(0, saltLength)
  const plain = chain(hidden.subarray(saltLength), secret, [requestAuthenticator, salt], false)
  const length = plain.readUInt8(0)
  // The first thing a wrong secret breaks, and the bound of the slice below.
  if (length > plain.length - 1) {
    throw new RadiusError('hidden-malformed', `length ${length} in ${plain.length} octets`)
  }
  return plain.subarray(1, 1 + length)
}

/** Ascend-Send-Secret and its like: one block, XORed with MD5(authenticator, secret). */
export function hideAscendSecret(
  value: Buffer,
  requestAuthenticator: Buffer,
  secret: Buffer,
): Buffer {
  if (value.length > digestLength) {
    throw new RadiusError('value-too-long', `${value.length} octets to hide in 16`)
  }
  checkSecret(secret)
  const hidden = md5([requestAuthenticator, secret])
  for (const [i, octet] of value.entries()) hidden[i] = hidden.readUInt8(i) ^ octet
  return hidden
}

/** The secret up to its first NUL. */
export function revealAscendSecret(
  hidden: Buffer,
  requestAuthenticator: Buffer,
  secret: Buffer,
): Buffer {
  if (hidden.length !== digestLength) {
    throw new RadiusError('hidden-malformed', `Ascend secret of ${hidden.length} octets`)
  }
  const plain = hideAscendSecret(hidden, requestAuthenticator, secret)
  const end = plain.indexOf(0)
  return end === -1 ? plain : plain.subarray(0, end)
}

/**
 * MS-MPPE-Recv-Key and MS-MPPE-Send-Key from the 64-octet MSK (RFC 2548 §2.4, RFC 3580 §3.16), for
 * the Access-Accept that answers the request of this authenticator. `salts`: 4 random octets.
 */
export function mppeKeyAttributes(
  msk: Buffer,
  requestAuthenticator: Buffer,
  secret: Buffer,
  salts: Buffer,
): Attribute[] {
  if (msk.length !== 64 || salts.length !== 4) {
    throw new RadiusError('value-malformed', `MSK ${msk.length}, salts ${salts.length} octets`)
  }
  const recvSalt = Buffer.from(salts.subarray(0, 2))
  const sendSalt = Buffer.from(salts.subarray(2, 4))
  // RFC 2548 §2.4.2: salts MUST be unique within a packet; the top bit, set later, cannot differ.
  if ((recvSalt.readUInt16BE(0) & 0x7fff) === (sendSalt.readUInt16BE(0) & 0x7fff)) {
    sendSalt.writeUInt16BE(sendSalt.readUInt16BE(0) ^ 1, 0)
  }
  const attribute = (type: number, key: Buffer, salt: Buffer): Attribute => {
    const hidden = hideTunnelPassword(key, salt, requestAuthenticator, secret)
    const head = Buffer.alloc(6)
    head.writeUInt32BE(vendorMicrosoft, 0)
    head.writeUInt8(type, 4)
    head.writeUInt8(2 + hidden.length, 5)
    return { type: AttributeType.vendorSpecific, value: Buffer.concat([head, hidden]) }
  }
  return [
    attribute(msMppeRecvKey, msk.subarray(0, 32), recvSalt),
    attribute(msMppeSendKey, msk.subarray(32, 64), sendSalt),
  ]
}
