// What the runner says of a TAP stream: counts, failures in full, and when a run is a success.

import { Readable } from 'node:stream'
import t from 'tap'

interface Tally {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

interface TapModule {
  readTap(stream: Readable, write: (text: string) => void): Promise<Tally>
  summary(tally: Tally): string
  isSuccess(tally: Tally): boolean
}

const runner = new URL('../../setup/tap.mjs', import.meta.url).href
const { readTap, summary, isSuccess } = (await import(runner)) as TapModule

async function readAll(text: string): Promise<{ line: string; success: boolean; output: string }> {
  let output = ''
  const tally = await readTap(Readable.from([text]), (part) => {
    output += part
  })
  return { line: summary(tally), success: isSuccess(tally), output }
}

/** A file's TAP inside tap's own, as `tap --reporter=tap` prints it. */
function file(name: string, body: string, ending = 'ok'): string {
  const inner = body.trim().replace(/^/gm, '    ')
  return `TAP version 14\n# Subtest: ${name}\n${inner}\n${ending} 1 - ${name} # time=12ms\n\n1..1\n`
}

const FAILURE = `not ok 2 - b
  ---
  diff: |
    -1
    +2
  source: const a = 1
  ...`

const CASES: readonly [name: string, tap: string, line: string, success: boolean][] = [
  ['two pass', file('a', 'ok 1 - x\nok 2 - y\n1..2'), '2 passed, 0 failed, 0 skipped', true],
  [
    'a subtest counts by what it holds',
    file('a', '# Subtest: s\n    ok 1 - x\n    ok 2 - y\n    1..2\nok 1 - s # time=1ms\n1..1'),
    '2 passed, 0 failed, 0 skipped',
    true,
  ],
  [
    'a failure',
    file('a', `ok 1 - a\n${FAILURE}\n1..2`, 'not ok'),
    '1 passed, 1 failed, 0 skipped',
    false,
  ],
  [
    'a failure inside a subtest counts once',
    file('a', '# Subtest: s\n    not ok 1 - x\n    1..1\nnot ok 1 - s # time=1ms\n1..1', 'not ok'),
    '0 passed, 1 failed, 0 skipped',
    false,
  ],
  [
    'a file that dies after passing',
    file('a', 'ok 1 - x\n1..1', 'not ok'),
    '1 passed, 1 failed, 0 skipped',
    false,
  ],
  [
    'a skip',
    file('a', 'ok 1 - x\nok 2 - y # SKIP why\n1..2'),
    '1 passed, 0 failed, 1 skipped',
    false,
  ],
  [
    'a todo',
    file('a', 'ok 1 - x\nnot ok 2 - y # TODO\n1..2'),
    '1 passed, 0 failed, 1 skipped',
    false,
  ],
  [
    'a test without assertions',
    file('a', 'ok 1 - x\n# Subtest: s\n    1..0\nok 2 - s # time=1ms\n1..2'),
    '1 passed, 1 failed, 0 skipped',
    false,
  ],
  [
    'a file without tests',
    'TAP version 14\n# Subtest: a\n    1..0 # no tests found\nok 1 - a # SKIP no tests found\n1..1\n',
    '0 passed, 0 failed, 1 skipped',
    false,
  ],
  [
    'two files in one program',
    file('2 files', '# file a\nok 1 - x\n# file b\nok 2 - y\n1..2'),
    '2 passed, 0 failed, 0 skipped',
    true,
  ],
  [
    'one of several files without tests',
    file('2 files', '# file a\n# file b\nok 1 - x\n1..1'),
    '1 passed, 1 failed, 0 skipped',
    false,
  ],
  [
    'the last of several files without tests',
    file('2 files', '# file a\nok 1 - x\n# file b\n1..1'),
    '1 passed, 1 failed, 0 skipped',
    false,
  ],
  ['nothing at all', 'TAP version 14\n1..0\n', '0 passed, 0 failed, 0 skipped', false],
  ['a wrong plan', file('a', 'ok 1 - x\n1..2', 'not ok'), '1 passed, 1 failed, 0 skipped', false],
]

for (const [name, text, line, success] of CASES) {
  t.test(`counts: ${name}`, async (t) => {
    const result = await readAll(text)
    t.equal(result.line, line)
    t.equal(result.success, success)
  })
}

t.test(
  'a failure is shown with its place and difference, progress with a line per file',
  async (t) => {
    const { output } = await readAll(file('test/a.test.ts', `ok 1 - a\n${FAILURE}\n1..2`, 'not ok'))
    t.match(output, /^FAILED test\/a\.test\.ts > b\n {4}diff: \|/m)
    t.match(output, /^FAIL +2 +0\.0 s {2}test\/a\.test\.ts$/m)
    t.notMatch(output, /const a = 1/)
    t.match(
      (await readAll(file('test/a.test.ts', 'ok 1 - x\n1..1'))).output,
      /^ok +1 +0\.0 s {2}test/m,
    )
  },
)

t.test('what long tests say of their run is shown, of others not', async (t) => {
  const body = '# Subtest: s\n    # 7 runs\n    ok 1 - x\n    1..1\nok 1 - s # time=1ms\n1..1'
  const long = await readAll(file('test/long/a.test.ts', body))
  t.match(long.output, /^ +7 runs\n/)
  t.notMatch(long.output, /Subtest|time=/)
  const other = await readAll(file('test/sim/a.test.ts', body))
  t.notMatch(other.output, /runs/)
})
