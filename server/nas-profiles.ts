// How each make of NAS takes dynamic authorization (RFC 5176): by which attributes it finds a
// session, and by which it changes a rate. A table and the functions that read it; no packets, no
// sockets. An Access-Accept is the same for all of them. Called by dynamic-authorization.ts.

import type { NasPlace, Session } from '../accounting/session.ts'
import type { NasType } from '../config/config.ts'
import { checksumAddress } from '../ethereum/address.ts'
import { AttributeType } from '../radius/attribute-type.ts'
import { parseIpv4, parseIpv6 } from '../radius/ip-text.ts'
import type { Attribute } from '../radius/packet.ts'

/** What may identify a NAS or a session in a Disconnect-Request (RFC 5176 §3). */
export type IdentificationField =
  | 'acctSessionId'
  | 'acctMultiSessionId'
  | 'callingStationId'
  | 'calledStationId'
  | 'nasPort'
  | 'nasIdentifier'
  | 'nasIpAddress'
  | 'userName'

/** One way to name one session, ready for the wire. */
export interface IdentificationSet {
  readonly fields: readonly IdentificationField[]
  readonly attributes: readonly Attribute[]
  /** NAS-Identifier or an address of the NAS is among them. */
  readonly namesNas: boolean
  /** User-Name is among them. It is our name for the account; the NAS may know it by another. */
  readonly namesUser: boolean
}

type Fields = readonly IdentificationField[]

interface NasProfile {
  /** From the richest to the smallest; every one has Acct-Session-Id (RFC 5176 §3 SHOULD). */
  readonly sets: readonly Fields[]
  /** Where it listens unless told otherwise. */
  readonly coaPort: number
  readonly rate: ((kbps: number) => Attribute[]) | undefined
}

const session: Fields = ['acctSessionId']
const station: Fields = [...session, 'callingStationId']
const atNas: Fields = [...station, 'nasIdentifier', 'nasIpAddress']
const atAddress: Fields = [...station, 'nasIpAddress']
/** For those that answer 402 to everything else. */
const named: Fields = [...session, 'userName']
const everything: Fields = [...atNas, 'calledStationId', 'nasPort']
/**
 * hostapd gives a station that comes straight back the Acct-Session-Id it had; only the
 * Acct-Multi-Session-Id tells the session that ended from the one that has begun.
 */
const exactly: Fields = [...atNas, 'acctMultiSessionId']

const CISCO_AIRESPACE = 14_179
const WISPR = 14_122
const MIKROTIK = 14_988
const RFC_PORT = 3799

const uint32 = (value: number): Buffer => {
  const octets = Buffer.alloc(4)
  octets.writeUInt32BE(Math.min(value, 0xffff_ffff))
  return octets
}

/** RFC 2865 §5.26: vendor, then type, length and value as in a plain attribute. */
function vendorSpecific(vendor: number, type: number, value: Buffer): Attribute {
  const head = Buffer.concat([uint32(vendor), Buffer.from([type, 2 + value.length])])
  return { type: AttributeType.vendorSpecific, value: Buffer.concat([head, value]) }
}

/** WISPr-Bandwidth-Max-Up and -Down, in bit/s; 4.29 Gbit/s is the most they hold. */
const wispr = (kbps: number): Attribute[] =>
  [7, 8].map((type) => vendorSpecific(WISPR, type, uint32(kbps * 1000)))

/** Airespace-Data-Bandwidth-Average-Contract and its -Upstream, in kbit/s. */
const airespace = (kbps: number): Attribute[] =>
  [7, 13].map((type) => vendorSpecific(CISCO_AIRESPACE, type, uint32(kbps)))

/** Mikrotik-Rate-Limit, "up/down"; RouterOS prefers it to every other rate attribute. */
const mikrotik = (kbps: number): Attribute[] => [
  vendorSpecific(MIKROTIK, 8, Buffer.from(`${kbps}k/${kbps}k`)),
]

