// One Disconnect- or CoA-Request from first sending to its end as a state machine: when to send
// again (RFC 5080 §2.2.1), what an answer leads to, when to give up. Pure: time and chance come in,
// what to do comes out. Called by dynamic-authorization.ts, which has the sockets.

import { meaningOf } from './error-cause.ts'

/**
 * RFC 5080 §2.2.1: IRT and MRD with their defaults. Those of MRT, 16 s and a tenth between two
 * sendings, and of MRC, five sendings, need no check: whatever the jitter, MRD comes before either.
 */
const FIRST_WAIT_MS = 2_000
const DURATION_MAX_MS = 30_000
/** RAND: up to a tenth more or less, so that what was sent together isn't repeated together. */
const JITTER = 0.1

/** How it ended. */
export interface Outcome {
  /** For the audit row: `ack`, `nak-503`, `nak`, `timeout`, `no-coa` and the like. */
  readonly result: string
  /** The NAS did it. */
  readonly ok: boolean
  /** The NAS has no such session, so there is nothing left to do. */
  readonly gone: boolean
  /** It answered at all, whatever it said. */
  readonly answered: boolean
  /** Datagrams sent. */
  readonly attempts: number
  /** The result of every set of attributes tried, in order; the last is `result`. */
  readonly trail: readonly string[]
  /** What the operator should look at. */
  readonly advice: string | undefined
}

/** What the steps need to know of the sets of attributes; at least one. */
export type SetTraits = readonly {
  readonly namesNas: boolean
  readonly namesUser: boolean
}[]

/** One exchange under way; times in Unix milliseconds. */
export interface Exchange {
  readonly sets: SetTraits
  /** The set now asked with. */
  readonly at: number
  /** Datagrams sent so far. */
  readonly attempts: number
  readonly waitMs: number
  /** When to step with `timer`. */
  readonly dueAtMs: number
  readonly endsAtMs: number
  readonly trail: readonly string[]
  /** From a set that was refused and another then taken: still worth telling. */
  readonly advice: string | undefined
}

/** `cause`: the Error-Cause of a NAK, undefined without. */
export type ExchangeEvent =
  | { readonly type: 'timer' }
  | { readonly type: 'ack' }
  | { readonly type: 'nak'; readonly cause: number | undefined }

/**
 * `request`: send the set `exchange.at` under a new Identifier; `repeat`: the same octets again;
 * `finish`: it is over.
 */
export type Step =
  | { readonly do: 'request' | 'repeat' | 'wait'; readonly exchange: Exchange }
  | { readonly do: 'finish'; readonly outcome: Outcome }

/** Time in Unix milliseconds and a number in [0, 1) for the jitter. */
export interface Chance {
  readonly nowMs: number
  readonly random: number
}

const jitter = (random: number): number => (random * 2 - 1) * JITTER

function ask(
  exchange: Pick<Exchange, 'sets' | 'at' | 'attempts' | 'trail' | 'advice'>,
  { nowMs, random }: Chance,
): Step {
  const waitMs = FIRST_WAIT_MS * (1 + jitter(random))
  const times = { waitMs, dueAtMs: nowMs + waitMs, endsAtMs: nowMs + DURATION_MAX_MS }
  const attempts = exchange.attempts + 1
  return { do: 'request', exchange: { ...exchange, ...times, attempts } }
}

/** The first request. */
export const begin = (sets: SetTraits, chance: Chance): Step =>
  ask({ sets, at: 0, attempts: 0, trail: [], advice: undefined }, chance)

function finish(
  exchange: Exchange,
  result: string,
  o: { ok?: boolean; gone?: boolean; advice?: string | undefined } = {},
): Step {
  const { attempts } = exchange
  const trail = [...exchange.trail, result]
  const answered = result !== 'timeout' || exchange.trail.length > 0
  const { ok = false, gone = false, advice = exchange.advice } = o
  return { do: 'finish', outcome: { result, ok, gone, answered, attempts, trail, advice } }
}

function onTimer(exchange: Exchange, { nowMs, random }: Chance): Step {
  // A timer may fire a little early; and an answer may have moved the exchange on meanwhile.
  if (nowMs < exchange.dueAtMs) return { do: 'wait', exchange }
  if (nowMs >= exchange.endsAtMs) return finish(exchange, 'timeout')
  const waitMs = exchange.waitMs * (2 + jitter(random))
  const dueAtMs = Math.min(nowMs + waitMs, exchange.endsAtMs)
  const attempts = exchange.attempts + 1
  return { do: 'repeat', exchange: { ...exchange, attempts, waitMs, dueAtMs } }
}

function onNak(exchange: Exchange, cause: number | undefined, chance: Chance): Step {
  const result = cause === undefined ? 'nak' : `nak-${cause}`
  const { remedy, advice } = meaningOf(cause)
  const { sets, at } = exchange
  if (remedy === 'gone') {
    // By a name of ours it may only not know the name; a session that goes on must not be closed.
    return finish(exchange, result, { gone: sets[at]?.namesUser !== true })
  }
  const later =
    remedy === 'next'
      ? at + 1
      : sets.findIndex((set, index) => remedy === 'without-nas' && index > at && !set.namesNas)
  // What follows has the same fault when the NAS wasn't named at all.
  const useless = remedy === 'without-nas' && sets[at]?.namesNas !== true
  if (later < 1 || later >= sets.length || useless) return finish(exchange, result, { advice })
  const kept = remedy === 'without-nas' ? advice : exchange.advice
  return ask({ ...exchange, at: later, trail: [...exchange.trail, result], advice: kept }, chance)
}

/** What follows from one event. */
export function step(exchange: Exchange, event: ExchangeEvent, chance: Chance): Step {
  switch (event.type) {
    case 'timer':
      return onTimer(exchange, chance)
    case 'ack':
      return finish(exchange, 'ack', { ok: true })
    case 'nak':
      return onNak(exchange, event.cause, chance)
  }
}
