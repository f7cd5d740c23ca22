// The books put together with the chain and the ports: whoever could not be heard is not cut.

import t from 'tap'
import { AttributeType as A, AcctStatusType } from '../../radius/attribute-type.ts'
import { paymentBy } from '../accounting/vouchers.ts'
import { nas, source, start, text, uint32, verified } from './accounting-rig.ts'
import { runtime } from './http-rig.ts'
import { alice, ID, place, meteringWorld as rig, tariff } from './metering-world.ts'

const { intervalMs, missedMax, graceMs } = tariff
const CUT_AFTER_MS = missedMax * intervalMs + graceMs
const { staleAfterMs } = runtime.rules

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
