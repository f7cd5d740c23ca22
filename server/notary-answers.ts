// The merchants' answers to one block: who has answered so far. Whether an answer's account sent it
// was looked at before; its BLS signature is first looked at when all are added up, which is
// notary-bls.ts: a wrong one costs its own merchant. Called by the notary.

import type { BlockAnswer } from '../chain/payplace/proposal.ts'
import type { MerchantRecord } from '../chain/payplace-state.ts'
import type { AnswerBytes } from './notary-bls-worker.ts'

/** taken: new and kept. known: the very same is there already. */
export type AnswerVerdict = 'taken' | 'known' | 'unknown-merchant' | 'bad-signature'

/** The answers to one block. */
export interface Answers {
  add(answer: BlockAnswer): AnswerVerdict
  has(id: number): boolean
  /** Every merchant has answered. */
  isComplete(): boolean
  list(): readonly AnswerBytes[]
}

/**
 * Each new answer of a merchant takes room in a file. A block has one signature, so who sends more
 * of them than this in a period is not mending a mistake.
 */
const CHANGES_MAX = 16

/** None so far. */
export function createAnswers(merchants: readonly MerchantRecord[]): Answers {
  const keys = new Map(merchants.map(({ id, blsKey }) => [id, blsKey]))
  const kept = new Map<number, { readonly answer: AnswerBytes; readonly changes: number }>()
  return {
    add({ id, signature }) {
      const key = keys.get(id)
      if (key === undefined) return 'unknown-merchant'
      const mine = kept.get(id)
      if (mine !== undefined && Buffer.from(signature).equals(mine.answer.signature)) return 'known'
      const changes = mine === undefined ? 0 : mine.changes + 1
      if (changes > CHANGES_MAX) return 'bad-signature'
      // What a merchant says last is what it means.
      kept.set(id, { answer: { id, key, signature: Buffer.from(signature) }, changes })
      return 'taken'
    },
    has: (id) => kept.has(id),
    isComplete: () => kept.size === keys.size,
    list: () => [...kept.values()].map(({ answer }) => answer),
  }
}
