// What must hold of the books after every step of their simulation, judged by a plain model of its
// own: who opened what when, what was told of its octets, which vouchers were accepted. Takes from
// the ledger only what it then checks. Told of everything by ledger-world.ts; throws at the first
// breach.

import type { Ledger } from '../../accounting/ledger.ts'
import { owed } from '../../accounting/rating.ts'
import type {
  AttestedUsage,
  Changes,
  JournalEntry,
  NasPlace,
  Session,
} from '../../accounting/session.ts'
import type { Address } from '../../ethereum/address.ts'
import {
  checkClosed,
  checkEnd,
  checkHeld,
  debtIn,
  drawIn,
  floor0,
  foldTold,
  isOver,
  isRated,
  type Mine,
  must,
  owedAt,
  type Purse,
  type Reading,
  roomIn,
  signedIn,
  type Told,
} from './ledger-model.ts'
import { compareBooks, sumsOf } from './ledger-restart.ts'

export type Oracle = ReturnType<typeof createOracle>

export function createOracle(ledgerOf: () => Ledger) {
  let mine = new Map<string, Mine>()
  let purses = new Map<Address, Purse>()
  let durable = { mine, purses }
  let excusedUntilMs = Number.NEGATIVE_INFINITY
  /** Replayed from what was committed. */
  const journal = { session: new Map<string, bigint>(), account: new Map<Address, bigint>() }
  const unassigned = new Map<Address, bigint>()
  const paying = new Set<Address>()
  const counts = { sessions: 0, steps: 0, cuts: 0, judged: 0, payments: 0, records: 0, reports: 0 }

  /** Changed since the journal was last compared with them. */
  const unreplayed = new Set<string>()
  let isChanged = true
  const set = (next: Mine): void => {
    mine.set(next.id, next)
    unreplayed.add(next.id)
    isChanged = true
  }
  const setPurse = (account: Address, purse: Purse): void => {
    purses.set(account, purse)
    isChanged = true
  }
  const of = (account: Address): Mine[] => [...mine.values()].filter((m) => m.account === account)
  const look = (id: string): Session => {
    const session = ledgerOf().session(id)
    if (session === undefined) throw new Error(`lost: session ${id} is gone`)
    return session
  }
  const purseOf = (account: Address): Purse => {
    const purse = purses.get(account)
    if (purse === undefined) throw new Error(`no purse of ${account}`)
    return purse
  }
  /** Of sessions the ledger has dropped the last value stands. */
  const latest = (known: Mine): Session => ledgerOf().session(known.id) ?? known.session
  const creditOf = (account: Address): bigint =>
    of(account).reduce((sum, known) => sum + latest(known).credit, 0n)

  /** Verdicts on the interval ends that the ledger has judged since the last step. */
  function judge(known: Mine, session: Session, nowMs: number, swept: boolean): Mine {
    const { startedAtMs, tariff, cutReason } = session
    const { intervalMs, graceMs, missedMax } = tariff
    const dueMs = (n: number) => Math.max(startedAtMs + n * intervalMs + graceMs, excusedUntilMs)
    let { judged, missed, paid } = known
    const { account = '0x' as Address, session: before } = known
    const spare = unassigned.get(account) ?? 0n
    const others = of(account).some((o) => o.id !== known.id && o.session.state !== 'closed')
    let isTold = false
    while (judged < session.judged) {
      judged += 1
      counts.judged += 1
      const target = known.targets[judged - 1]
      if (target === undefined) throw new Error(`judged: end ${judged} of ${known.id} is to come`)
      const end = `end ${judged} of ${known.id}`
      must(dueMs(judged) <= nowMs, 'judged', `${end} before its grace is over`)
      must(missed < missedMax, 'judged', `${known.id} after it had missed ${missed}`)
      let isPaid = before.credit >= target
      if (!isPaid && before.credit + drawIn(known, before, spare, dueMs(judged)) >= target) {
        // Drawn from what is unassigned, unless another session of the account was first.
        isTold ||= others && paying.has(account)
        isPaid = !others || session.credit >= target
      }
      if (isPaid) paid += target > 0n ? 1 : 0
      missed = isPaid ? 0 : missed + 1
    }
    const says = `${known.id}: ${missed} missed, ${paid} paid; books: ${session.missed}, `
    const isSame = missed === session.missed && paid === session.paidIntervals
    must(isTold || isSame, 'judged', `${says}${session.paidIntervals}`)
    if (before.cutAtMs === undefined && cutReason === 'intervals-missed') {
      const isDue = session.missed >= missedMax && session.cutAtMs === dueMs(judged)
      must(isDue, 'cut', `${known.id} was put off at ${session.cutAtMs}, having paid`)
    } else if (before.cutAtMs === undefined && session.state !== 'closed') {
      must(session.missed < missedMax, 'grace', `${known.id} goes on after missing ${missed}`)
    }
    const isLate = swept && !isOver(session) && dueMs(judged + 1) <= nowMs
    must(!isLate, 'grace', `${known.id} is ${session.state}, end ${judged + 1} is not judged`)
    if (judged === known.judged) return known
    return { ...known, judged, missed: session.missed, paid: session.paidIntervals }
  }

  function checkVolume(known: Mine, session: Session, nowMs: number, swept: boolean): void {
    const { volumeDue, tariff, cutReason, cutAtMs, state } = session
    const before = known.session
    if (cutReason === 'volume-unpaid' && before.cutAtMs === undefined) {
      const due = before.volumeDue
      const { account = '0x' as Address } = known
      const spare = unassigned.get(account) ?? 0n
      const owing = before.credit + drawIn(known, before, spare, cutAtMs ?? nowMs)
      const graceMs = tariff.intervalMs + tariff.graceMs
      const wasOwed = owedAt(known, { ...session, cutAtMs: undefined }, (cutAtMs ?? 0) - graceMs)
      const others = of(account).some((o) => o.id !== known.id)
      must(before.credit < wasOwed, 'cut', `${known.id} for volume that was paid`)
      must(others || due === undefined || owing < due.amount, 'cut', `${known.id}: spare credit`)
    }
    if (isOver(session)) return
    const isBehind = session.missed > 0 || volumeDue !== undefined
    const isWell = state === 'current' || state === 'opened'
    must(isWell !== isBehind, 'state', `${known.id} is ${state}, missed ${session.missed}`)
    if (volumeDue === undefined) return
    const lastMs = Math.max(volumeDue.atMs + tariff.graceMs, excusedUntilMs)
    must(!swept || lastMs > nowMs, 'grace', `${known.id}: volume is late`)
    must(session.credit < volumeDue.amount, 'state', `${known.id}: its volume is paid`)
  }

  function checkSession(known: Mine, nowMs: number, swept: boolean): Mine {
    const session = look(known.id)
    const { input, output } = known.octets
    const isCounted = session.input.total === input && session.output.total === output
    const seen = `${session.input.total}, ${session.output.total}`
    must(isCounted, 'counters', `${known.id}: ${seen}, not ${input}, ${output}`)
    must(session.heardAtMs === known.heardAtMs, 'heard', `${known.id} at ${session.heardAtMs}`)
    const isBack = session.endedBy === 'abandoned' && session.credit === 0n
    must(isBack || session.credit >= known.session.credit, 'sum', `${known.id} lost credit`)
    for (const atMs of swept ? [nowMs, nowMs + 47_111] : [nowMs]) {
      const [books, own] = [owed(session, atMs), owedAt(known, session, atMs)]
      must(books === own, 'owed', `${known.id} ${books} by the books, ${own} by the price list`)
    }
    const judgedNow = isRated(known) ? judge(known, session, nowMs, swept) : known
    checkVolume(known, session, nowMs, swept)
    if (swept) checkHeld(known, session, nowMs)
    if (session.state !== known.session.state) checkEnd(known, session, nowMs)
    if (session.cutAtMs !== known.session.cutAtMs) counts.cuts += 1
    const isSame = session === known.session && judgedNow === known
    return isSame ? known : { ...judgedNow, session }
  }

  /** The sums of an account, in memory and, where all is durable, replayed from the store. */
  function checkAccount(account: Address, purse: Purse, credits: bigint, stored: boolean): void {
    const { best, elsewhere, deposit } = purse
    const paid = best - elsewhere
    must(best <= deposit, 'escrow', `${account} has paid ${best} of ${deposit}`)
    unassigned.set(account, paid - credits)
    must(paid >= credits, 'sum', `${account}: ${credits} credited of ${paid}`)
    const known = ledgerOf().account(account)
    if (known !== undefined) {
      must((known.voucher?.amount ?? 0n) === best, 'voucher', `${account}: not ${best}`)
      must(known.credit === paid - credits, 'sum', `${account}: ${known.credit} unassigned`)
    }
    const replayed = journal.account.get(account) ?? 0n
    must(!stored || replayed === paid, 'replay', `${account}: ${replayed} of ${paid}`)
  }

  function checkReplay(id: string): void {
    const credit = mine.get(id)?.session.credit ?? 0n
    const replayed = journal.session.get(id) ?? 0n
    must(replayed === credit, 'replay', `${id}: ${replayed} of ${credit}`)
  }

  return {
    counts,
    sessions: () => mine,
    accounts: () => purses.keys(),
    purse: purseOf,
    of,
    fund: (account: Address, deposit: bigint) =>
      setPurse(account, { deposit, best: 0n, elsewhere: 0n }),
    /** A session was opened; `reading`: the counters of its NAS go on from there. */
    opened(session: Session, reading: Reading | undefined): void {
      counts.sessions += 1
      const { id, account, heardAtMs } = session
      set({
        ...{
          id,
          account,
          session: { ...session, credit: 0n, disputed: false },
          heardAtMs,
          reading,
          moved: 0n,
        },
        ...{
          octets: { input: 0n, output: 0n },
          said: undefined,
          fuzzy: false,
          targets: [],
          judged: 0,
        },
        ...{ missed: 0, paid: 0, excused: session.startedAtMs < excusedUntilMs },
      })
    },
    excuse(untilMs: number): void {
      excusedUntilMs = Math.max(excusedUntilMs, untilMs)
      for (const known of mine.values()) set({ ...known, excused: true })
    },
    /** What is owed at the ends that have come, before anything else happens now. */
    tick(nowMs: number): void {
      counts.steps += 1
      paying.clear()
      for (const known of mine.values()) {
        const { session } = known
        if (!isRated(known) || isOver(session)) continue
        const targets = [...known.targets]
        const endMs = () => session.startedAtMs + (targets.length + 1) * session.tariff.intervalMs
        if (endMs() > nowMs) continue
        while (endMs() <= nowMs) targets.push(owedAt(known, session, endMs()))
        set({ ...known, targets })
      }
    },
    /** A record was counted for a session. */
    counted(id: string, told: Told, wide: boolean, nowMs: number) {
      const known = mine.get(id)
      if (known === undefined) throw new Error(`counted for ${id}, which nobody opened`)
      counts.records += 1
      const session = look(id)
      const { cutAtMs, tariff } = session
      set({ ...known, heardAtMs: nowMs })
      if (told.absent || (cutAtMs !== undefined && nowMs > cutAtMs + tariff.intervalMs)) return
      set({ ...known, heardAtMs: nowMs, ...foldTold(known, session, told, wide) })
    },
    /** A signed report comes to the server, which has checked it; and the figures are compared. */
    attest(id: string, report: AttestedUsage, nowMs: number): void {
      ledgerOf().attest(id, report, nowMs)
      const known = mine.get(id)
      if (known === undefined) throw new Error(`a report of ${id}, which nobody opened`)
      counts.reports += 1
      const session = look(id)
      set(signedIn(known, session, report, nowMs))
    },
    /** The device moved so much in truth: no session is ever counted more. */
    bound(id: string, moved: bigint): void {
      const known = mine.get(id)
      if (known === undefined) return
      const { input, output } = known.octets
      must(input + output <= moved, 'counters', `${id}: counted ${input + output} of ${moved}`)
    },
    /** Pays through the ledger, and checks where the increase went. */
    pay(
      account: Address,
      amount: bigint,
      settled: bigint,
      named: string | undefined,
      nowMs: number,
    ) {
      const ledger = ledgerOf()
      const purse = purseOf(account)
      const sessions = of(account)
      const before = new Map(sessions.map((known) => [known.id, latest(known).credit]))
      const spare = purse.best - purse.elsewhere - creditOf(account)
      const best = purse.best > settled ? purse.best : settled
      const voucher = { account, amount, signature: `0x${'00'.repeat(65)}`, settled }
      const credited = ledger.pay(voucher, named, nowMs)
      if (amount <= best) {
        must(credited === undefined, 'voucher', `${account}: ${amount} after ${best} is taken`)
        return undefined
      }
      if (credited === undefined) throw new Error(`voucher: ${account}: ${amount} is refused`)
      counts.payments += 1
      paying.add(account)
      const elsewhere = purse.elsewhere + best - purse.best
      setPurse(account, { ...purse, best: amount, elsewhere })
      const target = named === undefined ? undefined : mine.get(named)
      if (
        target !== undefined &&
        target.account === account &&
        look(target.id).state !== 'closed'
      ) {
        set({ ...target, heardAtMs: nowMs })
      }
      let rest = amount - best
      const expect = (known: Mine, room: bigint): bigint => {
        const share = room < rest ? room : rest
        rest -= share
        const credit = latest(known).credit - (before.get(known.id) ?? 0n)
        const fits = spare === 0n ? credit === share : credit >= share || known.id !== named
        must(fits, 'split', `${known.id} got ${credit} of ${amount - best}, not ${share}`)
        return share
      }
      const roomOf = (known: Mine, own: boolean): bigint => {
        const session = latest(known)
        const credit = before.get(known.id) ?? 0n
        if (own || session.state === 'closed') return roomIn(known, session, credit, nowMs)
        return floor0(owedAt(known, session, nowMs) - credit)
      }
      const first = sessions.filter(({ id }) => id === named)
      const others = sessions
        .filter(({ id }) => id !== named)
        .sort((a, b) => a.session.startedAtMs - b.session.startedAtMs || (a.id < b.id ? -1 : 1))
      const isClosed = (known: Mine): boolean => latest(known).state === 'closed'
      const share = first.reduce((sum, known) => sum + expect(known, roomOf(known, true)), 0n)
      for (const known of others.filter(isClosed)) expect(known, roomOf(known, false))
      for (const known of others.filter((o) => !isClosed(o))) expect(known, roomOf(known, false))
      must(spare > 0n || credited.named === share, 'split', `receipt: ${credited.named}`)
      return credited
    },
    /** The counters of an access point as they were last told. */
    lastReading(line: number): Reading | undefined {
      const known = [...mine.values()].findLast(({ reading }) => reading?.line === line)
      return known?.reading
    },
    /** A reserve is taken: with what is spent, owed and reserved the deposit must cover it. */
    admitted(account: Address, mu: bigint, reserve: bigint, { nas, callingStationId }: NasPlace) {
      const { deposit, best, elsewhere } = purseOf(account)
      const places = new Map<string, bigint>()
      for (const { place, reserve: other } of ledgerOf().openOf(account)) {
        const isHere = place.nas === nas && place.callingStationId === callingStationId
        const at = `${place.nas} ${place.callingStationId}`
        if (!isHere && other > (places.get(at) ?? 0n)) places.set(at, other)
      }
      const reserved = [...places.values()].reduce((sum, other) => sum + other, 0n)
      const over = of(account).filter((known) => isOver(latest(known)))
      const owing = over.reduce((sum, known) => sum + debtIn(known, latest(known)), 0n)
      const debt = floor0(owing - (best - elsewhere - creditOf(account)))
      const spent = (best > mu ? best : mu) + debt + reserved
      must(deposit - spent >= reserve, 'escrow', `${account}: ${reserve} of ${deposit} - ${spent}`)
    },
    committed(changes: Changes): void {
      for (const { session, account, amount } of changes.journal) {
        journal.account.set(account, (journal.account.get(account) ?? 0n) + amount)
        if (session === undefined) continue
        isChanged = true
        unreplayed.add(session)
        journal.session.set(session, (journal.session.get(session) ?? 0n) + amount)
      }
    },
    /** The whole journal as it was read back. */
    replay(entries: readonly JournalEntry[]): void {
      const sums = sumsOf(entries)
      for (const { id, session } of mine.values()) {
        must((sums.get(id) ?? 0n) === session.credit, 'replay', `${id} in the store`)
      }
      for (const [account, { best, elsewhere }] of purses) {
        must((sums.get(account) ?? 0n) === best - elsewhere, 'replay', `${account} in the store`)
      }
    },
    /** After each step; `swept`: the clock was let act on everything; `stored`: all is durable. */
    check(nowMs: number, swept: boolean, stored: boolean): void {
      const credits = new Map<Address, bigint>()
      for (const known of [...mine.values()]) {
        const isClosed = known.session.state === 'closed'
        const session = ledgerOf().session(known.id)
        if (isClosed && session !== undefined && session !== known.session) {
          checkClosed(known, session)
          set({ ...known, session })
        } else if (!isClosed) {
          const next = checkSession(known, nowMs, swept)
          if (next !== known) set(next)
        }
        const { account, session: now } = mine.get(known.id) ?? known
        if (account === undefined) continue
        credits.set(account, (credits.get(account) ?? 0n) + now.credit)
      }
      for (const [account, purse] of purses) {
        checkAccount(account, purse, credits.get(account) ?? 0n, stored)
      }
      if (!stored || !isChanged) return
      for (const id of unreplayed) checkReplay(id)
      unreplayed.clear()
      durable = { mine: new Map(mine), purses: new Map(purses) }
      isChanged = false
    },
    /** The server is gone, and with it what was not durable. */
    rollBack(): void {
      mine = new Map(durable.mine)
      purses = new Map(durable.purses)
      unreplayed.clear()
      excusedUntilMs = Number.NEGATIVE_INFINITY
    },
    /** Books that were read from the store say the same as these. */
    compare: (other: Ledger, live: Ledger | undefined, nowMs: number) =>
      compareBooks({ mine, accounts: [...purses.keys()] }, other, live, nowMs),
  }
}
