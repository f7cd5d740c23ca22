// The checker and the builder that merchants and operators run, against the model's: on random
// adversarial histories both decide the same about every block, and build the same one.

import t from 'tap'
import { buildBlock as buildReal } from '../../chain/payplace/build.ts'
import { checkProposal, type SigningView } from '../../chain/payplace/check.ts'
import { indexBlock, type KnownBlock, type MerchantFacts } from '../../chain/payplace/known.ts'
import type { MerchantEntries } from '../../chain/payplace/leaf.ts'
import type { BlockProposal, Source } from '../../chain/payplace/proposal.ts'
import {
  consumer as account,
  BEGINS,
  HASH,
  locksOf,
  NOW,
  OPERATOR,
  pack,
  SEED,
  signingView,
  source,
} from '../chain/payplace/support.ts'
import { buildBlock, type Honest, type Observer, type Round } from './payplace-agents.ts'
import { type Block, type Contract, channelOf, type Entry, OURS } from './payplace-model.ts'
import { shiftSeen } from './payplace-shifts.ts'
import { runTrace } from './payplace-traces.ts'

const SEED_TEXT = process.argv[2] ?? 'payplace 1'
const RUNS = 60
const NUMBERS: Readonly<Record<string, number>> = { x: 0, y: 1, z: 2 }
const NAMES = new Map(Object.entries(NUMBERS).map(([name, n]) => [account(n) as string, name]))

const numberOf = (name: string): number => NUMBERS[name] ?? 0
const packed = (entries: readonly Entry[]): Buffer =>
  pack(Object.fromEntries(entries.map(([name, amount]) => [numberOf(name), BigInt(amount)])))
const merchantsOf = (block: Block): MerchantEntries[] =>
  block.leaves.map(({ id, entries }) => ({ id, entries: packed(entries) }))

function knownOf(contract: Contract): KnownBlock | undefined {
  if (contract.k === 0) return undefined
  const list = merchantsOf(contract.last)
  const entries = new Map(list.map((one) => [one.id, one.entries]))
  return { ...indexBlock(OPERATOR, list, SEED), entriesOf: (id) => entries.get(id) }
}

function factsOf(contract: Contract): MerchantFacts[] {
  const active = [...contract.merchants.values()].filter((one) => one.status === 'active')
  return active.map(({ id, lock, withdrawnAt, withdrawn }) => ({
    id,
    locks: lock === undefined ? [] : locksOf(id, packed(lock.entries)),
    withdrawn: packed(withdrawnAt === contract.k ? withdrawn : []),
  }))
}

const channelFrom = (contract: Contract) => (address: string) => {
  const name = NAMES.get(address) ?? ''
  const { D, w } = channelOf(contract, name)
  const pendingShift = BigInt(shiftSeen(contract, name))
  return { deposit: BigInt(D), withdrawn: BigInt(w), pendingShift }
}

const signedBefore = new Map<string, Source>()
function sourceOf(name: string, amount: number): Source {
  const key = `${name} ${amount}`
  const made = signedBefore.get(key) ?? source(numberOf(name), BigInt(amount))
  signedBefore.set(key, made)
  return made
}

/** The view and the proposal that the model's merchant has, in the shapes of the program. */
function translate(contract: Contract, merchant: Honest, round: Round) {
  const previous = knownOf(contract)
  const list = merchantsOf(round.block)
  const { k } = contract
  const view: SigningView = signingView(previous, {
    ...{ id: merchant.id, k, merchants: factsOf(contract), channel: channelFrom(contract) },
    signedPeriod: merchant.signedPeriod >= contract.period ? 3 : 2,
    ownEntries: packed(merchant.ownEntries),
  })
  const prevRoot = previous?.root ?? Buffer.alloc(32)
  const { root } = indexBlock(OPERATOR, list, SEED)
  const proposal: BlockProposal = {
    header: { operator: OPERATOR, k: k + 1, period: 3, tau: BEGINS + 1, prevRoot, root },
    ...{ snapshot: { number: 50, hash: HASH }, form: 'whole', merchants: list },
    sources: [...round.sources]
      .filter(([, amount]) => amount > 0)
      .map(([name, amount]) => sourceOf(name, amount))
      .sort((a, b) => (a.consumer < b.consumer ? -1 : 1)),
  }
  return { view, proposal, previous, list }
}

t.test(`Alg. 4: the same decisions as the model (seed ${SEED_TEXT})`, async (t) => {
  const counts = { signed: 0, refused: 0, sameReason: 0 }
  const different: string[] = []
  const observe: Observer = (contract, merchant, round, refusal) => {
    const { view, proposal, previous, list } = translate(contract, merchant, round)
    const result = checkProposal(view, proposal, () => {})
    const reason = 'refused' in result ? result.refused : undefined
    if ((reason === undefined) !== (refusal === undefined)) different.push(`${reason} ${refusal}`)
    counts[reason === undefined ? 'signed' : 'refused'] += 1
    if (reason !== undefined && reason === refusal) counts.sameReason += 1
    // The same as changes only, where there is a block to change.
    if (previous === undefined) return
    const merchants = list.filter(
      ({ id, entries }) => previous.entriesOf(id)?.equals(entries) !== true,
    )
    const changes = checkProposal(view, { ...proposal, form: 'changes', merchants }, () => {})
    const other = 'refused' in changes ? changes.refused : undefined
    if (other !== reason) different.push(`changes: ${other}, whole: ${reason}`)
  }
  for (let run = 0; run < RUNS; run++) runTrace(`${SEED_TEXT} ${run}`, OURS, 30, observe)
  t.same(different, [])
  t.comment(JSON.stringify(counts))
  t.ok(counts.signed > 500 && counts.refused > 300, 'both were seen often enough')
  t.ok(counts.sameReason > counts.refused * 0.8, 'mostly for the same reason')
})

t.test('Alg. 5: the same blocks as the model', async (t) => {
  const different: string[] = []
  let built = 0
  const observe: Observer = (contract, _merchant, round) => {
    const previous = knownOf(contract)
    const active = factsOf(contract)
    const credits = active.map(({ id }, i) => [id, 'xyz'.charAt(i % 3), 1 + (i % 4)] as const)
    const model = buildBlock(contract, credits, round.sources)
    const channel = channelFrom(contract)
    const emitted = new Map<number, Buffer>()
    const result = buildReal(
      {
        ...{ operator: OPERATOR, k: contract.k, period: 3, tau: NOW, merchants: active, previous },
        credits: new Map(credits.map(([id, name, amount]) => [id, packed([[name, amount]])])),
        channel: (address) => ({
          ...channel(address),
          best: BigInt(round.sources.get(NAMES.get(address) ?? '') ?? 0),
        }),
        seed: SEED,
      },
      ({ id, entries }) => emitted.set(id, entries),
    )
    if ('fault' in result) return
    // The model lets single credits wait, the program all credits of a consumer: compare where
    // nothing waits.
    if (model.waiting.length > 0) return
    built += 1
    const { root } = indexBlock(OPERATOR, merchantsOf(model.block), SEED)
    if (!result.built.header.root.equals(root)) different.push(`block ${contract.k + 1}`)
  }
  for (let run = 0; run < RUNS; run++) runTrace(`${SEED_TEXT} ${run}`, OURS, 30, observe)
  t.same(different, [])
  t.ok(built > 300, `${built} blocks`)
})
