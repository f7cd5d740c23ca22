// `datanet merchant withdraw`: what the last notarized block or its locks owe, paid out.

import { runPayout } from './merchant-payout.ts'
import type { Terminal } from './terminal.ts'

export const help = `usage: datanet merchant withdraw DIR [options]

Pays out what the contract owes the merchant of DIR: by the last notarized block, by the locks of an
absence, and what a forced payment left as credit. Waits for the operator's open window. Works with
the operator gone, from DIR/merchant.sqlite and the chain alone.

  --to ADDRESS    who is paid (default: the merchant's own account)
  --accept-less   give up what DIR has no proof or voucher for
  --json          {"paid", "to", "transactions", "hasLeft"}, amounts in base units

The wallet's password comes from $DATANET_PASSWORD, else it is asked for.
Exit codes: 64 usage, 69 the chain does not answer or the proof is lost, 77 password, 78 DIR is
damaged.
`

/** Withdraws and prints what was paid; nothing due is no error. */
export const run = (args: readonly string[], terminal: Terminal): Promise<number> =>
  runPayout('merchant withdraw', args, terminal)
