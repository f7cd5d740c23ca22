// What a hostile peer or a broken access point may send on purpose, one case each, through the
// whole request handler: guessed and borrowed States, floods of new conversations, one noisy
// station, absurd sizes.

import t from 'tap'
import { AttributeType } from '../../radius/attribute-type.ts'
import { openReply, sealRequest } from '../../radius/authenticator.ts'
import { joinEapMessage } from '../../radius/eap-message.ts'
import { type Attribute, allAttributes, Code, decodePacket } from '../../radius/packet.ts'
import {
  lobby,
  lobbySource,
  type Manner,
  type Parked,
  park,
  raise,
  seal,
  uint32,
} from './parked.ts'
import { seeded } from './random.ts'
import { createRig, makeDevice, NASES, type Rig } from './rig.ts'

const random = seeded('rogue')
const manner: Manner = {
  ...{ name: 'rogue', device: makeDevice('rich', 'a'), fragmentSize: 3_000, framedMtu: 4_000 },
}
const LAST = 3

async function openRig(conversationsMax = 100, fragmentSize = 3_800): Promise<Rig> {
  const limits = { conversationsMax, duplicatesMax: 1_000, idleMs: 15_000 }
  const rig = await createRig({ seed: 'rogue', ...limits, fragmentSize })
  rig.deposit(manner.device.account, 1_000n)
  return rig
}

const parkAt = async (rig: Rig, station: string, point: number): Promise<Parked> =>
  (await park(rig, manner, station, point, random)) ?? raise(`no point ${point}`)

const replaced = (attributes: readonly Attribute[], type: number, ...values: Buffer[]) => [
  ...attributes.filter((attribute) => attribute.type !== type),
  ...values.map((value) => ({ type, value })),
]

const ask = (rig: Rig, attributes: readonly Attribute[]) =>
  rig.auth(seal(attributes, random), lobbySource)

