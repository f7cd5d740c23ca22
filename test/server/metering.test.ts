// The books put together with the chain and the ports: whoever could not be heard is not cut.

import { pino } from 'pino'
import t from 'tap'
import type { NasPlace } from '../../accounting/session.ts'
import { reserveOf } from '../../accounting/tariff.ts'
import { AttributeType as A, AcctStatusType } from '../../radius/attribute-type.ts'
import { openBooks } from '../../server/books.ts'
import type { ChainSide } from '../../server/chain-side.ts'
import { rateLimited } from '../../server/log.ts'
import { createMetering } from '../../server/metering.ts'
import { createMetrics } from '../../server/metrics.ts'
import { accountNamed, domain, keyNamed, paymentBy } from '../accounting/vouchers.ts'
import { nas, source, start, text, uint32, verified } from './accounting-rig.ts'
import { noActivityContracts } from './activity-double.ts'
import { runtime } from './http-rig.ts'

const NOW_MS = 1_800_000_000_000
const [first] = runtime.rules.tariffs.values()
if (first === undefined) throw new Error('the default configuration has no tariff')
const tariff = first
const { intervalMs, missedMax, graceMs } = tariff
const CUT_AFTER_MS = missedMax * intervalMs + graceMs
const { staleAfterMs } = runtime.rules
const alice = accountNamed('alice')
const ID = 'ab'.repeat(16)
const place: NasPlace = {
  ...{ nas: 'localhost', address: '192.0.2.10', nasIdentifier: 'ap1', nasIpAddress: '' },
  ...{ nasPort: undefined, callingStationId: '02-00-00-00-00-01', calledStationId: '' },
  ...{ acctSessionId: 'S1', acctMultiSessionId: '' },
}

/** Books with a session of alice's, over a chain and clocks that the test plays. */
async function rig(t: { teardown(f: () => Promise<void>): void }) {
  const world = { nowMs: NOW_MS, chainIsThere: true, heardAtMs: NOW_MS }
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
    ...{ chain, operatorKey: keyNamed('operator'), current: () => runtime, now, wallNow: now },
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
  return { world, metering, ledger, pass, join, stateOf }
}

t.test('while payments are refused for the chain, nobody is cut for not paying', async (t) => {
  const { world, metering, pass, join, stateOf, ledger } = await rig(t)
  pass(60_000)
  join()
  world.heardAtMs = world.nowMs
  world.chainIsThere = false
  pass(staleAfterMs)
  const refused = await metering.payments.pay(paymentBy('alice', 1n))
  t.match(refused, { refusal: 'chain-unavailable' })
  pass(2 * CUT_AFTER_MS)
  t.notMatch(stateOf(), /disconnecting|closed/)
  world.chainIsThere = true
  pass(29_000)
  t.notMatch(stateOf(), /disconnecting|closed/, 'two tries of a device that waits 15 s')
  const price = 10n ** 24n
  t.match(await metering.payments.pay(paymentBy('alice', price, { session: ID })), { paid: /./ })
  pass(2_000)
  t.match(ledger.session(ID), { state: 'current', missed: 0 })
  t.equal(ledger.account(alice)?.cuts, 0)
})

t.test('who does not pay when the chain is back is cut then', async (t) => {
  const { world, pass, join, stateOf } = await rig(t)
  pass(60_000)
  join()
  world.heardAtMs = world.nowMs
  world.chainIsThere = false
  pass(staleAfterMs + CUT_AFTER_MS)
  world.chainIsThere = true
  pass(31_000)
  t.match(stateOf(), /disconnecting|closed/)
})

t.test('an account has 30 s from when HTTP listens to pay what fell due meanwhile', async (t) => {
  const { world, metering, pass, join, stateOf } = await rig(t)
  join()
  // The server was away, or took that long to start.
  world.nowMs += CUT_AFTER_MS + 1_000
  metering.listening()
  pass(29_750)
  t.notMatch(stateOf(), /disconnecting|closed/)
  pass(500)
  t.match(stateOf(), /disconnecting|closed/)
})

t.test('a reconnect by a cached key is not let in on what the chain said long ago', async (t) => {
  for (const [name, isThere, kind] of [
    ['the chain is there', true, 'pmksa'],
    ['it is not', false, 'unattributed'],
  ] as const) {
    const { world, metering, ledger, join } = await rig(t)
    join()
    const entry = { ...nas, name: 'localhost' }
    const [terms] = runtime.rules.tariffs.keys()
    const of = [text(A.class, `ai:${ID}`), text(A.callingStationId, place.callingStationId)]
    const ask = (type: typeof start, id: string) =>
      metering.answerAccounting(
        verified([type, ...of, text(A.acctSessionId, id), text(A.nasIdentifier, 'ap1')]),
        { ...entry, tariff: terms ?? '' },
        source,
      )
    await ask(start, 'S1')
    world.nowMs += 2 * intervalMs
    await ask(uint32(A.acctStatusType, AcctStatusType.stop), 'S1')
    world.nowMs += staleAfterMs
    world.chainIsThere = isThere
    ledger.pay(
      { account: alice, amount: 10n ** 24n, signature: '0x', settled: 0n },
      undefined,
      world.nowMs,
    )
    await ask(start, 'S2')
    t.same(
      [...ledger.open()].map((session) => session.kind),
      [kind],
      name,
    )
  }
})
