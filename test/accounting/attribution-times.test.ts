import t from 'tap'
import { accept, type Case, NOON_S, playCases, start, stop60, world } from './attribution-rig.ts'

// When it was: repetitions, delays, clocks that are wrong, records that overtook each other, and a
// NAS that starts anew.

const CASES: readonly Case[] = [
  [
    'D5: a record sent again with a new Identifier and Acct-Delay-Time counts once',
    [
      accept,
      { ...start, stamp: 1 },
      { at: 30, do: 'interim', class: 'A', octets: 9, time: 30, stamp: 30, is: 'session A runs' },
      {
        at: 33,
        do: 'interim',
        class: 'A',
        octets: 9,
        time: 30,
        stamp: 30,
        delay: 3,
        is: 'duplicate A runs',
      },
      { ...stop60, stamp: 60 },
      { ...stop60, at: 65, stamp: 60, delay: 5, is: 'duplicate A over' },
    ],
    { A: [60_000, 500] },
  ],
  [
    'Acct-Delay-Time: a Stop that waited ends when it was first sent',
    [accept, start, { ...stop60, at: 80, delay: 20 }],
    { A: [60_000, 500] },
  ],
  [
    'RFC 2869 §5.3: the delay is not taken off Event-Timestamp once more',
    [accept, start, { ...stop60, at: 80, delay: 20, stamp: 60 }],
    { A: [60_000, 500] },
  ],
  [
    'a clock 10 minutes ahead bills nothing more',
    [accept, { ...start, stamp: 601 }, { ...stop60, stamp: 660 }],
    { A: [60_000, 500] },
  ],
  [
    'a clock 10 minutes behind takes nothing from the access point',
    [accept, { ...start, stamp: -599 }, { ...stop60, stamp: -540 }],
    { A: [60_000, 500] },
  ],
  [
    'a clock that was never set is no clock',
    [accept, { ...start, stamp: -NOON_S }, { ...stop60, stamp: -NOON_S + 59, delay: 2 }],
    { A: [58_000, 500] },
  ],
  [
    'a session time beyond what passed bills nothing more',
    [accept, start, { ...stop60, time: 4_000_000_000 }],
    { A: [60_000, 500] },
  ],
  [
    'an Interim-Update that was overtaken lowers and adds nothing, whatever clock its NAS has',
    [
      accept,
      { at: 30, do: 'interim', class: 'A', octets: 300, stamp: 620, is: 'session A runs' },
      { at: 31, do: 'interim', class: 'A', octets: 200, stamp: 610, is: 'session A runs' },
      { ...stop60, stamp: 650 },
    ],
    { A: [60_000, 500] },
  ],
  [
    '… within one second of its clock',
    [
      accept,
      { at: 30, do: 'interim', class: 'A', octets: 300, time: 30, stamp: 30, is: 'session A runs' },
      { at: 31, do: 'interim', class: 'A', octets: 200, time: 29, stamp: 30, is: 'session A runs' },
      { ...stop60, stamp: 60 },
    ],
    { A: [60_000, 500] },
  ],
  [
    '… without one',
    [
      accept,
      { at: 30, do: 'interim', class: 'A', octets: 300, time: 30, is: 'session A runs' },
      { at: 31, do: 'interim', class: 'A', octets: 200, time: 20, is: 'session A runs' },
      stop60,
    ],
    { A: [60_000, 500] },
  ],
  [
    'a NAS that counts anew later on was not overtaken: what it counts is added',
    [
      accept,
      { at: 30, do: 'interim', class: 'A', octets: 300, time: 30, is: 'session A runs' },
      { at: 110, do: 'interim', class: 'A', octets: 40, time: 20, is: 'session A runs' },
      { at: 115, do: 'stop', class: 'A', octets: 50, time: 25, is: 'session A over' },
    ],
    { A: [115_000, 350] },
  ],
  [
    'Accounting-On ends what began before it, when it was last heard',
    [
      accept,
      { at: 10, do: 'interim', class: 'A', octets: 1, time: 10, is: 'session A runs' },
      { at: 50, do: 'accept', class: 'B', station: '02-00-00-00-01-01', id: 'S5', multi: 'M5' },
      { at: 55, do: 'on', id: 'boot', station: '', delay: 15, is: 'nas ends A' },
      { at: 56, do: 'on', id: 'boot', station: '', is: 'nas ends B' },
      { at: 57, do: 'on', id: 'boot', station: '', is: 'nas' },
    ],
    { A: [10_000, 1] },
  ],
  [
    '… by its clock it would be later, by ours it is not',
    [
      { at: 50, do: 'accept', class: 'B' },
      { at: 55, do: 'on', id: 'boot', station: '', delay: 15, stamp: 500, is: 'nas' },
    ],
  ],
  [
    'Accounting-Off of another access point, network or client entry ends nothing',
    [
      accept,
      { at: 5, do: 'off', station: '', name: 'ap2', is: 'nas' },
      { at: 5, do: 'off', station: '', network: '02-00-00-00-00-01:other', is: 'nas' },
      { at: 5, do: 'off', station: '', nas: 'roof', is: 'nas' },
      { at: 6, do: 'off', station: '', network: '', is: 'nas ends A' },
    ],
  ],
  [
    'its NAS serves on what Accounting-On ended: it must be put off',
    [
      accept,
      { at: 10, do: 'interim', class: 'A', octets: 1, time: 10, is: 'session A runs' },
      { at: 20, do: 'on', id: 'boot', station: '', is: 'nas ends A' },
      {
        at: 30,
        do: 'interim',
        class: 'A',
        octets: 2,
        time: 30,
        is: 'late A over wish not-admitted',
      },
    ],
    { A: [10_000, 1] },
  ],
]

playCases(CASES)

t.test(
  'what an Accounting-On ends is over when last heard, and closed when it comes',
  async (t) => {
    const books = world()
    const on = { at: 55, do: 'on', id: 'boot', station: '' } as const
    const told = { at: 10, do: 'interim', class: 'A', octets: 1, time: 10 } as const
    for (const step of [accept, told, on]) books.play(step)
    const at = (seconds: number) => (NOON_S + seconds) * 1_000
    const end = { endedBy: 'nas-restarted', endedAtMs: at(10), closedAtMs: at(55) }
    t.match(books.session('A'), end)
  },
)
