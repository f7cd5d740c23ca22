// PayPlace end to end, all of it real: two operators on one chain, five owners of access points
// with their programs, twenty devices that pay. One owner is away for three blocks, another moves
// to the other operator; in the end everybody is paid, and every book says the same.
// Mostly waits: for periods of 12 s.

import t, { type Test } from 'tap'
import { readChannel, tokenBalance } from '../../chain/calls.ts'
import { type Address, parseAddress } from '../../ethereum/address.ts'
import { admin, type Status, TIMING, TOKEN } from './notary-rig.ts'
import {
  createMerchant,
  DEPOSIT,
  isWelcome,
  type Market,
  type Merchant,
  type Operator,
  type Owner,
  openMarket,
  type PayingDevice,
  receiptsOf,
} from './payplace-rig.ts'
import { temporaryDirectory, waitFor } from './server.ts'

t.setTimeout(175_000)

/** Of each operator. */
const DEVICES = 10
const ABSENT_BLOCKS = 3
const PERIOD_MS = TIMING.beta * 1_000
/** A machine at half speed may need several windows for a block. */
const BLOCK_MS = 5 * PERIOD_MS
/** Payments of a round are over before the next block is built. */
const ROUND_S = 3

/** A session and who earns by it: the operator itself at an access point of its own. */
interface Till {
  readonly device: PayingDevice
  readonly session: string
  readonly payee: Address
}

/** What the payments make everybody due, kept beside the programs that are tested. */
function openBooks() {
  const gross = new Map<string, bigint>()
  const net = new Map<string, bigint>()
  const add = (book: Map<string, bigint>, operator: Operator, payee: Address, amount: bigint) => {
    const name = `${operator.name} ${payee}`
    book.set(name, (book.get(name) ?? 0n) + amount)
  }
  const of = (book: Map<string, bigint>) => (operator: Operator, payee: Address) =>
    book.get(`${operator.name} ${payee}`) ?? 0n
  return {
    gross: of(gross),
    /** Less the operator's commission, which is the operator's. */
    net: of(net),
    paid(operator: Operator, payee: Address, amount: bigint) {
      const isOwn = payee === operator.account
      const fee = isOwn ? 0n : (amount * operator.commissionPpm) / 1_000_000n
      add(gross, operator, payee, amount)
      add(net, operator, payee, amount - fee)
      add(net, operator, operator.account, fee)
    },
  }
}

const books = openBooks()
const tills = new Map<Operator, Till[]>()
let payments = 0

const tillsOf = (operator: Operator): Till[] => tills.get(operator) ?? []

let paying: Promise<void> = Promise.resolve()

/** One after the other: a device's vouchers rise. */
function payAt(till: Till): Promise<void> {
  paying = paying.then(() => payNow(till))
  return paying
}

/** Odd amounts, so that every commission is rounded. */
async function payNow({ device, session, payee }: Till): Promise<void> {
  payments += 1
  const amount = TOKEN / 100n + BigInt(payments * 7 + 1)
  if (!(await device.pay(session, amount))) throw new Error(`payment ${payments} was refused`)
  books.paid(device.operator, payee, amount)
}

/** Waits for a state of the operator's blocks, asking gently. */
async function until(
  { name, server, status }: Operator,
  what: string,
  fits: (status: Status) => boolean,
): Promise<void> {
  let seen: Status | undefined
  await waitFor(
    async () => {
      seen = await status()
      if (fits(seen)) return true
      await new Promise((resolve) => setTimeout(resolve, 300))
      return false
    },
    BLOCK_MS,
    () => `${name}, ${what}: ${JSON.stringify(seen)}\n${JSON.stringify(server.log().slice(-12))}`,
  )
}

/** Everybody pays once in the open window; resolves when a block that has it is notarized. */
async function round(operator: Operator): Promise<void> {
  await until(operator, 'the open window', ({ phase, ...status }) => {
    return phase === 'open' && nextAt(status) - Date.now() / 1_000 > ROUND_S
  })
  const { k } = await operator.status()
  for (const till of tillsOf(operator)) await payAt(till)
  await until(operator, 'a block of what was paid', (status) => status.k > k)
}

/**
 * Pays on until a block has everybody's signature: on a slow machine a merchant may miss a window,
 * and is back with the next block.
 */
async function everybodySigns(operator: Operator): Promise<void> {
  for (let tries = 0; (await operator.status()).missing.length > 0; tries++) {
    if (tries === 5) throw new Error(`${operator.name}: nobody was to be missing by now`)
    await round(operator)
  }
}

const nextAt = (status: object): number => (status as { nextAt: number }).nextAt

/** A session of the device at an access point, its owner's or the operator's own. */
async function join(device: PayingDevice, owner: Owner | undefined): Promise<void> {
  const { operator } = device
  let session = ''
  // A deposit, or a reload, is not known to everybody at once.
  const isIn = async (): Promise<boolean> => {
    session = await device.join(owner?.shop ?? 0).catch(() => '')
    return session !== ''
  }
  await waitFor(isIn, 20_000, () => `not admitted at ${operator.name}, shop ${owner?.shop}`)
  const till = { device, session, payee: owner?.account ?? operator.account }
  tills.set(operator, [...tillsOf(operator), till])
}

