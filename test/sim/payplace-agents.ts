// The people around the model's contract: the signer with the checks of the fixed Algorithm 4, the
// honest operator with the fixed Algorithm 5, each with the thesis's rules to switch back to; and
// what an honest merchant counts as hers. Written apart from chain/payplace, to be held against it.

import {
  type Block,
  type Contract,
  channelOf,
  type Entry,
  type Key,
  type Leaf,
  leafOf,
  lock,
  messageOf,
  notarize,
  type OldRules,
  register,
  secretKey,
  unlock,
  type Vouchers,
  withdraw,
} from './payplace-model.ts'
import { shiftSeen } from './payplace-shifts.ts'

/** A merchant who follows the rules, and what she keeps. */
export interface Honest {
  readonly id: number
  readonly secret: string
  /** What her node shows, where it has stopped following the chain. */
  node?: Contract
  signedPeriod: number
  /** T_p of the last block she signed, less what she was paid. */
  ownEntries: readonly Entry[]
  /** Ghost: what no history may take from her; in the last block she signed, or locked. */
  confirmed: readonly Entry[]
  /** Vouchers that came with the block in which `confirmed` stands; higher ones may exceed D. */
  vouchers: Vouchers
  /** Those of the block she signed last, which may yet be notarized or not. */
  offered: Vouchers
}

/** Everyone who signed which message. */
export type Signatures = Map<string, Set<string>>

export function sign(signatures: Signatures, message: string, secret: string): void {
  const signers = signatures.get(message) ?? new Set()
  signatures.set(message, signers.add(secret))
}

const amountIn = (entries: readonly Entry[], consumer: string): number =>
  entries.find(([other]) => other === consumer)?.[1] ?? 0

/** Registers an account with a proper proof; throws where the contract refuses. */
export function join(contract: Contract, account: string, key: Key = secretKey(account)): number {
  const id = register(contract, {
    ...{ account, key, proof: { secrets: [...key.keys()], account } },
    approval: { nonce: `${account} ${contract.period}`, period: contract.period },
  })
  if (id === undefined) throw new Error(`${account} was not registered`)
  return id
}

export function honestMerchant(contract: Contract, account: string): Honest {
  const id = join(contract, account)
  return {
    ...{ id, secret: account, signedPeriod: -1 },
    ...{ ownEntries: [], confirmed: [], vouchers: new Map(), offered: new Map() },
  }
}

/** The least a merchant must have in the next block, per consumer. */
export function floorOf(contract: Contract, id: number): readonly Entry[] {
  const merchant = contract.merchants.get(id)
  const paid = merchant?.withdrawnAt === contract.k ? merchant.withdrawn : []
  const rest = (leafOf(contract.last, id) ?? []).map(([consumer, amount]): Entry => {
    return [consumer, amount - amountIn(paid, consumer)]
  })
  return maxOf(rest, merchant?.lock?.entries ?? [])
}

export function maxOf(a: readonly Entry[], b: readonly Entry[]): Entry[] {
  const most = new Map(a)
  for (const [consumer, amount] of b) {
    most.set(consumer, Math.max(amount, most.get(consumer) ?? 0))
  }
  return [...most].filter(([, amount]) => amount > 0).sort(([x], [y]) => (x < y ? -1 : 1))
}

const activeIds = (contract: Contract): number[] =>
  [...contract.merchants.values()].filter((m) => m.status === 'active').map(({ id }) => id)

/** What the operator credited since block k: id, consumer, amount. */
export type Credits = readonly (readonly [id: number, consumer: string, amount: number])[]

/** Alg. 5 fixed: the floors and the credits; a credit that the voucher does not cover waits. */
export function buildBlock(
  contract: Contract,
  credits: Credits,
  vouchers: Vouchers,
): { readonly block: Block; readonly waiting: Credits } {
  const table = new Map(activeIds(contract).map((id) => [id, new Map(floorOf(contract, id))]))
  const waiting: (readonly [number, string, number])[] = []
  for (const credit of credits) {
    const [id, consumer, amount] = credit
    const { D, w } = channelOf(contract, consumer)
    const pending = contract.shifts.get(consumer)?.amount ?? 0
    const mu = vouchers.get(consumer) ?? 0
    const sum = [...table.values()].reduce((all, set) => all + (set.get(consumer) ?? 0), 0)
    const set = table.get(id)
    if (set === undefined || mu > D - pending || sum + amount > mu - w) waiting.push(credit)
    else set.set(consumer, (set.get(consumer) ?? 0) + amount)
  }
  const leaves = [...table].map(([id, set]): Leaf => ({ id, entries: maxOf([...set], []) }))
  // D15: T_p is K(−1)'s own, so that a block which fails has changed the one before it.
  if (contract.old.has('D15')) contract.last = { leaves }
  return { block: { leaves }, waiting }
}

