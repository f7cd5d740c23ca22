// Group commit against a store the test plays: who shares a transaction, what a failure does, and
// that nothing is ever lost, reordered or given twice, whatever happens when.

import t from 'tap'
import { type Committer, createCommitter, type Schedule } from '../../accounting/committer.ts'
import type { Changes } from '../../accounting/session.ts'
import { StorageError } from '../../accounting/storage.ts'
import { seeded } from '../sim/random.ts'
import * as f from './store-fixtures.ts'

const FULL = new StorageError('disk-full', 'the disk is full')
const LOCKED = new StorageError('locked', 'the store is locked')

/** How long who can wait does. */
const SHARED_MS = 4

/** Lets everything happen that needs no clock. */
const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve()
}

/** A ledger of numbers, a store that the test answers for, and time the test moves. */
function rig(o: { retryMs?: number } = {}) {
  let pending: number[] = []
  const asked: { numbers: number[]; changes: Changes; answer(error?: Error): Promise<void> }[] = []
  const stored: number[] = []
  const said: string[] = []
  const timers: { work: () => void; ms: number; cancelled: boolean }[] = []
  const schedule: Schedule = (work, ms) => {
    const timer = { work, ms, cancelled: false }
    timers.push(timer)
    return {
      cancel() {
        timer.cancelled = true
      },
    }
  }
  const committer: Committer = createCommitter({
    ledger: {
      drain() {
        const journal = pending.map((n) => f.entryNumber(n))
        pending = []
        return { ...f.EMPTY, journal }
      },
    },
    storage: {
      commit(changes) {
        const numbers = changes.journal.map(({ amount }) => Number(amount))
        return new Promise<void>((resolve, reject) => {
          asked.push({
            ...{ numbers, changes },
            async answer(error) {
              if (error === undefined) {
                stored.push(...numbers)
                resolve()
              } else {
                reject(error)
              }
              await settle()
            },
          })
        })
      },
    },
    onError: (error) => said.push(error.code),
    onRecovered: () => said.push('recovered'),
    ...o,
    schedule,
  })
  return {
    ...{ committer, asked, stored, said, timers },
    change: (...numbers: number[]) => pending.push(...numbers),
    pending: () => pending,
    /** The next timer of this delay that was not cancelled fires; false: there is none. */
    async fire(ms: number): Promise<boolean> {
      const index = timers.findIndex((timer) => timer.ms === ms && !timer.cancelled)
      const [timer] = index === -1 ? [] : timers.splice(index, 1)
      timer?.work()
      await settle()
      return timer !== undefined
    },
    /** `pending`, `done` or the code of the error, of each. */
    async states(...promises: Promise<void>[]): Promise<string[]> {
      const open = new Promise<string>((resolve) => setImmediate(() => resolve('pending')))
      return Promise.all(
        promises.map((promise) =>
          Promise.race([
            promise.then(
              () => 'done',
              (error) => error.code ?? `${error}`,
            ),
            open,
          ]),
        ),
      )
    },
  }
}

t.test('all of one turn share a transaction', async (t) => {
  const { committer, change, fire, asked, states } = rig()
  change(1)
  const one = committer.durable()
  change(2, 3)
  const two = committer.durable()
  t.same(await states(one, two), ['pending', 'pending'])
  t.ok(await fire(0))
  t.equal(asked.length, 0, 'the turn brought more: the next may too')
  t.ok(await fire(0))
  t.same(
    asked.map(({ numbers }) => numbers),
    [[1, 2, 3]],
  )
  await asked[0]?.answer()
  t.same(await states(one, two), ['done', 'done'])
  t.notOk(await fire(0), 'and nothing else is planned')
})

t.test('turns that bring more are waited for, but not for ever', async (t) => {
  const { committer, change, fire, asked } = rig()
  let turns = 0
  for (; turns < 100 && asked.length === 0; turns++) {
    change(turns)
    committer.durable().catch(() => {})
    change(turns)
    committer.durable().catch(() => {})
    await fire(0)
  }
  t.equal(turns, 8, 'committed')
  t.equal(asked[0]?.numbers.length, 16, 'all of them')
  await asked[0]?.answer()
})

