// Fatal TLS alerts that OpenSSL cannot be asked for, built by hand so that a peer learns why it was
// refused (RFC 5216 §2.1.3, RFC 9190 §2.1.4). Pure. The engines call it, once a
// conversation, and write nothing to that TLS connection afterwards: OpenSSL's own record counter
// is passed by here.

import { createCipheriv, createHmac } from 'node:crypto'

/** The alert numbers we give (RFC 8446 §6.2). */
export const Alert = {
  unexpectedMessage: 10,
  badCertificate: 42,
  certificateRevoked: 44,
  certificateExpired: 45,
  certificateUnknown: 46,
  accessDenied: 49,
  internalError: 80,
} as const

const FATAL = 2

/** An alert in clear: before our ChangeCipherSpec in TLS 1.2, before the ServerHello in 1.3. */
export function plainAlert(alert: number): Buffer {
  return Buffer.from([21, 3, 3, 0, 2, FATAL, alert])
}

/**
 * The TLS 1.3 record that carries the alert under the server's application traffic secret.
 * `sequence` is the number of records sent under that secret before it. `cipher` is the IANA name.
 */
export function sealedAlert(o: {
  alert: number
  cipher: string
  secret: Buffer
  sequence: number
}): Buffer {
  const hash = o.cipher.endsWith('384') ? 'sha384' : 'sha256'
  const keyBytes = o.cipher.includes('AES_128') ? 16 : 32
  const key = expandLabel(hash, o.secret, 'key', keyBytes)
  const nonce = expandLabel(hash, o.secret, 'iv', 12)
  // RFC 8446 §5.3: the sequence number, padded on the left, is exclusive-ored into the IV.
  nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ o.sequence) >>> 0, 8)
  const inner = Buffer.from([FATAL, o.alert, 21])
  const head = Buffer.from([23, 3, 3, 0, inner.length + 16])
  const cipher = o.cipher.includes('CHACHA20')
    ? createCipheriv('chacha20-poly1305', key, nonce, { authTagLength: 16 })
    : createCipheriv(keyBytes === 16 ? 'aes-128-gcm' : 'aes-256-gcm', key, nonce)
  cipher.setAAD(head, { plaintextLength: inner.length })
  return Buffer.concat([head, cipher.update(inner), cipher.final(), cipher.getAuthTag()])
}

/** HKDF-Expand-Label of RFC 8446 §7.1 with an empty context, for outputs of one hash at most. */
function expandLabel(hash: string, secret: Buffer, label: string, length: number): Buffer {
  const name = Buffer.from(`tls13 ${label}`)
  const info = Buffer.concat([Buffer.from([0, length, name.length]), name, Buffer.from([0, 1])])
  return createHmac(hash, secret).update(info).digest().subarray(0, length)
}
