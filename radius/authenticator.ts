// Which packets are from someone who knows the secret, and how ours prove it: the Request and
// Response Authenticators (RFC 2865 §3, 2866 §3, 5176 §2.3) and the Message-Authenticator
// (RFC 3579 §3.2). The only makers of a VerifiedPacket. The server opens requests and seals
// replies; the Disconnect sender, tests and load generators do the reverse.

import { AttributeType } from './attribute-type.ts'
import {
  checkSecret,
  digestEquals,
  digestLength,
  workspace,
  workspaceHmac,
  workspaceMd5,
} from './digest.ts'
import { RadiusError } from './error.ts'
import {
  type Attribute,
  attributesLength,
  Code,
  decodePacket,
  headerLength,
  type Packet,
  writeAttributes,
  writeHeader,
} from './packet.ts'

/** What one NAS must send; the Blast-RADIUS switches of draft-ietf-radext-deprecating-radius. */
export interface RequestPolicy {
  /** Access-Requests without Message-Authenticator are refused. */
  readonly requireMessageAuthenticator: boolean
  /**
   * Looked at only where the first is false: Proxy-State without Message-Authenticator is refused.
   */
  readonly limitProxyState: boolean
}

declare const verified: unique symbol

/** A packet whose every authenticator field was checked against the secret. */
export type VerifiedPacket = Packet & { readonly [verified]: true }

/** What goes out by sealRequest. `authenticator`: 16 random octets, for 'random' codes only. */
export interface RequestContent {
  readonly code: number
  readonly identifier: number
  readonly attributes: readonly Attribute[]
  readonly authenticator?: Buffer
}

/**
 * What stands in the authenticator field while digests are computed. 'random': the field itself,
 * and it proves nothing; 'zero': 16 zero octets; 'of-request': the authenticator of the request
 * answered. RFC 5176 §3.4: a NAK's Message-Authenticator too is over the request's authenticator.
 */
export const authRule: Readonly<Record<number, 'random' | 'zero' | 'of-request'>> = {
  [Code.accessRequest]: 'random',
  [Code.statusServer]: 'random',
  [Code.accountingRequest]: 'zero',
  [Code.disconnectRequest]: 'zero',
  [Code.coaRequest]: 'zero',
  [Code.accessAccept]: 'of-request',
  [Code.accessReject]: 'of-request',
  [Code.accessChallenge]: 'of-request',
  [Code.accountingResponse]: 'of-request',
  [Code.disconnectAck]: 'of-request',
  [Code.disconnectNak]: 'of-request',
  [Code.coaAck]: 'of-request',
  [Code.coaNak]: 'of-request',
  [Code.protocolError]: 'of-request',
}

/** The codes that may answer each request (RFC 2865 §4, 2866 §4, 5176 §2, 5997 §3, 7930 §4). */
export const repliesTo: Readonly<Record<number, readonly number[]>> = {
  [Code.accessRequest]: [
    Code.accessAccept,
    Code.accessReject,
    Code.accessChallenge,
    Code.protocolError,
  ],
  [Code.statusServer]: [Code.accessAccept, Code.accountingResponse, Code.protocolError],
  [Code.accountingRequest]: [Code.accountingResponse, Code.protocolError],
  [Code.disconnectRequest]: [Code.disconnectAck, Code.disconnectNak, Code.protocolError],
  [Code.coaRequest]: [Code.coaAck, Code.coaNak, Code.protocolError],
}

const zeros = Buffer.alloc(digestLength)
const messageAuthenticatorSize = 2 + digestLength

/** What one pass over the attributes tells about the checks to come. */
interface Survey {
  readonly messageAuthenticator: Buffer | undefined
  readonly eap: boolean
  readonly password: boolean
  readonly proxyState: boolean
}

