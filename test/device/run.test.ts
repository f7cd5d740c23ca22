// A run against an operator that lives in the same clock: what it does when service goes bad, when
// a session ends, when money runs low. No network, no real time.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { DeviceFile } from '../../device/device-file.ts'
import { DeviceError } from '../../device/error.ts'
import { readCounters } from '../../device/meter.ts'
import { DEFAULT_POLICY } from '../../device/policy.ts'
import { type RunDeps, type RunEnd, runDevice } from '../../device/run.ts'
import { freshState } from '../../device/run-state.ts'
import type { SessionView } from '../../device/session-view.ts'
import type { WpaControl } from '../../device/wpa-control.ts'
import { payingTo, SESSION } from './payer-double.ts'
import { BASE, DOWN, START_MS, UP, world } from './run-world.ts'
import { move } from './traffic.ts'

const place = mkdtempSync(join(tmpdir(), 'datanet-run-'))
t.teardown(() => rmSync(place, { recursive: true, force: true }))

type World = ReturnType<typeof world>

const controlOf = ({ knobs, calls }: World): WpaControl => {
  const call = (name: string) => async () => void calls.push(name)
  return {
    status: async () => knobs.link,
    ...{ scan: call('scan'), heard: async () => [], blocks: async () => [] },
    ...{ join: call('join'), restore: call('restore'), avoid: call('avoid') },
    ...{ reconnect: call('reconnect'), close: () => undefined },
  }
}

/** Runs for so long in the world's time; `turn` may turn a knob at every pause. */
async function live(
  o: World,
  ms: number,
  turn: (sinceStartMs: number) => void = () => undefined,
  more: Partial<RunDeps> = {},
): Promise<RunEnd> {
  const { knobs, events, calls, till } = o
  const stop = new AbortController()
  const pause = async (wanted: number): Promise<void> => {
    knobs.nowMs += Math.max(1, Math.ceil(wanted))
    const since = knobs.nowMs - START_MS
    if (since >= ms) stop.abort()
    turn(since)
  }
  return runDevice({
    directory: place,
    // Only the number of its operator is asked for here.
    device: { operatorId: 1 } as DeviceFile,
    policy: DEFAULT_POLICY,
    state: await freshState(new Map()),
    tillOf: async () => ({ till, to: payingTo('http://x') }),
    control: controlOf(o),
    roaming: {
      consider: async () => undefined,
      recover: async () => undefined,
      async escape() {
        calls.push('escape')
        return knobs.escapes
      },
    },
    ...{ interfaceName: undefined, sessionId: undefined },
    emit: (event) => events.push(event),
    async topUp(_operatorId, amount) {
      knobs.deposit += amount
    },
    maintain: async () => undefined,
    pause,
    signal: stop.signal,
    ...more,
  })
}

const named = ({ events }: World): string[] => events.map(({ event }) => event)
const without = (names: readonly string[], ...dropped: string[]): string[] =>
  names.filter((name) => !dropped.includes(name))

t.test('ten intervals: each paid once, before it ends', async (t) => {
  const o = world()
  const state = await freshState(new Map())
  const late: number[] = []
  t.equal(
    await live(
      o,
      600_000,
      (since) => {
        const owedAtEnd = BigInt(Math.floor(since / 60_000)) * 60n
        if (o.paid() < owedAtEnd) late.push(since)
      },
      { state },
    ),
    'stopped',
  )
  t.same(late, [])
  t.equal(o.paid(), 600n)
  t.same(without(named(o), 'paid'), ['connected', 'session'])
  t.equal(o.events.length, 12)
  t.equal(state.paidAtMs, START_MS + 576_000, 'when it last paid, so that it does so once')
})

t.test('nobody answers: it stops paying and leaves, and pays again where it is good', async (t) => {
  const o = world()
  await live(o, 400_000, (since) => {
    o.knobs.isCut = since > 61_000 && since < 250_000
    if (o.calls.length > 0) o.knobs.isCut = false
  })
  t.same(without(named(o), 'paid', 'failed', 'due'), [
    ...['connected', 'session', 'stopped-paying', 'left', 'paying-again'],
  ])
  t.match(
    o.events.find(({ event }) => event === 'left'),
    { why: 'probes-lost', ssid: 'Corner' },
  )
  t.same(o.calls, ['escape'])
  t.ok(o.paid() >= 360n, 'and catches up')
})

