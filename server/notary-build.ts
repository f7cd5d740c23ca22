// The next block of this operator: what was credited since the last one, read from the journal,
// made into a block that merchants will sign, and stored before anybody sees it. Owns the position
// in the journal; when to build, and what becomes of the block, is notary.ts. Called by it.

import type { Storage } from '../accounting/storage.ts'
import { buildBlock, fittingCredit } from '../chain/payplace/build.ts'
import { NO_ENTRIES, subtractEntries } from '../chain/payplace/entries.ts'
import type { BlockIndex } from '../chain/payplace/known.ts'
import type { MerchantEntries } from '../chain/payplace/leaf.ts'
import type { Source } from '../chain/payplace/proposal.ts'
import type { MerchantRecord } from '../chain/payplace-state.ts'
import type { Address } from '../ethereum/address.ts'
import type { BlockFiles, BlockName, StoredBlock, Waiting } from './block-files.ts'
import { packSources, sourceIn } from './block-sources.ts'
import type { Reading } from './notary-chain.ts'
import {
  addToWaiting,
  type CreditTerms,
  consumersIn,
  creditsById,
  type Leaver,
  stillWaiting,
  withUnpaid,
} from './notary-credits.ts'
import type { VoucherBook } from './notary-vouchers.ts'

/** What was credited and is in no notarized block. */
export interface Journal {
  /** Reads on to the journal's end. Throws StorageError. */
  catchUp(): Promise<void>
  /** Begins again where this block's credits end; at the beginning without one. */
  begin(block: StoredBlock | undefined): void
  /** By the account that earned it. */
  waiting(): Waiting
  readonly number: number
  readonly readAtMs: number
}

export interface JournalDeps {
  readonly storage: Pick<Storage, 'creditsSince'>
  readonly vouchers: Pick<VoucherBook, 'outdate'>
  readonly terms: () => CreditTerms
  readonly now: () => number
  /** The books end before the block's credits do: an older copy of them was put back. */
  readonly onOlderBooks?: () => void
}

/** Rows of 200 bytes that are held at once. */
const PAGE = 5_000

/** At the beginning of the journal. */
export function createJournal(deps: JournalDeps): Journal {
  const { storage, vouchers, terms, now } = deps
  let waiting: Waiting = new Map()
  let number = 0
  let readAtMs = 0
  let isLookedAt = true
  let countsAfterMs = Number.NEGATIVE_INFINITY

  /** Numbers of lost entries are given again: what counts then is what is newer than the block. */
  async function lookAtEnd(): Promise<void> {
    if (number > 0 && (await storage.creditsSince(number - 1, 1)).length === 0) {
      number = 0
      countsAfterMs = readAtMs
      deps.onOlderBooks?.()
    }
    isLookedAt = true
  }

  return {
    async catchUp() {
      const beganMs = now()
      if (!isLookedAt) await lookAtEnd()
      for (;;) {
        const page = await storage.creditsSince(number, PAGE)
        const counted = page.filter(({ atMs }) => atMs > countsAfterMs)
        waiting = addToWaiting(waiting, counted, terms())
        vouchers.outdate(page.map(({ account }) => account))
        number = page.at(-1)?.number ?? number
        if (page.length < PAGE) break
      }
      readAtMs = beganMs
    },
    begin(block) {
      waiting = block?.waiting ?? new Map()
      number = block?.journal ?? 0
      readAtMs = block?.journalAtMs ?? 0
      isLookedAt = false
      countsAfterMs = Number.NEGATIVE_INFINITY
    },
    waiting: () => waiting,
    get number() {
      return number
    },
    get readAtMs() {
      return readAtMs
    },
  }
}

/** What may be a reason for a block. */
export interface News {
  readonly reading: Pick<Reading, 'facts'>
  readonly previous: StoredBlock | undefined
  readonly waiting: Waiting
  /** The block's. */
  readonly period: number
  /** Of one that is missing: it may answer. */
  readonly isAwaited: (merchant: MerchantRecord) => boolean
}

/** Whether a block would say anything new. */
export function workWaits(news: News): boolean {
  const { previous, waiting } = news
  const { facts } = news.reading
  const merchants = facts.merchants()
  const before = previous === undefined ? [1] : [...previous.places.keys()]
  const sameMerchants =
    merchants.length === before.length && merchants.every(({ id }, i) => id === before[i])
  if (!sameMerchants) return true
  // What waits for a merchant whose leaves are full can't go into any block until it is paid.
  const fits = merchants.some(({ id, account, withdrawn }) => {
    const left = subtractEntries(previous?.entriesOf(id) ?? NO_ENTRIES, withdrawn)
    return fittingCredit(left, waiting.get(account) ?? NO_ENTRIES).length > 0
  })
  if (fits) return true
  // D30, D43: a shift is finished only after a block of a later period than its own.
  const { lastPeriod } = facts.block()
  const isNext = (period: number): boolean => lastPeriod <= period && period < news.period
  if (facts.shifts().some(({ period }) => isNext(period))) return true
  return merchants.some(
    (merchant) => merchant.missingSince !== undefined && news.isAwaited(merchant),
  )
}

