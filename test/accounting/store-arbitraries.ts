// Generated sessions for the tests of the store, with everything in them that a database may trip
// over.

import fc from 'fast-check'
import type { NasPlace, Session } from '../../accounting/session.ts'
import type { Tariff } from '../../accounting/tariff.ts'
import {
  addressOf,
  sessionId,
  sessionNumber,
  TARIFF,
  UINT64_MAX,
  UINT96_MAX,
} from './store-fixtures.ts'

/** What a device or a NAS can put in an attribute of text, and a database may not like. */
/** As an object literal makes it. */
const record = <T>(model: { [Name in keyof T]: fc.Arbitrary<T[Name]> }) =>
  fc.record<T>(model, { noNullPrototype: true })

const anyText = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc.constantFrom(
    '',
    '\0',
    'a\0b\\0',
    `'; DROP TABLE sessions; --`,
    '{"a",NULL}',
    '\\',
    '"',
    'NULL',
  ),
)
const anyTime = fc.integer({ min: 0, max: 2 ** 45 })
const anyAmount = fc.bigInt({ min: 0n, max: UINT96_MAX })
const anyCount = fc.nat({ max: 2 ** 31 })
const orUndefined = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined })
const anyCounter = record({
  raw: fc.bigInt({ min: 0n, max: UINT64_MAX }),
  total: fc.bigInt({ min: 0n, max: 2n ** 70n }),
  wide: fc.boolean(),
})

const anyPlace: fc.Arbitrary<NasPlace> = record({
  nas: anyText,
  address: anyText,
  nasIdentifier: anyText,
  nasIpAddress: anyText,
  nasPort: orUndefined(fc.nat({ max: 2 ** 32 - 1 })),
  callingStationId: anyText,
  calledStationId: anyText,
  acctSessionId: anyText,
  acctMultiSessionId: anyText,
})

const anyTariff: fc.Arbitrary<Tariff> = record({
  name: anyText,
  perMinute: anyAmount,
  freeOctets: fc.bigInt({ min: 0n, max: UINT64_MAX }),
  flat: orUndefined(record({ price: anyAmount, windowMs: fc.nat({ max: 2 ** 31 - 1 }) })),
}).map(({ flat, ...tariff }) => ({
  ...{ ...TARIFF, ...tariff },
  ...(flat !== undefined && { flat: { ...flat, windowMs: flat.windowMs + 1 } }),
}))

const anyAttested = record({
  ...{ sequence: anyCount, time: anyCount, inputOctets: anyAmount, outputOctets: anyAmount },
  trust: fc.constantFrom('software', 'hardware'),
  ...{ missing: anyCount, atMs: anyTime, countedOctets: anyAmount, disagrees: fc.boolean() },
})

/** Any session at all, of the id that is given. */
export const anySession = (n: number): fc.Arbitrary<Session> =>
  record({
    kind: fc.constantFrom('normal', 'arrears', 'pmksa', 'foreign', 'unattributed'),
    state: fc.constantFrom('reserved', 'opened', 'current', 'overdue', 'disconnecting', 'closed'),
    account: orUndefined(fc.nat({ max: 9 }).map(addressOf)),
    continues: orUndefined(fc.nat().map(sessionId)),
    place: anyPlace,
    tariff: anyTariff,
    reserve: anyAmount,
    startedAtMs: anyTime,
    endsAtMs: anyTime,
    endedAtMs: orUndefined(anyTime),
    closedAtMs: orUndefined(anyTime),
    endedBy: orUndefined(fc.constantFrom('stopped', 'replaced', 'abandoned')),
    terminateCause: orUndefined(anyCount),
    credit: anyAmount,
    input: anyCounter,
    output: anyCounter,
    sessionTimeSeconds: fc.nat({ max: 2 ** 32 - 1 }),
    heardAtMs: anyTime,
    lastRecord: anyText,
    judged: anyCount,
    missed: anyCount,
    paidIntervals: anyCount,
    endsOwed: fc.array(anyAmount, { maxLength: 4 }),
    volumeDue: orUndefined(record({ amount: anyAmount, atMs: anyTime })),
    cutAtMs: orUndefined(anyTime),
    cutReason: orUndefined(fc.constantFrom('operator', 'volume-unpaid')),
    disputed: fc.boolean(),
    attested: orUndefined(anyAttested),
  }).map((parts) => sessionNumber(n, parts as Partial<Session>))
