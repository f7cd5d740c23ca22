// Whole periods in memory, from credits to the signature that the contract would verify: build,
// encode, decode, check, sign, collect. One merchant sleeps for three periods and loses nothing.

import t from 'tap'
import { blsPublicKey, deriveMerchantBlsKey, nobleBls } from '../../../chain/bls.ts'
import { blockDigest } from '../../../chain/payplace/block.ts'
import { addCredits, type Credits } from '../../../chain/payplace/build.ts'
import { checkProposal } from '../../../chain/payplace/check.ts'
import {
  decodeAnswer,
  decodeProposal,
  encodeAnswer,
  encodeProposal,
  readerOf,
} from '../../../chain/payplace/codec.ts'
import { NO_ENTRIES } from '../../../chain/payplace/entries.ts'
import { indexBlock, type KnownBlock, type MerchantFacts } from '../../../chain/payplace/known.ts'
import type { MerchantEntries } from '../../../chain/payplace/leaf.ts'
import type { BlockProposal } from '../../../chain/payplace/proposal.ts'
import { collectSignatures } from '../../../chain/payplace/signers.ts'
import {
  address,
  build,
  buildView,
  DOMAIN,
  facts,
  HASH,
  locksOf,
  OPERATOR,
  pack,
  SEED,
  signingView,
  source,
  TIMING,
  withEntries,
} from './support.ts'

const contract = address(`0x${'c0'.repeat(20)}`)
const IDS = [1, 2, 3]
const secrets = new Map(
  IDS.map((id) => {
    const from = { accountKey: Buffer.alloc(32, id), chainId: 31_337n, contract }
    return [id, deriveMerchantBlsKey({ ...from, operator: OPERATOR })]
  }),
)
const keyOf = (id: number) => {
  const key = nobleBls.key(blsPublicKey(secrets.get(id) ?? NO_ENTRIES))
  if (key === undefined) throw new Error('no key')
  return key
}
const keys = new Map(IDS.map((id) => [id, keyOf(id)]))
const channel = () => ({ deposit: 1_000n, withdrawn: 0n, pendingShift: 0n, best: 100n })

type Assertions = Pick<typeof t, 'ok' | 'equal' | 'same'>

interface State {
  readonly k: number
  readonly previous: KnownBlock | undefined
  readonly facts: readonly MerchantFacts[]
  /** T_p of the last block that each signed. */
  readonly own: ReadonlyMap<number, Buffer>
}

/** One period with these merchants awake; who they are and what each signed. */
function play(
  t: Assertions,
  state: State,
  period: number,
  credits: Credits,
  awake: readonly number[],
) {
  const begins = TIMING.g0 + period * TIMING.beta
  const { k, previous } = state
  const { built, list, heldBack } = build(
    buildView({ k, period, tau: begins + 1, merchants: state.facts, previous, credits, channel }),
  )
  const sent = {
    ...{ header: built.header, snapshot: { number: 50, hash: HASH }, form: 'whole' as const },
    merchants: list,
    sources: [0, 1, 2].map((n) => source(n, 100n)),
  }
  const bytes = Buffer.concat([...encodeProposal(sent, list.length)])
  const answers = awake.map((id) => {
    const proposal = decodeProposal(readerOf(bytes)) as BlockProposal
    const kept = new Map<number, Buffer>()
    const now = begins + 3
    const view = signingView(previous, {
      ...{ id, k, now, headTime: now, merchants: state.facts, signedPeriod: period - 1 },
      snapshot: { number: 50, hash: HASH, time: begins - 1 },
      ownEntries: state.own.get(id) ?? NO_ENTRIES,
      channel,
    })
    const result = checkProposal(view, proposal, (one) => kept.set(one.id, one.entries))
    if ('refused' in result) throw new Error(`${id} refused: ${result.refused}`)
    t.same([...kept.keys()], built.changed, 'she stores what changed')
    t.ok(result.index.root.equals(indexBlock(OPERATOR, list, SEED).root))
    const signature = nobleBls.sign(result.digest, secrets.get(id) ?? NO_ENTRIES)
    const { root } = proposal.header
    return encodeAnswer({ operator: OPERATOR, k: k + 1, period, root, id, signature })
  })
  return { built, list, heldBack, signed: collect(t, built.header, answers) }
}

