// What POST /v1/sessions/query answers, as values: the account's sessions as the operator tells
// them. Refuses a body of another shape. Pure; asked by operator-api.ts, judged by payer.ts.

import type { Terms, UsageTerms } from './charge.ts'
import { DeviceError } from './error.ts'

/** One session as the operator tells it; amounts in token base units, times in Unix ms. */
export interface SessionView {
  readonly id: string
  readonly state: 'reserved' | 'opened' | 'current' | 'overdue' | 'disconnecting' | 'closed'
  readonly tariff: string
  readonly tariffVersion: number
  readonly terms: Terms
  readonly startedAtMs: number
  /** Both ways, as the access point counted. */
  readonly octets: bigint
  readonly owed: bigint
  readonly paid: bigint
  /** Missing at the end of the running interval, or in all for a session that is over. */
  readonly due: bigint
  readonly dueAtMs: number
  /** What the next signed report answers, and the last one's number; absent where none is taken. */
  readonly report?: { readonly nonce: string; readonly sequence: number }
}

const STATES = ['reserved', 'opened', 'current', 'overdue', 'disconnecting', 'closed'] as const

// `sessions.per_account` is a handful; old debts are listed too. More is no honest answer.
const SESSIONS_MAX = 1_000

/** The sessions of an answer. Throws DeviceError 'refused' naming the field that is wrong. */
export function readSessions(body: unknown): SessionView[] {
  const list = field(body, 'sessions')
  if (!Array.isArray(list) || list.length > SESSIONS_MAX) throw malformed('sessions')
  return list.map(readSession)
}

function readSession(from: unknown): SessionView {
  const id = field(from, 'id')
  if (typeof id !== 'string' || !/^[0-9a-f]{32}$/.test(id)) throw malformed('id')
  const stateText = field(from, 'state')
  const state = STATES.find((one) => one === stateText)
  if (state === undefined) throw malformed('state')
  const tariff = field(from, 'tariff')
  if (typeof tariff !== 'string' || !/^[^\p{C}]{1,64}$/u.test(tariff)) throw malformed('tariff')
  return {
    ...{ id, state, tariff },
    tariffVersion: count(from, 'tariffVersion'),
    terms: readTerms(field(from, 'terms')),
    startedAtMs: count(from, 'startedAt') * 1000,
    octets: wide(from, 'inputOctets') + wide(from, 'outputOctets'),
    owed: amount(from, 'owed'),
    paid: amount(from, 'paid'),
    due: amount(from, 'due'),
    dueAtMs: count(from, 'dueAt') * 1000,
    ...readReportTerms(from),
  }
}

/** 16 octets in base64url have 22 characters. */
function readReportTerms(from: unknown): Pick<SessionView, 'report'> {
  const nonce = optional(from, 'usageNonce')
  if (nonce === undefined) return {}
  if (typeof nonce !== 'string' || !/^[\w-]{22}$/.test(nonce)) throw malformed('usageNonce')
  return { report: { nonce, sequence: count(from, 'usageSequence') } }
}

/** Terms as sessions and GET /v1/operator's tariffs spell them. */
export function readTerms(from: unknown): Terms {
  const flat = optional(from, 'flat')
  const usage = optional(from, 'usage')
  const intervalMs = times(from, 'intervalSeconds', 1000)
  // A day is the longest interval that makes sense to pay by, a second the shortest that can work.
  if (intervalMs < 1_000 || intervalMs > 86_400_000) throw malformed('intervalSeconds')
  return {
    perMinute: amount(from, 'perMinute'),
    perMegabyte: amount(from, 'perMegabyte'),
    intervalMs,
    intervalMegabytes: count(from, 'intervalMegabytes'),
    missedMax: count(from, 'missedMax'),
    graceMs: times(from, 'graceSeconds', 1000),
    flat: flat === undefined ? undefined : readFlat(flat),
    freeMs: optional(from, 'freeMinutes') === undefined ? 0 : times(from, 'freeMinutes', 60_000),
    freeOctets:
      optional(from, 'freeMegabytes') === undefined
        ? 0n
        : BigInt(times(from, 'freeMegabytes', 1_000_000)),
    ...(usage !== undefined && { usage: readUsage(usage) }),
  }
}

function readUsage(from: unknown): UsageTerms {
  const [by, trust] = [field(from, 'by'), field(from, 'trust')]
  if (by !== 'attested' && by !== 'lower' && by !== 'higher') throw malformed('usage')
  if (trust !== 'software' && trust !== 'hardware') throw malformed('usage')
  return { by, trust }
}

function readFlat(from: unknown): { price: bigint; windowMs: number } {
  const windowMs = times(from, 'windowSeconds', 1000)
  if (windowMs < 1_000) throw malformed('windowSeconds')
  return { price: amount(from, 'price'), windowMs }
}

function optional(from: unknown, name: string): unknown {
  const value = (from as Record<string, unknown> | null | undefined)?.[name]
  return value === null ? undefined : value
}

function field(from: unknown, name: string): unknown {
  const value = optional(from, name)
  if (value === undefined) throw malformed(name)
  return value
}

/** A decimal string of base units, below 2^96 as every amount of the contract. */
export function amount(from: unknown, name: string): bigint {
  const value = field(from, name)
  if (typeof value !== 'string' || !/^\d{1,29}$/.test(value)) throw malformed(name)
  return BigInt(value)
}

function number(from: unknown, name: string): number {
  const value = field(from, name)
  if (typeof value !== 'number' || !(value >= 0 && value <= 1e12)) throw malformed(name)
  return value
}

/** In a smaller unit, whole: 2.3 s are 2300 ms and not a hair less. */
const times = (from: unknown, name: string, factor: number): number =>
  Math.round(number(from, name) * factor)

/** A whole number. */
export function count(from: unknown, name: string): number {
  const value = number(from, name)
  if (!Number.isSafeInteger(value)) throw malformed(name)
  return value
}

/** An octet counter: JSON numbers end at 2^53, so text is taken too. */
function wide(from: unknown, name: string): bigint {
  const value = field(from, name)
  if (typeof value === 'string' && /^\d{1,20}$/.test(value)) return BigInt(value)
  return BigInt(count(from, name))
}

const malformed = (name: string): DeviceError =>
  new DeviceError('refused', `the operator's answer: ${name} is missing or malformed`)
