// The notary put together: its folder of blocks, its chain, its thread for signatures, over the
// books and the chain of this server. Decides nothing. Called by main.ts, after the books are open.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { deriveOperatorBlsKey } from '../chain/bls.ts'
import type { Config } from '../config/config.ts'
import { payPlaceDomain } from '../ethereum/typed-data.ts'
import { openBlockFiles } from './block-files.ts'
import type { Books } from './books.ts'
import type { ChainSide } from './chain-side.ts'
import type { Log } from './log.ts'
import type { Metrics } from './metrics.ts'
import { createNotary, type Notary } from './notary.ts'
import { createNotaryBlocks } from './notary-blocks.ts'
import { openBlsThread } from './notary-bls.ts'
import { createJournal } from './notary-build.ts'
import { openNotaryChain } from './notary-chain.ts'
import { createVoucherBook } from './notary-vouchers.ts'
import { openViewStore } from './view-store.ts'

export interface NotarySideDeps {
  readonly books: Books
  readonly chain: ChainSide
  readonly operatorKey: Buffer
  /** DATA/blocks. */
  readonly directory: string
  readonly config: () => Config
  readonly random: (length: number) => Buffer
  readonly now: () => number
  readonly log: Log
  readonly metrics: Metrics
}

/** A store that fails is written that much later than the ledger has an entry, at the very most. */
const WRITTEN_LATE_MS = 86_400_000

/** At rest until `start`; `stop` ends the block that is being finished, and closes all. */
export function createNotarySide(o: NotarySideDeps): Notary {
  const { books, chain, operatorKey, now, log, metrics } = o
  const { chainId, contract, operatorId, account, deployBlock } = chain.facts
  const domain = payPlaceDomain(chainId, contract)
  const seed = (): number => o.random(4).readUInt32BE(0)
  mkdirSync(o.directory, { recursive: true, mode: 0o700 })
  // Blocks belong to one contract: another one deployed later begins with its own.
  const files = openBlockFiles(join(o.directory, `${contract}-${operatorId}`), seed)
  const vouchers = createVoucherBook({
    ...{ ledger: books.ledger, storage: books.storage, domain, operator: operatorId },
  })
  const terms = () => {
    return { operatorAccount: account, commissionPpm: o.config().payplace.commissionPpm }
  }
  const journal = createJournal({
    ...{ storage: books.storage, vouchers, terms, now },
    onOlderBooks: () => log.error('notary: the books are older than the last block'),
  })
  const bls = openBlsThread((engine) => {
    metrics.blsEngine.set({ engine }, 1)
    log.info({ engine }, 'notary: the library for signatures')
  })
  const blsSecretKey = deriveOperatorBlsKey({ accountKey: operatorKey, chainId, contract })
  // The embedded chain is read in no time, and kill -9 may take back what was read last.
  const store =
    chain.own === undefined
      ? openViewStore(join(o.directory, 'view.sqlite'), `${chainId}|${contract}|${operatorId}`)
      : undefined
  const notaryChain = openNotaryChain({
    ...{ url: chain.rpcUrl, chainId, contract, operatorId, deployBlock, operatorKey, now },
    ...{ confirmations: o.config().chain.confirmations, own: chain.own, store },
    onFailed: (call) => metrics.contractCallsFailed.inc({ call }),
  })
  const notary = createNotary({
    ...{ chain: notaryChain, files, journal, vouchers, bls, operator: operatorId },
    ...{ seed, now, log, metrics },
    blocks: createNotaryBlocks({ files, journal, vouchers, bls, blsSecretKey, domain }),
  })
  // Entries that no notarized block has are not joined with older ones: the next start reads them.
  books.keepJournal(() => notary.journalSinceMs() - WRITTEN_LATE_MS)
  return {
    ...notary,
    async stop() {
      await notary.stop()
      notaryChain.close()
      await bls.close()
    },
  }
}
