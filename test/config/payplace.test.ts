// payplace: the commission in parts of a million, the timing in seconds; what is refused is in
// refused.txt.

import t from 'tap'
import { defaultConfigText } from '../../config/default.ts'
import { parseConfig } from '../../config/parse.ts'

function payplace(text: string) {
  const whole = `${defaultConfigText({ secret: 'qw94tcccu9cvebqzauq82mvf33svabjb' })}\n${text}\n`
  const read = parseConfig(whole, {}, () => '')
  if (!('config' in read)) throw new Error(JSON.stringify(read.problems))
  return read.config.payplace
}

t.test('the commission', async (t) => {
  const rows: [text: string, ppm: number][] = [
    ['0', 0],
    ['2.5', 25_000],
    ['0.0001', 1],
    ['33.3333', 333_333],
    ['100', 1_000_000],
  ]
  for (const [text, ppm] of rows) {
    t.equal(payplace(`payplace: { commission_percent: "${text}" }`).commissionPpm, ppm, `${text} %`)
  }
  t.same(payplace(''), { commissionPpm: 0, timing: undefined })
})

t.test('the timing of a registration', async (t) => {
  const timing = '{ beta: 12s, gamma: 4s, delta: 1s, challenge: 20s, eta: 3 }'
  t.same(payplace(`payplace: { timing: ${timing} }`).timing, {
    ...{ beta: 12, gamma: 4, delta: 1, challenge: 20, eta: 3 },
  })
  const days = '{ beta: 1d, gamma: 1h, delta: 15m, challenge: 2d, eta: 30 }'
  t.equal(payplace(`payplace: { timing: ${days} }`).timing?.beta, 86_400)
})