/** The operator's side of the answers. */
function collect(t: Assertions, header: BlockProposal['header'], answers: readonly Buffer[]) {
  const digest = blockDigest(DOMAIN, header)
  const parsed = answers.map((bytes) => {
    const answer = decodeAnswer(bytes)
    if (typeof answer === 'string') throw new Error(answer)
    const key = keys.get(answer.id)
    const signature = nobleBls.signature(answer.signature)
    if (key === undefined || signature === undefined) throw new Error('no point')
    return { id: answer.id, key, signature }
  })
  const { signers, sum, culprits } = collectSignatures(nobleBls, digest, parsed)
  t.same(culprits, [])
  if (sum === undefined) throw new Error('nobody signed')
  const apk = nobleBls.sumKeys(signers.map(keyOf))
  t.ok(nobleBls.verify(digest, apk, sum.signature), 'verifies under the keys of who is there')
  t.equal(nobleBls.signatureCoding(sum.signature).length, 256)
  return signers
}

const entriesOf = (list: readonly MerchantEntries[], id: number): Buffer =>
  list.find((one) => one.id === id)?.entries ?? NO_ENTRIES

t.test('Income Certainty: a merchant who sleeps for three periods loses nothing', async (t) => {
  let state: State = {
    k: 0,
    previous: undefined,
    facts: IDS.map((id) => facts(id)),
    own: new Map(),
  }
  const plan: readonly (readonly number[])[] = [
    [1, 2, 3],
    [1, 2],
    [1, 2],
    [1, 2],
    [1, 2, 3],
  ]
  const perPeriod: Credits = new Map([
    [1, pack({ 0: 1n })],
    [2, pack({ 0: 2n, 1: 3n })],
    [3, pack({ 0: 5n, 2: 7n })],
  ])
  for (const [i, awake] of plan.entries()) {
    const { list, signed, built } = play(t, state, i + 1, perPeriod, awake)
    t.same(signed, awake)
    const gone = state.facts.filter(({ id }) => !awake.includes(id))
    // Who goes missing is locked with what the block before owes her, until she is back.
    const locked = new Map(
      gone.map(({ id, locks }) => {
        const fresh = locksOf(id, state.previous?.entriesOf(id) ?? NO_ENTRIES)
        return [id, locks.length > 0 ? locks : fresh]
      }),
    )
    const own = new Map(state.own)
    for (const id of awake) own.set(id, entriesOf(list, id))
    state = {
      k: state.k + 1,
      previous: withEntries(built.index, list),
      facts: IDS.map((id) => facts(id, { locks: locked.get(id) ?? [] })),
      own,
    }
  }
  t.ok(state.own.get(3)?.equals(pack({ 0: 25n, 2: 35n })), 'five periods of income')
  t.ok(state.own.get(2)?.equals(pack({ 0: 10n, 1: 15n })))
})

t.test('credits of a block that was not notarized come with the next one', async (t) => {
  const start: State = {
    k: 0,
    previous: undefined,
    facts: IDS.map((id) => facts(id)),
    own: new Map(),
  }
  const first: Credits = new Map([[2, pack({ 0: 2n })]])
  const failed = play(t, start, 1, first, [1])
  // Merchant 1 signed it; the next period is another digest, and k and the block before the same.
  const since: Credits = new Map([
    [2, pack({ 0: 1n, 1: 4n })],
    [3, pack({ 2: 9n })],
  ])
  const own = new Map([[1, entriesOf(failed.list, 1)]])
  const { list, built } = play(t, { ...start, own }, 2, addCredits(first, since), IDS)
  t.equal(built.header.k, 1)
  t.ok(entriesOf(list, 2).equals(pack({ 0: 3n, 1: 4n })))
  t.ok(entriesOf(list, 3).equals(pack({ 2: 9n })))
})
