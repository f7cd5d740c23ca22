// The books put together with the chain and the ports as main.ts does it, over a chain, clocks and
// a configuration that the test plays. Called by tests of metering.ts.

import { pino } from 'pino'
import type { NasPlace } from '../../accounting/session.ts'
import { reserveOf } from '../../accounting/tariff.ts'
import { openBooks } from '../../server/books.ts'
import type { ChainSide } from '../../server/chain-side.ts'
import { rateLimited } from '../../server/log.ts'
import { createMetering } from '../../server/metering.ts'
import { createMetrics } from '../../server/metrics.ts'
import { accountNamed, domain, keyNamed } from '../accounting/vouchers.ts'
import { noActivityContracts } from './activity-double.ts'
import { runtime } from './http-rig.ts'

export const NOW_MS = 1_800_000_000_000
const [first] = runtime.rules.tariffs.values()
if (first === undefined) throw new Error('the default configuration has no tariff')
export const tariff = first
export const alice = accountNamed('alice')
export const ID = 'ab'.repeat(16)
export const place: NasPlace = {
  ...{ nas: 'localhost', address: '192.0.2.10', nasIdentifier: 'ap1', nasIpAddress: '' },
  ...{ nasPort: undefined, callingStationId: '02-00-00-00-00-01', calledStationId: '' },
  ...{ acctSessionId: 'S1', acctMultiSessionId: '' },
}

/** Books with a session of alice's, over a chain and clocks that the test plays. */
export async function meteringWorld(t: { teardown(f: () => Promise<void>): void }) {
  const world = { nowMs: NOW_MS, chainIsThere: true, heardAtMs: NOW_MS, runtime }
  const now = (): number => world.nowMs
  const log = pino({ level: 'silent' })
  const operatorAccount = accountNamed('operator')
  const books = await openBooks({
    ...{ storage: 'embedded', databasePath: ':memory:', operatorAccount, now, log },
  })
  const nothing = { reserved: 0n, highestVoucher: 0n, withdrawn: 0n, pendingShift: 0n }
  const channel = { deposit: 10n ** 30n, ...nothing }
  const chain: ChainSide = {
    mirror: {
      channel: (_operator, account) => (account === alice ? channel : undefined),
      operatorsWithDeposit: () => [domain.operator],
      deviceKey: () => 'unset',
      operator: () => undefined,
      head: () => undefined,
      heardAtMs: () => (world.chainIsThere ? world.nowMs : world.heardAtMs),
      connected: () => world.chainIsThere,
      refresh: async () => world.chainIsThere,
      onChange: () => () => {},
      async stop() {},
    },
    facts: {
      ...{ operatorId: domain.operator, account: operatorAccount },
      ...{ contract: domain.contract, chainId: domain.chainId, deployBlock: 0 },
      token: { address: accountNamed('token'), symbol: 'DNT', decimals: 18 },
      activity: noActivityContracts,
    },
    ...{ rpcUrl: '', embedded: undefined, durableBlock: undefined, own: undefined },
    pinnedSpki: () => [],
    failed: new Promise(() => {}),
    async stop() {},
  }
  let ids = 0
  const metering = createMetering(books, {
    ...{
      chain,
      operatorKey: keyNamed('operator'),
      current: () => world.runtime,
      now,
      wallNow: now,
    },
    ...{ log, logRate: rateLimited(1_000, 10), metrics: createMetrics() },
    random: (length) => {
      ids += 1
      return Buffer.alloc(length, ids)
    },
  })
  t.teardown(async () => {
    await metering.stop()
    await books.close()
  })
  const { ledger } = books
  const pass = (ms: number): void => {
    for (let left = ms; left > 0; left -= 250) {
      world.nowMs += Math.min(left, 250)
      metering.sweep()
    }
  }
  const join = (): void => {
    ledger.meet(alice)
    const terms = { tariff, reserve: reserveOf(tariff), endsAtMs: world.nowMs + 86_400_000 }
    const session = { id: ID, kind: 'normal', account: alice, merchant: operatorAccount } as const
    ledger.begin({ ...session, place, ...terms }, world.nowMs)
    ledger.confirm(ID, world.nowMs)
  }
  const stateOf = () => ledger.session(ID)?.state
  return { world, chain, metering, ledger, pass, join, stateOf }
}
