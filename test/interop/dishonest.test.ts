// A dishonest operator gets no signature: a double offers real merchant programs blocks that steal,
// each before the honest one of the period, and then two good blocks in one window.
// Mostly waits: for periods of 12 s.

import t from 'tap'
import {
  addEntries,
  NO_ENTRIES,
  packEntries,
  subtractEntries,
} from '../../chain/payplace/entries.ts'
import { nextOpen } from '../../chain/payplace/timing.ts'
import { OPERATOR, openMarket, type Party } from '../chain-live/payplace-market.ts'
import { genuine } from '../device/operator-double.ts'
import { startMerchantDouble } from './merchant-double.ts'
import type { Twist } from './merchant-double-http.ts'
import { type Agent, merchantPrograms } from './merchant-process.ts'
import { waitFor } from './server.ts'

t.setTimeout(175_000)
const TIMING = { beta: 12, gamma: 4, delta: 1, challenge: 20, eta: 30 }
const NAMES = ['lobby', 'cafe', 'roof']
/** A machine at half speed may need several windows for a block. */
const BLOCK_MS = 5 * TIMING.beta * 1_000

const market = await openMarket(TIMING, genuine.spkiSha256)
t.teardown(() => market.stop())
const double = await startMerchantDouble(t, market)
const programs = merchantPrograms(t, double.url)

const until = (what: string, check: () => boolean): Promise<void> =>
  waitFor(check, BLOCK_MS, () => `${what}: ${JSON.stringify(double.history)}`)

/** Waits for the open window, where the double takes payments. */
async function open(): Promise<void> {
  const now = Date.now() / 1_000
  const waitS = nextOpen(market.timing, now) - now
  await new Promise((resolve) => setTimeout(resolve, waitS * 1_000 + 100))
}

const spent = new Map<Party, bigint>()
function pay(consumer: Party, id: number, amount: bigint): void {
  const total = (spent.get(consumer) ?? 0n) + amount
  spent.set(consumer, total)
  double.pay(market.voucher(consumer, total), id, amount)
}

/** Blocks that rob somebody, and what the merchants say to each. */
function thefts(victim: number, consumers: readonly Party[]): readonly [Twist, RegExp][] {
  const one = packEntries(consumers.map(({ account }) => ({ consumer: account, amount: 1n })))
  const omitting: Twist = {
    kind: 'omitting a merchant',
    list: ({ list }) => list.filter(({ id }) => id !== victim),
  }
  const shrinking: Twist = {
    kind: 'shrinking what a merchant was owed',
    list: ({ list }, previous) =>
      list.map(({ id, entries }) => {
        const before = previous?.entriesOf(id) ?? NO_ENTRIES
        return { id, entries: id === victim ? subtractEntries(before, one) : entries }
      }),
  }
  const doubleSpending: Twist = {
    kind: 'double-spending: one unit more than each voucher, to the operator',
    list: ({ list }) =>
      list.map(({ id, entries }) => ({
        id,
        entries: id === 1 ? addEntries(entries, one) : entries,
      })),
  }
  return [
    [omitting, /merchant-missing/],
    [shrinking, /amount-decreased/],
    [doubleSpending, /overspent/],
  ]
}

/** Fine by itself: what was notarized last, and the credits since then left for later. */
const withholding: Twist = {
  kind: 'withholding the new credits',
  list: ({ list }, previous) =>
    list.map(({ id }) => ({ id, entries: previous?.entriesOf(id) ?? NO_ENTRIES })),
}

interface Rig {
  readonly agents: Agent[]
  readonly ids: readonly number[]
  readonly consumers: readonly Party[]
}

async function joined(): Promise<Rig> {
  const named = await Promise.all(['ann', 'bob'].map((name) => market.party(name)))
  for (const consumer of named) await market.deposit(consumer, 1_000n)
  const accounts = await Promise.all(NAMES.map(programs.create))
  for (const account of accounts) double.accounts.add(account)
  const agents = NAMES.map(programs.startAgent)
  const isIn = ({ lines }: Agent) => lines.some(({ event }) => event === 'registered')
  await until('all join', () => agents.every(isIn))
  const merchantIdOf = market.ledger.datanet.getFunction('merchantIdOf')
  const ids: number[] = []
  for (const account of accounts) ids.push(Number(await merchantIdOf(OPERATOR, account)))
  return { agents, ids, consumers: named }
}

