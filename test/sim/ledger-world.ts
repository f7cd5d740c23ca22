// The server's books in a simulated world: one queue of events in simulated time, a store that
// fails now and then, a server that crashes and starts again from what was committed. Its doors
// call the ledger as server/metering.ts and server/accounting.ts do. Devices and access points are
// in ledger-devices.ts; what must hold is in ledger-oracle.ts.

import { setImmediate as turn } from 'node:timers/promises'
import { pino } from 'pino'
import { type AdmissionRules, affordableReconnect } from '../../accounting/admission.ts'
import { type Attributed, applyReport } from '../../accounting/attribution.ts'
import { createCommitter } from '../../accounting/committer.ts'
import { createLedger, type Ledger } from '../../accounting/ledger.ts'
import type { AccountingReport } from '../../accounting/report.ts'
import type { NasPlace, Session } from '../../accounting/session.ts'
import { type Storage, StorageError } from '../../accounting/storage.ts'
import { openSqliteStore } from '../../accounting/store-sqlite.ts'
import type { Tariff, UsagePolicy } from '../../accounting/tariff.ts'
import type { Address } from '../../ethereum/address.ts'
import { createEnsureAccount } from '../../server/accounts.ts'
import type { Outcome } from '../../server/dynamic-authorization.ts'
import { createEnforcement } from '../../server/enforcement.ts'
import { createMetrics } from '../../server/metrics.ts'
import { must } from './ledger-model.ts'
import { createOracle } from './ledger-oracle.ts'
import { tariffs } from './ledger-terms.ts'
import { type Random, seeded } from './random.ts'

export const START_MS = 1_800_000_000_000
export const OPERATOR = `0x${'0e'.repeat(20)}` as Address
/** Everything happens at multiples of this, so that some things happen at once. */
const GRID_MS = 50
const SWEEP_MS = 1_000
/** What who could not be heard gets to come back. */
const EXCUSED_MS = 10_000
export const SESSION_MAX_MS = 240_000
const REMEMBERED_MS = 12 * 3_600_000
/** A megabyte more than any device here moves in a second. */
const OCTETS_PER_SECOND_MAX = 60_000_000n

/** What happens; it returns what is told to others once all is durable. */
export type Deed = () => Promise<Told> | Told
type Told = (() => void) | undefined
type Disconnect = (session: Pick<Session, 'id' | 'place'>) => Promise<Outcome>

/** One run of the server's program, from start to crash. */
interface Life {
  readonly ledger: Ledger
  readonly committer: ReturnType<typeof createCommitter>
  readonly enforcement: ReturnType<typeof createEnforcement>
  readonly ensure: (account: Address) => Promise<void>
  readonly tariffs: ReadonlyMap<string, Tariff>
  /** It crashes in this step: nothing more is written. */
  isDying: boolean
  isDead: boolean
}

export interface WorldOptions {
  readonly loss: number
  readonly duplication: number
  readonly delayMaxMs: number
  readonly arrearsWindowMs: number
  /** Whose figures of volume are rated; undefined: the access points'. */
  readonly usage: UsagePolicy | undefined
  /** Accounts in memory, beyond those with open sessions. */
  readonly accountsMax: number
}

/** What tells one record from another, of those that access points send here. */
function recordKey(o: Pick<AccountingReport, 'status' | 'place' | 'sessionTimeSeconds'>): string {
  return `${o.status} ${o.place.acctSessionId} ${o.sessionTimeSeconds ?? ''} ${o.place.nas}`
}

const metrics = createMetrics()
const log = pino({ level: 'silent' })

export type World = Awaited<ReturnType<typeof createWorld>>

