// When a connection counts as bad service, and what a person's policy says about it.

import t from 'tap'
import { policyOf } from '../../device/device-file.ts'
import { DEFAULT_POLICY } from '../../device/policy.ts'
import {
  badService,
  FRESH_QUALITY,
  noteProbe,
  noteTraffic,
  type Quality,
} from '../../device/quality.ts'

/** Samples of [ms, received, sent]. */
type Samples = readonly (readonly [ms: number, received: bigint, sent: bigint])[]

const afterTraffic = (samples: Samples): Quality =>
  samples.reduce(
    (quality, [ms, received, sent]) => noteTraffic(quality, { received, sent }, ms),
    FRESH_QUALITY,
  )
const afterProbes = (probes: readonly (number | undefined)[]): Quality =>
  probes.reduce(noteProbe, FRESH_QUALITY)
const lost = (count: number) => Array<undefined>(count).fill(undefined)

const TRAFFIC: readonly [name: string, samples: Samples, verdict: string | undefined][] = [
  ['nothing is known', [], undefined],
  [
    'nothing was sent: nobody waits for an answer',
    [
      [0, 9n, 0n],
      [40_000, 9n, 0n],
    ],
    undefined,
  ],
  [
    '499 octets are noise',
    [
      [0, 9n, 0n],
      [40_000, 9n, 499n],
    ],
    undefined,
  ],
  [
    'sent for 30 s, nothing received',
    [
      [0, 9n, 0n],
      [40_000, 9n, 500n],
    ],
    'no-octets',
  ],
  [
    'not yet 30 s',
    [
      [10_001, 9n, 0n],
      [40_000, 9n, 500n],
    ],
    undefined,
  ],
  [
    'something came in between',
    [
      [0, 9n, 0n],
      [20_000, 10n, 500n],
      [40_000, 10n, 900n],
    ],
    undefined,
  ],
  [
    'sent in small parts',
    [
      [0, 9n, 0n],
      [9_000, 9n, 300n],
      [40_000, 9n, 600n],
    ],
    'no-octets',
  ],
  [
    'the interface was made anew',
    [
      [0, 9n, 700n],
      [40_000, 0n, 0n],
    ],
    undefined,
  ],
  [
    '… and is silent since',
    [
      [0, 9n, 7n],
      [5_000, 0n, 0n],
      [40_000, 0n, 500n],
    ],
    'no-octets',
  ],
]

t.test('octets that go out and do not come back', async (t) => {
  for (const [name, samples, verdict] of TRAFFIC) {
    t.equal(badService(afterTraffic(samples), DEFAULT_POLICY, 40_000), verdict, name)
  }
})

const PROBES: readonly [name: string, probes: (number | undefined)[], verdict?: string][] = [
  ['four lost', lost(4)],
  ['five lost', lost(5), 'probes-lost'],
  ['four lost, one answered, four lost', [...lost(4), 10, ...lost(4)]],
  ['four slow answers are too few to judge', [9_000, 9_000, 9_000, 9_000]],
  ['two slow of five', [9_000, 10, 9_000, 10, 10]],
  ['three slow of five', [9_000, 10, 9_000, 10, 9_000], 'too-slow'],
  ['exactly as slow as is allowed', [5_000, 5_000, 5_000, 5_000, 5_000]],
  ['slow once, good since', [9_000, 9_000, 9_000, 9_000, 9_000, 10, 10, 10]],
]

t.test('questions to the operator', async (t) => {
  for (const [name, probes, verdict] of PROBES) {
    t.equal(badService(afterProbes(probes), DEFAULT_POLICY, 0), verdict, name)
  }
})

t.test('a policy as a person writes it', async (t) => {
  t.same(policyOf({}, 18), DEFAULT_POLICY)
  const text = { perMinuteMax: '0.5', debtMax: '2', topup: '10', silentSeconds: 5 }
  t.match(policyOf({ ...text, certificateVoucher: 'off' }, 2), {
    ...{ perMinuteMax: 50n, debtMax: 200n, topUp: 1_000n, silentMs: 5_000 },
    ...{ perMegabyteMax: undefined, certificateVoucher: 'off', lostMax: 5 },
  })
  t.throws(() => policyOf({ topup: '1.001' }, 2), { code: 'usage' })
  const strict = policyOf({ probesLostMax: 1, roundTripMaxMs: 100 }, 2)
  t.equal(badService(afterProbes(lost(1)), strict, 0), 'probes-lost')
  t.equal(badService(afterProbes([101, 101, 101, 101, 101]), strict, 0), 'too-slow')
})
