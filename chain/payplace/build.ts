// The operator's side of a period: the next block from the last notarized one and what was credited
// since (Alg. 5 fixed). Owns what goes in and what waits; knows no journal, chain or clock. Pure.
// Called by the operator at g; credits that a block did not carry are given again at the next.

import type { Address } from '../../ethereum/address.ts'
import { type BlockHeader, NO_ROOT } from './block.ts'
import {
  addEntries,
  combineEntries,
  consumerAt,
  eachEntry,
  NO_ENTRIES,
  packEntries,
  subtractEntries,
  WORD,
} from './entries.ts'
import {
  assemble,
  type BlockIndex,
  floorOf,
  type KnownBlock,
  lockedEntries,
  type MerchantFacts,
} from './known.ts'
import { ENTRIES_BYTES_MAX, type MerchantEntries } from './leaf.ts'

/** Packed increases by merchant id. The operator's own fee stands under id 1. */
export type Credits = ReadonlyMap<number, Buffer>

/** What limits a consumer's sum. All in base units. */
export interface BuildChannel {
  /** D at the snapshot. */
  readonly deposit: bigint
  /** w at the snapshot. */
  readonly withdrawn: bigint
  /** Amount of a shift that is under way, 0 without one. */
  readonly pendingShift: bigint
  /** The best voucher we hold, or mu where that is higher. */
  readonly best: bigint
}

export interface BuildView {
  readonly operator: number
  /** Blocks notarized so far. */
  readonly k: number
  readonly period: number
  /** When this block is built, Unix seconds. */
  readonly tau: number
  /** Active merchants at the snapshot, ascending, the operator (1) among them. */
  readonly merchants: readonly MerchantFacts[]
  /** Block k; undefined where k is 0. */
  readonly previous: KnownBlock | undefined
  /** Everything credited up to g that no notarized block has yet. */
  readonly credits: Credits
  channel(consumer: Address): BuildChannel
  /** Random 32 bits for createTotals. */
  readonly seed: number
}

/** A block to propose. */
export interface BuiltBlock {
  readonly header: BlockHeader
  readonly index: BlockIndex
  /** Ids whose entries differ from block k's; only these were handed out. */
  readonly changed: readonly number[]
}

/** Credits that wait, and consumers for whom they do. */
export interface HeldBack {
  readonly credits: Credits
  /** Why: no Active merchant, the sum above the voucher, a shift under way, or too many leaves. */
  readonly consumers: readonly Address[]
}

/** uncovered: block k and the locks alone exceed mu − w. lock-content: not what the chain holds. */
export type BuildFault =
  | { readonly fault: 'uncovered'; readonly consumers: readonly Address[] }
  | { readonly fault: 'lock-content'; readonly merchant: number }
export type BuildResult = { readonly built: BuiltBlock; readonly heldBack: HeldBack } | BuildFault

/**
 * Builds block k + 1 and hands `emit` the entries of every merchant that changed, ascending. Nobody
 * is emitted where a fault is returned.
 */
export function buildBlock(
  view: BuildView,
  emit: (merchant: MerchantEntries) => void,
): BuildResult {
  const floors = floorsOf(view)
  if ('fault' in floors) return floors
  const fitting = fittingCredits(view, floors)
  const first = assembleAll(view, floors, fitting)
  const over = uncovered(view, first.totals)
  const credits = over.size === 0 ? fitting : without(fitting, over)
  const index = over.size === 0 ? first : assembleAll(view, floors, credits)
  // A shift under way may leave less than merchants hold already: the voucher decides that by a
  // challenge; only what the voucher itself does not cover is a fault of this block.
  const broken = over.size === 0 ? [] : beyondVoucher(view, index.totals)
  if (broken.length > 0) return { fault: 'uncovered', consumers: broken }
  const changed: number[] = []
  for (const { id } of view.merchants) {
    const floor = floors.get(id)
    if (floor === undefined && !credits.has(id)) continue
    const merchant = entriesOf(view, id, floor, credits)
    changed.push(id)
    emit(merchant)
  }
  const { operator, k, period, tau } = view
  const prevRoot = view.previous?.root ?? NO_ROOT
  const header = { operator, k: k + 1, period, prevRoot, root: index.root, tau }
  const waiting = difference(view.credits, credits)
  const consumers = [...new Set([...over, ...consumersOf(waiting)])]
  return { built: { header, index, changed }, heldBack: { credits: waiting, consumers } }
}

type Floors = ReadonlyMap<number, Buffer>

/** Floors that are not simply what block k has. */
function floorsOf(view: BuildView): Floors | BuildFault {
  const floors = new Map<number, Buffer>()
  for (const facts of view.merchants) {
    const before = view.previous?.entriesOf(facts.id)
    if (before !== undefined && facts.locks.length === 0 && facts.withdrawn.length === 0) continue
    const locked = lockedEntries(view.operator, facts)
    if (locked === undefined) return { fault: 'lock-content', merchant: facts.id }
    const floor = floorOf(before ?? NO_ENTRIES, facts.withdrawn, locked)
    if (before === undefined || !floor.equals(before)) floors.set(facts.id, floor)
  }
  return floors
}

