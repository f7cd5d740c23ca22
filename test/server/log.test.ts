import t from 'tap'
import { rateLimited } from '../../server/log.ts'

t.test('X6: one line per key and a bounded number of lines in an interval', async (t) => {
  const lines: [string, number][] = []
  const limit = rateLimited(10_000, 3)
  const say = (key: string, nowMs: number): void => {
    limit(key, nowMs, (suppressed) => lines.push([key, suppressed]))
  }
  for (let i = 0; i < 5; i++) say('a', i)
  say('b', 5)
  t.same(
    lines,
    [
      ['a', 0],
      ['b', 4],
    ],
    'repetitions are counted, and told with the next line',
  )
  for (let i = 0; i < 200_000; i++) say(`spoofed ${i}`, 6)
  t.equal(lines.length, 3, 'a flood of sources gets the rest of the lines, no more')
  say('a', 10_000)
  t.same(lines.at(-1), ['a', 199_999], 'the next interval begins with how many were held back')
})
