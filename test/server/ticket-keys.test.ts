// The file of session ticket keys: made once, moved on, shared, and what is said of a bad one.

import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { advance, EPOCH_SECONDS, ticketKeys } from '../../eap/ticket-keys.ts'
import { readConfig } from '../../server/config-source.ts'
import { EXIT_CONFIGURATION } from '../../server/explain.ts'
import { createTicketKeyFile } from '../../server/ticket-keys.ts'
import { runtime } from './http-rig.ts'

const START = 41_000 * EPOCH_SECONDS
const EPOCH_MS = EPOCH_SECONDS * 1000

/** Servers on one folder, each with randomness of its own. */
function rig(t: Test) {
  const directory = t.testdir({})
  const path = join(directory, 'ticket-keys.json')
  const lines: Record<string, unknown>[] = []
  const log = pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) })
  const clock = { nowMs: START * 1000 }
  const open = (seed: string) => {
    let drawn = 0
    const random = (length: number) =>
      createHash('sha512').update(`${seed} ${drawn++}`).digest().subarray(0, length)
    return createTicketKeyFile({ autoPath: path, now: () => clock.nowMs, random, log })
  }
  const held = () => JSON.parse(readFileSync(path, 'utf8'))
  return { directory, path, lines, clock, open, held }
}

t.test('made at the first call, for its owner only, and the same for every server', async (t) => {
  const { directory, path, open, held } = rig(t)
  const keys = open('a').keys('auto')
  t.same(
    keys.map(({ length }) => length),
    [80, 80],
  )
  t.same(open('b').keys('auto'), keys)
  t.same(open('c').keys(path), keys, 'named or not')
  t.equal(statSync(path).mode & 0o777, 0o600)
  t.match(held(), { epoch: 40_999, secret: /^[0-9a-f]{64}$/ })
  t.same(readdirSync(directory), ['ticket-keys.json'], 'nothing else is left')
})

t.test('who comes second to make it takes what the first one made', async (t) => {
  const { path, open, directory } = rig(t)
  const other = { epoch: 40_999, secret: 'ab'.repeat(32) }
  const late = createTicketKeyFile({
    autoPath: path,
    now: () => START * 1000,
    log: pino({ enabled: false }),
    random(length) {
      // Between the look and the making, another process was faster.
      writeFileSync(path, JSON.stringify(other))
      return Buffer.alloc(length, 1)
    },
  })
  const keys = late.keys('auto')
  t.same(JSON.parse(readFileSync(path, 'utf8')), other)
  t.same(open('b').keys('auto'), keys)
  t.same(readdirSync(directory), ['ticket-keys.json'])
})

t.test('moved on with time, whoever does it; no secret older than the epoch before', async (t) => {
  const { directory, open, clock, held } = rig(t)
  const [a, b] = [open('a'), open('b')]
  const [current, previous] = a.keys('auto')
  const { secret } = held()
  clock.nowMs += EPOCH_MS
  const [next, then] = b.keys('auto')
  t.same(then, current)
  t.notSame(next, current)
  t.equal(held().epoch, 41_000)
  t.not(held().secret, secret, 'the old secret is gone')
  t.same(a.keys('auto'), [next, then])
  clock.nowMs += 5 * EPOCH_MS
  t.notOk(a.keys('auto').some((key) => [next, current, previous].some((old) => old?.equals(key))))
  t.equal(held().epoch, 41_005)
  t.same(readdirSync(directory), ['ticket-keys.json'])
})

t.test('a clock that steps back changes nothing', async (t) => {
  const { open, clock, held, lines } = rig(t)
  clock.nowMs += 3 * EPOCH_MS
  const keys = open('a').keys('auto')
  const before = held()
  clock.nowMs -= EPOCH_MS
  const other = open('b')
  t.same(other.keys('auto'), keys)
  t.same(lines, [], 'another server may be a little ahead')
  clock.nowMs -= 30 * EPOCH_MS
  for (let n = 0; n < 3; n++) t.same(other.keys('auto'), keys)
  t.same(held(), before)
  t.match(lines, [{ msg: /ahead of the clock/ }], 'said once')
})

