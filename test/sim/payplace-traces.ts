// Random histories of the model: three honest merchants, two to four that collude with the operator
// or follow it, consumers that shift their deposits, nobody who challenges. After every step the
// invariants of the contract and the honest merchants' ghost funds are checked. Called by the
// trace tests.

import {
  buildBlock,
  type Credits,
  cashOut,
  collect,
  finish,
  floorOf,
  type Honest,
  honestMerchant,
  join,
  maxOf,
  type Observer,
  payableEntries,
  type Round,
  type Signatures,
} from './payplace-agents.ts'
import {
  addKeys,
  type Block,
  type Contract,
  channelOf,
  createContract,
  deposit,
  type Entry,
  exit,
  type Key,
  type Leaf,
  leafOf,
  lock,
  type OldRules,
  unlock,
  withdraw,
} from './payplace-model.ts'
import { challengeShift, finalizeShift, requestShift } from './payplace-shifts.ts'
import { type Random, seeded } from './random.ts'

/** What a run did, and the first broken invariant, in words. */
export interface TraceResult {
  readonly blocks: number
  readonly shifts: number
  readonly payouts: number
  readonly broken: string | undefined
}

interface World {
  readonly random: Random
  readonly contract: Contract
  readonly signatures: Signatures
  readonly honest: readonly Honest[]
  readonly colluders: number[]
  /** The highest voucher each consumer has signed. */
  readonly signed: Map<string, number>
  readonly honestOperator: boolean
  readonly observe: Observer
  waiting: Credits
  roots: number
  blocks: number
  shifts: number
  payouts: number
}

const CONSUMERS = ['x', 'y', 'z']

function createWorld(seed: string, old: OldRules, observe: Observer): World {
  const random = seeded(seed)
  const contract = createContract(old)
  join(contract, 'op')
  const honest = ['a', 'b', 'c'].map((account) => honestMerchant(contract, account))
  const colluders = Array.from({ length: 2 + random.below(3) }, (_, i) => join(contract, `p${i}`))
  const signed = new Map<string, number>()
  for (const consumer of CONSUMERS) deposit(contract, consumer, 20 + random.below(60))
  return {
    ...{ random, contract, signatures: new Map(), honest, colluders, signed, observe },
    honestOperator: random.chance(0.3),
    ...{ waiting: [], roots: 0, blocks: 0, shifts: 0, payouts: 0 },
  }
}

/** Runs one history; stops at the first broken invariant. */
export function runTrace(
  seed: string,
  old: OldRules,
  periods: number,
  observe: Observer = () => {},
): TraceResult {
  const world = createWorld(seed, old, observe)
  let broken: string | undefined
  for (let period = 1; period <= periods && broken === undefined; period++) {
    world.contract.period = period
    world.contract.phase = 'commit'
    world.signatures.clear()
    broken = consumersAct(world) ?? commit(world) ?? consumersAct(world)
    world.contract.phase = 'open'
    broken ??= open(world)
    world.contract.phase = 'freeze'
    for (const consumer of CONSUMERS) {
      if (world.random.chance(0.2)) requestShift(world.contract, consumer, most(world, consumer))
    }
  }
  const { blocks, shifts, payouts } = world
  return { blocks, shifts, payouts, broken }
}

/** What the contract would let go, and one who means harm asks for. */
function most({ contract }: World, consumer: string): number {
  const { D, mu } = channelOf(contract, consumer)
  return D - mu
}

/** Deposits, vouchers and requests to shift, in any phase. */
function consumersAct(world: World): string | undefined {
  const { random, contract, signed, honestOperator } = world
  for (const consumer of CONSUMERS) {
    const { D } = channelOf(contract, consumer)
    if (random.chance(0.1)) deposit(contract, consumer, 1 + random.below(20))
    const best = signed.get(consumer) ?? 0
    // With an honest operator nobody gets service for a voucher that a shift leaves uncovered.
    const most = D - (honestOperator ? (contract.shifts.get(consumer)?.amount ?? 0) : 0)
    if (random.chance(0.6) && best < most) {
      signed.set(consumer, best + 1 + random.below(most - best))
    }
    if (random.chance(0.25)) requestShift(contract, consumer, 1 + random.below(D + 1))
    if (honestOperator) challengeShift(contract, consumer, signed.get(consumer) ?? 0)
  }
  return violation(world)
}

