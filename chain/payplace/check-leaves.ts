// Checks 3 and 5 of a proposed block in one pass over its merchants: the form of the leaves, and
// that nobody loses what the last block or a lock gave. Merchants whose entries are those of the
// last block are neither hashed nor compared again. Pure. Called by check.ts.

import type { Refusal, SigningView } from './check.ts'
import { consumerAt, entriesFault, firstBelow, LimitError, NO_ENTRIES } from './entries.ts'
import {
  type Assembly,
  assemble,
  type BlockIndex,
  floorOf,
  lockedEntries,
  type MerchantFacts,
} from './known.ts'
import { ENTRIES_BYTES_MAX, type MerchantEntries } from './leaf.ts'
import { type BlockProposal, ProposalError } from './proposal.ts'

/** What the pass learns: the block's index, its root not yet compared, and the signer's own set. */
export interface CheckedLeaves {
  readonly index: BlockIndex
  readonly ownEntries: Buffer
}

/** Reads the proposal's merchants once, in their order. */
export function checkLeaves(
  view: SigningView,
  proposal: BlockProposal,
  keep: (merchant: MerchantEntries) => void,
): CheckedLeaves | Refusal {
  const { previous } = view
  const known = previous === undefined ? view.k === 0 : previous.root.equals(view.root)
  if (!known) return { refused: 'previous-unknown' }
  const assembly = assemble(view.operator, previous, view.seed)
  let ownEntries: Buffer | undefined
  try {
    const active = new Set(view.merchants.map(({ id }) => id))
    for (const id of previous?.places.keys() ?? []) {
      if (!active.has(id)) assembly.drop(previous?.entriesOf(id) ?? NO_ENTRIES)
    }
    const proposed = proposal.merchants[Symbol.iterator]()
    let merchant = proposed.next()
    for (const facts of view.merchants) {
      const item = merchant.done !== true && merchant.value.id === facts.id && merchant.value
      if (item === false && merchant.done !== true && merchant.value.id < facts.id) {
        return strayRefusal(merchant.value.id, active)
      }
      const entries = checkMerchant(view, facts, item === false ? undefined : item, {
        assembly,
        keep,
        mayOmit: proposal.form === 'changes',
      })
      if ('refused' in entries) return entries
      if (facts.id === view.id) ownEntries = entries.entries
      if (item !== false) merchant = proposed.next()
    }
    if (merchant.done !== true) return strayRefusal(merchant.value.id, active)
    if (ownEntries === undefined) return { refused: 'merchant-missing', merchant: view.id }
    return { index: assembly.finish(), ownEntries }
  } catch (error) {
    if (error instanceof LimitError) return { refused: 'too-large' }
    if (error instanceof ProposalError) return { refused: 'malformed' }
    throw error
  }
}

/** A merchant where none was due: known ids come twice or in disorder, others are not Active. */
function strayRefusal(id: number, active: ReadonlySet<number>): Refusal {
  return { refused: active.has(id) ? 'merchant-order' : 'merchant-unknown', merchant: id }
}

interface Pass {
  readonly assembly: Assembly
  readonly keep: (merchant: MerchantEntries) => void
  readonly mayOmit: boolean
}

function checkMerchant(
  view: SigningView,
  facts: MerchantFacts,
  item: MerchantEntries | undefined,
  pass: Pass,
): { readonly entries: Buffer } | Refusal {
  const { id } = facts
  const mayKeep = item === undefined && pass.mayOmit && view.previous?.places.has(id) === true
  if (mayKeep && facts.locks.length === 0 && id !== view.id) {
    // As in block k, so nothing was taken away; the store need not even be read.
    pass.assembly.keep(id)
    return { entries: NO_ENTRIES }
  }
  const before = view.previous?.entriesOf(id)
  if (item === undefined) {
    if (!pass.mayOmit || before === undefined) return { refused: 'merchant-missing', merchant: id }
  }
  const entries = item?.entries ?? before ?? NO_ENTRIES
  const isSame = before !== undefined && (entries === before || entries.equals(before))
  // Her own always: whatever made block k, a leaf that is not canonical is never paid.
  if (!isSame || id === view.id) {
    if (entries.length > ENTRIES_BYTES_MAX) return { refused: 'too-many-entries', merchant: id }
    if (entriesFault(entries) !== undefined) {
      return { refused: 'entries-not-canonical', merchant: id }
    }
  }
  const below = checkFloor(view, facts, before ?? NO_ENTRIES, entries)
  if (below !== undefined) return below
  if (isSame) pass.assembly.keep(id)
  else {
    pass.assembly.change({ id, entries }, before ?? NO_ENTRIES)
    pass.keep({ id, entries })
  }
  return { entries }
}

/** Check 5. */
function checkFloor(
  view: SigningView,
  facts: MerchantFacts,
  before: Buffer,
  entries: Buffer,
): Refusal | undefined {
  const { id } = facts
  const floor = floorOf(before, facts.withdrawn, NO_ENTRIES)
  const decreased = firstBelow(floor, entries)
  if (decreased !== undefined) {
    return { refused: 'amount-decreased', merchant: id, consumer: consumerAt(floor, decreased) }
  }
  if (facts.locks.length > 0) {
    const locked = lockedEntries(view.operator, facts)
    if (locked === undefined) return { refused: 'lock-content', merchant: id }
    const short = firstBelow(locked, entries)
    if (short !== undefined) {
      return { refused: 'below-lock', merchant: id, consumer: consumerAt(locked, short) }
    }
  }
  if (id !== view.id) return undefined
  const own = firstBelow(view.ownEntries, entries)
  if (own === undefined) return undefined
  const consumer = consumerAt(view.ownEntries, own)
  return { refused: 'own-amount-decreased', merchant: id, consumer }
}
