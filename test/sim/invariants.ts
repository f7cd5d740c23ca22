// What must hold in the simulated world, numbered; checked after every step and at every answer. A
// violation throws with its number. Looks only at what the server shows: tables, replies, counters.
//
//  1. What an account's open sessions may still run up never exceeds its deposit.
//  2. The table of sessions is the sum of its accounts, and so are the reserves.
//  3. Every Access-Accept names one open session of its own; no two name the same.
//  4. A session nobody was told of ends within the limits of its conversation.
//  5. The table of conversations stays within its limit.
//  6. A request seen again within the duplicates' lifetime gets the same octets or silence.
//  7. An Access-Accept comes only after the peer's own TLS has finished, with the key it has.
//  8. A station has at most one conversation at a NAS.
//  9. No State is good at another NAS.
// 10. Nothing is logged as a fault of ours.
// 11. An accepted session ends because it was stopped, timed out, lost its escrow, or was replaced
//     by another accepted one: never because of a conversation that came to nothing.

import { placeOf } from '../../accounting/ledger-tables.ts'
import type { NasPlace } from '../../accounting/session.ts'
import { reserveOf } from '../../accounting/tariff.ts'
import type { Address } from '../../ethereum/address.ts'
import { decodePacket, firstAttribute } from '../../radius/packet.ts'
import { DUPLICATE_MS, NASES, type Rig, type Source, tariff } from './rig.ts'

const STATE = 24
const CLASS = 25
const CALLING_STATION_ID = 31
const ACCESS_ACCEPT = 2
const ACCESS_CHALLENGE = 11
const SWEEP_MS = 1_000
const RESERVE = reserveOf(tariff)
const RISK_MS = 3 * tariff.intervalMs
/** Where no session is, so that none is left out. */
const NOWHERE: NasPlace = {
  ...{ nas: '', address: '', nasIdentifier: '', nasIpAddress: '', nasPort: undefined },
  ...{ callingStationId: '', calledStationId: '', acctSessionId: '', acctMultiSessionId: '' },
}

export type Invariants = ReturnType<typeof createInvariants>

/** One datagram as it reached the server. */
interface Arrival {
  readonly datagram: Buffer
  readonly source: Source
  readonly arrivedMs: number
}

interface Issued {
  readonly nas: string
  readonly place: string
  readonly stateAttribute: Buffer
}

class InvariantError extends Error {
  override readonly name = 'InvariantError'
}

function must(holds: boolean, number: number, says: string): asserts holds {
  if (!holds) throw new InvariantError(`invariant ${number}: ${says}`)
}

const nasOf = (source: Source): string => {
  const nas = NASES.find(({ ipaddr }) => ipaddr.text === source.address)
  if (nas === undefined) throw new Error(`no NAS at ${source.address}`)
  return nas.name
}

