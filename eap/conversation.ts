// The EAP-TLS authenticator as one pure machine: step(conversation, event, limits) ->
// [conversation, action]. It owns identifiers, turns, fragments, acknowledgements and every limit
// of a conversation; it runs no TLS, decides no admission and keeps no time. exchange.ts drives it.
//
//   identity -> start -> (fragments in, TLS, fragments out) ... -> decision -> commit -> accepted
//                                              decision without a commitment -> accepted at once
//                         any of them -> alert -> rejected, or rejected at once

import type { TlsOutcome } from './engine.ts'
import {
  ackData,
  decodeFragment,
  emptyPartial,
  isAck,
  joinFragment,
  type Outgoing,
  type Partial,
  splitFragment,
  startData,
} from './fragments.ts'
import {
  decodeEap,
  EapCode,
  type EapPacket,
  EapType,
  encodeEap,
  encodeResult,
  nakTypes,
} from './packet.ts'

export interface EapLimits {
  /**
   * Responses in one conversation, invalid ones included. Some peers stop at 40 to 50 (RFC 9191).
   */
  readonly roundsMax: number
  /** Octets of one TLS message in; 65,536 is what RFC 9190 §2.1.9 lets a message have. */
  readonly messageBytesMax: number
}

/** What stays to be done once the last fragment of ours is acknowledged. */
type Then =
  | { readonly name: 'flight' }
  | { readonly name: 'accept' }
  | { readonly name: 'reject'; readonly reason: string; readonly detail?: string }

/** The request that waits for its response. */
interface Pending {
  readonly identifier: number
  readonly request: Buffer
  readonly rounds: number
  readonly invalid: number
}

export type Conversation =
  | { readonly name: 'expect-identity'; readonly identifier: number }
  | ({ readonly name: 'await-identity' } & Pending)
  | ({ readonly name: 'await-start-answer' } & Pending)
  | ({ readonly name: 'expect-flight'; readonly partial: Partial } & Pending)
  | ({ readonly name: 'send-fragments'; readonly left: Outgoing; readonly then: Then } & Pending)
  | ({ readonly name: 'await-commit-ack' } & Pending)
  | ({
      readonly name: 'await-alert-ack'
      readonly reason: string
      readonly detail?: string
    } & Pending)
  | ({ readonly name: 'await-tls' } & Pending)
  | ({ readonly name: 'await-decision' } & Pending)
  | { readonly name: 'done' }

export type EapEvent =
  /** Bytes of EAP-Message; none at all is an EAP-Start (RFC 3579 §2.1). */
  | { readonly type: 'response'; readonly bytes: Buffer; readonly packetBytesMax: number }
  | { readonly type: 'tls'; readonly outcome: TlsOutcome; readonly packetBytesMax: number }
  | {
      readonly type: 'decision'
      readonly accept: boolean
      readonly reason: string
      /**
       * The commitment or the alert. An accept without any goes to EAP-Success at once: the peer
       * had the last word in a resumed handshake of TLS 1.2 (RFC 5216 §2.1.2).
       */
      readonly bytes: Buffer
      readonly packetBytesMax: number
    }

export type EapAction =
  | { readonly do: 'send'; readonly eap: Buffer }
  | { readonly do: 'resend'; readonly eap: Buffer; readonly reason: string }
  | { readonly do: 'run-tls'; readonly flight: Buffer }
  | { readonly do: 'decide' }
  | { readonly do: 'accept'; readonly eap: Buffer }
  | {
      readonly do: 'reject'
      readonly eap: Buffer
      readonly reason: string
      readonly detail?: string
    }
  | { readonly do: 'ignore'; readonly reason: string }

type Step = readonly [Conversation, EapAction]

/**
 * Invalid responses answered with the request again (RFC 3579 §2.2) before the conversation ends:
 * enough for stray retransmissions, few enough that a noisy peer does not hold a TLS connection
 * open with them.
 */
export const INVALID_MAX = 5

/**
 * `identifier` (0 to 255) is used where the peer gives none to continue from: after an EAP-Start.
 */
export const newConversation = (identifier: number): Conversation => ({
  name: 'expect-identity',
  identifier,
})

