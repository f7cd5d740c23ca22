// The merchant's side of a period: whether she may sign a proposed block (Alg. 4 fixed). Owns
// checks 1, 2, 4, 6 and 7 and their order; 3 and 5 are check-leaves.ts. Storing and signing (check
// 8) are the caller's, in that order. Pure: time and chain are arguments. Called by the merchant
// agent.

import type { Address } from '../../ethereum/address.ts'
import { recoverAddress } from '../../ethereum/signature.ts'
import { type Domain, voucherDigest } from '../../ethereum/typed-data.ts'
import { blockDigest, NO_ROOT } from './block.ts'
import { checkLeaves } from './check-leaves.ts'
import {
  amountAt,
  amountOf,
  consumerAt,
  eachEntry,
  NO_ENTRIES,
  subtractEntries,
  WORD,
} from './entries.ts'
import type { BlockIndex, KnownBlock, MerchantFacts } from './known.ts'
import type { MerchantEntries } from './leaf.ts'
import type { BlockProposal, Snapshot, Source } from './proposal.ts'
import { type BlockTiming, periodAt, phaseAt, startOf } from './timing.ts'
import { proofOf } from './tree.ts'

/** Why a merchant does not sign, by number of the check. */
export type RefusalReason =
  // 1: the time
  | 'not-commit-phase'
  | 'window-closing'
  | 'head-not-current'
  | 'snapshot-unknown'
  | 'snapshot-too-old'
  | 'period-already-signed'
  // 2: the header
  | 'wrong-operator'
  | 'wrong-number'
  | 'wrong-previous-root'
  | 'wrong-period'
  | 'tau-outside-window'
  // 3: the leaves' form
  | 'merchant-order'
  | 'merchant-unknown'
  | 'merchant-missing'
  | 'entries-not-canonical'
  | 'too-many-entries'
  | 'too-large'
  | 'malformed'
  // 4: the tree
  | 'root-mismatch'
  // 5: nothing taken away
  | 'previous-unknown'
  | 'lock-content'
  | 'amount-decreased'
  | 'below-lock'
  | 'own-amount-decreased'
  // 6: covered by vouchers
  | 'source-order'
  | 'source-missing'
  | 'source-signature'
  | 'source-exceeds-deposit'
  | 'overspent'
  | 'shift-pending'
  // 7: her own books
  | 'income-differs'

/** One refusal; ids and addresses say where, for the log. */
export interface Refusal {
  readonly refused: RefusalReason
  readonly merchant?: number
  readonly consumer?: Address
  /** Of shift-pending: vouchers to challenge the shifts with, at once. */
  readonly challenges?: readonly Source[]
}

/** What the contract has of a consumer at the snapshot, base units. */
export interface SigningChannel {
  readonly deposit: bigint
  readonly withdrawn: bigint
  readonly pendingShift: bigint
}

/** Everything the merchant knows for herself. */
export interface SigningView {
  readonly domain: Domain
  readonly operator: number
  /** Her id. */
  readonly id: number
  readonly timing: BlockTiming
  /** Wall clock, Unix seconds. */
  readonly now: number
  /** Time of a chain block that was caused or seen now. */
  readonly headTime: number
  /** Seconds that storing, signing and sending may take. */
  readonly marginS: number
  /** The finalized block she reads at, with its time. */
  readonly snapshot: Snapshot & { readonly time: number }
  /** From the contract at the snapshot. */
  readonly k: number
  readonly root: Buffer
  /** Active merchants, ascending. */
  readonly merchants: readonly MerchantFacts[]
  channel(consumer: Address): SigningChannel
  /** Block k, as she stored or was given it; undefined where k is 0 or she has not got it. */
  readonly previous: KnownBlock | undefined
  /** The last period she signed for this operator, −1 for never; durable. */
  readonly signedPeriod: number
  /** T_p of the last block she signed, less what she was paid since. */
  readonly ownEntries: Buffer
  /** Vouchers whose signature she verified before. */
  readonly isVerified: (source: Source) => boolean
  /** Increases that her own receipts show since block k; undefined without receipts. */
  readonly income: Buffer | undefined
  /** Whether other income than that is a reason not to sign. */
  readonly requireIncome: boolean
  /** Random 32 bits for createTotals. */
  readonly seed: number
}

/** What must be durable before the signature leaves. */
export interface SignableBlock {
  /** What BLS signs, 32 bytes. */
  readonly digest: Buffer
  readonly index: BlockIndex
  /** T_p, the proofs of its leaves, the vouchers that cover it: all that a withdrawal needs. */
  readonly own: {
    readonly entries: Buffer
    readonly proofs: readonly (readonly Buffer[])[]
    readonly sources: readonly Source[]
  }
  /** Consumers whose new amount differs from her receipts; empty where equal or unknown. */
  readonly incomeDiffers: readonly Address[]
}

/**
 * Checks a proposal. Each merchant whose entries differ from block k goes to `keep` as it is read,
 * before the verdict: what was kept counts only if the block may be signed.
 */
