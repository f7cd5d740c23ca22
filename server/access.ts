// An Access-Request becomes a Challenge, an Accept, a Reject or silence. Owns the path from
// EAP-Message and State to the conversation, and the attributes of the answer. Does no sockets and
// no RADIUS authenticators: radius.ts hands in verified packets and seals what comes back.

import { createHmac } from 'node:crypto'
import type { AdmissionRules } from '../accounting/admission.ts'
import type { Committer } from '../accounting/committer.ts'
import type { Session } from '../accounting/session.ts'
import { StorageError } from '../accounting/storage.ts'
import type { Tariff } from '../accounting/tariff.ts'
import type { NasEntry } from '../config/config.ts'
import type { TlsEngine } from '../eap/engine.ts'
import { type EapReply, openExchange } from '../eap/exchange.ts'
import { type Address, checksumAddress } from '../ethereum/address.ts'
import { AttributeType, ErrorCause } from '../radius/attribute-type.ts'
import type { VerifiedPacket } from '../radius/authenticator.ts'
import { joinEapMessage, splitEapMessage } from '../radius/eap-message.ts'
import { mppeKeyAttributes } from '../radius/hidden.ts'
import {
  type Attribute,
  allAttributes,
  Code,
  firstAttribute,
  packetLengthMax,
  valueLengthMax,
} from '../radius/packet.ts'
import { type AdmitDeps, admit, alertFor, wouldAdmit } from './admit.ts'
import type { Conversation, Conversations } from './conversations.ts'
import type { Log } from './log.ts'
import type { Metrics } from './metrics.ts'
import { placeOfRequest, textOf } from './nas-place.ts'
import type { Source } from './socket.ts'

/** The part of the configuration a reload can change, read anew for each packet. */
export interface AccessRules {
  readonly engine: TlsEngine
  readonly tariffs: ReadonlyMap<string, Tariff>
  readonly fragmentSize: number
  readonly roundsMax: number
  readonly staleAfterMs: number
  readonly admission: Omit<AdmissionRules, 'takesDisconnect'>
}

export interface AccessDeps extends AdmitDeps {
  readonly rules: () => AccessRules
  readonly conversations: Conversations
  readonly committer: Pick<Committer, 'durable' | 'failed'>
  /** The NAS did not answer the last Disconnect-Request: its sessions end by themselves. */
  readonly isSilent: (nas: string) => boolean
  /**
   * Key of the Chargeable-User-Identity (RFC 4372): the same account looks different to each NAS
   * owner.
   */
  readonly chargeableIdentityKey: Buffer
  readonly log: Log
  readonly metrics: Metrics
}

/** What to send: a code with its attributes, or the reason for silence. */
export type Answer =
  | { readonly code: number; readonly attributes: readonly Attribute[] }
  | { readonly drop: string }

/**
 * EAP-Messages joined in one RADIUS packet never exceed it, so 64 KiB bounds a whole TLS flight.
 */
const MESSAGE_BYTES_MAX = 65_536
/** RFC 2865 §5.12: the smallest Framed-MTU. */
const FRAMED_MTU_MIN = 64
/** Header, Message-Authenticator, State and Error-Cause: what a Challenge has beside EAP. */
const CHALLENGE_BYTES = 20 + 18 + 18 + 6
/** An Accept with everything it can have takes 400 octets beside the Proxy-States. */
const PROXY_STATES_MAX = packetLengthMax - 512
/** RFC 2869 §5.16: Acct-Interim-Interval must not be less than 60 seconds. */
const INTERIM_SECONDS_MIN = 60
const TERMINATION_ACTION_RADIUS_REQUEST = 1
const EAP_FAILURE = 4

