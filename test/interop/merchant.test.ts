// Merchants as programs against an operator double on a real chain, in real time: joining, signing,
// an absence, kills, a shift, and being paid with the operator gone.
// Mostly waits: for periods of 12 s.

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { blsPublicKey, provePossession } from '../../chain/bls.ts'
import { nextOpen, periodAt, startOf } from '../../chain/payplace/timing.ts'
import type { Address } from '../../ethereum/address.ts'
import { SHIFT_BOND } from '../chain-live/ledger.ts'
import { OPERATOR, openMarket, type Party } from '../chain-live/payplace-market.ts'
import { genuine } from '../device/operator-double.ts'
import { startMerchantDouble } from './merchant-double.ts'
import { type Agent, merchantPrograms } from './merchant-process.ts'

t.setTimeout(175_000)
const TIMING = { beta: 12, gamma: 4, delta: 1, challenge: 20, eta: 30 }
const DEPOSIT = 1_000n

const market = await openMarket(TIMING, genuine.spkiSha256)
t.teardown(() => market.stop())
const double = await startMerchantDouble(t, market)
const { directory, run, startAgent, create } = merchantPrograms(t, double.url)

async function until(what: string, check: () => boolean, limitMs: number): Promise<void> {
  const ends = Date.now() + limitMs
  while (!check()) {
    if (Date.now() > ends) {
      throw new Error(`${what}: not within ${limitMs} ms; ${JSON.stringify(double.history)}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

const accounts = new Map<string, Address>()
function accountOf(name: string): Address {
  const found = accounts.get(name)
  if (found === undefined) throw new Error(`no account of ${name}`)
  return found
}

async function balance(account: Address): Promise<bigint> {
  return BigInt(await market.ledger.token.getFunction('balanceOf')(account))
}

/** Waits for the open window, where the double takes payments. */
async function open(): Promise<void> {
  const now = Date.now() / 1_000
  const waitS = nextOpen(market.timing, now) - now
  await new Promise((resolve) => setTimeout(resolve, waitS * 1_000 + 100))
}

const spent = new Map<Address, bigint>()
/** The consumer pays, and the merchant with this id earns it. */
async function pay(consumer: Party, id: number, amount: bigint): Promise<void> {
  const total = (spent.get(consumer.account) ?? 0n) + amount
  spent.set(consumer.account, total)
  double.pay(market.voucher(consumer, total), id, amount)
}

const consumers = await Promise.all(['ann', 'bob', 'eve'].map((name) => market.party(name)))
const [ann, bob, eve] = consumers as [Party, Party, Party]

t.test('merchants', { timeout: 175_000 }, async (t) => {
  for (const consumer of consumers) await market.deposit(consumer, DEPOSIT)
  const names = ['lobby', 'cafe', 'roof']
  for (const [n, account] of (await Promise.all(names.map(create))).entries()) {
    accounts.set(names[n] ?? '', account)
  }

  const stranger = startAgent('roof')
  await until(
    'it asks',
    () => stranger.lines.some(({ event }) => event === 'not-a-merchant'),
    20_000,
  )
  await stranger.kill()
  for (const account of accounts.values()) double.accounts.add(account)

  const agents = names.map(startAgent)
  const joined = ({ lines }: Agent) => lines.some(({ event }) => event === 'registered')
  await until('all join', () => agents.every(joined), 30_000)
  const merchantIdOf = market.ledger.datanet.getFunction('merchantIdOf')
  const ids = new Map<string, number>()
  for (const [name, account] of accounts) {
    ids.set(name, Number(await merchantIdOf(OPERATOR, account)))
  }
  const idOf = (name: string): number => ids.get(name) ?? 0
  t.same([...ids.values()].sort(), [2, 3, 4])

  await open()
  await pay(ann, idOf('lobby'), 100n)
  await pay(bob, idOf('cafe'), 40n)
  await pay(ann, idOf('roof'), 7n)
  await double.nextBlock()
  t.same(double.history.at(-1)?.signers, [1, 2, 3, 4], 'all signed the first block')

  await open()
  const roof = agents[2] as Agent
  await roof.kill()
  await pay(bob, idOf('lobby'), 5n)
  await pay(eve, idOf('roof'), 3n)
  await double.nextBlock()
  t.equal(
    double.history.at(-1)?.signers.includes(idOf('roof')),
    false,
    'the block went without one',
  )

  await open()
  agents[2] = startAgent('roof')
  const returned = () => agents[2]?.lines.some(({ event }) => event === 'returned') === true
  await pay(eve, idOf('cafe'), 11n)
  await pay(ann, idOf('cafe'), 1n)
  await double.nextBlock()
  await until('roof returns', returned, 15_000)
  t.same(double.history.at(-1)?.signers, [1, 2, 3, 4], 'and is back with what it had')

  await open()
  await secondOperator()
  const channel = market.ledger.datanet.getFunction('channel')
  const { highestVoucher } = await channel(OPERATOR, ann.account)
  t.ok(
    highestVoucher < (spent.get(ann.account) ?? 0n),
    'the contract knows less than the merchants',
  )
  await market.requestShift(ann, OPERATOR + 1, DEPOSIT - highestVoucher)
  const isCut = () => agents.some(({ lines }) => lines.some(({ event }) => event === 'challenged'))
  await until('a watchtower challenges', isCut, 15_000)
  const shift = await market.ledger.datanet.getFunction('shift')(OPERATOR, ann.account)
  t.equal(shift.amount, DEPOSIT - (spent.get(ann.account) ?? 0n), 'to what is unspent')
  await double.nextBlock()
  t.same(double.history.at(-1)?.signers, [1, 2, 3, 4], 'the next block is signed all the same')

  await open()
  await pay(bob, idOf('cafe'), 2n)
  const notarized = double.nextBlock()
  // kill -9 while the window is open, again and again.
  const begins = startOf(market.timing, periodAt(market.timing, Date.now() / 1_000) + 1)
  await new Promise((resolve) => setTimeout(resolve, begins * 1_000 - Date.now()))
  for (const pauseMs of [1_300, 700, 900]) {
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
    await agents[1]?.kill()
    agents[1] = startAgent('cafe')
  }
  await notarized
  for (const agent of agents) await agent.kill()
  const roots = new Map<string, Set<string>>()
  for (const { id, period, root } of double.answers) {
    const name = `merchant ${id}, period ${period}`
    roots.set(name, (roots.get(name) ?? new Set()).add(root))
  }
  for (const [name, all] of roots) t.equal(all.size, 1, `one block signed by ${name}`)

  // A store is lost, the wallet is not: the operator gives the block and the vouchers again. What
  // was earned in a block that went without it is there once it signs again.
  const cafe = {
    name: 'cafe',
    owed: double.history.at(-1)?.signers.includes(idOf('cafe')) ? 54n : 52n,
  }
  for (const suffix of ['', '-wal', '-shm']) {
    rmSync(join(directory, `cafe/merchant.sqlite${suffix}`), { force: true })
  }
  const blind = await run('merchant', 'status', 'cafe', '--json')
  t.ok([0, 78].includes(blind.code ?? -1), blind.err)
  const restored = await run('merchant', 'withdraw', 'cafe', '--json')
  t.equal(restored.code, 0, restored.err)
  t.match(JSON.parse(restored.out), { paid: `${cafe.owed}` })
  t.equal((await balance(accountOf('cafe'))) % SHIFT_BOND, cafe.owed, 'paid without its store')

  // The operator is gone: what DIR and the chain hold must do.
  double.isDown = true
  const owed = new Map([
    ['lobby', 105n],
    ['roof', 10n],
  ])
  const status = await run('merchant', 'status', 'lobby', '--json')
  t.equal(status.code, 0, status.err)
  t.match(JSON.parse(status.out), { withdrawable: '105' }, 'signing or absent')
  for (const [name, amount] of owed) {
    const verb = name === 'roof' ? 'exit' : 'withdraw'
    const ended = await run('merchant', verb, name, '--json')
    t.equal(ended.code, 0, ended.err)
    const hasLeft = name === 'roof'
    t.match(JSON.parse(ended.out), { paid: `${amount}`, hasLeft })
    // Whoever challenged the shift was given its bond.
    const held = (await balance(accountOf(name))) % SHIFT_BOND
    t.equal(held, amount, `${name} has what it earned, to the unit`)
  }
  const again = await run('merchant', 'withdraw', 'lobby', '--json')
  t.match(JSON.parse(again.out), { paid: '0', transactions: [] }, 'and only once')
  t.match((await run('merchant', 'status', 'roof')).out, /exited/)
})

/** Somewhere to shift to. */
async function secondOperator(): Promise<void> {
  const other = await market.party('other')
  const claim = { account: other.account, contract: market.contract, chainId: market.chainId }
  const proof = provePossession(other.secret, { ...claim, operatorId: 2 })
  const { g0, beta, gamma, delta, challenge, eta } = market.timing
  const info = [other.account, `0x${'cd'.repeat(32)}`, 'http://other.example']
  const timing = [g0, beta, gamma, delta, challenge, eta]
  await market.send(other, 'registerOperator', info, timing, blsPublicKey(other.secret), proof)
}
