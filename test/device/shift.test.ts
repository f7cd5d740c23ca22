// An order to shift, run again after it was cut short anywhere: what the chain says of it decides,
// and nothing is asked for twice. The chain is a double that counts what is sent.

import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { datanetInterface, tokenInterface } from '../../chain/bindings.ts'
import { readChain } from '../../device/chain.ts'
import type { DeviceFile } from '../../device/device-file.ts'
import { lookAtShift, orderShift, type ShiftDeps, takeShiftBack } from '../../device/shift.ts'
import { noteShift, readShiftRecords } from '../../device/shifts-file.ts'
import { lockPayer, openVouchers } from '../../device/vouchers-file.ts'
import { accountOf } from '../../ethereum/signature.ts'
import { address, bytesOf, CONTRACT, TOKEN } from './operator-double.ts'

const accountKey = bytesOf('shifting device')
const account = accountOf(accountKey)
const NOW = 1_030
const G0 = 1_000
const ORDER = { to: 2, amount: 400n }
/** What `send` throws here: this test wants to know only that something was to be sent. */
const SENT = 'a transaction was to be sent'

interface World {
  /** to, amount, requestedAt, period, bond, coolUntil. */
  shift?: readonly (number | bigint)[]
  logs?: readonly (readonly [name: string, args: readonly unknown[]])[]
  deposit?: bigint
  retired?: boolean
  mu?: bigint
  tokens?: bigint
}

