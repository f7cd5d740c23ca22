import t from 'tap'
import { defaultConfigText } from '../../config/default.ts'
import { parseConfig } from '../../config/parse.ts'
import { buildRuntime } from '../../server/runtime.ts'
import { certificate } from './http-rig.ts'

t.test(
  'billing.usage is part of every tariff, so a session keeps what it began with',
  async (t) => {
    const cases = [
      ['', undefined],
      ['billing: { trust: software }', undefined],
      ['billing: { usage: attested }', { by: 'attested', trust: 'hardware' }],
      ['billing: { usage: lower, trust: software }', { by: 'lower', trust: 'software' }],
      ['billing: { usage: higher }', { by: 'higher', trust: 'hardware' }],
    ] as const
    for (const [line, usage] of cases) {
      const text = `${defaultConfigText({ secret: 'a'.repeat(24) })}\n${line}\n`
      const read = parseConfig(text, {}, () => '')
      if (!('config' in read)) throw new Error(JSON.stringify(read.problems))
      const { rules } = buildRuntime(read.config, certificate, 18, (tariff) => tariff)
      for (const tariff of rules.tariffs.values()) t.same(tariff.usage, usage, line)
      t.not(rules.tariffs.size, 0)
    }
  },
)
