// The watchtower's judgement: which pending shifts take away what consumers have signed for, and
// which events a merchant's owner must hear of. Pure; the agent sends the challenges and writes the
// log. It watches for her own consumers only: of others she holds no voucher.

import type { Source } from '../chain/payplace/proposal.ts'
import type { PayplaceFacts } from '../chain/payplace-facts.ts'
import type { Synced } from '../chain/payplace-view.ts'
import type { Address } from '../ethereum/address.ts'
import type { SignedBlock } from './store.ts'

/** A shift to challenge, with the voucher that lowers it. */
export interface Challenge {
  readonly consumer: Address
  readonly voucher: Source
  /** Tells this request from a later one of the same consumer. */
  readonly requestedAt: number
}

/** Pending shifts that exceed what the best vouchers leave unspent. */
export function dueChallenges(
  facts: PayplaceFacts,
  best: (consumer: Address) => Source | undefined,
): Challenge[] {
  return facts.shifts().flatMap(({ consumer, amount, requestedAt }) => {
    const voucher = best(consumer)
    if (voucher === undefined) return []
    const { deposit, highestVoucher } = facts.channel(consumer)
    // The contract refuses a voucher above the deposit; then the operator took too much on trust.
    if (voucher.amount > deposit) return []
    const isSpent = [voucher.amount, highestVoucher].some((spent) => amount > deposit - spent)
    return isSpent ? [{ consumer, voucher, requestedAt }] : []
  })
}

/** How loud: info is the course of things, error needs the owner. */
export type Level = 'info' | 'warn' | 'error'

/** One thing to tell. */
export interface Notice {
  readonly level: Level
  /** Machine-readable. */
  readonly event: string
  readonly text: string
  readonly fields: Readonly<Record<string, string | number | boolean>>
}

/** What the new events mean for merchant `id`. */
export function noticesOf(
  events: Synced['events'],
  id: number,
  signed: SignedBlock | undefined,
): Notice[] {
  return events.flatMap((event): Notice[] => {
    if (event.type === 'notarized') return notarized(event, id, signed)
    if (!('id' in event) || event.id !== id) return []
    switch (event.type) {
      case 'locked': {
        const fields = { k: event.k, shard: event.shard }
        const text = 'the operator locked what block k owes us: it counts us as absent'
        return [{ level: 'warn', event: 'locked', text, fields }]
      }
      case 'withdrawn': {
        const fields = { k: event.k, total: event.total.toString(), fromLock: event.fromLock }
        return [{ level: 'info', event: 'withdrawn', text: 'paid', fields }]
      }
      case 'short-paid': {
        const { consumer, due, paid } = event
        const fields = { consumer, due: due.toString(), paid: paid.toString() }
        const text = 'a withdrawal paid less than the block says: the operator cheated'
        return [{ level: 'error', event: 'short-paid', text, fields }]
      }
      case 'merchant-exited': {
        const level = event.forced ? 'error' : 'info'
        const text = event.forced
          ? 'the operator put us out for our absence: merchant withdraw pays what was locked'
          : 'we left the operator'
        return [{ level, event: 'exited', text, fields: { forced: event.forced } }]
      }
      default:
        return []
    }
  })
}

type Notarized = Extract<Synced['events'][number], { readonly type: 'notarized' }>

function notarized(event: Notarized, id: number, signed: SignedBlock | undefined): Notice[] {
  const { k, period, root, newlyMissing, returning } = event
  const fields = { k, period }
  const isOurs = signed?.period === period && signed.root.equals(root)
  if (newlyMissing.includes(id)) {
    // Our signature may have come too late; where the operator took it, it left it out.
    const wasTaken = signed?.period === period && signed.isTaken
    const text = wasTaken
      ? 'the operator took our signature and named us missing'
      : 'a block was notarized without us: what we had before it is locked for us'
    const level = wasTaken ? 'error' : 'warn'
    return [{ level, event: 'counted-missing', text, fields }]
  }
  if (returning.includes(id)) {
    const text = 'a block was notarized with us again'
    return [{ level: 'info', event: 'returned', text, fields }]
  }
  return isOurs
    ? [{ level: 'info', event: 'notarized', text: 'our block was notarized', fields }]
    : []
}
