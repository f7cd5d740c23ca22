// The model against the contract on a real chain, on random histories of everybody: both take and
// refuse the same actions and hold the same afterwards. `node test/chain-live/
// payplace-differential.test.ts SEED PERIODS` repeats a run or makes a longer one.

import t from 'tap'
import { payableEntries } from '../sim/payplace-agents.ts'
import {
  addKeys,
  channelOf,
  type Entry,
  type Leaf,
  leafOf,
  OURS,
  type Vouchers,
} from '../sim/payplace-model.ts'
import { type Random, seeded } from '../sim/random.ts'
import { CONSUMERS, openTwin, type Twin } from './payplace-twin.ts'

const [, , SEED = 'twin 1'] = process.argv
/** Of one history not everything can be expected; of the usual one it is known. */
const IS_USUAL = process.argv.length === 2
const PERIODS = Number(process.argv[3] ?? 24)
const MERCHANTS_MAX = 9

t.setTimeout(Math.max(120_000, PERIODS * 5_000))

/** What a block gives a merchant: little mostly, now and then more than anybody has paid. */
function entriesAtRandom(random: Random): Entry[] {
  const most = random.chance(0.15) ? 120 : 12
  return CONSUMERS.filter(() => random.chance(0.6)).map((name) => [name, 1 + random.below(most)])
}

/** Nearly always vouchers that cover some more; or none, or one above the deposit. */
function vouchersAtRandom(random: Random, { model }: Twin): Vouchers {
  if (random.chance(0.2)) return new Map()
  return new Map(
    CONSUMERS.filter(() => random.chance(0.9)).map((name) => {
      const { D, mu } = channelOf(model, name)
      const more = random.chance(0.02) ? D - mu + 1 : Math.min(D - mu, 5 + random.below(20))
      return [name, Math.max(1, mu + more)]
    }),
  )
}

const idsOf = ({ model }: Twin): number[] => [...model.merchants.keys()]

function idAtRandom(random: Random, twin: Twin, wanted: (id: number) => boolean): number {
  const fitting = idsOf(twin).filter(wanted)
  return random.pick(fitting.length > 0 && random.chance(0.8) ? fitting : idsOf(twin))
}

/** What consumers do in any phase; who has a shift under way is picked more often. */
async function consumerActs(random: Random, twin: Twin): Promise<void> {
  const { shifts } = twin.model
  const isPending = shifts.size > 0 && random.chance(0.7)
  const consumer = isPending ? random.pick([...shifts.keys()]) : random.pick(CONSUMERS)
  const { D, mu } = channelOf(twin.model, consumer)
  if (random.chance(0.25)) return twin.deposit(consumer, 1 + random.below(120))
  if (!isPending && random.chance(0.7)) {
    return twin.requestShift(consumer, 1 + random.below(Math.max(1, D - mu + 5)))
  }
  if (random.chance(0.05)) return twin.cancelShift(consumer)
  if (random.chance(0.6)) return twin.finalizeShift(consumer)
  return twin.challengeShift(consumer, mu + 1 + random.below(Math.max(2, D - mu + 1)))
}

/** Block k + 1 says anything; who stays away was locked, mostly. */
async function commit(random: Random, twin: Twin): Promise<void> {
  const { model } = twin
  for (const { id, lock } of [...model.merchants.values()]) {
    if (random.chance(lock === undefined ? 0.03 : 0.7)) await twin.unlock(id)
  }
  const active = [...model.merchants.values()].filter(({ status }) => status === 'active')
  const gone = active.filter(({ id, missing }) => id > 1 && !missing && random.chance(0.25))
  const back = active.filter(({ missing }) => missing && random.chance(0.3))
  for (const { id } of gone) {
    const vouchers = vouchersAtRandom(random, twin)
    if (random.chance(0.85)) await twin.lock(id, leafOf(model.last, id) ?? [], vouchers)
  }
  const leaves = active.map(({ id }): Leaf => ({ id, entries: entriesAtRandom(random) }))
  const newlyMissing = gone.map(({ id }) => id)
  const returning = back.map(({ id }) => id)
  // D20, D26: names in disorder, merchant 1, or somebody who isn't missing.
  if (random.chance(0.08)) newlyMissing.push(1 + random.below(3))
  if (random.chance(0.05)) returning.unshift(random.pick(idsOf(twin)))
  let key = model.apkA
  for (const id of newlyMissing) key = addKeys(key, model.merchants.get(id)?.key ?? new Map(), -1)
  for (const id of returning) key = addKeys(key, model.merchants.get(id)?.key ?? new Map())
  const signers = [...key].filter(([, times]) => times === 1).map(([name]) => name)
  if (random.chance(0.1) && signers.length > 1) signers.pop()
  if (signers.length === 0) return
  await twin.notarize({ block: { leaves }, newlyMissing, returning, signers })
}

