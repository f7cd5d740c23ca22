// The best voucher of each consumer, with its signature checked: what covers a block, and what
// merchants, the contract and challenges are shown. Owns a cache of them; the ledger and the store
// have them. Called by the notary.

import type { Ledger } from '../accounting/ledger.ts'
import type { Storage } from '../accounting/storage.ts'
import type { Source } from '../chain/payplace/proposal.ts'
import type { Address } from '../ethereum/address.ts'
import { recoverAddress } from '../ethereum/signature.ts'
import { type Domain, voucherDigest } from '../ethereum/typed-data.ts'

export interface VoucherBook {
  /** Looks these up, so that `best` knows them. Throws StorageError. */
  load(consumers: Iterable<Address>): Promise<void>
  /** The highest voucher as of the last `load` of this consumer; undefined where there is none. */
  best(consumer: Address): Source | undefined
  /** The journal tells of new payments of these: what is known of them may be too low. */
  outdate(consumers: Iterable<Address>): void
}

export interface VoucherBookDeps {
  readonly ledger: Pick<Ledger, 'account'>
  readonly storage: Pick<Storage, 'account'>
  readonly domain: Domain
  readonly operator: number
}

/** 300 bytes each; a block has at most so many consumers (CONSUMERS_MAX). */
const VOUCHERS_MAX = 2 ** 20
/** Vouchers that are checked before others have their turn. */
const TURN = 100

/** Empty at first. */
export function createVoucherBook(deps: VoucherBookDeps): VoucherBook {
  const known = new Map<Address, Source>()

  function adopt(consumer: Address, amount: bigint, signatureHex: string): void {
    const before = known.get(consumer)
    if (before !== undefined && before.amount >= amount) return
    const signature = Buffer.from(signatureHex.slice(2), 'hex')
    const digest = voucherDigest(deps.domain, { consumer, operator: deps.operator, amount })
    // Books may hold vouchers for a contract that was replaced: those cover nothing in this one.
    if (recoverAddress(digest, signature) !== consumer) return
    if (known.size >= VOUCHERS_MAX) known.clear()
    known.set(consumer, { consumer, amount, signature })
  }

  return {
    async load(consumers) {
      let looked = 0
      for (const consumer of consumers) {
        looked += 1
        // A signature takes 0.1 ms: RADIUS must not wait for ten thousand of them.
        if (looked % TURN === 0) await new Promise((resolve) => setImmediate(resolve))
        const inMemory = deps.ledger.account(consumer)?.voucher
        if (inMemory !== undefined) adopt(consumer, inMemory.amount, inMemory.signature)
        else if (!known.has(consumer)) {
          const stored = (await deps.storage.account(consumer))?.account.voucher
          if (stored !== undefined) adopt(consumer, stored.amount, stored.signature)
        }
      }
    },
    best: (consumer) => known.get(consumer),
    outdate(consumers) {
      for (const consumer of consumers) known.delete(consumer)
    },
  }
}
