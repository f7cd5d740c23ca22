import t from 'tap'
import { owed } from '../../accounting/rating.ts'
import { Status } from '../../accounting/report.ts'
import { checksumAddress } from '../../ethereum/address.ts'
import {
  ALICE,
  accept,
  type Case,
  NOON_S,
  playCases,
  start,
  stop60,
  world,
} from './attribution-rig.ts'

// Whose record is it: by Class, by place, by a reconnect, nobody's.

const CASES: readonly Case[] = [
  [
    'Start, Interim-Update and Stop with our Class',
    [
      accept,
      start,
      { at: 30, do: 'interim', class: 'A', octets: 100, time: 30, is: 'session A runs' },
      stop60,
    ],
    { A: [60_000, 500] },
  ],
  [
    'RFC 2866 §5.1: Failed and an unknown status are kept, and change nothing',
    [
      accept,
      { at: 5, do: 'failed', class: 'A', is: 'nas' },
      { at: 6, do: 'nothing', class: 'A', is: 'nas' },
    ],
  ],
  [
    'a Class from another client entry is foreign, and its records stay together',
    [
      accept,
      start,
      { at: 2, do: 'start', class: 'A', nas: 'roof', is: 'foreign #1 runs' },
      { at: 9, do: 'interim', class: 'A', nas: 'roof', octets: 7, is: 'foreign #1 runs' },
      { at: 12, do: 'stop', class: 'A', nas: 'roof', octets: 8, is: 'foreign #1 over' },
      { at: 13, do: 'interim', class: 'A', octets: 1, is: 'session A runs' },
    ],
  ],
  [
    'nobody knows it: unattributed, and its records stay together',
    [
      { at: 1, do: 'start', is: 'unattributed #1 runs' },
      { at: 2, do: 'interim', octets: 5, is: 'unattributed #1 runs' },
      { at: 3, do: 'stop', octets: 9, is: 'unattributed #1 over' },
      { at: 4, do: 'interim', octets: 9, time: 4, is: 'late #1 over' },
    ],
  ],
  [
    'a Class of our form that nobody knows is looked up by its place',
    [{ at: 1, do: 'start', class: 'Z', is: 'unattributed #1 runs' }],
  ],
  [
    'trap: the NAS drops Class',
    [
      accept,
      { at: 1, do: 'start', is: 'session A runs' },
      { at: 60, do: 'stop', octets: 3, is: 'session A over' },
    ],
  ],
  [
    'trap: no Class, and another Acct-Session-Id than in the Access-Request',
    [
      accept,
      { at: 1, do: 'start', id: 'S9', multi: 'M9', is: 'session A runs' },
      { at: 60, do: 'stop', id: 'S9', multi: 'M9', is: 'session A over' },
    ],
  ],
  [
    'a Start is missing',
    [accept, { at: 30, do: 'interim', class: 'A', octets: 9, time: 29, is: 'session A runs' }],
  ],
  [
    'a Start is missing where nobody pays: it began when the NAS says',
    [
      { at: 300, do: 'interim', octets: 9, time: 290, is: 'unattributed #1 runs' },
      { at: 310, do: 'stop', octets: 9, time: 300, is: 'unattributed #1 over' },
    ],
    { '#1': [300_000, 9] },
  ],
  ['only a Stop came', [accept, stop60], { A: [60_000, 500] }],
  [
    'only a Stop of a reconnect came: nobody pays on the word of the NAS',
    [
      accept,
      start,
      stop60,
      { at: 900, do: 'stop', id: 'S2', multi: 'M2', time: 700, is: 'unattributed #1 over' },
    ],
  ],
  [
    'trap: an Interim-Update after Stop reopens nothing',
    [
      accept,
      start,
      stop60,
      { at: 61, do: 'interim', class: 'A', octets: 400, time: 55, is: 'late A over' },
      { at: 300, do: 'interim', class: 'A', octets: 900, time: 290, is: 'late A over' },
    ],
    { A: [60_000, 500] },
  ],
  [
    'trap: the Start was overtaken by its Stop',
    [
      accept,
      { ...stop60, at: 5, time: 5, stamp: 5 },
      { at: 6, do: 'start', class: 'A', stamp: 1, is: 'late A over' },
    ],
  ],
  [
    'trap: the same without Event-Timestamp',
    [accept, { ...stop60, at: 5, time: 5 }, { at: 6, do: 'start', class: 'A', is: 'late A over' }],
  ],
  [
    'trap 9: Acct-Session-Id is used again, by a cached key: Start later than the Stop',
    [
      accept,
      start,
      { ...stop60, stamp: 60 },
      { at: 70, do: 'start', class: 'A', multi: 'M2', stamp: 70, is: 'session #1 runs' },
      {
        at: 99,
        do: 'interim',
        class: 'A',
        multi: 'M2',
        time: 29,
        octets: 7,
        is: 'session #1 runs',
      },
      { at: 100, do: 'stop', class: 'A', multi: 'M2', time: 30, octets: 9, is: 'session #1 over' },
    ],
    { A: [60_000, 500], '#1': [30_000, 9] },
  ],
  [
    '… and the old Stop, sent again meanwhile, does not end the new one',
    [
      accept,
      start,
      { ...stop60, stamp: 60 },
      { at: 70, do: 'start', class: 'A', stamp: 70, is: 'session #1 runs' },
      { ...stop60, at: 71, stamp: 60, delay: 11, is: 'duplicate A over' },
      { at: 99, do: 'interim', class: 'A', time: 29, octets: 7, is: 'session #1 runs' },
    ],
  ],
  [
    'trap 9: Acct-Session-Id is used again after a new login: Class tells them apart',
    [
      accept,
      start,
      stop60,
      { at: 61, do: 'accept', class: 'B', multi: 'M2' },
      { at: 61, do: 'start', class: 'B', multi: 'M2', is: 'session B runs' },
      { at: 62, do: 'stop', class: 'A', time: 61, octets: 501, is: 'late A over' },
      { at: 90, do: 'interim', class: 'B', multi: 'M2', time: 29, octets: 9, is: 'session B runs' },
    ],
    { A: [60_000, 500] },
  ],
  [
    'PMKSA: the same Class under another Acct-Session-Id',
    [
      accept,
      start,
      stop60,
      { at: 90, do: 'start', class: 'A', id: 'S2', is: 'session #1 runs' },
      { at: 120, do: 'interim', class: 'A', id: 'S2', octets: 5, time: 30, is: 'session #1 runs' },
      { at: 150, do: 'stop', class: 'A', id: 'S2', octets: 6, time: 60, is: 'session #1 over' },
      { at: 160, do: 'start', class: 'A', id: 'S3', is: 'session #2 runs' },
    ],
    { A: [60_000, 500], '#1': [60_000, 6] },
  ],
  [
    'PMKSA: its Start was lost: time before we heard of it costs nothing',
    [
      accept,
      start,
      stop60,
      { at: 200, do: 'interim', class: 'A', id: 'S2', octets: 5, time: 100, is: 'session #1 runs' },
      { at: 230, do: 'stop', class: 'A', id: 'S2', octets: 6, time: 130, is: 'session #1 over' },
    ],
    { '#1': [30_000, 1] },
  ],
  [
    'PMKSA: the Stop before it was lost: one station is one device',
    [
      accept,
      start,
      { at: 90, do: 'start', class: 'A', id: 'S2', is: 'session #1 runs' },
      { at: 91, do: 'stop', class: 'A', time: 89, octets: 9, is: 'late A over' },
    ],
  ],
  [
    'PMKSA without Class: client, station and User-Name are those of the last session',
    [
      accept,
      start,
      stop60,
      {
        at: 90,
        do: 'start',
        id: 'S2',
        multi: 'M2',
        user: checksumAddress(ALICE),
        is: 'session #1 runs',
      },
    ],
  ],
  [
    '… without User-Name too',
    [accept, start, stop60, { at: 90, do: 'start', id: 'S2', multi: 'M2', is: 'session #1 runs' }],
  ],
  [
    '… but under another name it is unattributed',
    [
      accept,
      start,
      stop60,
      { at: 90, do: 'start', id: 'S2', multi: 'M2', user: 'mallory', is: 'unattributed #1 runs' },
    ],
  ],
  [
    '… and of another station',
    [
      accept,
      start,
      stop60,
      {
        at: 90,
        do: 'start',
        id: 'S2',
        multi: 'M2',
        station: '02-00-00-00-01-01',
        is: 'unattributed #1 runs',
      },
    ],
  ],
  [
    '… and after 12 hours, as no key lives longer',
    [
      accept,
      start,
      stop60,
      { at: 43_261, do: 'start', id: 'S2', multi: 'M2', is: 'unattributed #1 runs' },
    ],
  ],
  [
    'PMKSA: not admitted any more',
    [
      accept,
      start,
      stop60,
      { at: 80, do: 'refuse' },
      { at: 90, do: 'start', class: 'A', id: 'S2', is: 'unattributed #1 runs wish not-admitted' },
    ],
  ],
]

