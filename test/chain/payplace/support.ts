// A small world for the tests of this folder: consumers that sign, one operator, blocks in memory.

import { createHash } from 'node:crypto'
import { type BuildView, buildBlock, type Credits } from '../../../chain/payplace/build.ts'
import type { SigningView } from '../../../chain/payplace/check.ts'
import { type Entry, NO_ENTRIES, packEntries } from '../../../chain/payplace/entries.ts'
import {
  type BlockIndex,
  indexBlock,
  type KnownBlock,
  type LockFact,
  type MerchantFacts,
} from '../../../chain/payplace/known.ts'
import {
  ENTRIES_BYTES_MAX,
  leafHash,
  leavesOf,
  type MerchantEntries,
} from '../../../chain/payplace/leaf.ts'
import type { BlockProposal, Source } from '../../../chain/payplace/proposal.ts'
import type { BlockTiming } from '../../../chain/payplace/timing.ts'
import { type Address, parseAddress } from '../../../ethereum/address.ts'
import { accountOf, signDigest } from '../../../ethereum/signature.ts'
import { payPlaceDomain, voucherDigest } from '../../../ethereum/typed-data.ts'

export const OPERATOR = 7
export const SEED = 0x5eed
export const TIMING: BlockTiming = {
  ...{ g0: 1_000, beta: 60, gamma: 15, delta: 4 },
  ...{ challenge: 130, eta: 30 },
}
/** Period 3 begins here; NOW lies in its commitment window. */
export const BEGINS = 1_180
export const NOW = BEGINS + 5
export const HASH = Buffer.alloc(32, 0xaa)

export function address(text: string): Address {
  const parsed = parseAddress(text)
  if (parsed === undefined) throw new Error(`${text} is not an address`)
  return parsed
}

export const DOMAIN = payPlaceDomain(31_337n, address(`0x${'c0'.repeat(20)}`))

/** Accounts sorted by address, so that a table can name them by number. */
const accounts = Array.from({ length: 6 }, (_, i) => {
  const privateKey = createHash('sha256').update(`consumer ${i}`).digest()
  return { privateKey, consumer: accountOf(privateKey) }
}).sort((a, b) => (a.consumer < b.consumer ? -1 : 1))

export function consumer(n: number): Address {
  const found = accounts[n]
  if (found === undefined) throw new Error(`no consumer ${n}`)
  return found.consumer
}

export function source(n: number, amount: bigint, operator = OPERATOR): Source {
  const found = accounts[n]
  if (found === undefined) throw new Error(`no consumer ${n}`)
  const voucher = { consumer: found.consumer, amount }
  const digest = voucherDigest(DOMAIN, { ...voucher, operator })
  return { ...voucher, signature: signDigest(digest, found.privateKey) }
}

/** `{0: 5n}` is: consumer 0 owes 5. */
export type Amounts = Readonly<Record<number, bigint>>

export function pack(amounts: Amounts): Buffer {
  const list: Entry[] = Object.entries(amounts).map(([n, amount]) => {
    return { consumer: consumer(Number(n)), amount }
  })
  return packEntries(list)
}

/** Merchants by id, ids ascending. */
export function merchants(table: Readonly<Record<number, Amounts>>): MerchantEntries[] {
  return Object.entries(table).map(([id, amounts]) => ({ id: Number(id), entries: pack(amounts) }))
}

export function withEntries(index: BlockIndex, list: readonly MerchantEntries[]): KnownBlock {
  const entries = new Map(list.map((merchant) => [merchant.id, merchant.entries]))
  return { ...index, entriesOf: (id) => entries.get(id) }
}

export function known(list: readonly MerchantEntries[]): KnownBlock {
  return withEntries(indexBlock(OPERATOR, list, SEED), list)
}

export function facts(id: number, more: Partial<MerchantFacts> = {}): MerchantFacts {
  return { id, locks: [], withdrawn: NO_ENTRIES, ...more }
}

/** Locks of all shards of some entries. */
export function locksOf(id: number, entries: Buffer): LockFact[] {
  return leavesOf({ id, entries }).map((leaf) => ({ leaf, lockHash: leafHash(OPERATOR, leaf) }))
}

/** Everybody has 1,000 deposited and has signed 100, unless a test says otherwise. */
export function buildView(more: Partial<BuildView> & { credits: Credits }): BuildView {
  return {
    ...{ operator: OPERATOR, k: 3, period: 3, tau: BEGINS + 1, seed: SEED },
    merchants: [facts(1), facts(2), facts(3)],
    previous: undefined,
    channel: () => ({ deposit: 1_000n, withdrawn: 0n, pendingShift: 0n, best: 100n }),
    ...more,
  }
}

/** The block with every merchant's entries; throws where none is built. */
export function build(view: BuildView) {
  const emitted = new Map<number, Buffer>()
  const result = buildBlock(view, ({ id, entries }) => emitted.set(id, entries))
  if ('fault' in result) throw new Error(result.fault)
  const list = view.merchants.map(({ id }) => {
    const entries = emitted.get(id) ?? view.previous?.entriesOf(id) ?? NO_ENTRIES
    return { id, entries }
  })
  return { ...result, list, emitted }
}

/** A view of merchant 2 at NOW, block 3 known, nothing signed in this period. */
export function signingView(
  previous: KnownBlock | undefined,
  more: Partial<SigningView> = {},
): SigningView {
  return {
    ...{ domain: DOMAIN, operator: OPERATOR, id: 2, timing: TIMING, seed: SEED },
    ...{ now: NOW, headTime: NOW, marginS: 2, k: 3, signedPeriod: 2 },
    snapshot: { number: 50, hash: HASH, time: BEGINS - 2 },
    root: previous?.root ?? Buffer.alloc(32),
    merchants: [facts(1), facts(2), facts(3)],
    channel: () => ({ deposit: 1_000n, withdrawn: 0n, pendingShift: 0n }),
    previous,
    ownEntries: previous?.entriesOf(2) ?? NO_ENTRIES,
    isVerified: () => false,
    income: undefined,
    requireIncome: false,
    ...more,
  }
}

function isHashable(list: readonly MerchantEntries[]): boolean {
  const fits = ({ length }: Buffer) => length % 32 === 0 && length <= ENTRIES_BYTES_MAX
  return list.length > 0 && list.every(({ entries }) => fits(entries))
}

/** A proposal of these merchants as block 4, with 100 signed by each consumer of merchant 2. */
export function proposal(
  previous: KnownBlock | undefined,
  list: readonly MerchantEntries[],
  more: Partial<BlockProposal> = {},
): BlockProposal {
  const own = list.find(({ id }) => id === 2)?.entries ?? NO_ENTRIES
  const numbers = accounts.flatMap((account, n) =>
    own.includes(Buffer.from(account.consumer.slice(2), 'hex')) ? [n] : [],
  )
  return {
    header: {
      ...{ operator: OPERATOR, k: 4, period: 3, tau: BEGINS + 1 },
      prevRoot: previous?.root ?? Buffer.alloc(32),
      root: isHashable(list) ? indexBlock(OPERATOR, list, SEED).root : Buffer.alloc(32),
    },
    snapshot: { number: 50, hash: HASH },
    form: 'whole',
    merchants: list,
    sources: numbers.map((n) => source(n, 100n)),
    ...more,
  }
}