export function checkProposal(
  view: SigningView,
  proposal: BlockProposal,
  keep: (merchant: MerchantEntries) => void,
): SignableBlock | Refusal {
  const early = checkTime(view, proposal) ?? checkHeader(view, proposal)
  if (early !== undefined) return early
  const leaves = checkLeaves(view, proposal, keep)
  if ('refused' in leaves) return leaves
  const { index, ownEntries } = leaves
  if (!index.root.equals(proposal.header.root)) return { refused: 'root-mismatch' }
  const covered = checkSources(view, proposal, index, ownEntries)
  if (covered !== undefined) return covered
  const incomeDiffers = differingIncome(view, ownEntries)
  const [consumer] = incomeDiffers
  if (view.requireIncome && consumer !== undefined) return { refused: 'income-differs', consumer }
  const place = index.places.get(view.id) ?? { first: 0, count: 0 }
  const proofs = Array.from({ length: place.count }, (_, shard) =>
    proofOf(index.tree, place.first + shard),
  )
  return {
    digest: blockDigest(view.domain, proposal.header),
    index,
    own: { entries: ownEntries, proofs, sources: proposal.sources },
    incomeDiffers,
  }
}

/** Check 1. A signature is of use only inside the window, and two in one period are D13. */
function checkTime(view: SigningView, proposal: BlockProposal): Refusal | undefined {
  const { timing, now, snapshot } = view
  if (phaseAt(timing, now) !== 'commit') return { refused: 'not-commit-phase' }
  const period = periodAt(timing, now)
  const begins = startOf(timing, period)
  if (now + view.marginS >= begins + timing.gamma) return { refused: 'window-closing' }
  // D38: a node that lags or lies about the time shows old funds.
  if (Math.abs(now - view.headTime) * 2 > timing.delta) return { refused: 'head-not-current' }
  const { number, hash } = proposal.snapshot
  if (number !== snapshot.number || !hash.equals(snapshot.hash)) {
    return { refused: 'snapshot-unknown' }
  }
  // Before g − delta withdrawals and exits were still possible: what she reads must be what stays.
  if (snapshot.time < begins - timing.delta) return { refused: 'snapshot-too-old' }
  return period <= view.signedPeriod ? { refused: 'period-already-signed' } : undefined
}

/** Check 2. */
function checkHeader(view: SigningView, { header }: BlockProposal): Refusal | undefined {
  const period = periodAt(view.timing, view.now)
  if (header.operator !== view.operator) return { refused: 'wrong-operator' }
  if (header.k !== view.k + 1) return { refused: 'wrong-number' }
  if (!header.prevRoot.equals(view.k === 0 ? NO_ROOT : view.root)) {
    return { refused: 'wrong-previous-root' }
  }
  if (header.period !== period) return { refused: 'wrong-period' }
  const inWindow = header.tau > startOf(view.timing, period) && header.tau <= view.now
  return inWindow ? undefined : { refused: 'tau-outside-window' }
}

/**
 * Check 6: every consumer of hers has signed a voucher that covers what all merchants together
 * would have. Consumers she has nothing of are other merchants' business (D11).
 */
function checkSources(
  view: SigningView,
  { sources }: BlockProposal,
  index: BlockIndex,
  own: Buffer,
): Refusal | undefined {
  const ordered = sources.every((source, i) => {
    const before = sources[i - 1]
    return before === undefined || before.consumer < source.consumer
  })
  if (!ordered) return { refused: 'source-order' }
  const challenges: Source[] = []
  let next = 0
  for (let at = 0; at < own.length; at += WORD) {
    const consumer = consumerAt(own, at)
    let source = sources[next]
    while (source !== undefined && source.consumer < consumer) source = sources[++next]
    if (source?.consumer !== consumer) return { refused: 'source-missing', consumer }
    const { deposit, withdrawn, pendingShift } = view.channel(consumer)
    if (source.amount > deposit) return { refused: 'source-exceeds-deposit', consumer }
    // D8, D9: the sum of what each merchant has, compared for every consumer of hers.
    if (index.totals.of(consumer) > source.amount - withdrawn) {
      return { refused: 'overspent', consumer }
    }
    if (!isSigned(view, source)) return { refused: 'source-signature', consumer }
    if (source.amount > deposit - pendingShift) challenges.push(source)
  }
  const [first] = challenges
  if (first === undefined) return undefined
  return { refused: 'shift-pending', consumer: first.consumer, challenges }
}

function isSigned(view: SigningView, source: Source): boolean {
  if (view.isVerified(source)) return true
  const { consumer, amount, signature } = source
  const digest = voucherDigest(view.domain, { consumer, operator: view.operator, amount })
  return recoverAddress(digest, signature) === consumer
}

/** Check 7: consumers whose increase since block k is not what her receipts show. */
function differingIncome(view: SigningView, own: Buffer): Address[] {
  if (view.income === undefined) return []
  const paid = view.merchants.find(({ id }) => id === view.id)?.withdrawn ?? NO_ENTRIES
  const before = subtractEntries(view.previous?.entriesOf(view.id) ?? NO_ENTRIES, paid)
  const increase = subtractEntries(own, before)
  const differing = new Set<Address>()
  for (let at = 0; at < increase.length; at += WORD) {
    const consumer = consumerAt(increase, at)
    if (amountOf(view.income, consumer) !== amountAt(increase, at)) differing.add(consumer)
  }
  for (const { consumer, amount } of eachEntry(view.income)) {
    if (amountOf(increase, consumer) !== amount) differing.add(consumer)
  }
  return [...differing]
}
