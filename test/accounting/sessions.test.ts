import fc from 'fast-check'
import t from 'tap'
import { createSessions, type Session, type SessionEnd } from '../../accounting/sessions.ts'
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

t.test('simulation: sums by account equal a naive recount after every step', async (t) => {
  const step = fc.record({
    open: fc.boolean(),
    account: fc.integer({ min: 1, max: 3 }),
    station: fc.integer({ min: 1, max: 3 }),
    nas: fc.constantFrom('a', 'b'),
    reserve: fc.bigInt(0n, 100n),
  })
  const property = fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const live = new Map<string, Session>()
    const sessions = createSessions(1_000, (ended) => {
      if (!live.delete(ended.id)) throw new Error('ended twice')
    })
    steps.forEach((s, i) => {
      const next = session(String(i), {
        account: accountOf(s.account),
        station: `s${s.station}`,
        nas: s.nas,
        reserve: s.reserve,
      })
      if (s.open) {
        sessions.open(next)
        sessions.confirm(next.id)
        live.set(next.id, next)
      } else {
        const first = sessions.ofAccount(next.account)[0]
        if (first !== undefined) sessions.close(first.id, 'stopped')
      }
      for (const n of [1, 2, 3]) {
        const own = [...live.values()].filter((l) => l.account === accountOf(n))
        const sum = own.reduce((total, l) => total + l.reserve, 0n)
        const seen = sessions.others(accountOf(n), 'none', 'none')
        if (seen.count !== own.length || seen.reserved !== sum) throw new Error('sums differ')
      }
    })
    return sessions.size === live.size
  })
  t.doesNotThrow(() => fc.assert(property, { seed: 3 }))
})