/** Payments, exits and locks; now and then of what isn't due. */
async function merchantActs(random: Random, twin: Twin): Promise<void> {
  const { model } = twin
  const facts = (id: number) => model.merchants.get(id)
  const isHere = (id: number): boolean =>
    facts(id)?.status === 'active' && facts(id)?.missing === false
  const isUnpaid = (id: number): boolean =>
    isHere(id) && facts(id)?.withdrawnAt !== model.k && facts(id)?.joinedAt !== model.k
  const id = idAtRandom(random, twin, isUnpaid)
  const isWrong = random.chance(0.1)
  const entries = isWrong ? entriesAtRandom(random) : payableEntries(model, id)
  switch (random.below(8)) {
    case 0:
    case 1:
    case 2:
      return twin.withdraw(id, entries, vouchersAtRandom(random, twin))
    case 3:
      return twin.lock(id, leafOf(model.last, id) ?? [], vouchersAtRandom(random, twin))
    case 4:
    case 5: {
      const long = idAtRandom(random, twin, (one) => facts(one)?.missing === true)
      return twin.forceExit(long, isWrong ? entries : (facts(long)?.lock?.entries ?? []))
    }
    case 6: {
      const leaver = idAtRandom(random, twin, (one) => one > 1 && isHere(one))
      return random.chance(0.3) ? twin.exit(leaver) : twin.unlock(id)
    }
    default:
      return twin.claim([...model.credit.keys()][0] ?? random.pick(['op', 'm1', 'x']))
  }
}

async function join(random: Random, twin: Twin): Promise<void> {
  const { merchants, period } = twin.model
  const others = [...merchants.values()].filter(({ status }) => status === 'active')
  const isAgain = random.chance(0.2)
  const account = isAgain ? random.pick(others).account : `m${merchants.size}`
  if (!isAgain && merchants.size >= MERCHANTS_MAX) return
  await twin.register(account, random.chance(0.15) ? period + 1 : period)
}

/** One period; throws at the first difference. */
async function onePeriod(random: Random, twin: Twin, period: number): Promise<void> {
  const compare = async (): Promise<void> => {
    const differing = await twin.differences()
    const last = twin.said.at(-1)?.action
    if (differing.length > 0) throw new Error(`period ${period}, ${last}: ${differing.join('; ')}`)
  }
  const step = async (acting: Promise<void>): Promise<void> => {
    const before = twin.said.length
    await acting
    const said = twin.said.slice(before)
    for (const { action, model, chain } of said) {
      if (model === (chain === true)) continue
      throw new Error(`period ${period}, ${action}: model ${model}, contract ${chain}`)
    }
    // What is refused changes nothing: that is looked at once, at the end of the period.
    if (said.some(({ model }) => model)) await compare()
  }
  await twin.enter(period, 'commit')
  for (let i = 0; i < 3; i++) await step(consumerActs(random, twin))
  if (random.chance(0.2)) await step(merchantActs(random, twin))
  await step(commit(random, twin))
  if (random.chance(0.15)) await step(commit(random, twin))
  await twin.enter(period, 'open')
  if (random.chance(period < 4 ? 1 : 0.4)) await step(join(random, twin))
  for (let i = 0; i < 7; i++) await step(merchantActs(random, twin))
  for (let i = 0; i < 2; i++) await step(consumerActs(random, twin))
  if (random.chance(0.1)) await step(commit(random, twin))
  await compare()
}

const ACTIONS = [
  ...['deposit', 'register', 'lock', 'unlock', 'notarize', 'withdraw', 'exit', 'forceExit'],
  ...['claim', 'requestShift', 'challengeShift', 'finalizeShift', 'cancelShift'],
]

t.test(`model and contract agree over ${PERIODS} periods (seed ${SEED})`, async (t) => {
  const twin = await openTwin(OURS)
  t.teardown(() => twin.stop())
  const random = seeded(SEED)
  await twin.enter(0, 'open')
  for (const name of CONSUMERS) await twin.deposit(name, 200)
  for (let i = 0; i < 3; i++) await twin.register(`m${i + 1}`)
  const history = async (): Promise<void> => {
    for (let period = 1; period <= PERIODS; period++) await onePeriod(random, twin, period)
  }
  await t.resolves(history(), 'no difference')
  t.comment(`${twin.said.length} actions, ${twin.model.k} blocks`)
  for (const action of ACTIONS) {
    const said = twin.said.filter((one) => one.action === action)
    const taken = said.filter(({ model }) => model).length
    t.ok(taken > 0 || !IS_USUAL, `${action}: ${taken} taken, ${said.length - taken} refused`)
  }
})

/** Rules of the thesis that a history shows to be others than the contract’s. */
for (const rule of ['D17', 'D27', 'no lock']) {
  t.test(`a model with the original rule ${rule} is found to differ`, async (t) => {
    const twin = await openTwin(new Set([rule]))
    t.teardown(() => twin.stop())
    const random = seeded(`twin ${rule}`)
    await twin.enter(0, 'open')
    for (const name of CONSUMERS) await twin.deposit(name, 200)
    for (let i = 0; i < 3; i++) await twin.register(`m${i + 1}`)
    const history = async (): Promise<void> => {
      for (let period = 1; period <= 60; period++) await onePeriod(random, twin, period)
    }
    await t.rejects(history(), /period \d+, \w+: /)
  })
}
