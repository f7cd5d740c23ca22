// parseConfig against damaged text: whatever it is given, it answers.

import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import t from 'tap'
import { parseConfig } from '../../config/parse.ts'

const ENV = {
  ...{ LOBBY_SECRET: 'k7mw4xq2np9rt3vy-lobby', LOBBY_COA_SECRET: 'k7mw4xq2np9rt3vy-coa' },
  PLAY_DECRYPTION_KEY: 'k7mw4xq2np9rt3vy-play',
}
const EXAMPLE = readFileSync(new URL('../../config/example.yaml', import.meta.url), 'utf8')
const noFile = (): string => {
  throw Object.assign(new Error('no such file'), { code: 'ENOENT' })
}

t.test(
  'any text gives a configuration or problems with lines in the file, never a throw',
  async (t) => {
    const lines = EXAMPLE.split('\n').length
    const check = (text: string) => {
      const result = parseConfig(text, ENV, noFile)
      if ('config' in result) return
      const good = result.problems.every((p) => p.line >= 1 && p.line <= text.split('\n').length)
      if (result.problems.length === 0 || !good) throw new Error(JSON.stringify(result.problems))
    }
    const edit = fc.tuple(
      fc.nat(EXAMPLE.length),
      fc.nat(12),
      fc.constantFrom(
        '',
        '{',
        '}',
        '[',
        ':',
        ' ',
        '\n',
        '- ',
        '"',
        '&a',
        '*a',
        '!!x ',
        '#',
        '\t',
        '0',
      ),
    )
    fc.assert(
      fc.property(edit, ([at, length, insert]) =>
        check(EXAMPLE.slice(0, at) + insert + EXAMPLE.slice(at + length)),
      ),
      { seed: 26, numRuns: 30 },
    )
    fc.assert(fc.property(fc.string({ unit: 'binary' }), check), { seed: 26, numRuns: 60 })
    t.ok(lines > 50, 'the example was there to be damaged')
  },
)