/** Devices of one operator, at its owners' access points in turn; some at two places. */
async function openSessions(market: Market, operator: Operator, owners: readonly Owner[]) {
  const places = [undefined, ...owners]
  const devices: PayingDevice[] = []
  for (let n = 0; n < DEVICES; n++) devices.push(await market.device(operator))
  for (const [n, device] of devices.entries()) {
    await join(device, places[n % places.length])
    if (n % 3 === 0) await join(device, places[(n + 1) % places.length])
  }
  return devices
}

async function starts(merchant: Merchant, event: string): Promise<void> {
  const logged = merchant.logged(event, 2 * BLOCK_MS)
  merchant.start()
  await logged
}

const balancesOf = (market: Market, accounts: readonly Address[]) =>
  Promise.all(accounts.map((account) => tokenBalance(market.access, account)))

interface LedgerEntry {
  readonly account: string
  readonly merchant: string | null
  readonly amount: string
  readonly voucher: string
}

/** Sums of an operator's journal, and the highest voucher of each account. */
async function journalOf({ server }: Operator) {
  const { entries } = (await admin(server, '/v1/ledger?limit=1000')) as { entries: LedgerEntry[] }
  const earned = new Map<Address | undefined, bigint>()
  const spent = new Map<Address | undefined, bigint>()
  const highest = new Map<Address | undefined, bigint>()
  for (const { account, merchant, amount, voucher } of entries) {
    const [consumer, payee] = [parseAddress(account), parseAddress(merchant ?? '')]
    earned.set(payee, (earned.get(payee) ?? 0n) + BigInt(amount))
    spent.set(consumer, (spent.get(consumer) ?? 0n) + BigInt(amount))
    const best = highest.get(consumer) ?? 0n
    highest.set(consumer, BigInt(voucher) > best ? BigInt(voucher) : best)
  }
  return { earned, spent, highest }
}

/** Everybody who takes part. */
interface Scene {
  readonly market: Market
  /** At A: one that will be away, one that stays, one that moves. At B: two. */
  readonly merchants: readonly Merchant[]
  readonly devices: readonly PayingDevice[]
  readonly mark: (text: string) => void
}

/** All programs run, all devices have sessions, and the first blocks have everybody's signature. */
async function setOut(t: Test): Promise<Scene> {
  const began = Date.now()
  const mark = (text: string) => t.comment(`${Math.round((Date.now() - began) / 1_000)} s: ${text}`)
  const market = await openMarket(t, temporaryDirectory(t), { A: 3, B: 2 })
  const [a, b] = market.operators
  const [atA, atB] = [market.owners.slice(0, 3), market.owners.slice(3)]
  mark('two operators')
  const merchants = await Promise.all(
    market.owners.map((owner) => createMerchant(t, market, atA.includes(owner) ? a : b, owner)),
  )
  const joined = Promise.all(merchants.map((merchant) => starts(merchant, 'registered')))
  const sessions = Promise.all([openSessions(market, a, atA), openSessions(market, b, atB)])
  const [devices] = await Promise.all([sessions, joined])
  mark('all have joined')
  await Promise.all([round(a), round(b)])
  await Promise.all([a, b].map(everybodySigns))
  mark('first blocks')
  return { market, merchants, devices: devices.flat(), mark }
}

/** The access points of one of A's owners go over to B; her program runs for both from then on. */
async function moves(t: Test, { market, devices }: Scene, leaving: Merchant): Promise<Merchant> {
  const { access, owners } = market
  const [a, b] = market.operators
  const { owner } = leaving
  t.equal(await isWelcome(leaving, access), true)
  await a.serve(owners.slice(0, 3).filter((one) => one !== owner))
  t.equal(await isWelcome(leaving, access), false, 'no access point of A is its own now')
  const arriving = await createMerchant(t, market, b, owner)
  await b.serve([...owners.slice(3), owner])
  await starts(arriving, 'registered')
  // What was used at A before is paid there after the move.
  const late = tillsOf(a).filter(({ payee }) => payee === owner.account)
  tills.set(
    a,
    tillsOf(a).filter((till) => !late.includes(till)),
  )
  const { k } = await a.status()
  for (const till of late) await payAt(till)
  const guests = devices.filter(({ operator }) => operator === b).slice(0, 3)
  for (const device of guests) await join(device, owner)
  await round(b)
  await until(a, 'a block of what was paid late', (status) => status.k > k)
  return arriving
}

