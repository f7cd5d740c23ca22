// At which reading of the interface a session's count begins, so that it is never less than was
// used; and what the device says of a session that it saw too late.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { Counters } from '../../device/meter.ts'
import { countedIn, readSeen, writeSeen } from '../../device/own-sessions.ts'
import { countedSince, type Reading, watchInterface } from '../../device/readings.ts'
import { freshState, type RunState, remember, sample } from '../../device/run-state.ts'
import { readSessions } from '../../device/session-view.ts'
import { SESSION, sessionJson } from './payer-double.ts'
import { move } from './traffic.ts'

const at = (received: bigint, sent = 0n): Counters => ({ received, sent })
const read = (atMs: number, received: bigint, isLinkUp = false): Reading => ({
  ...{ counters: at(received), atMs, isLinkUp },
})
const BEFORE = [read(1_000, 10n), read(2_000, 20n), read(3_000, 40n)]

const STARTS: readonly [string, Reading[], startMs: number, octets: bigint | undefined][] = [
  ['nothing was read', [], 5_000, undefined],
  ['all was read later', BEFORE, 999, undefined],
  ['the last reading before', BEFORE, 2_999, 20n],
  ['… or at its start', BEFORE, 2_000, 20n],
  ['nothing since', BEFORE, 9_000, 0n],
  ['began again at zero between', [...BEFORE, read(4_000, 3n), read(5_000, 50n)], 2_000, 70n],
  ['from when the link came up', [...BEFORE, read(3_500, 45n, true), read(4_000, 60n)], 2_500, 15n],
  ['… for this session, not another', [...BEFORE, read(3_500, 45n, true)], 3_600, 0n],
  ['… nor one before it', [read(500, 1n, true), ...BEFORE], 3_000, 0n],
  ['… nor one much later', [read(500, 1n), ...BEFORE, read(4_001, 45n, true)], 1_000, 35n],
  [
    'the first of two links',
    [...BEFORE, read(4_000, 50n, true), read(4_500, 70n, true)],
    3_800,
    20n,
  ],
]

t.test('the count of a session begins', async (t) => {
  for (const [name, readings, startMs, octets] of STARTS) {
    t.equal(countedSince(readings, startMs)?.received, octets, name)
  }
})

t.test('an interface is read each second, for a minute, and while it is there', async (t) => {
  let [nowMs, received, isThere] = [0, 0n, true]
  const counters = async () => (isThere ? at(received) : undefined)
  const readings = await watchInterface('any0', counters, () => nowMs)
  t.teardown(readings.close)
  ;[nowMs, received] = [1_000, 5n]
  while (readings.countedFor(1_000)?.received !== 5n) await sleep(100)
  t.match(readings.countedFor(0), { received: 0n, at: at(5n) }, 'without being asked to')
  t.equal(readings.countedFor(1_001), undefined)
  readings.close()
  isThere = false
  nowMs = 2_000
  await readings.take(false)
  t.match(readings.countedFor(0), { at: at(5n) }, 'what is not there leaves a gap')
  isThere = true
  for (nowMs = 3_000; nowMs < 70_000; nowMs += 1_000) await readings.take(false)
  t.equal(readings.countedFor(60_001), undefined)
  t.ok(readings.countedFor(60_000))
})

const MB = 1_000_000
const [VIEW] = readSessions({ sessions: [sessionJson({ inputOctets: '7', outputOctets: '0' })] })
if (VIEW === undefined) throw new Error('no session')

async function stateOf(o: Partial<RunState> = {}, interfaceName = 'lo'): Promise<RunState> {
  return Object.assign(await freshState(new Map(), interfaceName), { current: SESSION, ...o })
}
const saidOf = ({ seen }: RunState): bigint | undefined => countedIn(seen.get(SESSION))?.received

t.test('a session first seen 10 MB late: signed with them, or not signed at all', async (t) => {
  let nowMs = 0
  const readings = await watchInterface('lo', undefined, () => nowMs)
  t.teardown(readings.close)
  readings.close()
  await move(10 * MB)
  nowMs = 8_000
  await readings.take(false)
  const lo = { interfaceName: 'lo', readings }
  for (const [name, counting, isSigned] of [
    ['watched from before its start', { ...lo, ageMostMs: 7_000 }, true],
    ['it began before that', { ...lo, ageMostMs: 8_001 }, false],
    ['nobody says when it began', { ...lo, ageMostMs: undefined }, false],
    ['nothing was read before', { ...lo, readings: undefined, ageMostMs: 7_000 }, false],
  ] as const) {
    const state = await stateOf()
    await remember(state, VIEW, counting, 1_000)
    await move(5 * MB)
    await sample(state, 'lo', 2_000)
    if (isSigned) t.ok((saidOf(state) ?? 0n) >= BigInt(15 * MB), name)
    else {
      t.equal(saidOf(state), undefined, name)
      const bound = state.seen.get(SESSION)?.meter?.received ?? 0n
      t.ok(bound >= BigInt(5 * MB) + 7n, `${name}: a bound for the payer all the same`)
    }
  }
})

t.test('after a restart: the same session goes on, one that went on unseen does not', async (t) => {
  const place = mkdtempSync(join(tmpdir(), 'datanet-readings-'))
  t.teardown(() => rmSync(place, { recursive: true, force: true }))
  const counting = { interfaceName: 'lo', ageMostMs: 0 }
  const readings = await watchInterface('lo')
  readings.close()
  const first = await stateOf()
  await remember(first, VIEW, { ...counting, readings }, 1_000)
  t.ok(saidOf(first) !== undefined)
  await writeSeen(place, first.seen)
  const seen = await readSeen(place)
  const late = await stateOf({ seen: new Map(seen) })
  t.equal(saidOf(late), undefined, 'it may have used more since')
  for (const [state, isSigned] of [
    [late, true],
    [await stateOf({ seen: new Map(seen), boot: 'another lo' }), false],
    [await stateOf({ seen: new Map(seen) }, 'eth7'), false],
  ] as const) {
    await remember(state, VIEW, { ...counting, readings: undefined }, 2_000)
    await sample(state, 'lo', 3_000)
    t.equal(saidOf(state) !== undefined, isSigned, state.boot)
  }
  const path = join(place, 'sessions.json')
  writeFileSync(path, readFileSync(path, 'utf8').replace('"isFromStart": true,', ''))
  const old = await stateOf({ seen: await readSeen(place) })
  await remember(old, VIEW, { ...counting, readings: undefined }, 2_000)
  await sample(old, 'lo', 3_000)
  t.equal(saidOf(old), undefined, 'a file of an older version does not say')
})
