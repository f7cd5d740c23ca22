// Books of a case in which accounting records come in, told in seconds after noon: one account, one
// station, sessions A, B, … opened by hand. Called by the attribution tests.

import t from 'tap'
import { type AttributionContext, applyReport } from '../../accounting/attribution.ts'
import { createLedger } from '../../accounting/ledger.ts'
import { type AccountingReport, Status } from '../../accounting/report.ts'
import type { NasPlace } from '../../accounting/session.ts'
import { priceTariff } from '../../accounting/tariff.ts'
import type { Address } from '../../ethereum/address.ts'

export const ALICE = `0x${'a1'.repeat(20)}` as Address
const OPERATOR = `0x${'0e'.repeat(20)}` as Address
export const NOON_S = 1_800_000_000
const STATION = '02-00-00-00-01-00'

const FAILED = 15
const STATUS = {
  start: Status.start,
  stop: Status.stop,
  interim: Status.interimUpdate,
  on: Status.accountingOn,
  off: Status.accountingOff,
  failed: FAILED,
  nothing: 0,
}

/**
 * One thing that happens, in seconds after noon: `accept` opens session `class` by an
 * Access-Accept; the others are records. `stamp`: Event-Timestamp; `delay`: Acct-Delay-Time.
 */
export interface Step {
  readonly at: number
  readonly do: 'accept' | 'refuse' | keyof typeof STATUS
  readonly class?: string
  readonly id?: string
  readonly multi?: string
  readonly nas?: string
  readonly name?: string
  readonly network?: string
  readonly station?: string
  readonly user?: string
  readonly octets?: number
  readonly time?: number
  readonly stamp?: number
  readonly delay?: number
  /** `attribution session state [wish]`; sessions opened by a record are #1, #2, … */
  readonly is?: string
}

const idOf = (letter: string): string => letter.charCodeAt(0).toString(16).padStart(32, '0')

/** The books of one case, and how a step is told to them. */
export function world(accountsMax = 1000) {
  const ledger = createLedger({
    ...{ sessionsMax: 1000, rememberedMax: 1000, accountsMax, operatorAccount: OPERATOR },
  })
  const names = new Map<string, string>()
  let opened = 0
  let isRefused = false
  const terms = { perMinute: '60', perMegabyte: '1', intervalMs: 60_000, intervalMegabytes: 100 }
  const priced = priceTariff('standard', { ...terms, missedMax: 2, graceMs: 0 }, 0)
  const tariff = ledger.tariffVersion(priced, NOON_S * 1000)
  ledger.meet(ALICE)

  const placeOf = (step: Step): NasPlace => ({
    nas: step.nas ?? 'lobby',
    address: '192.0.2.1',
    nasIdentifier: step.name ?? 'ap1',
    nasIpAddress: '192.0.2.1',
    nasPort: 1,
    callingStationId: step.station ?? STATION,
    calledStationId: step.network ?? '02-00-00-00-00-00:net',
    acctSessionId: step.id ?? 'S1',
    acctMultiSessionId: step.multi ?? 'M1',
  })
  const contextAt = (nowMs: number): AttributionContext => ({
    ...{ nowMs, merchant: OPERATOR, tariff, sessionMaxMs: 3_600_000, unpaidRoom: true },
    octetsPerSecondMax: 125_000_000n,
    admitReconnect: () =>
      isRefused ? { refused: 'no-escrow' } : { reserve: 0n, endsAtMs: nowMs + 3_600_000 },
    newId() {
      opened += 1
      const id = `f${opened.toString(16).padStart(31, '0')}`
      names.set(id, `#${opened}`)
      return id
    },
  })
  const accept = (step: Step, nowMs: number): string => {
    const id = idOf(step.class ?? 'A')
    names.set(id, step.class ?? 'A')
    const endsAtMs = nowMs + 3_600_000
    const session = { id, kind: 'normal', account: ALICE, merchant: OPERATOR, tariff } as const
    ledger.begin({ ...session, place: placeOf(step), reserve: 0n, endsAtMs }, nowMs)
    ledger.confirm(id, nowMs)
    return ''
  }
  const reportOf = (step: Step, status: number): AccountingReport => ({
    status,
    place: placeOf(step),
    classId: step.class === undefined ? undefined : idOf(step.class),
    userName: step.user ?? '',
    inputOctets: step.octets === undefined ? undefined : BigInt(step.octets),
    outputOctets: step.octets === undefined ? undefined : 0n,
    wide: true,
    sessionTimeSeconds: step.time,
    terminateCause: undefined,
    delaySeconds: step.delay ?? 0,
    eventTimestamp: step.stamp === undefined ? undefined : NOON_S + step.stamp,
  })
  return {
    ledger,
    /** What the step came to, as the cases write it. */
    play(step: Step): string {
      const nowMs = (NOON_S + step.at) * 1000
      if (step.do === 'accept') return accept(step, nowMs)
      if (step.do === 'refuse') {
        isRefused = true
        return ''
      }
      const report = reportOf(step, STATUS[step.do])
      const { attribution, session, ended, wish } = applyReport(report, ledger, contextAt(nowMs))
      const words: string[] = [attribution]
      if (session !== undefined) {
        const state = ledger.session(session.id)?.state
        words.push(names.get(session.id) ?? session.id, state === 'closed' ? 'over' : 'runs')
      }
      if (ended.length > 0) words.push(`ends ${ended.map(({ id }) => names.get(id)).sort()}`)
      if (wish !== undefined) words.push(`wish ${wish.reason}`)
      return words.join(' ')
    },
    session: (name: string) => {
      for (const [id, known] of names) if (known === name) return ledger.session(id)
      return undefined
    },
  }
}

/** After all steps: `name: [seconds billed, megabytes, owed]`, undefined for a running session. */
export type Ends = Readonly<Record<string, readonly [ms: number | undefined, octets: number]>>

export const accept: Step = { at: 0, do: 'accept', class: 'A' }
export const start: Step = { at: 1, do: 'start', class: 'A', is: 'session A runs' }
export const stop60: Step = {
  at: 60,
  do: 'stop',
  class: 'A',
  time: 60,
  octets: 500,
  is: 'session A over',
}

/** A name, what happens, and how it ends. */
export type Case = readonly [name: string, steps: readonly Step[], ends?: Ends]

/** Plays every case in books of its own. */
export function playCases(cases: readonly Case[]): void {
  for (const [name, steps, ends] of cases) {
    t.test(name, async (t) => {
      const books = world()
      for (const step of steps) {
        const is = books.play(step)
        if (step.is !== undefined) t.equal(is, step.is, `${step.at} s: ${step.do}`)
      }
      for (const [of, [ms, octets]] of Object.entries(ends ?? {})) {
        const session = books.session(of)
        const { startedAtMs = 0, endedAtMs = Number.NaN } = session ?? {}
        t.equal(endedAtMs - startedAtMs, ms, `${of} is billed for`)
        t.equal(session?.input.total, BigInt(octets), `${of} has moved`)
      }
    })
  }
}