/** Everybody earns from every consumer, so that each has something to lose by each theft. */
async function earn({ ids, consumers }: Rig): Promise<void> {
  await open()
  for (const [n, id] of ids.entries()) {
    for (const consumer of consumers) pay(consumer, id, BigInt(10 + n))
  }
}

const everybody = [1, 2, 3, 4]
const TRIES_MAX = 4

/** Blocks, until all have signed one: on a slow machine somebody may be late. */
async function signedByAll(): Promise<readonly number[] | undefined> {
  for (let n = 0; n < TRIES_MAX; n++) {
    await double.nextBlock()
    if (double.history.at(-1)?.signers.length === everybody.length) break
    await open()
  }
  return double.history.at(-1)?.signers
}

t.test('blocks that steal are signed by nobody', { timeout: 175_000 }, async (t) => {
  const rig = await joined()
  const { agents, ids, consumers } = rig
  await earn(rig)
  t.same(await signedByAll(), everybody, 'the honest block is signed by all')

  await earn(rig)
  const [victim = 0] = ids
  const bad = thefts(victim, consumers)
  double.twists = bad.map(([twist]) => twist)
  const from = double.answers.length
  t.same(await signedByAll(), everybody, 'the honest one after them is signed by all')
  double.twists = []
  const answers = double.answers.slice(from)
  for (const [{ kind }, reason] of bad) {
    const given = double.offered.filter((offer) => offer.kind === kind)
    t.same(new Set(given.map(({ id }) => id)), new Set(ids), `${kind}: offered to all`)
    const roots = given.map(({ root }) => root)
    const signed = answers.filter(({ root }) => roots.includes(root))
    t.same(signed, [], `${kind}: no signature`)
    for (const { name, lines } of agents) {
      const said = lines.filter(
        ({ event, msg }) => event === 'refused' && roots.some((root) => msg.includes(root)),
      )
      t.match(said[0], { level: 'error', msg: reason }, `${kind}: ${name} says why`)
    }
  }
  // The same answer may come again; another one in its period may not.
  const periods = new Set(answers.map(({ id, period }) => `${id} in ${period}`))
  const signed = new Set(answers.map(({ id, period, root }) => `${id} in ${period}: ${root}`))
  t.equal(signed.size, periods.size, 'one block a period')

  await twoInOneWindow(t, rig)
})

/**
 * D13: a better block is notarized first and then a worse one, or two blocks are shown to different
 * merchants. Both are fine by themselves; whoever signed the first does not sign the second.
 */
async function twoInOneWindow(
  t: { same(a: unknown, b: unknown, text: string): void; ok(a: unknown, text: string): void },
  rig: Rig,
): Promise<void> {
  const { agents, ids } = rig
  await earn(rig)
  const [from, before] = [double.answers.length, double.history.length]
  const offersBefore = double.offered.length
  double.twists = [withholding]
  double.isTwoFaced = true
  const signers = () => new Set(double.answers.slice(from).map(({ id }) => id))
  await until('all sign the first', () => signers().size === ids.length)
  // One that has forgotten all but its store, in the same window.
  await agents[0]?.kill()
  agents[0] = programs.startAgent(NAMES[0] ?? '')
  await until('the window is over', () => double.history.length > before)
  double.twists = []
  double.isTwoFaced = false
  const answers = double.answers.slice(from)
  const first = double.offered.find(({ kind }) => kind === withholding.kind)?.root
  t.same(
    new Set(answers.map(({ root }) => root)),
    new Set([first]),
    'two in one window: one signed',
  )
  t.ok(answers.length > ids.length, 'asked again for its answer, a merchant gives the same one')
  t.same(double.history.at(-1), { ...double.history.at(-1), signers: [], outcome: 'two-faced' }, '')

  t.same(await signedByAll(), everybody, 'the second was fine: the next period has it')
  const last = double.offered.slice(offersBefore).findLast(({ kind }) => kind === 'honest')?.root
  t.ok(last !== undefined && last !== first, 'and it is another one')
}
