import t from 'tap'
import { decodeNamed } from '../../radius/attributes.ts'
import { openReply, openRequest, sealReply, sealRequest } from '../../radius/authenticator.ts'
import { joinEapMessage } from '../../radius/eap-message.ts'
import { RadiusError } from '../../radius/error.ts'
import { decodePacket, type Packet } from '../../radius/packet.ts'
import {
  accessRequest,
  attribute,
  octets,
  secret,
  seeded,
  shippedDictionary,
  strict,
} from '../radius/support.ts'

const seed = 20_261_123
const rounds = 100_000
const dictionary = shippedDictionary()
const random = seeded(seed)
const pick = (below: number) => Math.floor(random() * below)

/** Bytes no authenticator covers in the first place: none of these codes, all are covered. */
function mutate(bytes: Buffer): Buffer {
  const changed = Buffer.from(bytes)
  const times = 1 + pick(4)
  for (let i = 0; i < times; i++) {
    const at = pick(changed.length)
    const kind = pick(6)
    if (kind === 0) changed[at] = changed.readUInt8(at) ^ (1 << pick(8))
    else if (kind === 1) changed[at] = pick(256)
    else if (kind === 2) changed[at] = pick(2) === 0 ? 0 : 0xff
    else if (kind === 3) changed.writeUInt16BE(pick(5000), 2)
    else if (kind === 4) changed.copyWithin(at, pick(changed.length))
    else return changed.subarray(0, at)
  }
  return changed
}

t.test(
  `${rounds} mutations from seed ${seed}: no crash, no accept, a reason for each`,
  async (t) => {
    const request = accessRequest(300)
    const opened = openRequest(request, secret, strict)
    const disconnect = {
      code: 40,
      identifier: 3,
      attributes: [attribute(44, 'session'), attribute(26, octets(40, 'vsa'))],
    }
    const samples = [
      request,
      sealRequest({ code: 4, identifier: 2, attributes: [attribute(44, 'session')] }, secret),
      sealRequest(disconnect, secret),
      sealRequest(
        { code: 12, identifier: 1, attributes: [], authenticator: octets(16, 's') },
        secret,
      ),
      sealReply(opened, 11, [attribute(79, octets(200, 'eap')), attribute(24, 'state')], secret),
    ]
    const open = (bytes: Buffer): Packet =>
      bytes[0] === 11 || bytes[0] === 2
        ? openReply(bytes, secret, opened)
        : openRequest(bytes, secret, strict)
    const reasons = new Map<string, number>()
    let structural = 0
    for (let i = 0; i < rounds; i++) {
      const original = samples[i % samples.length] ?? request
      const bytes = mutate(original)
      if (bytes.equals(original)) continue
      try {
        open(bytes)
        t.fail(`round ${i}: accepted ${bytes.toString('hex')}`)
      } catch (error) {
        if (!(error instanceof RadiusError)) throw error
        reasons.set(error.code, (reasons.get(error.code) ?? 0) + 1)
      }
      if (i % 4 !== 0) continue
      // Behind the authenticator the same bytes must do no harm either.
      try {
        const packet = decodePacket(bytes)
        structural++
        decodeNamed(dictionary, packet.attributes, { secret, authenticator: packet.authenticator })
        joinEapMessage(packet)
      } catch (error) {
        if (!(error instanceof RadiusError)) throw error
      }
    }
    t.ok(structural > 1_000, `${structural} still had the structure of a packet`)
    t.ok(reasons.size >= 12, [...reasons].map(([reason, count]) => `${reason} ${count}`).join(', '))
  },
)

t.test('random attribute lists are named, and a raw value carries its octets', async (t) => {
  const wrong: number[] = []
  for (let i = 0; i < 5_000; i++) {
    const attributes = Array.from({ length: pick(6) }, () => ({
      type: [26, 26, 241, 245, 92, 79, 64, 69, 97, 1 + pick(255)][pick(10)] ?? 1,
      value: octets(pick(40), `${i} ${pick(1e9)}`),
    }))
    for (const { value } of attributes) {
      if (pick(2) === 0 && value.length >= 6)
        value.writeUInt32BE([9, 311, 14_122, 24_757][pick(4)] ?? 9, 0)
    }
    const named = decodeNamed(dictionary, attributes, { secret, authenticator: octets(16, 'a') })
    if (named.some(({ raw, value }) => raw === true && !Buffer.isBuffer(value))) wrong.push(i)
  }
  t.same(wrong, [])
})
