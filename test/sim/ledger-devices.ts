// Who lives in the world of ledger-world.ts: access points with every habit that was seen of them
// (no Class, clocks minutes off, counters that wrap, begin anew or are zero, lost Stops, restarts)
// and stations that join, move data, leave, come back by a cached key, and pay: well, late, half,
// ahead, twice, without a name, or not at all.

import { decideAdmission } from '../../accounting/admission.ts'
import { type AccountingReport, Status } from '../../accounting/report.ts'
import type { NasPlace, Session } from '../../accounting/session.ts'
import { withoutAllowance } from '../../accounting/tariff.ts'
import type { Address } from '../../ethereum/address.ts'
import type { Outcome } from '../../server/dynamic-authorization.ts'
import { must, type Reading } from './ledger-model.ts'
import { openPayer, type Payer } from './ledger-payer.ts'
import { openReports, type ReportedLine } from './ledger-reports.ts'
import { reserveFor, tariffs } from './ledger-terms.ts'
import { type Deed, OPERATOR, type World } from './ledger-world.ts'

/** An access point and its habits. */
interface AccessPoint {
  readonly name: string
  readonly tariff: string
  readonly echoesClass: boolean
  readonly tellsIdEarly: boolean
  /** Event-Timestamp: by its clock so many seconds off, or none. */
  readonly clockOffSeconds: number | undefined
  readonly gigawords: 'always' | 'above' | 'never'
  readonly tellsSeconds: boolean
  readonly resets: boolean
  readonly zeroStop: boolean
  readonly interimMs: number
  isDown: boolean
  boots: number
}

/** One accounting session at an access point. */
interface Line {
  readonly number: number
  readonly place: NasPlace
  readonly startedAtMs: number
  readonly octetsPerSecond: number
  classId: string | undefined
  input: bigint
  output: bigint
  /** What its counters had counted when they last began anew. */
  lost: { epoch: number; input: bigint; output: bigint }
  movedAtMs: number
  isOpen: boolean
}

interface Station {
  readonly name: string
  readonly account: Address
  readonly nas: AccessPoint
  readonly payer: Payer
  readonly report: (line: ReportedLine) => void
  line: Line | undefined
  classId: string | undefined
  /** Counts what it began: what belongs to an earlier one is over. */
  turn: number
}

const NARROW = 1n << 32n
const RETRY_MS = 3_000
const TRIES = 4

export function populate(world: World, size: { accounts: number; stations: number }) {
  const { random, oracle } = world
  const accounts = Array.from(
    { length: size.accounts },
    (_, n) => `0x${(n + 1).toString(16).padStart(40, '0')}` as Address,
  )
  for (const account of accounts) oracle.fund(account, random.pick([600n, 8_000n, 1_000_000n]))
  const points = ['lobby', 'roof', 'yard'].map((name) => openPoint(world, name))
  const reports = openReports(world)
  const stations = Array.from({ length: size.stations }, (_, n): Station => {
    const account = accounts[n % accounts.length] ?? random.pick(accounts)
    const nas = points[n % points.length] ?? random.pick(points)
    const payer = openPayer(world, account)
    const none = { line: undefined, classId: undefined, turn: 0 }
    return { name: `02-00-00-00-00-${n}`, account, nas, payer, report: reports(account), ...none }
  })
  const town = openTown(world, stations)
  for (const station of stations) world.after(random.below(15_000), town.join(station))
  world.onDisconnect(town.disconnect)
  return { accounts, stations, restartOne: () => town.restart(random.pick(points)) }
}

function openPoint({ random }: World, name: string): AccessPoint {
  const tellsSeconds = random.chance(0.8)
  const gigawords = random.pick(['always', 'above', 'never'] as const)
  const tariff = random.pick(tariffs).name
  // 32 bits that begin anew just before they wrap look like a wrap to anyone.
  const mayReset = tellsSeconds && (gigawords === 'always' || tariff !== 'volume')
  return {
    ...{ name, tariff, echoesClass: random.chance(0.7) },
    ...{ tellsIdEarly: random.chance(0.5), tellsSeconds },
    // What came before a reset and what after it, only these seconds tell.
    resets: mayReset && random.chance(0.6),
    clockOffSeconds: [undefined, 0, 0, -540, 540][random.below(5)],
    gigawords,
    ...{ zeroStop: random.chance(0.3), interimMs: 10_000 + random.below(20_000) },
    ...{ isDown: false, boots: 0 },
  }
}

