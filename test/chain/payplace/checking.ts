// One honest block 4 after a block 3, and what a merchant says to variations of it.

import { checkProposal, type SigningView } from '../../../chain/payplace/check.ts'
import type { MerchantEntries } from '../../../chain/payplace/leaf.ts'
import type { BlockProposal } from '../../../chain/payplace/proposal.ts'
import { known, merchants, proposal, signingView } from './support.ts'

export const BEFORE = { 1: { 0: 2n }, 2: { 0: 20n, 1: 10n }, 3: { 0: 30n } }
export const before = known(merchants(BEFORE))
export const AFTER = { 1: { 0: 3n }, 2: { 0: 25n, 1: 10n, 2: 7n }, 3: { 0: 30n } }
export const honest = merchants(AFTER)

export type ViewChange = Partial<SigningView>
export type ProposalChange = Partial<BlockProposal>

export function verdict(
  view: ViewChange,
  more: ProposalChange,
  list: readonly MerchantEntries[] = honest,
  kept: number[] = [],
) {
  const given = { ...proposal(before, list), ...more }
  return checkProposal(signingView(before, view), given, ({ id }) => kept.push(id))
}

/** Merchants as the honest ones with one replaced, added or (undefined) left out. */
export function list(
  changes: Readonly<Record<number, Readonly<Record<number, bigint>> | undefined>>,
) {
  const table: Record<number, Readonly<Record<number, bigint>> | undefined> = {
    ...AFTER,
    ...changes,
  }
  return merchants(
    Object.fromEntries(Object.entries(table).flatMap(([id, set]) => (set ? [[id, set]] : []))),
  )
}
