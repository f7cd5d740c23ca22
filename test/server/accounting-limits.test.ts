// What copies of a NAS's datagrams, or a NAS that lies, can fill: the table of sessions, the disk.

import t from 'tap'
import { AttributeType as A, AcctStatusType } from '../../radius/attribute-type.ts'
import { type Attribute, Code } from '../../radius/packet.ts'
import { NOW_MS, ours, rig, start, text, uint32 } from './accounting-rig.ts'

const MINUTE = 60_000
const NOW_S = NOW_MS / 1_000
const RESPONSE = { code: Code.accountingResponse, attributes: [] }
const FAILED = 15
const status = (value: number): Attribute => uint32(A.acctStatusType, value)
const interim = status(AcctStatusType.interimUpdate)
const ap = text(A.nasIdentifier, 'ap1')
const named = (id: string) => [text(A.acctSessionId, id), ap]

t.test('one client entry can not fill the table with sessions nobody pays for', async (t) => {
  const { ask, ledger, at, counted } = rig()
  for (let n = 0; n < 1_200; n++) await ask(start, ...named(`S${n}`))
  t.equal(ledger.openCount, 1_000)
  t.equal(counted.filter((line) => line === 'start unattributed').length, 1_200, 'all are answered')
  const count = async (minutes: number): Promise<number> => {
    at(NOW_MS + minutes * MINUTE)
    ledger.advance(NOW_MS + minutes * MINUTE)
    await ask(start, ...named(`later ${minutes}`))
    return ledger.openCount
  }
  const seconds = uint32(A.acctSessionTime, 120)
  at(NOW_MS + 2 * MINUTE)
  for (let n = 0; n < 1_000; n++) await ask(interim, seconds, ...named(`S${n}`))
  t.equal(await count(4), 1_000, 'kept alive they count, however long ago they began')
  t.equal(await count(9), 1, 'silence has closed them')
})

t.test('what was open before a restart is counted', async (t) => {
  const before = rig()
  for (let n = 0; n < 1_000; n++) await before.ask(start, ...named(`S${n}`))
  const after = rig({ ledger: before.ledger })
  await after.ask(start, ...named('one more'))
  t.equal(after.ledger.openCount, 1_000)
})

t.test('a copy of an old record is answered and not stored again', async (t) => {
  const { ask, admit, ledger, at, counted } = rig()
  const say = (type: Attribute, seconds: number) =>
    ask(
      ...[type, ...ours, text(A.acctSessionId, 'S1'), uint32(A.acctSessionTime, seconds)],
      uint32(A.eventTimestamp, NOW_S + seconds),
    )
  admit()
  for (const seconds of [10, 20]) {
    at(NOW_MS + seconds * 1_000)
    await say(interim, seconds)
  }
  ledger.drain()
  for (let n = 0; n < 5; n++) t.same(await say(interim, 10), RESPONSE, 'while it runs')
  t.equal(ledger.drain().records.length, 1)
  at(NOW_MS + 30_000)
  await say(status(AcctStatusType.stop), 30)
  ledger.drain()
  for (let n = 0; n < 5; n++) {
    t.same(await say(interim, 20), RESPONSE, 'when it is over')
    await say(interim, 25)
  }
  t.same(
    ledger.drain().records.map((row) => [row.attribution, row.sessionTimeSeconds]),
    [
      ['late', 20],
      ['late', 25],
    ],
  )
  t.equal(counted.at(-1), 'interim-update duplicate')
})

t.test('RFC 2866 §4.1: what is beyond the rate is not kept, and not acknowledged', async (t) => {
  const { ask, admit, ledger, at } = rig()
  admit()
  const flood = () => ask(status(FAILED), ...named('x'))
  const answers = []
  for (let n = 0; n < 3_500; n++) answers.push(await flood())
  t.equal(answers.filter((answer) => 'code' in answer).length, 3_000)
  t.same(answers.at(-1), { drop: 'records-limit' })
  t.equal(ledger.drain().records.length, 3_000)
  const drop = { drop: 'records-limit' }
  const on = status(AcctStatusType.accountingOn)
  t.same(await ask(start, ...named('nobody')), drop, 'a session nobody pays for')
  t.same(await ask(on, ap), drop)
  t.equal(ledger.openCount, 1, 'and changes nothing')
  const paid = [...ours, text(A.acctSessionId, 'S1')]
  t.same(await ask(interim, ...paid), RESPONSE, 'a session of a payer goes on')
  t.same(await ask(status(AcctStatusType.stop), ...paid), RESPONSE)
  t.same(await ask(interim, ...paid, uint32(A.acctSessionTime, 9)), drop, 'late')
  at(NOW_MS + 1_000)
  t.same(await flood(), RESPONSE, 'twenty a second')
})

t.test('a copy of an Accounting-On ends nobody who came after it', async (t) => {
  const on = (...stamp: Attribute[]) => [status(AcctStatusType.accountingOn), ap, ...stamp]
  const stamped = (seconds: number): Attribute => uint32(A.eventTimestamp, NOW_S + seconds)
  // The NAS's clock is five minutes ahead of ours, and told so in the session's records.
  const cases: [name: string, packet: Attribute[], ends: boolean][] = [
    ['25 h old', on(stamped(-25 * 3_600)), false],
    ['23 h old', on(stamped(-23 * 3_600)), false],
    ['by a clock that was never set', on(uint32(A.eventTimestamp, 30)), false],
    ['a minute before the last record of the session', on(stamped(249)), false],
    ['its NAS restarts, and its clock has lost a minute', on(stamped(250)), true],
    ['its NAS restarts', on(stamped(340)), true],
    ['its NAS restarts and keeps no clock', on(), true],
  ]
  for (const [name, packet, ends] of cases) {
    const { ask, admit, ledger, at } = rig()
    admit()
    at(NOW_MS + 10_000)
    await ask(interim, ...ours, text(A.acctSessionId, 'S1'), stamped(310))
    at(NOW_MS + 40_000)
    t.same(await ask(...packet), RESPONSE, name)
    t.equal(ledger.openCount, ends ? 0 : 1, name)
  }
})
