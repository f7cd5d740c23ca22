// The books as the server keeps them: the ledger in memory, the store behind it, the committer
// between. Opened before anything may be admitted and closed last, so that nothing that was told is
// ever missing. Called by main.ts.

import { type Committer, createCommitter } from '../accounting/committer.ts'
import { createLedger, type Ledger } from '../accounting/ledger.ts'
import type { Storage } from '../accounting/storage.ts'
import type { Address } from '../ethereum/address.ts'
import type { Log } from './log.ts'
import { openStorage } from './open-storage.ts'

export interface Books {
  readonly ledger: Ledger
  readonly storage: Storage
  readonly committer: Committer
  /** Journal entries since this time (Unix ms) stay as they are, however old. */
  keepJournal(sinceMs: () => number): void
  /** Makes the last changes durable and closes the store. */
  close(): Promise<void>
}

/** A session's place at its access point may be taken up again by a cached key for that long. */
const REMEMBERED_MS = 12 * 3_600_000
/** About 1 kB a session: 100,000 of them are 100 MB. */
const SESSIONS_MAX = 100_000
/** Closed sessions that may still be continued or paid; as many again. */
const REMEMBERED_MAX = 100_000
/** About 300 bytes an account without sessions; one that is not in memory costs one read. */
const ACCOUNTS_MAX = 200_000

/** What was acknowledged stays as evidence for a quarter; sessions and money stay for good. */
const RECORDS_KEPT_MS = 90 * 86_400_000
const PRUNE_EVERY_MS = 6 * 3_600_000
const PRUNE_FIRST_MS = 60_000

/** Opens the store, migrates it and reads what is open, owed or recent. Throws StorageError. */
export async function openBooks(o: {
  readonly storage: string
  readonly databasePath: string
  readonly operatorAccount: Address
  readonly now: () => number
  readonly log: Log
}): Promise<Books> {
  const storage = await openStorage(o.storage, o.databasePath)
  try {
    const ledger = createLedger({
      sessionsMax: SESSIONS_MAX,
      rememberedMax: REMEMBERED_MAX,
      accountsMax: ACCOUNTS_MAX,
      operatorAccount: o.operatorAccount,
    })
    ledger.adopt(await storage.load(o.now() - REMEMBERED_MS))
    const committer = createCommitter({
      ...{ ledger, storage },
      onError: (error) => o.log.error({ code: error.code, reason: error.message }, 'not stored'),
      onRecovered: () => o.log.info('the store can be written again'),
    })
    let keptSinceMs = (): number => Number.POSITIVE_INFINITY
    const prune = async (): Promise<void> => {
      try {
        const removed = await storage.prune(o.now() - RECORDS_KEPT_MS, keptSinceMs())
        if (removed.records + removed.entries > 0) o.log.info(removed, 'old rows removed')
      } catch (error) {
        o.log.warn({ err: error }, 'old rows could not be removed')
      }
    }
    const pruning = setInterval(prune, PRUNE_EVERY_MS)
    // A server that is restarted more often than that must prune, too.
    const first = setTimeout(prune, PRUNE_FIRST_MS)
    const close = async (): Promise<void> => {
      clearTimeout(first)
      clearInterval(pruning)
      await committer.close()
      await storage.close()
    }
    const keepJournal = (sinceMs: () => number): void => {
      keptSinceMs = sinceMs
    }
    return { ledger, storage, committer, keepJournal, close }
  } catch (error) {
    await storage.close()
    throw error
  }
}