export function step(conversation: Conversation, event: EapEvent, limits: EapLimits): Step {
  if (conversation.name === 'done') return ignore(conversation, 'eap-finished')
  if (event.type === 'tls') {
    if (conversation.name !== 'await-tls') return ignore(conversation, 'eap-out-of-turn')
    return onOutcome(conversation, event.outcome, event.packetBytesMax)
  }
  if (event.type === 'decision') {
    if (conversation.name !== 'await-decision') return ignore(conversation, 'eap-out-of-turn')
    if (event.accept && event.bytes.length === 0) return accept(conversation)
    const then: Then = event.accept ? { name: 'accept' } : { name: 'reject', reason: event.reason }
    return sendMessage(conversation, event.bytes, then, event.packetBytesMax)
  }
  if (conversation.name === 'await-tls' || conversation.name === 'await-decision') {
    return ignore(conversation, 'eap-busy')
  }
  if (conversation.name === 'expect-identity') return onFirst(conversation, event.bytes)
  return onResponse(conversation, event.bytes, event.packetBytesMax, limits)
}

/** RFC 3579 §2.1: an EAP-Start is asked for its identity; an Identity gets the method's start. */
function onFirst(conversation: Conversation & { name: 'expect-identity' }, bytes: Buffer): Step {
  if (bytes.length === 0) {
    const { identifier } = conversation
    const request = encodeEap(EapCode.request, identifier, EapType.identity)
    const pending = { identifier, request, rounds: 0, invalid: 0 }
    return [
      { name: 'await-identity', ...pending },
      { do: 'send', eap: request },
    ]
  }
  const packet = decodeEap(bytes)
  // Nothing of ours is outstanding that could be sent again: silence (RFC 3748 §4).
  if (packet?.code !== EapCode.response) return ignore(conversation, 'eap-malformed')
  if (packet.type !== EapType.identity) {
    // A conversation that we no longer know: a restarted server, or an expired State.
    const eap = encodeResult(EapCode.failure, packet.identifier)
    return [{ name: 'done' }, { do: 'reject', eap, reason: 'eap-unknown-conversation' }]
  }
  return start({ identifier: packet.identifier, request: bytes, rounds: 1, invalid: 0 })
}

function start(pending: Pending): Step {
  return request(pending, startData, undefined, { name: 'await-start-answer' })
}

type Waiting = Exclude<
  Conversation,
  { name: 'expect-identity' | 'await-tls' | 'await-decision' | 'done' }
>

function onResponse(
  conversation: Waiting,
  bytes: Buffer,
  packetBytesMax: number,
  limits: EapLimits,
): Step {
  const rounds = conversation.rounds + 1
  if (rounds > limits.roundsMax) return reject(conversation, 'eap-rounds-exceeded')
  const counted: Waiting = { ...conversation, rounds }
  const packet = decodeEap(bytes)
  if (packet?.code !== EapCode.response) return again(counted, 'eap-malformed')
  // RFC 3748 §4.1: a response that matches no outstanding request is not for us to act on.
  if (packet.identifier !== counted.identifier) {
    const previous = (counted.identifier + 255) % 256
    return again(counted, packet.identifier === previous ? 'eap-duplicate' : 'eap-identifier')
  }
  if (counted.name === 'await-identity') {
    return packet.type === EapType.identity ? start(counted) : again(counted, 'eap-unexpected-type')
  }
  const wanted = nakTypes(packet)
  if (wanted !== undefined) {
    // RFC 3748 §5.3.1: a Nak answers the first request of a method and no later one.
    if (counted.name !== 'await-start-answer') return again(counted, 'eap-unexpected-nak')
    return reject(counted, 'eap-nak', `peer offers EAP types ${wanted.slice(0, 8).join(', ')}`)
  }
  if (packet.type !== EapType.tls) return again(counted, 'eap-unexpected-type')
  return onTlsResponse(counted, packet, packetBytesMax, limits)
}

function onTlsResponse(
  conversation: Exclude<Waiting, { name: 'await-identity' }>,
  packet: EapPacket,
  packetBytesMax: number,
  limits: EapLimits,
): Step {
  const fragment = decodeFragment(packet.data)
  if (fragment === undefined) return again(conversation, 'eap-tls-malformed')
  switch (conversation.name) {
    case 'send-fragments': {
      if (!isAck(fragment)) return reject(conversation, 'eap-tls-data-instead-of-ack')
      return sendFragment(conversation, conversation.left, conversation.then, packetBytesMax)
    }
    case 'await-alert-ack':
      // RFC 5216 §2.1.3: whatever the peer says to an alert, a new ClientHello too, ends it.
      return reject(conversation, conversation.reason, conversation.detail)
    case 'await-commit-ack': {
      // RFC 9190 §2.5: only a failure may follow an alert, and data here can be nothing else.
      if (!isAck(fragment)) return reject(conversation, 'eap-tls-data-instead-of-ack')
      return accept(conversation)
    }
    case 'await-start-answer':
    case 'expect-flight': {
      const partial = conversation.name === 'expect-flight' ? conversation.partial : emptyPartial
      const joined = joinFragment(partial, fragment, limits.messageBytesMax)
      if (joined.status === 'fault') return reject(conversation, joined.fault)
      if (joined.status === 'partial') {
        const next = { name: 'expect-flight', partial: joined.partial } as const
        return request(conversation, ackData, undefined, next)
      }
      if (joined.message.length === 0) return reject(conversation, 'eap-tls-empty-message')
      return [
        { ...pendingOf(conversation), name: 'await-tls' },
        { do: 'run-tls', flight: joined.message },
      ]
    }
  }
}

