import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { openSqliteStore } from '../../accounting/store-sqlite.ts'
import { AttributeType as A, AcctStatusType } from '../../radius/attribute-type.ts'
import { openReply, sealRequest } from '../../radius/authenticator.ts'
import { type Attribute, Code, decodePacket } from '../../radius/packet.ts'
import { seeded } from '../sim/random.ts'
import { openAccountingPort, radclient, SECRET, stationOf } from './accounting-rig.ts'

// The accounting port from socket to disk: FreeRADIUS's radclient as the NAS, then one of the
// test's own that loses, repeats and reorders.

const secret = Buffer.from(SECRET)

t.test('radclient: every status is answered, and counted once', async (t) => {
  const rig = await openAccountingPort()
  t.teardown(rig.remove)
  const classText = rig.admit(1, 'S1')
  const hex = `0x${Buffer.from(classText).toString('hex')}`
  const base = [
    ...['User-Name="nemo"', 'NAS-Identifier="ap1"', `Calling-Station-Id="${stationOf(1)}"`],
    ...['Acct-Session-Id="S1"', `Class=${hex}`],
  ]
  const say = (status: string, ...more: string[]) =>
    radclient(rig.port, SECRET, [...base, `Acct-Status-Type=${status}`, ...more])
  const interim = ['Acct-Session-Time=1', 'Acct-Input-Octets=5', 'Acct-Input-Gigawords=1']
  t.equal(await say('Start'), 0, 'Start')
  t.equal(await say('Interim-Update', ...interim), 0, 'Interim-Update')
  t.equal(rig.session(1)?.input.total, 2n ** 32n + 5n, 'Gigawords')
  const again = [...interim, 'Acct-Delay-Time=3', 'Proxy-State=0x01']
  t.equal(await say('Interim-Update', ...again), 0, 'again, with another Identifier')
  t.equal(rig.session(1)?.input.total, 2n ** 32n + 5n)
  t.equal(await radclient(rig.port, 'another secret', base), 1, 'another secret: silence')
  t.equal(await say('Stop', 'Acct-Session-Time=2', 'Acct-Input-Octets=9'), 0, 'Stop')
  t.equal(rig.session(1)?.state, 'closed')
  rig.admit(2, 'S2')
  await sleep(5)
  const nas = ['NAS-Identifier="ap1"', 'Acct-Session-Id="boot"']
  for (const status of ['Accounting-On', 'Accounting-Off']) {
    const lines = [...nas, `Acct-Status-Type=${status}`]
    t.equal(await radclient(rig.port, SECRET, lines), 0, status)
    t.equal(rig.session(2)?.endedBy, 'nas-restarted')
  }
  t.same(await rig.drops(), { 'authenticator-wrong': 1 })

  const storage = await openSqliteStore(await rig.stop())
  const records = await storage.records({ limit: 100 })
  await storage.close()
  const stored = records.map(({ status, attribution }) => `${status} ${attribution}`).sort()
  t.same(stored, ['1 session', '2 session', '3 session', '7 nas', '8 nas'], 'on disk')
})

const uint32 = (type: number, value: number): Attribute => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return { type, value: bytes }
}
const text = (type: number, value: string): Attribute => ({ type, value: Buffer.from(value) })

/** What a record says; the rest is the same for all of a session. */
interface Said {
  readonly session: number
  readonly status: number
  readonly seconds: number
  readonly octets: number
  readonly stamp: number
}

function attributesOf(said: Said, classText: string, delay: number): Attribute[] {
  return [
    ...[uint32(A.acctStatusType, said.status), text(A.nasIdentifier, 'ap1')],
    ...[text(A.acctSessionId, `S${said.session}`), text(A.class, classText)],
    ...[text(A.callingStationId, stationOf(said.session)), uint32(A.acctDelayTime, delay)],
    ...[uint32(A.acctSessionTime, said.seconds), uint32(A.acctInputOctets, said.octets)],
    ...[uint32(A.acctOutputOctets, 0), uint32(A.eventTimestamp, said.stamp)],
  ]
}

/**
 * A NAS whose network is as bad as `fate` says: how often each packet or reply arrives, after how
 * many milliseconds. It asks again with a new Identifier until it is answered.
 */
