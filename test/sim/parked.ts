// Conversations of a real supplicant brought to a chosen point and held there, so that anything can
// be sent in place of the good next request. Called by the mutation and rogue tests.

import { AttributeType } from '../../radius/attribute-type.ts'
import { openReply, sealRequest } from '../../radius/authenticator.ts'
import { joinEapMessage, splitEapMessage } from '../../radius/eap-message.ts'
import { type Attribute, Code, decodePacket, firstAttribute } from '../../radius/packet.ts'
import { openEapPeer } from '../peer/eap.ts'
import type { SupplicantTls } from '../peer/tls.ts'
import type { Random } from './random.ts'
import { type Device, NASES, type Rig, type Source } from './rig.ts'

export const lobby = NASES[0] ?? raise('no NAS')
export const lobbySource: Source = { address: '192.0.2.1', port: 40_000 }

export function raise(why: string): never {
  throw new Error(why)
}

export const uint32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** How a conversation is held: who, and in which pieces. */
export interface Manner {
  readonly name: string
  readonly device: Device
  /** TLS octets in one of the peer's packets. */
  readonly fragmentSize: number
  readonly framedMtu: number
}

export interface Parked {
  readonly manner: Manner
  /** Requests answered so far; 0: nothing has been sent. */
  readonly point: number
  readonly station: string
  /** Attributes of the good next request, State and EAP-Message last. */
  readonly attributes: readonly Attribute[]
  readonly stateAttribute: Buffer | undefined
  /** The EAP-Request that waits for its response. */
  readonly pending: Buffer | undefined
  readonly tls: SupplicantTls
}

/** What a well-equipped access point sends beside EAP, in its order. */
function nasAttributes(station: string, framedMtu: number): Attribute[] {
  return [
    { type: AttributeType.userName, value: Buffer.from('@simulated.datanet.invalid') },
    { type: AttributeType.nasIpAddress, value: Buffer.from([192, 0, 2, 1]) },
    { type: AttributeType.nasPort, value: uint32(1) },
    { type: AttributeType.calledStationId, value: Buffer.from('02-00-00-00-FF-01:Guests') },
    { type: AttributeType.callingStationId, value: Buffer.from(station) },
    { type: AttributeType.framedMtu, value: uint32(framedMtu) },
    { type: AttributeType.chargeableUserIdentity, value: Buffer.from([0]) },
    { type: AttributeType.eapKeyName, value: Buffer.from([0]) },
    { type: AttributeType.proxyState, value: Buffer.from('proxy') },
  ]
}

let identifiers = 0
/** A fresh identifier and authenticator each time, so that no packet is another's duplicate. */
export function seal(attributes: readonly Attribute[], random: Random): Buffer {
  identifiers = (identifiers + 1) % 256
  const head = {
    code: Code.accessRequest,
    identifier: identifiers,
    authenticator: random.bytes(16),
  }
  return sealRequest({ ...head, attributes }, lobby.secret)
}

/** Plays the first `point` requests; undefined where the conversation has fewer. */
export async function park(
  rig: Rig,
  manner: Manner,
  station: string,
  point: number,
  random: Random,
): Promise<Parked | undefined> {
  const tls = manner.device.supplicant.open()
  const peer = openEapPeer({ identity: '@simulated', fragmentSize: manner.fragmentSize, tls })
  const base = nasAttributes(station, manner.framedMtu)
  const parked = (eap: Buffer, state?: Buffer, pending?: Buffer): Parked => ({
    ...{ manner, point, station, stateAttribute: state, pending, tls },
    attributes: [
      ...base,
      ...(state === undefined ? [] : [{ type: AttributeType.state, value: state }]),
      ...splitEapMessage(eap),
    ],
  })
  let next = parked(peer.identityResponse())
  for (let done = 0; done < point; done++) {
    const request = seal(next.attributes, random)
    const bytes = await rig.auth(Buffer.from(request), lobbySource)
    if (bytes === undefined) {
      throw new Error(`no reply at ${done} of ${manner.name}: ${JSON.stringify(await rig.drops())}`)
    }
    const reply = openReply(bytes, lobby.secret, decodePacket(request))
    if (reply.code !== Code.accessChallenge) {
      tls.close()
      return undefined
    }
    const pending = joinEapMessage(reply) ?? raise('a Challenge without EAP')
    next = parked(await peer.respond(pending), firstAttribute(reply, AttributeType.state), pending)
  }
  return next
}
