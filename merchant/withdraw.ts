// Being paid and leaving, with or without the operator: waits for the open window, plans from the
// chain and the store, sends, and says what arrived. Called by the cli's withdraw, exit and status.

import { datanetInterface } from '../chain/bindings.ts'
import { ChainError } from '../chain/error.ts'
import { bigintOf } from '../chain/jsonrpc.ts'
import { type BlockTiming, nextOpen, phaseAt } from '../chain/payplace/timing.ts'
import type { PayplaceFacts } from '../chain/payplace-facts.ts'
import type { MerchantRecord } from '../chain/payplace-state.ts'
import type { PayplaceView, Synced } from '../chain/payplace-view.ts'
import { type RpcRequest, readContract, type Sender } from '../chain/transactions.ts'
import { DeviceError } from '../device/error.ts'
import type { Address } from '../ethereum/address.ts'
import { payPlaceDomain } from '../ethereum/typed-data.ts'
import type { OperatorApi } from './api.ts'
import { claimCall, payoutCall } from './contract.ts'
import type { MerchantFile } from './folder.ts'
import { NO_PAYOUT, type Payout, planExit, planPayout } from './payout.ts'
import { recoverBlock } from './recover.ts'
import type { MerchantStore } from './store.ts'

/** What a payment is planned from. */
export interface PayoutDeps {
  readonly merchant: MerchantFile
  readonly rpc: RpcRequest
  readonly view: PayplaceView
  readonly store: MerchantStore
  /** Asked for the last block only where the store lacks it; undefined: never. */
  readonly api: Pick<OperatorApi, 'block'> | undefined
  /** Random 32 bits. */
  readonly seed: number
}

/** Where a merchant stands, and what there is to fetch. */
export interface Position {
  readonly facts: PayplaceFacts
  /** Undefined where the account never joined. */
  readonly record: MerchantRecord | undefined
  readonly payout: Payout
  /** What leaving would do. */
  readonly leaving: Payout
  /** Of the account, whoever the operator was; base units. */
  readonly credit: bigint
}

/** Reads chain and store, and fetches the last block where its part is lost. */
export async function readPosition(deps: PayoutDeps): Promise<Position> {
  const { merchant, view, store, rpc } = deps
  await view.sync()
  const facts = view.at()
  if (facts?.operator() === undefined) {
    const text = `contract ${merchant.contract} knows no operator ${merchant.operatorId}`
    throw new DeviceError('damaged', text)
  }
  const credit = await readCredit(rpc, merchant.contract, merchant.account)
  const record = facts.merchantOf(merchant.account)
  if (record === undefined) {
    return { facts, record, payout: NO_PAYOUT, leaving: NO_PAYOUT, credit }
  }
  const plan = () => {
    const { k, root } = facts.block()
    const { channel } = facts
    const own = store.own(root)
    const given = { record, k, own, channel, voucher: store.voucher }
    return { payout: planPayout(given), leaving: planExit(given) }
  }
  const planned = plan()
  const isLacking = planned.payout.isMissingProof || planned.payout.uncovered.length > 0
  if (!isLacking || deps.api === undefined) {
    return { facts, record, ...planned, credit }
  }
  await recoverLast(deps, facts, record.id)
  return { facts, record, ...plan(), credit }
}

async function recoverLast(deps: PayoutDeps, facts: PayplaceFacts, id: number): Promise<void> {
  const { merchant, store, api, seed } = deps
  const { contract, operatorId } = merchant
  if (api === undefined) return
  const domain = payPlaceDomain(BigInt(merchant.chainId), contract)
  const { k, root } = facts.block()
  const wanted = { domain, operatorId, id, k, root, seed, channel: facts.channel }
  await recoverBlock(store, api, wanted).catch((error) => {
    // An operator that is gone is the case this program is for; the plan says what is missing.
    if (!(error instanceof DeviceError)) throw error
  })
}

async function readCredit(rpc: RpcRequest, contract: Address, account: Address): Promise<bigint> {
  const data = datanetInterface.encodeFunctionData('creditOf', [account])
  return bigintOf(await readContract(rpc, contract, data))
}

/** How to wait for the open window. */
export interface Waiting {
  /** Unix seconds. */
  readonly now: () => number
  readonly progress: (line: string) => void
  /** Seconds of the open window that a transaction needs to be mined in, up to a quarter of it. */
  readonly marginS: number
}

/** Whether the open window runs, with at least the margin left of it. */
function isOpen(timing: BlockTiming, now: number, marginS: number): boolean {
  // Blocks carry whole seconds: one made now may still say the second that is running.
  const isBegun = phaseAt(timing, Math.floor(now)) === 'open'
  return isBegun && phaseAt(timing, now + marginIn(timing, marginS)) === 'open'
}

function marginIn({ beta, gamma, delta }: BlockTiming, marginS: number): number {
  return Math.min(marginS, (beta - gamma - 2 * delta) / 4)
}