t.test('those who come while a commit runs share the next', async (t) => {
  const { committer, change, fire, asked, states } = rig()
  change(1)
  const one = committer.durable()
  await fire(0)
  change(2)
  const two = committer.durable()
  change(3)
  const three = committer.durable()
  t.notOk(await fire(0), 'not before the first is over')
  await asked[0]?.answer()
  t.same(await states(one, two, three), ['done', 'pending', 'pending'])
  t.ok(await fire(0))
  t.same(asked[1]?.numbers, [2, 3])
  await asked[1]?.answer()
  t.same(await states(two, three), ['done', 'done'])
})

t.test('who can wait shares the commit of who comes later', async (t) => {
  const { committer, change, fire, asked, states } = rig()
  change(1)
  const patient = committer.durable(true)
  t.notOk(await fire(0), 'not with the next turn')
  change(2)
  const another = committer.durable(true)
  t.ok(await fire(SHARED_MS))
  t.same(asked[0]?.numbers, [1, 2])
  change(3)
  const third = committer.durable(true)
  await asked[0]?.answer()
  t.same(await states(patient, another, third), ['done', 'done', 'pending'])
  t.notOk(await fire(0))
  change(4)
  const hurried = committer.durable()
  t.notOk(await fire(SHARED_MS), 'its timer is off')
  t.ok(await fire(0))
  t.same(asked[1]?.numbers, [3, 4])
  await asked[1]?.answer()
  t.same(await states(third, hurried), ['done', 'done'])
})

t.test('one in a hurry while a commit runs: the next follows at once', async (t) => {
  const { committer, change, fire, asked, states } = rig()
  change(1)
  committer.durable().catch(() => {})
  await fire(0)
  change(2)
  const patient = committer.durable(true)
  const hurried = committer.durable()
  await asked[0]?.answer()
  t.ok(await fire(0))
  t.same(asked[1]?.numbers, [2])
  await asked[1]?.answer()
  t.same(await states(patient, hurried), ['done', 'done'])
})

t.test('nothing to write: no transaction', async (t) => {
  const { committer, fire, asked, states } = rig()
  const nothing = committer.durable()
  await fire(0)
  t.same(await states(nothing), ['done'])
  t.equal(asked.length, 0)
})

t.test('nothing new, but a commit runs: its end is waited for', async (t) => {
  const { committer, change, fire, asked, states } = rig()
  change(1)
  const one = committer.durable()
  await fire(0)
  const late = committer.durable()
  t.same(await states(late), ['pending'])
  await asked[0]?.answer(FULL)
  t.same(
    await states(one, late),
    ['disk-full', 'disk-full'],
    'what it asked for may be in that one',
  )
})

t.test('a failure: kept, tried again as the same value, and before what is newer', async (t) => {
  const { committer, change, fire, asked, stored, said, states, pending } = rig({ retryMs: 70 })
  change(1)
  const one = committer.durable()
  await fire(0)
  await asked[0]?.answer(FULL)
  t.same(await states(one), ['disk-full'])
  t.equal(committer.failed(), FULL)
  change(2)
  t.same(await states(committer.durable()), ['disk-full'], 'refused at once')
  t.same(pending(), [2], 'the ledger keeps what is newer')
  await fire(70)
  await asked[1]?.answer(FULL)
  await fire(70)
  await asked[2]?.answer(LOCKED)
  t.same(said, ['disk-full', 'locked'], 'each error is told once')
  await fire(70)
  t.equal(asked[3]?.changes, asked[0]?.changes, 'the very same value')
  change(3)
  await asked[3]?.answer()
  t.equal(committer.failed(), LOCKED, 'not before everything is durable')
  t.same(asked[4]?.numbers, [2, 3])
  await asked[4]?.answer()
  t.equal(committer.failed(), undefined)
  t.same(said, ['disk-full', 'locked', 'recovered'])
  t.same(stored, [1, 2, 3])
  t.notOk(await fire(70))
  change(4)
  const four = committer.durable()
  await fire(0)
  await asked[5]?.answer()
  t.same(await states(four), ['done'])
})

