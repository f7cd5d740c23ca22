// When the chain takes a deposit back (a reorg) or a voucher settles, sessions whose reserve the
// escrow no longer covers end: the newest first, since the older ones were covered when they began.
// Called on every change the mirror reports.

import { spendableOf } from '../accounting/admission.ts'
import { placeOf, type Session, type Sessions } from '../accounting/sessions.ts'
import type { ChainView } from '../chain/mirror.ts'
import type { Address } from '../ethereum/address.ts'

/** Closes what is no longer covered and returns it. */
export function endUncovered(
  accounts: ReadonlySet<Address>,
  operatorId: number,
  view: ChainView,
  sessions: Sessions,
): Session[] {
  const ended: Session[] = []
  for (const account of accounts) {
    const open = sessions.ofAccount(account)
    if (open.length === 0) continue
    const channel = view.channel(operatorId, account)
    let rest = spendableOf({
      account,
      deposit: channel?.deposit ?? 0n,
      highestVoucher: channel?.highestVoucher ?? 0n,
      reserved: 0n,
      openSessions: 0,
      depositElsewhere: false,
    })
    const covered = new Map<string, bigint>()
    for (const session of open.toSorted((a, b) => a.startedAtMs - b.startedAtMs)) {
      const known = covered.get(placeOf(session)) ?? 0n
      const larger = session.reserve > known ? session.reserve : known
      covered.set(placeOf(session), larger)
      rest -= larger - known
      if (rest < 0n && sessions.close(session.id, 'escrow-removed')) ended.push(session)
    }
  }
  return ended
}