t.test(
  'a file that is none: a start error that says what to do, without its contents',
  async (t) => {
    const secret = 'cd'.repeat(32)
    const texts = [
      '',
      '{',
      'null',
      '[]',
      `{"secret":"${secret}"`,
      JSON.stringify({ epoch: 1.5, secret }),
      JSON.stringify({ epoch: '1', secret }),
      JSON.stringify({ epoch: 41_000, secret: secret.slice(2) }),
      JSON.stringify({ epoch: 41_000, secret: secret.toUpperCase() }),
      JSON.stringify({ epoch: 41_000 }),
      JSON.stringify({ epoch: -60_000, secret }),
      JSON.stringify({ epoch: -1e15, secret }),
    ]
    for (const text of texts) {
      const { path, open } = rig(t)
      writeFileSync(path, text)
      try {
        open('a').keys('auto')
        t.fail(`taken: ${text}`)
      } catch (error) {
        const { message, exitCode, cause } = error as Error & { exitCode: number }
        t.match(message, /eap\.ticket_keys: .*ticket-keys\.json is no file.*remove it/, text)
        t.equal(exitCode, EXIT_CONFIGURATION)
        t.notMatch(`${message} ${cause}`, /cdcd/, 'no secret is repeated')
      }
      t.equal(readFileSync(path, 'utf8'), text, 'left as it was')
    }
    const { directory, open } = rig(t)
    t.throws(() => open('a').keys(directory), { exitCode: EXIT_CONFIGURATION, message: /EISDIR/ })
    const nowhere = join(directory, 'no', 'such', 'folder')
    t.throws(() => open('a').keys(nowhere), { exitCode: EXIT_CONFIGURATION, message: /ENOENT/ })
  },
)

t.test(
  'where it can not be moved on the keys are right all the same, and it is said',
  async (t) => {
    const { path, open, clock, lines, held } = rig(t)
    open('a').keys('auto')
    // Something is in the way of the new file: a folder under the name it is to get.
    const before = held()
    clock.nowMs += EPOCH_MS
    const link = { epoch: before.epoch, secret: Buffer.from(before.secret, 'hex') }
    const expected = ticketKeys(advance(link, clock.nowMs / 1000))
    const blocked = createTicketKeyFile({
      ...{ autoPath: path, now: () => clock.nowMs, random: () => Buffer.alloc(8, 1) },
      log: pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) }),
    })
    mkdirSync(`${path}.${'01'.repeat(8)}`)
    for (let n = 0; n < 3; n++) t.same(blocked.keys('auto'), expected)
    t.match(lines, [{ msg: 'old session ticket keys could not be removed' }])
    t.same(held(), before)
  },
)

t.test('the engine in use gets new keys as time goes on; a bad file is told once', async (t) => {
  const { path, open, clock, lines } = rig(t)
  const file = open('a')
  const given: (readonly Buffer[])[] = []
  const setTicketKeys = (keys: readonly Buffer[]) => void given.push(keys)
  const rules = { ...runtime.rules, engine: { ...runtime.rules.engine, setTicketKeys } }
  const look = watched(() => file.follow(() => ({ config: runtime.config, rules })))
  look()
  look()
  t.same(given, [file.keys('auto'), file.keys('auto')])
  clock.nowMs += EPOCH_MS
  look()
  t.same(given[2], file.keys('auto'))
  t.notSame(given[2], given[1])
  writeFileSync(path, 'broken')
  look()
  look()
  t.equal(given.length, 3, 'the engine keeps what it has')
  t.match(lines, [{ msg: 'no new session ticket keys', reason: /remove it/ }])
})

t.test('a named file lies where the configuration does', async (t) => {
  const directory = t.testdir({
    'datanet.yaml': `operator: { name: Corner }
eap: { resumption: true, ticket_keys: keys/shared.json }
clients: [{ name: lobby, ipaddr: 192.0.2.10, secret: ${'a1B2c3D4e5F6'.repeat(2)} }]
tariffs: { standard: { per_minute: "0.001", per_megabyte: "0.004" } }
`,
  })
  const read = readConfig(join(directory, 'datanet.yaml'))
  if ('problems' in read) throw new Error(JSON.stringify(read.problems))
  t.equal(read.config.eap.ticketKeys, join(directory, 'keys', 'shared.json'))
})

/** What the one timer that `begin` sets would do, without waiting for it; it is stopped. */
function watched(begin: () => () => void): () => void {
  const real = globalThis.setInterval
  let callback: () => void = () => undefined
  globalThis.setInterval = ((run: () => void, ms: number) => {
    callback = run
    return real(() => undefined, ms)
  }) as typeof setInterval
  try {
    begin()()
  } finally {
    globalThis.setInterval = real
  }
  return () => callback()
}
