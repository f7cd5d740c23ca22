// What `device run` tells as it goes: one event type for people (a line) and for scripts (JSON).
// Owns the words. Pure; emitted by run.ts, printed by the cli.

import { shown } from './amounts.ts'
import type { Terms } from './charge.ts'

/** One thing that happened; amounts in token base units. */
export type RunEvent =
  | { readonly event: 'started'; readonly pid: number }
  | {
      readonly event: 'connected'
      readonly operatorId: number
      readonly ssid: string
      readonly bssid: string
    }
  | { readonly event: 'disconnected' }
  | {
      readonly event: 'session'
      readonly session: string
      readonly tariff: string
      readonly terms: Terms
      readonly startedAtMs: number
    }
  | {
      readonly event: 'paid'
      readonly session: string
      /** The voucher, cumulative. */
      readonly amount: bigint
      readonly credited: bigint
      readonly why: string
    }
  | { readonly event: 'due'; readonly session: string; readonly due: bigint; readonly atMs: number }
  | { readonly event: 'debt-refused'; readonly session: string; readonly why: string }
  | { readonly event: 'session-over'; readonly session: string; readonly due: bigint }
  | { readonly event: 'stopped-paying'; readonly why: string }
  | { readonly event: 'paying-again' }
  | { readonly event: 'left'; readonly why: string; readonly ssid: string; readonly bssid: string }
  | { readonly event: 'topped-up'; readonly amount: bigint }
  | { readonly event: 'renewed'; readonly what: 'certificate' | 'voucher' | 'paths' }
  | {
      readonly event: 'activity-published'
      readonly operatorId: number
      readonly sessions: number
      readonly paid: bigint
    }
  | {
      readonly event: 'metering-key'
      readonly scheme: string
      readonly trust: 'software' | 'hardware'
      /** Why it is not a better one. */
      readonly why?: string
    }
  | { readonly event: 'not-signed'; readonly session: string }
  | { readonly event: 'report-refused'; readonly session: string; readonly why: string }
  | { readonly event: 'failed'; readonly what: string; readonly message: string }
  | { readonly event: 'stopped' }

/** The line for a person. */
export function sentence(
  event: RunEvent,
  token: { readonly symbol: string; readonly decimals: number },
): string {
  const sum = (amount: bigint): string => shown(amount, token)
  switch (event.event) {
    case 'started':
      return 'waiting for a session'
    case 'connected':
      return `connected${event.ssid === '' ? '' : ' to'}${named(event)}, operator ${event.operatorId}`
    case 'disconnected':
      return 'not connected'
    case 'session': {
      const { perMinute, perMegabyte, intervalMs } = event.terms
      const prices = `${sum(perMinute)} a minute, ${sum(perMegabyte)} a megabyte`
      return `session ${event.session}: ${prices}, paid every ${intervalMs / 1000} s`
    }
    case 'paid':
      return `paid ${sum(event.credited)} (${event.why}), ${sum(event.amount)} in all`
    case 'due':
      return `behind: ${sum(event.due)} is due`
    case 'debt-refused':
      return `not paid: the debt of session ${event.session} is ${event.why}`
    case 'session-over':
      return `session ${event.session} is over${event.due > 0n ? `, ${sum(event.due)} due` : ''}`
    case 'stopped-paying':
      return `stopped paying: ${event.why}`
    case 'paying-again':
      return 'paying again'
    case 'left':
      return `left${named(event)}: ${event.why}`
    case 'topped-up':
      return `deposited ${sum(event.amount)}`
    case 'renewed':
      return `renewed the ${event.what === 'paths' ? 'paths in wpa_supplicant.conf' : event.what}`
    case 'activity-published':
      return `published ${event.sessions} sessions, ${sum(event.paid)} paid to operator ${event.operatorId}`
    case 'metering-key': {
      const where = event.scheme === 'tpm' ? 'the TPM' : event.scheme
      const why = event.why === undefined ? '' : ` (${event.why})`
      return `usage is signed by a key in ${where}, trust ${event.trust}${why}`
    }
    case 'not-signed':
      return `session ${event.session} began before its octets were counted here: they are not signed`
    case 'report-refused':
      return `the operator does not take the report of session ${event.session}: ${event.why}`
    case 'failed':
      return `${event.what}: ${event.message}`
    case 'stopped':
      return 'stopped'
  }
}

const named = ({ ssid }: { readonly ssid: string }): string =>
  ssid === '' ? '' : ` ${JSON.stringify(ssid)}`

/** The line for a script: amounts as decimal text, times in Unix seconds as everywhere. */
export function jsonLine(event: RunEvent, nowMs: number): string {
  const { ...fields } = event as unknown as Record<string, unknown>
  for (const name of ['startedAtMs', 'atMs'] as const) {
    const ms = fields[name]
    if (typeof ms !== 'number') continue
    delete fields[name]
    fields[name.replace(/Ms$/, '')] = Math.floor(ms / 1000)
  }
  const line = { time: Math.floor(nowMs / 1000), ...fields }
  return JSON.stringify(line, (_name, value) =>
    typeof value === 'bigint' ? value.toString() : value,
  )
}
