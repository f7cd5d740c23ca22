// A notarized block that the store lacks, fetched from the operator and believed only where its
// leaves hash to the contract's root. Called before signing after an absence, and before a
// withdrawal from a DIR whose store was lost.

import { decodeProposal, readerOf } from '../chain/payplace/codec.ts'
import type { KnownBlock } from '../chain/payplace/known.ts'
import { ProposalError } from '../chain/payplace/proposal.ts'
import { proofOf } from '../chain/payplace/tree.ts'
import { recoverAddress } from '../ethereum/signature.ts'
import { type Domain, voucherDigest } from '../ethereum/typed-data.ts'
import type { OperatorApi } from './api.ts'
import { type DepositOf, type MerchantStore, sourcesOf } from './store.ts'

/** Which block is wanted, for which merchant. */
export interface Wanted {
  readonly domain: Domain
  readonly operatorId: number
  readonly id: number
  readonly k: number
  /** The contract's, 32 bytes. */
  readonly root: Buffer
  /** Random 32 bits for the index. */
  readonly seed: number
  /** As of that block or later. */
  readonly channel: DepositOf
}

/** Puts the block and her own part of it into the store; undefined where nobody gave it. */
export async function recoverBlock(
  store: MerchantStore,
  api: Pick<OperatorApi, 'block'>,
  wanted: Wanted,
): Promise<KnownBlock | undefined> {
  const { domain, operatorId, id, k, root, seed, channel } = wanted
  const bytes = await api.block(id, k)
  const block = bytes === undefined ? 'truncated' : decodeProposal(readerOf(bytes))
  if (typeof block === 'string' || block.form !== 'whole') return undefined
  try {
    const { merchants, sources } = block
    if (!store.adopt({ operator: operatorId, k, root, merchants, seed })) return undefined
    const known = store.known(operatorId, root, seed)
    const entries = known?.entriesOf(id)
    const place = known?.places.get(id)
    if (known === undefined || entries === undefined || place === undefined) return known
    const proofs = Array.from({ length: place.count }, (_, i) =>
      proofOf(known.tree, place.first + i),
    )
    store.keepOwn(k, root, { entries, proofs })
    const signed = sourcesOf(sources, entries).filter(({ consumer, amount, signature }) => {
      const digest = voucherDigest(domain, { consumer, operator: operatorId, amount })
      return recoverAddress(digest, signature) === consumer
    })
    store.keepVouchers(signed, channel)
    return known
  } catch (error) {
    // Bytes that are no block, found while they were read: as good as none.
    if (error instanceof ProposalError || error instanceof RangeError) return undefined
    throw error
  }
}