const uint32 = (value: number): Buffer => {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** Answers one verified Access-Request. */
export async function answerAccess(
  request: VerifiedPacket,
  nas: NasEntry,
  source: Source,
  deps: AccessDeps,
): Promise<Answer> {
  const eap = joinEapMessage(request)
  if (eap === undefined) {
    refuseAtOnce(request, nas, deps, 'not-eap')
    return { code: Code.accessReject, attributes: [] }
  }
  // RFC 2865 §5.33: they go back unchanged, and no answer would fit beside these.
  if (proxyStateBytes(request) > PROXY_STATES_MAX) return { drop: 'proxy-states-too-long' }
  const stateAttribute = firstAttribute(request, AttributeType.state)
  const conversation =
    stateAttribute === undefined
      ? begin(request, nas, source, deps)
      : deps.conversations.find(stateAttribute, nas.name)
  // RFC 5080 §2.1.1: a State nobody knows (a restart, a timeout) is refused: the peer starts anew.
  if (conversation === undefined) {
    refuseAtOnce(request, nas, deps, 'state-unknown')
    return failure(eap)
  }
  if (typeof conversation === 'string') return { drop: conversation }
  if (conversation.busy) return { drop: 'conversation-busy' }
  conversation.busy = true
  try {
    const reply = await conversation.exchange.receive(eap, fragmentSize(request, deps.rules()))
    const neverBegan = reply.do === 'ignore' && conversation.exchange.progress === 0
    // What can't even begin must not hold the station's place for seconds.
    if (neverBegan) deps.conversations.close(conversation)
    if (reply.do === 'accept') return await accept(reply, conversation, request, nas, deps)
    return answer(reply, conversation, nas, deps)
  } catch (error) {
    deps.conversations.close(conversation)
    throw error
  } finally {
    conversation.busy = false
  }
}

/** One log line and one count for what never becomes a conversation. */
function refuseAtOnce(
  request: VerifiedPacket,
  nas: NasEntry,
  deps: AccessDeps,
  reason: string,
): void {
  const station = textOf(request, AttributeType.callingStationId)
  const from = `(from client ${nas.name} port 0 cli ${station})`
  deps.log.info({ nas: nas.name, station, reason }, `Login incorrect (${reason}): [] ${from}`)
  count(deps, nas, reason)
}

/** EAP-Failure to the peer that sent, or would get, this EAP packet. */
function failure(eap: Buffer): Answer {
  const packet = Buffer.from([EAP_FAILURE, eap[1] ?? 0, 0, 4])
  return { code: Code.accessReject, attributes: splitEapMessage(packet) }
}

function begin(
  request: VerifiedPacket,
  nas: NasEntry,
  source: Source,
  deps: AccessDeps,
): Conversation | string {
  const rules = deps.rules()
  const nowMs = deps.now()
  const nasPlace = placeOfRequest(request, nas.name, source.address)
  const station = nasPlace.callingStationId
  const place = {
    nasPlace,
    merchant: nas.merchant,
    tariff: rules.tariffs.get(nas.tariff),
    rules: {
      ...rules.admission,
      takesDisconnect: nas.coa !== undefined && !deps.isSilent(nas.name),
    },
    staleAfterMs: rules.staleAfterMs,
  }
  const conversation: Conversation = {
    stateAttribute: deps.random(16),
    nas: nas.name,
    station,
    startedAtMs: nowMs,
    progressAtMs: nowMs,
    busy: false,
    reserved: undefined,
    resumed: false,
    refusedAccount: undefined,
    refusedDetail: undefined,
    exchange: openExchange({
      engine: rules.engine,
      limits: { roundsMax: rules.roundsMax, messageBytesMax: MESSAGE_BYTES_MAX },
      random: deps.random,
      mayResume: (certificate) => wouldAdmit(certificate, place, deps),
      async authorize(certificate, { resumed }) {
        conversation.resumed = resumed
        const verdict = await admit(certificate, place, deps)
        if (verdict.admitted) {
          conversation.reserved = verdict.session
          // The table may have let go of the conversation while the chain was asked.
          const gone = deps.conversations.find(conversation.stateAttribute, nas.name) === undefined
          if (gone) deps.ledger.close(verdict.session.id, 'abandoned', deps.now())
          return { accept: true }
        }
        const { account } = verdict
        if (account !== undefined) conversation.refusedAccount = checksumAddress(account)
        conversation.refusedDetail = verdict.detail
        return { accept: false, alert: alertFor(verdict.reason), reason: verdict.reason }
      },
    }),
  }
  const added = deps.conversations.add(conversation, nowMs)
  if (added === 'added') return conversation
  conversation.exchange.close()
  return added
}

const proxyStateBytes = (request: VerifiedPacket): number =>
  allAttributes(request, AttributeType.proxyState).reduce((sum, { length }) => sum + 2 + length, 0)

/**
 * RFC 3579 §2.1: an EAP packet must fit the link of the peer, whose size the NAS tells in
 * Framed-MTU, and here also the RADIUS packet around it.
 */
function fragmentSize(request: VerifiedPacket, rules: AccessRules): number {
  const room = packetLengthMax - CHALLENGE_BYTES - proxyStateBytes(request)
  const fitting = Math.floor((room * valueLengthMax) / (2 + valueLengthMax)) - 2
  const most = Math.min(rules.fragmentSize, fitting)
  const framedMtu = firstAttribute(request, AttributeType.framedMtu)
  if (framedMtu?.length !== 4) return most
  const mtu = Math.max(framedMtu.readUInt32BE(0), FRAMED_MTU_MIN)
  return Math.min(most, mtu - 4)
}

function answer(
  reply: Exclude<EapReply, { do: 'accept' }>,
  conversation: Conversation,
  nas: NasEntry,
  deps: AccessDeps,
): Answer {
  switch (reply.do) {
    case 'challenge':
      conversation.progressAtMs = deps.now()
      return challenge(reply.eap, conversation)
    case 'resend': {
      // RFC 3579 §2.2: an invalid EAP packet ends nothing, since anyone near the AP can send one.
      const answer = challenge(reply.eap, conversation)
      const cause = uint32(ErrorCause.invalidEapPacket)
      return {
        ...answer,
        attributes: [...answer.attributes, { type: AttributeType.errorCause, value: cause }],
      }
    }
    case 'ignore':
      return { drop: reply.reason }
    case 'reject':
      conversation.refusedDetail ??= reply.detail
      finish(conversation, nas, deps, { ok: false, reason: reply.reason, version: undefined })
      return { code: Code.accessReject, attributes: splitEapMessage(reply.eap) }
  }
}

/** The last step of a login: what the Accept promises is on disk before it is sent. */
async function accept(
  reply: Extract<EapReply, { do: 'accept' }>,
  conversation: Conversation,
  request: VerifiedPacket,
  nas: NasEntry,
  deps: AccessDeps,
): Promise<Answer> {
  const { reserved } = conversation
  if (reserved === undefined) throw new Error('an accepted conversation holds no session')
  const { version } = reply.facts
  const refuse = (reason: string, detail: string): Answer => {
    conversation.refusedDetail = detail
    finish(conversation, nas, deps, { ok: false, reason, version })
    return failure(reply.eap)
  }
  const session = deps.ledger.confirm(reserved.id, deps.now())
  conversation.reserved = undefined
  if (session === undefined) {
    return refuse('insufficient-escrow', 'the chain took escrow back since the decision')
  }
  try {
    await deps.committer.durable(true)
  } catch (error) {
    if (!(error instanceof StorageError)) throw error
    deps.ledger.close(session.id, 'abandoned', deps.now())
    return refuse('storage-unavailable', error.message)
  }
  // While it waited the chain or the operator may have ended it, and its NAS did not know it yet.
  const latest = deps.ledger.session(session.id)
  if (latest === undefined || latest.state === 'closed' || latest.state === 'disconnecting') {
    deps.ledger.close(session.id, 'abandoned', deps.now())
    const isByChain = latest?.cutReason === 'escrow-removed'
    const detail = 'it was ended before its Accept could be sent'
    return refuse(isByChain ? 'insufficient-escrow' : 'session-ended', detail)
  }
  const attributes = acceptAttributes(reply, session, request, nas, deps)
  const account = checksumAddress(payerOf(session))
  finish(conversation, nas, deps, { ok: true, reason: '', version, account, session: session.id })
  return { code: Code.accessAccept, attributes }
}

function challenge(eap: Buffer, { stateAttribute }: Conversation) {
  const state: Attribute = { type: AttributeType.state, value: stateAttribute }
  return { code: Code.accessChallenge, attributes: [state, ...splitEapMessage(eap)] }
}

function acceptAttributes(
  reply: Extract<EapReply, { do: 'accept' }>,
  session: Session,
  request: VerifiedPacket,
  nas: NasEntry,
  deps: AccessDeps,
): Attribute[] {
  const account = payerOf(session)
  const intervalSeconds = Math.ceil(session.tariff.intervalMs / 1000)
  const timeoutSeconds = Math.floor((session.endsAtMs - session.startedAtMs) / 1000)
  const attributes: Attribute[] = [
    ...splitEapMessage(reply.eap),
    { type: AttributeType.userName, value: Buffer.from(checksumAddress(account)) },
    { type: AttributeType.class, value: Buffer.from(`ai:${session.id}`) },
    { type: AttributeType.sessionTimeout, value: uint32(timeoutSeconds) },
    { type: AttributeType.terminationAction, value: uint32(TERMINATION_ACTION_RADIUS_REQUEST) },
    {
      type: AttributeType.acctInterimInterval,
      value: uint32(Math.max(INTERIM_SECONDS_MIN, intervalSeconds)),
    },
    ...mppeKeyAttributes(reply.msk, request.authenticator, nas.secret, deps.random(4)),
  ]
  // RFC 4372 §2.1: the identity is sent where the NAS asked for it, and only there.
  if (firstAttribute(request, AttributeType.chargeableUserIdentity) !== undefined) {
    const identity = createHmac('sha256', deps.chargeableIdentityKey)
      .update(`${account}|${nas.merchant ?? nas.name}`)
      .digest('hex')
    attributes.push({ type: AttributeType.chargeableUserIdentity, value: Buffer.from(identity) })
  }
  // RFC 4072 §2.2: EAP-Key-Name likewise; its value is the EAP Session-Id (RFC 9190 §2.3).
  if (firstAttribute(request, AttributeType.eapKeyName) !== undefined) {
    attributes.push({ type: AttributeType.eapKeyName, value: reply.sessionId })
  }
  return attributes
}

function payerOf({ account }: Session): Address {
  if (account === undefined) throw new Error('an Accept opened a session that nobody pays')
  return account
}

interface Outcome {
  readonly ok: boolean
  readonly reason: string
  readonly version: string | undefined
  readonly account?: string
  readonly session?: string
}

/** Ends the conversation and writes its one log line, in the words FreeRADIUS uses. */
function finish(
  conversation: Conversation,
  nas: NasEntry,
  deps: AccessDeps,
  outcome: Outcome,
): void {
  const { identity } = conversation.exchange
  const from = `(from client ${nas.name} port 0 cli ${conversation.station})`
  const seconds = (deps.now() - conversation.startedAtMs) / 1000
  const facts = {
    nas: nas.name,
    station: conversation.station,
    identity,
    account: outcome.account ?? conversation.refusedAccount,
    session: outcome.session,
    tls: outcome.version,
    resumed: conversation.resumed,
    seconds,
  }
  if (outcome.ok) {
    deps.log.info(facts, `Login OK: [${outcome.account}] ${from}`)
  } else {
    const detail = conversation.refusedDetail
    const refused = { ...facts, reason: outcome.reason, detail }
    deps.log.info(refused, `Login incorrect (${outcome.reason}): [${identity}] ${from}`)
  }
  count(deps, nas, outcome.reason)
  if (conversation.resumed) {
    deps.metrics.resumedLogins.inc({ nas: nas.name, result: outcome.ok ? 'ok' : 'rejected' })
  }
  deps.metrics.authenticationSeconds.observe(seconds)
  deps.conversations.close(conversation)
}

function count(deps: AccessDeps, nas: NasEntry, reason: string): void {
  deps.metrics.logins.inc({ nas: nas.name, result: reason === '' ? 'ok' : 'rejected', reason })
}