export async function createWorld(seed: string, options: WorldOptions) {
  const random: Random = seeded(seed)
  const clock = { nowMs: START_MS }
  const queue: { readonly atMs: number; readonly deed: Deed }[] = []
  const storage = await openSqliteStore(':memory:')
  const disk = { fails: false }
  const network = { isOut: false }
  let life: Life | undefined
  let disconnect: Disconnect = () => Promise.reject(new Error('no access point'))
  let crash: 'before' | 'after' | undefined
  let crashNext: typeof crash
  let swept = false
  let ids = 0
  const acked = new Set<string>()
  const done = { crashes: 0, compared: 0, lost: 0 }
  const oracle = createOracle(() => living().ledger)

  const living = (): Life => {
    if (life === undefined) throw new Error('the server is down')
    return life
  }
  const newId = (): string => {
    ids += 1
    return random.bytes(12).toString('hex') + ids.toString(16).padStart(8, '0')
  }
  const after = (delayMs: number, deed: Deed): void => {
    const atMs = Math.ceil((clock.nowMs + Math.max(delayMs, 1)) / GRID_MS) * GRID_MS
    let at = queue.length
    while (at > 0 && (queue[at - 1]?.atMs ?? 0) > atMs) at -= 1
    queue.splice(at, 0, { atMs, deed })
  }
  /** Lost, doubled, late: what the network does to a message of anyone. */
  const carry = (deed: Deed): void => {
    const isLost = network.isOut || random.chance(options.loss)
    if (isLost) done.lost += 1
    const copies = isLost ? 0 : random.chance(options.duplication) ? 2 : 1
    for (let copy = 0; copy < copies; copy++) after(random.below(options.delayMaxMs), deed)
  }

  function open(ledger: Ledger): Life {
    const opened = ledger
    const store: Pick<Storage, 'commit'> = {
      async commit(changes) {
        if (disk.fails || made.isDying || made.isDead)
          throw new StorageError('disk-full', 'the disk is full')
        await storage.commit(changes)
        oracle.committed(changes)
      },
    }
    const committer = createCommitter({
      ...{ ledger: opened, storage: store, onError: () => undefined, onRecovered: () => undefined },
      schedule(work, ms) {
        let isOff = false
        const run = (): void => void (isOff || made.isDead || work())
        // Who waits for others to join does so for far less than the grid.
        if (ms < GRID_MS) queueMicrotask(run)
        else after(ms, async () => void run())
        return {
          cancel() {
            isOff = true
          },
        }
      },
    })
    const client = {
      disconnect: (_nas: unknown, session: Pick<Session, 'id' | 'place'>) => disconnect(session),
      rateLimit: async (): Promise<Outcome> => ({
        ...{ result: 'no-coa', ok: false, gone: false, answered: false, attempts: 0 },
        ...{ trail: [], advice: undefined },
      }),
      ...{ pending: () => 0, close: async () => undefined },
    }
    opened.excuse(clock.nowMs + EXCUSED_MS)
    oracle.excuse(clock.nowMs + EXCUSED_MS)
    const { usage } = options
    const priced = tariffs.map((tariff) =>
      opened.tariffVersion({ ...tariff, ...(usage !== undefined && { usage }) }, clock.nowMs),
    )
    const made: Life = {
      ...{ ledger: opened, committer, isDying: false, isDead: false },
      ensure: createEnsureAccount(opened, storage),
      tariffs: new Map(priced.map((tariff) => [tariff.name, tariff])),
      enforcement: createEnforcement({
        ...{ ledger: opened, client, nasNamed: () => undefined, now: () => clock.nowMs },
        ...{ durable: () => committer.durable(), log, metrics },
      }),
    }
    return made
  }

  const emptyLedger = (): Ledger =>
    createLedger({
      ...{ sessionsMax: 10_000, rememberedMax: 10_000, accountsMax: options.accountsMax },
      operatorAccount: OPERATOR,
    })
  async function restored(): Promise<Ledger> {
    const ledger = emptyLedger()
    ledger.adopt(await storage.load(clock.nowMs - REMEMBERED_MS))
    return ledger
  }

  async function restart(): Promise<Told> {
    if (life !== undefined) return undefined
    const ledger = await restored()
    oracle.compare(ledger, undefined, clock.nowMs)
    life = open(ledger)
    oracle.tick(clock.nowMs)
    return undefined
  }

  const sweep: Deed = () => {
    after(SWEEP_MS + (random.chance(0.1) ? random.below(4_000) : 0), sweep)
    if (life === undefined) return undefined
    if (life.committer.failed() !== undefined) {
      life.ledger.excuse(clock.nowMs + EXCUSED_MS)
      oracle.excuse(clock.nowMs + EXCUSED_MS)
    }
    life.enforcement.sweep()
    life.ledger.forget(clock.nowMs)
    swept = true
    return undefined
  }

  /** Makes it durable, tells who waits for that, and checks the books. */
  async function conclude(tellings: readonly (() => void)[]): Promise<void> {
    const now = life
    if (now === undefined) return
    await turn()
    const isStored = await now.committer.durable().then(
      () => true,
      () => false,
    )
    await turn()
    const isClean = isStored && now.committer.failed() === undefined
    must(!isStored || isClean, 'acked', 'what is not stored would be told')
    if (crash !== 'before') oracle.check(clock.nowMs, swept, isClean)
    if (isStored && crash === undefined) for (const tell of tellings) tell()
    if (crash === undefined) return
    crash = undefined
    done.crashes += 1
    now.isDead = true
    life = undefined
    oracle.rollBack()
    after(random.below(20_000), restart)
  }

  async function step(): Promise<void> {
    const first = queue[0]
    if (first === undefined) throw new Error('nothing happens any more')
    clock.nowMs = first.atMs
    swept = false
    crash = life === undefined ? undefined : crashNext
    crashNext = undefined
    if (life !== undefined) {
      oracle.tick(clock.nowMs)
      life.isDying = crash === 'before'
    }
    const tellings: (() => void)[] = []
    while (queue[0]?.atMs === first.atMs) {
      const told = await queue.shift()?.deed()
      if (told !== undefined) tellings.push(told)
    }
    await conclude(tellings)
  }

  /** Reads the store anew and compares. */
  async function compare(): Promise<void> {
    if (life === undefined || life.committer.failed() !== undefined) return
    done.compared += 1
    oracle.compare(await restored(), life.ledger, clock.nowMs)
  }

  /** What was told to anyone is in the store, whatever the ledgers said meanwhile. */
  async function compareStore(): Promise<void> {
    const page = { limit: 10_000 }
    oracle.replay(await storage.journal(page))
    for (const account of oracle.accounts()) {
      const stored = await storage.account(account)
      const best = stored?.account.voucher?.amount ?? 0n
      must(best === oracle.purse(account).best, 'acked', `${account} has ${best} in the store`)
    }
    const records = new Set((await storage.records(page)).map(recordKey))
    for (const key of acked) must(records.has(key), 'acked', `record ${key} is not in the store`)
  }

  const reconnect = (account: Address, place: NasPlace, tariff: Tariff) => {
    const { ledger } = living()
    const standing = ledger.standing(account, place, OPERATOR, clock.nowMs)
    const { deposit } = oracle.purse(account)
    const facts = { deposit, highestVoucher: 0n, pendingShift: 0n, depositElsewhere: false }
    return affordableReconnect(standing, facts, tariff, rules, clock.nowMs)
  }
  const rules: AdmissionRules = {
    ...{ sessionMaxMs: SESSION_MAX_MS, perAccount: 4, prepay: 'off', takesDisconnect: true },
    ...{ newcomersPerClient: 1_000, arrearsWindowMs: options.arrearsWindowMs },
  }

  life = open(emptyLedger())
  after(SWEEP_MS, sweep)
  return {
    ...{ seed, random, clock, options, oracle, storage, done, rules, newId, after, carry },
    life: () => life,
    onDisconnect(take: Disconnect): void {
      disconnect = take
    },
    /** The answer to a record is on its way. */
    acknowledged: (report: AccountingReport) => void acked.add(recordKey(report)),
    /** A record at the door of the accounting port; undefined: no answer. */
    account(report: AccountingReport, tariffName: string): Attributed | undefined {
      if (life === undefined || life.committer.failed() !== undefined) return undefined
      const tariff = life.tariffs.get(tariffName)
      if (tariff === undefined) throw new Error(tariffName)
      return applyReport(report, life.ledger, {
        ...{ nowMs: clock.nowMs, merchant: OPERATOR, tariff, sessionMaxMs: SESSION_MAX_MS },
        ...{ octetsPerSecondMax: OCTETS_PER_SECOND_MAX, unpaidRoom: true, newId },
        admitReconnect: reconnect,
      })
    },
    /** In the next step, before or after its commit; nobody is answered. */
    crash(when: 'before' | 'after'): void {
      crashNext = when
    },
    outage(ms: number): void {
      network.isOut = true
      after(ms, () => {
        network.isOut = false
        return undefined
      })
    },
    diskFull(ms: number): void {
      disk.fails = true
      after(ms, () => {
        disk.fails = false
        return undefined
      })
    },
    async run(ms: number): Promise<void> {
      const endMs = clock.nowMs + ms
      for (let steps = 1; (queue[0]?.atMs ?? endMs) < endMs; steps++) {
        await step()
        if (steps % 100 === 0) await compare()
      }
    },
    /** The last word: the server starts once more, and all that was told is there. */
    async finish(): Promise<void> {
      disk.fails = false
      for (let tries = 0; life === undefined || life.committer.failed() !== undefined; tries++) {
        must(tries < 10_000, 'restart', 'the server does not come back')
        await step()
      }
      await compare()
      await compareStore()
      life.isDead = true
      await storage.close()
    },
  }
}
