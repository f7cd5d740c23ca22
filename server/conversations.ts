// The table of EAP conversations in progress, found again by the RADIUS State attribute. Owns the
// limits that keep strangers from filling memory: a number of conversations, one per station at a
// NAS, an idle time and a lifetime. Knows nothing of what is inside a conversation. Called by
// access.ts and the sweep.

import type { Session } from '../accounting/session.ts'
import type { Exchange } from '../eap/exchange.ts'

/** One conversation; `busy` while a packet of it is being worked on. */
export interface Conversation {
  /**
   * The value of the State attribute: 16 random bytes, so that guessing one is hopeless (RFC 5080
   * §2.1.1).
   */
  readonly stateAttribute: Buffer
  readonly nas: string
  readonly station: string
  readonly startedAtMs: number
  exchange: Exchange
  progressAtMs: number
  busy: boolean
  /** Set by the admission decision, cleared when the Access-Accept has taken it over. */
  reserved: Session | undefined
  /** Set by the admission decision: the device came with a ticket of an earlier login. */
  resumed: boolean
  /** The account and the reason behind a refusal, for the log line. */
  refusedAccount: string | undefined
  refusedDetail: string | undefined
}

/** The limits, from the configuration. */
export interface ConversationLimits {
  readonly conversationsMax: number
  /** The most one NAS may hold, so that a flood at one leaves room at the others. */
  readonly perNasMax: number
  readonly idleMs: number
}

/**
 * A station that starts anew replaces its old conversation only after this long without progress.
 */
export const REPLACE_AFTER_MS = 3_000
/** A conversation that makes progress but never ends is closed after this many idle times. */
const LIFETIME_IN_IDLE_TIMES = 4

export interface Conversations {
  /** Takes the conversation in, or says why there is no room for it. */
  add(
    conversation: Conversation,
    nowMs: number,
  ): 'added' | 'too-many-conversations' | 'conversation-in-progress'
  find(stateAttribute: Buffer, nas: string): Conversation | undefined
  close(conversation: Conversation): void
  sweep(nowMs: number): void
  closeAll(): void
  readonly size: number
}

/** An empty table. `onClose` hears of each conversation that leaves it, once. */
export function createConversations(
  limits: () => ConversationLimits,
  onClose: (conversation: Conversation) => void,
): Conversations {
  const byState = new Map<string, Conversation>()
  const byStation = new Map<string, Conversation>()
  /** Conversations of each NAS; as many keys as the configuration has clients. */
  const atNas = new Map<string, number>()
  const stateKey = (stateAttribute: Buffer): string => stateAttribute.toString('latin1')
  const stationKey = (c: Conversation): string => `${c.nas} ${c.station}`

  const close = (conversation: Conversation): void => {
    if (!byState.delete(stateKey(conversation.stateAttribute))) return
    const key = stationKey(conversation)
    if (byStation.get(key) === conversation) byStation.delete(key)
    const rest = (atNas.get(conversation.nas) ?? 1) - 1
    if (rest === 0) atNas.delete(conversation.nas)
    else atNas.set(conversation.nas, rest)
    conversation.exchange.close()
    onClose(conversation)
  }

  return {
    add(conversation, nowMs) {
      // Without a Calling-Station-Id there is nothing to tell stations apart by.
      if (conversation.station !== '') {
        const earlier = byStation.get(stationKey(conversation))
        if (earlier !== undefined) {
          // Anyone near the AP can start as any MAC address: that must not end a conversation at
          // work.
          if (nowMs - earlier.progressAtMs < REPLACE_AFTER_MS) return 'conversation-in-progress'
          close(earlier)
        }
      }
      const { conversationsMax, perNasMax } = limits()
      const here = atNas.get(conversation.nas) ?? 0
      if (byState.size >= conversationsMax || here >= perNasMax) return 'too-many-conversations'
      atNas.set(conversation.nas, here + 1)
      byState.set(stateKey(conversation.stateAttribute), conversation)
      if (conversation.station !== '') byStation.set(stationKey(conversation), conversation)
      return 'added'
    },
    find(stateAttribute, nas) {
      const conversation = byState.get(stateKey(stateAttribute))
      // A State is good only at the NAS it was given to.
      return conversation?.nas === nas ? conversation : undefined
    },
    close,
    sweep(nowMs) {
      const { idleMs } = limits()
      for (const conversation of byState.values()) {
        const idle = nowMs - conversation.progressAtMs >= idleMs
        const old = nowMs - conversation.startedAtMs >= idleMs * LIFETIME_IN_IDLE_TIMES
        if (idle || old) close(conversation)
      }
    },
    closeAll() {
      for (const conversation of [...byState.values()]) close(conversation)
    },
    get size() {
      return byState.size
    },
  }
}
