import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import t, { type Test } from 'tap'
import type { AccountingRecord, Session } from '../../accounting/session.ts'
import { openSqliteStore } from '../../accounting/store-sqlite.ts'
import { AttributeType as A, AcctStatusType } from '../../radius/attribute-type.ts'
import { openReply, sealRequest } from '../../radius/authenticator.ts'
import { Code, decodePacket } from '../../radius/packet.ts'
import {
  ACCOUNT,
  OTHER_ADDRESS,
  openAccountingPort,
  radclient,
  SECRET,
  stationOf,
} from './accounting-rig.ts'

// What access points really do, from the wire to the disk: FreeRADIUS's radclient says it, and what
// is looked at is what the store has once the server has ended.

type Rig = Awaited<ReturnType<typeof openAccountingPort>>
type Say = (status: string, lines: readonly string[], as?: Said) => Promise<void>

interface Said {
  readonly acctSessionId?: string
  /** Its NAS drops Class. */
  readonly bare?: true
}

/** The NAS of session `number`; every record must be answered. */
function nasOf(t: Test, rig: Rig, number: number): Say {
  const classText = rig.admit(number, `S${number}`)
  const station = ['NAS-Identifier="ap1"', `Calling-Station-Id="${stationOf(number)}"`]
  return async (status, more, { acctSessionId = `S${number}`, bare } = {}) => {
    const echoed = bare === true ? [] : [`Class=0x${Buffer.from(classText).toString('hex')}`]
    const head = [`Acct-Status-Type=${status}`, `Acct-Session-Id="${acctSessionId}"`]
    const code = await radclient(rig.port, SECRET, [...head, ...station, ...echoed, ...more])
    t.equal(code, 0, `${status} ${more.join(' ')}: answered`)
  }
}

const clock = (offSeconds: number): string =>
  `Event-Timestamp=${Math.floor(Date.now() / 1000) + offSeconds}`
const counters = (seconds: number, octets: number): string[] => [
  `Acct-Session-Time=${seconds}`,
  `Acct-Input-Octets=${octets}`,
  'Acct-Output-Octets=0',
]

interface Found {
  /** The session that was admitted. */
  readonly session: Session
  /** All of its station, oldest first. */
  readonly all: readonly Session[]
  /** Status and attribution of its records, in the order they came. */
  readonly records: readonly string[]
}

interface Trap {
  readonly name: string
  play(say: Say): Promise<void>
  check(t: Test, found: Found): void
}

const TRAPS: readonly Trap[] = [
  {
    name: 'a clock 10 minutes ahead: nothing ends in the future',
    async play(say) {
      await say('Start', [clock(600)])
      await say('Stop', [clock(601), ...counters(1, 9)])
    },
    check(t, { session }) {
      t.equal(session.endedBy, 'stopped')
      t.ok((session.endedAtMs ?? Number.POSITIVE_INFINITY) <= Date.now())
      t.equal(session.input.total, 9n)
    },
  },
  {
    name: 'a clock 10 minutes behind: nothing ends before it began',
    async play(say) {
      await say('Start', [clock(-600)])
      await say('Interim-Update', [clock(-599), ...counters(1, 8)])
      await say('Stop', [clock(-598), ...counters(2, 9)])
    },
    check(t, { session, records }) {
      t.equal(session.endedBy, 'stopped')
      t.ok((session.endedAtMs ?? 0) >= session.startedAtMs)
      t.equal(session.input.total, 9n)
      t.same(records, ['1 session', '3 session', '2 session'])
    },
  },
  {
    name: 'RFC 2866 §5.2: retries with a growing Acct-Delay-Time are one record',
    async play(say) {
      const stamp = clock(0)
      for (const delay of [0, 3, 9]) {
        await say('Interim-Update', [stamp, ...counters(5, 70), `Acct-Delay-Time=${delay}`])
      }
    },
    check(t, { session, records }) {
      t.same(records, ['3 session'])
      t.equal(session.input.total, 70n)
    },
  },
  {
    name: 'no Class: the place tells whose it is',
    play: (say) => say('Interim-Update', counters(5, 70), { bare: true }),
    check(t, { session, records }) {
      t.same(records, ['3 session'])
      t.equal(session.input.total, 70n)
    },
  },
  {
    name: 'PMKSA: the Class of the first login under another Acct-Session-Id',
    async play(say) {
      await say('Start', [])
      await say('Stop', counters(5, 70))
      await say('Start', [], { acctSessionId: 'P1' })
      await say('Interim-Update', counters(5, 30), { acctSessionId: 'P1' })
    },
    check(t, { session, all, records }) {
      t.equal(session.endedBy, 'stopped')
      t.equal(session.input.total, 70n, 'a finished session keeps what it had')
      const [, again] = all
      t.match(again, { kind: 'pmksa', account: ACCOUNT, continues: session.id, state: 'current' })
      t.equal(again?.input.total, 30n)
      t.same(records, ['1 session', '2 session', '1 session', '3 session'])
    },
  },
  {
    name: '32 bits without Gigawords that wrap',
    async play(say) {
      await say('Interim-Update', counters(5, 2 ** 32 - 6))
      await say('Interim-Update', counters(6, 10))
    },
    check: (t, { session }) => t.equal(session.input.total, 2n ** 32n + 10n),
  },
  {
    name: 'Gigawords',
    async play(say) {
      await say('Interim-Update', [...counters(5, 2 ** 32 - 6), 'Acct-Input-Gigawords=0'])
      await say('Interim-Update', [...counters(6, 10), 'Acct-Input-Gigawords=1'])
    },
    check: (t, { session }) => t.equal(session.input.total, 2n ** 32n + 10n),
  },
  {
    name: 'a Stop that overtook its last Interim-Update, and zeros in it',
    async play(say) {
      await say('Interim-Update', counters(5, 70))
      await say('Stop', counters(9, 0))
      await say('Interim-Update', counters(7, 90))
    },
    check(t, { session, records }) {
      t.equal(session.input.total, 70n)
      t.equal(session.endedBy, 'stopped')
      t.same(records, ['3 session', '2 session', '3 late'])
    },
  },
]

