// An operator, a link and a device's books that live in one clock, which a test moves: no network,
// no real time. For run.test.ts.

import { charge } from '../../device/charge.ts'
import { DeviceError } from '../../device/error.ts'
import type { RunEvent } from '../../device/run-events.ts'
import { readSessions, type SessionView } from '../../device/session-view.ts'
import type { Paid, Till } from '../../device/till.ts'
import { EMPTY_BOOK, promise, taken } from '../../device/voucher-book.ts'
import type { Link } from '../../device/wpa-control.ts'
import { payingTo, sessionJson } from './payer-double.ts'

export const START_MS = 1_000_000
export const UP: Link = {
  ...{ isUp: true, isEap: true, isWifi: true, ssid: 'Corner', bssid: '02:00:00:00:00:0a' },
  ...{ networkId: '0', idText: '' },
}
export const DOWN: Link = { ...UP, isUp: false, bssid: '' }
const [first] = readSessions({ sessions: [sessionJson()] })
if (first === undefined) throw new Error('no session')
/** A session that began with the clock. */
export const BASE: SessionView = first

/** A world a test turns the knobs of. */
export function world() {
  const knobs = {
    nowMs: START_MS,
    link: UP as Link,
    /** Nobody answers. */
    isCut: false,
    /** The operator's sessions, without what is paid. */
    sessions: [BASE] as SessionView[],
    deposit: 1_000_000n,
    escapes: true,
    /** What becomes of a last report. */
    report: (): Awaited<ReturnType<Till['report']>> => 'over',
  }
  const [events, calls]: [RunEvent[], string[]] = [[], []]
  const usages: unknown[] = []
  let [book, paid] = [EMPTY_BOOK, 0n]
  let viewAtMs: number | undefined
  let view: SessionView[] = []
  const tell = (session: SessionView): SessionView => {
    const isOver = session.state === 'closed'
    const elapsed = knobs.nowMs - session.startedAtMs
    const ends = (Math.floor(elapsed / 60_000) + 1) * 60_000
    const owed = isOver ? session.owed : charge(session.terms, elapsed, 0n)
    const target = isOver ? owed : charge(session.terms, ends, 0n)
    return { ...session, owed, paid, due: target > paid ? target - paid : 0n }
  }
  const till: Till = {
    operatorId: 1,
    get sessions() {
      return view
    },
    get viewAtMs() {
      return viewAtMs
    },
    get book() {
      return book
    },
    get deposit() {
      return knobs.deposit
    },
    trust: undefined,
    now: () => knobs.nowMs,
    ageMostMs: ({ startedAtMs }) => knobs.nowMs - startedAtMs,
    async ask() {
      if (knobs.isCut) throw new DeviceError('unavailable', 'nobody answers')
      view = knobs.sessions.map(tell)
      viewAtMs = knobs.nowMs
      return 10
    },
    outdate() {
      viewAtMs = undefined
    },
    async pay(session, amount, usage): Promise<Paid> {
      usages.push(usage)
      book = promise(book, amount, session)
      if (knobs.isCut) return { kind: 'later', message: 'nobody answers', afterMs: undefined }
      const credited = amount - book.taken
      paid += credited
      book = taken(book, amount)
      view = view.map(tell)
      const { account: consumer, operatorAccount: merchant } = payingTo('http://x')
      const time = Math.floor(knobs.nowMs / 1000)
      const receipt = { consumer, operator: 1, session, merchant, amount, credited, time }
      return { kind: 'paid', receipt: { ...receipt, signature: '0x' } }
    },
    async report(session) {
      calls.push(`report ${session}`)
      return knobs.report()
    },
    signed: async () => undefined,
    readDeposit: async () => undefined,
  }
  return { knobs, events, calls, usages, till, paid: () => paid }
}