function openTown(world: World, stations: readonly Station[]) {
  const { random, clock, oracle, after, carry } = world
  let lines = 0

  const accrue = (line: Line): void => {
    const ms = clock.nowMs - line.movedAtMs
    line.movedAtMs = clock.nowMs
    const octets = BigInt(Math.floor((line.octetsPerSecond * ms) / 1000))
    line.input += octets / 5n
    line.output += octets - octets / 5n
  }
  const readingOf = ({ number, input, output, lost }: Line): Reading => ({
    ...{ line: number, epoch: lost.epoch },
    ...{ input: input - lost.input, output: output - lost.output },
  })

  /** Sends a record until it is answered, as a NAS does: later ones say how old it is. */
  function send(
    nas: AccessPoint,
    record: AccountingReport,
    deliver: (r: AccountingReport) => Deed,
  ) {
    const madeAtMs = clock.nowMs
    const { boots } = nas
    let isAnswered = false
    const attempt = (left: number): void => {
      if (isAnswered || nas.boots !== boots || left === 0) return
      const delaySeconds = Math.floor((clock.nowMs - madeAtMs) / 1000)
      const arrive = deliver({ ...record, delaySeconds })
      carry(async () => {
        const told = await arrive()
        if (told === undefined) return undefined
        return () => {
          told()
          world.acknowledged(record)
          carry(() => {
            isAnswered = true
            return undefined
          })
        }
      })
      after(RETRY_MS, () => void attempt(left - 1) as undefined)
    }
    attempt(TRIES)
  }

  const blank = (nas: AccessPoint, place: NasPlace, status: number): AccountingReport => ({
    ...{ status, place, classId: undefined, userName: '', inputOctets: undefined },
    ...{ outputOctets: undefined, wide: false, sessionTimeSeconds: undefined },
    ...{ terminateCause: undefined, delaySeconds: 0 },
    eventTimestamp:
      nas.clockOffSeconds === undefined
        ? undefined
        : Math.floor(clock.nowMs / 1000) + nas.clockOffSeconds,
  })

  function tell(station: Station, line: Line, status: number): void {
    const { nas, account } = station
    accrue(line)
    const reading = readingOf(line)
    const { input, output } = reading
    const isZero = status === Status.stop && nas.zeroStop && random.chance(0.5)
    const isAbove = input >= NARROW || output >= NARROW
    const wide = !isZero && (nas.gigawords === 'always' || (nas.gigawords === 'above' && isAbove))
    const shown = (octets: bigint): bigint => (isZero ? 0n : wide ? octets : octets % NARROW)
    const record = {
      ...blank(nas, line.place, status),
      ...{ classId: nas.echoesClass ? line.classId : undefined, userName: account },
      ...{ inputOctets: shown(input), outputOctets: shown(output), wide },
      sessionTimeSeconds: nas.tellsSeconds
        ? Math.floor((clock.nowMs - line.startedAtMs) / 1000)
        : undefined,
    }
    const told = { ...reading, absent: isZero, sinceMs: line.startedAtMs }
    send(nas, record, (report) => () => {
      const outcome = world.account(report, nas.tariff)
      if (outcome === undefined) return undefined
      const { session, attribution, wish } = outcome
      if (session !== undefined && attribution !== 'late' && attribution !== 'duplicate') {
        if (!oracle.sessions().has(session.id)) oracle.opened(session, undefined)
        const isOwn = attribution !== 'session' || session.account === account
        must(isOwn, 'payer', `${session.id} pays for a station of ${account}`)
        oracle.counted(session.id, told, nas.gigawords !== 'never', clock.nowMs)
        oracle.bound(session.id, line.input + line.output)
      }
      return () => {
        if (wish !== undefined) world.life()?.enforcement.putOff(wish.session, wish.reason)
      }
    })
  }

  const hangUp = (station: Station, tellsStop: boolean): void => {
    const { line } = station
    if (line === undefined) return
    if (tellsStop) tell(station, line, Status.stop)
    line.isOpen = false
    station.line = undefined
    station.turn += 1
  }

  function interims(station: Station, line: Line): void {
    after(station.nas.interimMs, () => {
      if (!line.isOpen) return undefined
      tell(station, line, Status.interimUpdate)
      if (station.nas.resets && random.chance(0.15)) {
        const { input, output } = line
        line.lost = { epoch: line.lost.epoch + 1, input, output }
      }
      interims(station, line)
      return undefined
    })
  }

  const placeOf = (station: Station, acctSessionId: string): NasPlace => ({
    ...{ nas: station.nas.name, address: '192.0.2.1', nasIdentifier: station.nas.name },
    ...{ nasIpAddress: '192.0.2.1', nasPort: undefined, callingStationId: station.name },
    ...{ calledStationId: `${station.nas.name}:net`, acctSessionId },
    acctMultiSessionId: acctSessionId === '' ? '' : `M${acctSessionId}`,
  })

  /** The station is served; for how long, and what then. */
  function serve(station: Station, acctSessionId: string, timeoutMs: number): void {
    lines += 1
    const { nas } = station
    const isHeavy = nas.tariff === 'volume'
    const line: Line = {
      ...{ number: lines, place: placeOf(station, acctSessionId), startedAtMs: clock.nowMs },
      octetsPerSecond: isHeavy ? 5_000_000 + random.below(25_000_000) : random.below(400_000),
      ...{ classId: station.classId, input: 0n, output: 0n, movedAtMs: clock.nowMs },
      ...{ lost: { epoch: 0, input: 0n, output: 0n }, isOpen: true },
    }
    station.line = line
    station.turn += 1
    const { turn } = station
    tell(station, line, Status.start)
    interims(station, line)
    station.report(line)
    const until = (ms: number, work: () => void): void =>
      after(ms, () => void (station.turn === turn && work()) as undefined)
    until(timeoutMs, () => leave(station, true))
    const staysMs = 20_000 + random.below(random.chance(0.3) ? 300_000 : 90_000)
    if (random.chance(0.1)) until(staysMs / 2, () => enter(station, line.place.acctSessionId))
    until(staysMs, () => leave(station, random.chance(0.9)))
    station.payer.serve(() => line.isOpen)
  }

  function leave(station: Station, tellsStop: boolean): void {
    hangUp(station, tellsStop)
    const isBrief = station.classId !== undefined && random.chance(0.25)
    if (isBrief) after(500 + random.below(8_000), () => void rejoin(station) as undefined)
    else after(2_000 + random.below(20_000), join(station))
  }

  /** By the key its access point has cached: no Access-Request. */
  function rejoin(station: Station): void {
    if (station.line !== undefined || station.nas.isDown) return
    const { name } = station
    serve(station, `A${lines + 1}-${name}`, world.rules.sessionMaxMs)
  }

  const join =
    (station: Station): Deed =>
    () => {
      if (station.line !== undefined) return undefined
      if (station.nas.isDown) after(5_000, join(station))
      else enter(station, '')
      return undefined
    }

  /** The Access-Request; `goesOn`: the accounting session that is going on meanwhile. */
  function enter(station: Station, goesOn: string): void {
    const { turn, nas } = station
    const acctSessionId = goesOn || `A${lines + 1}-${station.name}`
    const asked = placeOf(station, nas.tellsIdEarly || goesOn !== '' ? acctSessionId : '')
    const isWaiting = (): boolean => station.turn === turn
    // No answer came in time, or a refusal: again later.
    after(8_000 + random.below(15_000), () => {
      if (isWaiting() && station.line === undefined) enter(station, '')
      return undefined
    })
    carry(async () => {
      if (!isWaiting()) return undefined
      const verdict = await decide(station, asked)
      if (verdict === 'debt') return () => station.payer.settle()
      if (typeof verdict === 'string') return undefined
      // A conversation ends before its Accept now and then.
      if (!random.chance(0.05)) after(random.below(600), confirm(station, verdict, acctSessionId))
      return undefined
    })
  }

  async function decide(station: Station, place: NasPlace): Promise<string | Session> {
    const life = world.life()
    if (life === undefined || life.committer.failed() !== undefined) return 'away'
    const { account, nas } = station
    await life.ensure(account)
    const { ledger } = life
    const tariff = life.tariffs.get(nas.tariff) ?? random.pick(tariffs)
    const standing = ledger.standing(account, place, OPERATOR, clock.nowMs)
    const { deposit } = oracle.purse(account)
    const highestVoucher = station.payer.settled()
    const facts = { deposit, highestVoucher, pendingShift: 0n, depositElsewhere: false }
    const decision = decideAdmission(standing, facts, tariff, world.rules, clock.nowMs)
    if (!decision.admit) return decision.reason
    const { kind, reserve } = decision
    const isFirst = kind === 'normal' && (tariff.freeMs > 0 || tariff.freeOctets > 0n)
    const isFree = isFirst && ledger.mayHaveAllowance(account, clock.nowMs)
    must(reserve === reserveFor(tariff), 'escrow', `${reserve} reserved at ${tariff.name}`)
    oracle.admitted(account, highestVoucher, reserve, place)
    const id = world.newId()
    const endsAtMs = clock.nowMs + decision.timeoutMs
    const own = { id, kind, account, merchant: OPERATOR, place, reserve, endsAtMs }
    return ledger.begin({ ...own, tariff: isFree ? tariff : withoutAllowance(tariff) }, clock.nowMs)
  }

  const confirm =
    (station: Station, { id }: Session, acctSessionId: string): Deed =>
    async () => {
      const life = world.life()
      const session = life?.ledger.confirm(id, clock.nowMs)
      if (life === undefined || session === undefined) return undefined
      const { line } = station
      const isSame = line?.place.acctSessionId === acctSessionId && line.isOpen
      oracle.opened(session, isSame ? oracle.lastReading(line.number) : undefined)
      const isStored = await life.committer.durable().then(
        () => true,
        () => false,
      )
      if (!isStored) {
        life.ledger.close(id, 'abandoned', clock.nowMs)
        return undefined
      }
      const { turn } = station
      return () => carry(() => void accept(station, session, acctSessionId, turn) as undefined)
    }

  function accept(station: Station, session: Session, acctSessionId: string, turn: number): void {
    if (station.turn !== turn || station.nas.isDown) return
    const { line } = station
    station.classId = session.id
    station.payer.name(session.id)
    if (line?.isOpen === true) line.classId = session.id
    else serve(station, acctSessionId, session.endsAtMs - session.startedAtMs)
  }

  function disconnect(session: Pick<Session, 'id' | 'place'>): Promise<Outcome> {
    const none = { trail: [], advice: undefined, attempts: 1 }
    const { promise, resolve } = Promise.withResolvers<Outcome>()
    after(100 + random.below(4_000), () => {
      const { nas, callingStationId } = session.place
      const station = stations.find((s) => s.name === callingStationId && s.nas.name === nas)
      const isUnheard = station === undefined || station.nas.isDown || random.chance(0.1)
      if (isUnheard) {
        resolve({ ...none, result: 'timeout', ok: false, gone: false, answered: false })
      } else if (station.line?.place.acctSessionId === session.place.acctSessionId) {
        leave(station, true)
        resolve({ ...none, result: 'ack', ok: true, gone: false, answered: true })
      } else resolve({ ...none, result: 'nak-503', ok: false, gone: true, answered: true })
      return undefined
    })
    return promise
  }

  /** It forgets everything, and says so when it is back. */
  function restart(nas: AccessPoint): void {
    nas.isDown = true
    nas.boots += 1
    for (const station of stations) if (station.nas === nas) leave(station, false)
    after(3_000 + random.below(10_000), () => {
      nas.isDown = false
      const place = { ...placeOf({ nas, name: '' } as Station, ''), calledStationId: '' }
      send(nas, blank(nas, place, Status.accountingOn), (report) => () => {
        const isTaken = world.account(report, nas.tariff) !== undefined
        return isTaken ? () => undefined : undefined
      })
      return undefined
    })
  }

  return { join, disconnect, restart }
}
