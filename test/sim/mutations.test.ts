// Bad input at the level of the whole request handler: mutations, prefixes and longer forms of the
// packets of real conversations, forged and honestly signed. Whatever comes: no fault of ours, no
// accept without proof, bounded tables, an answer or a counted reason for each datagram.
// `node test/sim/mutations.test.ts SEED` repeats a run.

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { Code } from '../../radius/packet.ts'
import { eapOf, mutate, resign, valuesOf, withLength } from './mutate.ts'
import { lobby, lobbySource, type Manner, type Parked, park, raise, seal } from './parked.ts'
import { type Random, seeded } from './random.ts'
import { createRig, makeDevice, type Rig } from './rig.ts'

const SEED = process.argv[2] ?? 'mutations 1'
const MUTATIONS = 100_000
const STATE = 24
const CALLING_STATION_ID = 31
const STEP_MS = 5

// Wall time on a machine that is busy with other tests.
t.setTimeout(180_000)

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')
const heapBytes = (): number => {
  collect()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

const manners: readonly Manner[] = [
  { name: 'TLS 1.3', device: makeDevice('rich', 'a'), fragmentSize: 1300, framedMtu: 1500 },
  { name: 'TLS 1.2', device: makeDevice('rich', 'b', '1.2'), fragmentSize: 1300, framedMtu: 1500 },
  { name: 'in pieces', device: makeDevice('rich', 'c'), fragmentSize: 300, framedMtu: 400 },
]

async function openRig(seed: string): Promise<Rig> {
  const limits = { conversationsMax: 4_096, duplicatesMax: 2_000, idleMs: 15_000 }
  const rig = await createRig({ seed, ...limits, fragmentSize: 1300 })
  for (const { device } of manners) rig.deposit(device.account, 1_000_000n)
  return rig
}

/** Points of a conversation of this manner, by playing it to its end. */
async function pointsOf(manner: Manner): Promise<number> {
  const rig = await openRig('points')
  for (let point = 0; ; point++) {
    const parked = await park(rig, manner, `points ${point}`, point, seeded('points'))
    if (parked === undefined) return point
    parked.tls.close()
  }
}

/** An acknowledgement of the pending request under its State: only that may an accept follow. */
function isGoodAck(packet: Buffer, parked: Parked): boolean {
  const eap = eapOf(packet)
  const [code, identifier, , , type, flags] = eap
  const state = parked.stateAttribute
  if (parked.pending === undefined || state === undefined) return false
  // An empty message may also say its length: L with 0.
  const empty = eap.length === 6 || (eap.length === 10 && eap.readUInt32BE(6) === 0)
  const flagged = ((flags ?? 0xff) & 0xe0) === (eap.length === 10 ? 0x80 : 0)
  const matches = code === 2 && identifier === parked.pending[1] && type === 13
  return empty && flagged && matches && valuesOf(packet, STATE)[0]?.equals(state) === true
}

interface Tally {
  sent: number
  replies: Map<string, number>
  badAccepts: string[]
}

/** Sends one datagram and says what came back; an accept must have been due. */
async function send(rig: Rig, datagram: Buffer, parked: Parked, tally: Tally) {
  rig.clock.nowMs += STEP_MS
  if (tally.sent++ % 100 === 0) rig.sweep()
  const reply = await rig.auth(Buffer.from(datagram), lobbySource)
  const name = reply === undefined ? 'silence' : `code ${reply[0]}`
  tally.replies.set(name, (tally.replies.get(name) ?? 0) + 1)
  if (reply?.[0] === Code.accessAccept && datagram[0] !== Code.statusServer) {
    const due = parked.tls.status() === 'established' && isGoodAck(datagram, parked)
    if (!due) tally.badAccepts.push(datagram.toString('hex'))
  }
  return reply
}

/** Whether the conversation still waits for the same response. */
function isParked(rig: Rig, parked: Parked, reply: Buffer | undefined): boolean {
  const { stateAttribute, pending } = parked
  if (parked.point === 0) return true
  if (stateAttribute === undefined || pending === undefined) return false
  if (rig.conversations.find(stateAttribute, lobby.name) === undefined) return false
  return reply?.[0] !== Code.accessChallenge || eapOf(reply).equals(pending)
}

function withStation(parked: Parked, station: string): Parked {
  const attributes = parked.attributes.map((attribute) =>
    attribute.type === CALLING_STATION_ID
      ? { ...attribute, value: Buffer.from(station) }
      : attribute,
  )
  return { ...parked, station, attributes }
}

/** The conversations that mutations are aimed at, replaced when one has ended or gone on. */
function pool(rig: Rig, points: readonly number[], random: Random) {
  const held = new Map<string, Parked>()
  return {
    async take(): Promise<Parked> {
      const kind = random.below(manners.length)
      const manner = manners[kind] ?? raise('manner')
      // What TLS gets to see costs a part of a handshake each: one in twenty is aimed there.
      const total = points[kind] ?? 1
      const point = random.chance(0.05) ? random.below(total) : 0
      const key = `${kind} ${point}`
      const parked =
        held.get(key) ??
        (await park(rig, manner, random.bytes(6).toString('hex'), point, random)) ??
        raise(key)
      held.set(key, parked)
      // A first packet is of a new station each time: one with an open conversation gets none.
      return parked.point === 0 ? withStation(parked, random.bytes(6).toString('hex')) : parked
    },
    settle(parked: Parked, reply: Buffer | undefined): void {
      if (isParked(rig, parked, reply)) return
      for (const [key, value] of held) if (value === parked) held.delete(key)
      parked.tls.close()
    },
  }
}

async function total(rig: Rig): Promise<number> {
  return Object.values(await rig.drops()).reduce((sum, count) => sum + count, 0)
}

t.test(`100,000 mutations, forged and signed; seed ${SEED}`, async (t) => {
  const rig = await openRig(SEED)
  const random = seeded(SEED)
  const points = await Promise.all(manners.map(pointsOf))
  const forged: Tally = { sent: 0, replies: new Map(), badAccepts: [] }
  const signed: Tally = { sent: 0, replies: new Map(), badAccepts: [] }
  const parkedOnes = pool(rig, points, random)
  const started = performance.now()
  let before = heapBytes()
  let unaltered = 0
  let intruded = 0
  let overfull = 0
  for (let n = 0; n < MUTATIONS; n++) {
    if (n === MUTATIONS / 10) before = heapBytes()
    const parked = await parkedOnes.take()
    const good = seal(parked.attributes, random)
    const bad = mutate(good, random)
    // Octets behind Length are padding (RFC 2865 §3): such a packet is still the good one.
    if (bad.subarray(0, good.length).equals(good)) unaltered++
    else {
      const reached = rig.reached.auth
      const answer = await send(rig, bad, parked, forged)
      if (answer !== undefined || rig.reached.auth !== reached) intruded++
    }
    parkedOnes.settle(parked, await send(rig, resign(bad, lobby.secret), parked, signed))
    const { conversations, duplicates, options } = rig
    if (conversations.size > options.conversationsMax) overfull++
    if (duplicates.size > options.duplicatesMax) overfull++
  }
  const drops = await rig.drops()
  const grownBytes = heapBytes() - before
  const seconds = (performance.now() - started) / 1000
  t.comment(`${seconds.toFixed(1)} s, ${grownBytes} octets grown, ${unaltered} unaltered`)
  t.comment(JSON.stringify({ drops, signed: Object.fromEntries(signed.replies) }))
  t.equal(intruded, 0, 'no forged packet reaches the room behind the authenticator')
  t.same(Object.fromEntries(forged.replies), { silence: MUTATIONS - unaltered })
  t.same(signed.badAccepts, [], 'no accept but for a good acknowledgement')
  t.same(rig.faults, [], 'no fault of ours')
  t.equal(await total(rig), forged.sent + (signed.replies.get('silence') ?? 0), 'all are counted')
  t.equal(overfull, 0)
  t.ok(grownBytes < 24 * 1024 * 1024, `grown by ${grownBytes} octets`)
})

t.test('every prefix of every packet of a conversation, and one octet more', async (t) => {
  const rig = await openRig('prefixes')
  const random = seeded('prefixes')
  const tally: Tally = { sent: 0, replies: new Map(), badAccepts: [] }
  for (const manner of manners) {
    const points = await pointsOf(manner)
    for (let point = 0; point < points; point++) {
      const station = `${manner.name} ${point}`
      const parked = (await park(rig, manner, station, point, random)) ?? raise(station)
      const good = (): Buffer => seal(parked.attributes, random)
      const { length } = good()
      for (let cut = 0; cut < length; cut++) {
        const prefix = good().subarray(0, cut)
        if (await send(rig, prefix, parked, tally)) t.fail(`${station}: prefix of ${cut} answered`)
        // Long enough, cut between two attributes and signed, it is a packet with parts missing.
        await send(rig, resign(withLength(good().subarray(0, cut)), lobby.secret), parked, tally)
      }
      const longer = Buffer.concat([good(), Buffer.from([1])])
      const whole = resign(withLength(Buffer.from(longer)), lobby.secret)
      t.equal(
        await send(rig, whole, parked, tally),
        undefined,
        `${station}: half an attribute more`,
      )
      const want = point === points - 1 ? Code.accessAccept : Code.accessChallenge
      const reply = await send(rig, longer, parked, tally)
      t.equal(reply?.[0], want, `${station}: padding is not part of the packet`)
      parked.tls.close()
    }
  }
  t.same(tally.badAccepts, [])
  t.same(rig.faults.slice(0, 3), [])
  const silent = tally.replies.get('silence') ?? 0
  t.equal(await total(rig), silent, `${tally.sent} sent, ${silent} counted drops`)
})
