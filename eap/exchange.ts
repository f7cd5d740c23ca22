// One EAP-TLS conversation as the server sees it: EAP bytes in, one reply out. Glues the machine
// (conversation.ts) to the TLS engine and asks the caller's `authorize` once, when the peer has
// proven its key. Holds no timer and no table: the server expires it with `close`.

import {
  type Conversation,
  type EapAction,
  type EapEvent,
  type EapLimits,
  newConversation,
  step,
} from './conversation.ts'
import type { EapTlsKeys, MayResume, TlsConversation, TlsEngine, TlsFacts } from './engine.ts'
import { sessionIdOf } from './keys.ts'
import { decodeEap, EapCode, EapType, identityText } from './packet.ts'

export type { EapLimits } from './conversation.ts'

export type Authorization =
  | { readonly accept: true }
  /** `alert` is a number of RFC 8446 §6.2, see `Alert`; `reason` goes to log and metrics. */
  | { readonly accept: false; readonly alert: number; readonly reason: string }

export interface EapDeps {
  readonly engine: TlsEngine
  /** See engine.ts; `authorize` is asked all the same once the key is proven. */
  readonly mayResume?: MayResume
  readonly limits: EapLimits
  /** Random octets; one is taken when a conversation opens. */
  readonly random: (length: number) => Buffer
  /**
   * Called once per conversation whose key is proven, resumed or not, with the DER of the peer's
   * leaf; nothing else is proven, and nothing is remembered of an earlier login (RFC 9190 §5.7).
   * What it reserves must be released by the caller when no 'accept' follows.
   */
  authorize(certificate: Buffer, facts: TlsFacts): Authorization | Promise<Authorization>
}

export type EapReply =
  /** To send in an Access-Challenge. */
  | { readonly do: 'challenge'; readonly eap: Buffer }
  | {
      readonly do: 'accept'
      readonly eap: Buffer
      readonly msk: Buffer
      readonly emsk: Buffer
      /** 0x0D ‖ Method-Id, the value of EAP-Key-Name. */
      readonly sessionId: Buffer
      /** DER of the peer's leaf, as `authorize` saw it. */
      readonly certificate: Buffer
      readonly facts: TlsFacts
    }
  /**
   * EAP-Failure for an Access-Reject. `reason` is one of a bounded set, `detail` is for the log
   * only.
   */
  | {
      readonly do: 'reject'
      readonly eap: Buffer
      readonly reason: string
      readonly detail?: string
    }
  /** The last request again, for an Access-Challenge with Error-Cause 202 (RFC 3579 §2.2). */
  | { readonly do: 'resend'; readonly eap: Buffer; readonly reason: string }
  /** No reply is due. */
  | { readonly do: 'ignore'; readonly reason: string }

export interface Exchange {
  /**
   * The EAP-Message of one Access-Request, empty for an EAP-Start. `fragmentSize` is the most
   * octets a whole EAP packet of ours may have now: the configured size, and Framed-MTU - 4 where
   * the request names one (RFC 3579 §2.4). While an earlier call has not answered, the answer is
   * 'ignore'. Rejects only with what `authorize` threw; the conversation is over then.
   */
  receive(eap: Buffer, fragmentSize: number): Promise<EapReply>
  /** Frees the TLS connection; harmless when repeated. */
  close(): void
  /**
   * Outer identity, unauthenticated; '' before it is known. For logs and routing only (RFC 9190
   * §5.6).
   */
  readonly identity: string
  /** Requests sent that were not repetitions: it grows while the conversation makes progress. */
  readonly progress: number
  /** True after accept, reject or close. */
  readonly done: boolean
}

/** What an accepted peer is given, kept from the decision until its acknowledgement. */
interface Grant {
  readonly keys: EapTlsKeys
  readonly certificate: Buffer
  readonly facts: TlsFacts
}

/** What one exchange remembers; only the functions below change it. */
interface Memory {
  readonly deps: EapDeps
  conversation: Conversation
  tls: TlsConversation | undefined
  grant: Grant | undefined
  identity: string
  progress: number
  busy: boolean
}