export interface MakeBlock {
  readonly operator: number
  readonly period: number
  /** Unix seconds, behind g. */
  readonly tau: number
  readonly reading: Reading
  readonly previous: StoredBlock | undefined
  readonly journal: Journal
  readonly vouchers: VoucherBook
  readonly files: BlockFiles
  /** Random 32 bits. */
  readonly seed: number
}

/** The block that is on disk now, or in words why there can be none. */
export type MadeBlock =
  | { readonly name: BlockName; readonly changed: number; readonly heldBack: number }
  | { readonly fault: string }

/** Builds block k + 1 and stores it. Throws StorageError, LimitError, the system's errors. */
export async function makeBlock(o: MakeBlock): Promise<MadeBlock> {
  const { previous, journal, reading, vouchers } = o
  const { facts } = reading
  const merchants = facts.merchants()
  const waiting = withUnpaid(journal.waiting(), absentLeavers(reading, previous))
  const credits = creditsById(waiting, merchants)
  await vouchers.load(consumersIn(credits.values()))
  if (previous !== undefined) await vouchers.load(owing(previous))
  const sourceOf = (consumer: Address): Source | undefined => {
    const best = vouchers.best(consumer)
    // Paid with a deposit behind the snapshot: no merchant finds it there. What covered the last
    // block has to do, or one consumer who pays at the right moment keeps everybody from a block.
    if (best === undefined || best.amount <= facts.channel(consumer).deposit) return best
    return previous === undefined ? undefined : sourceIn(previous.sources, consumer)
  }
  const changed = new Map<number, Buffer>()
  const { k } = facts.block()
  const result = buildBlock(
    {
      ...{ operator: o.operator, k, period: o.period, tau: o.tau, merchants, previous, credits },
      channel: (consumer) => {
        return { ...facts.channel(consumer), best: sourceOf(consumer)?.amount ?? 0n }
      },
      seed: o.seed,
    },
    ({ id, entries }) => changed.set(id, entries),
  )
  if ('fault' in result) return { fault: faultText(result) }
  const { built, heldBack } = result
  const { header, index } = built
  const all = function* (): Generator<MerchantEntries> {
    for (const id of index.places.keys()) {
      yield { id, entries: changed.get(id) ?? previous?.entriesOf(id) ?? NO_ENTRIES }
    }
  }
  const stored = {
    ...{ header, snapshot: { number: reading.number, hash: reading.hash } },
    ...{ journal: journal.number, journalAtMs: journal.readAtMs, changed: built.changed },
    waiting: stillWaiting(waiting, merchants, credits, heldBack.credits),
    sources: packSources([...owing(index)].flatMap((consumer) => sourceOf(consumer) ?? [])),
  }
  o.files.write(stored, all(), index.places.size)
  const name = { k: header.k, period: header.period }
  return { name, changed: built.changed.length, heldBack: heldBack.consumers.length }
}

/** Of block k's merchants those that left while absent; whoever signed it could be paid by it. */
function absentLeavers({ facts }: Reading, previous: StoredBlock | undefined): Leaver[] {
  return [...(previous?.places.keys() ?? [])].flatMap((id) => {
    const record = facts.merchant(id)
    if (record?.status !== 'exited' || record.missingSince === undefined) return []
    const { account, withdrawn } = record
    const entries = subtractEntries(previous?.entriesOf(id) ?? NO_ENTRIES, withdrawn)
    return [{ account, entries }]
  })
}

function* owing({ totals }: Pick<BlockIndex, 'totals'>): Generator<Address> {
  for (const { consumer, total } of totals.each()) if (total > 0n) yield consumer
}

function faultText(fault: Extract<ReturnType<typeof buildBlock>, { fault: string }>): string {
  if (fault.fault === 'lock-content') {
    return `a lock of merchant ${fault.merchant} is not what the chain's hash says`
  }
  const [first, ...others] = fault.consumers
  const more = others.length === 0 ? '' : ` and of ${others.length} more consumers`
  return `the voucher of ${first}${more} covers less than the last block owes`
}