t.test('no other network: it waits, and says so once', async (t) => {
  const o = world()
  o.knobs.escapes = false
  await live(o, 400_000, (since) => {
    o.knobs.isCut = since > 61_000 && since < 250_000
  })
  t.same(without(named(o), 'paid', 'failed', 'due'), [
    ...['connected', 'session', 'stopped-paying', 'paying-again'],
  ])
})

t.test('dearer than allowed: it leaves without paying', async (t) => {
  const policy = { ...DEFAULT_POLICY, perMinuteMax: 59n }
  const o = world()
  o.knobs.escapes = false
  await live(o, 30_000, undefined, { policy })
  t.equal(o.paid(), 0n)
  t.match(
    o.events.find(({ event }) => event === 'left'),
    { why: 'too-dear' },
  )
  t.same(o.calls, ['escape', 'avoid'], 'no better one known: not this one, at least')
  const only = world()
  t.equal(await live(only, 30_000, undefined, { policy, sessionId: SESSION }), 'left')
})

t.test('put off: pays what is left, and comes back on its own', async (t) => {
  const o = world()
  await live(o, 120_000, (since) => {
    if (since < 61_000) return
    o.knobs.sessions = [{ ...BASE, state: 'closed', owed: 150n }]
  })
  t.equal(o.paid(), 150n)
  t.ok(named(o).includes('session-over'))
  t.match(
    o.events.findLast(({ event }) => event === 'paid'),
    { why: 'arrears' },
  )
  t.same(o.calls, ['reconnect'])
})

t.test('put off: the last report comes before the debt is paid, and may lower it', async (t) => {
  const o = world()
  const asks: SessionView = { ...BASE, report: { nonce: 'n', sequence: 0 } }
  o.knobs.sessions = [asks]
  const { terms, startedAtMs } = BASE
  const { boot } = await freshState(new Map())
  const meter = { received: 0n, sent: 0n, at: { received: 0n, sent: 0n } }
  const whole = { isFromStart: true, isWatched: false }
  const seen = { terms, startedAtMs, connectedAtMs: undefined, seenAtMs: 0, meter, boot, ...whole }
  o.knobs.report = () => {
    o.knobs.sessions = [{ ...asks, state: 'closed', owed: 120n }]
    return 'taken'
  }
  await live(
    o,
    120_000,
    (since) => {
      if (since < 61_000 || o.calls.length > 0) return
      o.knobs.sessions = [{ ...asks, state: 'closed', owed: 150n }]
    },
    { state: await freshState(new Map([[SESSION, seen]])) },
  )
  t.same(o.calls, [`report ${SESSION}`, 'reconnect'])
  t.equal(o.paid(), 120n)
})

t.test('a session that began before it was watched is not signed, and that is told', async (t) => {
  const report = { nonce: 'n', sequence: 0 }
  const before = { countedFor: () => ({ received: 5n, sent: 0n, at: { received: 0n, sent: 0n } }) }
  for (const [name, readings, asks, told] of [
    ['too late', { countedFor: () => undefined }, { ...BASE, report }, 1],
    ['in time', before, { ...BASE, report }, 0],
    ['an operator that takes no reports', undefined, BASE, 0],
  ] as const) {
    const o = world()
    o.knobs.sessions = [asks]
    await live(o, 60_000, undefined, { interfaceName: 'lo', readings })
    t.equal(named(o).filter((event) => event === 'not-signed').length, told, name)
    t.same(
      o.usages.map((usage) => usage !== undefined),
      [readings === before],
      name,
    )
  }
})

t.test(
  'the last octets are counted: before the link goes, and before the end is told',
  async (t) => {
    const at = await readCounters('lo')
    for (const end of ['link', 'session'] as const) {
      const o = world()
      const { knobs, till } = o
      const state = await freshState(new Map(), 'lo')
      const stop = new AbortController()
      const octets = () => Number(state.seen.get(SESSION)?.meter?.received ?? 0)
      let before: number | undefined
      const lastly = async (): Promise<void> => {
        if (before !== undefined || state.current === undefined) return
        before = octets()
        await move(1_000_000)
        if (end === 'link') knobs.link = DOWN
        else knobs.sessions = [{ ...BASE, state: 'closed', owed: 90n }]
      }
      const ask = till.ask
      till.ask = async (timeoutMs) => {
        if (end === 'session') await lastly()
        return ask(timeoutMs)
      }
      const pause = async (ms: number): Promise<void> => {
        knobs.nowMs += ms
        if (before !== undefined) stop.abort()
        else if (end === 'link') await lastly()
      }
      const readings = { countedFor: () => ({ received: 0n, sent: 0n, at }) }
      const more = { state, interfaceName: 'lo', readings, pause, signal: stop.signal }
      await live(o, 60_000, undefined, more)
      t.ok(octets() - (before ?? 0) >= 1_000_000, end)
    }
  },
)