function survey(attributes: readonly Attribute[]): Survey {
  let messageAuthenticator: Buffer | undefined
  let eap = false
  let password = false
  let proxyState = false
  for (const { type, value } of attributes) {
    if (type === AttributeType.messageAuthenticator) messageAuthenticator = value
    else if (type === AttributeType.eapMessage) eap = true
    else if (type === AttributeType.proxyState) proxyState = true
    else if (
      type === AttributeType.userPassword ||
      type === AttributeType.chapPassword ||
      type === AttributeType.arapPassword
    ) {
      password = true
    }
  }
  return { messageAuthenticator, eap, password, proxyState }
}

function requireForRequest(packet: Packet, found: Survey, policy: RequestPolicy): void {
  // RFC 3579 §3.1: EAP and another way to authenticate in one packet is discarded.
  if (found.eap && found.password) {
    throw new RadiusError('eap-with-password', 'EAP-Message beside a password')
  }
  if (found.messageAuthenticator !== undefined) return
  const missing = (why: string) => new RadiusError('message-authenticator-missing', why)
  if (found.eap) throw missing('EAP-Message needs it') // RFC 3579 §3.1
  if (packet.code === Code.statusServer) throw missing('Status-Server needs it') // RFC 5997 §3
  if (packet.code !== Code.accessRequest) return
  if (policy.requireMessageAuthenticator) throw missing('required of this NAS')
  // Blast-RADIUS (CVE-2024-3596) hides its collision blocks in Proxy-State.
  if (policy.limitProxyState && found.proxyState) {
    throw new RadiusError('proxy-state-unprotected', 'Proxy-State without Message-Authenticator')
  }
}

/** Checks what is present over `field`, which replaces the authenticator; undefined leaves it. */
function verifyDigests(
  datagram: Buffer,
  packet: Packet,
  messageAuthenticator: Buffer | undefined,
  field: Buffer | undefined,
  secret: Buffer,
): void {
  // Padding behind Length is not part of the packet (RFC 2865 §3), so it is not hashed.
  const copy = workspace(datagram.subarray(0, datagram.readUInt16BE(2)))
  if (field !== undefined) copy.set(field, 4)
  if (messageAuthenticator !== undefined) {
    const at = messageAuthenticator.byteOffset - datagram.byteOffset
    copy.fill(0, at, at + digestLength)
    if (!digestEquals(messageAuthenticator, workspaceHmac(copy, secret))) {
      throw new RadiusError('message-authenticator-wrong', 'altered, or another secret')
    }
    copy.set(messageAuthenticator, at)
  }
  if (field === undefined) return
  if (!digestEquals(packet.authenticator, workspaceMd5(copy, secret))) {
    throw new RadiusError('authenticator-wrong', 'altered, or another secret')
  }
}

/**
 * Decodes and checks an Access-, Accounting-, Status-Server, CoA- or Disconnect-Request. Throws
 * RadiusError; every such packet is to be dropped in silence. The packet views the datagram.
 */
export function openRequest(
  datagram: Buffer,
  secret: Buffer,
  policy: RequestPolicy,
): VerifiedPacket {
  checkSecret(secret)
  const packet = decodePacket(datagram)
  const rule = authRule[packet.code]
  if (rule === undefined || rule === 'of-request') {
    throw new RadiusError('code-unexpected', `code ${packet.code} is no request`)
  }
  const found = survey(packet.attributes)
  // Requiring comes before any digest: a missing Message-Authenticator costs an attacker's flood
  // nothing to send, and must cost us little to refuse.
  requireForRequest(packet, found, policy)
  const field = rule === 'zero' ? zeros : undefined
  verifyDigests(datagram, packet, found.messageAuthenticator, field, secret)
  return packet as VerifiedPacket
}

