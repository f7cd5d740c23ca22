import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { createTurns } from '../../server/turns.ts'

const busy = (ms: number): void => {
  const endsAt = performance.now() + ms
  while (performance.now() < endsAt);
}

t.test('a long list gives way to others, a short one is done at once', async (t) => {
  const forEachInTurns = createTurns()
  const numbers = Array.from({ length: 40 }, (_, i) => i)
  const seen: number[] = []
  let others = 0
  const working = forEachInTurns(numbers, (n) => {
    busy(1)
    seen.push(n)
  })
  while (seen.length < numbers.length) {
    await nextTurn()
    others += 1
  }
  await working
  t.same(seen, numbers, 'in order')
  t.ok(others >= 10, `others came ${others} times meanwhile`)
  const short: number[] = []
  forEachInTurns([1, 2, 3], (n) => short.push(n)).catch(t.threw)
  t.same(short, [1, 2, 3])
})

t.test('two long lists take turns one after the other; a failed one stops no other', async (t) => {
  const forEachInTurns = createTurns()
  const numbers = Array.from({ length: 20 }, (_, i) => i)
  const order: string[] = []
  const work = (name: string) =>
    forEachInTurns(numbers, (n) => {
      busy(0.5)
      if (name === 'b' && n === 10) throw new Error('b fails')
      if (n === 0 || n === 19) order.push(`${name}${n}`)
    })
  const results = await Promise.allSettled([work('a'), work('b'), work('c')])
  t.same(
    results.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  )
  t.same(order, ['a0', 'a19', 'b0', 'c0', 'c19'])
})
