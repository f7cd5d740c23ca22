// What a device pays by the policy of its tariff, which meter's figure is billed; and how often. A
// table of cases.

import t from 'tap'
import type { UsageTerms } from '../../device/charge.ts'
import { decide, type Knowledge } from '../../device/payer.ts'
import type { SessionView } from '../../device/session-view.ts'
import { known, pay, START, session, TERMS, wait } from './payer-known.ts'

/** Session A billed by a policy, with 8,000 octets on the own meter and a software key. */
function signing(
  ms: number,
  by: UsageTerms['by'],
  o: Partial<Knowledge> = {},
  trust: UsageTerms['trust'] = 'software',
  view: Partial<SessionView> = {},
  isWhole = true,
): Knowledge {
  const terms = { ...TERMS, usage: { by, trust } }
  const sessions = [session({ ...view, terms })]
  return known(ms, { trust: 'software', sessions, ...o }, { terms, octets: 8_000n, isWhole })
}

const PAID_AT_36 = { paidAtMs: START + 36_000 }
type Case = readonly [name: string, knowledge: Knowledge, decision: object]
const CASES: readonly Case[] = [
  ...['attested', 'higher'].map(
    (by): Case => [
      `${by}: what is signed is billed, though the access point counts nothing`,
      signing(36_000, by as UsageTerms['by']),
      pay(60n + 8n + 20n, 'interval'),
    ],
  ),
  [
    'attested, by a key that is worth too little: as the access point counts',
    signing(36_000, 'attested', {}, 'hardware'),
    pay(60n, 'interval'),
  ],
  [
    '… and where no key signs',
    signing(36_000, 'attested', { trust: undefined }),
    pay(60n, 'interval'),
  ],
  [
    '… and where the session began before the meter, so that nothing is signed',
    signing(36_000, 'attested', {}, 'software', {}, false),
    pay(60n, 'interval'),
  ],
  [
    '… but a better one is good',
    signing(36_000, 'attested', { trust: 'hardware' }),
    pay(60n + 8n + 20n, 'interval'),
  ],
  [
    'lower: nothing while the access point counts nothing',
    signing(36_000, 'lower'),
    pay(60n, 'interval'),
  ],
  [
    '… and what it will have counted, once it counts',
    signing(36_000, 'lower', {}, 'software', { octets: 1n }),
    pay(60n + 8n + 20n, 'interval'),
  ],
  [
    'late: what the first view did not say is asked for',
    signing(54_000, 'attested', { viewAtMs: START + 53_999 }, 'software', { paid: 60n }),
    { do: 'ask' },
  ],
  [
    '… and paid: the first report was beyond what was paid',
    signing(54_000, 'attested', PAID_AT_36, 'software', { paid: 60n, owed: 62n, due: 8n }),
    pay(8n + 20n, 'interval'),
  ],
  [
    'paid in this interval, for the rate of now: no other payment, though more flows',
    signing(54_000, 'attested', { ...PAID_AT_36, octetsPerSecond: 1_000 }, 'software', {
      paid: 60n + 28n,
    }),
    wait(55_200),
  ],
  [
    '… another where that would leave something unpaid',
    signing(54_000, 'attested', { ...PAID_AT_36, octetsPerSecond: 4_000 }, 'software', {
      paid: 60n + 28n,
    }),
    pay(56n, 'interval'),
  ],
  [
    'much volume is paid in parts that are apart',
    known(
      40_000,
      { ...PAID_AT_36, sessions: [session({ octets: 1n, paid: 60n })] },
      { octets: 6_000_000n },
    ),
    wait(54_000),
  ],
]

t.test('a table of cases', async (t) => {
  for (const [name, knowledge, decision] of CASES) t.match(decide(knowledge), decision, name)
})
