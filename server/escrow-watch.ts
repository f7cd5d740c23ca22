// When the chain takes a deposit back (a reorg) or money leaves the channel or is about to (a
// shift), sessions whose reserve the escrow no longer covers end: the newest first, since the older
// ones were covered when they began. Called on every change the mirror reports.

import type { Ledger } from '../accounting/ledger.ts'
import { placeOf } from '../accounting/ledger-tables.ts'
import { debtOf, owed } from '../accounting/rating.ts'
import type { Session } from '../accounting/session.ts'
import { intervalPrice } from '../accounting/tariff.ts'
import type { ChainView } from '../chain/mirror.ts'
import type { Address } from '../ethereum/address.ts'

/**
 * What a session may still run up unpaid. Its time was measured by the escrow there was, so towards
 * its end there may be less left than a reserve.
 */
function needed(session: Session, nowMs: number): bigint {
  const { endsAtMs, startedAtMs, tariff, reserve, state, credit } = session
  const { intervalMs } = tariff
  const begun = Math.max(1, Math.ceil((nowMs - startedAtMs) / intervalMs))
  const isPaid = state !== 'reserved' && credit >= owed(session, startedAtMs + begun * intervalMs)
  const left = Math.ceil((endsAtMs - startedAtMs) / intervalMs) - begun + (isPaid ? 0 : 1)
  const rest = BigInt(Math.max(0, left)) * intervalPrice(tariff)
  return rest < reserve ? rest : reserve
}

/** Decides against what is no longer covered; returns what its NAS must put off. */
export function endUncovered(
  accounts: ReadonlySet<Address>,
  operatorId: number,
  view: ChainView,
  ledger: Ledger,
  nowMs: number,
): Session[] {
  const ended: Session[] = []
  for (const account of accounts) {
    const open = ledger.openOf(account)
    if (open.length === 0) continue
    const channel = view.channel(operatorId, account)
    const settled = channel?.highestVoucher ?? 0n
    const voucher = ledger.account(account)?.voucher?.amount ?? 0n
    const staying = (channel?.deposit ?? 0n) - (channel?.pendingShift ?? 0n)
    let rest = staying - (voucher > settled ? voucher : settled)
    for (const debt of ledger.debtsOf(account)) rest -= debtOf(debt)
    const covered = new Map<string, bigint>()
    for (const session of open) {
      const known = covered.get(placeOf(session)) ?? 0n
      const need = needed(session, nowMs)
      const larger = need > known ? need : known
      covered.set(placeOf(session), larger)
      rest -= larger - known
      if (rest >= 0n || session.state === 'disconnecting') continue
      const cut = ledger.cut(session.id, 'escrow-removed', nowMs)
      if (cut !== undefined) ended.push(cut)
    }
  }
  return ended
}
