import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import {
  createSessions,
  placeOf,
  type Session,
  type SessionEnd,
} from '../../accounting/sessions.ts'
import { type Address, parseAddress } from '../../ethereum/address.ts'

const accountOf = (n: number): Address => {
  const account = parseAddress(`0x${n.toString(16).padStart(40, '0')}`)
  if (account === undefined) throw new Error('account')
  return account
}
const session = (id: string, change: Partial<Session> = {}): Session => ({
  id,
  account: accountOf(1),
  nas: 'lobby',
  station: `02-00-00-00-00-${id}`,
  tariff: 'standard',
  reserve: 10n,
  startedAtMs: 0,
  endsAtMs: 180_000,
  ...change,
})

t.test('reserves are summed by account, but for the session a newcomer replaces', async (t) => {
  const ends: [string, SessionEnd][] = []
  const sessions = createSessions(10, (s, why) => ends.push([s.id, why]))
  sessions.open(session('01'))
  sessions.open(session('02'))
  t.same(sessions.others(accountOf(1), 'lobby', 'elsewhere'), { count: 2, reserved: 20n })
  t.same(sessions.others(accountOf(1), 'lobby', session('01').station), { count: 1, reserved: 10n })
  t.same(sessions.others(accountOf(1), 'roof', session('01').station), { count: 2, reserved: 20n })
  t.same(sessions.others(accountOf(2), 'lobby', session('01').station), { count: 0, reserved: 0n })

  sessions.open(session('03', { station: session('01').station, reserve: 15n }))
  t.same(ends, [], 'the NAS serves the old one until it is told of the new one')
  t.same(sessions.others(accountOf(1), 'roof', ''), { count: 2, reserved: 25n }, 'one device')
  t.equal(sessions.confirm('03')?.id, '03')
  t.same(ends, [['01', 'replaced']])
  t.equal(sessions.get('01'), undefined)
  t.equal(sessions.confirm('03')?.id, '03', 'again changes nothing')
  t.equal(sessions.confirm('01'), undefined, 'ended')
  sessions.open(session('04', { account: accountOf(2), station: session('01').station }))
  sessions.confirm('04')
  t.equal(sessions.size, 3, 'another account at the same MAC address replaces nothing')

  t.equal(sessions.close('03', 'stopped')?.id, '03')
  t.equal(sessions.close('03', 'stopped'), undefined, 'a session ends once')
  t.equal(ends.length, 2)
})

t.test('sessions without a station never replace each other', async (t) => {
  const sessions = createSessions(10, () => {})
  sessions.open(session('01', { station: '' }))
  sessions.open(session('02', { station: '' }))
  sessions.confirm('02')
  t.equal(sessions.size, 2)
})

t.test(
  'a session outlives its Session-Timeout by a minute, for the re-authentication',
  async (t) => {
    const sessions = createSessions(10, () => {})
    sessions.open(session('01'))
    sessions.closeExpired(239_999)
    t.equal(sessions.size, 1)
    sessions.closeExpired(240_000)
    t.equal(sessions.size, 0)
  },
)

t.test('the table has a limit', async (t) => {
  const sessions = createSessions(2, () => {})
  sessions.open(session('01'))
  t.equal(sessions.full, false)
  sessions.open(session('02'))
  t.equal(sessions.full, true)
  t.throws(() => sessions.open(session('03')), RangeError)
})

/** Count and sum of an account, told anew from all that is open: a place counts once. */
function recount(live: Iterable<Session>, account: Address, nas: string, station: string) {
  const reserves = new Map<string, bigint>()
  for (const s of live) {
    if (s.account !== account) continue
    if (station !== '' && s.nas === nas && s.station === station) continue
    const known = reserves.get(placeOf(s)) ?? 0n
    reserves.set(placeOf(s), s.reserve > known ? s.reserve : known)
  }
  const reserved = [...reserves.values()].reduce((sum, reserve) => sum + reserve, 0n)
  return { count: reserves.size, reserved }
}

t.test('simulation: sums by account equal a naive recount after every step', async (t) => {
  const step = fc.record({
    do: fc.constantFrom('open', 'open and confirm', 'confirm', 'close', 'expire'),
    account: fc.integer({ min: 1, max: 3 }),
    station: fc.constantFrom('', 's1', 's2', 's3'),
    nas: fc.constantFrom('a', 'b'),
    reserve: fc.bigInt(0n, 100n),
    pick: fc.nat(10),
  })
  const property = fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const live = new Map<string, Session>()
    const sessions = createSessions(1_000, (ended) => {
      if (!live.delete(ended.id)) throw new Error('ended twice')
    })
    const confirm = (confirmed: Session): void => {
      sessions.confirm(confirmed.id)
      for (const other of live.values()) {
        if (other.account !== confirmed.account || other.id === confirmed.id) continue
        if (placeOf(other) === placeOf(confirmed)) throw new Error('two after a confirmation')
      }
    }
    for (const [i, { do: what, account, ...rest }] of steps.entries()) {
      const next = session(String(i), { ...rest, account: accountOf(account), endsAtMs: i })
      const open = sessions.ofAccount(next.account)
      const picked = open[rest.pick % Math.max(open.length, 1)]
      if (what.startsWith('open')) {
        sessions.open(next)
        live.set(next.id, next)
        if (what !== 'open') confirm(next)
      } else if (what === 'expire') {
        sessions.closeExpired(60_000 + i - 5)
      } else if (picked !== undefined) {
        if (what === 'confirm') confirm(picked)
        else sessions.close(picked.id, 'stopped')
      }
      for (const n of [1, 2, 3]) {
        for (const nas of ['a', 'b', 'none']) {
          for (const station of ['', 's1', 's2', 's3']) {
            const seen = sessions.others(accountOf(n), nas, station)
            const naive = recount(live.values(), accountOf(n), nas, station)
            if (!isDeepStrictEqual(seen, naive)) throw new Error('sums differ')
          }
        }
        const own = [...live.values()].filter((l) => l.account === accountOf(n))
        if (!isDeepStrictEqual(sessions.ofAccount(accountOf(n)), own)) throw new Error('order')
      }
    }
    return sessions.size === live.size
  })
  t.doesNotThrow(() => fc.assert(property, { seed: 3 }))
})
