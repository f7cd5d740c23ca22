// From a proposal's bytes to a signature: gathers what the checks need, has the whole block stored,
// and only then signs. Owns the order of these three. Called by agent.ts; tests kill it anywhere.

import { type BlsEngine, nobleBls } from '../chain/bls.ts'
import {
  checkProposal,
  type Refusal,
  type RefusalReason,
  type SigningView,
} from '../chain/payplace/check.ts'
import type { BlockAnswer, BlockProposal } from '../chain/payplace/proposal.ts'
import type { Address } from '../ethereum/address.ts'
import { type MerchantStore, type SignedBlock, sourcesOf } from './store.ts'

/** What signs: the BLS key of one merchant of one operator. */
export interface Signatory {
  readonly operatorId: number
  readonly id: number
  /** 32 bytes. */
  readonly secret: Buffer
  readonly bls?: Pick<BlsEngine<unknown, unknown>, 'sign'>
}

/** Stored, and free to be signed. */
export interface StoredBlock {
  readonly signed: SignedBlock
  /** Consumers whose new amount differs from her receipts. */
  readonly incomeDiffers: readonly Address[]
}

/**
 * Checks a proposal and stores everything of it in one durable step; nothing where it is refused.
 * Income is held against the caller's books by `isIncomeGood`, with the signer's new entries.
 */
export function storeProposal(
  store: MerchantStore,
  view: SigningView,
  proposal: BlockProposal,
  isIncomeGood: (entries: Buffer) => boolean = () => true,
): StoredBlock | Refusal {
  return store.sign<StoredBlock | Refusal>((keep) => {
    const block = checkProposal(view, proposal, keep)
    if ('refused' in block) return { verdict: block }
    const { entries, proofs, sources } = block.own
    if (!isIncomeGood(entries)) return { verdict: { refused: 'income-differs' } }
    const { period, k, root } = proposal.header
    const { digest } = block
    const record = {
      ...{ period, k, root, digest, own: { entries, proofs }, index: block.index },
      // Those of strangers were not verified (D11).
      sources: sourcesOf(sources, entries),
      channel: view.channel,
      dropped: [...(view.previous?.places.keys() ?? [])].filter(
        (id) => !block.index.places.has(id),
      ),
    }
    const signed = { period, k, root, digest, isSent: false, isTaken: false }
    return { verdict: { signed, incomeDiffers: block.incomeDiffers }, record }
  })
}

/**
 * The answer for a block that the store holds. A block has one signature only, so making it again
 * after a crash says nothing new.
 */
export function answerOf(signatory: Signatory, signed: SignedBlock): BlockAnswer {
  const { operatorId, id, secret, bls = nobleBls } = signatory
  const { k, period, root, digest } = signed
  return { operator: operatorId, k, period, root, id, signature: bls.sign(digest, secret) }
}

/** Refusals that the next moment may lift by itself: a node behind, a clock, a shift. */
const PASSING: ReadonlySet<RefusalReason> = new Set<RefusalReason>([
  ...(['not-commit-phase', 'window-closing', 'head-not-current', 'snapshot-unknown'] as const),
  ...([
    'period-already-signed',
    'shift-pending',
    'tau-outside-window',
    'previous-unknown',
  ] as const),
])

/** Whether a refusal accuses the operator, and not the time. */
export const isAccusation = ({ refused }: Refusal): boolean => !PASSING.has(refused)