const PROFILES: Readonly<Record<NasType, NasProfile>> = {
  // Takes only these and User-Name, CUI, Event-Timestamp, Message-Authenticator: anything else is
  // 401, Class and NAS-Port too. By the station it also finds the key it keeps for one that has
  // left, and forgets it. No attribute of it limits a rate.
  hostapd: { sets: [exactly, station, session], coaPort: RFC_PORT, rate: undefined },
  // One listener in front of a hostapd for each network: it must be told as little as possible of
  // the NAS, whose identifier differs between them.
  unifi: { sets: [atAddress, station, session], coaPort: RFC_PORT, rate: undefined },
  // Its wireless side takes Disconnect where it takes anything; its PPP side wants the name too.
  mikrotik: { sets: [atNas, station, session, named], coaPort: RFC_PORT, rate: mikrotik },
  // Documents these three and User-Name; a controller ignores what it doesn't know. Rates belong to
  // roles there, which we don't know the names of.
  aruba: { sets: [atAddress, station, session], coaPort: RFC_PORT, rate: undefined },
  // The one make that listens elsewhere by default. Older controllers ask for Service-Type, which
  // RFC 5176 §3.6 forbids in a Disconnect-Request, so that isn't offered.
  cisco: { sets: [atAddress, station, session], coaPort: 1700, rate: airespace },
  // Access points built on hostapd behind a controller; rates only at login.
  omada: { sets: [atAddress, station, session], coaPort: RFC_PORT, rate: undefined },
  // Finds a station by its address and session; WISPr rates are honoured.
  ruckus: { sets: [atNas, station, session], coaPort: RFC_PORT, rate: wispr },
  // Whatever RFC 5176 §3 allows, then less; RFC 5176 §2.3 makes a NAS refuse a rate it can't keep.
  generic: {
    sets: [everything, atNas, station, session, named],
    coaPort: RFC_PORT,
    rate: wispr,
  },
}

const TEXT_TYPES = {
  acctSessionId: AttributeType.acctSessionId,
  acctMultiSessionId: AttributeType.acctMultiSessionId,
  callingStationId: AttributeType.callingStationId,
  calledStationId: AttributeType.calledStationId,
  nasIdentifier: AttributeType.nasIdentifier,
} as const

function nasAddress(text: string): Attribute | undefined {
  const four = parseIpv4(text)
  if (four !== undefined) return { type: AttributeType.nasIpAddress, value: four }
  const six = parseIpv6(text)
  return six === undefined ? undefined : { type: AttributeType.nasIpv6Address, value: six }
}

/** What the NAS told us, octet for octet (all must match, RFC 5176 §3); undefined: unknown. */
function attributeOf(
  field: IdentificationField,
  place: NasPlace,
  account: Session['account'],
): Attribute | undefined {
  if (field === 'nasIpAddress') return nasAddress(place.nasIpAddress)
  if (field === 'nasPort') {
    if (place.nasPort === undefined) return undefined
    return { type: AttributeType.nasPort, value: uint32(place.nasPort) }
  }
  if (field === 'userName') {
    if (account === undefined) return undefined
    return { type: AttributeType.userName, value: Buffer.from(checksumAddress(account)) }
  }
  // Latin1, as they were read: a MAC address in its NAS's own letters and separators.
  const value = Buffer.from(place[field], 'latin1')
  return value.length === 0 ? undefined : { type: TEXT_TYPES[field], value }
}

/**
 * User-Name alone would put off every device of the account, and a NAS alone names no session:
 * hostapd answers 503 to that, which would pass for a session that is over.
 */
const oneSession = (fields: Fields): boolean =>
  fields.some((field) => /^(acctSessionId|acctMultiSessionId|callingStationId)$/.test(field))

/** The ways to name this session to its NAS, best first; none where nothing of it is known. */
export function identificationSets(
  nasType: NasType,
  { account, place }: Pick<Session, 'account' | 'place'>,
): IdentificationSet[] {
  const sets = new Map<string, IdentificationSet>()
  for (const wanted of PROFILES[nasType].sets) {
    const known = wanted.flatMap((field) => {
      const attribute = attributeOf(field, place, account)
      return attribute === undefined ? [] : [{ field, attribute }]
    })
    const fields = known.map(({ field }) => field)
    const label = fields.join()
    if (!oneSession(fields) || sets.has(label)) continue
    sets.set(label, {
      fields,
      attributes: known.map(({ attribute }) => attribute),
      namesNas: fields.some((field) => field === 'nasIdentifier' || field === 'nasIpAddress'),
      namesUser: fields.includes('userName'),
    })
  }
  return [...sets.values()]
}

/** What limits a session to this rate both ways by CoA-Request; undefined where nothing does. */
export function rateAttributes(nasType: NasType, kbps: number): Attribute[] | undefined {
  return PROFILES[nasType].rate?.(kbps)
}

/** The port this make of NAS listens on for Disconnect- and CoA-Requests by default. */
export const defaultCoaPort = (nasType: NasType): number => PROFILES[nasType].coaPort
