// Accounting-Requests, as far as they matter to the escrow of open sessions: a Stop that carries
// our Class gives the reserve back. Nothing is answered: RFC 2866 §4.1 forbids a reply to a record
// that was not stored, and storing and rating records is the ledger's work. Called by radius.ts.

import type { Sessions } from '../accounting/sessions.ts'
import type { NasEntry } from '../config/config.ts'
import { AcctStatusType, AttributeType } from '../radius/attribute-type.ts'
import type { VerifiedPacket } from '../radius/authenticator.ts'
import { firstAttribute } from '../radius/packet.ts'

const CLASS = /^ai:([0-9a-f]{32})$/

/** Takes notice of one verified Accounting-Request. */
export function noticeAccounting(request: VerifiedPacket, nas: NasEntry, sessions: Sessions): void {
  const status = firstAttribute(request, AttributeType.acctStatusType)
  if (status?.length !== 4 || status.readUInt32BE(0) !== AcctStatusType.stop) return
  const text = firstAttribute(request, AttributeType.class)?.toString('latin1') ?? ''
  const session = sessions.get(CLASS.exec(text)?.[1] ?? '')
  // A session belongs to the NAS whose Accept opened it: another one can't end it.
  if (session?.nas === nas.name) sessions.close(session.id, 'stopped')
}
