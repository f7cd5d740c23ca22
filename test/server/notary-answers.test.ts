// Answers to a block, and the thread that adds them up: real keys, real signatures.

import t from 'tap'
import { blsPublicKey, nobleBls } from '../../chain/bls.ts'
import { NO_ENTRIES } from '../../chain/payplace/entries.ts'
import type { BlockAnswer } from '../../chain/payplace/proposal.ts'
import type { MerchantRecord } from '../../chain/payplace-state.ts'
import { createAnswers } from '../../server/notary-answers.ts'
import { openBlsThread } from '../../server/notary-bls.ts'
import { addressOf } from '../accounting/store-fixtures.ts'

const digest = Buffer.alloc(32, 5)
const secretOf = (id: number): Buffer => Buffer.alloc(32, id)
const merchants = [1, 2, 3].map(
  (id): MerchantRecord => ({
    ...{ id, account: addressOf(id), blsKey: blsPublicKey(secretOf(id)), status: 'active' },
    ...{ joinedAt: 1, missingSince: undefined, settled: { k: 0, shards: [] }, locks: [] },
    ...{ withdrawn: NO_ENTRIES, capped: NO_ENTRIES },
  }),
)
const signatureOf = (id: number, of = digest): Buffer => nobleBls.sign(of, secretOf(id))
const answer = (id: number, signature = signatureOf(id)): BlockAnswer => ({
  ...{ operator: 1, k: 1, period: 1, root: Buffer.alloc(32), id, signature },
})
const bytes = (id: number, signature = signatureOf(id)) => {
  return { id, key: merchants[id - 1]?.blsKey ?? Buffer.alloc(0), signature }
}

const thread = openBlsThread()
t.teardown(() => thread.close())

t.test('the thread signs, verifies and adds up', async (t) => {
  t.same(await thread.sign(digest, secretOf(1)), signatureOf(1))
  t.equal(await thread.verify(digest, bytes(2)), true)
  t.equal(await thread.verify(digest, bytes(2, signatureOf(3))), false)
  const all = await thread.collect(digest, [bytes(1), bytes(2), bytes(3)])
  t.same([all.signers, all.culprits], [[1, 2, 3], []])
  const parsed = [1, 2, 3].map((id) => nobleBls.signature(signatureOf(id)))
  const sum = nobleBls.sumSignatures(parsed.filter((one) => one !== undefined))
  t.same(Buffer.from(all.signature ?? []), nobleBls.signatureCoding(sum))
  t.same(await thread.collect(digest, []), { signers: [], culprits: [], signature: undefined })
})

t.test('culprits are found, whatever they sent', async (t) => {
  const other = signatureOf(2, Buffer.alloc(32, 6))
  for (const spoilt of [other, Buffer.alloc(96), Buffer.alloc(95), Buffer.alloc(96, 255)]) {
    const found = await thread.collect(digest, [bytes(1), bytes(2, spoilt), bytes(3)])
    t.same([found.signers, found.culprits], [[1, 3], [2]])
    t.equal(found.signature?.length, 256)
  }
})

t.test('a question that cannot be answered rejects, and the thread goes on', async (t) => {
  await t.rejects(thread.sign(digest, Buffer.alloc(32)))
  t.equal(await thread.verify(digest, bytes(3)), true)
})

t.test('answers: one a merchant, complete with the last', async (t) => {
  const answers = createAnswers(merchants)
  t.equal(answers.add(answer(1)), 'taken')
  t.equal(answers.add(answer(1)), 'known')
  t.equal(answers.add(answer(4)), 'unknown-merchant')
  t.equal(answers.add(answer(2)), 'taken')
  t.same([answers.has(2), answers.has(3), answers.isComplete()], [true, false, false])
  answers.add(answer(3))
  t.equal(answers.isComplete(), true)
  t.same(
    answers.list().map(({ id, signature }) => [id, signature]),
    [1, 2, 3].map((id) => [id, signatureOf(id)]),
  )
})

t.test('what a merchant says last counts, and it cannot go on for ever', async (t) => {
  const answers = createAnswers(merchants)
  t.equal(answers.add(answer(2, signatureOf(3))), 'taken')
  t.equal(answers.add(answer(2)), 'taken')
  t.equal(answers.add(answer(2)), 'known', 'the same again')
  t.same(
    answers.list().map(({ signature }) => signature),
    [signatureOf(2)],
  )
  const verdicts = Array.from({ length: 99 }, (_, n) => answers.add(answer(2, Buffer.alloc(96, n))))
  t.equal(verdicts.filter((verdict) => verdict === 'taken').length, 15)
  t.equal(verdicts.at(-1), 'bad-signature')
  t.equal(answers.add(answer(3)), 'taken', 'another one is not concerned')
})