async function badNas(port: number, waitMs: number, fate: () => readonly number[]) {
  const sockets = Array.from({ length: 16 }, () => createSocket('udp4'))
  const waiting = new Map<string, { packet: Buffer; done: () => void }>()
  for (const [lane, socket] of sockets.entries()) {
    socket.bind(0, '127.0.0.1')
    await once(socket, 'listening')
    socket.on('message', (datagram) => {
      const found = waiting.get(`${lane} ${datagram[1]}`)
      if (found === undefined) return
      try {
        openReply(datagram, secret, decodePacket(found.packet))
      } catch {
        return // an answer to an earlier request of this Identifier
      }
      for (const afterMs of fate()) setTimeout(found.done, afterMs)
    })
  }
  let asked = 0
  const askOnce = (attributes: Attribute[], patienceMs: number): Promise<boolean> => {
    const lane = asked % sockets.length
    const identifier = Math.floor(asked / sockets.length) % 256
    asked += 1
    const content = { code: Code.accountingRequest, identifier, attributes }
    const packet = sealRequest(content, secret)
    const key = `${lane} ${identifier}`
    return new Promise((resolve) => {
      const patience = setTimeout(() => end(false), patienceMs)
      const end = (isDone: boolean): void => {
        if (waiting.get(key)?.packet === packet) waiting.delete(key)
        clearTimeout(patience)
        resolve(isDone)
      }
      waiting.set(key, { packet, done: () => end(true) })
      for (const afterMs of fate()) {
        setTimeout(() => sockets[lane]?.send(packet, port, '127.0.0.1'), afterMs)
      }
    })
  }
  return {
    async tell(said: Said, classText: string): Promise<void> {
      for (let delay = 0; delay < 60; delay++) {
        // Ever more patient, as a NAS is: a disk that is slow to flush must not drown in
        // repetitions.
        const patienceMs = waitMs * (1 + delay / 2)
        if (await askOnce(attributesOf(said, classText, delay), patienceMs)) return
      }
      throw new Error(`session ${said.session} was never answered`)
    },
    close() {
      for (const socket of sockets) socket.close()
    },
  }
}

t.test(
  '20 % loss, repetitions and reordering: nothing is lost, nothing counts twice',
  async (t) => {
    const seed = process.env['SEED'] ?? 'a bad day'
    t.comment(`SEED=${seed}`)
    const random = seeded(seed)
    const rig = await openAccountingPort()
    t.teardown(rig.remove)
    const nas = await badNas(rig.port, 60, () => {
      if (random.chance(0.2)) return []
      const first = random.below(8)
      return random.chance(0.2) ? [first, random.below(30)] : [first]
    })
    const SESSIONS = 100
    const classes = Array.from({ length: SESSIONS }, (_, number) => rig.admit(number, `S${number}`))
    const stamp = Math.floor(Date.now() / 1000)
    const told: Promise<void>[] = []
    const expected = new Map<number, number>()
    for (let step = 0; step < 6; step++) {
      for (const [session, classText] of classes.entries()) {
        const status = step === 0 ? AcctStatusType.start : AcctStatusType.interimUpdate
        const octets = step * 1000 * (session + 1)
        expected.set(session, octets)
        const said = { session, status, seconds: step, octets, stamp: stamp + step }
        // Not waited for: a later record may overtake an earlier one that is asked again.
        told.push(nas.tell(said, classText))
      }
      await sleep(20)
    }
    await Promise.all(told)
    for (const [session, octets] of expected) {
      t.equal(rig.session(session)?.input.total, BigInt(octets), `session ${session}`)
    }
    const stops = classes.map((classText, session) => {
      const octets = (expected.get(session) ?? 0) + 1
      const said = { session, status: AcctStatusType.stop, seconds: 6, octets, stamp: stamp + 6 }
      return nas.tell(said, classText)
    })
    await Promise.all(stops)
    await sleep(50)
    nas.close()
    t.equal(rig.ledger.openCount, 0, 'every Stop has closed its session, and nothing was reopened')
    const storage = await openSqliteStore(await rig.stop())
    const stored = await storage.sessions({ limit: 10_000 })
    await storage.close()
    t.equal(stored.length, SESSIONS)
    for (const { id, input, endedBy } of stored) {
      const octets = (expected.get(Number.parseInt(id, 16)) ?? 0) + 1
      t.same([input.total, endedBy], [BigInt(octets), 'stopped'], id)
    }
  },
)

t.test('the interims of 1,000 sessions in the same second are all answered', async (t) => {
  const rig = await openAccountingPort()
  t.teardown(rig.remove)
  const classes = Array.from({ length: 1000 }, (_, number) => rig.admit(number, `S${number}`))
  const nas = await badNas(rig.port, 5000, () => [0])
  const stamp = Math.floor(Date.now() / 1000)
  const status = AcctStatusType.interimUpdate
  await Promise.all(
    classes.map((classText, session) =>
      nas.tell({ session, status, seconds: 0, octets: session, stamp }, classText),
    ),
  )
  nas.close()
  const open = [...rig.ledger.open()]
  t.equal(open.length, 1000)
  t.ok(open.every(({ id, input }) => input.total === BigInt(Number.parseInt(id, 16))))
  await rig.stop()
})
