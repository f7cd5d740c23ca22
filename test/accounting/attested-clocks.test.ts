// Was a record made after the device spoke? Only then can it count too little. The clock of its NAS
// may be minutes off, so our own says: arrival less Acct-Delay-Time (RFC 2866 §5.2).

import t from 'tap'
import { ALICE, NOON_S, type Step, world } from './attribution-rig.ts'

const MB = 1_000_000

/** The device signs 50 MB 100 s after it was let in; then its access point tells its figures. */
function told(...records: Omit<Step, 'do' | 'class'>[]) {
  const books = world()
  books.play({ at: 0, do: 'accept', class: 'A' })
  const id = books.session('A')?.id ?? ''
  const octets = { inputOctets: BigInt(50 * MB), outputOctets: 0n }
  const report = { sequence: 1, time: NOON_S + 100, trust: 'hardware', missing: 0 } as const
  books.ledger.attest(id, { ...report, ...octets }, (NOON_S + 100) * 1_000)
  for (const record of records) books.play({ ...record, do: 'interim', class: 'A' })
  return {
    disputed: books.session('A')?.disputed,
    disagreements: books.ledger.account(ALICE)?.disagreements,
  }
}

const HONEST = { disputed: false, disagreements: 0 }
const LIES = { disputed: true, disagreements: 1 }

/** Made 70 s after the start, and told with a delay of 40. */
const before = { at: 110, delay: 40, time: 70, octets: 20 * MB }
/** Made when 51 MB had flowed, and when it says that 20 had. */
const right = { at: 130, time: 130, octets: 51 * MB }
const short = { at: 130, time: 130, octets: 20 * MB }

for (const [clock, off] of [
  ['right', 0],
  ['two minutes ahead', 120],
  ['five minutes behind', -300],
] as const) {
  t.test(`RFC 2866 §5.2: the clock of the NAS is ${clock}`, async (t) => {
    const stamped = (record: typeof short & { delay?: number }) => ({
      ...record,
      stamp: record.at - (record.delay ?? 0) + off,
    })
    t.same(told(stamped(before)), HONEST, 'told late, and it was so')
    t.same(told(stamped(before), stamped(right)), HONEST)
    t.same(told(stamped(short)), LIES, 'made after the report')
    t.same(told(stamped(before), stamped(short)), LIES)
  })
}

t.test('RFC 2866 §5.2: the delay is in whole seconds, and without a stamp it is all', async (t) => {
  t.same(told(before), HONEST)
  t.same(told(short), LIES)
  t.same(told({ ...short, at: 130, delay: 30 }), HONEST, 'up to a second before')
  t.same(told({ ...short, at: 130, delay: 29 }), LIES)
})