t.test(
  'B7: a guessed, altered, long or empty State is refused; the true one goes on',
  async (t) => {
    const rig = await openRig()
    const parked = await parkAt(rig, 'victim', LAST)
    const state = parked.stateAttribute ?? raise('no State')
    const wrong = [
      ...[Buffer.alloc(0), Buffer.alloc(16), state.subarray(0, 15), Buffer.alloc(253, 7)],
      ...[Buffer.concat([state, Buffer.alloc(1)]), Buffer.concat([state, Buffer.alloc(237)])],
      ...Array.from({ length: 128 }, (_, bit) => {
        const bent = Buffer.from(state)
        bent[bit >> 3] = (bent[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        return bent
      }),
      ...Array.from({ length: 500 }, () => random.bytes(16)),
    ]
    for (const value of wrong) {
      const reply = await ask(rig, replaced(parked.attributes, AttributeType.state, value))
      if (reply?.[0] !== Code.accessReject) t.fail(`State ${value.toString('hex')}: ${reply?.[0]}`)
    }
    t.equal(rig.conversations.size, 1)
    t.equal((await ask(rig, parked.attributes))?.[0], Code.accessAccept)
    t.same(rig.faults, [])
  },
)

t.test('B7: a State taken to another NAS is unknown there and unharmed here', async (t) => {
  const rig = await openRig()
  const parked = await parkAt(rig, 'roamer', LAST)
  const roof = NASES[1] ?? raise('no second NAS')
  const head = { code: Code.accessRequest, identifier: 1, authenticator: random.bytes(16) }
  const borrowed = sealRequest({ ...head, attributes: parked.attributes }, roof.secret)
  const reply = await rig.auth(borrowed, { address: '192.0.2.2', port: 1 })
  t.equal(reply?.[0], Code.accessReject)
  t.equal((await ask(rig, parked.attributes))?.[0], Code.accessAccept)
})

t.test('D4: known conversations go on while a flood of new ones fills the table', async (t) => {
  const rig = await openRig(50)
  const victims: Parked[] = []
  for (let point = 1; point <= LAST; point++) victims.push(await parkAt(rig, `v${point}`, point))
  const started = victims[0] ?? raise('no victim')
  for (let n = 0; n < 2_000; n++) {
    const station = Buffer.from(`flood ${random.bytes(8).toString('hex')}`)
    const first = replaced(started.attributes, AttributeType.state)
    const anew = replaced(first, AttributeType.eapMessage, Buffer.alloc(0))
    await ask(rig, replaced(anew, AttributeType.callingStationId, station))
    if (rig.conversations.size > 50) t.fail(`${rig.conversations.size} conversations`)
  }
  t.match(await rig.drops(), { 'too-many-conversations': 2_000 - 47 })
  const codes = []
  for (const victim of victims) codes.push((await ask(rig, victim.attributes))?.[0])
  t.same(codes, [Code.accessChallenge, Code.accessChallenge, Code.accessAccept])
  rig.clock.nowMs += 15_000
  rig.sweep()
  t.equal(rig.conversations.size, 0, 'idle ones are gone after the timeout')
  t.ok(await parkAt(rig, 'later', 1), 'and there is room again')
})

t.test('one noisy station holds one place and does not end the conversation at work', async (t) => {
  const rig = await openRig()
  const parked = await parkAt(rig, 'noisy', 2)
  const first = await parkAt(await openRig(), 'noisy', 0)
  for (let n = 0; n < 1_000; n++) {
    rig.clock.nowMs += 2
    if ((await ask(rig, first.attributes)) !== undefined) t.fail(`answered at ${n}`)
  }
  t.same(await rig.drops(), { 'conversation-in-progress': 1_000 })
  t.equal(rig.conversations.size, 1)
  t.equal((await ask(rig, parked.attributes))?.[0], Code.accessChallenge)
})

t.test(
  'RFC 2865 §5.12: any Framed-MTU gets packets that fit it, or the smallest it may name',
  async (t) => {
    const sizes: [Buffer, number][] = [
      [uint32(0), 60],
      [uint32(1), 60],
      [uint32(64), 60],
      [uint32(1_000), 996],
      [uint32(0xffff_ffff), 3_800],
      [Buffer.alloc(0), 3_800],
      [Buffer.alloc(253, 0xff), 3_800],
    ]
    for (const [value, most] of sizes) {
      const rig = await openRig()
      const parked = await parkAt(rig, 'mtu', 1)
      const request = seal(replaced(parked.attributes, AttributeType.framedMtu, value), random)
      const reply = (await rig.auth(Buffer.from(request), lobbySource)) ?? raise('silence')
      const opened = openReply(reply, lobby.secret, decodePacket(request))
      const { length } = joinEapMessage(opened) ?? raise('no EAP')
      t.ok(length <= most && length > 50, `${value.toString('hex')}: ${length} octets of EAP`)
      t.same(rig.faults, [])
    }
  },
)

t.test(
  'RFC 2865 §5.33: every Proxy-State comes back; what leaves no room is dropped',
  async (t) => {
    const cases: [number, number, boolean][] = [
      [60, 1, true],
      [60, 20, true],
      [60, 40, true],
      [10, 253, true],
      [13, 250, true],
      [15, 253, false],
      [60, 61, false],
    ]
    for (const [count, octets, answered] of cases) {
      for (const point of [0, 1, LAST]) {
        const rig = await openRig()
        const parked = await parkAt(rig, 'proxied', point)
        const states = Array.from({ length: count }, (_, n) => Buffer.alloc(octets, n))
        const all = replaced(parked.attributes, AttributeType.proxyState, ...states)
        // The access point's own attributes go where there is no room for all.
        const slim = all.filter(({ type }) => [24, 31, 33, 79, 89, 102].includes(type))
        // A ClientHello is too long to stand beside all of them in one request.
        const octetsAsked = slim.reduce((sum, { value }) => sum + 2 + value.length, 38)
        if (octetsAsked > 4_096) continue
        const request = seal(slim, random)
        const reply = await rig.auth(Buffer.from(request), lobbySource)
        const name = `${count} of ${octets} octets at ${point}`
        t.equal(reply !== undefined, answered, name)
        t.same(rig.faults, [], name)
        if (reply === undefined) {
          t.same(await rig.drops(), { 'proxy-states-too-long': 1 }, name)
          continue
        }
        const opened = openReply(reply, lobby.secret, decodePacket(request))
        t.equal(opened.code, point === LAST ? Code.accessAccept : Code.accessChallenge, name)
        t.same(allAttributes(opened, AttributeType.proxyState), states, name)
      }
    }
  },
)
