// `datanet merchant exit`: paid out and gone, in one transaction where one suffices.

import { runPayout } from './merchant-payout.ts'
import type { Terminal } from './terminal.ts'

export const help = `usage: datanet merchant exit DIR [options]

Pays out everything the contract owes the merchant of DIR and leaves the operator, so that it may go
on without asking for signatures. Waits for the operator's open window.

The operator has to take the account off its access points (merchant: in its configuration). What
devices paid there since the last notarized block, and what they go on to pay, is in no block: it
waits at the operator for this account, and nobody else gets it. To have it, wait for the next block
before you leave, or join again with merchant run --rejoin.

  --to ADDRESS    who is paid (default: the merchant's own account)
  --accept-less   give up what DIR has no proof or voucher for
  --json          {"paid", "to", "transactions", "hasLeft"}, amounts in base units

The wallet's password comes from $DATANET_PASSWORD, else it is asked for.
Exit codes: 64 usage, 69 the chain does not answer or the proof is lost, 77 password, 78 DIR is
damaged.
`

/** Withdraws, leaves, and prints what was paid. */
export const run = (args: readonly string[], terminal: Terminal): Promise<number> =>
  runPayout('merchant exit', args, terminal)
