// One station behind a port of its access point, in the simulated world: a real supplicant, the
// retransmissions of a NAS, and a temper (patient, leaving, restarting, replaying). Called by
// requests.test.ts.

import type { NasEntry } from '../../config/config.ts'
import { AttributeType } from '../../radius/attribute-type.ts'
import { openReply, sealRequest } from '../../radius/authenticator.ts'
import { joinEapMessage, splitEapMessage } from '../../radius/eap-message.ts'
import { revealTunnelPassword } from '../../radius/hidden.ts'
import {
  type Attribute,
  allAttributes,
  Code,
  decodePacket,
  firstAttribute,
  type Packet,
} from '../../radius/packet.ts'
import { type EapPeer, openEapPeer } from '../peer/eap.ts'
import type { SupplicantTls } from '../peer/tls.ts'
import { uint32 } from './parked.ts'
import type { Device, Source } from './rig.ts'
import type { World } from './world.ts'

/** How often a station does what, at each of its turns. */
export interface Temper {
  readonly leaves: number
  readonly restarts: number
  readonly replays: number
}

export interface StationOptions {
  readonly nas: NasEntry
  /** A port of its own, so that the 256 identifiers last. */
  readonly source: Source
  readonly callingStationId: string
  readonly device: Device
  readonly temper: Temper
  readonly fragmentSize: number
}

export interface StationReport {
  accepts: number
  rejects: number
  leaves: number
  restarts: number
  silences: number
}

interface Attempt {
  readonly tls: SupplicantTls
  readonly peer: EapPeer
  lastRequest: Buffer
  lastResponse: Buffer
}

interface Outstanding {
  readonly packet: Packet
  readonly datagram: Buffer
}

const RETRY_MS = 2_000
const RETRIES = 4
const AGAIN_MIN_MS = 1_000
const AGAIN_SPREAD_MS = 20_000

/** Puts a station into the world; it joins, leaves and comes back until the world ends. */
export function openStation(world: World, options: StationOptions): StationReport {
  const { nas, source, device, temper } = options
  const { random } = world
  const report = { accepts: 0, rejects: 0, leaves: 0, restarts: 0, silences: 0 }
  const past: Buffer[] = []
  let identifier = random.below(256)
  let attempt: Attempt | undefined
  let outstanding: Outstanding | undefined

  const request = (eap: Buffer, state: Buffer | undefined): void => {
    identifier = (identifier + 1) % 256
    const attributes: Attribute[] = [
      { type: AttributeType.userName, value: Buffer.from('@simulated') },
      { type: AttributeType.callingStationId, value: Buffer.from(options.callingStationId) },
      { type: AttributeType.framedMtu, value: uint32(1400) },
      ...(state === undefined ? [] : [{ type: AttributeType.state, value: state }]),
      ...splitEapMessage(eap),
    ]
    const head = { code: Code.accessRequest, identifier, authenticator: random.bytes(16) }
    const datagram = sealRequest({ ...head, attributes }, nas.secret)
    const sent = { packet: decodePacket(datagram), datagram }
    outstanding = sent
    past.push(datagram)
    transmit(sent, 0)
  }
  const transmit = (sent: Outstanding, retry: number): void => {
    if (outstanding !== sent) return
    if (retry > RETRIES) {
      report.silences += 1
      end()
      return
    }
    world.send(sent.datagram, source, (reply) => receive(reply))
    world.after(RETRY_MS * (1 + retry), () => transmit(sent, retry + 1))
  }
  const end = (): void => {
    outstanding = undefined
    attempt?.tls.close()
    attempt = undefined
    world.after(AGAIN_MIN_MS + random.below(AGAIN_SPREAD_MS), begin)
  }
  const begin = (): void => {
    attempt?.tls.close()
    const tls = device.supplicant.open()
    const { fragmentSize } = options
    const peer = openEapPeer({ identity: '@simulated', fragmentSize, tls })
    attempt = { tls, peer, lastRequest: Buffer.alloc(0), lastResponse: Buffer.alloc(0) }
    request(random.chance(0.2) ? Buffer.alloc(0) : peer.identityResponse(), undefined)
  }
  const receive = async (bytes: Buffer): Promise<void> => {
    const sent = outstanding
    const current = attempt
    if (sent === undefined || current === undefined) return
    if (bytes[1] !== sent.packet.identifier) return
    const reply = verified(bytes, nas.secret, sent.packet)
    if (reply === undefined) return
    outstanding = undefined
    if (reply.code === Code.accessAccept) {
      report.accepts += 1
      const finished = current.tls.status() === 'established'
      world.invariants.onAccept(finished, finished && keysMatch(reply, sent, nas, current))
      const session = firstAttribute(reply, AttributeType.class) ?? Buffer.alloc(0)
      if (random.chance(0.6)) stopLater(session)
      end()
      return
    }
    if (reply.code === Code.accessReject) {
      report.rejects += 1
      end()
      return
    }
    await goOn(current, reply)
  }
  const goOn = async (current: Attempt, reply: Packet): Promise<void> => {
    if (random.chance(temper.leaves)) {
      report.leaves += 1
      end()
      return
    }
    if (random.chance(temper.restarts)) {
      report.restarts += 1
      begin()
      return
    }
    if (random.chance(temper.replays)) world.send(random.pick(past), source, receive)
    const eap = joinEapMessage(reply) ?? Buffer.alloc(0)
    // RFC 3748 §4.1: a request seen before gets the same response again.
    if (!eap.equals(current.lastRequest)) {
      current.lastResponse = await current.peer.respond(eap)
      current.lastRequest = eap
    }
    request(current.lastResponse, firstAttribute(reply, AttributeType.state))
    // An EAP response replayed near the access point comes in a request of its own.
    if (random.chance(temper.replays)) again(reply, current.lastResponse)
  }
  const again = (reply: Packet, eap: Buffer): void => {
    const state = firstAttribute(reply, AttributeType.state)
    const kept = outstanding
    request(eap, state)
    // The good request stays the one that is waited for.
    outstanding = kept
  }
  const stopLater = (session: Buffer): void => {
    world.after(random.below(120_000), () => {
      identifier = (identifier + 1) % 256
      const attributes = [
        { type: AttributeType.acctStatusType, value: uint32(2) },
        { type: AttributeType.class, value: session },
      ]
      const stop = { code: Code.accountingRequest, identifier, attributes }
      const datagram = sealRequest(stop, nas.secret)
      for (let copies = 0; copies < 3; copies++) world.sendAccounting(datagram, source)
    })
  }
  world.invariants.accounts.add(device.account)
  world.after(random.below(10_000), begin)
  return report
}

function verified(bytes: Buffer, secret: Buffer, request: Packet): Packet | undefined {
  try {
    return openReply(bytes, secret, request)
  } catch {
    return undefined
  }
}

/** MS-MPPE-Recv-Key and -Send-Key are the halves of the peer's own MSK (RFC 2548 §2.4). */
function keysMatch(reply: Packet, sent: Outstanding, nas: NasEntry, { tls }: Attempt): boolean {
  const halves = allAttributes(reply, AttributeType.vendorSpecific)
    .filter((value) => value.readUInt32BE(0) === 311)
    .map((value) => revealTunnelPassword(value.subarray(6), sent.packet.authenticator, nas.secret))
  return Buffer.concat(halves).equals(tls.keys().msk)
}
