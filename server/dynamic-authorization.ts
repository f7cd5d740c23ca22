// The Dynamic Authorization Client of RFC 5176: puts sessions off and changes their rate through
// the NAS that holds them. Owns what may be asked of which NAS, once at a time for each session.
// Decides neither when a session is put off nor what that means for its money, and writes no log,
// so that no secret can get there. Made by main.ts, called by enforcement.ts.

import type { Session } from '../accounting/session.ts'
import { networkOf, parseIpAddress } from '../config/address.ts'
import type { NasEntry } from '../config/config.ts'
import { Code } from '../radius/packet.ts'
import {
  abandonAll,
  carryOut,
  type ExchangeClock,
  type ExchangesTable,
  exchangesTable,
  receive,
  unsent,
} from './dynamic-authorization-exchanges.ts'
import { createRequestSockets } from './dynamic-authorization-sockets.ts'
import type { Outcome } from './dynamic-authorization-step.ts'
import { defaultCoaPort, identificationSets, rateAttributes } from './nas-profiles.ts'
import type { Source } from './socket.ts'

export type { Outcome }

/** What of a client entry is needed to reach its NAS. */
export type DynamicNas = Pick<NasEntry, 'nasType' | 'coa' | 'ipaddr' | 'maxMbps'>
/** What of a session is needed to name it. */
export type NamedSession = Pick<Session, 'id' | 'account' | 'place'>

export interface DynamicAuthorizationDeps extends ExchangeClock {
  /**
   * A datagram that was refused. `reason`: a RadiusErrorCode, `source-unknown`,
   * `identifier-unknown` or `event-timestamp-stale`; a label for a counter.
   */
  readonly onDrop: (reason: string, source: Source) => void
  /** A socket's trouble; the requests concerned are sent again as if lost. */
  readonly onError: (error: Error) => void
  /** The local address to send from, where NASes know only one of several. */
  readonly bindAddress?: string
  /** Exchanges waiting or under way; those beyond end at once as `queue-full`. Default: 10,000. */
  readonly pendingMax?: number
}

export interface DynamicAuthorizationClient {
  /** Puts a session off. While that is under way, a second call for it joins the first. */
  disconnect(nas: DynamicNas | undefined, session: NamedSession): Promise<Outcome>
  /**
   * Limits its rate both ways, in kbit/s; undefined: back to the `max_mbps` of the NAS. Calls for
   * one session are carried out in order. A NAK leaves the rate as it was (RFC 5176 §2.3).
   */
  rateLimit(
    nas: DynamicNas | undefined,
    session: NamedSession,
    kbps: number | undefined,
  ): Promise<Outcome>
  /** Exchanges waiting or under way. */
  pending(): number
  /** Ends all of them as `closed`. */
  close(): Promise<void>
}

/** A whole city's access points losing their sessions at once, at about 2 KB each. */
const PENDING_MAX = 10_000

/** The client; its sockets are opened by the first request. Its promises never reject. */
export function createDynamicAuthorization(
  deps: DynamicAuthorizationDeps,
): DynamicAuthorizationClient {
  const { onDrop, onError, bindAddress, pendingMax = PENDING_MAX } = deps
  const onDatagram = (datagram: Buffer, source: Source): void => {
    try {
      const dropped = receive(table, datagram, source)
      if (dropped !== undefined) onDrop(dropped, source)
    } catch (error) {
      // A fault of ours: this datagram is lost, and the server goes on.
      onError(error instanceof Error ? error : new Error(String(error)))
    }
  }
  const sockets = createRequestSockets({ onDatagram, onError, bindAddress })
  const table = exchangesTable(deps, sockets.send)
  const disconnecting = new Map<string, Promise<Outcome>>()
  /** The last change of each session's rate that was asked for and has not ended. */
  const rates = new Map<string, { kbps: number | undefined; outcome: Promise<Outcome> }>()
  let closed = false

  const full = (): string | undefined => {
    if (closed) return 'closed'
    return table.jobs.size >= pendingMax ? 'queue-full' : undefined
  }
  return {
    disconnect(nas, session) {
      const running = disconnecting.get(session.id)
      if (running !== undefined) return running
      const outcome = start(table, full(), nas, session).finally(() =>
        disconnecting.delete(session.id),
      )
      disconnecting.set(session.id, outcome)
      return outcome
    },
    rateLimit(nas, session, kbps) {
      const last = rates.get(session.id)
      if (last !== undefined && last.kbps === kbps) return last.outcome
      const change = () => start(table, full(), nas, session, kbps ?? (nas?.maxMbps ?? 0) * 1000)
      const outcome = (last === undefined ? change() : last.outcome.then(change)).finally(() => {
        if (rates.get(session.id)?.outcome === outcome) rates.delete(session.id)
      })
      rates.set(session.id, { kbps, outcome })
      return outcome
    },
    pending: () => table.jobs.size,
    async close() {
      closed = true
      abandonAll(table)
      await sockets.close()
    },
  }
}

/** With a rate a CoA-Request, else a Disconnect-Request; `full` is why nothing more is taken. */
async function start(
  table: ExchangesTable,
  full: string | undefined,
  nas: DynamicNas | undefined,
  session: NamedSession,
  kbps?: number,
): Promise<Outcome> {
  const { address } = session.place
  if (nas?.coa === undefined) return unsent('no-coa')
  if (!holds(nas, address)) return unsent('no-address')
  const sets = identificationSets(nas.nasType, session)
  if (sets.length === 0) return unsent('no-identification')
  const change = kbps === undefined ? [] : rateAttributes(nas.nasType, kbps)
  if (change === undefined) return unsent('no-rate-limit')
  if (full !== undefined) return unsent(full)
  const code = kbps === undefined ? Code.disconnectRequest : Code.coaRequest
  const { port, secret } = nas.coa
  const outcome = await carryOut(table, { code, address, port, secret, sets, change })
  return outcome.answered || outcome.result !== 'timeout'
    ? outcome
    : { ...outcome, advice: silence(nas, port) }
}

/**
 * A session outlives a change of the configuration: what was one client's address may be another's,
 * who must not get packets signed with this one's secret.
 */
function holds({ ipaddr }: DynamicNas, address: string): boolean {
  const parsed = parseIpAddress(address)
  if (parsed?.family !== ipaddr.family) return false
  return networkOf(parsed.family, parsed.value, ipaddr.prefix) === ipaddr.network
}

/** A NAS drops what it doesn't trust without a word, so only guesses are left. */
function silence({ nasType }: DynamicNas, port: number): string {
  const usual = defaultCoaPort(nasType)
  const elsewhere = usual === port ? '' : `; ${nasType} listens at ${usual} by default`
  return `nothing answers at UDP port ${port}: check that it takes Disconnect-Requests from this address, its secret and its clock${elsewhere}`
}