export function createInvariants(rig: Rig) {
  const accounts = new Set<Address>()
  const accepted = new Set<string>()
  const answers = new Map<string, { readonly arrivedMs: number; readonly reply: Buffer }>()
  const issued = new Map<string, Issued>()
  let endsSeen = 0

  const checkMoney = (): void => {
    let count = 0
    for (const account of accounts) {
      const open = rig.ledger.openOf(account)
      // A session and the one about to replace it are one device: the larger reserve counts.
      const places = new Map<string, bigint>()
      for (const session of open) {
        const known = places.get(placeOf(session)) ?? 0n
        places.set(placeOf(session), session.reserve > known ? session.reserve : known)
      }
      const sum = [...places.values()].reduce((total, reserve) => total + reserve, 0n)
      const deposit = rig.chain.deposits.get(account) ?? 0n
      // Towards its end a session needs less than its reserve.
      const lasting = open.filter(({ endsAtMs }) => endsAtMs - rig.clock.nowMs > RISK_MS)
      const lastingPlaces = new Set(lasting.map(placeOf))
      const needed = BigInt(lastingPlaces.size) * RESERVE
      must(needed <= deposit, 1, `${account}: ${needed} needed of ${deposit}`)
      const seen = rig.ledger.standing(account, NOWHERE, account, rig.clock.nowMs)
      must(seen.reserved === sum && seen.openSessions === places.size, 2, `${account}: ${sum}`)
      count += open.length
      for (const { id, startedAtMs } of open) {
        const ageMs = rig.clock.nowMs - startedAtMs
        const fresh = ageMs <= rig.options.idleMs + SWEEP_MS
        must(accepted.has(id) || fresh, 4, `${id} is held for nobody since ${ageMs} ms`)
      }
    }
    const open = [...rig.ledger.open()].filter(({ account }) => account !== undefined).length
    must(count === open, 2, `${count} sessions counted, ${open} open`)
  }

  const checkEnds = (): void => {
    for (; endsSeen < rig.ends.length; endsSeen++) {
      const end = rig.ends[endsSeen]
      if (end?.account === undefined || !accepted.has(end.id)) continue
      must(end.endedBy !== 'abandoned', 11, `${end.id} was accepted, then abandoned`)
      if (end.endedBy !== 'replaced') continue
      const successor = rig.ledger
        .openOf(end.account)
        .find((other) => placeOf(other) === placeOf(end))
      const isAccepted = successor !== undefined && accepted.has(successor.id)

      must(isAccepted, 11, `${end.id} was replaced by a session nobody has`)
    }
  }

  const checkConversations = (): void => {
    const { size } = rig.conversations
    must(size <= rig.options.conversationsMax, 5, `${size} conversations`)
    const places = new Set<string>()
    for (const [key, { nas, place, stateAttribute }] of issued) {
      if (rig.conversations.find(stateAttribute, nas) === undefined) {
        issued.delete(key)
        continue
      }
      // Without a Calling-Station-Id there is nothing to tell stations apart by.
      const repeated = !place.endsWith(' ') && places.has(place)
      must(!repeated, 8, `two conversations of ${place}`)
      places.add(place)
      for (const other of NASES) {
        const found = other.name !== nas && rig.conversations.find(stateAttribute, other.name)
        must(!found, 9, `the State of ${nas} is good at ${other.name}`)
      }
    }
  }

  return {
    /** The accounts whose money is watched. */
    accounts,
    accepted,
    check(): void {
      must(rig.faults.length === 0, 10, rig.faults[0] ?? '')
      checkMoney()
      checkEnds()
      checkConversations()
    },
    onAnswer({ datagram, source, arrivedMs }: Arrival, reply: Buffer | undefined): void {
      if (reply === undefined) return
      const request = decodePacket(datagram)
      const nas = nasOf(source)
      const sent = request.authenticator.toString('hex')
      const key = `${source.address} ${source.port} ${request.identifier} ${sent}`
      const earlier = answers.get(key)
      const known = earlier !== undefined && arrivedMs - earlier.arrivedMs < DUPLICATE_MS
      must(!known || earlier.reply.equals(reply), 6, key)
      if (!known) answers.set(key, { arrivedMs, reply })
      const answer = decodePacket(reply)
      const station = firstAttribute(request, CALLING_STATION_ID)?.toString() ?? ''
      const stateAttribute = firstAttribute(answer, STATE)
      if (answer.code === ACCESS_CHALLENGE && stateAttribute !== undefined) {
        issued.set(stateAttribute.toString('hex'), {
          nas,
          place: `${nas} ${station}`,
          stateAttribute,
        })
      }
      if (answer.code !== ACCESS_ACCEPT || known) return
      const id = firstAttribute(answer, CLASS)?.toString().slice(3) ?? ''
      const session = rig.ledger.session(id)
      must(session !== undefined, 3, `${id} of an Access-Accept is no open session`)
      must(
        session.place.nas === nas && session.place.callingStationId === station,
        3,
        `${id} is somebody else's`,
      )
      must(!accepted.has(id), 3, `${id} was given out twice`)
      accepted.add(id)
    },
    /** Told by a station when it sees its Accept. */
    onAccept(finished: boolean, keysMatch: boolean): void {
      must(finished, 7, 'accepted before TLS was finished')
      must(keysMatch, 7, 'the keys of the Accept are not those of TLS')
    },
  }
}
