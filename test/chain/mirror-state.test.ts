// The mirror's tables, event by event and step by step.

import t from 'tap'
import { type ChainEvent, datanetInterface, decodeEvent } from '../../chain/bindings.ts'
import {
  accountsOf,
  applyStep,
  createMirrorState,
  entriesOf,
  hashAt,
  operatorAt,
  operatorsWithDeposit,
  undoStep,
} from '../../chain/mirror-state.ts'
import { account } from './fakechain.ts'

const alice = account(1)
const spki = 'ab'.repeat(32)
const next = 'cd'.repeat(32)
const block = (number: number): { number: number; hash: string } => ({
  number,
  hash: `0x${number}`,
})
const registered: ChainEvent = {
  type: 'operator-registered',
  operatorId: 1,
  account: alice,
  serverSpkiSha256: spki,
  metadataUri: 'http://a',
}
const ids = { operatorId: 1, account: alice }

t.test('each event of the contract, from its log to the tables, and back', (t) => {
  const hex = `0x${spki}`
  const none = `0x${'0'.repeat(64)}`
  const nothing = { deposit: 0n, reserved: 0n, highestVoucher: 0n, withdrawn: 0n }
  const zero = { ...nothing, pendingShift: 0n }
  const operator = { account: alice, serverSpkiSha256: spki, metadataUri: 'http://a' }
  const table: [string, unknown[], unknown][] = [
    ['Deposited', [1, alice, 2n, 7n], { ...zero, deposit: 7n }],
    ['VoucherSeen', [1, alice, 3n], { ...zero, highestVoucher: 3n }],
    [
      'ChannelUpdated',
      [1, alice, 9n, 1n, 4n, 2n],
      { ...zero, deposit: 9n, reserved: 1n, highestVoucher: 4n, withdrawn: 2n },
    ],
    ['ShiftRequested', [1, 2, alice, 6n, 50, 3, 1n], { ...zero, pendingShift: 6n }],
    ['ShiftChallenged', [1, alice, account(2), 5n], { ...zero, pendingShift: 5n }],
    ['ShiftFinalized', [1, 2, alice, 6n], zero],
    ['ShiftCancelled', [1, alice], zero],
    ['DeviceKeySet', [alice, hex, true], 'enabled'],
    ['DeviceKeySet', [alice, hex, false], 'disabled'],
    [
      'OperatorRegistered',
      [1, alice, alice, hex, 'http://a', [0, 0, 0, 0, 0, 0]],
      { ...operator, spkiChangesAt: 0, active: true },
    ],
    [
      'OperatorUpdated',
      [1, 'http://b', hex, `0x${next}`, 50],
      {
        ...operator,
        metadataUri: 'http://b',
        nextServerSpkiSha256: next,
        spkiChangesAt: 50,
        active: true,
      },
    ],
    [
      'OperatorUpdated',
      [1, 'http://b', hex, none, 0],
      { ...operator, metadataUri: 'http://b', spkiChangesAt: 0, active: true },
    ],
    ['OperatorRetired', [1], { ...operator, spkiChangesAt: 0, active: false }],
  ]
  for (const [name, args, value] of table) {
    const event = decodeEvent(datanetInterface.encodeEventLog(name, args))
    if (event === undefined) throw new Error(`${name} was not decoded`)
    const state = createMirrorState()
    if (name === 'OperatorUpdated' || name === 'OperatorRetired') {
      applyStep(state, block(0), [registered])
    }
    const before = [...entriesOf(state)]
    const [change] = applyStep(state, block(1), [event])
    t.strictSame(change?.value, value, name)
    t.strictSame([...entriesOf(state)].at(-1), change, `${name} is in the table`)
    undoStep(state)
    t.strictSame([...entriesOf(state)], before, `${name} taken back`)
  }
  t.equal(decodeEvent({ topics: [`0x${'99'.repeat(32)}`], data: '0x' }), undefined)
  const unfollowed = datanetInterface.encodeEventLog('OperatorAdmitted', [alice])
  t.equal(decodeEvent(unfollowed), undefined)
  t.end()
})