function setUp(t: Test, world: World): ShiftDeps & { sent: string[] } {
  const directory = mkdtempSync(join(tmpdir(), 'datanet-shift-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const sent: string[] = []
  const rpc = {
    request: async (method: string, params: readonly unknown[]) => answer(method, params),
  }
  function answer(method: string, params: readonly unknown[]): unknown {
    if (method === 'eth_blockNumber') return '0x7'
    if (method === 'eth_getBalance') return `0x${(10n ** 18n).toString(16)}`
    if (method === 'eth_getLogs') {
      return (world.logs ?? []).map(([name, args]) =>
        datanetInterface.encodeEventLog(name, [...args]),
      )
    }
    if (method !== 'eth_call') {
      sent.push(method)
      throw new Error(SENT)
    }
    const { to, data } = params[0] as { to: string; data: string }
    const contract = to === TOKEN ? tokenInterface : datanetInterface
    const name = contract.parseTransaction({ data })?.name ?? ''
    return contract.encodeFunctionResult(name, resultOf(name))
  }
  function resultOf(name: string): unknown[] {
    const zero = `0x${'0'.repeat(64)}`
    const timing = [G0, 60, 15, 3, 130, 30]
    const keys = [zero, zero, zero]
    const results: Record<string, unknown[]> = {
      shift: [world.shift ?? [0, 0, 0, 0, 0, 0]],
      shiftBond: [10n],
      balanceOf: [world.tokens ?? 10n],
      allowance: [10n],
      channel: [[world.deposit ?? 1_000n, 0n, world.mu ?? 0n, 0n]],
      operator: [
        [
          account,
          world.retired !== true,
          1,
          timing,
          1,
          1,
          0,
          account,
          zero,
          zero,
          zero,
          keys,
          'http://127.0.0.1:1',
        ],
      ],
    }
    return results[name] ?? []
  }
  const token = { address: TOKEN, symbol: 'DNT', decimals: 0 }
  const device = { account, contract: CONTRACT, operatorUrl: 'http://127.0.0.1:1', token }
  return {
    ...{ directory, from: 1, accountKey, sent, device: device as DeviceFile },
    access: { rpc, chainId: 5n, contract: CONTRACT, token: TOKEN },
    chain: readChain(rpc, CONTRACT),
    ...{ progress: () => {}, now: () => NOW * 1_000 },
  }
}

const record = { ...ORDER, fromBlock: 3 }
const pending = [2, 400n, NOW - 10, 0, 10n, 0]

t.test('what is pending already goes on, and is not asked for again', async (t) => {
  for (const [name, shift, noted] of [
    ['as it was asked', pending, undefined],
    ['cut by a challenge', [2, 250n, NOW - 10, 0, 0n, 1_150], record],
  ] as const) {
    const deps = setUp(t, { shift })
    if (noted !== undefined) await noteShift(deps.directory, 1, noted)
    const isCut = noted !== undefined
    t.match(await orderShift(ORDER, deps), { state: 'pending', isCut }, name)
    t.match(await lookAtShift(deps), { state: 'pending', shift: { amount: shift[1] } }, name)
    t.same(deps.sent, [], name)
  }
  const deps = setUp(t, { shift: pending })
  const others = [
    { ...ORDER, amount: 399n },
    { ...ORDER, to: 3 },
  ]
  for (const other of others) await t.rejects(orderShift(other, deps), { code: 'exists' })
})

t.test('what is due is completed, unless the operator it goes to has retired', async (t) => {
  const due = [2, 400n, NOW - 130, 0, 10n, 0]
  const deps = setUp(t, { shift: due })
  await t.rejects(lookAtShift(deps), { message: SENT })
  const retired = setUp(t, { shift: due, retired: true })
  await t.rejects(lookAtShift(retired), { code: 'refused', message: /2 has retired .* --cancel/ })
  t.same(retired.sent, [])
  const early = setUp(t, { shift: [2, 400n, NOW - 129, 0, 10n, 0] })
  t.match(await lookAtShift(early), { state: 'pending', step: { waitsFor: 'challenge' } })
})

t.test('what was asked for and is over is told, once, and not asked for again', async (t) => {
  const somebody = address(`0x${'12'.repeat(20)}`)
  const cases: [name: string, logs: World['logs'], state: object][] = [
    [
      'finalized by somebody',
      [['ShiftFinalized', [1, 2, account, 390n]]],
      { state: 'arrived', amount: 390n, to: 2 },
    ],
    ['taken back', [['ShiftCancelled', [1, account]]], { state: 'cancelled' }],
    ['nothing left of it', [['ShiftChallenged', [1, account, somebody, 0n]]], { state: 'cut' }],
  ]
  for (const [name, logs, state] of cases) {
    const again = setUp(t, { logs: logs ?? [] })
    await noteShift(again.directory, 1, record)
    t.match(await orderShift(ORDER, again), state, name)
    t.same(again.sent, [], `${name}: nothing is sent`)
    t.equal((await readShiftRecords(again.directory)).size, 0, `${name}: and it is forgotten`)
    const looking = setUp(t, { logs: logs ?? [] })
    await noteShift(looking.directory, 1, record)
    t.match(await lookAtShift(looking), state, `${name}, without AMOUNT`)
  }
})

t.test('what never came to the chain is asked for: noted before it is sent', async (t) => {
  const others: World['logs'] = [
    ['ShiftFinalized', [3, 2, account, 400n]],
    ['ShiftFinalized', [1, 2, address(`0x${'12'.repeat(20)}`), 400n]],
    ['ShiftChallenged', [1, account, account, 5n]],
  ]
  for (const logs of [[], others]) {
    const deps = setUp(t, { logs })
    await noteShift(deps.directory, 1, record)
    await t.rejects(orderShift(ORDER, deps), { message: SENT })
    const noted = (await readShiftRecords(deps.directory)).get(1)
    t.same(noted, { ...ORDER, fromBlock: 7 }, 'and it is known where to look for it')
  }
  t.same(await lookAtShift(setUp(t, {})), { state: 'none' })
  await t.rejects(takeShiftBack(setUp(t, {})), { code: 'usage' })
})

t.test('what cannot be, before anything is sent', async (t) => {
  const cases: [name: string, world: World, problem: RegExp][] = [
    ['more than is deposited', { deposit: 399n }, /at most 399 DNT/],
    ['more than the contract has seen', { mu: 601n }, /at most 399 DNT .* 601 DNT promised/],
    ['after a challenge', { shift: [2, 0, 0, 0, 0, NOW + 1] }, /challenged: the next/],
    ['without the bond', { tokens: 9n }, /127\.0\.0\.1:1|9 DNT, 10 DNT needed/],
  ]
  for (const [name, world, message] of cases) {
    const deps = setUp(t, world)
    await t.rejects(orderShift(ORDER, deps), { code: 'unavailable', message }, name)
    t.same(deps.sent, [], name)
    t.notOk(readdirSync(deps.directory).includes('shifts.json'), `${name}: nothing is noted`)
  }
  const promised = setUp(t, {})
  const vouchers = await openVouchers(promised.directory)
  await vouchers.write(1, { taken: 500n, signed: 601n, pending: undefined })
  await t.rejects(orderShift(ORDER, promised), { message: /601 DNT promised/ }, 'the own book')
  const busy = setUp(t, {})
  const lock = lockPayer(busy.directory)
  await t.rejects(orderShift(ORDER, busy), { code: 'exists', message: /device run/ })
  lock.release()
})

t.test('a file that is not ours is damage', async (t) => {
  const { directory } = setUp(t, {})
  for (const text of ['{', '{"version":2,"shifts":{}}', '{"version":1,"shifts":{"1":{"to":0}}}']) {
    writeFileSync(join(directory, 'shifts.json'), text)
    await t.rejects(readShiftRecords(directory), { code: 'damaged' }, text)
  }
})
