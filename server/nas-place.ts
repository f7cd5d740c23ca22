// Where a device is, as the NAS tells in its requests: the same reading for an Access-Request,
// which opens a session, and for the accounting records that follow it. Called by access.ts and
// accounting.ts.

import { isIP } from 'node:net'
import type { NasPlace } from '../accounting/session.ts'
import { AttributeType } from '../radius/attribute-type.ts'
import type { VerifiedPacket } from '../radius/authenticator.ts'
import { firstAttribute } from '../radius/packet.ts'

/** The text of an attribute of at most 253 octets; empty where it is absent. Not for a terminal. */
export const textOf = (request: VerifiedPacket, type: number): string =>
  firstAttribute(request, type)?.toString('latin1') ?? ''

/**
 * NAS-IP-Address, else NAS-IPv6-Address, as text; empty where neither is there or has its length.
 */
function addressText(four: Buffer | undefined, six: Buffer | undefined): string {
  if (four?.length === 4) return `${four[0]}.${four[1]}.${four[2]}.${four[3]}`
  if (six?.length !== 16) return ''
  const groups = Array.from({ length: 8 }, (_, i) => six.readUInt16BE(2 * i).toString(16))
  return groups.join(':')
}

/** The values a place is made of; of one that comes twice the first counts. */
interface Found {
  nasIdentifier: Buffer | undefined
  four: Buffer | undefined
  six: Buffer | undefined
  nasPort: Buffer | undefined
  callingStationId: Buffer | undefined
  calledStationId: Buffer | undefined
  acctSessionId: Buffer | undefined
  acctMultiSessionId: Buffer | undefined
}

function collect({ attributes }: VerifiedPacket): Found {
  const found: Found = {
    ...{ nasIdentifier: undefined, four: undefined, six: undefined, nasPort: undefined },
    ...{ callingStationId: undefined, calledStationId: undefined },
    ...{ acctSessionId: undefined, acctMultiSessionId: undefined },
  }
  for (const { type, value } of attributes) {
    switch (type) {
      case AttributeType.nasIdentifier:
        found.nasIdentifier ??= value
        break
      case AttributeType.nasIpAddress:
        found.four ??= value
        break
      case AttributeType.nasIpv6Address:
        found.six ??= value
        break
      case AttributeType.nasPort:
        found.nasPort ??= value
        break
      case AttributeType.callingStationId:
        found.callingStationId ??= value
        break
      case AttributeType.calledStationId:
        found.calledStationId ??= value
        break
      case AttributeType.acctSessionId:
        found.acctSessionId ??= value
        break
      case AttributeType.acctMultiSessionId:
        found.acctMultiSessionId ??= value
        break
    }
  }
  return found
}

const asText = (value: Buffer | undefined): string => value?.toString('latin1') ?? ''

/** The place of one request; `address` is the source address of its packet. */
export function placeOfRequest(request: VerifiedPacket, nas: string, address: string): NasPlace {
  const found = collect(request)
  const { nasPort } = found
  return {
    nas,
    address: isIP(address) === 0 ? '' : address,
    nasIdentifier: asText(found.nasIdentifier),
    nasIpAddress: addressText(found.four, found.six),
    nasPort: nasPort?.length === 4 ? nasPort.readUInt32BE(0) : undefined,
    callingStationId: asText(found.callingStationId),
    calledStationId: asText(found.calledStationId),
    acctSessionId: asText(found.acctSessionId),
    acctMultiSessionId: asText(found.acctMultiSessionId),
  }
}
