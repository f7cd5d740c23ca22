// The operator's answer about sessions, read strictly: every field, and what is refused by name.

import t from 'tap'
import { readSessions, readTerms } from '../../device/session-view.ts'
import { SESSION, sessionJson } from './payer-double.ts'

t.test('a session as values', async (t) => {
  const wide = { inputOctets: '18446744073709551615', outputOctets: 1 }
  t.same(readSessions({ sessions: [sessionJson({ ...wide, owed: '3', due: '2' })] }), [
    {
      ...{ id: SESSION, state: 'current', tariff: 'standard', tariffVersion: 1 },
      terms: {
        ...{ perMinute: 60n, perMegabyte: 1_000n, intervalMs: 60_000, intervalMegabytes: 10 },
        ...{ missedMax: 2, graceMs: 0, flat: undefined, freeMs: 0, freeOctets: 0n },
      },
      ...{ startedAtMs: 1_000_000, octets: 2n ** 64n, owed: 3n, paid: 0n, due: 2n },
      dueAtMs: 1_060_000,
    },
  ])
  t.same(readSessions({ sessions: [] }), [])
})

t.test('terms are whole milliseconds and octets, whatever JSON made of them', async (t) => {
  const base = sessionJson()['terms'] as object
  const terms = {
    ...{ intervalSeconds: 2.3, graceSeconds: 0.7, freeMinutes: 7 / 60, freeMegabytes: 1.1 },
    flat: { price: '5', windowSeconds: 4.6 },
  }
  t.match(readTerms({ ...base, ...terms }), {
    ...{ intervalMs: 2_300, graceMs: 700, freeMs: 7_000, freeOctets: 1_100_000n },
    flat: { price: 5n, windowMs: 4_600 },
  })
})

t.test('whose figure of the volume is billed', async (t) => {
  const base = sessionJson()['terms'] as object
  for (const by of ['attested', 'lower', 'higher']) {
    for (const trust of ['software', 'hardware']) {
      t.match(readTerms({ ...base, usage: { by, trust } }), { usage: { by, trust } })
    }
  }
  t.notOk('usage' in readTerms(base), 'the access point’s')
})

const BAD: readonly [field: string, value: unknown][] = [
  ['id', 'A'.repeat(32)],
  ['id', undefined],
  ['state', 'asleep'],
  ['tariff', ''],
  ['tariff', 'a\nb'],
  ['tariffVersion', 1.5],
  ['startedAt', -1],
  ['startedAt', '1000'],
  ['inputOctets', -1],
  ['outputOctets', '1e3'],
  ['owed', 1],
  ['owed', '1'.repeat(30)],
  ['paid', '-1'],
  ['due', null],
  ['dueAt', 1e13],
]
const BAD_TERMS: readonly [field: string, value: unknown][] = [
  ['perMinute', 60],
  ['intervalSeconds', 0.9],
  ['intervalSeconds', 86_401],
  ['intervalMegabytes', 0.5],
  ['missedMax', 2.5],
  ['graceSeconds', '0'],
  ['windowSeconds', undefined],
  ['usage', { by: 'accounting', trust: 'software' }],
  ['usage', { by: 'lower', trust: 'none' }],
]

t.test('what is refused, by the name of the field', async (t) => {
  const refused = (session: unknown, field: string, shown: string): void => {
    const message = new RegExp(`: ${field} is missing or malformed`)
    t.throws(() => readSessions({ sessions: [session] }), { code: 'refused', message }, shown)
  }
  for (const [field, value] of BAD) {
    refused(sessionJson({ [field]: value }), field, `${field} ${value}`)
  }
  for (const [field, value] of BAD_TERMS) {
    const flat = field === 'windowSeconds' ? { flat: { price: '1' } } : {}
    const terms = { ...(sessionJson()['terms'] as object), ...flat, [field]: value }
    refused(sessionJson({ terms }), field, `${field} ${value}`)
  }
  for (const body of [undefined, null, [], 'x', { sessions: {} }]) {
    t.throws(() => readSessions(body), { code: 'refused' }, JSON.stringify(body))
  }
  const many = Array.from({ length: 1_001 }, () => sessionJson())
  t.throws(() => readSessions({ sessions: many }), { code: 'refused' })
})