/** Decodes and checks the answer to a request of ours. Throws RadiusError as openRequest does. */
export function openReply(datagram: Buffer, secret: Buffer, request: Packet): VerifiedPacket {
  checkSecret(secret)
  const packet = decodePacket(datagram)
  if (repliesTo[request.code]?.includes(packet.code) !== true) {
    throw new RadiusError('code-unexpected', `code ${packet.code} answers ${request.code}`)
  }
  if (packet.identifier !== request.identifier) {
    const detail = `${packet.identifier}, asked with ${request.identifier}`
    throw new RadiusError('identifier-mismatch', detail)
  }
  const { eap, messageAuthenticator } = survey(packet.attributes)
  if (eap && messageAuthenticator === undefined) {
    throw new RadiusError('message-authenticator-missing', 'EAP-Message needs it')
  }
  verifyDigests(datagram, packet, messageAuthenticator, request.authenticator, secret)
  return packet as VerifiedPacket
}

/** Writes a packet: header, Message-Authenticator where wanted, attributes; then the digests. */
function seal(
  head: { code: number; identifier: number; field: Buffer },
  withMessageAuthenticator: boolean,
  attributes: readonly Attribute[],
  secret: Buffer,
): Buffer {
  checkSecret(secret)
  for (const { type } of attributes) {
    if (type === AttributeType.messageAuthenticator) {
      throw new RadiusError('message-authenticator-repeated', 'it is added here')
    }
  }
  const start = headerLength + (withMessageAuthenticator ? messageAuthenticatorSize : 0)
  // From Node's pool, every octet written below: replies live in the duplicate table for seconds,
  // and an ArrayBuffer for each cost 5 % of an authentication in garbage collection.
  const sealed = Buffer.allocUnsafe(start + attributesLength(attributes))
  writeHeader(sealed, head.code, head.identifier, head.field)
  writeAttributes(sealed, start, attributes)
  if (withMessageAuthenticator) {
    sealed[headerLength] = AttributeType.messageAuthenticator
    sealed[headerLength + 1] = messageAuthenticatorSize
    sealed.fill(0, headerLength + 2, start)
    const digest = workspaceHmac(workspace(sealed), secret)
    sealed.write(digest, headerLength + 2, 'latin1')
  }
  if (authRule[head.code] !== 'random') {
    sealed.write(workspaceMd5(workspace(sealed), secret), 4, 'latin1')
  }
  return sealed
}

/**
 * The bytes of a reply: Message-Authenticator first, then `attributes` in order, then a copy of
 * each Proxy-State of the request (RFC 2865 §5.33). Throws RadiusError where a value is over 253
 * octets, the whole over 4096, or `code` does not answer the request.
 */
export function sealReply(
  request: VerifiedPacket,
  code: number,
  attributes: readonly Attribute[],
  secret: Buffer,
): Buffer {
  if (repliesTo[request.code]?.includes(code) !== true) {
    throw new RadiusError('code-unexpected', `code ${code} answers ${request.code}`)
  }
  const proxyStates = request.attributes.filter(({ type }) => type === AttributeType.proxyState)
  const all = proxyStates.length === 0 ? attributes : [...attributes, ...proxyStates]
  const head = { code, identifier: request.identifier, field: request.authenticator }
  // RFC 2866 defines no Message-Authenticator for an Accounting-Response, and its readers disagree
  // about the octets it covers: FreeRADIUS 3.2 drops one that is over the request's authenticator.
  const plain = request.code === Code.accountingRequest && code === Code.accountingResponse
  return seal(head, !plain, all, secret)
}

/**
 * The bytes of a request, Message-Authenticator first. Access-Request and Status-Server need 16
 * random octets as `authenticator`; the others compute theirs. Throws RadiusError as sealReply
 * does.
 */
export function sealRequest(request: RequestContent, secret: Buffer): Buffer {
  const { code, identifier, attributes, authenticator } = request
  const rule = authRule[code]
  if (rule === undefined || rule === 'of-request') {
    throw new RadiusError('code-unexpected', `code ${code} is no request`)
  }
  const field = rule === 'zero' ? zeros : authenticator
  if (field === undefined) throw new RadiusError('authenticator-length', 'none given')
  return seal({ code, identifier, field }, true, attributes, secret)
}