t.test('an error that is no StorageError stops the money as well', async (t) => {
  const { committer, change, fire, asked, states, said } = rig()
  change(1)
  const one = committer.durable()
  await fire(0)
  await asked[0]?.answer(new TypeError('a fault of ours'))
  t.same(await states(one), ['failed'])
  t.match(committer.failed(), { code: 'failed', message: /a fault of ours/ })
  t.same(said, ['failed'])
  t.ok(await fire(1_000), 'tried again after a second')
})

t.test('close makes the last ones durable', async (t) => {
  const { committer, change, fire, asked, states, stored } = rig()
  change(1)
  const one = committer.durable()
  await fire(0)
  change(2)
  const two = committer.durable()
  const closed = committer.close()
  t.same(await states(closed), ['pending'])
  await asked[0]?.answer()
  await asked[1]?.answer()
  t.same(await states(one, two, closed), ['done', 'done', 'done'])
  t.same(stored, [1, 2])
  t.same(await states(committer.durable()), ['failed'], 'and nothing comes after it')
  t.notOk((await fire(0)) || (await fire(1_000)))
})

t.test('close with a store that fails says so, after one attempt', async (t) => {
  const { committer, change, fire, asked, states } = rig()
  change(1)
  const one = committer.durable()
  await fire(0)
  await asked[0]?.answer(FULL)
  const closed = committer.close()
  await settle()
  await asked[1]?.answer(FULL)
  t.same(await states(one, closed), ['disk-full', 'disk-full'])
  t.notOk(await fire(1_000), 'no timer is left')
})

t.test('with the real clock: a failing store is tried again by itself', async (t) => {
  let failures = 3
  const written: number[] = []
  const queue = [1, 2]
  const recovered = Promise.withResolvers<void>()
  const committer = createCommitter({
    ledger: {
      drain: () => ({ ...f.EMPTY, journal: queue.splice(0).map((n) => f.entryNumber(n)) }),
    },
    storage: {
      async commit({ journal }) {
        if (failures-- > 0) throw FULL
        written.push(...journal.map(({ amount }) => Number(amount)))
      },
    },
    ...{ onError: () => {}, onRecovered: recovered.resolve, retryMs: 5 },
  })
  await t.rejects(committer.durable(), { code: 'disk-full' })
  queue.push(3)
  await recovered.promise
  t.same(written, [1, 2, 3])
  await committer.close()
})

t.test('whatever happens when: once each, in order, and never told too early', async (t) => {
  for (let round = 0; round < 200; round++) {
    const seed = `committer ${round}`
    const { below, chance } = seeded(seed)
    const { committer, change, fire, asked, stored } = rig({ retryMs: 70 })
    let last = 0
    let answered = 0
    const wrong: string[] = []
    for (let step = 0; step < 60; step++) {
      const what = below(6)
      if (what < 3) {
        for (let more = below(3); more > 0; more--) change(++last)
        const wanted = last
        committer.durable().then(
          () => {
            if (stored.length < wanted) wrong.push(`${wanted} told, ${stored.length} stored`)
          },
          () => {},
        )
      } else if (what === 3) {
        await fire(chance(0.5) ? 0 : 70)
      } else if (answered < asked.length) {
        await asked[answered++]?.answer(chance(0.3) ? FULL : undefined)
      }
      if (asked.length > answered + 1) wrong.push('two commits at once')
    }
    const closed = committer.close()
    for (let idle = 0; idle < 10; idle++) {
      await settle()
      while (answered < asked.length) await asked[answered++]?.answer()
    }
    await closed
    const wanted = Array.from({ length: last }, (_, index) => index + 1)
    t.same({ wrong, stored }, { wrong: [], stored: wanted }, `seed ${seed}`)
  }
})