function entriesOf(
  view: BuildView,
  id: number,
  floor: Buffer | undefined,
  credits: Credits,
): MerchantEntries {
  const before = floor ?? view.previous?.entriesOf(id) ?? NO_ENTRIES
  return { id, entries: addEntries(before, credits.get(id) ?? NO_ENTRIES) }
}

function assembleAll(view: BuildView, floors: Floors, credits: Credits): BlockIndex {
  const { previous } = view
  const assembly = assemble(view.operator, previous, view.seed)
  const active = new Set(view.merchants.map(({ id }) => id))
  for (const id of previous?.places.keys() ?? []) {
    if (!active.has(id)) assembly.drop(previous?.entriesOf(id) ?? NO_ENTRIES)
  }
  for (const { id } of view.merchants) {
    const floor = floors.get(id)
    if (floor === undefined && !credits.has(id)) assembly.keep(id)
    else {
      const before = previous?.entriesOf(id) ?? NO_ENTRIES
      assembly.change(entriesOf(view, id, floor, credits), before)
    }
  }
  return assembly.finish()
}

/** Credits of merchants who are in this block, as far as leaves can hold them. */
function fittingCredits(view: BuildView, floors: Floors): Credits {
  const fitting = new Map<number, Buffer>()
  for (const { id } of view.merchants) {
    const credit = view.credits.get(id)
    if (credit === undefined || credit.length === 0) continue
    const before = floors.get(id) ?? view.previous?.entriesOf(id) ?? NO_ENTRIES
    const part = fittingCredit(before, credit)
    if (part.length > 0) fitting.set(id, part)
  }
  return fitting
}

/**
 * What of a credit fits into leaves that have `before`: whoever stands there already, and of others
 * the largest amounts, so that dust can't keep out what is worth something.
 */
export function fittingCredit(before: Buffer, credit: Buffer): Buffer {
  const surelyFits = before.length + credit.length <= ENTRIES_BYTES_MAX
  if (surelyFits || addEntries(before, credit).length <= ENTRIES_BYTES_MAX) return credit
  const known = combineEntries(credit, before, (amount, had) => (had > 0n ? amount : 0n))
  const others = [...eachEntry(subtractEntries(credit, known))]
  const room = (ENTRIES_BYTES_MAX - before.length) / WORD
  const largest = others.sort((a, b) => Number(b.amount > a.amount) - Number(b.amount < a.amount))
  return addEntries(known, packEntries(largest.slice(0, room)))
}

/** Consumers whose sum exceeds what signers will accept. */
function uncovered(view: BuildView, totals: BlockIndex['totals']): Set<Address> {
  const over = new Set<Address>()
  for (const { consumer, total } of totals.each()) {
    if (total === 0n) continue
    const { best, deposit, pendingShift, withdrawn } = view.channel(consumer)
    if (best > deposit - pendingShift || total > best - withdrawn) over.add(consumer)
  }
  return over
}

function beyondVoucher(view: BuildView, totals: BlockIndex['totals']): Address[] {
  return [...totals.each()].flatMap(({ consumer, total }) => {
    const { best, deposit, withdrawn } = view.channel(consumer)
    return total > 0n && (total > best - withdrawn || best > deposit) ? [consumer] : []
  })
}

function without(credits: Credits, consumers: ReadonlySet<Address>): Credits {
  const unwanted = packEntries([...consumers].map((consumer) => ({ consumer, amount: 1n })))
  const left = new Map<number, Buffer>()
  for (const [id, entries] of credits) {
    const rest = combineEntries(entries, unwanted, (amount, mark) => (mark > 0n ? 0n : amount))
    if (rest.length > 0) left.set(id, rest)
  }
  return left
}

function difference(all: Credits, used: Credits): Credits {
  const left = new Map<number, Buffer>()
  for (const [id, entries] of all) {
    const rest = subtractEntries(entries, used.get(id) ?? NO_ENTRIES)
    if (rest.length > 0) left.set(id, rest)
  }
  return left
}

function* consumersOf(credits: Credits): Generator<Address> {
  for (const entries of credits.values()) {
    for (let at = 0; at < entries.length; at += WORD) yield consumerAt(entries, at)
  }
}

/** Credits of two times together: what waits since earlier, and what came since (D15). */
export function addCredits(waiting: Credits, since: Credits): Credits {
  const sum = new Map(waiting)
  for (const [id, entries] of since) sum.set(id, addEntries(sum.get(id) ?? NO_ENTRIES, entries))
  return sum
}
