// Devices' purses in the simulation of the books: each has its own habit of paying, and knows of
// the account's best voucher only what it was told, so that devices of one account race. The door
// it pays at does what server/payments.ts does behind the signature. Made by ledger-devices.ts.

import { dueOf } from '../../accounting/rating.ts'
import type { Address } from '../../ethereum/address.ts'
import { priceOfInterval } from './ledger-terms.ts'
import type { Deed, World } from './ledger-world.ts'

const habits = [
  'good',
  'good',
  'good',
  'late',
  'stops',
  'ahead',
  'nameless',
  'replays',
  'half',
] as const
const RETRY_MS = 2_000
const TRIES = 6
/** Asks again where the answer to a question was lost. */
const ASK_MS = 4_000

export type Payer = ReturnType<typeof openPayer>

export function openPayer(world: World, account: Address) {
  const { random, clock, oracle, after, carry } = world
  const habit = random.pick(habits)
  let session: string | undefined
  /** The highest voucher of the account that this device knows of. */
  let best = 0n
  let patience = habit === 'stops' ? random.below(4) : Number.POSITIVE_INFINITY
  /** mu: what the contract has settled. */
  let mu = 0n

  /** The payment as it comes to the server. */
  const door =
    (amount: bigint, named: string | undefined, onAnswer: (best: bigint) => void): Deed =>
    async () => {
      const life = world.life()
      if (life === undefined || life.committer.failed() !== undefined) return undefined
      await life.ensure(account)
      if (named !== undefined && life.ledger.session(named)?.account !== account) return undefined
      if (amount > oracle.purse(account).deposit) return undefined
      const last = oracle.purse(account).best
      // A contract that has settled vouchers which these books lost with an older copy.
      if (random.chance(0.01)) mu = last + BigInt(random.below(5))
      else if (random.chance(0.02)) mu = mu > last ? mu : last
      if (amount > mu || amount <= last) oracle.pay(account, amount, mu, named, clock.nowMs)
      const known = oracle.purse(account).best
      return () => carry(() => void onAnswer(known > mu ? known : mu) as undefined)
    }

  /** Sends a voucher until it is answered. */
  function pay(amount: bigint, named: string | undefined): void {
    let isAnswered = false
    const attempt = (left: number): void => {
      if (isAnswered || left === 0) return
      const onAnswer = (known: bigint): void => {
        isAnswered = true
        if (known > best) best = known
      }
      carry(door(amount, named, onAnswer))
      after(RETRY_MS, () => void attempt(left - 1) as undefined)
    }
    attempt(TRIES)
    if (habit !== 'replays') return
    const old = amount - BigInt(random.below(3))
    after(random.below(9_000), () => void carry(door(old, session, () => undefined)) as undefined)
  }

  function payDue(due: bigint, price: bigint): void {
    if (due <= 0n && habit !== 'ahead') return
    if (patience <= 0) return
    patience -= 1
    if (habit === 'ahead') pay(best + due + price * BigInt(random.below(6)), session)
    else if (habit === 'half') pay(best + due / 2n + 1n, session)
    else if (habit === 'nameless') pay(best + due, undefined)
    else pay(best + due, session)
  }

  /** Asks what is due, and pays it, while `isServed`. */
  function ask(isServed: () => boolean): void {
    const named = session
    let isAnswered = false
    if (!isServed()) return
    const known = named === undefined ? undefined : oracle.sessions().get(named)?.session
    const intervalMs = known?.tariff.intervalMs ?? ASK_MS
    carry(() => {
      const life = world.life()
      const current = named === undefined ? undefined : life?.ledger.session(named)
      if (life === undefined || current === undefined) return undefined
      const { amount } = dueOf(current, clock.nowMs)
      const told = oracle.purse(account).best
      return () =>
        carry(() => {
          if (isAnswered) return undefined
          isAnswered = true
          if (told > best) best = told
          payDue(amount, priceOfInterval(current.tariff))
          return undefined
        })
    })
    after(ASK_MS, () => {
      if (!isAnswered) ask(isServed)
      else after(Math.max(50, intervalMs - ASK_MS), () => void ask(isServed) as undefined)
      return undefined
    })
  }

  return {
    habit,
    settled: () => mu,
    name(id: string): void {
      session = id
    },
    /** The station is served from now on. */
    serve(isServed: () => boolean): void {
      const known = session === undefined ? undefined : oracle.sessions().get(session)?.session
      const { intervalMs = 20_000, graceMs = 0 } = known?.tariff ?? {}
      const firstMs = habit === 'late' ? intervalMs + graceMs / 2 : intervalMs / 3
      after(firstMs, () => void ask(isServed) as undefined)
    },
    /** It was refused for its debts: most pay them then. */
    settle(): void {
      if (random.chance(0.3)) return
      const life = world.life()
      const owing = life?.ledger.debtsOf(account) ?? []
      const due = owing.reduce((sum, debt) => sum + dueOf(debt, clock.nowMs).amount, 0n)
      const told = oracle.purse(account).best
      if (told > best) best = told
      patience = habit === 'stops' ? 3 : patience
      if (due > 0n) pay(best + due, random.chance(0.5) ? owing.at(-1)?.id : undefined)
    },
  }
}
