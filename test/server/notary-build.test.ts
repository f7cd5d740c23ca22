// The next block from the journal: what goes into it, what waits, where a restart goes on. Over a
// real store and real files, with the contract's facts given.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { MerchantCredit } from '../../accounting/storage.ts'
import { amountOf, NO_ENTRIES, packEntries } from '../../chain/payplace/entries.ts'
import type { PayplaceFacts } from '../../chain/payplace-facts.ts'
import { type MerchantRecord, NO_BLOCK } from '../../chain/payplace-state.ts'
import type { Address } from '../../ethereum/address.ts'
import { openBlockFiles, type StoredBlock } from '../../server/block-files.ts'
import { sourceIn } from '../../server/block-sources.ts'
import { createJournal, makeBlock, workWaits } from '../../server/notary-build.ts'
import type { Reading } from '../../server/notary-chain.ts'
import { waitingTotal } from '../../server/notary-credits.ts'
import { addressOf } from '../accounting/store-fixtures.ts'

const folder = mkdtempSync(join(tmpdir(), 'datanet-build-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))
const [operator, lobby, bar] = [addressOf(900), addressOf(901), addressOf(902)]
const [alice, bob] = [addressOf(1), addressOf(2)]

const merchant = (
  id: number,
  account: Address,
  over: Partial<MerchantRecord> = {},
): MerchantRecord => ({
  ...{ id, account, blsKey: Buffer.alloc(128), status: 'active', joinedAt: 1, locks: [] },
  ...{ missingSince: undefined, settled: { k: 0, shards: [] } },
  ...{ withdrawn: NO_ENTRIES, capped: NO_ENTRIES, ...over },
})

interface World {
  merchants: MerchantRecord[]
  /** One that is Active no more. */
  left?: MerchantRecord
  block: typeof NO_BLOCK
  deposit: bigint
  shift: bigint
  vouchers: Map<Address, bigint>
  rows: MerchantCredit[]
}

function world() {
  const at: World = {
    merchants: [merchant(1, operator), merchant(2, lobby)],
    ...{ block: NO_BLOCK, deposit: 1_000n, shift: 0n, rows: [] },
    vouchers: new Map([
      [alice, 500n],
      [bob, 500n],
    ]),
  }
  const facts: PayplaceFacts = {
    number: 17,
    operator: () => undefined,
    block: () => at.block,
    merchants: () => at.merchants,
    merchant: (id) => at.merchants.find((one) => one.id === id) ?? at.left,
    merchantOf: () => undefined,
    channel: () => ({
      ...{ deposit: at.deposit, reserved: 0n, highestVoucher: 0n, withdrawn: 0n },
      ...{ shift: undefined, pendingShift: at.shift },
    }),
    shifts: () =>
      at.shift === 0n
        ? []
        : [{ consumer: alice, to: 2, amount: at.shift, requestedAt: 1, period: 5 }],
  }
  const reading: Reading = { facts, number: 17, hash: Buffer.alloc(32, 1), time: 1_000 }
  const outdated: Address[] = []
  const vouchers = {
    load: async () => undefined,
    best(consumer: Address) {
      const amount = at.vouchers.get(consumer)
      return amount === undefined ? undefined : { consumer, amount, signature: Buffer.alloc(65) }
    },
    outdate: (consumers: Iterable<Address>) => void outdated.push(...consumers),
  }
  const pages: number[] = []
  const journal = createJournal({
    storage: {
      async creditsSince(number, limit) {
        pages.push(number)
        return at.rows.filter((row) => row.number > number).slice(0, limit)
      },
    },
    ...{ vouchers, terms: () => ({ operatorAccount: operator, commissionPpm: 0 }), now: () => 77 },
  })
  const files = openBlockFiles(mkdtempSync(join(folder, 'w-')), () => 7)
  const make = async (period: number, previous?: StoredBlock) => {
    await journal.catchUp()
    const made = await makeBlock({
      ...{ operator: 3, period, tau: 1_000 + period, reading, previous, journal, vouchers, files },
      seed: 7,
    })
    if ('fault' in made) return made.fault
    const block = files.open(made.name)
    if (block === undefined) throw new Error('no block')
    return { ...made, block }
  }
  const credit = (to: Address, from: Address, amount: bigint): void => {
    const number = (at.rows.at(-1)?.number ?? 0) + 1
    at.rows.push({ number, atMs: 0, merchant: to, account: from, session: '', amount })
  }
  /** The chain has notarized this block. */
  const notarized = (block: StoredBlock): StoredBlock => {
    const { k, root, period } = block.header
    at.block = { k, root, lastPeriod: period, tau: 0 }
    journal.begin(block)
    return block
  }
  return { at, reading, journal, outdated, pages, files, make, credit, notarized }
}

const owes = (block: StoredBlock, id: number, consumer: Address): bigint =>
  amountOf(block.entriesOf(id) ?? NO_ENTRIES, consumer)

t.test('credits go in once; what was not notarized goes into the next', async (t) => {
  const { make, credit, notarized, journal, outdated, files } = world()
  credit(lobby, alice, 100n)
  credit(operator, bob, 5n)
  const first = await make(10)
  if (typeof first === 'string') throw new Error(first)
  t.same(outdated, [alice, bob])
  t.match(first, { name: { k: 1, period: 10 }, heldBack: 0 })
  t.equal(owes(first.block, 2, alice), 100n)
  t.equal(owes(first.block, 1, bob), 5n)
  t.equal(first.block.journal, 2)
  t.equal(first.block.journalAtMs, 77)
  // Not notarized: the same and more again.
  credit(lobby, alice, 11n)
  const second = await make(11)
  if (typeof second === 'string') throw new Error(second)
  t.match(second.name, { k: 1, period: 11 })
  t.equal(owes(second.block, 2, alice), 111n)
  const last = notarized(second.block)
  t.equal(waitingTotal(journal.waiting()), 0n)
  credit(lobby, bob, 7n)
  const third = await make(12, last)
  if (typeof third === 'string') throw new Error(third)
  t.same([owes(third.block, 2, alice), owes(third.block, 2, bob)], [111n, 7n])
  t.same(third.block.header.prevRoot, last.root)
  t.same(files.list().length, 3)
})

t.test('a restart at any point reads the same from files and journal', async (t) => {
  const { make, credit, notarized, journal, files } = world()
  credit(lobby, alice, 100n)
  credit(bar, alice, 30n)
  const made = await make(10)
  if (typeof made === 'string') throw new Error(made)
  credit(lobby, alice, 1n)
  // The new process: nothing in memory, the chain has the block or not.
  journal.begin(undefined)
  await journal.catchUp()
  t.equal(waitingTotal(journal.waiting()), 131n)
  notarized(made.block)
  t.equal(waitingTotal(journal.waiting()), 30n, 'who is not registered waits')
  await journal.catchUp()
  t.equal(waitingTotal(journal.waiting()), 31n)
  t.equal(files.open({ k: 1, period: 10 })?.waiting.size, 1)
})

t.test('above the voucher, or with a shift under way: held back, and given later', async (t) => {
  const { at, make, credit, notarized, journal } = world()
  credit(lobby, alice, 501n)
  credit(lobby, bob, 7n)
  const made = await make(10)
  if (typeof made === 'string') throw new Error(made)
  t.equal(made.heldBack, 1)
  t.same([owes(made.block, 2, alice), owes(made.block, 2, bob)], [0n, 7n])
  const last = notarized(made.block)
  t.equal(waitingTotal(journal.waiting()), 501n)
  at.vouchers.set(alice, 600n)
  at.shift = 500n
  const held = await make(11, last)
  if (typeof held === 'string') throw new Error(held)
  t.equal(owes(held.block, 2, alice), 0n)
  at.shift = 0n
  const given = await make(12, last)
  if (typeof given === 'string') throw new Error(given)
  t.equal(owes(given.block, 2, alice), 501n)
})

t.test('D37: what no lock has paid of an absent leaver waits for its account', async (t) => {
  const { at, make, credit, notarized, journal } = world()
  credit(lobby, alice, 100n)
  const first = await make(10)
  if (typeof first === 'string') throw new Error(first)
  const last = notarized(first.block)
  // Absent from block 2 on: it is locked for 100, and earns 11 and 7 more that it never signs.
  at.merchants = [merchant(1, operator), merchant(2, lobby, { missingSince: 2 })]
  credit(lobby, alice, 11n)
  credit(lobby, bob, 7n)
  const second = await make(11, last)
  if (typeof second === 'string') throw new Error(second)
  t.equal(owes(second.block, 2, alice), 111n)
  const before = notarized(second.block)
  const withdrawn = packEntries([{ consumer: alice, amount: 100n }])
  const leaver = { status: 'exited', missingSince: 2, withdrawn } as const
  const [own] = at.merchants
  if (own === undefined) throw new Error('no operator')
  at.merchants = [own]
  at.left = merchant(2, lobby, leaver)
  const third = await make(12, before)
  if (typeof third === 'string') throw new Error(third)
  t.equal(third.block.entriesOf(2), undefined)
  t.same(third.block.waiting, new Map([[lobby, packEntries([alice, bob].map(left))]]))
  const without = notarized(third.block)
  t.equal(waitingTotal(journal.waiting()), 18n, 'and no more than once')
  // It has joined again under another id.
  at.merchants = [own, merchant(3, lobby, { joinedAt: 4 })]
  const fourth = await make(13, without)
  if (typeof fourth === 'string') throw new Error(fourth)
  t.same([owes(fourth.block, 3, alice), owes(fourth.block, 3, bob)], [11n, 7n])
  t.equal(waitingTotal(fourth.block.waiting), 0n)
  function left(consumer: Address) {
    return { consumer, amount: consumer === alice ? 11n : 7n }
  }
})

t.test(
  'who signed the last block and left has given up the rest, as the contract says',
  async (t) => {
    const { at, make, credit, notarized } = world()
    credit(lobby, alice, 100n)
    const first = await make(10)
    if (typeof first === 'string') throw new Error(first)
    at.merchants = [merchant(1, operator)]
    at.left = merchant(2, lobby, { status: 'exited' })
    const second = await make(11, notarized(first.block))
    if (typeof second === 'string') throw new Error(second)
    t.equal(waitingTotal(second.block.waiting), 0n)
  },
)

t.test('no block where what is owed already is not covered, and it is said of whom', async (t) => {
  const { at, make, credit, notarized } = world()
  credit(lobby, alice, 100n)
  const made = await make(10)
  if (typeof made === 'string') throw new Error(made)
  const last = notarized(made.block)
  at.vouchers.delete(alice)
  t.match(await make(11, last), new RegExp(`voucher of ${alice}`))
})

t.test('a voucher above the snapshot’s deposit keeps nobody from a block', async (t) => {
  const { at, make, credit, notarized, journal } = world()
  credit(lobby, alice, 100n)
  const first = await make(10)
  if (typeof first === 'string') throw new Error(first)
  const last = notarized(first.block)
  // Alice has deposited and paid once more since; bob for the first time.
  at.vouchers.set(alice, 1_500n)
  at.vouchers.set(bob, 1_001n)
  credit(lobby, alice, 400n)
  credit(lobby, alice, 1n)
  credit(operator, bob, 7n)
  const held = await make(11, last)
  if (typeof held === 'string') throw new Error(held)
  t.same([owes(held.block, 2, alice), owes(held.block, 1, bob)], [100n, 0n], 'what was covered')
  t.equal(sourceIn(held.block.sources, alice)?.amount, 500n, 'by the voucher of the last block')
  t.equal(sourceIn(held.block.sources, bob), undefined)
  at.deposit = 1_500n
  const given = await make(12, notarized(held.block))
  if (typeof given === 'string') throw new Error(given)
  t.same([owes(given.block, 2, alice), owes(given.block, 1, bob)], [501n, 7n])
  t.equal(sourceIn(given.block.sources, alice)?.amount, 1_500n)
  notarized(given.block)
  t.equal(waitingTotal(journal.waiting()), 0n)
})

t.test('a thousand pages of the journal are one sum', async (t) => {
  const { credit, journal, pages } = world()
  for (let n = 0; n < 12_000; n++) credit(lobby, n % 2 === 0 ? alice : bob, 1n)
  await journal.catchUp()
  t.equal(waitingTotal(journal.waiting()), 12_000n)
  t.same(pages, [0, 5_000, 10_000])
  await journal.catchUp()
  t.equal(waitingTotal(journal.waiting()), 12_000n)
})

t.test('whether there is anything to say', async (t) => {
  const { at, reading, credit, journal } = world()
  const never = (): boolean => false
  const waits = async (period = 6) => {
    await journal.catchUp()
    const waiting = journal.waiting()
    return workWaits({ reading, previous: undefined, waiting, period, isAwaited: never })
  }
  at.merchants = [merchant(1, operator)]
  t.equal(await waits(), false)
  credit(bar, alice, 1n)
  t.equal(await waits(), false, 'earned by nobody who is registered')
  at.shift = 5n
  t.equal(await waits(), true, 'D30: a shift waits for a block')
  t.equal(await waits(5), false, 'D43: and not for that of its own period')
  at.block = { ...NO_BLOCK, lastPeriod: 6 }
  t.equal(await waits(7), false, 'and has had one')
  at.merchants = [merchant(1, operator), merchant(2, lobby)]
  t.equal(await waits(), true, 'somebody joined')
  credit(operator, alice, 1n)
  at.merchants = [merchant(1, operator)]
  t.equal(await waits(), true)
})

t.test(
  'what waits for full leaves is work once they are paid, or for who is in them',
  async (t) => {
    const { at, reading, credit, journal, make, notarized } = world()
    const made = await make(10)
    if (typeof made === 'string') throw new Error(made)
    const last = notarized(made.block)
    const consumers = Array.from({ length: 16_000 }, (_, n) => addressOf(n + 1))
    const full = packEntries(consumers.map((consumer) => ({ consumer, amount: 1n })))
    const previous = { ...last, entriesOf: (id: number) => (id === 2 ? full : last.entriesOf(id)) }
    const at6 = { reading, period: 6 }
    const waits = () =>
      workWaits({ ...at6, previous, waiting: journal.waiting(), isAwaited: () => false })
    credit(lobby, addressOf(20_000), 5n)
    await journal.catchUp()
    t.equal(waits(), false)
    at.merchants = [merchant(1, operator), merchant(2, lobby, { withdrawn: full })]
    t.equal(waits(), true, 'withdrawn')
    at.merchants = [merchant(1, operator), merchant(2, lobby)]
    t.equal(waits(), false)
    credit(lobby, alice, 1n)
    await journal.catchUp()
    t.equal(waits(), true, 'alice is in them')
  },
)

t.test('a merchant that is missing and asks is waited for', async (t) => {
  const { at, reading, journal, make, notarized } = world()
  const made = await make(10)
  if (typeof made === 'string') throw new Error(made)
  const last = notarized(made.block)
  const waits = (isAwaited: (merchant: MerchantRecord) => boolean) =>
    workWaits({ reading, previous: last, waiting: journal.waiting(), period: 11, isAwaited })
  t.equal(
    waits(() => true),
    false,
  )
  at.merchants = [merchant(1, operator), merchant(2, lobby, { missingSince: 1 })]
  t.equal(
    waits(() => false),
    false,
  )
  t.equal(
    waits(({ id }) => id === 2),
    true,
  )
})
