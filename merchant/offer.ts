// One offer of the operator: fetched, read at its snapshot, checked and stored. Gathers everything
// that check.ts wants to know from the node, the view and the store. Called by the agent in the
// commitment window; signing and sending are the agent's.

import { createHash, randomBytes } from 'node:crypto'
import { reasonOf } from '../chain/error.ts'
import type { Refusal, SigningView } from '../chain/payplace/check.ts'
import { decodeProposal, readerOf } from '../chain/payplace/codec.ts'
import { NO_ENTRIES, subtractEntries } from '../chain/payplace/entries.ts'
import type { KnownBlock, MerchantFacts } from '../chain/payplace/known.ts'
import type { BlockProposal } from '../chain/payplace/proposal.ts'
import { startOf } from '../chain/payplace/timing.ts'
import type { PayplaceFacts } from '../chain/payplace-facts.ts'
import { type ChainBlock, readBlock } from '../chain/payplace-view.ts'
import { checksumAddress } from '../ethereum/address.ts'
import { headTimeAt } from './clock.ts'
import { creditedBetween, isIncomeIncluded } from './income.ts'
import { marginOf } from './plan.ts'
import { type Agent, readChain, signedPeriodOf, tell } from './reading.ts'
import { recoverBlock } from './recover.ts'
import { isAccusation, storeProposal } from './sign.ts'

/** Asks for the offer and considers it; true where a block was stored that is to be signed. */
export async function considerOffer(agent: Agent, id: number): Promise<boolean> {
  const { api, store, facts: known, operatorId } = agent
  const { k, root } = known?.block() ?? { k: 0, root: undefined }
  // "changes" are of use to whoever holds block k whole.
  const holds = root !== undefined && k > 0 && store.known(operatorId, root, seedOf()) !== undefined
  const bytes = await api.proposal(id, holds ? k : undefined)
  if (bytes === undefined) return false
  const proposal = decodeProposal(readerOf(bytes))
  if (typeof proposal === 'string') return refuse(agent, { refused: 'malformed' })
  const offer = {
    root: proposal.header.root.toString('hex'),
    hash: createHash('sha256').update(bytes).digest('hex'),
  }
  if (agent.told.get('refused-offer') === offer.hash) return false
  const reading = await readAt(agent, proposal)
  if ('refused' in reading) return refuse(agent, reading, offer)
  const { snapshot, facts } = reading
  const previous = await previousBlock(agent, facts, id)
  const view = signingView(agent, { id, snapshot, facts, previous })
  if (view === undefined) return false
  const isIncomeGood = await incomeCheck(agent, id, view)
  const stored = storeProposal(store, view, proposal, isIncomeGood)
  if ('refused' in stored) return refuse(agent, stored, offer)
  agent.told.delete('refused')
  return true
}

const seedOf = (): number => randomBytes(4).readUInt32BE()

interface Offer {
  /** For the log. */
  readonly root: string
  /** Of all its bytes: another one may have the same root, and good vouchers. */
  readonly hash: string
}

/** A refusal that accuses is told once for each offer and remembered; others are tried again. */
function refuse(agent: Agent, refusal: Refusal, offer?: Offer): false {
  const { refused, merchant, consumer, challenges = [] } = refusal
  const { store, facts } = agent
  if (challenges.length > 0 && facts !== undefined) store.keepVouchers(challenges, facts.channel)
  const where = [
    ...(merchant === undefined ? [] : [`merchant ${merchant}`]),
    ...(consumer === undefined ? [] : [`consumer ${checksumAddress(consumer)}`]),
  ].join(', ')
  const text = `${refused}${where === '' ? '' : ` (${where})`}`
  if (!isAccusation(refusal)) tell(agent, 'waiting', 'info', `not signing yet: ${text}`)
  else {
    tell(agent, 'refused', 'error', `not signing: ${text}: ${offer?.root ?? 'unread'}`)
    if (offer !== undefined) agent.told.set('refused-offer', offer.hash)
  }
  return false
}