/** Three blocks without one of A's merchants, whose access point goes on to earn. */
async function isAway(t: Test, { market }: Scene, away: Merchant): Promise<void> {
  const [a] = market.operators
  const { account } = away.owner
  const id = await away.id()
  await away.kill()
  const earned = books.net(a, account)
  const { k } = await a.status()
  for (let n = 0; n < ABSENT_BLOCKS; n++) await round(a)
  const now = await a.status()
  t.ok(now.missing.includes(id), 'it is missing')
  t.ok(now.k >= k + ABSENT_BLOCKS, `${now.k - k} blocks without it`)
  t.ok(books.net(a, account) > earned, 'its access point went on to earn')
}

/** Programs and operators fetch what is theirs; one merchant leaves with it. */
async function payouts(t: Test, { market }: Scene, all: readonly Merchant[], leaving: Merchant) {
  const merchants = all.map(async (merchant) => {
    const { operator, owner, name } = merchant
    const isLeaving = merchant === leaving
    const { paid, hasLeft } = await merchant.payout(isLeaving ? 'exit' : 'withdraw')
    t.equal(paid, books.net(operator, owner.account), `${name}: paid to the unit`)
    t.equal(hasLeft, isLeaving)
  })
  const operators = market.operators.map(async (operator) => {
    const { name, server, account } = operator
    const due = books.net(operator, account)
    t.equal((await operator.status()).own, `${due}`)
    await admin(server, '/v1/notary/withdraw', 'POST')
    const isPaid = (line: Record<string, unknown>) =>
      line['msg'] === 'notary: own earnings paid out'
    const { amount } = await server.logged(isPaid, 3 * PERIOD_MS)
    t.equal(amount, `${due}`, `${name}: its own`)
  })
  await Promise.all([...merchants, ...operators])
}

t.test('two operators, five owners, twenty devices', { timeout: 175_000 }, async (t) => {
  const scene = await setOut(t)
  const { market, merchants, devices, mark } = scene
  const { access, operators, owners } = market
  const [a, b] = operators
  const [away, , leaving] = merchants as readonly [Merchant, Merchant, Merchant]
  t.equal(devices.length, 20)
  const [arrived] = await Promise.all([moves(t, scene, leaving), isAway(t, scene, away)])
  mark('three blocks without one')
  const returned = starts(away, 'returned')
  await Promise.all([round(a), round(b)])
  await Promise.all([returned, ...operators.map(everybodySigns)])
  for (const operator of operators) {
    await until(operator, 'all in a block', ({ waiting }) => waiting === '0')
  }
  mark('it is back, and all is in blocks')

  const everybody = [...merchants, arrived]
  for (const merchant of everybody) {
    const { operator, owner, name } = merchant
    const [gross, net] = [books.gross, books.net].map((book) => book(operator, owner.account))
    t.ok((net ?? 0n) > 0n, `${name} has earned ${net}`)
    t.same(await receiptsOf(merchant, access), { gross, net }, `${name}: receipts`)
  }
  const accounts = [...owners, a, b].map(({ account }) => account)
  const before = await balancesOf(market, accounts)
  await payouts(t, scene, everybody, leaving)
  mark('everybody is paid')
  const after = await balancesOf(market, accounts)
  for (const [n, account] of accounts.entries()) {
    const due = books.net(a, account) + books.net(b, account)
    t.equal((after[n] ?? 0n) - (before[n] ?? 0n), due, `tokens of ${account}`)
  }
  for (const merchant of [leaving, arrived]) {
    t.equal((await merchant.payout('withdraw')).paid, 0n, `${merchant.name}: nothing is paid twice`)
  }
  await checkSums(t, market, devices)
  for (const { name, lines } of everybody) {
    const errors = lines.filter(({ level }) => level === 'error')
    t.same(errors, [], `${name} had nothing to complain about`)
  }
})

/** Vouchers, channels, journals and the contract's tokens say the same. */
async function checkSums(
  t: Test,
  { access, operators, owners }: Market,
  devices: readonly PayingDevice[],
): Promise<void> {
  let withdrawn = 0n
  for (const { operator, account, paid } of devices) {
    const channel = await readChannel(access, operator.operatorId, account)
    const spent = paid()
    t.same(channel, { deposit: DEPOSIT, reserved: 0n, highestVoucher: spent, withdrawn: spent })
    withdrawn += channel.withdrawn
  }
  for (const operator of operators) {
    const { earned, spent, highest } = await journalOf(operator)
    const { name } = operator
    t.equal(earned.get(undefined) ?? 0n, 0n, `${name}: all was for somebody`)
    for (const { account } of [...owners, operator]) {
      const due = books.gross(operator, account)
      t.equal(earned.get(account) ?? 0n, due, `${name}: journal of ${account}`)
    }
    for (const device of devices.filter((one) => one.operator === operator)) {
      t.equal(spent.get(device.account), device.paid(), `${name}: journal of a device`)
      t.equal(highest.get(device.account), device.paid(), `${name}: voucher of a device`)
    }
  }
  const held = await tokenBalance(access, access.contract)
  t.equal(held, DEPOSIT * BigInt(devices.length) - withdrawn, 'what the contract holds')
}
