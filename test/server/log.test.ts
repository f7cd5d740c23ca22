import t from 'tap'
import { createLog, rateLimited } from '../../server/log.ts'

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

t.test(
  'X9: what is called like a secret is cut out, of a line and of an error in it',
  async (t) => {
    const lines: string[] = []
    const log = createLog('info', { write: (line) => lines.push(line) })
    const names = ['secret', 'key', 'privateKey', 'msk', 'emsk', 'password', 'token', 'adminToken']
    for (const name of names) {
      log.info({ nas: 'lobby', [name]: 'hunter2' }, 'a line')
      log.error({ err: Object.assign(new Error('a fault'), { [name]: 'hunter2' }) }, 'a line')
      log.child({ [name]: 'hunter2' }).info('a line')
    }
    t.equal(lines.length, 3 * names.length)
    for (const line of lines) {
      t.notMatch(line, 'hunter2')
      t.match(line, '[secret]')
    }
    log.info({ nas: 'lobby', listening: { host: '::1', port: 1812 } }, 'ready')
    log.debug('not written')
    const { time, ...rest } = JSON.parse(lines.at(-1) ?? '')
    t.same(rest, {
      ...{ level: 'info', msg: 'ready', nas: 'lobby' },
      listening: { host: '::1', port: 1812 },
    })
    t.match(time, /^\d{4}-\d\d-\d\dT/)
  },
)
