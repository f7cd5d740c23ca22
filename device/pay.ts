// Pays everything that is due now, once: debts of old sessions and the running interval of open
// ones, by the rules of payer.ts. For a device without a running payer. Called by `device pay
// --once`.

import type { PayingTo, SignedReceipt } from './operator-api.ts'
import { ownSessions, readSeen } from './own-sessions.ts'
import { type Decision, debtRefusal, decide, isDebt, type Knowledge } from './payer.ts'
import type { Policy } from './policy.ts'
import type { Till } from './till.ts'

/** What was paid, and what was not, with the reason. */
export interface PaidOnce {
  readonly receipts: readonly SignedReceipt[]
  readonly unpaid: readonly { readonly session: string; readonly why: string }[]
}

const TIMEOUT_MS = 10_000
/** Each payment takes a step or two; an operator that keeps us longer than this is not honest. */
const STEPS_MAX = 200
/** An answer that was lost is asked for again this often. */
const RESENDS_MAX = 3

/** Pays one operator. Throws DeviceError where it cannot be asked. */
export async function payOnce(
  directory: string,
  { till }: { readonly till: Till; readonly to: PayingTo },
  policy: Policy,
): Promise<PaidOnce> {
  const own = ownSessions(await readSeen(directory))
  const receipts: SignedReceipt[] = []
  const unpaid = new Map<string, string>()
  await till.readDeposit(TIMEOUT_MS)
  await till.ask(TIMEOUT_MS)
  let resends = 0
  for (let step = 0; step < STEPS_MAX; step++) {
    const next = nextPayment(till, own, { ...policy, payAt: 0 }, unpaid)
    if (next === undefined) break
    if (next.do === 'ask') {
      await till.ask(TIMEOUT_MS)
      continue
    }
    const paid = await till.pay(next.session, next.amount, undefined, TIMEOUT_MS)
    if (paid.kind === 'paid') receipts.push(paid.receipt)
    else if (paid.kind === 'refused') unpaid.set(next.session, paid.message)
    else if (paid.kind === 'unproven') {
      unpaid.set(next.session, `the operator claims a voucher it does not show`)
    } else if (paid.kind === 'later') {
      resends += 1
      if (resends > RESENDS_MAX) {
        unpaid.set(next.session, paid.message)
        break
      }
      await new Promise((resolve) => setTimeout(resolve, paid.afterMs ?? 500))
    }
  }
  return { receipts, unpaid: [...unpaid].map(([session, why]) => ({ session, why })) }
}

type Payment = Extract<Decision, { do: 'pay' | 'resend' | 'ask' }>

/** The first payment that any session calls for; what none may be made for goes to `unpaid`. */
function nextPayment(
  till: Till,
  own: Knowledge['own'],
  policy: Policy,
  unpaid: Map<string, string>,
): Payment | undefined {
  const open = till.sessions.filter(({ state }) => state !== 'closed')
  for (const debt of till.sessions.filter(isDebt)) {
    const why = debtRefusal({ own, policy }, debt)
    if (why !== undefined) unpaid.set(debt.id, why)
  }
  // The meter does not run here: open sessions are held to the volume their intervals stand for.
  const seen = new Map(
    [...own].map(([id, one]) => {
      const isOpen = open.some((session) => session.id === id)
      return [id, isOpen ? { ...one, octets: undefined } : one]
    }),
  )
  for (const current of [undefined, ...open.map(({ id }) => id)]) {
    if (current !== undefined && unpaid.has(current)) continue
    const decision = decide({
      nowMs: till.now(),
      viewAtMs: till.viewAtMs,
      sessions: till.sessions.filter(({ id }) => !unpaid.has(id)),
      ...{ current, own: seen, octetsPerSecond: 0, paidAtMs: undefined, trust: undefined, policy },
      book: till.book,
      deposit: till.deposit,
      service: undefined,
      topUpNotBeforeMs: Number.POSITIVE_INFINITY,
    })
    if (decision.do === 'pay' || decision.do === 'resend' || decision.do === 'ask') return decision
    const stopped = current ?? till.sessions.find(({ id, due }) => due > 0n && !unpaid.has(id))?.id
    if (stopped !== undefined && 'why' in decision) unpaid.set(stopped, decision.why)
  }
  return undefined
}