t.test('several events of one entry in a block are taken back together', (t) => {
  const state = createMirrorState()
  applyStep(state, block(1), [{ type: 'deposited', ...ids, deposit: 1n }])
  applyStep(state, block(2), [
    { type: 'deposited', ...ids, deposit: 2n },
    { type: 'voucher-seen', ...ids, amount: 1n },
    { type: 'deposited', ...ids, deposit: 3n },
  ])
  const channel = (): unknown => state.channels.get(alice)?.get(1)
  t.match(channel(), { deposit: 3n, highestVoucher: 1n })
  t.strictSame([...accountsOf(undoStep(state) ?? [])], [alice])
  t.match(channel(), { deposit: 1n, highestVoucher: 0n })
  t.strictSame(state.head, block(1))
  undoStep(state)
  t.equal(channel(), undefined)
  t.equal(state.channels.size, 0, 'no empty tables stay behind')
  t.equal(undoStep(state), undefined)
  t.end()
})

t.test('a shift: asked for, cut, over; other events leave it alone', (t) => {
  const state = createMirrorState()
  const to = { operatorId: 2, account: alice }
  const shift = (pending: bigint): ChainEvent => ({ type: 'shift-changed', ...ids, pending })
  const updated = { reserved: 0n, withdrawn: 0n }
  const of = (operatorId: number): unknown => state.channels.get(alice)?.get(operatorId)
  applyStep(state, block(1), [{ type: 'deposited', ...ids, deposit: 10n }, shift(8n)])
  t.match(of(1), { deposit: 10n, pendingShift: 8n })
  applyStep(state, block(2), [{ type: 'voucher-seen', ...ids, amount: 3n }, shift(7n)])
  t.match(of(1), { deposit: 10n, highestVoucher: 3n, pendingShift: 7n })
  applyStep(state, block(3), [{ type: 'deposited', ...ids, deposit: 11n }])
  t.match(of(1), { deposit: 11n, pendingShift: 7n })
  applyStep(state, block(4), [
    { type: 'channel-updated', ...ids, ...updated, deposit: 4n, highestVoucher: 3n },
    { type: 'channel-updated', ...to, ...updated, deposit: 7n, highestVoucher: 0n },
    shift(0n),
  ])
  t.match(
    [of(1), of(2)],
    [
      { deposit: 4n, pendingShift: 0n },
      { deposit: 7n, pendingShift: 0n },
    ],
  )
  undoStep(state)
  t.match(of(1), { deposit: 11n, pendingShift: 7n }, 'a reorg brings it back')
  t.equal(of(2), undefined)
  t.end()
})

t.test('an update or retirement of an operator nobody registered changes nothing', (t) => {
  const state = createMirrorState()
  t.strictSame(applyStep(state, block(1), [{ type: 'operator-retired', operatorId: 3 }]), [])
  t.equal(state.operators.size, 0)
  t.end()
})

t.test('payplace 4.4: an announced server key takes over at its time', (t) => {
  const state = createMirrorState()
  const update: ChainEvent = {
    type: 'operator-updated',
    operatorId: 1,
    metadataUri: 'http://a',
    serverSpkiSha256: spki,
    nextServerSpkiSha256: next,
    spkiChangesAt: 1_000,
  }
  applyStep(state, block(1), [registered, update])
  const keys = (at: number): unknown[] => {
    const { serverSpkiSha256, nextServerSpkiSha256 } = operatorAt(state, 1, at) ?? {}
    return [serverSpkiSha256, nextServerSpkiSha256]
  }
  t.strictSame(keys(999), [spki, next])
  t.strictSame(keys(1_000), [next, undefined])
  t.equal(operatorAt(state, 2, 0), undefined)
  t.end()
})

t.test('lookups', (t) => {
  const state = createMirrorState()
  const deposit = (operatorId: number, amount: bigint): ChainEvent => ({
    type: 'deposited',
    operatorId,
    account: alice,
    deposit: amount,
  })
  applyStep(state, block(4), [deposit(20, 1n), deposit(3, 1n)])
  applyStep(state, block(7), [deposit(5, 0n)])
  t.strictSame(operatorsWithDeposit(state, alice), [3, 20])
  t.strictSame(operatorsWithDeposit(state, account(2)), [])
  t.strictSame(
    [3, 4, 5, 7].map((number) => hashAt(state, number)),
    [undefined, '0x4', undefined, '0x7'],
  )
  const stored = createMirrorState({ head: block(7), entries: entriesOf(state) })
  t.strictSame([...entriesOf(stored)], [...entriesOf(state)])
  t.equal(hashAt(stored, 7), '0x7')
  t.equal(undoStep(stored), undefined)
  t.end()
})