function onOutcome(
  conversation: Conversation & Pending,
  outcome: TlsOutcome,
  packetBytesMax: number,
): Step {
  if (outcome.status === 'established') {
    return [{ ...pendingOf(conversation), name: 'await-decision' }, { do: 'decide' }]
  }
  if (outcome.status === 'continue') {
    return sendMessage(conversation, outcome.bytes, { name: 'flight' }, packetBytesMax)
  }
  const { reason, detail } = outcome
  const then: Then = { name: 'reject', reason, ...(detail !== undefined && { detail }) }
  return sendMessage(conversation, outcome.bytes, then, packetBytesMax)
}

function sendMessage(pending: Pending, message: Buffer, then: Then, packetBytesMax: number): Step {
  // Without an alert to carry there is nothing to wait for: EAP-Failure at once.
  if (message.length === 0 && then.name === 'reject') {
    return reject(pending, then.reason, then.detail)
  }
  return sendFragment(pending, { left: message, total: message.length }, then, packetBytesMax)
}

function sendFragment(pending: Pending, left: Outgoing, then: Then, packetBytesMax: number): Step {
  const { header, data, rest } = splitFragment(left, packetBytesMax)
  if (rest !== undefined) {
    return request(pending, header, data, { name: 'send-fragments', left: rest, then })
  }
  switch (then.name) {
    case 'flight':
      return request(pending, header, data, { name: 'expect-flight', partial: emptyPartial })
    case 'accept':
      return request(pending, header, data, { name: 'await-commit-ack' })
    case 'reject': {
      const { reason, detail } = then
      const more = detail !== undefined && { detail }
      return request(pending, header, data, { name: 'await-alert-ack', reason, ...more })
    }
  }
}

type Phase<C> = C extends Pending ? Omit<C, keyof Pending> : never

/** RFC 3748 §4.1: a new request has a new identifier, here the next one. */
function request(
  pending: Pending,
  header: Buffer,
  data: Buffer | undefined,
  phase: Phase<Waiting>,
): Step {
  const identifier = (pending.identifier + 1) % 256
  const parts = data === undefined ? [header] : [header, data]
  const eap = encodeEap(EapCode.request, identifier, EapType.tls, ...parts)
  const { rounds, invalid } = pending
  const next = { ...phase, identifier, request: eap, rounds, invalid } as Conversation
  return [next, { do: 'send', eap }]
}

/**
 * RFC 3579 §2.2: a bad response must not end it, or anyone near the peer could; but not without
 * limit.
 */
function again(conversation: Waiting, reason: string): Step {
  const invalid = conversation.invalid + 1
  if (invalid > INVALID_MAX) return reject(conversation, 'eap-invalid-exceeded', `last: ${reason}`)
  return [
    { ...conversation, invalid },
    { do: 'resend', eap: conversation.request, reason },
  ]
}

function reject(pending: Pending, reason: string, detail?: string): Step {
  const eap = encodeResult(EapCode.failure, pending.identifier)
  return [{ name: 'done' }, { do: 'reject', eap, reason, ...(detail !== undefined && { detail }) }]
}

/** RFC 3748 §4.2: with the identifier of the response that it answers. */
function accept({ identifier }: Pending): Step {
  const eap = encodeResult(EapCode.success, identifier)
  return [{ name: 'done' }, { do: 'accept', eap }]
}

const ignore = (conversation: Conversation, reason: string): Step => [
  conversation,
  { do: 'ignore', reason },
]

/** Only what every waiting state has: nothing of the last one may live on. */
const pendingOf = ({ identifier, request, rounds, invalid }: Pending): Pending => ({
  identifier,
  request,
  rounds,
  invalid,
})
