// EAP packets (RFC 3748 §4) as values: the header, the Type, and what of Nak and Identity we read.
// Strict where bytes come in; knows nothing of TLS or RADIUS. conversation.ts is the caller.
//
//   0        1            2         4        5
//   | Code   | Identifier | Length  | Type   | Type-Data ...      Success and Failure end at 4

export const EapCode = { request: 1, response: 2, success: 3, failure: 4 } as const

export const EapType = { identity: 1, nak: 3, tls: 13, expanded: 254 } as const

export interface EapPacket {
  readonly code: number
  /** 0 to 255. */
  readonly identifier: number
  /** Absent from Success and Failure. */
  readonly type?: number
  /** A view into the bytes that were decoded; empty where there is no Type. */
  readonly data: Buffer
}

const NO_DATA = Buffer.alloc(0)
/**
 * RFC 7542 §2.3 lets a RADIUS User-Name carry 253 octets; longer identities are cut for the log.
 */
const IDENTITY_BYTES_MAX = 253

/** Reads one packet; undefined where header, Length or Type are not what RFC 3748 §4 says. */
export function decodeEap(bytes: Buffer): EapPacket | undefined {
  if (bytes.length < 4 || bytes.readUInt16BE(2) !== bytes.length) return undefined
  const code = bytes.readUInt8(0)
  const identifier = bytes.readUInt8(1)
  if (code === EapCode.success || code === EapCode.failure) {
    return bytes.length === 4 ? { code, identifier, data: NO_DATA } : undefined
  }
  // RFC 3748 §4.1: a Request or Response has a Type.
  if ((code !== EapCode.request && code !== EapCode.response) || bytes.length < 5) return undefined
  return { code, identifier, type: bytes.readUInt8(4), data: bytes.subarray(5) }
}

/** A Request or Response. The parts of the Type-Data are joined as they are. */
export function encodeEap(
  code: typeof EapCode.request | typeof EapCode.response,
  identifier: number,
  type: number,
  ...data: readonly Uint8Array[]
): Buffer {
  let length = 5
  for (const part of data) length += part.length
  const bytes = Buffer.allocUnsafe(length)
  bytes.writeUInt8(code, 0)
  bytes.writeUInt8(identifier, 1)
  bytes.writeUInt16BE(length, 2)
  bytes.writeUInt8(type, 4)
  let at = 5
  for (const part of data) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

/** A Success or Failure; its Identifier is that of the response it answers (RFC 3748 §4.2). */
export function encodeResult(
  code: typeof EapCode.success | typeof EapCode.failure,
  identifier: number,
): Buffer {
  return Buffer.from([code, identifier, 0, 4])
}

/**
 * The types a peer would rather have, when the packet is a Nak or an expanded Nak (RFC 3748 §5.3);
 * undefined when it is neither. 0 in the list means: none. Vendor types of an expanded Nak other
 * than the IETF's are left out.
 */
export function nakTypes(packet: EapPacket): readonly number[] | undefined {
  if (packet.type === EapType.nak) return packet.data.length === 0 ? undefined : [...packet.data]
  if (packet.type !== EapType.expanded || packet.data.length < 7) return undefined
  // Type-Data of an expanded packet: Vendor-Id (3), Vendor-Type (4); the Nak is vendor 0, type 3.
  if (packet.data.readUIntBE(0, 3) !== 0 || packet.data.readUInt32BE(3) !== EapType.nak) {
    return undefined
  }
  const types: number[] = []
  // What follows is a list of expanded types of 8 octets: 254, Vendor-Id (3), Vendor-Type (4).
  if ((packet.data.length - 7) % 8 !== 0) return undefined
  for (let at = 7; at < packet.data.length; at += 8) {
    if (packet.data[at] !== EapType.expanded) return undefined
    if (packet.data.readUIntBE(at + 1, 3) === 0) types.push(packet.data.readUInt32BE(at + 4))
  }
  return types
}

/**
 * The outer identity: up to the first NUL (RFC 3748 §5.1), unauthenticated, for logs and routing
 * only.
 */
export function identityText(data: Buffer): string {
  const nul = data.indexOf(0)
  const end = Math.min(nul < 0 ? data.length : nul, IDENTITY_BYTES_MAX)
  return data.toString('utf8', 0, end)
}
