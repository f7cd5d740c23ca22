// When a device has signed too little, the key that signed must be shown anew: each way in which
// two meters can disagree, and whose fault the ledger takes it for.

import t from 'tap'
import type { Ledger } from '../../accounting/ledger.ts'
import type { AttestedUsage } from '../../accounting/session.ts'
import { accountOf, emptyLedger, idOf, newSession, placeAt, usage } from './books.ts'
import { accountNumber, meteringKey } from './store-fixtures.ts'

const MB = 1_000_000n
const MINUTE = 60_000
const DAY = 86_400_000

/** Who says how many megabytes: `nas` and, at the end, `stop`; `device`, or `says` unsigned. */
type Steps = string

/** Two keys of account 1, and a session in which the steps are taken a minute apart. */
function after(steps: Steps, trust: AttestedUsage['trust'] = 'hardware') {
  const ledger = emptyLedger()
  ledger.begin(newSession(1), 0)
  ledger.confirm(idOf(1), 0)
  for (const publicKey of ['one', 'two']) {
    ledger.enrol({
      ...{ account: accountOf(1), publicKey, scheme: 'tpm', trust: 'hardware' },
      ...{ enrolledAtMs: 0, expiresAtMs: DAY },
    })
  }
  ledger.drain()
  let sequence = 0
  for (const [index, step] of steps.split(', ').entries()) {
    const [who, megabytes = ''] = step.split(' ')
    const atMs = (index + 1) * MINUTE
    const outputOctets = BigInt(megabytes) * MB
    const counted = () => usage({ eventAtMs: atMs, inputOctets: 0n, outputOctets })
    sequence += 1
    const report = {
      sequence,
      time: atMs / 1_000,
      ...{ trust, slot: 1 },
      missing: 0,
      inputOctets: 0n,
      outputOctets,
    }
    if (who === 'nas') ledger.report(idOf(1), counted(), placeAt(), atMs)
    else if (who === 'stop') ledger.stop(idOf(1), counted(), placeAt(), atMs)
    else if (who === 'says') ledger.deviceReport(idOf(1), outputOctets, atMs)
    else ledger.attest(idOf(1), report, atMs)
  }
  return { ledger, expiries: expiriesOf(ledger), written: ledger.drain().meteringKeys }
}

/** When each of the two keys ends to count, by slot. */
const expiriesOf = (ledger: Ledger): number[] =>
  ledger
    .meteringKeys(accountOf(1))
    .toSorted((a, b) => a.slot - b.slot)
    .map(({ expiresAtMs }) => expiresAtMs)

const CASES: readonly [name: string, anew: boolean, steps: Steps][] = [
  ['both say the same', false, 'nas 20, device 20'],
  ['less, within 5 % + 1 MB', false, 'nas 20, device 19'],
  ['less than was counted, maybe while it was under way', false, 'nas 20, device 10'],
  ['less than was counted at the report before', true, 'nas 20, device 10, device 11'],
  ['less, and the session over', true, 'stop 20, device 10'],
  ['what is counted later is more: it may have flowed since', false, 'device 10, nas 20'],
  ['and counted at the next one', true, 'device 10, nas 20, device 12, device 13'],
  ['more than was counted before: the NAS is behind', false, 'nas 10, device 20'],
  ['more than is counted later: the NAS', false, 'device 20, nas 10'],
  ['more, and the session over: the NAS', false, 'device 20, stop 10'],
  ['less, but without a signature', false, 'nas 20, says 10'],
]

for (const [name, anew, steps] of CASES) {
  t.test(`${name}: ${anew ? 'the second key is shown anew' : 'the keys stand'}`, async (t) => {
    const { expiries, written } = after(steps)
    t.same(expiries, anew ? [DAY, 0] : [DAY, DAY])
    t.equal(written.length, anew ? 1 : 0, 'kept')
  })
}

t.test('each account gets its own keys back from the store', async (t) => {
  const ledger = emptyLedger()
  const accounts = [1, 2, 3].map((n) => accountNumber(n))
  const meteringKeys = [2, 1, 2].map((n, slot) => meteringKey(n, slot))
  ledger.adopt({ sessions: [], debts: [], tariffs: [], accounts, meteringKeys })
  const kept = accounts.map(({ account }) => ledger.meteringKeys(account))
  const slots = kept.map((keys) => keys.map(({ slot }) => slot))
  t.same(slots, [[1], [0, 2], []])
})

t.test('whatever the key is worth', async (t) => {
  t.same(after('nas 20, device 10, device 11', 'software').expiries, [DAY, 0])
})

t.test(
  'a reconnect that only its access point speaks of: nothing counts against anybody',
  async (t) => {
    const { ledger } = after('nas 1')
    const start = newSession(2, { kind: 'pmksa' })
    ledger.beginByStart(start, idOf(1), MINUTE)
    const counts = (how: 'report' | 'stop', megabytes: bigint, atMs: number) =>
      ledger[how](
        idOf(2),
        usage({ eventAtMs: atMs, inputOctets: 0n, outputOctets: megabytes * MB }),
        placeAt(),
        atMs,
      )
    counts('report', 0n, MINUTE)
    counts('stop', 20n, 2 * MINUTE)
    const report = { sequence: 1, time: 180, missing: 0, inputOctets: 0n, outputOctets: 10n * MB }
    ledger.attest(idOf(2), { ...report, trust: 'hardware', slot: 1 }, 3 * MINUTE)
    t.match(ledger.session(idOf(2)), {
      kind: 'pmksa',
      disputed: true,
      attested: { disagrees: true },
    })
    t.equal(ledger.account(accountOf(1))?.disagreements, 0)
    t.same(expiriesOf(ledger), [DAY, DAY])
  },
)

t.test('once a session: what is shown anew counts', async (t) => {
  const { ledger } = after('nas 20, device 10, device 11')
  const key = ledger.meteringKeys(accountOf(1)).find(({ slot }) => slot === 1)
  if (key === undefined) throw new Error('no key')
  ledger.enrol({ ...key, expiresAtMs: 2 * DAY })
  const report = { sequence: 9, time: 300, missing: 0, inputOctets: 0n, outputOctets: 11n * MB }
  ledger.attest(idOf(1), { ...report, trust: 'hardware', slot: 1 }, 5 * MINUTE)
  t.same(expiriesOf(ledger), [DAY, 2 * DAY])
})