/** Resolves inside the open window, with at least the margin left of it. */
async function untilOpen(facts: PayplaceFacts, waiting: Waiting): Promise<void> {
  const timing = facts.operator()?.timing
  if (timing === undefined) return
  const { marginS } = waiting
  let told = false
  for (;;) {
    const now = waiting.now()
    if (isOpen(timing, now, marginS)) return
    const isLate = phaseAt(timing, Math.floor(now)) === 'open'
    const opens = nextOpen(timing, isLate ? now + marginIn(timing, marginS) : now)
    const waitS = Math.max(0.2, opens - now)
    if (!told) waiting.progress(`the open window begins in ${Math.ceil(waitS)} s: waiting`)
    told = true
    await new Promise((resolve) => setTimeout(resolve, Math.min(waitS, 60) * 1_000))
  }
}

/** What was paid out. */
export interface PaidOut {
  /** Base units that the contract moved, credit included. */
  readonly paid: bigint
  readonly transactions: readonly string[]
  /** The contract says that the merchant is out. */
  readonly hasLeft: boolean
}

/** How the owner wants to be paid. */
export interface PayoutWish {
  readonly to: Address
  readonly leave: boolean
  readonly waiting: Waiting
  /** Throws where a plan gives up more than the owner accepts. */
  readonly accept: (payout: Payout) => void
}

const REFUSED_PAUSE_MS = 2_000

/** At 200 entries and more in a transaction, far fewer pay the largest of merchants. */
const TURNS_MAX = 100

/** 64 blocks of 12 s are final, where anything is. */
const CONFIRMED_MAX_S = 900

/** What happened up to this block, which counts after some more: as far as it came in time. */
async function eventsUpTo(
  view: PayplaceView,
  number: number,
  { now, progress }: Waiting,
): Promise<Synced['events']> {
  const events: Synced['events'][number][] = []
  const until = now() + CONFIRMED_MAX_S
  for (let told = false; ; told = true) {
    const synced = await view.sync()
    events.push(...synced.events)
    if (synced.head.number >= number || now() >= until) return events
    if (!told) progress('mined: waiting until the chain has confirmed it')
    await new Promise((resolve) => setTimeout(resolve, 1_000))
  }
}

/** What the contract refused, and its words. */
interface Refused {
  readonly data: string
  readonly error: ChainError
}

/**
 * Sends a payout's transactions and the claim of a credit, and reads what came of it. Each window
 * is planned in itself: a block that came before it has other leaves, and none of the older one is
 * taken any more. Planned anew is also what was refused: anybody may drop an old lock just when
 * this does. Throws ChainError where the same would be sent again.
 */
export async function payOut(
  deps: PayoutDeps & { readonly sender: Sender },
  first: Position,
  wish: PayoutWish,
): Promise<PaidOut> {
  const { merchant, sender, view } = deps
  const planOf = ({ leaving, payout }: Position) => (wish.leave ? leaving : payout).transactions
  const hashes: string[] = []
  let paid = 0n
  let position = first
  let refused: Refused | undefined
  for (let n = 0; n < TURNS_MAX && planOf(position).length > 0; n++) {
    await untilOpen(position.facts, wish.waiting)
    position = await readPosition(deps)
    wish.accept(position.payout)
    const sent = await sendPlanned(deps, position, wish, { plan: planOf(position), refused })
    hashes.push(...sent.hashes)
    paid += sent.paid
    refused = sent.refused
    if (sent.isDone) break
    // The chain's clock may be behind ours by a block, so that its window was not open yet.
    if (refused !== undefined) await new Promise((resolve) => setTimeout(resolve, REFUSED_PAUSE_MS))
  }
  if (position.credit > 0n) {
    const receipt = await sender.send(claimCall(merchant.contract, wish.to))
    hashes.push(receipt.transactionHash)
    paid += position.credit
  }
  const hasLeft = view.at()?.merchantOf(merchant.account)?.status === 'exited'
  return { paid, transactions: hashes, hasLeft }
}

interface SentPlan {
  /** Base units. */
  readonly paid: bigint
  readonly hashes: string[]
  readonly isDone: boolean
  readonly refused: Refused | undefined
}

/** Sends what this window has time for, up to the first that is refused. */
async function sendPlanned(
  { merchant, sender, view }: PayoutDeps & { readonly sender: Sender },
  { facts, record }: Position,
  { to, waiting }: PayoutWish,
  o: { readonly plan: Payout['transactions']; readonly refused: Refused | undefined },
): Promise<SentPlan> {
  const { contract, operatorId } = merchant
  const timing = facts.operator()?.timing
  const hashes: string[] = []
  let minedIn = 0
  let refused: Refused | undefined
  for (const steps of o.plan) {
    if (timing !== undefined && !isOpen(timing, waiting.now(), waiting.marginS)) break
    const call = payoutCall({ contract, operatorId, to }, steps)
    if (call.data === o.refused?.data) throw o.refused.error
    try {
      const receipt = await sender.send(call)
      hashes.push(receipt.transactionHash)
      minedIn = receipt.blockNumber
    } catch (error) {
      if (!(error instanceof ChainError) || error.code !== 'transaction-failed') throw error
      refused = { data: call.data, error }
      break
    }
  }
  const events = await eventsUpTo(view, minedIn, waiting)
  const id = record?.id
  const paid = events.reduce(
    (sum, event) => (event.type === 'withdrawn' && event.id === id ? sum + event.total : sum),
    0n,
  )
  return { paid, hashes, isDone: hashes.length === o.plan.length, refused }
}