t.test('one session only: it ends with it, its debt paid', async (t) => {
  const o = world()
  const refused = world()
  const close = (since: number): void => {
    if (since < 61_000) return
    for (const { knobs } of [o, refused])
      knobs.sessions = [{ ...BASE, state: 'closed', owed: 150n }]
  }
  const more = { sessionId: SESSION, control: undefined, roaming: undefined }
  t.equal(await live(o, 300_000, close, more), 'session-over')
  t.equal(o.paid(), 150n)
  refused.knobs.sessions = [BASE]
  const policy = { ...DEFAULT_POLICY, debtMax: 1n }
  t.equal(await live(refused, 300_000, close, { ...more, policy }), 'session-over')
  t.ok(named(refused).includes('debt-refused'), 'a debt that is not paid is told of')
})

t.test('money runs low: it tops up once, in time', async (t) => {
  const o = world()
  o.knobs.deposit = 150n
  const policy = { ...DEFAULT_POLICY, topUp: 1_000n, topUpBelow: 100n }
  await live(o, 300_000, undefined, { policy })
  t.equal(named(o).filter((event) => event === 'topped-up').length, 1)
  t.equal(o.knobs.deposit, 1_150n)
  t.equal(o.paid(), 300n)
  const poor = world()
  poor.knobs.deposit = 150n
  await live(poor, 300_000)
  t.equal(poor.paid(), 120n)
  t.match(
    poor.events.find(({ event }) => event === 'stopped-paying'),
    { why: 'escrow-empty' },
  )
})

t.test('nobody watches the link, and the old session has no end: the newest is paid', async (t) => {
  const o = world()
  const NEWER = 'b'.repeat(32)
  const paidFor = new Set<string>()
  const { pay } = o.till
  o.till.pay = (session, ...more) => {
    if (o.knobs.nowMs > START_MS + 150_000) paidFor.add(session)
    return pay(session, ...more)
  }
  await live(
    o,
    400_000,
    (since) => {
      if (since < 100_000 || o.knobs.sessions.length > 1) return
      const newer = { ...BASE, id: NEWER, startedAtMs: o.knobs.nowMs }
      o.knobs.sessions = [BASE, newer]
    },
    { control: undefined, roaming: undefined },
  )
  t.same([...paidFor], [NEWER])
  t.same(without(named(o), 'paid', 'due'), ['session', 'session-over', 'session'], 'once')
})

t.test('which operator is paid, the link says', async (t) => {
  const asked = new Set<number>()
  const o = world()
  const tillOf = async (operatorId: number) => {
    asked.add(operatorId)
    if (operatorId === 3) throw new DeviceError('usage', 'not enrolled with operator 3')
    return { till: o.till, to: payingTo('http://x') }
  }
  const LINKS: [string, number][] = [
    ['', 1],
    ['datanet:2', 2],
    ['datanet:3', 3],
  ]
  for (const [idText, operatorId] of LINKS) {
    o.knobs.link = { ...UP, idText }
    asked.clear()
    await live(o, o.knobs.nowMs - START_MS + 10_000, undefined, { tillOf })
    t.same([...asked], [operatorId], idText)
  }
  t.match(o.events.at(-1), { event: 'failed', what: 'operator' }, 'and one nobody knows is told')
})

t.test('the link goes and comes: told each time, and paid while it is there', async (t) => {
  const o = world()
  await live(o, 300_000, (since) => {
    o.knobs.link = since > 70_000 && since < 100_000 ? DOWN : UP
  })
  t.same(without(named(o), 'paid', 'due'), [
    ...['connected', 'session', 'disconnected', 'connected', 'session'],
  ])
  t.equal(o.paid(), 300n)
})