function commit(world: World): string | undefined {
  const { random, contract, honest, honestOperator } = world
  // An honest operator gives up every lock that a later block has replaced.
  const tidy = honestOperator ? 1 : 0.3
  for (const id of contract.merchants.keys()) if (random.chance(tidy)) unlock(contract, id)
  const attempts = honestOperator ? 1 : 1 + random.below(2)
  for (let attempt = 0; attempt < attempts; attempt++) {
    const { block, credits } = propose(world)
    const presence = random.pick([0, 0.6, 0.9])
    const asked = honest.filter(() => random.chance(presence))
    const round: Round = {
      ...{ block, asked, sources: offeredVouchers(world) },
      ...{ root: `${++world.roots}`, prevRoot: `${contract.k}` },
      colluding: ['op', ...colludingSecrets(world)],
      observe: world.observe,
    }
    const refusals = collect(contract, world.signatures, round)
    const [refusal] = refusals
    if (honestOperator && refusal !== undefined) {
      return `an honest block was refused by ${refusal[0]}: ${refusal[1]}`
    }
    if (!honestOperator && random.chance(0.2)) {
      lock(contract, random.pick(honest).id, [], world.signed)
    }
    const vouchers = honestOperator || random.chance(0.8) ? world.signed : new Map()
    const accepted = finish(contract, world.signatures, round, vouchers, honest)
    if (accepted) world.blocks += 1
    if (honestOperator && !accepted) return 'an honest block was not accepted'
    world.waiting = accepted ? credits.waiting : credits.all
    const broken = violation(world)
    if (broken !== undefined) return broken
  }
  return undefined
}

function colludingSecrets({ random, contract, colluders }: World): string[] {
  const present = colluders.filter(() => random.chance(0.75))
  return present.flatMap((id) => [...(contract.merchants.get(id)?.key.keys() ?? [])])
}

/** A malicious operator may show lower vouchers than it has, or none. */
function offeredVouchers({ random, signed, honestOperator }: World): Map<string, number> {
  if (honestOperator || random.chance(0.7)) return new Map(signed)
  return new Map([...signed].map(([consumer, amount]) => [consumer, random.below(amount + 1)]))
}

interface Proposed {
  readonly block: Block
  readonly credits: { readonly all: Credits; readonly waiting: Credits }
}

function propose(world: World): Proposed {
  const { random, contract, signed } = world
  const ids = [...contract.merchants.keys()]
  const fresh = Array.from({ length: random.below(5) }, () => {
    return [random.pick(ids), random.pick(CONSUMERS), 1 + random.below(8)] as const
  })
  const all = [...world.waiting, ...fresh]
  const { block, waiting } = buildBlock(contract, all, signed)
  const credits = { all, waiting }
  if (world.honestOperator || random.chance(0.3)) return { block, credits }
  const bent = block.leaves.map((leaf) => bend(world, leaf))
  return {
    block: {
      leaves: CONSUMERS.reduce<readonly Leaf[]>((leaves, c) => grab(world, leaves, c), bent),
    },
    credits,
  }
}

/** Often gives a colluder all that a consumer's voucher leaves, and now and then one unit more. */
function grab(world: World, leaves: readonly Leaf[], consumer: string): readonly Leaf[] {
  const { random, contract, colluders, signed } = world
  if (!random.chance(0.4)) return leaves
  const thief = random.pick(colluders)
  const amounts = leaves.flatMap(({ id, entries }) =>
    id === thief ? [] : entries.filter(([c]) => c === consumer).map(([, amount]) => amount),
  )
  const others = amounts.reduce((sum, amount) => sum + amount, 0)
  const left = (signed.get(consumer) ?? 0) - channelOf(contract, consumer).w - others
  const most: Entry = [consumer, Math.max(0, left + (random.chance(0.1) ? 1 : 0))]
  return leaves.map((leaf) =>
    leaf.id === thief ? { id: leaf.id, entries: maxOf(leaf.entries, [most]) } : leaf,
  )
}

/** What a malicious operator makes of one leaf. */
function bend(world: World, leaf: Leaf): Leaf {
  const { random, contract, colluders, signed } = world
  const own = colluders.includes(leaf.id)
  if (!random.chance(own ? 0.7 : 0.15)) return leaf
  const consumer = random.pick(CONSUMERS)
  const most = (signed.get(consumer) ?? 0) + 1
  // A present colluder's lock may exceed its last leaf: then it shows the leaf only.
  const floor = own ? (leafOf(contract.last, leaf.id) ?? []) : floorOf(contract, leaf.id)
  const change = random.below(own ? 3 : 4)
  if (change === 0)
    return { ...leaf, entries: maxOf(leaf.entries, [[consumer, random.below(most)]]) }
  if (change === 1) return { ...leaf, entries: floor }
  if (change === 2) return { ...leaf, entries: [] }
  const smaller = leaf.entries.map(([c, amount]): Entry => {
    return [c, c === consumer ? random.below(amount + 1) : amount]
  })
  return { ...leaf, entries: maxOf(smaller, []) }
}

