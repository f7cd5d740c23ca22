// EAP packets inside EAP-Message attributes (RFC 3579 §3.1): cut into pieces of at most 253 octets
// and put together again. Knows nothing of EAP itself; an empty result is EAP-Start (§2.1).

import { AttributeType } from './attribute-type.ts'
import { RadiusError } from './error.ts'
import { type Attribute, type Packet, valueLengthMax } from './packet.ts'

/**
 * The EAP packet a RADIUS packet carries: undefined without EAP-Message, an empty buffer for
 * EAP-Start. Throws RadiusError `eap-message-scattered` where other attributes stand between.
 */
export function joinEapMessage(packet: Packet): Buffer | undefined {
  const { attributes } = packet
  const first = attributes.findIndex(({ type }) => type === AttributeType.eapMessage)
  if (first === -1) return undefined
  let end = first
  let length = 0
  for (; attributes[end]?.type === AttributeType.eapMessage; end++) {
    length += attributes[end]?.value.length ?? 0
  }
  for (let i = end + 1; i < attributes.length; i++) {
    // RFC 3579 §3.1: EAP-Message attributes MUST be consecutive.
    if (attributes[i]?.type === AttributeType.eapMessage) {
      throw new RadiusError('eap-message-scattered', `attribute ${i} after a gap at ${end}`)
    }
  }
  const eap = Buffer.allocUnsafe(length)
  let at = 0
  for (let i = first; i < end; i++) {
    const value = attributes[i]?.value
    if (value === undefined) break
    eap.set(value, at)
    at += value.length
  }
  return eap
}

/** EAP-Message attributes that carry these octets; one empty attribute for an empty buffer. */
export function splitEapMessage(eap: Buffer): Attribute[] {
  const attributes: Attribute[] = []
  let at = 0
  do {
    const value = eap.subarray(at, at + valueLengthMax)
    attributes.push({ type: AttributeType.eapMessage, value })
    at += valueLengthMax
  } while (at < eap.length)
  return attributes
}
