// Which block was notarized last and which one is under way, as files and in memory; what merchants
// are shown of both, and what they answer. Owns the draft. When it is built, finished or given up
// is notary.ts. Called by it and, for merchants, by http-merchant.ts through it.

import { blockDigest } from '../chain/payplace/block.ts'
import { decodeAnswer, encodeAnswer } from '../chain/payplace/codec.ts'
import { NO_ENTRIES } from '../chain/payplace/entries.ts'
import type { BlockProposal, Source } from '../chain/payplace/proposal.ts'
import type { MerchantRecord } from '../chain/payplace-state.ts'
import type { Address } from '../ethereum/address.ts'
import type { Domain } from '../ethereum/typed-data.ts'
import type { BlockFiles, BlockName, SentBlock, StoredBlock } from './block-files.ts'
import { sourceIn } from './block-sources.ts'
import { type Answers, type AnswerVerdict, createAnswers } from './notary-answers.ts'
import type { BlsThread } from './notary-bls.ts'
import type { Journal } from './notary-build.ts'
import type { Reading } from './notary-chain.ts'
import { consumersIn } from './notary-credits.ts'
import type { VoucherBook } from './notary-vouchers.ts'

/** The block that merchants are asked to sign. */
export interface DraftBlock {
  readonly name: BlockName
  readonly block: StoredBlock
  /** Who may sign it. */
  readonly merchants: readonly MerchantRecord[]
  readonly answers: Answers
  /** What BLS signs. */
  readonly digest: Buffer
}

export interface NotaryBlocks {
  /** Block k as the chain has it; undefined for k = 0, and where its file is gone. */
  previous(): StoredBlock | undefined
  /** In words, where the folder lacks what the chain has. */
  problem(): string | undefined
  draft(): DraftBlock | undefined
  /** Takes up the chain's last block; what it made of a draft. */
  adopt(reading: Reading): 'same' | 'notarized' | 'other'
  /** Makes a stored block the one that is asked for; the operator signs it first. */
  offer(name: BlockName, merchants: readonly MerchantRecord[]): Promise<DraftBlock>
  /** The block of this period that is on disk, for a process that was ended in between. */
  find(k: number, period: number): BlockName | undefined
  drop(): void
  /** As a merchant is sent it; `have` is the newest block that is with the merchant. */
  proposalOf(block: SentBlock, id: number, have?: number): BlockProposal
  /** Takes a merchant's own answer (codec); undefined where it is to no block under way. */
  answer(bytes: Buffer): AnswerVerdict | undefined
  /** A block that was notarized, for as long as it is kept; the caller closes it. */
  past(k: number): SentBlock | undefined
  close(): void
}

export interface NotaryBlocksDeps {
  readonly files: BlockFiles
  readonly journal: Journal
  readonly vouchers: VoucherBook
  readonly bls: BlsThread
  readonly blsSecretKey: Buffer
  readonly domain: Domain
}

/** Merchant 1 is the operator. */
const OPERATOR = 1
/** Blocks kept beyond eta: a merchant that comes back may ask for what it missed. */
const KEPT_MORE = 2
/** Attempts at one block that are kept. */
const ATTEMPTS_KEPT = 3

