// The NAME of a device: part of file names, of the certificate and of the key derivation, so it is
// held to letters that are safe in all three and brought to one Unicode form. Pure.

import { DeviceError } from './error.ts'

// X.509 ends a common name at 64 characters (RFC 5280, ub-common-name).
const NAME_BYTES_MAX = 64

/**
 * NAME in NFC. Throws DeviceError 'usage' unless it is letters, digits, dots, dashes,
 * underscores, at most 64 bytes.
 */
export function parseName(text: string): string {
  const name = text.normalize('NFC')
  if (Buffer.byteLength(name) > NAME_BYTES_MAX) {
    throw new DeviceError('usage', `NAME is longer than ${NAME_BYTES_MAX} bytes`)
  }
  if (!/^[\p{L}\p{N}][\p{L}\p{M}\p{N}._-]*$/u.test(name)) {
    const rule = 'letters, digits, dots, dashes and underscores, a letter or digit first'
    throw new DeviceError('usage', `NAME ${JSON.stringify(name)} must be ${rule}`)
  }
  return name
}