interface Reading {
  /** The block at which the contract is read, as our own node has it. */
  readonly snapshot: ChainBlock
  readonly facts: PayplaceFacts
}

async function readAt(agent: Agent, proposal: BlockProposal): Promise<Reading | Refusal> {
  const { number, hash } = proposal.snapshot
  const { head } = await readChain(agent)
  // A block that our node has not got, or has another of, is no place to read at.
  const snapshot = number <= head.number ? await readBlock(agent.rpc, number) : undefined
  if (snapshot?.hash !== `0x${hash.toString('hex')}`) return { refused: 'snapshot-unknown' }
  const facts = agent.view.at(number)
  return facts === undefined ? { refused: 'snapshot-unknown' } : { snapshot, facts }
}

/** Block k from the store, else from the operator; undefined where neither has it. */
async function previousBlock(
  agent: Agent,
  facts: PayplaceFacts,
  id: number,
): Promise<KnownBlock | undefined> {
  const { store, operatorId, domain, api } = agent
  const { channel } = facts
  const { k, root } = facts.block()
  if (k === 0) return undefined
  const seed = seedOf()
  const known = store.known(operatorId, root, seed)
  if (known !== undefined) return known
  return recoverBlock(store, api, { domain, operatorId, id, k, root, seed, channel })
}

interface Gathered extends Reading {
  readonly id: number
  readonly previous: KnownBlock | undefined
}

function signingView(agent: Agent, gathered: Gathered): SigningView | undefined {
  const { id, facts, snapshot, previous } = gathered
  const { store, domain, operatorId } = agent
  const timing = facts.operator()?.timing
  const own = facts.merchant(id)
  if (timing === undefined || own?.status !== 'active') return undefined
  const now = agent.now()
  const { k, root } = facts.block()
  return {
    ...{ domain, operator: operatorId, id, timing, now, k, root, previous },
    headTime: headTimeAt(agent.sight, now),
    marginS: marginOf(timing),
    snapshot: { number: snapshot.number, hash: hashOf(snapshot), time: snapshot.time },
    merchants: facts.merchants(),
    // D43: what was asked for since the snapshot, which is no older than g − delta, waits for a
    // block after this one. To refuse for it would let any consumer stop blocks.
    channel: facts.channel,
    signedPeriod: signedPeriodOf(agent, facts),
    ownEntries: ownFloor(own, previous),
    isVerified({ consumer, amount, signature }) {
      const known = store.voucher(consumer)
      return known?.amount === amount && known.signature.equals(signature)
    },
    ...{ income: undefined, requireIncome: false, seed: seedOf() },
  }
}

const hashOf = ({ hash }: ChainBlock): Buffer => Buffer.from(hash.slice(2), 'hex')

/** What she has in block k and was not paid since. */
function ownFloor(own: MerchantFacts, previous: KnownBlock | undefined): Buffer {
  return subtractEntries(previous?.entriesOf(own.id) ?? NO_ENTRIES, own.withdrawn)
}

/** Receipts of [block k, g) must be in the block; where they cannot be had, that is said. */
async function incomeCheck(
  agent: Agent,
  id: number,
  view: SigningView,
): Promise<(entries: Buffer) => boolean> {
  const { requireIncome, api } = agent
  const period = Math.floor((view.now - view.timing.g0) / view.timing.beta)
  const { tau } = agent.facts?.block() ?? { tau: 0 }
  try {
    const credited = await creditedBetween(api, id, tau, startOf(view.timing, period))
    return (entries) => {
      const isGood = isIncomeIncluded(credited, view.ownEntries, entries)
      if (!isGood) {
        const text = 'the block has less than the receipts since the last one show'
        tell(agent, 'income-differs', 'warn', text)
      }
      return isGood || !requireIncome
    }
  } catch (error) {
    tell(agent, 'income-unknown', 'warn', `receipts cannot be compared: ${reasonOf(error)}`)
    return () => !requireIncome
  }
}