/** Withdrawals, locks, exits and shifts in any order; the honest must be paid in full. */
function open(world: World): string | undefined {
  const { random, contract, colluders, honest } = world
  const unpaid = random.chance(0.2) ? allPaid(world) : undefined
  if (unpaid !== undefined) return unpaid
  for (let step = 0; step < 12; step++) {
    const colluder = random.pick(colluders)
    switch (random.below(6)) {
      case 0: {
        if (!random.chance(0.2)) break
        const broken = pay(contract, random.pick(honest))
        if (broken !== undefined) return broken
        world.payouts += 1
        break
      }
      case 1:
        if (random.chance(0.3)) unlock(contract, colluder)
        withdraw(contract, colluder, payableEntries(contract, colluder), world.signed)
        break
      case 2:
        lock(contract, colluder, payableEntries(contract, colluder), world.signed)
        break
      case 3:
        if (random.chance(0.1)) exit(contract, colluder)
        break
      case 4:
        if (finalizeShift(contract, random.pick(CONSUMERS)) !== undefined) world.shifts += 1
        break
      default:
        if (random.chance(0.05)) colluders.push(join(contract, `late ${contract.merchants.size}`))
    }
    const broken = violation(world)
    if (broken !== undefined) return broken
  }
  return undefined
}

/** Lets all honest merchants withdraw one after the other, on a copy. */
function allPaid({ random, contract, honest }: World): string | undefined {
  const copy = structuredClone(contract)
  const queue = honest.map((merchant) => ({ ...merchant }))
  while (queue.length > 0) {
    const [next] = queue.splice(random.below(queue.length), 1)
    const broken = next === undefined ? undefined : pay(copy, next)
    if (broken !== undefined) return `${broken}, all withdrawing`
  }
  return undefined
}

/** Pays an honest merchant; what was not as it must be. */
function pay(contract: Contract, merchant: Honest): string | undefined {
  const due = new Map(merchant.confirmed)
  if (due.size === 0) return undefined
  unlock(contract, merchant.id)
  const entries = payableEntries(contract, merchant.id)
  const paid = cashOut(contract, merchant)
  if (paid === undefined) return `I7: ${merchant.id} was not paid`
  const got = new Map(entries.map(([consumer], i) => [consumer, paid[i] ?? 0]))
  for (const [consumer, amount] of due) {
    const arrived = got.get(consumer) ?? 0
    if (arrived < amount) return `I7: ${merchant.id} got ${arrived} of ${amount} from ${consumer}`
  }
  return undefined
}

/** The first invariant that does not hold now. */
function violation(world: World): string | undefined {
  const { contract, signed, honest } = world
  const locked = new Map<string, number>()
  let keys: Key = new Map()
  for (const { status, missing, key, lock: held } of contract.merchants.values()) {
    if (status === 'active' && !missing) keys = addKeys(keys, key)
    for (const [consumer, amount] of held?.entries ?? []) {
      locked.set(consumer, (locked.get(consumer) ?? 0) + amount)
    }
  }
  let held = 0
  for (const [consumer, { D, R, mu, w }] of contract.channels) {
    held += D - w
    if (w + R > mu || mu > D) return `I2: ${consumer} has w ${w} R ${R} mu ${mu} D ${D}`
    if (mu > (signed.get(consumer) ?? 0)) return `I8: ${consumer} never signed ${mu}`
    if (R !== (locked.get(consumer) ?? 0)) return `I5: ${consumer} has R ${R}`
  }
  if (contract.received - contract.paid !== held) return 'I1: tokens and channels differ'
  if (addKeys(keys, contract.apkA, -1).size > 0) return 'I6: apkA is another sum'
  for (const merchant of honest) {
    const broken = unpayable(contract, merchant)
    if (broken !== undefined) return broken
  }
  return undefined
}

/** I7 in any phase: what would keep the merchant from being paid in the next open window. */
function unpayable(contract: Contract, merchant: Honest): string | undefined {
  if (merchant.confirmed.length === 0) return undefined
  const facts = contract.merchants.get(merchant.id)
  const lockEntries = facts?.lock?.entries ?? []
  const isReserved = facts?.missing === true || facts?.lock?.at === contract.k
  const entries = isReserved ? lockEntries : payableEntries(contract, merchant.id)
  const have = new Map(entries)
  for (const [consumer, amount] of merchant.confirmed) {
    const { D, R, mu, w } = channelOf(contract, consumer)
    if ((have.get(consumer) ?? 0) < amount) return `I7: ${merchant.id} lost ${consumer}`
    if (isReserved) continue
    const voucher = merchant.vouchers.get(consumer) ?? 0
    const stale = new Map(lockEntries).get(consumer) ?? 0
    const free = Math.max(mu, voucher) - w - (R - stale)
    if (voucher > D || free < amount) {
      return `I7: ${merchant.id} has ${amount} of ${consumer}, ${free} is free`
    }
  }
  return undefined
}