/** Why an honest merchant does not sign; names as in chain/payplace/check.ts. */
export type ModelRefusal =
  | 'head-not-current'
  | 'period-already-signed'
  | 'entries-not-canonical'
  | 'merchant-missing'
  | 'amount-decreased'
  | 'below-lock'
  | 'own-amount-decreased'
  | 'source-missing'
  | 'source-exceeds-deposit'
  | 'overspent'
  | 'shift-pending'

/** Alg. 4 fixed. Rules of ours without a number in the thesis: 'stale', 'pending'. */
export function judge(
  contract: Contract,
  merchant: Honest,
  block: Block,
  sources: Vouchers,
): ModelRefusal | undefined {
  const { old } = contract
  if (merchant.signedPeriod >= contract.period && !old.has('D13')) return 'period-already-signed'
  const isCanonical = block.leaves.every(({ entries }) =>
    entries.every(([consumer, amount], i) => amount > 0 && consumer > (entries[i - 1]?.[0] ?? '')),
  )
  if (!isCanonical && !old.has('D10')) return 'entries-not-canonical'
  const ids = activeIds(contract)
  const isWhole = block.leaves.map((leaf) => leaf.id).join() === ids.join()
  if (!isWhole && !old.has('D14')) return 'merchant-missing'
  return (
    judgeFloors(contract, merchant, block, ids) ?? judgeSources(contract, merchant, block, sources)
  )
}

function judgeFloors(
  contract: Contract,
  merchant: Honest,
  block: Block,
  ids: readonly number[],
): ModelRefusal | undefined {
  const { old, k, last, merchants } = contract
  for (const id of ids) {
    const facts = merchants.get(id)
    const now = leafOf(block, id) ?? []
    // D14: of others only those count who are missing already.
    const isSkipped = id !== merchant.id && facts?.missing !== true && old.has('D14')
    const paid = facts?.withdrawnAt === k ? facts.withdrawn : []
    const before = (leafOf(last, id) ?? []).map(([c, amount]): Entry => {
      return [c, amount - amountIn(paid, c)]
    })
    if (!isSkipped && isBelow(before, now, id === merchant.id, old)) return 'amount-decreased'
    const locked = old.has('stale') && facts?.missing !== true ? [] : (facts?.lock?.entries ?? [])
    if (isBelow(locked, now, false, old)) return 'below-lock'
  }
  const own = leafOf(block, merchant.id) ?? []
  return isBelow(merchant.ownEntries, own, true, old) ? 'own-amount-decreased' : undefined
}

function isBelow(
  floor: readonly Entry[],
  now: readonly Entry[],
  isOwn: boolean,
  old: OldRules,
): boolean {
  // D12: as sets of transactions; a larger amount is another transaction.
  if (old.has('D12')) {
    return floor.some(([c, amount]) => !now.some(([d, other]) => c === d && other === amount))
  }
  // D7: only consumers of the new set are compared.
  const compared = isOwn && old.has('D7') ? floor.filter(([c]) => amountIn(now, c) > 0) : floor
  return compared.some(([consumer, amount]) => amountIn(now, consumer) < amount)
}

/** Alg. 4 lines 9-22. */
function judgeSources(
  contract: Contract,
  merchant: Honest,
  block: Block,
  sources: Vouchers,
): ModelRefusal | undefined {
  const { old } = contract
  const sums = new Map<string, number>()
  for (const [consumer, amount] of leafOf(block, merchant.id) ?? []) {
    // D10: a second entry of a consumer overwrites the first.
    sums.set(consumer, amount)
  }
  for (const { id, entries } of block.leaves) {
    for (const [consumer, amount] of entries) {
      if (id === merchant.id) continue
      const mu = sources.get(consumer)
      // D11: line 19 asks for the source of every consumer, also of strangers.
      if (mu === undefined && old.has('D11')) return 'source-missing'
      const sum = sums.get(consumer)
      if (sum === undefined) continue
      // D8: the whole voucher instead of what this payee gets of it.
      sums.set(consumer, sum + (old.has('D8') ? (mu ?? 0) : amount))
    }
  }
  let pending = false
  const all = [...sums]
  for (const [i, [consumer, sum]] of all.entries()) {
    const { D, w } = channelOf(contract, consumer)
    const mu = sources.get(consumer)
    if (mu === undefined) return 'source-missing'
    if (mu > D) return 'source-exceeds-deposit'
    // D9: the comparison stands behind the loop and sees the last consumer only.
    if (sum > mu - w && (!old.has('D9') || i === all.length - 1)) return 'overspent'
    if (mu > D - shiftSeen(contract, consumer)) pending = true
  }
  return pending && !old.has('pending') ? 'shift-pending' : undefined
}

