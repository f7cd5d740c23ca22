// What EAP-TLS derives from a finished TLS handshake: MSK, EMSK and Method-Id, per TLS version, and
// the few public handshake fields that takes. Pure: the exporter comes in as a function. Both
// engines use it.

import type { EapTlsKeys, TlsVersion } from './engine.ts'

/** RFC 5705 and RFC 8446 §7.5. No context and an empty context are different things in TLS 1.2. */
export type Exporter = (length: number, label: string, context: Buffer | undefined) => Buffer

/** RFC 9190 §2.3: the context is the EAP Type. */
const TYPE = Buffer.from([13])

/**
 * The keys of RFC 9190 §2.3 (TLS 1.3) or RFC 5216 §2.3 (TLS 1.2). `randoms` is client_random ‖
 * server_random, and is used by 1.2 only. The full lengths are asked for: 1.3 output cannot be cut.
 */
export function eapTlsKeys(version: TlsVersion, exporter: Exporter, randoms: Buffer): EapTlsKeys {
  const material =
    version === '1.3'
      ? exporter(128, 'EXPORTER_EAP_TLS_Key_Material', TYPE)
      : exporter(128, 'client EAP encryption', undefined)
  const methodId = version === '1.3' ? exporter(64, 'EXPORTER_EAP_TLS_Method-Id', TYPE) : randoms
  if (material.length !== 128 || methodId.length !== 64) {
    throw new RangeError(`key material of ${material.length} and ${methodId.length} bytes`)
  }
  return { msk: material.subarray(0, 64), emsk: material.subarray(64), methodId }
}

/** Session-Id of RFC 5216 §2.3 and RFC 9190 §2.3, the value of EAP-Key-Name. */
export const sessionIdOf = (keys: EapTlsKeys): Buffer => Buffer.concat([TYPE, keys.methodId])

/**
 * The handshake messages at the start of a flight, out of their plaintext records, `bytesMax` of
 * them.
 */
function handshakeBytes(flight: Buffer, bytesMax: number): Buffer {
  const parts: Buffer[] = []
  let length = 0
  for (let at = 0; at + 5 <= flight.length && flight[at] === 22 && length < bytesMax; ) {
    const end = at + 5 + flight.readUInt16BE(at + 3)
    const part = flight.subarray(at + 5, end)
    parts.push(part)
    length += part.length
    at = end
  }
  return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts)
}

/**
 * The 32 random octets of the ClientHello or ServerHello that opens a flight; undefined without
 * one.
 */
export function helloRandom(flight: Buffer): Buffer | undefined {
  const hello = handshakeBytes(flight, 38)
  const type = hello[0]
  if ((type !== 1 && type !== 2) || hello.length < 38) return undefined
  return Buffer.from(hello.subarray(6, 38))
}

const groupNames: ReadonlyMap<number, string> = new Map([
  [22, 'secp256k1'],
  [23, 'P-256'],
  [24, 'P-384'],
  [25, 'P-521'],
  [29, 'X25519'],
])

/** Enough for the hello, the chain and the key exchange of a server flight. */
const FLIGHT_BYTES_MAX = 65_536

/**
 * The key exchange group in a server flight: the key_share of a 1.3 ServerHello, the named curve of
 * a 1.2 ServerKeyExchange. Written by our own TLS, so it is read without ceremony; '' where there
 * is none.
 */
export function groupOf(version: TlsVersion, serverFlight: Buffer): string {
  const messages = handshakeBytes(serverFlight, FLIGHT_BYTES_MAX)
  const wanted = version === '1.3' ? 2 : 12
  for (let at = 0; at + 4 <= messages.length; ) {
    const end = at + 4 + messages.readUIntBE(at + 1, 3)
    if (messages[at] === wanted) {
      const body = messages.subarray(at + 4, end)
      const group = version === '1.3' ? keyShareGroup(body) : namedCurve(body)
      return group === undefined ? '' : (groupNames.get(group) ?? `0x${group.toString(16)}`)
    }
    at = end
  }
  return ''
}

/** RFC 8422 §5.4: curve_type 3 is named_curve. */
function namedCurve(body: Buffer): number | undefined {
  return body.length >= 3 && body[0] === 3 ? body.readUInt16BE(1) : undefined
}

/**
 * RFC 8446 §4.1.3 and §4.2.8: version, random, session id, cipher, compression, then extensions.
 */
function keyShareGroup(body: Buffer): number | undefined {
  let at = 35 + (body[34] ?? 0) + 3
  for (at += 2; at + 6 <= body.length; at += 4 + body.readUInt16BE(at + 2)) {
    if (body.readUInt16BE(at) === 51) return body.readUInt16BE(at + 4)
  }
  return undefined
}
