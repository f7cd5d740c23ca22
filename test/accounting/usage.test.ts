import fc from 'fast-check'
import t from 'tap'
import {
  type Counter,
  disagrees,
  foldUsage,
  octetsPossible,
  zeroCounter,
} from '../../accounting/usage.ts'

const G4 = 1n << 32n
const narrow = (raw: bigint, total = raw): Counter => ({ raw, total, wide: false })
const wide = (raw: bigint, total = raw): Counter => ({ raw, total, wide: true })
const PLENTY = 1n << 60n

interface Case {
  readonly name: string
  readonly before: Counter
  readonly value: bigint | undefined
  readonly wide?: boolean
  readonly older?: boolean
  readonly room?: bigint
  readonly after: Counter
  readonly clamped?: bigint
}
const cases: readonly Case[] = [
  { name: 'the first value', before: zeroCounter, value: 500n, after: narrow(500n) },
  { name: 'more', before: narrow(500n), value: 700n, after: narrow(700n) },
  { name: 'the same again', before: narrow(500n), value: 500n, after: narrow(500n) },
  { name: 'no attribute', before: narrow(500n), value: undefined, after: narrow(500n) },
  { name: 'a Stop full of zeros', before: narrow(500n), value: 0n, after: narrow(500n) },
  {
    name: 'zeros, then the true count again, is not counted twice',
    ...{ before: narrow(500n), value: 600n, after: narrow(600n) },
  },
  { name: 'reset', before: narrow(500n, 900n), value: 20n, after: narrow(20n, 920n) },
  {
    name: 'smaller in an older record: out of order',
    ...{ before: narrow(500n), value: 20n, older: true, after: narrow(500n) },
  },
  {
    name: 'larger in an older record',
    ...{ before: narrow(500n), value: 600n, older: true, after: narrow(600n) },
  },
  {
    name: '32-bit wrap',
    ...{ before: narrow(G4 - 100n), value: 50n, after: narrow(G4 + 50n) },
  },
  {
    name: 'second wrap',
    ...{ before: narrow(2n * G4 - 100n), value: 50n, after: narrow(2n * G4 + 50n) },
  },
  {
    name: 'wrap to exactly half the range',
    ...{ before: narrow(G4 - 100n), value: G4 / 2n - 100n, after: narrow(G4 + G4 / 2n - 100n) },
  },
  {
    name: 'down by less than half the range: reset',
    before: narrow(G4 - 100n),
    value: G4 / 2n - 99n,
    after: narrow(G4 / 2n - 99n, G4 - 100n + G4 / 2n - 99n),
  },
  {
    name: 'wrap faster than the NAS can carry: reset, and no more than it can',
    before: narrow(G4 - 100n),
    ...{ value: 50n, room: 149n, after: narrow(50n, G4 - 50n) },
  },
  {
    name: 'no wrap where Gigawords were seen: reset',
    ...{ before: wide(G4 - 100n), value: 50n, after: wide(50n, G4 - 50n) },
  },
  {
    name: 'Gigawords',
    ...{ before: wide(G4 - 100n), value: G4 + 50n, wide: true, after: wide(G4 + 50n) },
  },
  {
    name: 'the first Gigawords, after a wrap that was found here',
    ...{ before: narrow(G4 + 50n), value: G4 + 80n, wide: true, after: wide(G4 + 80n) },
  },
  {
    name: 'Gigawords left out once',
    ...{ before: wide(G4 + 50n), value: 80n, after: wide(G4 + 80n) },
  },
  {
    name: '64-bit reset',
    ...{ before: wide(5n * G4), value: 7n, wide: true, after: wide(7n, 5n * G4 + 7n) },
  },
  {
    name: 'more than can have passed: clamped',
    ...{ before: narrow(100n), value: 1100n, room: 400n, clamped: 600n },
    after: narrow(1100n, 500n),
  },
  {
    name: 'clamped octets do not come back',
    ...{ before: narrow(1100n, 500n), value: 1200n, after: narrow(1200n, 600n) },
  },
  {
    name: 'no room at all',
    ...{ before: narrow(100n), value: 150n, room: -5n, clamped: 50n, after: narrow(150n, 100n) },
  },
]

t.test('metering: table of counters', async (t) => {
  for (const {
    name,
    before,
    value,
    after,
    clamped = 0n,
    room = PLENTY,
    older = false,
    ...c
  } of cases) {
    const report = { inputOctets: value, outputOctets: undefined, wide: c.wide === true, older }
    const both = foldUsage({ input: before, output: zeroCounter }, report, room)
    t.same(both.input, after, name)
    t.equal(both.clamped, clamped, `${name}: clamped`)
    const turned = { ...report, inputOctets: undefined, outputOctets: value }
    const other = foldUsage({ input: zeroCounter, output: before }, turned, room)
    t.same(other.output, after, `${name}: output`)
  }
})

t.test('both directions share what the NAS can have carried', async (t) => {
  const report = { inputOctets: 300n, outputOctets: 300n, wide: true, older: false }
  const { input, output, clamped } = foldUsage(
    { input: zeroCounter, output: zeroCounter },
    report,
    400n,
  )
  t.same([input.total, output.total, clamped], [300n, 100n, 200n])
})

t.test('totals never go down, and never above what can have passed', async (t) => {
  const value = fc.option(fc.bigInt(0n, (1n << 33n) - 1n), { nil: undefined })
  const record = fc.record({
    ...{ inputOctets: value, outputOctets: value, wide: fc.boolean(), older: fc.boolean() },
    room: fc.bigInt(0n, 1n << 32n),
  })
  const property = fc.property(fc.array(record, { maxLength: 30 }), (records) => {
    let counters = { input: zeroCounter, output: zeroCounter }
    for (const { room, ...report } of records) {
      const next = foldUsage(counters, report, room)
      const grown = next.input.total - counters.input.total
      const more = next.output.total - counters.output.total
      if (grown < 0n || more < 0n || grown + more > room || next.clamped < 0n) return false
      counters = next
    }
    return true
  })
  t.doesNotThrow(() => fc.assert(property, { seed: 4 }))
})

t.test('what can have passed: whole seconds and one more', async (t) => {
  t.equal(octetsPossible(100n, 0), 100n)
  t.equal(octetsPossible(100n, 1), 200n)
  t.equal(octetsPossible(100n, 1000), 200n)
  t.equal(octetsPossible(100n, -5), 100n)
})

t.test('two meters disagree beyond 5 % and 1 MB', async (t) => {
  t.equal(disagrees(19n, 1_000_019n), false)
  t.equal(disagrees(19n, 1_000_020n), true)
  t.equal(disagrees(1_000_001n, 0n), true)
  t.equal(disagrees(0n, 1_000_000_000n), false, 'a NAS that does not count')
  t.equal(disagrees(100_000_000n, 106_000_000n), false)
  t.equal(disagrees(100_000_000n, 106_000_001n), true)
  t.equal(disagrees(106_000_001n, 100_000_000n), true)
})
