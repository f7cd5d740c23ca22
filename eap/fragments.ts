// The EAP-TLS framing of RFC 5216 §3 and RFC 9190 §2.1.9: flags octet, TLS Message Length,
// fragments both ways. Pure; holds no more than the cap. Knows nothing of turns or identifiers:
// conversation.ts.
//
//   | L M S 0 0 0 0 0 | TLS Message Length (4, with L only) | TLS data ...

const LENGTH_INCLUDED = 0x80
const MORE_FRAGMENTS = 0x40
const START = 0x20

/** Flags octet of the first request. Without L: some peers refuse a Start that carries a length. */
export const startData: Buffer = Buffer.from([START])
/** The acknowledgement of a fragment: the flags octet and nothing more (RFC 5216 §2.1.5). */
export const ackData: Buffer = Buffer.from([0])

/**
 * RFC 2865 §5.12 lets Framed-MTU be no lower than 64, and 4 octets of it are not for EAP (RFC 3579
 * §2.4).
 */
export const EAP_PACKET_BYTES_MIN = 60

/** Type-Data of one EAP-TLS packet. */
export interface Fragment {
  readonly start: boolean
  readonly more: boolean
  /** The declared length of the whole message, where L is set. */
  readonly declared: number | undefined
  /** A view; may be empty. */
  readonly data: Buffer
}

/**
 * Undefined where the flags octet or the length it announces is missing. The reserved bits are
 * ignored.
 */
export function decodeFragment(data: Buffer): Fragment | undefined {
  const flags = data[0]
  if (flags === undefined) return undefined
  const start = (flags & START) !== 0
  const more = (flags & MORE_FRAGMENTS) !== 0
  if ((flags & LENGTH_INCLUDED) === 0) {
    return { start, more, declared: undefined, data: data.subarray(1) }
  }
  if (data.length < 5) return undefined
  return { start, more, declared: data.readUInt32BE(1), data: data.subarray(5) }
}

export const isAck = (fragment: Fragment): boolean =>
  !fragment.start && !fragment.more && fragment.data.length === 0 && !fragment.declared

export type JoinFault =
  | 'eap-tls-start-from-peer'
  | 'eap-tls-empty-fragment'
  | 'eap-tls-message-too-large'
  | 'eap-tls-length-changed'
  | 'eap-tls-length-exceeded'
  | 'eap-tls-length-mismatch'

/** A message of which fragments are still to come. */
export interface Partial {
  readonly declared: number | undefined
  readonly received: number
  readonly parts: readonly Buffer[]
}

export const emptyPartial: Partial = { declared: undefined, received: 0, parts: [] }

export type Joined =
  | { readonly status: 'partial'; readonly partial: Partial }
  | { readonly status: 'complete'; readonly message: Buffer }
  | { readonly status: 'fault'; readonly fault: JoinFault }

const fault = (name: JoinFault): Joined => ({ status: 'fault', fault: name })

/**
 * Adds a fragment. L is taken on the first fragment, on any or on none, as long as it never
 * changes; every byte is counted against the declared length and the cap before it is kept, so a
 * peer cannot make the buffer grow past what it declared (the hostapd overflow CVE-2012-4445) or
 * past the cap.
 */
export function joinFragment(
  partial: Partial,
  fragment: Fragment,
  messageBytesMax: number,
): Joined {
  if (fragment.start) return fault('eap-tls-start-from-peer')
  const declared = partial.declared ?? fragment.declared
  if (fragment.declared !== undefined && fragment.declared !== declared) {
    return fault('eap-tls-length-changed')
  }
  const received = partial.received + fragment.data.length
  if (received > messageBytesMax || (declared ?? 0) > messageBytesMax) {
    return fault('eap-tls-message-too-large')
  }
  if (declared !== undefined && received > declared) return fault('eap-tls-length-exceeded')
  if (fragment.more) {
    // A fragment without data makes no progress, and none can be due once all is there.
    if (fragment.data.length === 0) return fault('eap-tls-empty-fragment')
    if (received === declared) return fault('eap-tls-length-mismatch')
    // A copy: the fragment is a view into a datagram that would be kept alive for a few bytes.
    const parts = [...partial.parts, Buffer.from(fragment.data)]
    return { status: 'partial', partial: { declared, received, parts } }
  }
  if (declared !== undefined && received !== declared) return fault('eap-tls-length-mismatch')
  if (partial.parts.length === 0) return { status: 'complete', message: fragment.data }
  const message = Buffer.concat([...partial.parts, fragment.data], received)
  return { status: 'complete', message }
}

/** A message of ours of which `left` is still to be sent; `total` is its whole length. */
export interface Outgoing {
  readonly left: Buffer
  readonly total: number
}

/**
 * Cuts the next fragment so that the EAP packet around it has at most `packetBytesMax` octets.
 * RFC 9190 §2.1.9: L on the first of several fragments, never on a message that is not fragmented.
 */
export function splitFragment(
  outgoing: Outgoing,
  packetBytesMax: number,
): { readonly header: Buffer; readonly data: Buffer; readonly rest: Outgoing | undefined } {
  const room = Math.max(packetBytesMax, EAP_PACKET_BYTES_MIN) - 6
  const { left, total } = outgoing
  if (left.length <= room) return { header: ackData, data: left, rest: undefined }
  const first = left.length === total
  const size = first ? room - 4 : room
  const header = Buffer.alloc(first ? 5 : 1)
  header.writeUInt8(first ? LENGTH_INCLUDED | MORE_FRAGMENTS : MORE_FRAGMENTS, 0)
  if (first) header.writeUInt32BE(total, 1)
  return { header, data: left.subarray(0, size), rest: { left: left.subarray(size), total } }
}
