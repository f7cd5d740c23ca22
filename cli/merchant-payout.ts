// What `merchant withdraw` and `merchant exit` have in common: one does what the other does, and
// leaves. Works without the operator as long as DIR has its store and the chain answers.

import { resolve } from 'node:path'
import { shown } from '../device/amounts.ts'
import { isEmbedded } from '../device/operator.ts'
import { type Address, checksumAddress, parseAddress } from '../ethereum/address.ts'
import type { Payout } from '../merchant/payout.ts'
import { ensureGas } from '../merchant/registration.ts'
import { type PaidOut, payOut, readPosition } from '../merchant/withdraw.ts'
import { readArguments, usage } from './arguments.ts'
import { CommandError, Exit } from './exit.ts'
import { seed, unlockMerchant } from './merchant-folder.ts'
import type { Terminal } from './terminal.ts'

/** A transaction takes a block: at once where each makes its own, else some 12 s. */
const [MARGIN_EMBEDDED_S, MARGIN_S] = [2, 15]

/** Runs either verb; `leave` makes it the exit. */
export async function runPayout(
  verb: 'merchant withdraw' | 'merchant exit',
  args: readonly string[],
  terminal: Terminal,
): Promise<number> {
  const options = {
    to: { type: 'string' },
    json: { type: 'boolean' },
    'accept-less': { type: 'boolean' },
  } as const
  const { flags, words } = readArguments(args, { verb, positionals: ['DIR'], options })
  const recipient = flags.to === undefined ? undefined : parseAddress(flags.to)
  if (flags.to !== undefined && recipient === undefined) {
    throw usage(verb, `--to ${JSON.stringify(flags.to)} is not an address`)
  }
  const unlocked = await unlockMerchant(resolve(words.DIR), terminal)
  try {
    const { merchant, node, view, store, api, sender } = unlocked
    const deps = { merchant, rpc: node.rpc, view, store, api, sender, seed: seed() }
    const leave = verb === 'merchant exit'
    const position = await readPosition(deps)
    const { record, payout } = position
    const accept = (planned: Payout): void => refuseLoss(planned, flags['accept-less'] === true)
    if (record === undefined && position.credit === 0n) {
      const text = `the account is no merchant of operator ${merchant.operatorId} yet`
      throw new CommandError(Exit.unavailable, `${text}: start it with merchant run`)
    }
    accept(payout)
    const isNothing = payout.transactions.length === 0 && position.credit === 0n && !leave
    if (!isNothing)
      await ensureGas({ rpc: node.rpc, operatorUrl: merchant.operatorUrl }, merchant.account)
    const waiting = {
      now: () => terminal.now() / 1_000,
      progress: terminal.err,
      marginS: isEmbedded(merchant.rpc) ? MARGIN_EMBEDDED_S : MARGIN_S,
    }
    if (leave) terminal.err(parting(merchant.account))
    const to = recipient ?? merchant.account
    const paid = await payOut(deps, position, { to, leave, waiting, accept })
    const { token } = merchant
    if (flags.json === true) terminal.out(jsonOf(paid, checksumAddress(to)))
    else {
      terminal.out(`paid      ${shown(paid.paid, token)}`)
      terminal.out(`to        ${checksumAddress(to)}`)
      if (leave) terminal.out(paid.hasLeft ? 'left      the operator' : 'left      not yet')
    }
    return Exit.ok
  } finally {
    unlocked.close()
  }
}

/** A withdrawal that gives something up is the owner's decision. */
function refuseLoss({ isMissingProof, uncovered }: Payout, isAccepted: boolean): void {
  if (isAccepted) return
  const way =
    'restore merchant.sqlite, or try when the operator is back (run fetches it); to give\
 it up, add --accept-less'
  if (isMissingProof) {
    const text = 'the last block owes this account, but its part of it is not in DIR'
    throw new CommandError(Exit.unavailable, `${text}: ${way}`)
  }
  const [first] = uncovered
  if (first === undefined) return
  const of = `${uncovered.length} consumers, ${checksumAddress(first)} first`
  const text = `vouchers of ${of}, are not in DIR: the contract would pay less`
  throw new CommandError(Exit.unavailable, `${text}; ${way}`)
}

/** What the operator's books do with the credits of an account that is no merchant. */
function parting(account: Address): string {
  const named = `the operator still has to take merchant: "${checksumAddress(account)}" off its\
 access points`
  const waits = 'what devices pay there is in no block once the account has left'
  return `${named}: ${waits}, and waits for it until merchant run --rejoin`
}

const jsonOf = ({ paid, transactions, hasLeft }: PaidOut, to: string): string =>
  JSON.stringify({ paid: paid.toString(), to, transactions, hasLeft })