t.test('radclient: each trap, from the wire to the disk', async (t) => {
  const rig = await openAccountingPort()
  t.teardown(rig.remove)
  await Promise.all(TRAPS.map((trap, number) => trap.play(nasOf(t, rig, number + 1))))
  const storage = await openSqliteStore(await rig.stop())
  const sessions = [...(await storage.sessions({ limit: 1000 }))]
  const records = [...(await storage.records({ limit: 1000 }))].reverse()
  await storage.close()
  const byAge = sessions.sort((a, b) => a.startedAtMs - b.startedAtMs)
  for (const [index, trap] of TRAPS.entries()) {
    const isHere = ({ place }: Session | AccountingRecord): boolean =>
      place.callingStationId === stationOf(index + 1)
    const all = byAge.filter(isHere)
    const [session] = all
    if (session === undefined) throw new Error(`${trap.name}: no session`)
    const said = records.filter(isHere).map((one) => `${one.status} ${one.attribution}`)
    await t.test(trap.name, async (t) => trap.check(t, { session, all, records: said }))
  }
})

/** Asks once from an address of its own, until it is answered. */
async function askFrom(address: string, port: number, classText: string): Promise<void> {
  const secret = Buffer.from(SECRET)
  const status = Buffer.alloc(4)
  status.writeUInt32BE(AcctStatusType.start)
  const attributes = [
    { type: A.acctStatusType, value: status },
    { type: A.acctSessionId, value: Buffer.from('copied') },
    { type: A.nasIdentifier, value: Buffer.from('ap2') },
    { type: A.class, value: Buffer.from(classText) },
  ]
  const packet = sealRequest({ code: Code.accountingRequest, identifier: 7, attributes }, secret)
  const socket = createSocket('udp4')
  socket.bind(0, address)
  await once(socket, 'listening')
  const again = setInterval(() => socket.send(packet, port, '127.0.0.1'), 200)
  const [answer] = await once(socket, 'message')
  clearInterval(again)
  socket.close()
  openReply(answer, secret, decodePacket(packet))
}

t.test('a Class of ours from another client entry is kept, and earns nothing', async (t) => {
  const rig = await openAccountingPort()
  t.teardown(rig.remove)
  const classText = rig.admit(1, 'S1')
  await askFrom(OTHER_ADDRESS, rig.port, classText)
  const storage = await openSqliteStore(await rig.stop())
  const sessions = await storage.sessions({ limit: 9 })
  const records = await storage.records({ limit: 9 })
  await storage.close()
  t.same(
    records.map(({ attribution, place }) => [attribution, place.nas]),
    [['foreign', 'yard']],
  )
  const foreign = sessions.find(({ kind }) => kind === 'foreign')
  t.match(foreign, { account: undefined, place: { nas: 'yard' } })
  t.equal(sessions.find(({ kind }) => kind === 'normal')?.lastRecord, '', 'ours heard nothing')
})
