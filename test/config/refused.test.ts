// Every row of refused.txt: the one mistake gives one problem, at its path and line, saying what is
// allowed.

import { readFileSync } from 'node:fs'
import t from 'tap'
import { parseConfig } from '../../config/parse.ts'

const SECRET = 'k7mw4xq2np9rt3vy'
const VALID = `operator: { name: Corner Wi-Fi }
clients:
  - { name: lobby, ipaddr: 192.0.2.10, secret: "${SECRET}" }
tariffs:
  standard: { per_minute: "0.001", per_megabyte: "0.004" }
http: { public_url: "https://pay.example/" }
`

function withMistake(mistake: string): string {
  const text = mistake.replace('$' + '{}', '$' + '{UNSET}')
  if (text.startsWith('+ ')) return `${VALID}${text.slice(2)}\n`
  const place = /^(client|tariff|secret): (.*)$/.exec(text)
  if (place?.[1] === 'client') return VALID.replace(/" }/, () => `", ${place[2]} }`)
  if (place?.[1] === 'tariff') return VALID.replace('per_megabyte: "0.004"', () => `${place[2]}`)
  if (place?.[1] === 'secret') return VALID.replace(`secret: "${SECRET}"`, () => `${place[2]}`)
  const [before = '', after = ''] = text.split(/ => ?/)
  return VALID.replace(before, () => after)
}

const rows = readFileSync(new URL('refused.txt', import.meta.url), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => line.split(/ +\| /).map((cell) => cell.trim()))

const noFile = (): string => {
  throw Object.assign(new Error('no such file'), { code: 'ENOENT' })
}

t.equal('config' in parseConfig(VALID, {}, noFile), true, 'the file without a mistake is valid')
t.ok(rows.length >= 90, `${rows.length} rows`)

for (const [mistake = '', place = '', says = ''] of rows) {
  t.test(`refused: ${mistake}`, async (t) => {
    const text = withMistake(mistake)
    t.not(text, VALID, 'the mistake is in the file')
    const result = parseConfig(text, {}, noFile)
    const problems = 'problems' in result ? result.problems : []
    t.same(
      problems.map(({ line, path }) => `${line} ${path}`),
      place === '' ? [] : [place],
    )
    const message = problems[0]?.message ?? ''
    t.equal(message.includes(says) && says !== '', true, `"${message}" says "${says}"`)
  })
}
