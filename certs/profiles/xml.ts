// The little XML the profile writers share: text made safe for element content, stable UUIDs,
// base64 lines. Writes no document of its own and reads none. Pure.

import { hash } from 'node:crypto'
import { CertificateError } from '../der.ts'

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;' }

/** Escapes element content; throws CertificateError on a character XML 1.0 cannot hold. */
export function xmlText(text: string): string {
  // XML 1.0 §2.2, less tab and line ends, which no name here has.
  if (/[\p{Cc}\p{Cs}\ufffe\uffff]/u.test(text)) {
    throw new CertificateError('a name has characters that a profile cannot hold')
  }
  return text.replace(/[&<>]/g, (character) => ESCAPES[character] ?? '')
}

/**
 * A name-based UUID (RFC 9562 §5.8, version 8): the same content gets the same profile identity.
 */
export function uuidOf(...parts: readonly string[]): string {
  const digits = hash('sha256', JSON.stringify(parts), 'hex')
  const variant = ((Number.parseInt(digits.charAt(16), 16) & 3) | 8).toString(16)
  const groups = [
    digits.slice(0, 8),
    digits.slice(8, 12),
    `8${digits.slice(13, 16)}`,
    `${variant}${digits.slice(17, 20)}`,
    digits.slice(20, 32),
  ]
  return groups.join('-').toUpperCase()
}

/** Base64 in lines of 64 characters. */
export const base64Lines = (bytes: Buffer): string =>
  (bytes.toString('base64').match(/.{1,64}/g) ?? []).join('\n')