/** Nothing is known before the first `adopt`. */
export function createNotaryBlocks(deps: NotaryBlocksDeps): NotaryBlocks {
  const { files, journal, vouchers, bls } = deps
  let previous: StoredBlock | undefined
  let draft: DraftBlock | undefined
  let problem: string | undefined
  let isAdopted = false

  function drop(): void {
    if (draft?.block !== previous) draft?.block.close()
    draft = undefined
  }

  function openNotarized(k: number, root: Buffer): StoredBlock | undefined {
    if (draft?.name.k === k && draft.block.root.equals(root)) return draft.block
    for (const name of files.list().toReversed()) {
      if (name.k !== k) continue
      const found = files.open(name)
      if (found?.root.equals(root)) return found
      found?.close()
    }
    return undefined
  }

  async function sign(draftBlock: DraftBlock): Promise<void> {
    if (draftBlock.answers.has(OPERATOR)) return
    const { operator, k, period, root } = draftBlock.block.header
    const signature = await bls.sign(draftBlock.digest, deps.blsSecretKey)
    const own = { operator, k, period, root, id: OPERATOR, signature }
    files.addAnswer(draftBlock.name, encodeAnswer(own))
    draftBlock.answers.add(own)
    const [answer] = draftBlock.answers.list().filter(({ id }) => id === OPERATOR)
    // Nobody waits for it: it is to make the thread fast before the answers' time is over.
    if (answer !== undefined) bls.verify(draftBlock.digest, answer).catch(() => undefined)
  }

  return {
    previous: () => previous,
    problem: () => problem,
    draft: () => draft,
    adopt({ facts }) {
      const { k, root } = facts.block()
      const known = previous?.header.k ?? 0
      if (
        isAdopted &&
        problem === undefined &&
        known === k &&
        (k === 0 || previous?.root.equals(root))
      )
        return 'same'
      const ours = draft?.name.k === k && draft.block.root.equals(root)
      const before = previous
      previous = k === 0 ? undefined : openNotarized(k, root)
      problem =
        k > 0 && previous === undefined
          ? `block ${k}, root 0x${root.toString('hex')}, is not among our blocks: put it back`
          : undefined
      if (draft !== undefined && draft.name.k <= k) drop()
      if (before !== previous) before?.close()
      journal.begin(previous)
      const eta = facts.operator()?.timing.eta ?? 0
      files.forget((name) => name.k < k - eta - KEPT_MORE)
      isAdopted = true
      return ours ? 'notarized' : 'other'
    },
    async offer(name, merchants) {
      const block = files.open(name)
      if (block === undefined) throw new Error(`block ${name.k} of period ${name.period} is gone`)
      const digest = blockDigest(deps.domain, block.header)
      const answers = createAnswers(merchants)
      for (const bytes of files.answers(name)) {
        const kept = decodeAnswer(bytes)
        if (typeof kept !== 'string' && kept.root.equals(block.root)) answers.add(kept)
      }
      const offered = { name, block, merchants, answers, digest }
      await sign(offered)
      await vouchers.load(consumersIn(merchants.map(({ id }) => block.entriesOf(id) ?? NO_ENTRIES)))
      drop()
      draft = offered
      // What was offered lately may still turn out to be notarized where the chain takes back more.
      const oldest = name.period - ATTEMPTS_KEPT
      files.forget(({ k, period }) => k === name.k && period <= oldest)
      return offered
    },
    find: (k, period) => files.list().find((name) => name.k === k && name.period === period),
    drop,
    proposalOf(block, id, have) {
      // What merchants are to sign is checked at its snapshot; what they withdraw with is of now.
      const isOffered = block === draft?.block
      const sourceOf = (consumer: Address) =>
        isOffered ? sourceIn(block.sources, consumer) : vouchers.best(consumer)
      return proposalOf(block, id, have, sourceOf)
    },
    answer(bytes) {
      const answer = decodeAnswer(bytes)
      if (typeof answer === 'string') return 'bad-signature'
      const asked = draft
      if (asked === undefined || !isAnswerTo(asked, answer)) return undefined
      const verdict = asked.answers.add(answer)
      if (verdict === 'taken') files.addAnswer(asked.name, bytes)
      return verdict
    },
    past(k) {
      const last = previous?.header
      if (last === undefined || k > last.k) return undefined
      // No further attempt is made at a block that was notarized.
      const name = k === last.k ? last : files.list().findLast((one) => one.k === k)
      return name === undefined ? undefined : files.openToSend({ k, period: name.period })
    },
    close() {
      drop()
      previous?.close()
      previous = undefined
    },
  }
}

function isAnswerTo({ block }: DraftBlock, answer: Parameters<typeof encodeAnswer>[0]): boolean {
  const { operator, k, period, root } = block.header
  const same = answer.operator === operator && answer.k === k && answer.period === period
  return same && answer.root.equals(root)
}

function proposalOf(
  block: SentBlock,
  id: number,
  have: number | undefined,
  sourceOf: (consumer: Address) => Source | undefined,
): BlockProposal {
  const { header, snapshot } = block
  const sources: Source[] = []
  for (const consumer of consumersIn([block.entriesOf(id) ?? NO_ENTRIES])) {
    const source = sourceOf(consumer)
    // Without it the merchant will refuse, and say why in its own log.
    if (source !== undefined) sources.push(source)
  }
  if (have === undefined || have === 0 || have !== header.k - 1) {
    return { header, snapshot, form: 'whole', sources, merchants: block.merchants() }
  }
  const merchants = (function* () {
    for (const changed of block.changed) {
      yield { id: changed, entries: block.entriesOf(changed) ?? NO_ENTRIES }
    }
  })()
  return { header, snapshot, form: 'changes', sources, merchants }
}

/** How many merchants a proposal of this block names (the codec wants to know it first). */
export function merchantCountOf(block: SentBlock, form: BlockProposal['form']): number {
  return form === 'whole' ? block.places.size : block.changed.length
}
