// From a decision of the books to the NAS: sessions that must end are put off by
// Disconnect-Request, those behind with one interval are slowed down where tariff and NAS can, and
// each attempt leaves an audit row. Decides nothing about money: ledger.advance() does. Called by
// main.ts's clock, by the operator, by the chain watch and by accounting.

import type { Ledger } from '../accounting/ledger.ts'
import type { CutReason, DynamicAuthorization, Session } from '../accounting/session.ts'
import type { NasEntry } from '../config/config.ts'
import type { DynamicAuthorizationClient, Outcome } from './dynamic-authorization.ts'
import type { Log } from './log.ts'
import type { Metrics } from './metrics.ts'

export interface EnforcementDeps {
  readonly ledger: Ledger
  readonly client: DynamicAuthorizationClient
  /** The client entry of that name, as the configuration has it now. */
  readonly nasNamed: (name: string) => NasEntry | undefined
  readonly durable: () => Promise<void>
  readonly now: () => number
  readonly log: Log
  readonly metrics: Metrics
}

export interface Enforcement {
  /** Judges what is due now and acts on it. */
  sweep(): void
  /** Puts one session off, whoever decided it; resolves with how the NAS took it. */
  putOff(session: Session, reason: CutReason): Promise<string>
  /** The last Disconnect to this NAS was not answered: it gets short Session-Timeouts. */
  isSilent(nas: string): boolean
}

/** After its ACK a NAS sends Stop at once; one that is lost must not keep the session open. */
const STOP_AFTER_ACK_MS = 10_000
/** A session its NAS would not put off is asked for again this often, until its timeout ends it. */
const AGAIN_AFTER_MS = 60_000

/** Resumes what a restart interrupted: sessions in `disconnecting` are put off again. */
export function createEnforcement(deps: EnforcementDeps): Enforcement {
  const { ledger, client, log, metrics } = deps
  const silent = new Set<string>()
  /** Sessions being put off, when to look at each again, and whether its NAS said it is off. */
  const pending = new Map<string, { readonly atMs: number; readonly acknowledged: boolean }>()
  let attempts = 0

  const note = (session: Session, row: Omit<DynamicAuthorization, 'id' | 'session'>): void => {
    attempts += 1
    ledger.authorization({
      ...row,
      id: `${session.id}-${row.atMs}-${attempts}`,
      session: session.id,
    })
    deps.durable().catch(() => undefined)
  }

  const settle = (session: Session, outcome: Outcome): void => {
    const { nas } = session.place
    const nowMs = deps.now()
    // What answers, but can't put anybody off until its operator mends it, is no better than
    // silence: its sessions need the short Session-Timeout, too.
    const isRefused = !outcome.ok && !outcome.gone && outcome.advice !== undefined
    if (outcome.result === 'timeout' || isRefused) silent.add(nas)
    else if (outcome.answered) silent.delete(nas)
    const latest = ledger.session(session.id)
    if (latest === undefined || latest.state === 'closed') return
    const atMs = nowMs + (outcome.ok ? STOP_AFTER_ACK_MS : AGAIN_AFTER_MS)
    if (outcome.gone) ledger.close(session.id, 'disconnected', nowMs)
    else pending.set(session.id, { atMs, acknowledged: outcome.ok })
  }

  const putOff = async (session: Session, reason: CutReason): Promise<string> => {
    const atMs = deps.now()
    const { id, account, place } = session
    pending.set(id, { atMs: atMs + AGAIN_AFTER_MS, acknowledged: false })
    // Told after it is on disk; a store that fails must not keep a device on that doesn't pay.
    await deps.durable().catch(() => undefined)
    const outcome = await client.disconnect(deps.nasNamed(place.nas), session)
    const { result, advice } = outcome
    const facts = { session: id, account, nas: place.nas, reason, result, advice }
    log[outcome.ok || outcome.gone ? 'info' : 'warn'](facts, 'Disconnect-Request')
    metrics.disconnects.inc({ nas: place.nas, reason, result })
    note(session, {
      ...{ kind: 'disconnect', reason, atMs, endedAtMs: deps.now() },
      ...{ result, attempts: outcome.attempts },
    })
    settle(session, outcome)
    return result
  }

  /**
   * Its NAS may serve on, where only its records were lost. Asked once, and no answer is held
   * against the NAS: one that has no power is the usual reason for silence.
   */
  const putOffSilent = async (session: Session): Promise<void> => {
    const { id, account, place } = session
    const nas = deps.nasNamed(place.nas)
    if (nas?.coa === undefined || isTaken(ledger, session)) return
    const atMs = deps.now()
    const outcome = await client.disconnect(nas, session)
    const { result, attempts } = outcome
    const reason = 'not-admitted'
    log.info({ session: id, account, nas: place.nas, reason, result }, 'Disconnect-Request')
    metrics.disconnects.inc({ nas: place.nas, reason, result })
    note(session, { kind: 'disconnect', reason, atMs, endedAtMs: deps.now(), result, attempts })
    if (outcome.answered) silent.delete(place.nas)
  }

  const limitRate = async (session: Session, kbps: number | undefined): Promise<void> => {
    if (session.tariff.throttleKbps === undefined) return
    const atMs = deps.now()
    const nas = deps.nasNamed(session.place.nas)
    const outcome = await client.rateLimit(nas, session, kbps)
    note(session, {
      ...{ kind: kbps === undefined ? 'restore' : 'throttle', reason: 'intervals-missed', atMs },
      ...{ endedAtMs: deps.now(), result: outcome.result, attempts: outcome.attempts },
    })
  }

  const inBackground = (work: Promise<unknown>): void => {
    work.catch((error: unknown) => log.error({ err: error }, 'a session could not be put off'))
  }

  const lookAgain = (nowMs: number): void => {
    for (const [id, { atMs, acknowledged }] of pending) {
      if (atMs > nowMs) continue
      pending.delete(id)
      const session = ledger.session(id)
      if (session?.state !== 'disconnecting') continue
      if (acknowledged) ledger.close(id, 'disconnected', nowMs)
      else inBackground(putOff(session, session.cutReason ?? 'intervals-missed'))
    }
  }

  for (const { id, state } of ledger.open()) {
    if (state === 'disconnecting') pending.set(id, { atMs: 0, acknowledged: false })
  }
  return {
    sweep() {
      const nowMs = deps.now()
      const { cut, overdue, recovered, silent: unheard } = ledger.advance(nowMs)
      for (const session of cut) {
        inBackground(putOff(session, session.cutReason ?? 'intervals-missed'))
      }
      for (const session of overdue) {
        inBackground(limitRate(session, session.tariff.throttleKbps))
      }
      for (const session of recovered) inBackground(limitRate(session, undefined))
      for (const session of unheard) inBackground(putOffSilent(session))
      lookAgain(nowMs)
      if (cut.length + overdue.length + recovered.length + unheard.length > 0) {
        deps.durable().catch(() => undefined)
      }
    },
    putOff,
    isSilent: (nas) => silent.has(nas),
  }
}

/** A Disconnect finds the station by its place: whoever is there now must not be hit. */
function isTaken(ledger: Ledger, { id, place }: Session): boolean {
  const last = ledger.lastAt(place.nas, place.callingStationId)
  return last !== undefined && last.id !== id && last.state !== 'closed'
}
