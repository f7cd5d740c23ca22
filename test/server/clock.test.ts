// The clock of the books, and what would happen to payers without it when the wall clock is set.

import t from 'tap'
import { createBooksClock } from '../../server/clock.ts'
import { accountOf, emptyLedger, idOf, newSession, voucher } from '../accounting/books.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const START_MS = 1_800_000_000_000

/** A machine whose wall clock may be set; `passed` can't. */
function machine() {
  const world = { wallMs: START_MS, passedMs: 12_345.678 }
  const clock = createBooksClock(
    () => world.wallMs,
    () => world.passedMs,
  )
  return {
    ...{ world, clock },
    pass(ms: number): void {
      world.wallMs += ms
      world.passedMs += ms
    },
  }
}

t.test('it begins with the time of day and goes on by what has passed', async (t) => {
  const { clock, pass, world } = machine()
  t.equal(clock.now(), START_MS)
  pass(1_500)
  t.equal(clock.now(), START_MS + 1_500)
  world.wallMs += HOUR
  t.equal(clock.now(), START_MS + 1_500, 'set forward')
  world.wallMs -= 2 * HOUR
  pass(0.4)
  t.equal(clock.now(), START_MS + 1_500, 'set back; whole milliseconds')
})

t.test('books that were ahead at a restart do not go back', async (t) => {
  const { clock, pass } = machine()
  clock.raise(START_MS - 1)
  t.equal(clock.now(), START_MS)
  clock.raise(START_MS + HOUR)
  t.equal(clock.now(), START_MS + HOUR)
  pass(7)
  t.equal(clock.now(), START_MS + HOUR + 7)
})

t.test('a clock set an hour forward cuts nobody who pays', async (t) => {
  const { clock, pass, world } = machine()
  const ledger = emptyLedger()
  ledger.begin(newSession(1, { endsAtMs: START_MS + 12 * HOUR }), clock.now())
  ledger.confirm(idOf(1), clock.now())
  let amount = 0n
  const minute = (): number => {
    amount += 100n
    ledger.pay(voucher(1, amount), idOf(1), clock.now())
    pass(MINUTE)
    return ledger.advance(clock.now()).cut.length
  }
  t.equal(minute(), 0)
  world.wallMs += HOUR
  t.equal(minute(), 0)
  world.wallMs -= 3 * HOUR
  t.equal(minute(), 0)
  t.match(ledger.session(idOf(1)), { state: 'current', judged: 3, missed: 0 })
  t.equal(ledger.account(accountOf(1))?.cuts, 0)
})
