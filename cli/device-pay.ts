// `datanet device pay --once`: pays what is due now to the operators of a device, debts first, and
// prints the receipts. For a device without a running payer; device/pay.ts decides.

import { resolve } from 'node:path'
import { readAccountKey } from '../device/account-key.ts'
import { formatAmount } from '../device/amounts.ts'
import { operatorsOf, policyOf } from '../device/device-file.ts'
import { readDevice } from '../device/folder.ts'
import type { SignedReceipt } from '../device/operator-api.ts'
import { payOnce } from '../device/pay.ts'
import { receiptJson } from '../device/receipts.ts'
import { createTills } from '../device/tills.ts'
import { lockPayer, openVouchers } from '../device/vouchers-file.ts'
import { readArguments, usage } from './arguments.ts'
import { Exit, exitOf } from './exit.ts'
import { knownPassword } from './password.ts'
import type { Terminal } from './terminal.ts'

const VERB = 'device pay'

export const help = `usage: datanet device pay DIR --once [--json]

Pays what is due now: debts of sessions that are over, and the running interval of open ones. The
operator's signature under each receipt is checked; receipts are kept in DIR/receipts.jsonl. A debt
larger than its terms can add up to is not paid.

  --once   pay and end (datanet device run pays as it goes)
  --json   {"receipts": […], "unpaid": [{"session", "why"}, …]}

The wallet's password comes from $DATANET_PASSWORD, else it is asked for (a direct device needs
none). Exit codes: 0 nothing is due any more, 64 usage, 69 something was not paid or no operator
answers, 73 device run pays for DIR already, 77 password, 78 DIR is damaged.
`

const options = { once: { type: 'boolean' }, json: { type: 'boolean' } } as const

/** Pays each operator of DIR; one that does not answer does not keep the others waiting. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const { flags, words } = readArguments(args, { verb: VERB, positionals: ['DIR'], options })
  if (flags.once !== true) throw usage(VERB, '--once is missing (device run pays as it goes)')
  const directory = resolve(words.DIR)
  const device = await readDevice(directory)
  const lock = lockPayer(directory)
  try {
    const policy = policyOf(device.policy ?? {}, device.token.decimals)
    const accountKey = await readAccountKey(directory, device, () => knownPassword(terminal))
    const vouchers = await openVouchers(directory)
    const tillOf = createTills({ directory, device, accountKey, vouchers, now: terminal.now })
    const receipts: SignedReceipt[] = []
    const unpaid: { session: string; why: string }[] = []
    let failures = 0
    for (const { operatorId } of operatorsOf(device)) {
      try {
        const paid = await payOnce(directory, await tillOf(operatorId), policy)
        receipts.push(...paid.receipts)
        unpaid.push(...paid.unpaid)
      } catch (error) {
        failures += 1
        terminal.err(`datanet: ${exitOf(error).message}`)
      }
    }
    if (flags.json === true) {
      terminal.out(JSON.stringify({ receipts: receipts.map(receiptJson), unpaid }))
    } else {
      const { decimals, symbol } = device.token
      for (const line of lines(receipts, unpaid, decimals, symbol)) terminal.out(line)
    }
    return failures > 0 || unpaid.length > 0 ? Exit.unavailable : Exit.ok
  } finally {
    lock.release()
  }
}

function lines(
  receipts: readonly SignedReceipt[],
  unpaid: readonly { readonly session: string; readonly why: string }[],
  decimals: number,
  symbol: string,
): string[] {
  const sum = (amount: bigint): string => `${formatAmount(amount, decimals)} ${symbol}`
  const paid = receipts.map(
    ({ session, credited, amount }) =>
      `paid      ${sum(credited)} for session ${session} (${sum(amount)} in all)`,
  )
  const refused = unpaid.map(({ session, why }) => `not paid  session ${session}: ${why}`)
  const nothing = paid.length + refused.length === 0 ? ['nothing is due'] : []
  return [...paid, ...refused, ...nothing]
}
