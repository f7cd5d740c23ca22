// What the report of `npm run bench:eap` makes of samples: pairs within a round, and runs that were
// to resume and did not.

import t from 'tap'
import type { CpuSample } from '../../bench/cpu.ts'
import { type BenchReport, notResumed, pairedRatios, reportText } from '../../bench/report.ts'

const at = (
  server: string,
  round: number,
  us: number,
  more: Partial<CpuSample> = {},
): CpuSample => {
  const counts = { betweenUs: 0, childrenUs: 0, rounds: 4, done: 100, failed: 0, resumed: 0 }
  return { server, round, us, tls: '1.3', ...counts, ...more }
}
const NOTHING: BenchReport = {
  ...{ machine: 'a machine', settleMs: 10_000, notes: [], faults: [] },
  ...{ cpu: [], resumed: [], throughput: [], memory: [], eapol: [] },
}
const lineOf = (text: string, start: string): string[] =>
  (text.split('\n').find((line) => line.startsWith(start)) ?? '').split(/\s{2,}/)

t.test('the paired ratio compares within a round, so a slow minute does not count', async (t) => {
  const samples = [at('a', 0, 80), at('b', 0, 100), at('b', 1, 300), at('a', 1, 240), at('a', 2, 9)]
  t.same(pairedRatios(samples, 'a', 'b', '1.3'), [0.8, 0.8])
  t.same(pairedRatios(samples, 'a', 'b', '1.2'), [])
})

t.test('ratios are of ours to theirs, with what is wanted beside them', async (t) => {
  const cpu = [
    ...[at('Datanet', 0, 40), at('FreeRADIUS', 0, 100), at('hostapd', 0, 42)],
    ...[at('Datanet', 1, 60), at('FreeRADIUS', 1, 120), at('hostapd', 1, 64)],
  ]
  const text = reportText({ ...NOTHING, cpu })
  const freeRadius = ['0.45', '0.40', '0.50', '0.45', '2', '0.50']
  t.same(lineOf(text, 'Datanet / FreeRADIUS'), ['Datanet / FreeRADIUS', '1.3', ...freeRadius])
  const hostapd = ['0.94 (draw)', '0.94', '0.95', '0.94', '2', '0.65']
  t.same(lineOf(text, 'Datanet / hostapd'), ['Datanet / hostapd', '1.3', ...hostapd])
  t.notMatch(text, 'Datanet (node)', 'who was not there is not compared')
})

t.test('a round in which not all were resumed is told and is in no ratio', async (t) => {
  const all = { resumed: 100 }
  const resumed = [
    ...[at('Datanet', 0, 100), at('Datanet resumed', 0, 50, all)],
    ...[at('Datanet', 1, 100), at('Datanet resumed', 1, 90, { resumed: 99 })],
  ]
  t.same(notResumed(resumed, ['Datanet resumed']), [
    'Datanet resumed, TLS 1.2: only 0 of 0 were resumed',
    'Datanet resumed, TLS 1.3: only 199 of 200 were resumed',
  ])
  const text = reportText({ ...NOTHING, resumed })
  t.same(lineOf(text, 'Datanet resumed / Datanet').slice(1, 3), ['1.3', '0.50'])
  const whole = resumed.map((sample) => ({ ...sample, tls: '1.2' as const, ...all }))
  t.same(notResumed(whole, ['Datanet resumed']).length, 1, 'TLS 1.3 was not there at all')
})

t.test('memory is told per conversation, with its control and its method', async (t) => {
  const sizes = { idleBytes: 90e6, childrenBytes: 0, halfOpenBytes: 39_960, furtherBytes: 41_000 }
  const memory = [
    { server: 'Datanet', tls: '1.3', count: 2000, endedBytes: -50, endedBatches: 3, ...sizes },
  ] as const
  const text = reportText({ ...NOTHING, memory, faults: ['hostapd was left out: not there'] })
  t.same(lineOf(text, 'Datanet'), [
    'Datanet',
    '1.3',
    '40.0',
    '41.0',
    '-0.1',
    '3',
    '2000',
    '90',
    '0',
  ])
  t.match(text, 'after 10 s of rest')
  t.match(text, 'FAILED: hostapd was left out: not there')
})