playCases(CASES)

t.test('sessions that nobody pays for owe nothing', async (t) => {
  const books = world()
  books.play(accept)
  books.play({ at: 1, do: 'start', station: '02-00-00-00-09-09', id: 'X', multi: 'X' })
  books.play({
    at: 9,
    do: 'stop',
    station: '02-00-00-00-09-09',
    id: 'X',
    multi: 'X',
    octets: 10 ** 9,
  })
  books.play({ at: 9, do: 'start', class: 'A', nas: 'roof', octets: 10 ** 9 })
  for (const name of ['#1', '#2']) {
    const session = books.session(name)
    if (session === undefined) throw new Error(name)
    t.equal(owed(session, (NOON_S + 900) * 1000), 0n, session.kind)
  }
})

t.test('a reconnect of an account that is not in memory begins no books of its own', async (t) => {
  const { ledger, play } = world(0)
  play(accept)
  const signature = `0x${'00'.repeat(65)}`
  ledger.pay({ account: ALICE, amount: 61n, signature, settled: 0n }, undefined, NOON_S * 1000)
  play(stop60)
  ledger.drain()
  ledger.drain()
  ledger.forget((NOON_S + 60) * 1000)
  t.notOk(ledger.knows(ALICE))
  const back = play({ at: 70, do: 'start', id: 'S2', multi: 'M2', user: ALICE })
  t.equal(back, 'unattributed #1 runs wish not-admitted')
  t.notOk(ledger.knows(ALICE), 'or its next voucher would be taken for the first')
})

t.test('every acknowledged record is kept, a repetition once', async (t) => {
  const books = world()
  for (const step of [accept, start, stop60, { ...stop60, delay: 0 }]) books.play(step)
  books.play({ at: 70, do: 'on', station: '' })
  const rows = books.ledger.drain().records.map((row) => [row.status, row.attribution])
  t.same(rows, [
    [Status.start, 'session'],
    [Status.stop, 'session'],
    [Status.accountingOn, 'nas'],
  ])
})
