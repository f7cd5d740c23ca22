// The EAP half of the supplicant: answers one EAP-Request with one EAP-Response, takes fragments
// together and cuts its own (RFC 5216 §2.1.5). Written apart from the server's room so that a
// mistake there is not mirrored here. Called by peer.ts.

import type { SupplicantTls } from './tls.ts'

const RESPONSE = 2
const IDENTITY = 1
const NOTIFICATION = 2
const NAK = 3
const EAP_TLS = 13
const LENGTH_INCLUDED = 0x80
const MORE_FRAGMENTS = 0x40
const START = 0x20
// A server flight is a few kilobytes; more than this is a runaway server, not a chain.
const MESSAGE_MAX = 65_536

/** One supplicant in one EAP conversation. */
export interface EapPeer {
  /** The EAP-Response/Identity a NAS sends first, having asked on the server's behalf. */
  identityResponse(): Buffer
  /** The answer to one EAP-Request. Throws where the server breaks the protocol. */
  respond(request: Buffer): Promise<Buffer>
}

/** The server did what no EAP-TLS server may do; the message says what. */
export class EapPeerError extends Error {
  override readonly name = 'EapPeerError'
}

/**
 * Opens the EAP side over one TLS connection; fragmentSize is the most TLS octets in one response.
 */
export function openEapPeer(options: {
  readonly identity: string
  readonly fragmentSize: number
  readonly tls: SupplicantTls
}): EapPeer {
  const { fragmentSize, tls } = options
  let received: Buffer[] = []
  let toSend = Buffer.alloc(0)
  let sentOctets = 0

  function nextFragment(identifier: number): Buffer {
    const first = sentOctets === 0
    const part = toSend.subarray(sentOctets, sentOctets + fragmentSize)
    const more = sentOctets + part.length < toSend.length
    sentOctets = more ? sentOctets + part.length : 0
    if (!more) toSend = Buffer.alloc(0)
    if (!(first && more)) return response(identifier, EAP_TLS, [more ? MORE_FRAGMENTS : 0], part)
    const head = Buffer.alloc(5)
    head[0] = LENGTH_INCLUDED | MORE_FRAGMENTS
    head.writeUInt32BE(toSend.length, 1)
    return response(identifier, EAP_TLS, [...head], part)
  }

  async function respondTls(identifier: number, body: Buffer): Promise<Buffer> {
    const flags = body[0]
    if (flags === undefined) throw new EapPeerError('an EAP-TLS request without flags')
    const fragment = body.subarray(flags & LENGTH_INCLUDED ? 5 : 1)
    if (sentOctets > 0) {
      if (fragment.length > 0) throw new EapPeerError('data where an acknowledgement was due')
      return nextFragment(identifier)
    }
    received.push(fragment)
    const message = Buffer.concat(received)
    if (message.length > MESSAGE_MAX) throw new EapPeerError('the server message has no end')
    if (flags & MORE_FRAGMENTS) return response(identifier, EAP_TLS, [0])
    received = []
    if (flags & START && message.length > 0) throw new EapPeerError('data in EAP-TLS/Start')
    toSend = Buffer.from(await tls.feed(message))
    return nextFragment(identifier)
  }

  return {
    identityResponse: () => response(0, IDENTITY, [], Buffer.from(options.identity)),
    async respond(request) {
      const identifier = request[1]
      if (identifier === undefined || request[0] !== 1 || request.length < 5) {
        throw new EapPeerError('an Access-Challenge must carry an EAP-Request')
      }
      if (request.readUInt16BE(2) !== request.length) {
        throw new EapPeerError('EAP Length is not the length of the EAP-Message attributes')
      }
      const body = request.subarray(5)
      switch (request[4]) {
        case EAP_TLS:
          return respondTls(identifier, body)
        case IDENTITY:
          return response(identifier, IDENTITY, [], Buffer.from(options.identity))
        case NOTIFICATION:
          return response(identifier, NOTIFICATION, [])
        default:
          return response(identifier, NAK, [EAP_TLS])
      }
    },
  }
}

function response(
  identifier: number,
  type: number,
  head: readonly number[],
  data: Buffer = Buffer.alloc(0),
): Buffer {
  const packet = Buffer.concat([Buffer.from([RESPONSE, identifier, 0, 0, type, ...head]), data])
  packet.writeUInt16BE(packet.length, 2)
  return packet
}
