// Signed reports of usage in the simulation of the books: each station signs what it has moved, or
// 30 % less or more, with a key that is worth something or not; late ones and copies are refused as
// server/usage-reports.ts does. Chance of its own, so that nothing else is decided by it. Made by
// ledger-devices.ts.

import { lastReportUntilMs } from '../../accounting/rating.ts'
import type { AttestedUsage } from '../../accounting/session.ts'
import type { Address } from '../../ethereum/address.ts'
import type { World } from './ledger-world.ts'
import { seeded } from './random.ts'

/** What a station knows of its connection. */
export interface ReportedLine {
  readonly startedAtMs: number
  readonly octetsPerSecond: number
  /** Its session, once it knows. */
  readonly classId: string | undefined
  readonly isOpen: boolean
}

const PERCENT = [100n, 100n, 70n, 130n]
const DELAY_MAX_MS = 6_000

/** How each station reports while its line is open. */
export function openReports(world: World) {
  const random = seeded(`reports of ${world.seed}`)
  const { clock, oracle, after } = world

  async function arrive(id: string, account: Address, report: AttestedUsage): Promise<undefined> {
    const life = world.life()
    const session = life?.ledger.session(id)
    if (life === undefined || life.committer.failed() !== undefined) return undefined
    if (session?.account !== account || session.state === 'reserved') return undefined
    await life.ensure(account)
    const { attested: last } = session
    if (last !== undefined && !isAfter(report, last)) return undefined
    if (clock.nowMs > lastReportUntilMs(session)) return undefined
    oracle.attest(id, report, clock.nowMs)
    return undefined
  }

  return (account: Address) => {
    const percent = random.pick(PERCENT)
    const trust = random.pick(['hardware', 'software'] as const)
    const report = (line: ReportedLine): void =>
      after(4_000 + random.below(40_000), () => {
        const { classId, octetsPerSecond, startedAtMs, isOpen } = line
        if (!isOpen) return undefined
        const moved = (BigInt(octetsPerSecond) * BigInt(clock.nowMs - startedAtMs)) / 1_000n
        const figures = { inputOctets: 0n, outputOctets: (moved * percent) / 100n }
        const signed = { sequence: clock.nowMs, time: 0, trust, missing: 0, ...figures }
        if (classId !== undefined && random.chance(0.9)) {
          after(random.below(DELAY_MAX_MS), () => arrive(classId, account, signed))
        }
        report(line)
        return undefined
      })
    return report
  }
}

/** In order, and nothing less than before. */
const isAfter = (report: AttestedUsage, last: AttestedUsage): boolean =>
  report.sequence > last.sequence && report.outputOctets >= last.outputOctets
