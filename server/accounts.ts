// Brings an account's books into memory before a decision that must not wait: a device that was
// last here months ago has its voucher and its debts in the store only. Called by admission and
// payments.

import type { Ledger } from '../accounting/ledger.ts'
import type { Storage } from '../accounting/storage.ts'
import type { Address } from '../ethereum/address.ts'

/**
 * Resolves when the ledger knows the account; rejects with StorageError where it can't be asked.
 */
export type EnsureAccount = (account: Address) => Promise<void>

/** Asks the store once for each unknown account, however many wait for it. */
export function createEnsureAccount(ledger: Ledger, storage: Storage): EnsureAccount {
  // No longer than the doors let in at once: each entry has a waiting request behind it.
  const asked = new Map<Address, Promise<void>>()
  const ask = async (account: Address): Promise<void> => {
    const stored = await storage.account(account)
    if (ledger.knows(account)) return
    if (stored === undefined) ledger.meet(account)
    else ledger.adopt(stored)
  }
  return (account) => {
    if (ledger.knows(account)) return Promise.resolve()
    const running = asked.get(account)
    if (running !== undefined) return running
    const asking = ask(account).finally(() => asked.delete(account))
    asked.set(account, asking)
    return asking
  }
}