/** Everything of one period that the operator decides. */
export interface Round {
  readonly block: Block
  readonly root: string
  readonly prevRoot: string
  readonly sources: Vouchers
  /** Who is asked; the others are treated as absent. */
  readonly asked: readonly Honest[]
  /** Secrets of those who sign whatever the operator wants. */
  readonly colluding: readonly string[]
  /** Sees every decision of an honest merchant, with what she decided on. */
  readonly observe?: Observer
}

export type Observer = (
  contract: Contract,
  merchant: Honest,
  round: Round,
  refusal: ModelRefusal | undefined,
) => void

/** She has the time from her own clock, everything else from her node. */
function judgeByNode(
  contract: Contract,
  merchant: Honest,
  { block, sources }: Round,
): ModelRefusal | undefined {
  const { node = contract } = merchant
  const { period } = contract
  // D38: with a chain that stands still she would sign by what she sees there.
  if (node.period !== period && !contract.old.has('D38')) return 'head-not-current'
  return judge({ ...node, period }, merchant, block, sources)
}

/** Lets those asked check and sign; returns why each other one did not. */
export function collect(
  contract: Contract,
  signatures: Signatures,
  round: Round,
): Map<number, ModelRefusal> {
  const message = messageOf(contract, round)
  const refusals = new Map<number, ModelRefusal>()
  for (const secret of round.colluding) sign(signatures, message, secret)
  for (const merchant of round.asked) {
    const refusal = judgeByNode(contract, merchant, round)
    round.observe?.(contract, merchant, round, refusal)
    if (refusal !== undefined) {
      refusals.set(merchant.id, refusal)
      continue
    }
    merchant.signedPeriod = contract.period
    merchant.ownEntries = leafOf(round.block, merchant.id) ?? []
    merchant.offered = round.sources
    sign(signatures, message, merchant.secret)
  }
  return refusals
}

/** Locks whoever did not sign, then notarizes; false where the contract refuses. */
export function finish(
  contract: Contract,
  signatures: Signatures,
  round: Round,
  vouchers: Vouchers,
  honest: readonly Honest[],
): boolean {
  const signed = signatures.get(messageOf(contract, round)) ?? new Set<string>()
  const newlyMissing: number[] = []
  const returning: number[] = []
  for (const merchant of contract.merchants.values()) {
    if (merchant.status !== 'active') continue
    const hasSigned = [...merchant.key.keys()].every((secret) => signed.has(secret))
    if (hasSigned && merchant.missing) returning.push(merchant.id)
    if (hasSigned || merchant.missing) continue
    newlyMissing.push(merchant.id)
    unlock(contract, merchant.id)
    lock(contract, merchant.id, leafOf(contract.last, merchant.id) ?? [], vouchers)
  }
  const given = { ...round, newlyMissing, returning, signatures }
  if (!notarize(contract, given)) return false
  for (const merchant of honest) settle(contract, merchant, signed)
  return true
}

/** The ghost after a notarized block: what she signed, else what is locked for her stays. */
function settle(contract: Contract, merchant: Honest, signed: ReadonlySet<string>): void {
  if (contract.merchants.get(merchant.id)?.missing === true) return
  if (!signed.has(merchant.secret)) return
  // What was hers once stays hers until it is paid, whatever she signs.
  merchant.confirmed = maxOf(merchant.confirmed, leafOf(contract.last, merchant.id) ?? [])
  merchant.vouchers = merchant.offered
}

/** What a withdrawal would be of: the live lock where the contract pays that, or the leaf. */
export function payableEntries(contract: Contract, id: number): readonly Entry[] {
  const merchant = contract.merchants.get(id)
  const held = merchant?.lock
  const isHeld = merchant?.missing === true || held?.at === contract.k
  return (isHeld ? held?.entries : leafOf(contract.last, id)) ?? []
}

/**
 * An honest merchant withdraws what is hers: what each entry paid, or undefined where the contract
 * refuses.
 */
export function cashOut(contract: Contract, merchant: Honest): number[] | undefined {
  unlock(contract, merchant.id)
  const entries = payableEntries(contract, merchant.id)
  const mine = new Map(
    entries.flatMap(([consumer]) => {
      const amount = merchant.vouchers.get(consumer)
      return amount === undefined ? [] : [[consumer, amount] as const]
    }),
  )
  const paid = withdraw(contract, merchant.id, entries, mine)
  if (paid === undefined) return undefined
  merchant.ownEntries = []
  merchant.confirmed = []
  return paid
}