/** A conversation of which nothing has been received yet. */
export function openExchange(deps: EapDeps): Exchange {
  const memory: Memory = {
    deps,
    conversation: newConversation(deps.random(1)[0] ?? 0),
    tls: undefined,
    grant: undefined,
    identity: '',
    progress: 0,
    busy: false,
  }
  return {
    async receive(eap, fragmentSize) {
      if (memory.busy) return { do: 'ignore', reason: 'eap-busy' }
      memory.busy = true
      try {
        if (memory.identity === '') memory.identity = readIdentity(eap)
        const event = { type: 'response', bytes: eap, packetBytesMax: fragmentSize } as const
        const action = advance(memory, event)
        if (action.do !== 'run-tls') return reply(memory, action)
        return reply(memory, await runTls(memory, action.flight, fragmentSize))
      } catch (error) {
        close(memory)
        throw error
      } finally {
        memory.busy = false
      }
    },
    close: () => close(memory),
    get identity() {
      return memory.identity
    },
    get progress() {
      return memory.progress
    },
    get done() {
      return memory.conversation.name === 'done'
    },
  }
}

function close(memory: Memory): void {
  memory.conversation = { name: 'done' }
  memory.grant = undefined
  memory.tls?.close()
  memory.tls = undefined
}

function advance(memory: Memory, event: EapEvent): EapAction {
  const [conversation, action] = step(memory.conversation, event, memory.deps.limits)
  memory.conversation = conversation
  return action
}

async function runTls(memory: Memory, flight: Buffer, packetBytesMax: number): Promise<EapAction> {
  memory.tls ??= memory.deps.engine.open(memory.deps.mayResume)
  const { tls } = memory
  const outcome = await tls.feed(flight)
  const action = advance(memory, { type: 'tls', outcome, packetBytesMax })
  return action.do === 'decide' ? decide(memory, tls, packetBytesMax) : action
}

async function decide(
  memory: Memory,
  tls: TlsConversation,
  packetBytesMax: number,
): Promise<EapAction> {
  const certificate = tls.peerCertificate()
  const facts = tls.facts()
  const verdict = await memory.deps.authorize(certificate, facts)
  // `close` may have been called meanwhile; the TLS connection is gone then.
  if (memory.tls === undefined) return { do: 'ignore', reason: 'eap-finished' }
  if (verdict.accept) memory.grant = { keys: tls.keys(), certificate, facts }
  const bytes = verdict.accept ? tls.commit() : tls.refuse(verdict.alert)
  // RFC 9190 §2.5: nobody is let in without a last flight of ours, but where TLS has none.
  const hasNone = facts.resumed && facts.version === '1.2'
  if (verdict.accept && bytes.length === 0 && !hasNone) throw new Error('no commitment was made')
  const reason = verdict.accept ? '' : verdict.reason
  const { accept } = verdict
  const action = advance(memory, { type: 'decision', accept, reason, bytes, packetBytesMax })
  // Nothing but an acknowledgement can follow: 70 kB less to hold while waiting for it.
  tls.close()
  memory.tls = undefined
  return action
}

function reply(memory: Memory, action: EapAction): EapReply {
  switch (action.do) {
    case 'send':
      memory.progress++
      return { do: 'challenge', eap: action.eap }
    case 'accept': {
      if (memory.grant === undefined) throw new Error('accepted without a grant')
      const { keys, certificate, facts } = memory.grant
      const { msk, emsk } = keys
      const sessionId = sessionIdOf(keys)
      close(memory)
      return { do: 'accept', eap: action.eap, msk, emsk, sessionId, certificate, facts }
    }
    case 'reject':
      close(memory)
      return action
    case 'resend':
    case 'ignore':
      return action
    case 'run-tls':
    case 'decide':
      throw new Error(`${action.do} is not a reply`)
  }
}

function readIdentity(eap: Buffer): string {
  const packet = decodeEap(eap)
  const isIdentity = packet?.code === EapCode.response && packet.type === EapType.identity
  return isIdentity ? identityText(packet.data) : ''
}
